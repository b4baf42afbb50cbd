/*
 * Devices that ACPI's tables name in plain data, read without the interpreter: to start that takes longer than all the rest of a boot.
 *
 * VMMs write their devices as constants: a Device with _HID, _UID, _CCA, and a _CRS of one range of memory and one line. AML is a program
 * all the same, and what a program does is not guessed at. A device counts as plain if nothing else is in it, if it stands in the root or in
 * \_SB under no condition, and if its name stands nowhere else in all tables: so no code changes it, hides it or adds to it. All mentions of
 * the id must be those of plain devices. Else nothing is told, and the interpreter has the word.
 */
#include <base/acpi.h>

#include <string.h>

#include <base/util.h>

#define DEVICES_MAX 64u /* each costs a search of all tables for its name */

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_VAR_PACKAGE = 0x13,
	OP_METHOD = 0x14,
	OP_EXTENDED = 0x5b, /* what follows counts from here on: */
	OP_FIELD = 0x5b81,
	OP_DEVICE = 0x5b82,
	OP_BANK_FIELD = 0x5b87,
};

enum {
	RESOURCE_END = 0x79,
	RESOURCE_MEMORY = 0x86, /* "32-Bit Fixed Memory Range Descriptor" */
	RESOURCE_LINE = 0x89,   /* "Extended Interrupt Descriptor" */
};

#define SEGMENT 4 /* bytes of a name */

struct bytes {
	const uint8_t *at, *end;
};

struct search {
	const char *id;
	void (*found)(const struct acpi_plain *device); /* NULL: only look */
	unsigned count;
};

static size_t left(const struct bytes *in) { return (size_t)(in->end - in->at); }

static bool starts(const struct bytes *in, const char *text)
{
	return left(in) >= strlen(text) && memcmp(in->at, text, strlen(text)) == 0;
}

static bool skip(struct bytes *in, size_t count)
{
	if (left(in) < count)
		return false;
	in->at += count;
	return true;
}

/* The root's mark before a name, if it is there. False: nothing is. */
static bool skip_root(struct bytes *in)
{
	if (left(in) && *in->at == '\\')
		in->at++;
	return left(in);
}

/* PkgLength, which counts itself and has 1 to 4 bytes: splits off what it spans. */
static bool take_package(struct bytes *in, struct bytes *inside)
{
	unsigned more = left(in) ? *in->at >> 6 : 0;
	size_t length;

	if (left(in) <= more)
		return false;
	length = *in->at & (more ? 0x0f : 0x3f);
	for (unsigned i = 1; i <= more; i++)
		length |= (size_t)in->at[i] << (8 * i - 4);
	inside->at = in->at + more + 1;
	if (length <= more || !skip(in, length))
		return false;
	inside->end = in->at;
	return true;
}

/* A constant: a number, a string, a buffer, a package. */
static bool skip_constant(struct bytes *in)
{
	unsigned op = left(in) ? *in->at++ : OP_EXTENDED;
	struct bytes inside;

	if (op <= 1 || op == UINT8_MAX)
		return true;
	if (op == OP_STRING) {
		const uint8_t *end = memchr(in->at, 0, left(in));

		return end && skip(in, (size_t)(end - in->at) + 1);
	}
	if (op >= OP_BUFFER && op <= OP_VAR_PACKAGE)
		return take_package(in, &inside);
	return op == OP_BYTE    ? skip(in, 1)
	       : op == OP_WORD  ? skip(in, 2)
	       : op == OP_DWORD ? skip(in, 4)
	                        : op == OP_QWORD && skip(in, 8);
}

/* A large resource item with more behind it. */
static bool is_item(const struct bytes *in, uint8_t tag, uint8_t length)
{
	return left(in) > 3u + length && in->at[0] == tag && in->at[1] == length && !in->at[2];
}

