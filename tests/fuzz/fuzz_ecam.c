/*
 * drivers/bus/pci_host.c with any words, any MCFG and any AML to look for a _CBA in. The first byte says which; no bus lies outside
 * of what a word or an entry says, each bus is somebody's once, and no more is said than a line for each.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/acpi.h>
#include <base/cmdline.h>
#include <drivers/bus/pci.h>
#include <host.h>

/* The linked one has these names. */
#define pci_find_hosts ecam_find_hosts
#define pci_map_bus ecam_map_bus
volatile uint8_t *ecam_map_bus(const struct pci_host *host, unsigned bus);
unsigned ecam_find_hosts(const struct pci_host **found);
#include "../../drivers/bus/pci_host.c"

#define TABLE_AT 0x9fc00u
#define WORDS_MAX 40u

/* What a word says, said again in another way, is the same. */
static void check_word(const char *text)
{
	struct pci_host host = {0}, again = {0};
	char other[96];
	unsigned buses;

	if (!parse_word(text, &host))
		return;
	fuzz_check(host.bus_first <= host.bus_last, "buses %u to %u of %s", host.bus_first, host.bus_last, text);
	buses = host.bus_last + 1u - host.bus_first;
	snprintf(other, sizeof(other), "%uM@0x%llx:%u-%u", buses, (unsigned long long)(host.ecam + host.bus_first * BUS_BYTES),
	         host.bus_first, host.bus_last);
	fuzz_check(parse_word(other, &again) && again.ecam == host.ecam && again.bus_first == host.bus_first &&
	                   again.bus_last == host.bus_last,
	           "%s is not %s", text, other);
}

static void words(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1);
	unsigned cursor = 0;

	memcpy(text, data, size);
	check_word(text);
	cmdline_init(text);
	free(text);
	for (const char *word; (word = cmdline_next("pci.ecam", &cursor));)
		check_word(word);
}

static void fix_sum(uint8_t *table, size_t length, size_t at)
{
	uint8_t sum = 0;

	table[at] = 0;
	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + table[i]);
	table[at] = (uint8_t)-sum;
}

static uint8_t *table_of(const char *signature, const void *body, size_t length)
{
	uint8_t *table = calloc(1, 36 + length);

	memcpy(table, signature, 4);
	table[4] = (uint8_t)(36 + length);
	table[5] = (uint8_t)((36 + length) >> 8);
	if (length)
		memcpy(table + 36, body, length);
	fix_sum(table, 36 + length, 9);
	return table;
}

static uint8_t *tables[4], rsdp[36];

/* One MCFG, and one DSDT that a FADT leads to, each of exactly its size. */
static void make_tables(const uint8_t *data, size_t size)
{
	static const uint32_t list[] = {TABLE_AT + 0x4000, TABLE_AT + 0x2000};
	size_t first = size ? MIN((size_t)data[0] * 16, size - 1) : 0;
	uint8_t fadt[12] = {[4] = (uint8_t)(TABLE_AT >> 0), [5] = (TABLE_AT + 0x6000) >> 8 & 255, [6] = (TABLE_AT + 0x6000) >> 16};
	const size_t sizes[] = {36 + sizeof(list), 36 + first, 36 + sizeof(fadt), 36 + (size ? size - 1 - first : 0)};

	tables[0] = table_of("RSDT", list, sizeof(list));
	tables[1] = table_of("MCFG", data + 1, first);
	tables[2] = table_of("FACP", fadt, sizeof(fadt));
	tables[3] = table_of("DSDT", data + 1 + first, sizes[3] - 36);
	memcpy(rsdp, "RSD PTR ", 8);
	for (unsigned i = 0; i < 4; i++)
		rsdp[16 + i] = (uint8_t)((TABLE_AT + 0x1000) >> 8 * i);
	fix_sum(rsdp, 20, 8);
	host_firmware_add(TABLE_AT, rsdp, sizeof(rsdp));
	host_firmware_add(TABLE_AT + 0x1000, tables[0], sizes[0]);
	host_firmware_add(TABLE_AT + 0x4000, tables[1], sizes[1]);
	host_firmware_add(TABLE_AT + 0x2000, tables[2], sizes[2]);
	host_firmware_add(TABLE_AT + 0x6000, tables[3], sizes[3]);
	acpi_init(TABLE_AT);
	fuzz_check(acpi_table("MCFG", 0) && acpi_table("DSDT", 0), "the tables are not there");
}

