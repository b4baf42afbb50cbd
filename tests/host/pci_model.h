/*
 * A tree of PCI functions behind the host's configuration ports, for tests of drivers/bus/pci*.c.
 *
 * Accesses are routed as on a machine: a bus number means the bus behind the bridge that has this secondary number, as long as
 * all bridges above it forward it. Each byte of a function's space is writable where `writable` has ones. A BAR is what its size
 * makes of it; writing to one while the function decodes is a mistake that the model counts.
 */
#ifndef PCI_MODEL_H
#define PCI_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <drivers/bus/pci.h>

struct model_function {
	struct model_function *above; /* the bridge that it is behind; NULL: the root bus, 0 */
	uint8_t device_function;
	uint8_t space[256], writable[256];
	unsigned next_capability, last_link;
};

#define MODEL_MAX 64
extern struct model_function model[MODEL_MAX];
extern unsigned model_count;
extern unsigned model_accesses, model_live_bar_writes, model_command_changes, model_stray_writes;

/* No functions, ports attached, counters at 0; host_boot() has been called. */
void model_start(void);

struct model_function *model_add(struct model_function *above, unsigned device, unsigned function, uint16_t vendor, uint16_t id);
struct model_function *model_add_bridge(struct model_function *above, unsigned device, unsigned secondary, unsigned subordinate);
/* flags: bit 0 I/O, else 0 (32 bits) or 4 (64 bits); base as firmware left it. */
void model_bar(struct model_function *function, unsigned index, uint64_t size, unsigned flags, uint64_t base);
/* Append to the list; `body` goes behind id and next pointer. Returns its position. */
unsigned model_capability(struct model_function *function, uint8_t id, const void *body, unsigned bytes);

void model_put(struct model_function *function, unsigned offset, uint32_t value, unsigned width);
uint32_t model_get(const struct model_function *function, unsigned offset, unsigned width);

/* Run the "pci" discovery; find what it found. */
void model_scan(void);
struct pci_function *model_found(const char *name);
unsigned model_found_count(void);

#endif
