/*
 * PCI configuration mechanism #1: an address at port CF8h, data at CFCh. It reaches the first 256 bytes of each function.
 */
#include <arch/mmio.h>
#include <arch/platform.h>

#define ADDRESS 0xcf8
#define DATA 0xcfc
#define ENABLE 0x80000000u

/* The address register keeps what is written, but for its reserved bits. Without a host bridge nothing answers. */
bool arch_pci_ports_present(void)
{
	uint32_t former = pio_read32(ADDRESS);
	bool present;

	pio_write32(ADDRESS, ENABLE);
	present = pio_read32(ADDRESS) == ENABLE;
	if (present)
		pio_write32(ADDRESS, former);
	return present;
}

static uint16_t select(uint16_t bdf, uint16_t offset)
{
	pio_write32(ADDRESS, ENABLE | (uint32_t)bdf << 8 | (offset & 0xfcu));
	return (uint16_t)(DATA + (offset & 3u));
}

uint32_t arch_pci_ports_read(uint16_t bdf, uint16_t offset, unsigned width)
{
	uint16_t port = select(bdf, offset);

	return width == 1 ? pio_read8(port) : width == 2 ? pio_read16(port) : pio_read32(port);
}

void arch_pci_ports_write(uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
	uint16_t port = select(bdf, offset);

	if (width == 1)
		pio_write8(port, (uint8_t)value);
	else if (width == 2)
		pio_write16(port, (uint16_t)value);
	else
		pio_write32(port, value);
}

/* All PCs, and the machines made after them, forward to PCI what is above 3 GiB and neither RAM nor of the chipset, whose own begins with
 * the flash and the I/O APIC; of the ports the upper quarter. */
void arch_pci_window(bool ports, uint64_t *base, uint64_t *end)
{
	*base = ports ? 0xc000 : 0xc0000000;
	*end = ports ? 0x10000 : 0xfe000000;
}
