/*
 * "Block Device": the configuration, read on each bring-up, for a device may come back different from a reset.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/log.h>

#include "blk_impl.h"

#define BLOCK_SIZE_MAX 65536u
#define FIELD(name) offsetof(struct virtio_blk_config, name)

/* Every field that there is, and with which feature. */
static const struct virtio_fields fields[] = {
	{FIELD(capacity), 8, 4, 0},
	{FIELD(size_max), 4, 4, BIT64(VIRTIO_BLK_F_SIZE_MAX)},
	{FIELD(seg_max), 4, 4, BIT64(VIRTIO_BLK_F_SEG_MAX)},
	{FIELD(blk_size), 4, 4, BIT64(VIRTIO_BLK_F_BLK_SIZE)},
	{FIELD(topology.physical_block_exp), 2, 1, BIT64(VIRTIO_BLK_F_TOPOLOGY)},
	{FIELD(topology.min_io_size), 2, 2, BIT64(VIRTIO_BLK_F_TOPOLOGY)},
	{FIELD(topology.opt_io_size), 4, 4, BIT64(VIRTIO_BLK_F_TOPOLOGY)},
	{FIELD(writeback), 1, 1, BIT64(VIRTIO_BLK_F_CONFIG_WCE)},
	{FIELD(discard), 12, 4, BIT64(VIRTIO_BLK_F_DISCARD)},
	{FIELD(max_write_zeroes_sectors), 8, 4, BIT64(VIRTIO_BLK_F_WRITE_ZEROES)},
	{FIELD(write_zeroes_may_unmap), 1, 1, BIT64(VIRTIO_BLK_F_WRITE_ZEROES)},
	{FIELD(secure_erase), 12, 4, BIT64(VIRTIO_BLK_F_SECURE_ERASE)},
	{FIELD(zoned.zone_sectors), 20, 4, BIT64(VIRTIO_BLK_F_ZONED)},
	{FIELD(zoned.model), 1, 1, BIT64(VIRTIO_BLK_F_ZONED)},
};

/* As far as it can be read. */
static void read_all(struct blk *blk)
{
	blk->config = (struct virtio_blk_config){.capacity = cpu_to_le64(UINT64_MAX),
	                                         .seg_max = cpu_to_le32(1),
	                                         .blk_size = cpu_to_le32(BLOCK_SECTOR),
	                                         .writeback = 1};
	if (virtio_config_fields(blk->vdev, fields, ARRAY_SIZE(fields), &blk->config) == -EIO)
		blk->config.capacity = cpu_to_le64(UINT64_MAX); /* and so it cannot be used */
}

static bool take_capacity(struct blk *blk, uint64_t capacity)
{
	if (capacity > UINT64_MAX / BLOCK_SECTOR)
		return false;
	WRITE_ONCE(blk->block.capacity, capacity);
	return true;
}

static void take_block_size(struct blk *blk)
{
	const struct virtio_blk_config *config = &blk->config;
	struct block_device *block = &blk->block;
	uint32_t size = le32_to_cpu(config->blk_size), optimal = le32_to_cpu(config->topology.opt_io_size);
	unsigned exponent = config->topology.physical_block_exp;

	if (size < BLOCK_SECTOR || size > BLOCK_SIZE_MAX || (size & (size - 1))) {
		log_warn("virtio-blk %s: blk_size %u is no block size, 512 is used", blk->vdev->name, size);
		size = BLOCK_SECTOR;
	}
	block->block_size = size;
	block->physical_bytes = virtio_has(blk->vdev, VIRTIO_BLK_F_TOPOLOGY) && exponent < 16 ? size << exponent : 0;
	block->first_aligned = block->physical_bytes ? config->topology.alignment_offset * (size / BLOCK_SECTOR) : 0;
	block->min_bytes = le16_to_cpu(config->topology.min_io_size) * size;
	block->optimal_bytes = optimal <= UINT32_MAX / size ? optimal * size : 0;
}

unsigned virtio_blk_count_queues(struct virtio_device *vdev)
{
	if (!virtio_has(vdev, VIRTIO_BLK_F_MQ))
		return 1;
	return MAX(MIN(virtio_config_u16(vdev, FIELD(num_queues), 1), cpu_count()), 1u);
}

