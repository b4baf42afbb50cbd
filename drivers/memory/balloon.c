/*
 * "Memory Balloon Device": pages that the device asks for are taken from the allocator and given to it, and back.
 *
 * The balloon is a stack of batches: a page each, that holds the numbers of up to BATCH_PAGES pages and is the buffer in which the device
 * is told of them, going in and coming out. One operation is under way at a time; when it ends, the next follows until what
 * num_pages says is reached. A few pages we keep: a machine without any is of no use to anybody.
 *
 * With DEFLATE_ON_OOM the allocator may ask for pages in the middle of anything: the device is then polled, and the loop does not turn.
 *
 * A reset empties the balloon: the device forgets, and so do we. What is told of free memory is in balloon_free.c.
 */
#include <errno.h>

#include <arch/clock.h>
#include <base/log.h>
#include <virtio/ids.h>

#include "balloon.h"

enum { INFLATEQ, DEFLATEQ, STATSQ, FREE_PAGE_VQ, REPORTING_VQ, QUEUES };

struct virtio_balloon_config { /* little-endian in the legacy interface, too */
	le32 num_pages, actual, free_page_hint_cmd_id, poison_val;
};
_Static_assert(sizeof(struct virtio_balloon_config) == 16, "virtio_balloon_config");
#define FIELD(name) offsetof(struct virtio_balloon_config, name)

enum {
	VIRTIO_BALLOON_S_SWAP_IN,
	VIRTIO_BALLOON_S_SWAP_OUT,
	VIRTIO_BALLOON_S_MEMFREE = 4,
	VIRTIO_BALLOON_S_MEMTOT,
	VIRTIO_BALLOON_S_AVAIL,
	VIRTIO_BALLOON_S_CACHES,
};
struct virtio_balloon_stat {
	le16 tag;
	le64 value;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_balloon_stat) == 10, "virtio_balloon_stat");
#define STATS 6u /* "a multiple of 6 bytes", and of 10 */

#define BALLOON_PAGE 4096u /* whatever PAGE_SIZE is */
_Static_assert(PAGE_SIZE == BALLOON_PAGE, "a page is a balloon's page");
#define BATCH_PAGES 1021u
#define SPARE_PAGES_LEAST 1024u
#define RETRY_NS UINT64_C(1000000000)   /* when there is no memory to give */
#define RESPITE_NS UINT64_C(5000000000) /* when some had to be taken back */
#define POLL_NS UINT64_C(1000000000)

struct batch {
	struct batch *below;
	uint32_t count;
	le32 pages[BATCH_PAGES];
};
_Static_assert(sizeof(struct batch) == PAGE_SIZE, "batch");

struct balloon {
	struct virtio_device *vdev;
	struct virtio_requestq inflateq, deflateq, statsq;
	bool running, submitting, reclaiming;
	struct batch *top;
	uint32_t pages, target; /* in the balloon; as the device wants it */

	struct virtio_request request; /* the one operation, */
	struct virtq_buf buf;
	struct batch *batch; /* its batch, */
	bool busy, over;     /* if there is one */
	struct timer retry;

	struct virtio_request stats_request;
	struct virtq_buf stats_buf;
	struct virtio_balloon_stat *stats;

	struct page_lender lender;
	struct balloon_free free;
};

static void work(struct balloon *balloon);

uint64_t balloon_spare_pages(void) { return MAX(page_count_total() / 32, SPARE_PAGES_LEAST); }

/* ---- configuration ---- */

static uint32_t read_field(struct balloon *balloon, uint32_t offset, uint32_t fallback)
{
	le32 value;

	return virtio_config_read(balloon->vdev, offset, &value, sizeof(value)) ? fallback : le32_to_cpu(value);
}

static void write_field(struct balloon *balloon, uint32_t offset, uint32_t value)
{
	le32 wire = cpu_to_le32(value);

	/* "Legacy Interface: Device Operation": all 4 bytes in one operation */
	if (virtio_config_write(balloon->vdev, offset, &wire, sizeof(wire)))
		log_debug("%s: its configuration does not take %u", balloon->vdev->name, value);
}

/* ---- inflate and deflate ---- */

static void free_pages(const le32 *pages, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		page_free((void *)(uintptr_t)((uint64_t)le32_to_cpu(pages[i]) * BALLOON_PAGE), BALLOON_PAGE);
}

