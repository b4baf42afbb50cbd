/*
 * ACPI's static tables.
 *
 * They are the firmware's and may say anything: each address is mapped before it is read, each length is checked against what
 * was mapped, each sum is checked before a field is believed. All tables are looked at once, at the start, so that a bad one
 * gets its one line; afterwards acpi_table() is a search in a short list. Tables lie at any byte, hence the packed overlays.
 */
#include <base/acpi.h>

#include <string.h>

#include <arch/mmu.h>
#include <base/log.h>
#include <base/util.h>

#define LENGTH_MAX (4u << 20) /* the longest table that is believed */

#define SCAN_START 0xe0000u /* "Finding the RSDP on IA-PC Systems" */
#define SCAN_SIZE 0x20000u
#define SCAN_STEP 16u

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length; /* this and the rest since revision 2 */
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI: RSDP");

#define RSDP_V1_SIZE offsetof(struct rsdp, length)

/* AML */
#define NAME_OP 0x08
#define BYTE_PREFIX 0x0a
#define PACKAGE_OP 0x12

/* Offsets in the FADT. */
#define FADT_DSDT 40
#define FADT_X_DSDT 140

static const struct acpi_header *tables[ACPI_TABLES_MAX];
static unsigned table_count;

static bool sums_to_zero(const void *memory, size_t size)
{
	const uint8_t *byte = memory;
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + byte[i]);
	return sum == 0;
}

/* `size` (4 or 8) bytes as an address; 0 where they are outside the table. */
static uint64_t address_at(const struct acpi_header *table, uint32_t offset, unsigned size)
{
	uint64_t address = 0;

	if (table->length >= size && offset <= table->length - size)
		memcpy(&address, (const uint8_t *)table + offset, size);
	return address;
}

/* A table, mapped and checked. */
static const struct acpi_header *open_table(uint64_t phys)
{
	const struct acpi_header *header = mmu_map_firmware(phys, sizeof(*header));
	const char *problem = NULL;
	uint32_t length = 0;

	if (!header) {
		log_warn("acpi: table at 0x%llx left out: out of reach", (unsigned long long)phys);
		return NULL;
	}
	length = header->length;
	if (length < sizeof(*header) || length > LENGTH_MAX)
		problem = "bad length";
	else if (!mmu_map_firmware(phys, length))
		problem = "out of reach";
	else if (!sums_to_zero(header, length))
		problem = "bad checksum";
	if (!problem)
		return header;
	log_warn("acpi: table \"%.4s\" at 0x%llx left out: %s (length %u)", header->signature, (unsigned long long)phys, problem,
	         length);
	return NULL;
}

static void add_table(uint64_t phys)
{
	const struct acpi_header *table = open_table(phys);

	if (!table)
		return;
	if (table_count == ACPI_TABLES_MAX)
		log_warn("acpi: more than %d tables, \"%.4s\" left out", ACPI_TABLES_MAX, table->signature);
	else
		tables[table_count++] = table;
}

/* The RSDP at an address, checked; NULL: none. */
static const struct rsdp *rsdp_at(uint64_t phys)
{
	const struct rsdp *rsdp = mmu_map_firmware(phys, RSDP_V1_SIZE);

	if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) != 0 || !sums_to_zero(rsdp, RSDP_V1_SIZE))
		return NULL;
	if (rsdp->revision < 2)
		return rsdp;
	if (!mmu_map_firmware(phys, sizeof(*rsdp)) || rsdp->length < sizeof(*rsdp) || rsdp->length > LENGTH_MAX ||
	    !mmu_map_firmware(phys, rsdp->length) || !sums_to_zero(rsdp, rsdp->length))
		return NULL;
	return rsdp;
}

static const struct rsdp *scan(void)
{
	/* One comparison of a word at each of 8,192 places, not a call. */
	const uint64_t *area = mmu_map_firmware(SCAN_START, SCAN_SIZE);
	uint64_t signature;

	if (!area)
		return NULL;
	memcpy(&signature, "RSD PTR ", sizeof(signature));
	for (const uint64_t *at = area, *end = area + SCAN_SIZE / sizeof(*area); at < end; at += SCAN_STEP / sizeof(*at)) {
		const struct rsdp *rsdp;

		if (likely(*at != signature))
			continue;
		rsdp = rsdp_at(SCAN_START + (uint64_t)((const uint8_t *)at - (const uint8_t *)area));
		if (rsdp)
			return rsdp;
	}
	return NULL;
}

static void add_all(const struct rsdp *rsdp)
{
	bool wide = rsdp->revision >= 2 && rsdp->xsdt;
	const struct acpi_header *root = open_table(wide ? rsdp->xsdt : rsdp->rsdt);
	unsigned size = wide ? 8 : 4;

	if (wide && !root && rsdp->rsdt) {
		root = open_table(rsdp->rsdt);
		size = 4;
	}
	if (!root)
		return;
	if (memcmp(root->signature, size == 8 ? "XSDT" : "RSDT", 4) != 0) {
		log_warn("acpi: no list of tables, but \"%.4s\" where it should be", root->signature);
		return;
	}
	for (uint32_t at = sizeof(*root); root->length - at >= size; at += size) {
		uint64_t phys = address_at(root, at, size);

		if (phys)
			add_table(phys);
	}
}

