/*
 * "Block Device": the configuration, read on each bring-up, for a device may come back different from a reset.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/log.h>

#include "blk_impl.h"

struct virtio_blk_range_limits {
	le32 max_sectors, max_seg, alignment;
};

/* "Block Device / Device configuration layout" */
struct virtio_blk_config {
	le64 capacity;
	le32 size_max, seg_max;
	struct {
		le16 cylinders;
		uint8_t heads, sectors;
	} geometry;
	le32 blk_size;
	struct {
		uint8_t physical_block_exp, alignment_offset;
		le16 min_io_size;
		le32 opt_io_size;
	} topology;
	uint8_t writeback, unused0;
	le16 num_queues;
	struct virtio_blk_range_limits discard;
	le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	struct virtio_blk_range_limits secure_erase;
	struct virtio_blk_zoned_characteristics zoned;
};
_Static_assert(sizeof(struct virtio_blk_config) == VIRTIO_BLK_CONFIG_BYTES, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, secure_erase) == 60, "virtio_blk_config.secure_erase");

#define BLOCK_SIZE_MAX 65536u
#define FIELD(name) offsetof(struct virtio_blk_config, name)

static bool read_capacity(struct blk *blk)
{
	uint64_t capacity = virtio_config_u64(blk->vdev, FIELD(capacity), UINT64_MAX);

	if (capacity > UINT64_MAX / BLOCK_SECTOR)
		return false;
	WRITE_ONCE(blk->block.capacity, capacity);
	return true;
}

static void read_block_size(struct blk *blk)
{
	struct virtio_device *vdev = blk->vdev;
	struct block_device *block = &blk->block;
	uint32_t size = BLOCK_SECTOR, optimal = 0, exponent;

	if (virtio_has(vdev, VIRTIO_BLK_F_BLK_SIZE))
		size = virtio_config_u32(vdev, FIELD(blk_size), 0);
	if (size < BLOCK_SECTOR || size > BLOCK_SIZE_MAX || (size & (size - 1))) {
		log_warn("virtio-blk %s: blk_size %u is no block size, 512 is used", vdev->name, size);
		size = BLOCK_SECTOR;
	}
	block->block_size = size;
	block->physical_bytes = block->min_bytes = block->optimal_bytes = block->first_aligned = 0;
	if (!virtio_has(vdev, VIRTIO_BLK_F_TOPOLOGY))
		return;
	exponent = virtio_config_u8(vdev, FIELD(topology.physical_block_exp), 0);
	if (exponent < 16) {
		block->physical_bytes = size << exponent;
		block->first_aligned = virtio_config_u8(vdev, FIELD(topology.alignment_offset), 0) * (size / BLOCK_SECTOR);
	}
	block->min_bytes = virtio_config_u16(vdev, FIELD(topology.min_io_size), 0) * size;
	optimal = virtio_config_u32(vdev, FIELD(topology.opt_io_size), 0);
	block->optimal_bytes = optimal <= UINT32_MAX / size ? optimal * size : 0;
}

unsigned virtio_blk_count_queues(const struct blk *blk)
{
	if (!virtio_has(blk->vdev, VIRTIO_BLK_F_MQ))
		return 1;
	return MAX(MIN(virtio_config_u16(blk->vdev, FIELD(num_queues), 1), cpu_count()), 1u);
}

/* Data segments of a request. Without SEG_MAX nothing says that the device takes more than one; some do not. */
uint32_t virtio_blk_max_segments(struct virtio_device *vdev)
{
	if (!virtio_has(vdev, VIRTIO_BLK_F_SEG_MAX))
		return 1;
	return MIN(virtio_config_u32(vdev, FIELD(seg_max), 0), BLOCK_PART_SEGMENTS);
}

int virtio_blk_read_limits(struct blk *blk, uint16_t queue_size)
{
	struct virtio_device *vdev = blk->vdev;
	struct block_limits *limits = &blk->block.limits;
	uint32_t segments = virtio_blk_max_segments(vdev), bytes = 0;

	/* 0 is no size: qemu-storage-daemon offers the feature and leaves it so. */
	if (virtio_has(vdev, VIRTIO_BLK_F_SIZE_MAX))
		bytes = virtio_config_u32(vdev, FIELD(size_max), 0);
	/* "Scatter-Gather Support": a request is no longer than its queue, and header and status take two of its places. */
	segments = MIN(segments, queue_size - MIN(queue_size, 2u));
	*limits = (struct block_limits){segments, bytes};
	if (!segments || (bytes && (uint64_t)bytes * segments < blk->block.block_size))
		return virtio_refuse(vdev, -EINVAL, "no room for a block in %u segments (queue size %u) of size_max %u", segments,
		                     queue_size, bytes);
	return 0;
}

