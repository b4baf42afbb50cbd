/*
 * The CPUs and the interrupt wiring: I/O APICs and where the ISA interrupts come in, from ACPI's MADT. Without one (microvm with
 * acpi=off) the MP table may tell the CPUs, and the wiring is a PC's of old: one I/O APIC at its usual place, ISA interrupts on the lines of
 * the same number, edge-triggered.
 */
#include <string.h>

#include <base/acpi.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define DEFAULT_IOAPIC 0xfec00000u

#define ENTRY_LOCAL_APIC 0
#define ENTRY_IOAPIC 1
#define ENTRY_OVERRIDE 2
#define ENTRY_LOCAL_X2APIC 9

#define CPU_ENABLED 1u

struct madt_table {
	struct acpi_header header;
	uint32_t local_apic, flags;
} __attribute__((packed));

struct entry_local_apic {
	uint8_t type, length, processor, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct entry_local_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t apic_id, flags, processor;
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

void madt_add_cpu(uint32_t apic_id)
{
	for (unsigned i = 0; i < MIN(madt.cpu_count, (unsigned)CPU_MAX); i++) {
		if (madt.apic_ids[i] == apic_id)
			return;
	}
	if (madt.cpu_count < CPU_MAX)
		madt.apic_ids[madt.cpu_count] = apic_id;
	madt.cpu_count++; /* all of them: smp.c says how many are left out */
}

/* A CPU that is not enabled is an empty socket. */
static void add_cpu(const uint8_t *entry)
{
	const struct entry_local_apic *apic = (const struct entry_local_apic *)entry;
	const struct entry_local_x2apic *x2apic = (const struct entry_local_x2apic *)entry;

	if (entry[0] == ENTRY_LOCAL_APIC && entry[1] >= sizeof(*apic) && apic->flags & CPU_ENABLED && apic->apic_id != UINT8_MAX)
		madt_add_cpu(apic->apic_id);
	if (entry[0] == ENTRY_LOCAL_X2APIC && entry[1] >= sizeof(*x2apic) && x2apic->flags & CPU_ENABLED)
		madt_add_cpu(x2apic->apic_id);
}

/* False: there is no place for it. */
static bool add_ioapic(const struct entry_ioapic *entry)
{
	if (madt.ioapic_count == MADT_IOAPIC_MAX)
		return false;
	madt.ioapic[madt.ioapic_count++] = (struct madt_ioapic){entry->address, entry->gsi_base};
	return true;
}

static bool add_override(const struct entry_override *entry)
{
	if (entry->source >= ARRAY_SIZE(madt.isa))
		return false;
	madt.isa[entry->source] = (struct madt_line){.gsi = entry->gsi,
	                                             .level = (entry->flags & TRIGGER_LEVEL) == TRIGGER_LEVEL,
	                                             .low = (entry->flags & POLARITY_LOW) == POLARITY_LOW};
	return true;
}

static void parse(const struct madt_table *table)
{
	const uint8_t *at = (const uint8_t *)(table + 1), *end = (const uint8_t *)table + table->header.length;

	unsigned left_out = 0;

	if (table->header.length < sizeof(*table))
		return;
	/* An entry: type, length, and what the type says. */
	for (; end - at >= 2; at += at[1]) {
		if (at[1] < 2 || at[1] > end - at) {
			log_warn("madt: entry of type %u with length %u, the rest is left out", at[0], at[1]);
			break;
		}
		if (at[0] == ENTRY_IOAPIC && at[1] >= sizeof(struct entry_ioapic))
			left_out += !add_ioapic((const struct entry_ioapic *)at);
		else if (at[0] == ENTRY_OVERRIDE && at[1] >= sizeof(struct entry_override))
			left_out += !add_override((const struct entry_override *)at);
		else
			add_cpu(at);
	}
	if (left_out)
		log_warn("madt: %u entries are left out: I/O APICs beyond %d, overrides of no ISA interrupt", left_out,
		         MADT_IOAPIC_MAX);
}

void madt_init(void)
{
	const struct acpi_header *table = acpi_table("APIC", 0);

	for (unsigned i = 0; i < ARRAY_SIZE(madt.isa); i++)
		madt.isa[i].gsi = i;
	if (table) {
		parse((const struct madt_table *)table);
	} else {
		mptable_init();
		madt.ioapic[madt.ioapic_count++] = (struct madt_ioapic){DEFAULT_IOAPIC, 0};
	}
}
