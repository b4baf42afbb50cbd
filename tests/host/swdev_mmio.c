/*
 * The front of "Virtio Over MMIO": a bank of registers, version 2 or the legacy interface's version 1, on one interrupt line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arch/mmu.h>
#include <drivers/bus/mmio.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"

/* "MMIO Device Register Layout" */
enum {
	MAGIC = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	VENDOR_ID = 0x0c,
	DEVICE_FEATURES = 0x10,
	DEVICE_FEATURES_SEL = 0x14,
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SEL = 0x24,
	GUEST_PAGE_SIZE = 0x28,
	QUEUE_SEL = 0x30,
	QUEUE_SIZE_MAX = 0x34,
	QUEUE_SIZE = 0x38,
	QUEUE_ALIGN = 0x3c,
	QUEUE_PFN = 0x40,
	QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50,
	INTERRUPT_STATUS = 0x60,
	INTERRUPT_ACK = 0x64,
	STATUS = 0x70,
	QUEUE_DESC = 0x80,
	QUEUE_DRIVER = 0x90,
	QUEUE_DEVICE = 0xa0,
	SHM_SEL = 0xac,
	SHM_LEN = 0xb0,
	SHM_BASE = 0xb8,
	QUEUE_RESET = 0xc0,
	CONFIG_GENERATION = 0xfc,
	CONFIG = 0x100,
	BANK = 0x200,
};

#define FIRST_BASE UINT64_C(0xfeb00000)
#define FIRST_LINE 8

struct bank {
	struct host_region region;
	struct mmio_slot slot;
	uint32_t device_sel, driver_sel, page_size, queue_align;
	bool device_sel_set, driver_sel_set;
	uint32_t shm_sel;
	uint16_t queue_sel;
	bool checked; /* magic, version and id were read */
	unsigned magic_reads;
};

static struct bank *bank_of(struct swdev *dev) { return dev->front_state; }

static uint32_t half(uint64_t value, uint64_t offset) { return (uint32_t)(offset & 4 ? value >> 32 : value); }

static void set_half(uint64_t *value, uint64_t offset, uint32_t bits)
{
	if (offset & 4)
		*value = (*value & UINT32_MAX) | (uint64_t)bits << 32;
	else
		*value = (*value & ~(uint64_t)UINT32_MAX) | bits;
}

/* ---- reads ---- */

static uint32_t read_queue_register(struct swdev *dev, uint64_t offset)
{
	struct bank *bank = bank_of(dev);
	struct swdev_queue *queue = swdev_queue_select(dev, bank->queue_sel);
	bool enabled = queue && queue->enabled;

	switch (offset) {
	case QUEUE_SIZE_MAX:
		if (dev->legacy && enabled)
			swdev_violation(dev, "QueueSizeMax read while QueuePFN is not 0");
		return swdev_queue_max(dev, bank->queue_sel);
	case QUEUE_READY:
		return swdev_tell(dev, REG_QUEUE_ENABLED, bank->queue_sel, enabled);
	case QUEUE_PFN:
		return swdev_tell(dev, REG_QUEUE_ENABLED, bank->queue_sel,
		                  enabled ? (uint32_t)(queue->descriptor_area / bank->page_size) : 0);
	default: /* QUEUE_RESET */
		return swdev_tell(dev, REG_QUEUE_RESET, bank->queue_sel, 0);
	}
}