/* In whole blocks; nothing where the device takes less than one, or not one segment. */
static struct block_range_limits range_limits(const struct blk *blk, unsigned feature, uint32_t sectors_at, uint32_t segments_at,
                                              uint32_t alignment_at)
{
	struct virtio_device *vdev = blk->vdev;
	uint32_t block_sectors = blk->block.block_size / BLOCK_SECTOR, sectors, alignment = 0;

	if (!virtio_has(vdev, feature) || !virtio_config_u32(vdev, segments_at, 0))
		return (struct block_range_limits){0};
	sectors = virtio_config_u32(vdev, sectors_at, 0);
	if (alignment_at)
		alignment = virtio_config_u32(vdev, alignment_at, 0);
	return (struct block_range_limits){ALIGN_DOWN(sectors, block_sectors), alignment % block_sectors ? 0 : alignment};
}

static void read_range_limits(struct blk *blk)
{
	struct block_device *block = &blk->block;

	block->discard = range_limits(blk, VIRTIO_BLK_F_DISCARD, FIELD(discard.max_sectors), FIELD(discard.max_seg),
	                              FIELD(discard.alignment));
	block->write_zeroes = range_limits(blk, VIRTIO_BLK_F_WRITE_ZEROES, FIELD(max_write_zeroes_sectors),
	                                   FIELD(max_write_zeroes_seg), 0);
	block->secure_erase = range_limits(blk, VIRTIO_BLK_F_SECURE_ERASE, FIELD(secure_erase.max_sectors),
	                                   FIELD(secure_erase.max_seg), FIELD(secure_erase.alignment));
	/* "Device Operation": of a disk of zones, whole ones are erased */
	if (block->zones.model && block->secure_erase.max_sectors) {
		block->secure_erase.max_sectors -= block->secure_erase.max_sectors % block->zones.sectors;
		block->secure_erase.alignment = block->zones.sectors;
	}
	block->zeroes_may_unmap = block->write_zeroes.max_sectors &&
	                          virtio_config_u8(blk->vdev, FIELD(write_zeroes_may_unmap), 0);
}

static void read_writeback(struct blk *blk)
{
	/* "Device Initialization": with CONFIG_WCE the mode can be read; else a device that can flush is assumed to have to. */
	if (virtio_has(blk->vdev, VIRTIO_BLK_F_CONFIG_WCE))
		blk->block.writeback = virtio_config_u8(blk->vdev, FIELD(writeback), 1);
	else
		blk->block.writeback = blk->block.can_flush;
}

int virtio_blk_set_writeback(struct block_device *device, bool on)
{
	struct blk *blk = container_of(device, struct blk, block);
	uint8_t value = on;

	if (!virtio_has(blk->vdev, VIRTIO_BLK_F_CONFIG_WCE))
		return -ENOTSUP;
	/* "Device Operation": what was volatile is not committed by that: flushes go on being sent in both modes. */
	if (virtio_config_write(blk->vdev, FIELD(writeback), &value, sizeof(value)))
		return -EIO;
	read_writeback(blk);
	return device->writeback == on ? 0 : -EIO;
}

int virtio_blk_read_config(struct blk *blk)
{
	struct virtio_device *vdev = blk->vdev;
	int error;

	if (!read_capacity(blk))
		return virtio_refuse(vdev, -EINVAL, "its capacity cannot be read, or cannot be");
	read_block_size(blk);
	blk->block.read_only = virtio_has(vdev, VIRTIO_BLK_F_RO);
	blk->block.can_flush = virtio_has(vdev, VIRTIO_BLK_F_FLUSH);
	blk->block.has_lifetime = virtio_has(vdev, VIRTIO_BLK_F_LIFETIME);
	read_writeback(blk);
	error = virtio_blk_read_zones(blk, FIELD(zoned));
	read_range_limits(blk);
	return error;
}

void virtio_blk_config_changed(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;
	uint64_t former = blk->block.capacity;

	if (!read_capacity(blk))
		log_warn("virtio-blk %s: its new capacity cannot be: %llu sectors stay", vdev->name, (unsigned long long)former);
	else if (blk->block.capacity != former)
		log_info("virtio-blk %s: capacity %llu sectors", vdev->name, (unsigned long long)blk->block.capacity);
}
