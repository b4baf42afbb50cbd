/*
 * What the files of the block driver share: blk.c (requests and life), blk_config.c, blk_zoned.c (devices of zones).
 */
#ifndef DRIVERS_BLOCK_BLK_IMPL_H
#define DRIVERS_BLOCK_BLK_IMPL_H

#include <base/endian.h>
#include <class/block.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* "Block Device / Feature bits" */
enum {
	VIRTIO_BLK_F_SIZE_MAX = 1,
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
	VIRTIO_BLK_F_MQ = 12,
	VIRTIO_BLK_F_DISCARD = 13,
	VIRTIO_BLK_F_WRITE_ZEROES = 14,
	VIRTIO_BLK_F_LIFETIME = 15,
	VIRTIO_BLK_F_SECURE_ERASE = 16,
	VIRTIO_BLK_F_ZONED = 17,
};

/* "Block Device / Device configuration layout" */
struct virtio_blk_zoned_characteristics {
	le32 zone_sectors, max_open_zones, max_active_zones, max_append_sectors, write_granularity;
	uint8_t model, unused2[3];
};

struct virtio_blk_range_limits {
	le32 max_sectors, max_seg, alignment;
};

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
_Static_assert(sizeof(struct virtio_blk_config) == 96, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, secure_erase) == 60, "virtio_blk_config.secure_erase");

struct blk_queue {
	struct block_queue queue;
	struct virtq *vq; /* NULL while stopped */
	bool polled, legacy, zoned;
	char name[16];
};

struct blk {
	struct block_device block;
	struct virtio_device *vdev;
	struct virtio_blk_config config; /* as it was read last; what is not there is as if it said nothing */
	unsigned queue_count;
	size_t bytes; /* of all this */
	struct block_queue *class_queues[CPU_MAX];
	struct blk_queue queues[];
};

/* blk_config.c */
unsigned virtio_blk_count_queues(struct virtio_device *vdev); /* as many as CPUs can have one */
[[nodiscard]] int virtio_blk_read_config(struct blk *blk);
[[nodiscard]] int virtio_blk_read_limits(struct blk *blk, uint16_t queue_size); /* the smallest of its queues */
uint32_t virtio_blk_max_segments(const struct blk *blk);
int virtio_blk_set_writeback(struct block_device *device, bool on);
void virtio_blk_config_changed(struct virtio_device *vdev);

/* blk_zoned.c */
[[nodiscard]] int virtio_blk_read_zones(struct blk *blk);
int virtio_blk_zone_report(struct block_device *device, uint64_t sector, struct block_zone zones[], unsigned count);
/* Add an append whose header is in the frame: `result` of it is for the device to write where the data lies. */
[[nodiscard]] int virtio_blk_add_append(struct virtq *vq, const struct dma_buf *segments, unsigned count, le64 *result,
                                        struct block_request *request);
/* It has succeeded. 0; -EIO: the data lies where it cannot. */
[[nodiscard]] int virtio_blk_appended(const struct blk_queue *q, struct block_request *request, const le64 *result);
int virtio_blk_zone_failure(uint8_t status);

#endif
