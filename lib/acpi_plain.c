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

/* The one resource template that is plain: a "32-Bit Fixed Memory Range Descriptor", an "Extended Interrupt Descriptor", the end. */
struct resources {
	uint32_t memory; /* tag and length: 24 bits; whether it can be written */
	uint32_t base, size;
	uint32_t line; /* tag and length: 24 bits; flags */
	uint8_t line_count;
	uint32_t gsi;
	uint8_t end, checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct resources) == 23, "ACPI: resource descriptors");

#define ITEM 0x00ffffffu
#define ITEM_MEMORY 0x000986u
#define ITEM_LINE 0x000689u
#define RESOURCE_END 0x79

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

static bool is_name(const uint8_t *at, const char *name) { return memcmp(at, name, SEGMENT) == 0; }

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
	static const uint8_t numbers[] = {[0] = 1, [1] = 1, [OP_BYTE] = 2, [OP_WORD] = 3, [OP_DWORD] = 5, [OP_QWORD] = 9};
	struct bytes inside;
	unsigned op;

	if (!left(in))
		return false;
	op = *in->at;
	if (op < ARRAY_SIZE(numbers) && numbers[op])
		return skip(in, numbers[op]);
	if (op == OP_STRING) {
		while (left(in) && *in->at)
			in->at++;
		return skip(in, 1);
	}
	in->at++;
	return op == UINT8_MAX || (op >= OP_BUFFER && op <= OP_VAR_PACKAGE && take_package(in, &inside));
}

static bool read_resources(struct bytes value, struct acpi_plain *device)
{
	static const enum irq_trigger triggers[] = {IRQ_TRIGGER_LEVEL_HIGH, IRQ_TRIGGER_EDGE, IRQ_TRIGGER_LEVEL,
	                                            IRQ_TRIGGER_EDGE_LOW};
	const struct resources *resources;
	struct bytes in;

	if (*value.at++ != OP_BUFFER || !take_package(&value, &in) || left(&in) != 2 + sizeof(*resources) ||
	    in.at[0] != OP_BYTE || in.at[1] != sizeof(*resources))
		return false;
	resources = (const struct resources *)(in.at + 2);
	device->base = resources->base;
	device->size = resources->size;
	device->gsi = resources->gsi;
	device->trigger = triggers[resources->line >> 25 & 3]; /* of the flags bit 1: edge, bit 2: active low */
	return (resources->memory & ITEM) == ITEM_MEMORY && (resources->line & ITEM) == ITEM_LINE && resources->line_count == 1 &&
	       resources->end == RESOURCE_END;
}

static bool is_string(struct bytes value, const char *text)
{
	size_t length = strlen(text);

	return left(&value) == length + 2 && *value.at == OP_STRING && memcmp(value.at + 1, text, length) == 0;
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
		const uint8_t *object = in.at;
		struct bytes value;

		if (!skip(&in, 1 + SEGMENT) || *object++ != OP_NAME)
			return false;
		value.at = in.at;
		if (!skip_constant(&in))
			return false;
		value.end = in.at;
		if (is_name(object, "_HID"))
			is_id = is_string(value, id);
		else if (is_name(object, "_CRS") ? device->size || !read_resources(value, device)
		                                 : !is_name(object, "_UID") && !is_name(object, "_CCA"))
			return false;
	}
	return is_id && device->size;
}

static bool take_device(struct bytes inside, struct search *search)
{
	struct acpi_plain device = {0};

	if (!acpi_count(inside.at, inside.end, search->id))
		return true;
	if (!read_device(inside, search->id, &device))
		return false;
	search->count++;
	if (search->found)
		search->found(&device);
	return true;
}

/* The plain devices of a list of terms; what is in other devices, methods and fields says nothing of them. False: there is what may be a
 * condition, or a device that is not plain. */
static bool walk(struct bytes in, bool is_root, struct search *search)
{
	while (left(&in)) {
		unsigned op = *in.at++;
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
		if (op == OP_SCOPE && is_root && skip_root(&inside) && left(&inside) >= SEGMENT && is_name(inside.at, "_SB_")) {
			inside.at += SEGMENT;
			if (!walk(inside, false, search))
				return false;
		} else if (op == OP_DEVICE && !take_device(inside, search)) {
			return false;
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