void acpi_init(uint64_t address)
{
	const struct rsdp *rsdp = address ? rsdp_at(address) : NULL;

	table_count = 0;
	if (address && !rsdp)
		log_warn("acpi: no RSDP at 0x%llx, where the loader told it", (unsigned long long)address);
	if (!rsdp)
		rsdp = scan();
	if (!rsdp)
		return;
	add_all(rsdp);

	const struct acpi_header *fadt = acpi_table("FACP", 0);

	if (fadt) {
		uint64_t dsdt = address_at(fadt, FADT_X_DSDT, 8);

		if (!dsdt)
			dsdt = address_at(fadt, FADT_DSDT, 4);
		if (dsdt)
			add_table(dsdt);
	}
}

const struct acpi_header *acpi_table_at(unsigned index) { return index < table_count ? tables[index] : NULL; }

const struct acpi_header *acpi_table(const char *signature, unsigned index)
{
	for (unsigned i = 0; i < table_count; i++) {
		if (memcmp(tables[i]->signature, signature, 4) == 0 && index-- == 0)
			return tables[i];
	}
	return NULL;
}

bool acpi_has_aml(const struct acpi_header *table)
{
	return memcmp(table->signature, "DSDT", 4) == 0 || memcmp(table->signature, "SSDT", 4) == 0;
}

unsigned acpi_count(const uint8_t *at, const uint8_t *end, const char *text)
{
	size_t length = strlen(text);
	unsigned count = 0;
	uint32_t here, start;

	if ((size_t)(end - at) < length)
		return 0;
	memcpy(&start, text, sizeof(start));
	end -= length;
	do { /* its first four bytes at each of thousands of places: the rest is compared at few */
		memcpy(&here, at, sizeof(here));
		if (here == start)
			count += memcmp(at, text, length) == 0;
	} while (at++ < end);
	return count;
}

unsigned acpi_mentions(const char *text)
{
	unsigned count = 0;

	for (unsigned i = 0; i < table_count; i++)
		if (acpi_has_aml(tables[i]))
			count += acpi_count((const uint8_t *)(tables[i] + 1), (const uint8_t *)tables[i] + tables[i]->length,
			                    text);
	return count;
}

/* An AML integer as firmware writes the elements of _S5_: Zero, One, or a byte. */
static bool aml_small(const uint8_t **at, const uint8_t *end, uint8_t *value)
{
	if (*at < end && **at <= 1) {
		*value = *(*at)++;
		return true;
	}
	if (end - *at < 2 || **at != BYTE_PREFIX)
		return false;
	*value = (*at)[1];
	*at += 2;
	return true;
}

/* DefPackage behind a name: PackageOp, PkgLength (1 to 4 bytes, the first one's top bits count the rest), NumElements, elements. */
static bool aml_sleep_package(const uint8_t *at, const uint8_t *end, uint8_t type[2])
{
	if (end - at < 3 || *at++ != PACKAGE_OP)
		return false;

	unsigned more = *at >> 6;

	if ((unsigned)(end - at) < more + 2)
		return false;
	at += 1 + more;
	if (*at++ < 1 || !aml_small(&at, end, &type[0]))
		return false;
	if (!aml_small(&at, end, &type[1]))
		type[1] = type[0];
	return true;
}

static bool names_soft_off(const struct acpi_header *table, uint8_t type[2])
{
	static const uint8_t name[] = {NAME_OP, '_', 'S', '5', '_'}, rooted[] = {NAME_OP, '\\', '_', 'S', '5', '_'};
	const uint8_t *at = (const uint8_t *)(table + 1), *end = (const uint8_t *)table + table->length;

	for (; end - at >= (ptrdiff_t)sizeof(rooted) && (at = memchr(at, NAME_OP, (size_t)(end - at) + 1 - sizeof(rooted)));
	     at++) {
		if (memcmp(at, name, sizeof(name)) == 0 && aml_sleep_package(at + sizeof(name), end, type))
			return true;
		if (memcmp(at, rooted, sizeof(rooted)) == 0 && aml_sleep_package(at + sizeof(rooted), end, type))
			return true;
	}
	return false;
}

bool acpi_soft_off(uint8_t type[2])
{
	const struct acpi_header *table = acpi_table("DSDT", 0);

	if (table && names_soft_off(table, type))
		return true;
	for (unsigned i = 0; (table = acpi_table("SSDT", i)) != NULL; i++)
		if (names_soft_off(table, type))
			return true;
	return false;
}
