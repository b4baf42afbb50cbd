/*
 * A device tree, by libfdt, which an image may be built without. One tree, read when somebody asks; it may say anything. What is read of it is
 * checked against its size and is in the CPU's byte order. Loop context.
 */
#ifndef BASE_DT_H
#define BASE_DT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a loader put one: physical, 0: nowhere. Set at boot for who looks for trees. */
extern uint64_t dt_told;

/* Without libfdt none of these is there: nothing else here may be called before dt_open() was true. */
#define DT_PART [[gnu::weak]]
DT_PART bool dt_open_blob(const void *blob, size_t size);

/* Read from this tree from now on; it stays in place. False: it is none, or cut short (one log line), or there is no libfdt. */
static inline bool dt_open(const void *blob, size_t size) { return dt_open_blob && dt_open_blob(blob, size); }

/* How long a tree says it is, from its first DT_HEADER bytes; 0: it is none. */
#define DT_HEADER 40u
DT_PART size_t dt_size(const void *blob);

/* The next node behind `after` (DT_START first) that is compatible and not disabled; DT_NONE: no more. Damage ends it, with a line. */
#define DT_START (-1)
#define DT_NONE (-2)
DT_PART int dt_find(int after, const char *compatible);
DT_PART const char *dt_name(int node);

/* The index-th range of "reg", as the CPU sees it. False: none, or out of the CPU's reach. */
DT_PART bool dt_reg(int node, unsigned index, uint64_t *base, uint64_t *size);

/* The index-th cell of a property. False: none. */
DT_PART bool dt_cell(int node, const char *property, unsigned index, uint32_t *value);

/* The index-th entry of a PCI host's "ranges". */
struct dt_range {
	uint32_t space; /* the first cell of the PCI address */
	uint64_t bus, base, size;
};
DT_PART bool dt_pci_range(int node, unsigned index, struct dt_range *range);

/* The first interrupt of a node: its controller's registers, and the cells that are the controller's to explain. */
#define DT_INTERRUPT_CELLS 4
struct dt_interrupt {
	uint64_t controller;
	unsigned count;
	uint32_t cells[DT_INTERRUPT_CELLS];
};
DT_PART bool dt_interrupt(int node, struct dt_interrupt *interrupt);

/* Where INTx of a function on a PCI host's root bus arrives, by the host's "interrupt-map". `address` is the first cell of its PCI address
 * (bus, device and function from bit 8 on), `pin` counts from 1. False: it does not say. */
DT_PART bool dt_pci_interrupt(int node, uint32_t address, uint32_t pin, struct dt_interrupt *interrupt);

#endif
