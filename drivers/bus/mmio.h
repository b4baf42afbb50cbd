/*
 * Devices that are a range of memory and an interrupt line, told by the command line, ACPI, a device tree. Loop context, at boot.
 *
 * A bus describes each as a slot; drivers register by linker section and look into it.
 */
#ifndef DRIVERS_BUS_MMIO_H
#define DRIVERS_BUS_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/irq.h>
#include <base/util.h>

struct mmio_slot {
	const char *told_by; /* who told of it: a string constant for each */
	uint64_t base, size; /* physical, bytes */
	unsigned gsi;
	enum irq_trigger trigger;
	volatile uint8_t *registers; /* mapped, all of it */
};

struct mmio_driver {
	const char *name;
	bool (*claim)(const struct mmio_slot *slot); /* true: it is ours. The slot stays in place for good either way */
};
LINKER_SET(mmio_drivers, const struct mmio_driver);
#define MMIO_DRIVER(driver) LINKER_ENTRY(mmio_drivers, driver)

/* Check, map and offer the slot described by base, size, gsi and trigger. `origin` is the text that told of it, for the one line
 * that says why it is refused: too small or too large, over RAM or another slot, no such interrupt line. What somebody else told of before is
 * passed over in silence: several may tell of the same devices. */
void mmio_slot_add(const struct mmio_slot *description, const char *origin);

/* Its second half: find the driver of a slot that is mapped, or say that there is none. */
void mmio_slot_offer(const struct mmio_slot *slot, const char *origin);

#endif
