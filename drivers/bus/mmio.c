/*
 * Checking and offering memory-mapped devices, whoever told of them.
 *
 * Nothing is read from a range before it is known to lie over neither RAM nor another device.
 */
#include <stddef.h>

#include <arch/mmu.h>
#include <base/log.h>
#include <drivers/bus/mmio.h>

#define SLOT_COUNT 256u     /* as many as the command line has words */
#define SLOT_MIN 0x100u     /* the control registers of the smallest device that is known */
#define SLOT_MAX 0x4000000u /* larger is a slip of the pen: page tables for it would eat the memory */

static struct mmio_slot slots[SLOT_COUNT]; /* those whose range is good */
static unsigned slot_count;

static const struct mmio_slot *find_overlap(uint64_t base, uint64_t size)
{
	for (const struct mmio_slot *slot = slots; slot < slots + slot_count; slot++)
		if (base < slot->base + slot->size && slot->base < base + size)
			return slot;
	return NULL;
}

void mmio_slot_offer(const struct mmio_slot *slot, const char *origin)
{
	LINKER_FOR_EACH (mmio_drivers, driver)
		if ((*driver)->claim(slot))
			return;
	log_warn("mmio %s: no device there, ignored", origin);
}

void mmio_slot_add(const struct mmio_slot *description, const char *origin)
{
	uint64_t base = description->base, size = description->size;
	const struct mmio_slot *other;
	struct mmio_slot *slot;

	if (size < SLOT_MIN || size > SLOT_MAX || base + size < base || base % sizeof(uint32_t)) {
		log_warn("mmio %s: a device's registers cannot be there, ignored", origin);
		return;
	}
	other = find_overlap(base, size);
	if (other && other->told_by != description->told_by)
		return;
	if (other) {
		log_warn("mmio %s: overlaps the device at %#llx, ignored", origin, (unsigned long long)other->base);
		return;
	}
	if (slot_count == SLOT_COUNT) {
		log_warn("mmio %s: more than %u devices, ignored", origin, SLOT_COUNT);
		return;
	}
	slot = &slots[slot_count];
	*slot = *description;
	slot->registers = mmu_map_device(base, size);
	if (!slot->registers) {
		log_warn("mmio %s: over RAM or out of reach, ignored", origin);
		return;
	}
	if (!irq_line_exists(slot->gsi, slot->trigger))
		return;
	slot_count++;
	mmio_slot_offer(slot, origin);
}