static void submit(struct balloon *balloon, struct virtio_requestq *queue, struct batch *batch, uint32_t first, uint32_t count,
                   void (*done)(struct virtio_request *request))
{
	balloon->batch = batch;
	balloon->buf = (struct virtq_buf){&batch->pages[first], count * (uint32_t)sizeof(le32)};
	balloon->request = (struct virtio_request){.bufs = &balloon->buf, .nreadable = 1, .done = done};
	balloon->busy = true;
	balloon->over = false;
	balloon->submitting = true;
	virtio_request_submit(queue, &balloon->request);
	balloon->submitting = false;
}

static void end_operation(struct balloon *balloon)
{
	balloon->busy = false;
	balloon->over = true;
	if (balloon->request.status)
		return;
	/* "MUST update actual after changing the number of pages in the balloon" */
	write_field(balloon, FIELD(actual), balloon->pages);
	work(balloon);
}

static void inflated(struct virtio_request *request)
{
	struct balloon *balloon = container_of(request, struct balloon, request);
	struct batch *batch = balloon->batch;

	if (request->status && !balloon->vdev->stuck) {
		free_pages(batch->pages, batch->count);
		page_free(batch, sizeof(*batch));
	} else if (!request->status) {
		batch->below = balloon->top;
		balloon->top = batch;
		balloon->pages += batch->count;
	}
	end_operation(balloon);
}

static void deflated(struct virtio_request *request)
{
	struct balloon *balloon = container_of(request, struct balloon, request);
	uint32_t count = balloon->buf.len / (uint32_t)sizeof(le32);
	struct batch *batch = balloon->batch;

	if (!request->status) {
		/* "MUST NOT use pages from the balloon until the device has acknowledged the deflate request" */
		batch->count -= count;
		balloon->pages -= count;
		free_pages(batch->pages + batch->count, count);
		if (!batch->count) {
			balloon->top = batch->below;
			page_free(batch, sizeof(*batch));
		}
	}
	end_operation(balloon);
}

/* Fill a batch, in pieces as large as they come. */
static void take_pages(struct batch *batch, uint32_t wanted)
{
	for (uint32_t piece = wanted; batch->count < wanted && piece;) {
		uint32_t count = MIN(piece, wanted - batch->count);
		void *pages = page_take((size_t)count * BALLOON_PAGE);
		uint64_t number = (uintptr_t)pages / BALLOON_PAGE;

		if (!pages) {
			piece /= 2;
			continue;
		}
		if (number + count > UINT32_MAX) { /* it cannot be named */
			page_free(pages, (size_t)count * BALLOON_PAGE);
			return;
		}
		for (uint32_t i = 0; i < count; i++)
			batch->pages[batch->count++] = cpu_to_le32((uint32_t)number + i);
	}
}

static void try_again(struct timer *timer) { work(container_of(timer, struct balloon, retry)); }

static void inflate(struct balloon *balloon, uint32_t wanted)
{
	uint64_t available = page_count_free(), spare = balloon_spare_pages() + 1;
	struct batch *batch;

	if (available <= spare) {
		balloon_free_take_back(&balloon->free);
		available = page_count_free();
	}
	batch = available > spare ? page_take(sizeof(*batch)) : NULL;
	if (batch) {
		batch->count = 0;
		take_pages(batch, (uint32_t)MIN(MIN(wanted, BATCH_PAGES), available - spare));
		if (batch->count) {
			submit(balloon, &balloon->inflateq, batch, 0, batch->count, inflated);
			return;
		}
		page_free(batch, sizeof(*batch));
	}
	timer_start(&balloon->retry, clock_ns() + RETRY_NS, try_again);
}

static void deflate(struct balloon *balloon, uint32_t wanted)
{
	struct batch *batch = balloon->top;
	uint32_t count = MIN(wanted, batch->count);

	/* "MUST use the deflateq to inform the device of pages that it wants to use" */
	submit(balloon, &balloon->deflateq, batch, batch->count - count, count, deflated);
}

static void work(struct balloon *balloon)
{
	if (!balloon->running || balloon->busy || balloon->reclaiming)
		return;
	if (balloon->target < balloon->pages)
		deflate(balloon, balloon->pages - balloon->target);
	else if (balloon->target > balloon->pages && !balloon->retry.active)
		inflate(balloon, balloon->target - balloon->pages);
}

/* ---- the allocator's ---- */

