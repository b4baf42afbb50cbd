/*
 * "PMEM Device": memory of the host's, as a block device. A block is read and written by copying; what was written lasts when a flush,
 * the one request that there is, has come back.
 *
 * The block class wants no completion inside a submission: what was copied is done in the next turn.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/block.h>
#include <virtio/ids.h>
#include <virtio/request.h>

#define FLUSHES 16u
#define COPIED_MAX 64u

struct virtio_pmem_config {
	le64 start, size;
};
_Static_assert(sizeof(struct virtio_pmem_config) == 16, "virtio_pmem_config");

enum { VIRTIO_PMEM_REQ_TYPE_FLUSH = 0 };
struct virtio_pmem_flush { /* virtio_pmem_req and virtio_pmem_resp */
	le32 type, ret;
};

struct pmem_flush {
	struct virtio_request request;
	struct virtq_buf bufs[2];
	struct pmem *pmem;
	struct pmem_flush *next; /* free ones */
	struct block_request *block;
	struct virtio_pmem_flush *wire;
	bool posting; /* post() is on the stack */
};

struct pmem {
	struct block_device block;
	struct block_queue queue, *queues[1];
	struct virtio_requestq requestq;
	uint64_t start, size;
	uint8_t *memory;
	bool running;

	struct block_request *copied[COPIED_MAX];
	unsigned copied_count;
	struct event copied_event;

	struct pmem_flush *free, flushes[FLUSHES];
	struct virtio_pmem_flush *wires; /* FLUSHES of them */
};

static int copy(struct pmem *pmem, struct block_request *request, uint64_t sector, const struct dma_buf *segments, unsigned count)
{
	uint8_t *at = pmem->memory + sector * BLOCK_SECTOR;

	if (pmem->copied_count == COPIED_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < count; at += segments[i++].len) {
		if (request->op == BLOCK_WRITE)
			memcpy(at, segments[i].addr, segments[i].len);
		else
			memcpy(segments[i].addr, at, segments[i].len);
	}
	pmem->copied[pmem->copied_count++] = request;
	event_mark(&pmem->copied_event);
	return 0;
}

static void copied(struct event *event)
{
	struct pmem *pmem = container_of(event, struct pmem, copied_event);

	while (pmem->copied_count)
		block_part_done(&pmem->queue, pmem->copied[--pmem->copied_count], 0);
	block_pump(&pmem->queue);
}

static void flushed(struct virtio_request *request)
{
	struct pmem_flush *flush = container_of(request, struct pmem_flush, request);
	struct pmem *pmem = flush->pmem;
	int status = request->status;

	/* "MUST return 0 for success": what it did not write is no such answer */
	if (!status && READ_ONCE(flush->wire->ret))
		status = -EIO;
	flush->next = pmem->free;
	pmem->free = flush;
	if (flush->posting)
		return; /* it cannot be at all, and post() says so */
	block_part_done(&pmem->queue, flush->block, status);
	if (pmem->running)
		block_pump(&pmem->queue);
}

static int post(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
                unsigned count, uint32_t sectors)
{
	struct pmem *pmem = container_of(queue, struct pmem, queue);
	struct pmem_flush *flush = pmem->free;

	(void)sectors;
	if (!pmem->running)
		return -ENOSPC;
	if (request->op == BLOCK_READ || request->op == BLOCK_WRITE)
		return copy(pmem, request, sector, segments, count);
	if (request->op != BLOCK_FLUSH)
		return -ENOTSUP;
	if (!flush)
		return -ENOSPC;
	pmem->free = flush->next;
	flush->block = request;
	*flush->wire = (struct virtio_pmem_flush){.type = cpu_to_le32(VIRTIO_PMEM_REQ_TYPE_FLUSH), .ret = UINT32_MAX};
	flush->request = (struct virtio_request){.bufs = flush->bufs, .nreadable = 1, .nwritable = 1, .done = flushed};
	flush->posting = true;
	virtio_request_submit(&pmem->requestq, &flush->request);
	flush->posting = false;
	return flush->request.over ? -EIO : 0;
}

