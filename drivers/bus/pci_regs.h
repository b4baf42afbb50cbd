/*
 * PCI inside of this folder: configuration space registers (offsets are bytes), and what its files do for each other.
 */
#ifndef DRIVERS_BUS_PCI_REGS_H
#define DRIVERS_BUS_PCI_REGS_H

#include <drivers/bus/pci.h>

enum {
	PCI_VENDOR_ID = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION_CLASS = 0x08,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_BRIDGE_BARS = 2,    /* how many a bridge has */
	PCI_BUS_NUMBERS = 0x18, /* of a bridge: primary, secondary, subordinate, latency timer */
	PCI_IO_WINDOW = 0x1c,   /* of a bridge: base, limit */
	PCI_MEMORY_WINDOW = 0x20,
	PCI_PREFETCH_WINDOW = 0x24,
	PCI_PREFETCH_BASE_HIGH = 0x28, /* where the window has 64 bits */
	PCI_PREFETCH_LIMIT_HIGH = 0x2c,
	PCI_SUBSYSTEM = 0x2c,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT = 0x3c, /* line, pin */
	PCI_SPACE_PORTS = 256,
	PCI_SPACE_ECAM = 4096,
};

enum {
	PCI_COMMAND_IO = 0x0001,
	PCI_COMMAND_MEMORY = 0x0002,
	PCI_COMMAND_DECODE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY,
	PCI_COMMAND_MASTER = 0x0004,
	PCI_COMMAND_INTX_DISABLE = 0x0400,
	PCI_STATUS_CAPABILITIES = 0x0010,
};

enum {
	PCI_HEADER_DEVICE = 0,
	PCI_HEADER_BRIDGE = 1,
	PCI_HEADER_MULTIFUNCTION = 0x80,
};

enum {
	PCI_CAPABILITY_EXPRESS = 0x10,
	PCI_CAPABILITY_MSIX = 0x11,
};

/* All ways into configuration space, looked for anew. Returns how many. */
unsigned pci_find_hosts(const struct pci_host **hosts);
/* The configuration space of a bus by ECAM; NULL: out of reach. */
volatile uint8_t *pci_map_bus(const struct pci_host *host, unsigned bus);

/* Size the BARs of a kind, once, with that kind's decoding off meanwhile. */
void pci_size(struct pci_function *function, enum pci_bar_kind kind);
void pci_set_bar(struct pci_function *function, unsigned index, uint64_t base);

/* Give addresses to the function's BARs of that kind that have none, and windows to the bridges on the way. What has one is not moved. */
void pci_assign(struct pci_function *function, enum pci_bar_kind kind);

#endif