static bool deflate_now(struct balloon *balloon, size_t bytes)
{
	uint32_t before = balloon->pages;

	/* "MUST NOT use pages from the balloon" that the device wants, but for DEFLATE_ON_OOM */
	if (!balloon->busy && balloon->top &&
	    (virtio_has(balloon->vdev, VIRTIO_BALLOON_F_DEFLATE_ON_OOM) || balloon->target < balloon->pages))
		deflate(balloon, (uint32_t)MIN(bytes / BALLOON_PAGE, BATCH_PAGES));
	if (balloon->busy)
		virtio_requestq_poll(balloon->request.done == deflated ? &balloon->deflateq : &balloon->inflateq, &balloon->over,
		                     POLL_NS);
	return balloon->pages != before;
}

static bool reclaim(struct page_lender *lender, size_t bytes)
{
	struct balloon *balloon = container_of(lender, struct balloon, lender);
	bool freed;

	if (!balloon->running || balloon->submitting || balloon->reclaiming)
		return false;
	balloon->reclaiming = true;
	freed = balloon_free_reclaim(&balloon->free) || deflate_now(balloon, bytes);
	balloon->reclaiming = false;
	timer_start(&balloon->retry, clock_ns() + RESPITE_NS, try_again);
	return freed;
}

static void freed(struct event *event) { balloon_free_more(&container_of(event, struct balloon, lender.freed)->free); }

/* ---- "Memory Statistics" ---- */

static void submit_stats(struct balloon *balloon)
{
	uint64_t free_bytes = page_count_free() * PAGE_SIZE;
	const struct {
		uint16_t tag;
		uint64_t value;
	} values[STATS] = {
		{VIRTIO_BALLOON_S_SWAP_IN, 0},          {VIRTIO_BALLOON_S_SWAP_OUT, 0},
		{VIRTIO_BALLOON_S_MEMFREE, free_bytes}, {VIRTIO_BALLOON_S_MEMTOT, page_count_total() * PAGE_SIZE},
		{VIRTIO_BALLOON_S_AVAIL, free_bytes},   {VIRTIO_BALLOON_S_CACHES, 0},
	};
	bool legacy = balloon->vdev->legacy; /* "Legacy Interface: Memory Statistics": native endian */

	for (unsigned i = 0; i < STATS; i++)
		balloon->stats[i] = (struct virtio_balloon_stat){
			.tag = legacy ? values[i].tag : cpu_to_le16(values[i].tag),
			.value = legacy ? values[i].value : cpu_to_le64(values[i].value),
		};
	virtio_request_submit(&balloon->statsq, &balloon->stats_request);
}

/* "Upon detecting that device has used a buffer in the statsq, the driver MUST make an output buffer available": the same one, so that
 * there is never a second. */
static void stats_wanted(struct virtio_request *request)
{
	if (!request->status)
		submit_stats(container_of(request, struct balloon, stats_request));
}

/* ---- life ---- */

