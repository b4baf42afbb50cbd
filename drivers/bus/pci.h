/*
 * PCI by configuration space: hosts, functions, BARs, capabilities. Loop context, at boot.
 *
 * Every function of every bus behind every host is found (bridges followed by their bus numbers). Each is then offered to the
 * drivers' claim(): a PCI_DRIVER registers by linker section. A driver that knows the function by its ids opens it, which reads the
 * rest and sizes BARs: a function that nobody drives is read three times and never written.
 */
#ifndef DRIVERS_BUS_PCI_H
#define DRIVERS_BUS_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/irq.h>
#include <base/util.h>

#define PCI_BAR_COUNT 6
#define PCI_PINS 4
#define PCI_CAPABILITY_MAX 48 /* that many fit behind the header: (256 - 64) / 4 */

/* One way into the configuration space of one segment. */
struct pci_host {
	uint16_t segment;
	uint8_t bus_first, bus_last;
	uint64_t ecam; /* physical base of bus 0, whatever bus_first is; 0: ports */
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_MEM, PCI_BAR_IO };

struct pci_bar {
	enum pci_bar_kind kind;
	bool is_64, prefetchable;
	uint64_t base, size; /* bus address (0: nobody assigned one), bytes (0: of ports, before pci_open_ports()) */
};

struct pci_function {
	struct pci_function *next; /* in order of discovery */
	const struct pci_host *host;
	volatile uint8_t *config; /* its 4 KiB of ECAM; NULL: 256 bytes by ports */
	uint16_t bdf;             /* bus << 8 | device << 3 | function */
	uint16_t vendor, device;
	uint8_t header_type; /* without the multi-function bit */
	uint8_t secondary;   /* of a bridge: the bus behind it, 0: not followed */
	uint8_t revision;
	uint32_t class_code; /* base, sub, interface: 24 bits */
	char name[16];       /* "0000:00:04.0" */

	/* From pci_open() on. */
	uint16_t sized; /* PCI_COMMAND_MEMORY, PCI_COMMAND_IO: BARs of which kind are. The bus's own */
	uint16_t subsystem_vendor, subsystem;
	uint8_t irq_line, irq_pin;          /* pin: 0 none, 1 INTA ... */
	struct pci_bar bars[PCI_BAR_COUNT]; /* of a 64-bit BAR the second is NONE */
	uint8_t capability_count;
	struct {
		uint8_t id, position;
	} capabilities[PCI_CAPABILITY_MAX]; /* in the list's order */
};

struct pci_driver {
	const char *name;
	bool (*claim)(struct pci_function *function); /* true: it is ours. The function stays in place for good either way */
	bool (*comes_first)(const struct pci_function *function); /* others depend on it. May be NULL */
};
LINKER_SET(pci_drivers, const struct pci_driver);
#define PCI_DRIVER(driver) LINKER_ENTRY(pci_drivers, driver)

/* All functions found. */
struct pci_function *pci_first(void);

/* The bridge that leads to its bus; NULL: none, it is a root bus. */
const struct pci_function *pci_bridge_to(const struct pci_function *function);

/* Read the header and the capability list, size the memory BARs, give addresses to those that have none. What firmware left decoding
 * goes on to. */
void pci_open(struct pci_function *function);
/* The same for the I/O BARs. Again is nothing. */
void pci_open_ports(struct pci_function *function);

/* Memory and I/O as the BARs opened have addresses, bus mastering, the bridges on the way; and all of the function's own off again. */
void pci_enable(const struct pci_function *function);
void pci_disable(const struct pci_function *function);

/* Configuration accesses; offset is naturally aligned for its width; beyond the host's space reads give all ones. */
uint8_t pci_read8(const struct pci_function *function, uint16_t offset);
uint16_t pci_read16(const struct pci_function *function, uint16_t offset);
uint32_t pci_read32(const struct pci_function *function, uint16_t offset);
void pci_write8(const struct pci_function *function, uint16_t offset, uint8_t value);
void pci_write16(const struct pci_function *function, uint16_t offset, uint16_t value);
void pci_write32(const struct pci_function *function, uint16_t offset, uint32_t value);

/* The capability of that id after position `after` (0: the first). 0: none. Bounded, whatever the list looks like. */
uint8_t pci_capability_next(const struct pci_function *function, uint8_t id, uint8_t after);

/* A memory BAR's window [offset, offset + length), mapped uncached. NULL (and a line): none there, or it does not fit. */
volatile void *pci_bar_map(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length);
/* Without mapping it. False (and a line): none there, or it does not fit. */
bool pci_bar_holds(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length);

/* The same for an I/O BAR: the first port. -ENOENT (and a line): none there, or it does not fit. */
[[nodiscard]] int pci_bar_port(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length,
                               uint16_t *port);

/* ---- MSI-X ---- */
struct pci_msix {
	const struct pci_function *function;
	uint8_t capability;
	uint16_t size; /* entries of the table */
	volatile uint8_t *table;
};
#define PCI_MSIX_NO_VECTOR 0xffff

/* Find and map the table, turn MSI-X on and INTx off. Entries are masked until attached. -ENODEV: none; -EIO: nonsense in it (one line). */
[[nodiscard]] int pci_msix_enable(struct pci_msix *msix, const struct pci_function *function);
void pci_msix_disable(struct pci_msix *msix); /* off, INTx possible again; the owner has detached its irqs */
/* Entry `entry` raises `event` from now on, through `irq`. -EINVAL: beyond the table; -EIO: the table does not keep what is written;
 * -ENOSPC, -ENODEV: no message from the platform. */
[[nodiscard]] int pci_msix_attach(struct pci_msix *msix, uint16_t entry, struct irq *irq, struct event *event);
void pci_msix_detach(struct pci_msix *msix, uint16_t entry, struct irq *irq);

/* The line that INTx of the function arrives at. -ENOENT: unknown. */
[[nodiscard]] int pci_intx_line(const struct pci_function *function, unsigned *gsi, enum irq_trigger *trigger);
/* What a kernel knows better than the function's Interrupt Line register. -ENOENT: nothing. A kernel may be without it. */
[[nodiscard, gnu::weak]] int pci_firmware_intx(const struct pci_function *function, unsigned *gsi, enum irq_trigger *trigger);
/* The hosts that it knows of where neither ACPI's MCFG nor ports lead to segment 0, and the addresses that a host forwards to the root bus
 * of a function: as many as fit, how many. The same. */
[[gnu::weak]] unsigned pci_firmware_hosts(struct pci_host *hosts, unsigned max);
struct pci_window {
	bool ports;
	uint64_t base, end;
};
[[gnu::weak]] unsigned pci_firmware_windows(const struct pci_function *function, struct pci_window *windows, unsigned max);
/* Whether the function may raise it. */
void pci_intx_set(const struct pci_function *function, bool on);

#endif
