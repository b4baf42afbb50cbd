/*
 * Access to a virtio structure by whatever way leads to it: mapped memory, I/O ports, or, where its BAR has no address, the window in
 * configuration space of "PCI configuration access capability", which a device keeps for just that case.
 *
 * Each access is one of exactly the field's width ("PCI Device Layout").
 */
#include <errno.h>
#include <string.h>

#include <arch/mmio.h>
#include <base/endian.h>
#include <base/log.h>
#include <virtio/transport_pci.h>

/* struct virtio_pci_cap */
enum {
	WINDOW_BAR = 4,
	WINDOW_OFFSET = 8,
	WINDOW_LENGTH = 12,
	WINDOW_DATA = 16,
};

/* "PCI configuration access capability": aligned to the width, within a structure of another capability: `at` is. The length first:
 * an offset that is no multiple of it must not be written. */
static uint16_t aim_window(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width)
{
	pci_write8(vp->function, (uint16_t)(vp->window + WINDOW_BAR), region->bar);
	pci_write32(vp->function, (uint16_t)(vp->window + WINDOW_LENGTH), width);
	pci_write32(vp->function, (uint16_t)(vp->window + WINDOW_OFFSET), (uint32_t)(region->offset + at));
	return (uint16_t)(vp->window + WINDOW_DATA);
}

static uint32_t get_window(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width)
{
	uint16_t data = aim_window(vp, region, at, width);

	return width == 1   ? pci_read8(vp->function, data)
	       : width == 2 ? pci_read16(vp->function, data)
	                    : pci_read32(vp->function, data);
}

uint32_t virtio_pci_get(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width)
{
	uint16_t port = (uint16_t)(region->port + at);

	switch (region->kind) {
	case REGION_MEMORY:
		return width == 1   ? mmio_read8(region->memory + at)
		       : width == 2 ? le16_to_cpu(mmio_read16(region->memory + at))
		                    : le32_to_cpu(mmio_read32(region->memory + at));
	case REGION_PORTS:
		return width == 1 ? pio_read8(port) : width == 2 ? pio_read16(port) : pio_read32(port);
	case REGION_WINDOW:
		return get_window(vp, region, at, width);
	default:
		return UINT32_MAX;
	}
}

static void set_memory(volatile uint8_t *field, unsigned width, uint32_t value)
{
	if (width == 1)
		mmio_write8(field, (uint8_t)value);
	else if (width == 2)
		mmio_write16(field, cpu_to_le16((uint16_t)value));
	else
		mmio_write32(field, cpu_to_le32(value));
}

static void set_port(uint16_t port, unsigned width, uint32_t value)
{
	if (width == 1)
		pio_write8(port, (uint8_t)value);
	else if (width == 2)
		pio_write16(port, (uint16_t)value);
	else
		pio_write32(port, value);
}

static void set_window(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width,
                       uint32_t value)
{
	uint16_t data = aim_window(vp, region, at, width);

	if (width == 1)
		pci_write8(vp->function, data, (uint8_t)value);
	else if (width == 2)
		pci_write16(vp->function, data, (uint16_t)value);
	else
		pci_write32(vp->function, data, value);
}

void virtio_pci_set(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width,
                    uint32_t value)
{
	switch (region->kind) {
	case REGION_MEMORY:
		set_memory(region->memory + at, width, value);
		break;
	case REGION_PORTS:
		set_port((uint16_t)(region->port + at), width, value);
		break;
	case REGION_WINDOW:
		set_window(vp, region, at, width, value);
		break;
	default:
		break;
	}
}

bool virtio_pci_find(const struct virtio_pci *vp, struct virtio_pci_region *region, uint8_t bar, uint64_t offset, uint64_t length)
{
	const struct pci_bar *in = &vp->function->bars[bar];

	*region = (struct virtio_pci_region){.bar = bar, .offset = offset, .length = length};
	if (in->kind == PCI_BAR_IO)
		pci_open_ports(vp->function);
	if (in->kind != PCI_BAR_NONE && !in->base) {
		if (vp->window && length && offset <= in->size && length <= in->size - offset && offset + length <= UINT32_MAX)
			region->kind = REGION_WINDOW;
	} else if (in->kind == PCI_BAR_IO) {
		if (pci_bar_port(vp->function, bar, offset, length, &region->port) == 0)
			region->kind = REGION_PORTS;
	} else {
		region->memory = pci_bar_map(vp->function, bar, offset, length);
		if (region->memory)
			region->kind = REGION_MEMORY;
	}
	return region->kind != REGION_NONE;
}

/* ---- device configuration ---- */

static int check_config(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint32_t start, uint32_t offset,
                        unsigned width)
{
	if (vp->vdev.lost)
		return -EIO;
	if (region->kind == REGION_NONE || region->length < start)
		return -EINVAL;
	return virtio_config_access_ok(region->length - start, offset, width) ? 0 : -EINVAL;
}

int virtio_pci_config_read(struct virtio_pci *vp, const struct virtio_pci_region *region, uint32_t start, uint32_t offset,
                           void *value, unsigned width)
{
	int error = check_config(vp, region, start, offset, width);
	uint32_t field;
	le32 bytes;

	if (error)
		return error;
	field = virtio_pci_get(vp, region, (uint64_t)start + offset, width);
	if (field == UINT32_MAX >> (32 - 8 * width))
		(void)vp->vdev.ops->get_status(&vp->vdev); /* ones may be a value, or there is nobody left to answer */
	bytes = cpu_to_le32(field);                        /* the value's bytes come first */
	memcpy(value, &bytes, width);
	return vp->vdev.lost ? -EIO : 0;
}

int virtio_pci_config_write(struct virtio_pci *vp, const struct virtio_pci_region *region, uint32_t start, uint32_t offset,
                            const void *value, unsigned width)
{
	int error = check_config(vp, region, start, offset, width);
	le32 bytes = 0;

	if (error)
		return error;
	memcpy(&bytes, value, width);
	virtio_pci_set(vp, region, (uint64_t)start + offset, width, le32_to_cpu(bytes));
	return 0;
}
