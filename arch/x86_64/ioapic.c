/*
 * I/O APICs: each turns a range of lines (GSIs) into interrupt messages. One that does not answer like an I/O APIC is left out.
 */
#include <errno.h>

#include <arch/mmio.h>
#include <arch/mmu.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define REG_VERSION 0x01
#define REG_REDIRECTION(line) (0x10 + 2 * (line))

#define ENTRY_ACTIVE_LOW (1u << 13)
#define ENTRY_LEVEL (1u << 15)
#define ENTRY_MASKED (1u << 16)

struct ioapic {
	volatile uint8_t *registers;
	uint32_t address;
	unsigned gsi_base, lines;
};

static struct ioapic ioapics[MADT_IOAPIC_MAX];
static unsigned ioapic_count;

/* Indirect access: the index at 0, the value at 10h. Under irq.c's lock. */
static uint32_t read_register(const struct ioapic *io, unsigned reg)
{
	mmio_write32(io->registers, reg);
	return mmio_read32(io->registers + 0x10);
}

static void write_register(const struct ioapic *io, unsigned reg, uint32_t value)
{
	mmio_write32(io->registers, reg);
	mmio_write32(io->registers + 0x10, value);
}

static const struct ioapic *find(unsigned gsi)
{
	for (unsigned i = 0; i < ioapic_count; i++) {
		if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].lines)
			return &ioapics[i];
	}
	return NULL;
}

static void add(const struct madt_ioapic *entry)
{
	struct ioapic *io = &ioapics[ioapic_count];
	uint32_t version;

	io->registers = mmu_map_device(entry->address, 0x20);
	io->address = entry->address;
	io->gsi_base = entry->gsi_base;
	version = io->registers ? read_register(io, REG_VERSION) : 0;
	io->lines = (version >> 16 & 0xff) + 1;
	if (version == 0 || version == UINT32_MAX || io->lines > 240) {
		log_warn("ioapic: none at 0x%x (version register 0x%x)", entry->address, version);
		return;
	}
	for (unsigned line = 0; line < io->lines; line++) {
		write_register(io, REG_REDIRECTION(line), ENTRY_MASKED);
		write_register(io, REG_REDIRECTION(line) + 1, 0);
	}
	ioapic_count++;
}

void ioapic_init(void)
{
	for (unsigned i = 0; i < madt.ioapic_count; i++)
		add(&madt.ioapic[i]);
}

int ioapic_first_line(uint32_t address)
{
	unsigned next = 0;

	for (unsigned i = 0; i < ioapic_count; i++) {
		if (ioapics[i].address == address)
			return (int)ioapics[i].gsi_base;
		next = MAX(next, ioapics[i].gsi_base + ioapics[i].lines);
	}
	if (ioapic_count < ARRAY_SIZE(ioapics))
		add(&(struct madt_ioapic){address, next});
	return ioapic_count && ioapics[ioapic_count - 1].address == address ? (int)next : -ENOENT;
}

bool ioapic_has(unsigned gsi) { return find(gsi) != NULL; }

void ioapic_route(unsigned gsi, uint32_t apic_id, unsigned vector, bool level, bool low)
{
	const struct ioapic *io = find(gsi);
	unsigned reg = REG_REDIRECTION(gsi - io->gsi_base);

	write_register(io, reg, ENTRY_MASKED);
	write_register(io, reg + 1, apic_id << 24);
	write_register(io, reg, vector | (level ? ENTRY_LEVEL : 0) | (low ? ENTRY_ACTIVE_LOW : 0));
}

void ioapic_mask(unsigned gsi, bool masked)
{
	const struct ioapic *io = find(gsi);
	unsigned reg = REG_REDIRECTION(gsi - io->gsi_base);
	uint32_t entry = read_register(io, reg);

	write_register(io, reg, masked ? entry | ENTRY_MASKED : entry & ~ENTRY_MASKED);
}