/* Data segments of a request. Without SEG_MAX nothing says that the device takes more than one; some do not. */
uint32_t virtio_blk_max_segments(const struct blk *blk) { return MIN(le32_to_cpu(blk->config.seg_max), BLOCK_PART_SEGMENTS); }

int virtio_blk_read_limits(struct blk *blk, uint16_t queue_size)
{
	struct virtio_device *vdev = blk->vdev;
	struct block_limits *limits = &blk->block.limits;
	uint32_t segments = virtio_blk_max_segments(blk);
	/* 0 is no size: qemu-storage-daemon offers the feature and leaves it so. */
	uint32_t bytes = le32_to_cpu(blk->config.size_max);

	/* "Scatter-Gather Support": a request is no longer than its queue, and header and status take two of its places. */
	segments = MIN(segments, queue_size - MIN(queue_size, 2u));
	*limits = (struct block_limits){segments, bytes};
	if (!segments || (bytes && (uint64_t)bytes * segments < blk->block.block_size))
		return virtio_refuse(vdev, -EINVAL, "no room for a block in %u segments (queue size %u) of size_max %u", segments,
		                     queue_size, bytes);
	return 0;
}

/* In whole blocks; nothing where the device takes less than one, or not one segment. */
static struct block_range_limits range_limits(const struct blk *blk, le32 max_sectors, le32 max_segments, le32 alignment)
{
	uint32_t sectors = blk->block.block_size / BLOCK_SECTOR, aligned = le32_to_cpu(alignment);

	if (!max_segments)
		return (struct block_range_limits){0};
	return (struct block_range_limits){ALIGN_DOWN(le32_to_cpu(max_sectors), sectors), aligned % sectors ? 0 : aligned};
}

static void take_range_limits(struct blk *blk)
{
	const struct virtio_blk_config *config = &blk->config;
	struct block_device *block = &blk->block;

	block->discard = range_limits(blk, config->discard.max_sectors, config->discard.max_seg, config->discard.alignment);
	block->write_zeroes = range_limits(blk, config->max_write_zeroes_sectors, config->max_write_zeroes_seg, 0);
	block->secure_erase = range_limits(blk, config->secure_erase.max_sectors, config->secure_erase.max_seg,
	                                   config->secure_erase.alignment);
	/* "Device Operation": of a disk of zones, whole ones are erased */
	if (block->zones.model && block->secure_erase.max_sectors) {
		block->secure_erase.max_sectors -= block->secure_erase.max_sectors % block->zones.sectors;
		block->secure_erase.alignment = block->zones.sectors;
	}
	block->zeroes_may_unmap = block->write_zeroes.max_sectors && config->write_zeroes_may_unmap;
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
	device->writeback = virtio_config_u8(blk->vdev, FIELD(writeback), 1);
	return device->writeback == on ? 0 : -EIO;
}

int virtio_blk_read_config(struct blk *blk)
{
	struct virtio_device *vdev = blk->vdev;
	struct block_device *block = &blk->block;
	int error;

	read_all(blk);
	if (!take_capacity(blk, le64_to_cpu(blk->config.capacity)))
		return virtio_refuse(vdev, -EINVAL, "its capacity cannot be read, or cannot be");
	take_block_size(blk);
	block->read_only = virtio_has(vdev, VIRTIO_BLK_F_RO);
	block->can_flush = virtio_has(vdev, VIRTIO_BLK_F_FLUSH);
	block->has_lifetime = virtio_has(vdev, VIRTIO_BLK_F_LIFETIME);
	/* "Device Initialization": with CONFIG_WCE the mode can be read; else a device that can flush is assumed to have to. */
	block->writeback = block->can_flush && blk->config.writeback;
	error = virtio_blk_read_zones(blk);
	take_range_limits(blk);
	return error;
}

void virtio_blk_config_changed(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;
	uint64_t former = blk->block.capacity, now = virtio_config_u64(vdev, FIELD(capacity), UINT64_MAX);

	if (!take_capacity(blk, now))
		log_warn("virtio-blk %s: its new capacity cannot be: %llu sectors stay", vdev->name, (unsigned long long)former);
	else if (now != former)
		log_info("virtio-blk %s: capacity %llu sectors", vdev->name, (unsigned long long)now);
}
