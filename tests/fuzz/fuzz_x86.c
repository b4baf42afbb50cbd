/*
 * arch/x86_64's readers of firmware's tables with any tables at all: the MADT and the FADT, found good by acpi_init() so far as their sums go,
 * and the MP table, whose sums are made right. Nothing is read beyond a table, no more is kept than there is room for, and few lines are said.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <base/acpi.h>
#include <base/page.h>
#include <host.h>

#include "check.h"
#include "forged.h"

#define sums_to_zero sums_to_zero_of_mptable
#define parse parse_mptable
#include "../../arch/x86_64/mptable.c"
#undef sums_to_zero
#undef parse
#define field field_of_fadt
#define parse parse_madt
#include "../../arch/x86_64/fadt.c"
#include "../../arch/x86_64/madt.c"

#define PLACE 0x20000u
#define EBDA 0x9fc00u

static uint8_t rsdp[36], root[36 + 4], floating[1024], *table;

static void give_table(const char *signature, const uint8_t *data, size_t size)
{
	size_t length = 36 + size;

	table = calloc(1, length);
	memcpy(table, signature, 4);
	table[4] = (uint8_t)length;
	table[5] = (uint8_t)(length >> 8);
	memcpy(table + 36, data, size);
	fix_sum(table, length, 9);
	memset(root, 0, sizeof(root));
	memcpy(root, "RSDT", 4);
	root[4] = sizeof(root);
	root[37] = (PLACE + 0x1000) >> 8 & 255;
	root[38] = (PLACE + 0x1000) >> 16;
	fix_sum(root, sizeof(root), 9);
	memset(rsdp, 0, sizeof(rsdp));
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[18] = PLACE >> 16;
	fix_sum(rsdp, 20, 8);
	host_firmware_add(EBDA, rsdp, sizeof(rsdp));
	host_firmware_add(PLACE, root, sizeof(root));
	host_firmware_add(PLACE + 0x1000, table, length);
	acpi_init(EBDA);
	fuzz_check(acpi_table(signature, 0), "no table");
}

/* The pointer is at the EBDA's first byte, the table where it says; `help`: as if whoever made them had known how. */
static void give_mptable(const uint8_t *data, size_t size, bool help)
{
	uint32_t place = PLACE;
	uint16_t length = (uint16_t)size;

	table = calloc(1, size + !size);
	memcpy(table, data, size);
	memset(floating, 0, sizeof(floating));
	memcpy(floating, "_MP_", 4);
	memcpy(floating + 4, &place, 4);
	fix_sum(floating, 16, 10);
	if (help && size >= 44) {
		memcpy(table, "PCMP", 4);
		memcpy(table + 4, &length, 2);
		fix_sum(table, size, 7);
	}
	ebda = EBDA;
	host_firmware_add(EBDA, floating, sizeof(floating));
	host_firmware_add(PLACE, table, size);
	acpi_init(0);
}

static void check(void)
{
	fuzz_check(madt.ioapic_count <= MADT_IOAPIC_MAX, "%u I/O APICs", madt.ioapic_count);
	for (unsigned i = 0; i < MIN(madt.cpu_count, (unsigned)CPU_MAX); i++)
		for (unsigned other = 0; other < i; other++)
			fuzz_check(madt.apic_ids[i] != madt.apic_ids[other], "two CPUs with id %u", madt.apic_ids[i]);
}

static void run(const uint8_t *data, size_t size)
{
	struct host_region everywhere = {.base = 0, .size = UINT64_C(1) << 46};
	uint8_t first;

	if (!size)
		return;
	first = *data++;
	size--;
	fuzz_machine(64 << 10);
	while (page_alloc(PAGE_SIZE, PAGE_SIZE))
		; /* an address in the input may be one of RAM, and RAM can be read */
	host_mmio_add(&everywhere);
	memset(&madt, 0, sizeof(madt));
	memset(&fadt, 0, sizeof(fadt));
	ebda = 0;
	if (first % 4 == 0)
		give_table("APIC", data, size);
	else if (first % 4 == 1)
		give_table("FACP", data, size);
	else
		give_mptable(data, size, first % 4 == 2);
	madt_init();
	fadt_init();
	check();
	host_mmio_remove(&everywhere);
	free(table);
	acpi_init(0);
	fuzz_machine_end(true, 10); /* the FADT's registers may have one each */
}

static void seeds(void)
{
	static const uint8_t apic[] = {0, 0, 0xe0, 0xfe, 1,  0,  0, 0, 0, 8,    0,    0, 1, 0, 0, 0, 0,  8, 1, 1, 1,
	                               0, 0, 0,    1,    12, 0,  0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, 2, 10, 0, 9, 9, 0,
	                               0, 0, 15,   0,    9,  16, 0, 0, 0, 1,    0,    0, 1, 0, 0, 0, 7,  0, 0, 0};
	static const uint8_t mp[44 + 20 + 8] = {[44] = 0, [45] = 1, [46] = 20, [47] = 3, [64] = 2, [65] = 1};
	uint8_t facp[244 - 36 + 12] = {0};

	fuzz_put(0, 1);
	fuzz_put_all(apic, sizeof(apic));
	fuzz_seed("madt");
	fuzz_put(0, 1);
	fuzz_put_all(apic, 8);
	for (unsigned i = 0; i < 250; i++)
		fuzz_put8(9, 16, 0, 0, (uint8_t)i, (uint8_t)(i >> 8), 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
	fuzz_seed("many CPUs");
	fuzz_put(0, 1);
	fuzz_put_all(apic, 8);
	for (unsigned i = 0; i < 40; i++)
		fuzz_put8(1, 12, 0, 0, 0, 0, 0xc0, 0xfe, (uint8_t)i, 0, 0, 0);
	for (unsigned i = 0; i < 40; i++)
		fuzz_put8(2, 10, 0, 99, 1, 0, 0, 0, 0, 0);
	fuzz_seed("many of what there are few");
	facp[65 - 36] = 6;
	facp[113 - 36] = 4; /* a reset register */
	facp[116 - 36] = 1;
	facp[120 - 36] = 0xf9;
	facp[121 - 36] = 0xc;
	for (unsigned flags = 0; flags < 2; flags++) {
		facp[114 - 36] = flags ? 0x10 : 0;
		fuzz_put(1, 1);
		fuzz_put_all(facp, sizeof(facp));
		fuzz_seed(flags ? "fadt, reduced" : "fadt");
	}
	fuzz_put(2, 1);
	fuzz_put_all(mp, sizeof(mp));
	fuzz_seed("mp table");
	fuzz_put(2, 1);
	fuzz_put_all(mp, 70);
	fuzz_seed("mp table, cut");
	fuzz_put(3, 1);
	fuzz_put_all(mp, 50);
	fuzz_seed("no mp table");
}

FUZZ_TARGET(x86);
