/*
 * The front of "Virtio Over PCI Bus": a function with configuration space, BARs, capabilities and MSI-X. The registers
 * behind its BARs are in swdev_pci_bar.c.
 *
 * BAR 0, I/O: the legacy interface, of transitional and legacy devices. BAR 1, memory: MSI-X table and pending bits. BAR 4, 64-bit
 * memory: common, ISR, device and notify structures. Addresses are assigned, as firmware leaves them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drivers/bus/pci.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_pci.h"

#define SLOTS 32

static struct swdev *slots[SLOTS];

/* ---- configuration space ---- */

static uint32_t function_read(struct swdev *dev, uint16_t offset, unsigned width)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint32_t value = 0;

	if (dev->removed)
		return UINT32_MAX;
	if (pci->cfg_cap && offset >= pci->cfg_cap + 16 && offset < pci->cfg_cap + 20)
		return swdev_pci_window_read(dev);
	for (unsigned i = 0; i < width; i++)
		value |= swdev_tell(dev, REG_PCI_CONFIG, offset + i, pci->config[offset + i]) << (8 * i);
	return value;
}

/* BAR registers keep the bits above the BAR's size, and the constant ones below. */
static void write_bar(struct swdev *dev, unsigned index, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	struct swdev_pci_bar *bar = &pci->bars[index];

	if (index && pci->bars[index - 1].is_64) {
		put32(pci->config + 0x10 + 4 * index, value & (uint32_t)(-pci->bars[index - 1].size >> 32));
		return;
	}
	if (!bar->size)
		return;
	put32(pci->config + 0x10 + 4 * index, (value & (uint32_t)-bar->size) | bar->flags);
}

static void write_command(struct swdev *dev, uint16_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	put16(pci->config + PCI_COMMAND_REG, value & 0x0547);
	swdev_pci_update_line(dev);
}

static void function_write(struct swdev *dev, uint16_t offset, unsigned width, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	if (dev->removed)
		return;
	if (offset >= 0x10 && offset < 0x28 && width == 4) {
		unsigned index = (offset - 0x10u) / 4;

		if (get16(pci->config + PCI_COMMAND_REG) & (pci->bars[index].flags & 1 ? 1 : 2))
			swdev_violation(dev, "a BAR is written while decoding is on");
		write_bar(dev, index, value);
	} else if (offset == PCI_COMMAND_REG) {
		write_command(dev, (uint16_t)value);
	} else if (pci->msix_cap && offset == pci->msix_cap + 2) {
		put16(pci->config + offset, (uint16_t)((value & 0xc000) | (get16(pci->config + offset) & 0x3fff)));
	} else if (pci->cfg_cap && offset >= pci->cfg_cap + 4 && offset < pci->cfg_cap + 20) {
		swdev_pci_window_write(dev, offset, width, value);
	} else if (offset >= 0x40) {
		swdev_violation(dev, "capability byte %#x written", offset);
	} else if (offset != 0x3c && offset != 0x0c) {
		swdev_violation(dev, "configuration byte %#x written", offset);
	}
}

static struct swdev *device_at(uint16_t bdf) { return bdf >> 8 == 0 && (bdf & 7) == 0 ? slots[bdf >> 3] : NULL; }

static uint32_t ports_read(void *context, uint16_t bdf, uint16_t offset, unsigned width)
{
	struct swdev *dev = device_at(bdf);

	(void)context;
	return dev ? function_read(dev, offset, width) : UINT32_MAX;
}

static void ports_write(void *context, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
	struct swdev *dev = device_at(bdf);

	(void)context;
	if (dev)
		function_write(dev, offset, width, value);
}

/* ---- BARs ---- */

static void add_bar(struct swdev *dev, unsigned index, bool io, bool is_64, uint64_t size, unsigned slot)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	struct swdev_pci_bar *bar = &pci->bars[index];
	uint64_t base = 0xfe000000 + slot * 0x10000u;

	if (io)
		base = size > 0x100 ? 0x4000 : 0xc000 + slot * 0x100u;
	else if (is_64)
		base = size > 0x10000 ? size : UINT64_C(0x800000000) + slot * UINT64_C(0x10000);

	*bar = (struct swdev_pci_bar){.size = size,
	                              .base = base,
	                              .flags = io      ? 1
	                                       : is_64 ? 0xc
	                                               : 0,
	                              .is_64 = is_64,
	                              .dev = dev,
	                              .index = index};
	bar->region = (struct host_region){.base = base,
	                                   .size = size,
	                                   .read = swdev_pci_bar_read,
	                                   .write = swdev_pci_bar_write,
	                                   .context = bar};
	if (dev->window && index == dev->structures_bar)
		base = 0; /* as nobody assigned it */
	put32(pci->config + 0x10 + 4 * index, (uint32_t)base | bar->flags);
	if (is_64)
		put32(pci->config + 0x14 + 4 * index, (uint32_t)(base >> 32));
	if (io)
		host_pio_add(&bar->region);
	else
		host_mmio_add(&bar->region);
}