static const struct block_ops ops = {.post = post};

/* ---- life ---- */

static int probe(struct virtio_device *vdev)
{
	struct pmem *pmem = page_alloc(sizeof(*pmem), PAGE_SIZE);

	if (!pmem)
		return -ENOMEM;
	pmem->wires = page_alloc(FLUSHES * sizeof(*pmem->wires), PAGE_SIZE);
	if (!pmem->wires) {
		page_free(pmem, sizeof(*pmem));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < FLUSHES; i++) {
		struct pmem_flush *flush = &pmem->flushes[i];

		flush->pmem = pmem;
		flush->wire = &pmem->wires[i];
		flush->bufs[0] = (struct virtq_buf){&flush->wire->type, sizeof(le32)};
		flush->bufs[1] = (struct virtq_buf){&flush->wire->ret, sizeof(le32)};
		flush->next = pmem->free;
		pmem->free = flush;
	}
	virtio_requestq_init(&pmem->requestq);
	pmem->requestq.again = true;
	event_init(&pmem->copied_event, copied);
	pmem->queues[0] = &pmem->queue;
	pmem->block = (struct block_device){.ops = &ops,
	                                    .node.name = vdev->name,
	                                    .block_size = BLOCK_SECTOR,
	                                    .can_flush = true,
	                                    .writeback = true};
	vdev->driver_data = pmem;
	return 0;
}

/* Once: a request may be copied at any time, so what is mapped stays what it is. */
static int map(struct virtio_device *vdev, struct pmem *pmem)
{
	uint64_t start = virtio_config_u64(vdev, offsetof(struct virtio_pmem_config, start), 0);
	uint64_t size = virtio_config_u64(vdev, offsetof(struct virtio_pmem_config, size), 0);

	if (pmem->memory)
		return start == pmem->start && size == pmem->size ? 0 : virtio_refuse(vdev, -EIO, "its memory moved by a reset");
	if (size >= BLOCK_SECTOR && start <= UINT64_MAX - size)
		pmem->memory = virtio_device_memory(vdev, start, size);
	if (!pmem->memory)
		return virtio_refuse(vdev, -EINVAL, "no memory can be at %#llx, %llu bytes", (unsigned long long)start,
		                     (unsigned long long)size);
	pmem->start = start;
	pmem->size = size;
	pmem->block.capacity = size / BLOCK_SECTOR;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct pmem *pmem = vdev->driver_data;
	struct virtq_spec spec = virtio_requestq_spec(&pmem->requestq, "req_vq", 2);
	int error = map(vdev, pmem);

	if (!error)
		error = virtio_service_start(vdev, 1, &spec);
	if (!error)
		error = block_register(&pmem->block, pmem->queues, 1);
	if (error)
		return error;
	pmem->running = true;
	block_pump(&pmem->queue);
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct pmem *pmem = vdev->driver_data;

	pmem->running = false;
	virtio_service_stop(vdev);
	if (pmem->block.node.listed) /* what was copied is there */
		copied(&pmem->copied_event);
}

static void remove(struct virtio_device *vdev)
{
	struct pmem *pmem = vdev->driver_data;

	virtio_requestq_end(&pmem->requestq);
	event_cancel(&pmem->copied_event);
	block_unregister(&pmem->block);
	page_free(pmem->wires, FLUSHES * sizeof(*pmem->wires));
	page_free(pmem, sizeof(*pmem));
}

/* SHMEM_REGION is not accepted: then "the device MUST indicate the guest physical address" in start and size. */
static const struct virtio_driver pmem_driver = {
	.name = "virtio-pmem",
	.instance = "pmem",
	.type = VIRTIO_ID_PMEM,
	.config_size = sizeof(struct virtio_pmem_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(pmem_driver);
