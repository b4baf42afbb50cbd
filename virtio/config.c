/*
 * The device configuration space ("Device Configuration Space").
 *
 * Fields of 1, 2 and 4 bytes are read in one access of their width; wider ones and groups of fields in several, which is why every read
 * is repeated until the device's generation count stayed the same around it. Legacy devices have no count: there a read counts when it
 * gave the same bytes twice. Both are bounded: a device that never holds still gets an error.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <arch/mmu.h>
#include <virtio/transport.h>

#define TRIES 64
#define IMAGE_MAX 128 /* bytes */

/* Which accesses make up `size` bytes at `offset`: the fields' own width where it is one field, else bytes. */
static unsigned access_width(uint32_t offset, uint32_t size)
{
	if (size == 2 && offset % 2 == 0)
		return 2;
	if ((size == 4 || size == 8) && offset % 4 == 0)
		return 4;
	return 1;
}

static int check_range(const struct virtio_device *vdev, uint32_t offset, uint32_t size)
{
	return size && offset <= vdev->driver->config_size && size <= vdev->driver->config_size - offset ? 0 : -EINVAL;
}

/* Whatever may change meanwhile. */
static int read_once(struct virtio_device *vdev, const struct virtio_fields *rows, unsigned count, char *image)
{
	int error = 0;

	for (const struct virtio_fields *row = rows; row < rows + count; row++) {
		if (row->features && !(row->features & vdev->features))
			continue;
		for (unsigned i = 0; i < row->size; i += row->width)
			error |= vdev->ops->config_read(vdev, row->offset + i, image + (row->offset - rows->offset + i),
			                                row->width);
	}
	return error;
}

int virtio_config_fields(struct virtio_device *vdev, const struct virtio_fields *rows, unsigned count, void *image)
{
	size_t size = (size_t)rows[count - 1].offset + rows[count - 1].size - rows->offset;
	char former[IMAGE_MAX];

	if (size > sizeof(former))
		return -EINVAL;
	for (unsigned i = 0; i < TRIES; i++) {
		uint32_t before = vdev->ops->config_generation(vdev);
		int error;

		if (vdev->legacy && i)
			memcpy(former, image, size);
		error = read_once(vdev, rows, count, image);
		/* "Legacy Interface: Device Configuration Space": until two reads agree */
		if (vdev->legacy ? i && !memcmp(former, image, size) : vdev->ops->config_generation(vdev) == before)
			return error ? -EINVAL : 0;
	}
	return virtio_refuse(vdev, -EIO, "its configuration never holds still");
}

int virtio_config_read(struct virtio_device *vdev, uint32_t offset, void *value, uint32_t size)
{
	const struct virtio_fields all = {.offset = (uint16_t)offset,
	                                  .size = (uint16_t)size,
	                                  .width = (uint8_t)access_width(offset, size)};

	if (check_range(vdev, offset, size))
		return -EINVAL;
	return virtio_config_fields(vdev, &all, 1, value);
}

int virtio_config_write(struct virtio_device *vdev, uint32_t offset, const void *value, uint32_t size)
{
	unsigned width = access_width(offset, size);
	int error = check_range(vdev, offset, size);

	if (vdev->suspended) /* "Device Suspend": MUST NOT make any changes */
		return -EBUSY;
	for (uint32_t i = 0; i < size && !error; i += width)
		error = vdev->ops->config_write(vdev, offset + i, (const char *)value + i, width);
	return error;
}

/* In parts that are not taken for one wide field. */
void virtio_config_bytes(struct virtio_device *vdev, uint32_t offset, void *bytes, uint32_t size)
{
	uint32_t part;

	for (uint32_t at = 0; at < size; at += part) {
		part = MIN(size - at, 63u);
		part -= part == 2 || part == 4 || part == 8;
		if (virtio_config_read(vdev, offset + at, (char *)bytes + at, part))
			return;
	}
}

int virtio_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region)
{
	return vdev->ops->shm_region(vdev, id, region);
}

void *virtio_device_memory(struct virtio_device *vdev, uint64_t phys, uint64_t size)
{
	(void)vdev;
	return mmu_map_memory(phys, size);
}

uint8_t virtio_config_u8(struct virtio_device *vdev, uint32_t offset, uint8_t fallback)
{
	uint8_t value;

	return virtio_config_read(vdev, offset, &value, sizeof(value)) ? fallback : value;
}

/* "Legacy Interface: A Note on Device Configuration Space endian-ness": there the guest's own order */
uint16_t virtio_config_u16(struct virtio_device *vdev, uint32_t offset, uint16_t fallback)
{
	le16 value;

	if (virtio_config_read(vdev, offset, &value, sizeof(value)))
		return fallback;
	return vdev->legacy ? value : le16_to_cpu(value);
}

uint32_t virtio_config_u32(struct virtio_device *vdev, uint32_t offset, uint32_t fallback)
{
	le32 value;

	if (virtio_config_read(vdev, offset, &value, sizeof(value)))
		return fallback;
	return vdev->legacy ? value : le32_to_cpu(value);
}

uint64_t virtio_config_u64(struct virtio_device *vdev, uint32_t offset, uint64_t fallback)
{
	le64 value;

	if (virtio_config_read(vdev, offset, &value, sizeof(value)))
		return fallback;
	return vdev->legacy ? value : le64_to_cpu(value);
}