static uint32_t read_register(struct swdev *dev, uint64_t offset)
{
	struct bank *bank = bank_of(dev);

	if (offset > DEVICE_ID && !bank->checked)
		swdev_violation(dev, "register %#x read before MagicValue, Version and DeviceID", (unsigned)offset);
	switch (offset) {
	case MAGIC:
		return swdev_tell(dev, REG_MAGIC, 0, 0x74726976);
	case VERSION:
		return swdev_tell(dev, REG_VERSION, 0, dev->legacy ? 1 : 2);
	case DEVICE_ID:
		bank->checked = true;
		return swdev_tell(dev, REG_DEVICE_ID, 0, dev->type->id);
	case VENDOR_ID:
		return 0;
	case DEVICE_FEATURES:
		if (!bank->device_sel_set)
			swdev_violation(dev, "DeviceFeatures read before DeviceFeaturesSel was written");
		return swdev_features_read(dev, bank->device_sel);
	case INTERRUPT_STATUS:
		return swdev_isr_read(dev, false);
	case STATUS:
		return dev->removed ? UINT32_MAX : swdev_status_read(dev);
	case QUEUE_SIZE_MAX:
		return read_queue_register(dev, offset);
	}
	if (dev->legacy && offset == QUEUE_PFN)
		return read_queue_register(dev, offset);
	if (!dev->legacy) {
		switch (offset) {
		case QUEUE_READY:
			return read_queue_register(dev, offset);
		case QUEUE_RESET:
			if (swdev_has(dev, F_RING_RESET))
				return read_queue_register(dev, offset);
			break;
		case CONFIG_GENERATION:
			return swdev_generation_read(dev);
		case SHM_LEN:
		case SHM_LEN + 4:
			return half(bank->shm_sel == dev->shm_id && dev->shm_base ? dev->shm_size : UINT64_MAX, offset);
		case SHM_BASE:
		case SHM_BASE + 4:
			return half(bank->shm_sel == dev->shm_id && dev->shm_base ? dev->shm_base : UINT64_MAX, offset);
		}
	}
	swdev_violation(dev, "register %#x was read", (unsigned)offset);
	return 0;
}

static uint64_t region_read(void *context, uint64_t offset, unsigned width)
{
	struct swdev *dev = context;

	if (dev->removed)
		return UINT64_MAX;
	if (offset >= CONFIG) {
		if (offset - CONFIG + width > dev->config_size) {
			swdev_violation(dev, "config read of %u bytes at %u, it has %u", width, (unsigned)(offset - CONFIG),
			                dev->config_size);
			return 0;
		}
		return swdev_config_read(dev, (uint32_t)offset - CONFIG, width);
	}
	if (width != 4) {
		swdev_violation(dev, "register %#x read with %u bytes", (unsigned)offset, width);
		return 0;
	}
	return read_register(dev, offset);
}

/* ---- writes ---- */

static void write_legacy_pfn(struct swdev *dev, struct swdev_queue *queue, uint32_t pfn)
{
	struct bank *bank = bank_of(dev);
	uint64_t align = bank->queue_align;

	if (pfn == 0) {
		swdev_queue_disable(queue);
		return;
	}
	if (bank->page_size == 0 || bank->page_size & (bank->page_size - 1))
		swdev_violation(dev, "QueuePFN written with GuestPageSize %u", bank->page_size);
	if (align == 0 || align & (align - 1)) {
		swdev_violation(dev, "QueuePFN written with QueueAlign %u", bank->queue_align);
		return;
	}
	if (!swdev_queue_may_set(queue, "QueuePFN"))
		return;
	queue->descriptor_area = (uint64_t)pfn * bank->page_size;
	queue->driver_area = queue->descriptor_area + 16u * queue->size;
	queue->device_area = (queue->driver_area + 6 + 2u * queue->size + align - 1) / align * align;
	swdev_queue_enable(queue);
}

static void write_queue_register(struct swdev *dev, uint64_t offset, uint32_t value)
{
	struct bank *bank = bank_of(dev);
	struct swdev_queue *queue = swdev_queue_select(dev, bank->queue_sel);

	if (!queue) {
		swdev_violation(dev, "queue register %#x written for queue %u", (unsigned)offset, bank->queue_sel);
		return;
	}
	switch (offset) {
	case QUEUE_SIZE:
		if (swdev_queue_may_set(queue, "QueueSize"))
			queue->size = (uint16_t)value;
		break;
	case QUEUE_ALIGN:
		bank->queue_align = value;
		break;
	case QUEUE_PFN:
		write_legacy_pfn(dev, queue, value);
		break;
	case QUEUE_READY:
		if (value == 1)
			swdev_queue_enable(queue);
		else
			swdev_queue_disable(queue);
		break;
	case QUEUE_RESET:
		if (value != 1)
			swdev_violation(dev, "QueueReset written with %u", value);
		swdev_queue_reset(queue);
		break;
	default:
		if (swdev_queue_may_set(queue, "an area"))
			set_half(offset < QUEUE_DRIVER   ? &queue->descriptor_area
			         : offset < QUEUE_DEVICE ? &queue->driver_area
			                                 : &queue->device_area,
			         offset, value);
	}
}

static bool is_queue_register(const struct swdev *dev, uint64_t offset)
{
	switch (offset) {
	case QUEUE_SIZE:
		return true;
	case QUEUE_ALIGN:
	case QUEUE_PFN:
		return dev->legacy;
	case QUEUE_READY:
	case QUEUE_RESET:
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		return !dev->legacy;
	}
	return false;
}