/* ---- capabilities ---- */

/* Append `length` bytes to the list of capabilities; returns where. */
static uint8_t add_capability(struct swdev_pci *pci, uint8_t id, const void *body, uint8_t length)
{
	uint8_t at = pci->next_cap;

	pci->config[at] = id;
	memcpy(pci->config + at + 2, body, length - 2u);
	pci->config[pci->last_link] = at;
	pci->last_link = (uint8_t)(at + 1);
	pci->next_cap = (uint8_t)(at + (length + 3) / 4 * 4);
	return at;
}

/* "Virtio Structure PCI Capabilities" */
static uint8_t add_virtio(struct swdev_pci *pci, uint8_t type, uint8_t bar, uint32_t offset, uint32_t bytes, uint8_t length)
{
	uint8_t body[22] = {length, type, bar};

	memcpy(body + 6, &offset, 4);
	memcpy(body + 10, &bytes, 4);
	if (type == CAP_NOTIFY)
		body[14] = NOTIFY_MULTIPLIER;
	return add_capability(pci, 0x09, body, length);
}

static void add_capabilities(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint8_t msix[10] = {0};

	pci->last_link = 0x34;
	pci->next_cap = 0x40;
	if (dev->vectors) {
		put16(msix, (uint16_t)(dev->vectors - 1));
		msix[2] = 1;                 /* the table: BAR 1, offset 0 */
		msix[6] = 1, msix[7] = 0x80; /* pending bits: BAR 1, offset 8000h */
		pci->msix_cap = add_capability(pci, 0x11, msix, 12);
	}
	if (!dev->legacy) {
		pci->common_cap = add_virtio(pci, CAP_COMMON, dev->structures_bar, COMMON_AT, 64, 16);
		pci->notify_cap = add_virtio(pci, CAP_NOTIFY, dev->structures_bar, NOTIFY_AT, NOTIFY_BYTES, 20);
		pci->isr_cap = add_virtio(pci, CAP_ISR, dev->structures_bar, ISR_AT, 4, 16);
		if (dev->config_size)
			pci->device_cap = add_virtio(pci, CAP_DEVICE, dev->structures_bar, DEVICE_AT, dev->config_size, 16);
		pci->cfg_cap = add_virtio(pci, CAP_PCI_CFG, 0, 0, 0, 20);
		if (dev->shm_base) {
			uint8_t at = add_virtio(pci, CAP_SHARED_MEMORY, 2, (uint32_t)dev->shm_base, (uint32_t)dev->shm_size, 24);

			pci->config[at + 5] = dev->shm_id;
			put32(pci->config + at + 16, (uint32_t)(dev->shm_base >> 32));
			put32(pci->config + at + 20, (uint32_t)(dev->shm_size >> 32));
			add_bar(dev, 2, false, true, UINT64_C(1) << 36, pci->slot);
		}
	}
	if (pci->last_link != 0x34)
		put16(pci->config + 6, 0x0010); /* status: there is a list */
}

/* ---- plugging ---- */

/* "PCI Device Discovery" */
static uint16_t transitional_id(const struct swdev *dev)
{
	static const uint16_t ids[] = {[1] = 0x1000, [2] = 0x1001, [3] = 0x1003, [4] = 0x1005};

	return dev->type->id < 5 ? ids[dev->type->id] : 0x1010;
}

static void fill_header(struct swdev *dev, unsigned slot)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	bool transitional = dev->legacy || dev->transitional;

	put16(pci->config, 0x1af4);
	put16(pci->config + 2, transitional ? transitional_id(dev) : (uint16_t)(0x1040 + dev->type->id));
	put16(pci->config + PCI_COMMAND_REG, 3); /* firmware left decoding on */
	pci->config[8] = transitional ? 0 : 1;
	put16(pci->config + 0x2c, 0x1af4);
	put16(pci->config + 0x2e, transitional ? dev->type->id : (uint16_t)(0x40 + dev->type->id));
	pci->line = dev->no_line ? 0xff : (uint8_t)(24 + slot % 8);
	pci->config[0x3c] = pci->line;
	pci->config[0x3d] = dev->no_line ? 0 : 1;
	if (transitional)
		add_bar(dev, 0, true, false, 0x80, slot);
	if (dev->vectors)
		add_bar(dev, 1, false, false, 0x10000, slot);
	if (!dev->legacy)
		add_bar(dev, dev->structures_bar, dev->ports, !dev->ports, dev->ports ? 0x4000 : 0x10000, slot);
}

