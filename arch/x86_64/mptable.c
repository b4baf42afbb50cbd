/*
 * The CPUs, from the MP table (MultiProcessor Specification 1.4), for machines without ACPI. What it says of interrupts is not used.
 *
 * A floating pointer, somewhere in low memory, leads to the configuration table. Both are the firmware's or whoever's: mapped before they are
 * read, summed before they are believed.
 */
#include <string.h>

#include <arch/mmu.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define BDA_EBDA 0x40e           /* where the BIOS leaves the segment of its extended data area */
#define BASE_MEMORY_TOP 0xa0000u /* at most; that area ends there */
#define BASE_MEMORY_LOW 0x80000u
#define KIB 1024u
#define ROM_START 0xf0000u
#define ROM_SIZE 0x10000u
#define STEP 16u

#define ENTRY_CPU 0
#define CPU_ENABLED 1u

struct floating_pointer {
	char signature[4];
	uint32_t table;
	uint8_t paragraphs, revision, checksum, features[5];
} __attribute__((packed));
_Static_assert(sizeof(struct floating_pointer) == 16, "MP floating pointer structure");

struct mp_table {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_length, entry_count;
	uint32_t local_apic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct mp_table) == 44, "MP configuration table header");

static uint32_t ebda;

void mptable_early(void)
{
	const volatile uint16_t *segment;
	uintptr_t at = BDA_EBDA;

	__asm__("" : "+r"(at)); /* for the compiler no object lies in the first page */
	segment = (const volatile uint16_t *)at;
	ebda = (uint32_t)*segment << 4;
}

static bool sums_to_zero(const void *memory, size_t size)
{
	const uint8_t *byte = memory;
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + byte[i]);
	return sum == 0;
}

static const struct floating_pointer *find_in(uint64_t start, uint64_t size)
{
	const char *memory = mmu_map_firmware(start, size);

	for (uint64_t at = 0; memory && at + STEP <= size; at += STEP) {
		if (memcmp(memory + at, "_MP_", 4) == 0 && sums_to_zero(memory + at, STEP))
			return (const struct floating_pointer *)(memory + at);
	}
	return NULL;
}

/* "MP Floating Pointer Structure": the first KiB of the EBDA, the last one of base memory, the BIOS. */
static const struct floating_pointer *find(void)
{
	const struct floating_pointer *found = NULL;

	if (ebda >= BASE_MEMORY_LOW && ebda < BASE_MEMORY_TOP) {
		found = find_in(ebda, KIB);
		if (!found)
			found = find_in(ebda - KIB, KIB);
	}
	if (!found)
		found = find_in(BASE_MEMORY_TOP - KIB, KIB);
	return found ? found : find_in(ROM_START, ROM_SIZE);
}

/* As far as the table is long: firmware (qboot) leaves the count of entries zero. */
static void parse(const struct mp_table *table)
{
	static const uint8_t lengths[] = {20, 8, 8, 8, 8}; /* of the base table's entries, by type */
	const uint8_t *at = (const uint8_t *)(table + 1), *end = (const uint8_t *)table + table->length;

	for (; at < end; at += lengths[at[0]]) {
		if (at[0] >= ARRAY_SIZE(lengths) || end - at < lengths[at[0]]) {
			log_warn("mp table: entry of type %u at %u is cut or unknown, the rest is left out", at[0],
			         (unsigned)(at - (const uint8_t *)table));
			return;
		}
		/* Type, APIC id, its version, flags. */
		if (at[0] == ENTRY_CPU && at[3] & CPU_ENABLED)
			madt_add_cpu(at[1]);
	}
}

void mptable_init(void)
{
	const struct floating_pointer *pointer = find();
	const struct mp_table *table;

	if (!pointer || !pointer->table) /* none, or one of the default configurations: two CPUs of the last century */
		return;
	table = mmu_map_firmware(pointer->table, sizeof(*table));
	if (!table || memcmp(table->signature, "PCMP", 4) != 0 || table->length < sizeof(*table) ||
	    !mmu_map_firmware(pointer->table, table->length) || !sums_to_zero(table, table->length))
		log_warn("mp table: at 0x%x there is none that holds, one CPU is used", pointer->table);
	else
		parse(table);
}
