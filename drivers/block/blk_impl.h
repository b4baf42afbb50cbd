/*
 * What the files of the block driver share: blk.c (requests and life) and blk_config.c.
 */
#ifndef DRIVERS_BLOCK_BLK_IMPL_H
#define DRIVERS_BLOCK_BLK_IMPL_H

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

#define VIRTIO_BLK_CONFIG_BYTES 72

struct blk_queue {
	struct block_queue queue;
	struct virtq *vq; /* NULL while stopped */
	bool polled, legacy;
	char name[16];
};

struct blk {
	struct block_device block;
	struct virtio_device *vdev;
	unsigned queue_count;
	struct blk_queue *queues;
	struct block_queue *class_queues[CPU_MAX];
};

/* blk_config.c */
unsigned virtio_blk_count_queues(const struct blk *blk); /* as many as CPUs can have one */
[[nodiscard]] int virtio_blk_read_config(struct blk *blk);
[[nodiscard]] int virtio_blk_read_limits(struct blk *blk, uint16_t queue_size); /* the smallest of its queues */
uint32_t virtio_blk_max_segments(struct virtio_device *vdev);
int virtio_blk_set_writeback(struct block_device *device, bool on);
void virtio_blk_config_changed(struct virtio_device *vdev);

#endif