static uint64_t ones(void *context, uint64_t offset, unsigned width)
{
	(void)context, (void)offset, (void)width;
	return UINT32_MAX;
}

static uint32_t by_ports(void *context, uint16_t bdf, uint16_t offset, unsigned width)
{
	(void)context, (void)bdf, (void)offset, (void)width;
	return UINT32_MAX;
}

static void look(void)
{
	const struct pci_host *found;
	unsigned count = ecam_find_hosts(&found);

	fuzz_check(count <= HOST_MAX, "%u hosts", count);
	for (unsigned i = 0; i < count; i++) {
		fuzz_check(found[i].bus_first <= found[i].bus_last, "buses %u to %u", found[i].bus_first, found[i].bus_last);
		for (unsigned other = 0; other < i; other++)
			fuzz_check(found[i].segment != found[other].segment || found[i].bus_first > found[other].bus_last ||
			                   found[other].bus_first > found[i].bus_last,
			           "hosts %u and %u share buses", other, i);
	}
}

static void run(const uint8_t *data, size_t size)
{
	struct host_region everywhere = {.base = 0, .size = UINT64_C(1) << 46, .read = ones};
	bool from_tables = size && data[0] & 1;

	if (!size)
		return;
	fuzz_machine(64 << 10);
	host_mmio_add(&everywhere);
	host_pci_ports_set(data[0] & 2 ? by_ports : NULL, NULL, NULL);
	cmdline_init("");
	if (from_tables)
		make_tables(data + 1, size - 1);
	else
		words(data + 1, size - 1);
	look();
	host_mmio_remove(&everywhere);
	acpi_init(0);
	for (unsigned i = 0; from_tables && i < ARRAY_SIZE(tables); i++)
		free(tables[i]);
	cmdline_init("");
	fuzz_machine_end(false, 2 + (unsigned)(size / 9)); /* a word, an entry, and what stands in the way of tables */
}

static void seeds(void)
{
	static const char *const texts[] = {
		"256M@0xe0000000",
		"pci.ecam=256M@0xe0000000 pci.ecam=16M@0xd0000000:16-31 pci.ecam=16M@0xd0000000:16",
		"pci.ecam=1M@0x100000:255-255 pci.ecam=512K@0 pci.ecam=1@2 pci.ecam=2M@0xffffffffffe00000:0-1",
		"pci.ecam=16M@0xe0000000:0-16 pci.ecam=:: pci.ecam=@",
	};
	static const uint8_t mcfg[] = {0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0, 0, 15,
	                               0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0,    1, 0, 3, 9, 0, 0, 0, 0};
	static const uint8_t cba[] = {8, '_', 'C', 'B', 'A', 0x0e, 0, 0, 0, 0xc0, 1, 0, 0, 0, 0x14, 0, 0};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		static char name[] = "words-0";

		name[6] = (char)('0' + i);
		fuzz_put(i ? 2 : 0, 1);
		fuzz_put_all(texts[i], strlen(texts[i]));
		fuzz_seed(name);
	}
	for (unsigned ports = 0; ports < 2; ports++) {
		fuzz_put(1 | ports << 1, 1);
		fuzz_put((sizeof(mcfg) + 15) / 16, 1);
		fuzz_put_all(mcfg, sizeof(mcfg));
		fuzz_put_all(mcfg, 16 - sizeof(mcfg) % 16);
		fuzz_seed(ports ? "mcfg and ports" : "mcfg");
	}
	fuzz_put8(1, 0);
	fuzz_put_all(cba, sizeof(cba));
	fuzz_seed("cba");
}

FUZZ_TARGET(ecam);