static int plug(struct swdev *dev)
{
	struct swdev_pci *pci = calloc(1, sizeof(*pci));
	static const struct pci_host ports = {.bus_last = 255};
	struct virtio_device *vdev;
	static unsigned next;
	unsigned slot = next++ % SLOTS;

	while (slots[slot])
		slot = next++ % SLOTS;
	dev->front_state = pci;
	pci->slot = slot;
	slots[slot] = dev;
	for (unsigned i = 0; i < MSIX_MAX; i++)
		pci->table[i].control = 1; /* masked */
	fill_header(dev, slot);
	add_capabilities(dev);
	if (dev->lie && dev->lie->at_plug)
		dev->lie->at_plug(dev);
	host_pci_ports_set(ports_read, ports_write, NULL);
	snprintf(pci->function.name, sizeof(pci->function.name), "0000:00:%02x.0", slot);
	pci->function.host = &ports;
	pci->function.bdf = (uint16_t)(slot << 3);
	pci->function.vendor = pci_read16(&pci->function, 0);
	pci->function.device = pci_read16(&pci->function, 2);
	pci->function.revision = pci_read8(&pci->function, 8);
	LINKER_FOR_EACH (pci_drivers, driver)
		if ((*driver)->claim(&pci->function))
			break;
	for (vdev = virtio_device_first(); vdev; vdev = vdev->next)
		if (strcmp(vdev->address, pci->function.name) == 0)
			dev->vdev = vdev;
	return dev->vdev && dev->vdev->state == VIRTIO_RUNNING ? 0 : -1;
}

static void unplug(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	if (dev->vdev)
		virtio_device_remove(dev->vdev);
	if (pci->line < HOST_LINES)
		host_irq_set_line(pci->line, false);
	for (unsigned i = 0; i < 6; i++) {
		if (!pci->bars[i].size)
			continue;
		if (pci->bars[i].flags & 1)
			host_pio_remove(&pci->bars[i].region);
		else
			host_mmio_remove(&pci->bars[i].region);
	}
	slots[pci->slot] = NULL;
	free(pci);
}

/* ---- interrupts ---- */

bool swdev_pci_msix_on(const struct swdev *dev)
{
	const struct swdev_pci *pci = dev->front_state;

	return pci->msix_cap && pci->config[pci->msix_cap + 3] & 0x80;
}

void swdev_pci_update_line(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	bool disabled = get16(pci->config + PCI_COMMAND_REG) & 0x400;

	pci->config[6] = (uint8_t)((pci->config[6] & ~8) | (dev->isr ? 8 : 0)); /* Interrupt Status */
	if (pci->line < HOST_LINES)
		host_irq_set_line(pci->line, dev->isr && !disabled && !swdev_pci_msix_on(dev));
}

static void acknowledged(struct swdev *dev) { swdev_pci_update_line(dev); }

/* "Used Buffer Notifications", "Notification of Device Configuration Changes" */
static void interrupt(struct swdev *dev, struct swdev_queue *queue)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint16_t vector = queue ? queue->vector : dev->config_vector;

	if (!swdev_pci_msix_on(dev) || !queue)
		dev->isr |= queue ? 1 : 2;
	if (!swdev_pci_msix_on(dev)) {
		swdev_pci_update_line(dev);
		return;
	}
	if (vector >= dev->vectors)
		return;
	if (!(get16(pci->config + PCI_COMMAND_REG) & 4))
		swdev_violation(dev, "an interrupt message is due and bus mastering is off");
	if (pci->table[vector].control & 1 || pci->config[pci->msix_cap + 3] & 0x40)
		pci->pending[vector] = true;
	else
		host_irq_raise_message(pci->table[vector].address, pci->table[vector].data);
}

const struct swdev_front swdev_pci = {.name = "pci",
                                      .plug = plug,
                                      .unplug = unplug,
                                      .interrupt = interrupt,
                                      .acknowledged = acknowledged};
