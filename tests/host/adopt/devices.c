/*
 * The devices of the stranger's machine: a disk and a source of entropy behind virtio-mmio registers ("Virtio Over MMIO"), split ring, no
 * optional feature. They act at once, inside the notification, and then raise their line.
 */
#include <stdlib.h>
#include <string.h>

#include <virtio/ids.h>

#include "kernel.h"

#define QUEUE_MAX 8u
#define SECTOR 512u

struct device {
	uint32_t type, status, features_word, selected, isr;
	uint32_t size, ready;
	uint32_t areas[6]; /* descriptor, driver, device: low, high */
	uint16_t taken, used;
};

static uint8_t windows[DEVICES][DEVICE_SIZE]; /* addresses only: nothing is ever kept there */
static struct device devices[DEVICES] = {[DEVICE_DISK].type = VIRTIO_ID_BLOCK, [DEVICE_ENTROPY].type = VIRTIO_ID_ENTROPY};
static uint8_t disk[DISK_SECTORS * SECTOR];
static uint32_t entropy_given;
static unsigned faults;

uint8_t *device_disk(void) { return disk; }
uint8_t device_entropy_byte(uint32_t index) { return (uint8_t)(index * 0x9e3779b1u >> 24); }
unsigned device_faults(void) { return faults; }

volatile void *device_window(uint64_t phys, uint64_t size)
{
	uint64_t at = phys - DEVICE_BASE;

	return phys >= DEVICE_BASE && at <= sizeof(windows) && size <= sizeof(windows) - at ? &windows[0][at] : NULL;
}

static uint8_t *memory(uint64_t phys, uint64_t size)
{
	uint8_t *at = kernel_phys(phys, size);

	faults += !at;
	return at;
}

/* ---- the ring ---- */

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static uint64_t area(const struct device *device, unsigned which)
{
	return device->areas[2 * which] | (uint64_t)device->areas[2 * which + 1] << 32;
}

static uint16_t half(uint64_t phys)
{
	uint16_t value = 0;
	const uint8_t *at = memory(phys, 2);

	if (at)
		memcpy(&value, at, 2);
	return value;
}

static void put(uint64_t phys, const void *value, size_t size)
{
	uint8_t *at = memory(phys, size);

	if (at)
		memcpy(at, value, size);
}

/* One piece of each kind is all that the requests of the test have, with the disk's header and status around them. */
static uint32_t serve_disk(const struct descriptor *d, unsigned count)
{
	const uint8_t *header = memory(d[0].address, 16);
	uint8_t *data = count == 3 ? memory(d[1].address, d[1].length) : NULL, *status = memory(d[count - 1].address, 1);
	uint32_t type, written = 1;
	uint64_t sector;

	if (!header || !data || !status)
		return 0;
	memcpy(&type, header, 4);
	memcpy(&sector, header + 8, 8);
	*status = 1;
	if (sector * SECTOR + d[1].length > sizeof(disk) || type > 1)
		return written;
	*status = 0;
	if (type == 1) {
		memcpy(disk + sector * SECTOR, data, d[1].length);
	} else {
		memcpy(data, disk + sector * SECTOR, d[1].length);
		written += d[1].length;
	}
	return written;
}

static uint32_t serve_entropy(const struct descriptor *d)
{
	uint32_t length = d->length < 100 ? d->length : 100; /* never more at once: the driver asks for the rest */
	uint8_t *at = memory(d->address, length);

	for (uint32_t i = 0; at && i < length; i++)
		at[i] = device_entropy_byte(entropy_given++);
	return length;
}

static void serve(struct device *device)
{
	uint64_t table = area(device, 0), driver = area(device, 1), ring = area(device, 2);

	while (device->taken != half(driver + 2)) {
		uint32_t id = half(driver + 4 + 2ull * (device->taken++ % device->size)), next = id;
		struct descriptor chain[4] = {};
		unsigned count = 0;

		do {
			const uint8_t *at = memory(table + 16ull * next, 16);

			if (!at)
				return;
			memcpy(&chain[count], at, 16);
			next = chain[count++].next;
		} while (chain[count - 1].flags & 1 && count < 4);

		uint32_t length = device->type == VIRTIO_ID_BLOCK ? serve_disk(chain, count) : serve_entropy(chain);

		put(ring + 4 + 8ull * (device->used % device->size), (uint32_t[]){id, length}, 8);
		device->used++;
		put(ring + 2, &device->used, 2);
	}
	device->isr |= 1;
	kernel_interrupt(DEVICE_LINE + (unsigned)(device - devices));
}

/* ---- the registers ---- */

static uint32_t config(const struct device *device, uint32_t offset)
{
	return device->type == VIRTIO_ID_BLOCK && offset == 0 ? DISK_SECTORS : 0;
}

uint32_t device_register_read(const volatile void *reg, unsigned width)
{
	uint32_t at = (uint32_t)((const volatile uint8_t *)reg - &windows[0][0]);
	const struct device *device = &devices[at / DEVICE_SIZE];

	if (at % DEVICE_SIZE >= 0x100)
		return config(device, at % DEVICE_SIZE - 0x100);
	if (width != 4) /* "MMIO Device Register Layout": control registers are 32 bits wide */
		abort();
	switch (at % DEVICE_SIZE) {
	case 0x000:
		return 0x74726976;
	case 0x004:
		return 2;
	case 0x008:
		return device->type;
	case 0x010:
		return device->features_word; /* word 1, bit 0: VERSION_1 */
	case 0x034:
		return device->selected ? 0 : QUEUE_MAX;
	case 0x044:
		return device->ready;
	case 0x060:
		return device->isr;
	case 0x070:
		return device->status;
	default:
		return 0;
	}
}

static void reset(struct device *device) { *device = (struct device){.type = device->type}; }

void device_register_write(volatile void *reg, unsigned width, uint32_t value)
{
	uint32_t at = (uint32_t)((volatile uint8_t *)reg - &windows[0][0]);
	struct device *device = &devices[at / DEVICE_SIZE];

	if (width != 4)
		abort();
	switch (at % DEVICE_SIZE) {
	case 0x014:
		device->features_word = value;
		break;
	case 0x030:
		device->selected = value;
		break;
	case 0x038:
		device->size = value;
		break;
	case 0x044:
		device->ready = value;
		break;
	case 0x050:
		serve(device);
		break;
	case 0x064:
		device->isr &= ~value;
		break;
	case 0x070:
		device->status = value;
		if (!value)
			reset(device);
		break;
	case 0x080:
	case 0x084:
		device->areas[(at % DEVICE_SIZE - 0x080) / 4] = value;
		break;
	case 0x090:
	case 0x094:
		device->areas[2 + (at % DEVICE_SIZE - 0x090) / 4] = value;
		break;
	case 0x0a0:
	case 0x0a4:
		device->areas[4 + (at % DEVICE_SIZE - 0x0a0) / 4] = value;
		break;
	default:
		break;
	}
}
