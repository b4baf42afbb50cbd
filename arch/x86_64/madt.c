/*
 * The interrupt wiring: I/O APICs and where the ISA interrupts come in, from ACPI's MADT. Without one (microvm with acpi=off) it
 * is a PC's of old: one I/O APIC at its usual place, ISA interrupts on the lines of the same number, edge-triggered.
 */
#include <string.h>

#include <base/acpi.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define DEFAULT_IOAPIC 0xfec00000u

#define ENTRY_IOAPIC 1
#define ENTRY_OVERRIDE 2

struct madt_table {
	struct acpi_header header;
	uint32_t local_apic, flags;
} __attribute__((packed));

struct entry_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct entry_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

/* MPS INTI flags: 0 is "as the bus has it", which for ISA is edge and high. */
#define POLARITY_LOW 3u
#define TRIGGER_LEVEL (3u << 2)

struct madt_info madt;

static void add_ioapic(const struct entry_ioapic *entry)
{
	if (madt.ioapic_count == MADT_IOAPIC_MAX)
		log_warn("madt: more than %d I/O APICs, that of line %u left out", MADT_IOAPIC_MAX, entry->gsi_base);
	else
		madt.ioapic[madt.ioapic_count++] = (struct madt_ioapic){entry->address, entry->gsi_base};
}

static void add_override(const struct entry_override *entry)
{
	if (entry->source < ARRAY_SIZE(madt.isa))
		madt.isa[entry->source] = (struct madt_line){.gsi = entry->gsi,
		                                             .level = (entry->flags & TRIGGER_LEVEL) == TRIGGER_LEVEL,
		                                             .low = (entry->flags & POLARITY_LOW) == POLARITY_LOW};
	else
		log_warn("madt: override of ISA interrupt %u left out", entry->source);
}

static void parse(const struct madt_table *table)
{
	const uint8_t *at = (const uint8_t *)(table + 1), *end = (const uint8_t *)table + table->header.length;

	if (table->header.length < sizeof(*table))
		return;
	/* An entry: type, length, and what the type says. */
	for (; end - at >= 2; at += at[1]) {
		if (at[1] < 2 || at[1] > end - at) {
			log_warn("madt: entry of type %u with length %u, the rest is left out", at[0], at[1]);
			return;
		}
		if (at[0] == ENTRY_IOAPIC && at[1] >= sizeof(struct entry_ioapic))
			add_ioapic((const struct entry_ioapic *)at);
		else if (at[0] == ENTRY_OVERRIDE && at[1] >= sizeof(struct entry_override))
			add_override((const struct entry_override *)at);
	}
}

void madt_init(void)
{
	const struct acpi_header *table = acpi_table("APIC", 0);

	for (unsigned i = 0; i < ARRAY_SIZE(madt.isa); i++)
		madt.isa[i].gsi = i;
	if (table)
		parse((const struct madt_table *)table);
	else
		madt.ioapic[madt.ioapic_count++] = (struct madt_ioapic){DEFAULT_IOAPIC, 0};
}
