/*
 * "Block Device": requests on one virtqueue, or on one for each CPU (MQ).
 *
 * The block class checks and cuts; here a request, or a part of one, becomes a framed request of a virtqueue: the header and the status
 * byte lie in the frame, the data is the request's own list of segments, the token is the request. So posting copies nothing and
 * allocates nothing, and all that the driver must be able to rely on lies apart from what the device writes.
 *
 * Limits and capacity are read on each bring-up, for a device may come back different from a reset.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "blk_impl.h"

/* "Block Device / Device Operation" */
enum {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_GET_LIFETIME = 10,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
	VIRTIO_BLK_T_SECURE_ERASE = 14,
	VIRTIO_BLK_T_ZONE_APPEND = 15,
	VIRTIO_BLK_T_ZONE_REPORT = 16,
	VIRTIO_BLK_T_ZONE_OPEN = 18,
	VIRTIO_BLK_T_ZONE_CLOSE = 20,
	VIRTIO_BLK_T_ZONE_FINISH = 22,
	VIRTIO_BLK_T_ZONE_RESET = 24,
	VIRTIO_BLK_T_ZONE_RESET_ALL = 26,
};
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2, STATUS_NOT_WRITTEN = 0xff };

struct virtio_blk_req_header {
	le32 type, reserved;
	le64 sector;
};
_Static_assert(sizeof(struct virtio_blk_req_header) == 16, "virtio_blk_req_header");

struct virtio_blk_discard_write_zeroes {
	le64 sector;
	le32 num_sectors, flags; /* bit 0: unmap */
};
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "virtio_blk_discard_write_zeroes");

struct blk_frame {
	struct virtio_blk_req_header header;
	union {
		uint8_t status;
		le64 status_and_unused; /* only the first byte is the device's */
	};
	le64 unused;
	union {
		struct virtio_blk_discard_write_zeroes range;
		le64 append_sector;
	};
};
_Static_assert(offsetof(struct blk_frame, status) == sizeof(struct virtio_blk_req_header), "the tail follows the head");

#define QUEUE_MAX 256u
#define BATCH 32u

/* ---- requests ---- */

/* "Scatter-Gather Support" of ranges: one a request, since a device may take no more, and larger ones are rare. */
static struct dma_buf lay_out_range(struct blk_frame *frame, const struct block_request *request, uint64_t sector,
                                    uint32_t sectors)
{
	/* "Device Operation": unmap MUST be zero for discard commands */
	bool unmap = request->op == BLOCK_WRITE_ZEROES && request->may_unmap;

	frame->range = (struct virtio_blk_discard_write_zeroes){.sector = cpu_to_le64(sector),
	                                                        .num_sectors = cpu_to_le32(sectors),
	                                                        .flags = cpu_to_le32(unmap)};
	return (struct dma_buf){&frame->range, sizeof(frame->range)};
}