static void write_register(struct swdev *dev, uint64_t offset, uint32_t value)
{
	struct bank *bank = bank_of(dev);

	if (is_queue_register(dev, offset)) {
		write_queue_register(dev, offset, value);
		return;
	}
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		bank->device_sel = value;
		bank->device_sel_set = true;
		break;
	case DRIVER_FEATURES_SEL:
		bank->driver_sel = value;
		bank->driver_sel_set = true;
		break;
	case DRIVER_FEATURES:
		if (!bank->driver_sel_set)
			swdev_violation(dev, "DriverFeatures written before DriverFeaturesSel");
		swdev_features_write(dev, bank->driver_sel, value);
		break;
	case GUEST_PAGE_SIZE:
		if (!dev->legacy)
			swdev_violation(dev, "GuestPageSize written");
		bank->page_size = value;
		break;
	case QUEUE_SEL:
		bank->queue_sel = (uint16_t)value;
		break;
	case QUEUE_NOTIFY:
		swdev_notify(dev, value);
		break;
	case INTERRUPT_ACK:
		if (value & ~3u || (value & ~dev->isr && !dev->lie))
			swdev_violation(dev, "InterruptACK %#x, InterruptStatus is %#x", value, dev->isr);
		swdev_isr_clear(dev, (uint8_t)value);
		break;
	case STATUS:
		if (value > 0xff)
			swdev_violation(dev, "Status written with %#x", value);
		swdev_status_write(dev, (uint8_t)value);
		break;
	case SHM_SEL:
		if (dev->legacy)
			swdev_violation(dev, "SHMSel written");
		bank->shm_sel = value;
		break;
	default:
		swdev_violation(dev, "register %#x was written", (unsigned)offset);
	}
}

static void region_write(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	struct swdev *dev = context;

	if (dev->removed)
		return;
	if (offset >= CONFIG)
		swdev_config_write(dev, (uint32_t)offset - CONFIG, width, (uint32_t)value);
	else if (width != 4)
		swdev_violation(dev, "register %#x written with %u bytes", (unsigned)offset, width);
	else
		write_register(dev, offset, (uint32_t)value);
}

/* ---- plugging ---- */

/* The device that was added last. */
static struct virtio_device *newest(void)
{
	struct virtio_device *vdev = virtio_device_first();

	while (vdev && vdev->next)
		vdev = vdev->next;
	return vdev;
}

static int plug(struct swdev *dev)
{
	static unsigned number;
	struct bank *bank = calloc(1, sizeof(*bank));
	const struct virtio_device *before = newest();

	dev->front_state = bank;
	bank->region = (struct host_region){.base = FIRST_BASE + (number % 256) * BANK,
	                                    .size = BANK,
	                                    .read = region_read,
	                                    .write = region_write,
	                                    .context = dev};
	bank->slot = (struct mmio_slot){.base = bank->region.base,
	                                .size = BANK,
	                                .gsi = FIRST_LINE + number % 16,
	                                .trigger = dev->mmio_level ? IRQ_TRIGGER_LEVEL : IRQ_TRIGGER_EDGE,
	                                .registers = mmu_map_device(bank->region.base, BANK)};
	number++;
	host_mmio_add(&bank->region);
	mmio_slot_offer(&bank->slot, "bank");
	if (newest() != before)
		dev->vdev = newest();
	return dev->vdev && dev->vdev->state == VIRTIO_RUNNING ? 0 : -1;
}

static void unplug(struct swdev *dev)
{
	if (dev->vdev)
		virtio_device_remove(dev->vdev);
	host_irq_set_line(bank_of(dev)->slot.gsi, false);
	host_mmio_remove(&bank_of(dev)->region);
	free(dev->front_state);
}

static void interrupt(struct swdev *dev, struct swdev_queue *queue)
{
	dev->isr |= queue ? 1 : 2;
	host_irq_set_line(bank_of(dev)->slot.gsi, true);
}

static void acknowledged(struct swdev *dev) { host_irq_set_line(bank_of(dev)->slot.gsi, false); }

const struct swdev_front swdev_mmio = {.name = "mmio",
                                       .plug = plug,
                                       .unplug = unplug,
                                       .interrupt = interrupt,
                                       .acknowledged = acknowledged};