static void config_changed(struct virtio_device *vdev)
{
	struct balloon *balloon = vdev->driver_data;

	balloon->target = read_field(balloon, FIELD(num_pages), balloon->target);
	if (virtio_has(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		balloon_free_command(&balloon->free, read_field(balloon, FIELD(free_page_hint_cmd_id), 0));
	work(balloon);
}

static void release(struct balloon *balloon)
{
	page_free(balloon->stats, STATS * sizeof(*balloon->stats));
	if (balloon->free.commands)
		balloon_free_release(&balloon->free);
	page_free(balloon, sizeof(*balloon));
}

static int probe(struct virtio_device *vdev)
{
	struct balloon *balloon = page_alloc(sizeof(*balloon), PAGE_SIZE);

	if (!balloon)
		return -ENOMEM;
	balloon->vdev = vdev;
	balloon->stats = page_alloc(STATS * sizeof(*balloon->stats), PAGE_SIZE);
	if (!balloon->stats || balloon_free_init(&balloon->free, vdev)) {
		release(balloon);
		return -ENOMEM;
	}
	virtio_requestq_init(&balloon->inflateq);
	virtio_requestq_init(&balloon->deflateq);
	virtio_requestq_init(&balloon->statsq);
	/* A queue reset lets all of it go out once more. */
	balloon->inflateq.again = balloon->deflateq.again = balloon->statsq.again = true;
	balloon->stats_buf = (struct virtq_buf){balloon->stats, STATS * sizeof(*balloon->stats)};
	balloon->stats_request = (struct virtio_request){.bufs = &balloon->stats_buf, .nreadable = 1, .done = stats_wanted};
	event_init(&balloon->lender.freed, freed);
	balloon->lender.reclaim = reclaim;
	page_lender_add(&balloon->lender);
	vdev->driver_data = balloon;
	return 0;
}

/* Which virtqueue is the reporting_vq: the last. Where there are no hints, QEMU has it in the place of their queue. */
static unsigned reporting_queue(struct virtio_device *vdev)
{
	return virtio_queue_max(vdev, REPORTING_VQ) ? REPORTING_VQ : FREE_PAGE_VQ;
}

static int start_queues(struct virtio_device *vdev, struct balloon *balloon)
{
	struct virtq_spec specs[QUEUES] = {
		[INFLATEQ] = virtio_requestq_spec(&balloon->inflateq, "inflateq", 1),
		[DEFLATEQ] = virtio_requestq_spec(&balloon->deflateq, "deflateq", 1),
	};
	unsigned count = STATSQ;

	if (virtio_has(vdev, VIRTIO_BALLOON_F_STATS_VQ)) {
		specs[STATSQ] = virtio_requestq_spec(&balloon->statsq, "statsq", 1);
		count = STATSQ + 1;
	}
	if (virtio_has(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT)) {
		specs[FREE_PAGE_VQ] = virtio_requestq_spec(&balloon->free.hintq, "free_page_vq", 1);
		count = FREE_PAGE_VQ + 1;
	}
	if (virtio_has(vdev, VIRTIO_BALLOON_F_PAGE_REPORTING)) {
		unsigned queue = reporting_queue(vdev);

		specs[queue] = virtio_requestq_spec(&balloon->free.reportq, "reporting_vq", BALLOON_REPORTS);
		count = MAX(count, queue + 1);
	}
	return virtio_service_start(vdev, (uint16_t)count, specs);
}

static int start(struct virtio_device *vdev)
{
	struct balloon *balloon = vdev->driver_data;
	int error;

	/* "MUST populate the poison_val configuration data before setting the DRIVER_OK bit" */
	if (virtio_has(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		write_field(balloon, FIELD(poison_val), (uint32_t)page_poison() * 0x01010101u);
	error = start_queues(vdev, balloon);
	if (error)
		return error;
	balloon->running = true;
	if (virtio_has(vdev, VIRTIO_BALLOON_F_STATS_VQ))
		submit_stats(balloon);
	write_field(balloon, FIELD(actual), 0);
	balloon_free_start(&balloon->free);
	config_changed(vdev);
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct balloon *balloon = vdev->driver_data;

	balloon->running = false;
	timer_stop(&balloon->retry);
	balloon_free_stop(&balloon->free);
	virtio_service_stop(vdev);
	virtio_requestq_end(&balloon->inflateq);
	virtio_requestq_end(&balloon->deflateq);
	virtio_requestq_end(&balloon->statsq);
	while (balloon->top) {
		struct batch *batch = balloon->top;

		balloon->top = batch->below;
		if (!vdev->stuck) /* else it may still write to them */
			free_pages(batch->pages, batch->count);
		page_free(batch, sizeof(*batch));
	}
	balloon->pages = 0;
}

static void remove(struct virtio_device *vdev)
{
	struct balloon *balloon = vdev->driver_data;

	page_lender_remove(&balloon->lender);
	event_cancel(&balloon->lender.freed);
	release(balloon);
}

/* "SHOULD clear the VIRTIO_BALLOON_F_PAGE_POISON flag if it will not immediately write poison_val to deflated pages" */
static uint64_t declined(void) { return page_poison() < 0 ? BIT64(VIRTIO_BALLOON_F_PAGE_POISON) : 0; }

static const struct virtio_driver balloon_driver = {
	.name = "virtio-balloon",
	.instance = "balloon",
	.type = VIRTIO_ID_BALLOON,
	.features = BIT64(VIRTIO_BALLOON_F_MUST_TELL_HOST) | BIT64(VIRTIO_BALLOON_F_STATS_VQ) |
                    BIT64(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) | BIT64(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |
                    BIT64(VIRTIO_BALLOON_F_PAGE_POISON) | BIT64(VIRTIO_BALLOON_F_PAGE_REPORTING),
	.declined = declined,
	.config_size = sizeof(struct virtio_balloon_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(balloon_driver);