static int post(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
                unsigned segment_count, uint32_t sectors)
{
	static const uint8_t types[BLOCK_OPS] = {
		[BLOCK_READ] = VIRTIO_BLK_T_IN,
		[BLOCK_WRITE] = VIRTIO_BLK_T_OUT,
		[BLOCK_FLUSH] = VIRTIO_BLK_T_FLUSH,
		[BLOCK_GET_ID] = VIRTIO_BLK_T_GET_ID,
		[BLOCK_GET_LIFETIME] = VIRTIO_BLK_T_GET_LIFETIME,
		[BLOCK_DISCARD] = VIRTIO_BLK_T_DISCARD,
		[BLOCK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
		[BLOCK_SECURE_ERASE] = VIRTIO_BLK_T_SECURE_ERASE,
		[BLOCK_ZONE_REPORT] = VIRTIO_BLK_T_ZONE_REPORT,
		[BLOCK_ZONE_APPEND] = VIRTIO_BLK_T_ZONE_APPEND,
		[BLOCK_ZONE_OPEN] = VIRTIO_BLK_T_ZONE_OPEN,
		[BLOCK_ZONE_CLOSE] = VIRTIO_BLK_T_ZONE_CLOSE,
		[BLOCK_ZONE_FINISH] = VIRTIO_BLK_T_ZONE_FINISH,
		[BLOCK_ZONE_RESET] = VIRTIO_BLK_T_ZONE_RESET,
		[BLOCK_ZONE_RESET_ALL] = VIRTIO_BLK_T_ZONE_RESET_ALL,
	};
	struct virtq *vq = container_of(queue, struct blk_queue, queue)->vq;
	enum block_op op = request->op;
	struct blk_frame *frame = likely(vq) ? virtq_frame(vq) : NULL;
	uint16_t count = (uint16_t)segment_count, readable = op == BLOCK_WRITE ? count : 0;
	/* "Device Operation": sector MUST be 0 for a flush, and to reset all zones, and is of no use but for these */
	bool has_sector = op <= BLOCK_WRITE || (op >= BLOCK_ZONE_REPORT && op <= BLOCK_ZONE_RESET);
	struct dma_buf range;
	int error;

	if (unlikely(!frame))
		return -ENOSPC;
	frame->header = (struct virtio_blk_req_header){.type = cpu_to_le32(types[op]),
	                                               .sector = cpu_to_le64(has_sector ? sector : 0)};
	frame->status = STATUS_NOT_WRITTEN;
	if (unlikely(op >= BLOCK_DISCARD)) {
		range = lay_out_range(frame, request, sector, sectors);
		segments = &range;
		count = readable = 1;
	}
	/* "Legacy Interface: Framing Requirements": the header and the status byte each in a descriptor of its own. So always. (The
	 * header's 8 bytes there are a slip of the text: its three fields are 16.) */
	if (unlikely(op == BLOCK_ZONE_APPEND))
		error = virtio_blk_add_append(vq, segments, count, &frame->append_sector, request);
	else
		error = virtq_add_framed(vq, segments, readable, (uint16_t)(count - readable), request);
	if (unlikely(error)) {
		/* No room though nothing is in flight: there never will be. */
		if (error == -ENOSPC && virtq_room(vq) == vq->size)
			return -EIO;
		return error == -EIO ? -ENOSPC : error; /* broken: it waits for the restart */
	}
	virtq_kick_later(vq);
	return 0;
}

static unsigned post_simple(struct block_queue *queue, struct block_request *const requests[], unsigned count)
{
	struct virtq *vq = container_of(queue, struct blk_queue, queue)->vq;
	unsigned i = 0;

	if (unlikely(!vq))
		return 0;
	count = MIN(count, virtq_frame_room(vq));
	for (; i < count; i++) {
		struct block_request *request = requests[i];
		struct blk_frame *frame = virtq_next_frame(vq);

		_Static_assert(BLOCK_READ == (int)VIRTIO_BLK_T_IN && BLOCK_WRITE == (int)VIRTIO_BLK_T_OUT, "the same numbers");
		frame->header.type = cpu_to_le32(request->op);
		frame->header.reserved = 0;
		frame->header.sector = cpu_to_le64(request->sector);
		frame->status_and_unused = cpu_to_le64(STATUS_NOT_WRITTEN);
		if (unlikely(virtq_add_frame_and_one(vq, request->segments, request->op == BLOCK_READ, request)))
			break;
	}
	if (likely(i))
		virtq_kick_later(vq);
	return i;
}

static int failure(const struct blk_queue *q, const struct virtq_used_request *used, uint8_t status)
{
	switch (status) {
	case VIRTIO_BLK_S_OK:
		/* "The Virtqueue Used Ring": what lies beyond the used length is not to be relied on. "Legacy Interface: Device
		 * Operation": there, used lengths are to be ignored. */
		return !used->missing || q->legacy ? 0 : -EIO;
	case VIRTIO_BLK_S_UNSUPP:
		return -ENOTSUP;
	default: /* IOERR, not written, or nonsense */
		return q->zoned ? virtio_blk_zone_failure(status) : -EIO;
	}
}

[[gnu::always_inline]] static inline void harvest(struct blk_queue *q, struct virtq *vq)
{
	struct virtq_used_request used[BATCH];
	unsigned count;

	do {
		count = virtq_harvest_framed(vq, used, BATCH);
		for (const struct virtq_used_request *u = used; u < used + count; u++) {
			const struct blk_frame *frame = (struct blk_frame *)(void *)u->frame;
			uint8_t status = READ_ONCE(frame->status);
			int error = 0;

			if (unlikely(status != VIRTIO_BLK_S_OK || (u->missing | q->zoned))) {
				error = failure(q, u, status);
				if (q->zoned && !error)
					error = virtio_blk_appended(q, u->token, &frame->append_sector);
			}
			block_part_done(&q->queue, u->token, error);
		}
	} while (count == BATCH);
}

static void used(struct virtq *vq)
{
	struct blk_queue *q = vq->context;

	harvest(q, vq);
	if (unlikely(q->queue.waiting))
		block_pump(&q->queue);
}

static void poll(struct block_queue *queue, bool on)
{
	struct blk_queue *q = container_of(queue, struct blk_queue, queue);

	q->polled = on;
	if (q->vq)
		virtq_set_polled(q->vq, on);
}

/* ---- life ---- */

static const struct block_ops ops = {.post = post,
                                     .post_simple = post_simple,
                                     .set_writeback = virtio_blk_set_writeback,
                                     .zone_report = virtio_blk_zone_report,
                                     .poll = poll};

static int probe(struct virtio_device *vdev)
{
	unsigned count = virtio_blk_count_queues(vdev);
	size_t bytes = sizeof(struct blk) + count * sizeof(struct blk_queue);
	struct blk *blk = page_alloc(bytes, PAGE_SIZE);

	if (!blk)
		return -ENOMEM;
	blk->vdev = vdev;
	blk->bytes = bytes;
	blk->queue_count = count;
	for (unsigned i = 0; i < count; i++) {
		blk->queues[i].queue.cpu = i;
		blk->queues[i].legacy = vdev->legacy;
		format_text(blk->queues[i].name, sizeof(blk->queues[i].name), "requestq%u", i + 1);
		blk->class_queues[i] = &blk->queues[i].queue;
	}
	blk->block.ops = &ops;
	blk->block.node.name = vdev->name;
	vdev->driver_data = blk;
	return 0;
}

static int create_queues(struct blk *blk)
{
	struct virtq_spec specs[CPU_MAX];

	for (unsigned i = 0; i < blk->queue_count; i++)
		specs[i] = (struct virtq_spec){
			.name = blk->queues[i].name,
			.callback = used,
			.max_size = QUEUE_MAX,
			/* with header and status, or of an append header, sector and status */
			.max_buffers = (uint16_t)MIN(virtio_blk_max_segments(blk) + (blk->block.zones.model ? 3u : 2u),
		                                     BLOCK_PART_SEGMENTS + 2u),
			.head = sizeof(struct virtio_blk_req_header),
			.tail = 1,
			.extra = sizeof(struct blk_frame) - (offsetof(struct blk_frame, status) + 1),
			.context = &blk->queues[i],
			.cpu = i,
		};
	return virtio_queues_create(blk->vdev, (uint16_t)blk->queue_count, specs);
}

/* On the queue's CPU, as what follows. */
static void open_queue(struct virtq *vq)
{
	struct blk_queue *q = vq->context;

	q->vq = vq;
	if (q->polled)
		virtq_set_polled(vq, true);
	block_pump(&q->queue);
}

static int start(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;
	uint16_t smallest = QUEUE_MAX;
	int error = virtio_blk_read_config(blk);

	if (!error)
		error = create_queues(blk);
	if (error)
		return error;
	for (unsigned i = 0; i < blk->queue_count; i++) {
		smallest = MIN(smallest, vdev->queues[i]->size);
		blk->queues[i].zoned = blk->block.zones.model != BLOCK_NO_ZONES;
	}
	error = virtio_blk_read_limits(blk, smallest);
	if (!error)
		error = block_register(&blk->block, blk->class_queues, blk->queue_count);
	if (error)
		return error;
	virtio_driver_ok(vdev);
	for (unsigned i = 0; i < blk->queue_count; i++)
		virtq_run(vdev->queues[i], open_queue);
	return 0;
}

/* End what is in flight; what waits goes on waiting. */
static void drain(struct virtq *vq, int status)
{
	struct blk_queue *q = vq->context;
	struct block_request *request;

	if (!q->vq)
		return;
	q->vq = NULL;
	while ((request = virtq_detach_unused(vq)))
		block_part_done(&q->queue, request, status);
}

static void fail_queue(struct virtq *vq) { drain(vq, -EIO); }

static void stop(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_run(vdev->queues[i], fail_queue);
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	harvest(vq->context, vq);
	drain(vq, -EAGAIN);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	open_queue(vq);
}

static void remove(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;

	block_unregister(&blk->block);
	page_free(blk, blk->bytes);
}

static const struct virtio_feature_rule rules[] = {
	{VIRTIO_BLK_F_CONFIG_WCE, BIT64(VIRTIO_BLK_F_FLUSH)},
	{VIRTIO_BLK_F_ZONED, BIT64(VIRTIO_F_VERSION_1)}, /* and so FEATURES_OK */
	{},
};

static const struct virtio_driver blk_driver = {
	.name = "virtio-blk",
	.instance = "blk",
	.type = VIRTIO_ID_BLOCK,
	.features = BIT64(VIRTIO_BLK_F_SIZE_MAX) | BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_RO) |
                    BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_TOPOLOGY) |
                    BIT64(VIRTIO_BLK_F_CONFIG_WCE) | BIT64(VIRTIO_BLK_F_MQ) | BIT64(VIRTIO_BLK_F_DISCARD) |
                    BIT64(VIRTIO_BLK_F_WRITE_ZEROES) | BIT64(VIRTIO_BLK_F_LIFETIME) | BIT64(VIRTIO_BLK_F_SECURE_ERASE) |
                    BIT64(VIRTIO_BLK_F_ZONED),
	.rules = rules,
	/* "Device Initialization": not where zones are managed by the host, and which kind they are cannot be seen yet */
	.conflict = {VIRTIO_BLK_F_DISCARD, BIT64(VIRTIO_BLK_F_ZONED)},
	.config_size = sizeof(struct virtio_blk_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
	.config_changed = virtio_blk_config_changed,
};
VIRTIO_DRIVER(blk_driver);