/* A resource template of one range of memory and one line. */
static bool read_resources(struct bytes value, struct acpi_plain *device)
{
	static const enum irq_trigger triggers[] = {IRQ_TRIGGER_LEVEL_HIGH, IRQ_TRIGGER_EDGE, IRQ_TRIGGER_LEVEL,
	                                            IRQ_TRIGGER_EDGE_LOW};
	bool line = false;
	struct bytes in;

	if (*value.at++ != OP_BUFFER || !take_package(&value, &in) || left(&in) < 2 || in.at[0] != OP_BYTE ||
	    in.at[1] != left(&in) - 2)
		return false;
	for (in.at += 2; left(&in) > 2; in.at += 3 + in.at[1]) {
		if (is_item(&in, RESOURCE_MEMORY, 9) && !device->size) {
			memcpy(&device->base, in.at + 4, 4);
			memcpy(&device->size, in.at + 8, 4);
		} else if (is_item(&in, RESOURCE_LINE, 6) && in.at[4] == 1 && !line) {
			line = true;
			device->trigger = triggers[in.at[3] >> 1 & 3]; /* bit 0: edge, bit 1: active low */
			memcpy(&device->gsi, in.at + 5, 4);
		} else {
			return false;
		}
	}
	return left(&in) == 2 && *in.at == RESOURCE_END && device->size && line;
}

static bool is_string(struct bytes value, const char *text)
{
	return left(&value) == strlen(text) + 2 && *value.at++ == OP_STRING && starts(&value, text);
}

/* The inside of a Device that mentions the id. False: it is not plain. */
static bool read_device(struct bytes in, const char *id, struct acpi_plain *device)
{
	char name[SEGMENT + 1] = "";
	bool is_id = false;

	if (left(&in) < SEGMENT)
		return false;
	memcpy(name, in.at, SEGMENT);
	/* Of one segment only, else it is a prefix that stands there. */
	if (((name[0] < 'A' || name[0] > 'Z') && name[0] != '_') || acpi_mentions(name) != 1)
		return false;
	in.at += SEGMENT;
	while (left(&in)) {
		struct bytes object = in, value;

		if (!skip(&in, 1 + SEGMENT) || *object.at++ != OP_NAME)
			return false;
		value.at = in.at;
		if (!skip_constant(&in))
			return false;
		value.end = in.at;
		if (starts(&object, "_HID"))
			is_id = is_string(value, id);
		else if (starts(&object, "_CRS") ? !read_resources(value, device)
		                                 : !starts(&object, "_UID") && !starts(&object, "_CCA"))
			return false;
	}
	return is_id && device->size;
}

/* The plain devices of a list of terms; what is in other devices, methods and fields says nothing of them. False: there is what may be a
 * condition, or a device that is not plain. */
static bool walk(struct bytes in, bool is_root, struct search *search)
{
	while (left(&in)) {
		unsigned op = *in.at++;
		struct acpi_plain device = {0};
		struct bytes inside;

		if (op == OP_EXTENDED && left(&in))
			op = op << 8 | *in.at++;
		if (op == OP_NAME) {
			if (!skip_root(&in) || !skip(&in, SEGMENT) || !skip_constant(&in))
				return false;
			continue;
		}
		if ((op != OP_SCOPE && op != OP_METHOD && (op < OP_FIELD || op > OP_BANK_FIELD)) || !take_package(&in, &inside))
			return false;
		if (op == OP_SCOPE && is_root && skip_root(&inside) && starts(&inside, "_SB_")) {
			inside.at += SEGMENT;
			if (!walk(inside, false, search))
				return false;
		} else if (op == OP_DEVICE && acpi_count(inside.at, inside.end, search->id)) {
			if (!read_device(inside, search->id, &device))
				return false;
			search->count++;
			if (search->found)
				search->found(&device);
		}
	}
	return true;
}

static bool walk_all(struct search *search)
{
	const struct acpi_header *table;

	for (unsigned i = 0; (table = acpi_table_at(i)) != NULL; i++) {
		const uint8_t *start = (const uint8_t *)table;

		if (acpi_has_aml(table) && !walk((struct bytes){start + sizeof(*table), start + table->length}, true, search))
			return false;
	}
	return true;
}

bool acpi_plain_devices(const char *id, void (*found)(const struct acpi_plain *device))
{
	struct search search = {.id = id};
	unsigned mentions = acpi_mentions(id);

	if (!mentions || mentions > DEVICES_MAX || !walk_all(&search) || search.count != mentions)
		return false;
	search.found = found;
	return walk_all(&search);
}
