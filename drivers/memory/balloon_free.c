/*
 * What a balloon device is told of free memory: hints while the machine migrates ("Free Page Hinting"), reports all the time ("Free Page
 * Reporting").
 *
 * Both take free memory from the allocator for as long as they tell of it, as it is: touching it would make it resident, which is what
 * the device wants to undo. A round of hints holds the largest free pieces until the device has done with the round, or somebody
 * needs them. A report goes out some time after memory was freed, so that what is used again at once is not reported.
 */
#include "balloon.h"

#include <errno.h>

#include <arch/clock.h>

enum { VIRTIO_BALLOON_CMD_ID_STOP = 0, VIRTIO_BALLOON_CMD_ID_DONE = 1 };

#define HINT_MOST (UINT64_C(1) << 30)
#define HINT_LEAST (UINT64_C(1) << 16)
#define REPORT_MOST (UINT64_C(1) << 26)
#define REPORT_LEAST (UINT64_C(1) << 16)
#define REPORT_DELAY_NS UINT64_C(1000000000)
#define POLL_NS UINT64_C(1000000000)

/* What can be told in one piece. */
static uint64_t piece_max(const struct balloon_free *free, uint64_t most)
{
	return free->vdev->dma.ops ? MIN(most, DMA_PIECE_MAX) : most;
}

/* ---- hints ---- */

/* "MUST treat the content of all hinted pages as uninitialized": page_alloc() does so with all pages. */
void balloon_free_take_back(struct balloon_free *free)
{
	for (struct balloon_hint *hint = free->hints; hint < free->hints + BALLOON_HINTS; hint++) {
		if (!hint->buf.addr || !hint->request.over)
			continue;
		page_free(hint->buf.addr, hint->buf.len);
		hint->buf.addr = NULL;
	}
}

static void start_round(struct balloon_free *free);

static void hint_done(struct virtio_request *request)
{
	struct balloon_free *free = container_of(request, struct balloon_hint, request)->owner;

	if (--free->out)
		return;
	if (free->command == VIRTIO_BALLOON_CMD_ID_DONE)
		balloon_free_take_back(free);
	else
		start_round(free);
}

static void submit(struct balloon_free *free, struct balloon_hint *hint, bool readable)
{
	hint->request =
		(struct virtio_request){.bufs = &hint->buf, .nreadable = readable, .nwritable = !readable, .done = hint_done};
	hint->owner = free;
	free->out++;
	virtio_request_submit(&free->hintq, &hint->request);
}

/* "MUST use an output buffer size of 4 bytes"; "Legacy Interface: Free Page Hinting": there in the guest's byte order. */
static void submit_command(struct balloon_free *free, struct balloon_hint *hint, le32 *wire, uint32_t command)
{
	*wire = free->vdev->legacy ? command : cpu_to_le32(command);
	hint->buf = (struct virtq_buf){wire, sizeof(*wire)};
	submit(free, hint, true);
}

/* Those of the round before are free again: the device asks anew. */
static void start_round(struct balloon_free *free)
{
	struct balloon_hint *hint = free->hints;

	if (!free->running || free->out || free->command <= VIRTIO_BALLOON_CMD_ID_DONE || free->command == free->round)
		return;
	free->round = free->command;
	balloon_free_take_back(free);
	/* "MUST start hinting by providing an output buffer containing the current command ID", and only one such */
	free->out++; /* so that the round does not end before it is out in full */
	submit_command(free, &free->first, &free->commands[0], free->command);
	for (uint64_t size = piece_max(free, HINT_MOST); size >= HINT_LEAST; size /= 2) {
		while (hint < free->hints + BALLOON_HINTS && page_count_free() > balloon_spare_pages() + size / PAGE_SIZE) {
			void *pages = page_take(size);

			if (!pages)
				break;
			hint->buf = (struct virtq_buf){pages, (uint32_t)size};
			submit(free, hint++, false);
		}
	}
	/* "If the driver is unable to supply pages, it MUST complete hinting" so */
	submit_command(free, &free->last, &free->commands[1], VIRTIO_BALLOON_CMD_ID_STOP);
	free->out--;
}

void balloon_free_command(struct balloon_free *free, uint32_t command)
{
	free->command = command;
	if (command == VIRTIO_BALLOON_CMD_ID_DONE)
		balloon_free_take_back(free);
	else
		start_round(free);
}

/* ---- reports ---- */

static void report(struct balloon_free *free);

static void report_due(struct timer *timer) { report(container_of(timer, struct balloon_free, report_timer)); }

static void report_done(struct virtio_request *request)
{
	struct balloon_free *free = container_of(request, struct balloon_free, report);

	free->reporting = false;
	free->report_over = true;
	for (unsigned i = 0; i < request->nwritable; i++) {
		/* "MUST NOT use the reported pages until the device has acknowledged" */
		if (request->status)
			page_free(free->reported[i].addr, free->reported[i].len);
		else
			page_free_told(free->reported[i].addr, free->reported[i].len);
	}
	if (free->reclaiming)
		balloon_free_more(free);
	else if (!request->status)
		report(free);
}

/* A small part of what is free at a time, for nobody can have it meanwhile. */
static void report(struct balloon_free *free)
{
	uint64_t left = page_count_free() / 16 * PAGE_SIZE;
	unsigned count = 0;

	if (!free->running || free->reporting || !virtio_has(free->vdev, VIRTIO_BALLOON_F_PAGE_REPORTING))
		return;
	while (count < BALLOON_REPORTS && left >= REPORT_LEAST) {
		size_t bytes;
		void *pages = page_take_untold(REPORT_LEAST, MIN(left / PAGE_SIZE * PAGE_SIZE, piece_max(free, REPORT_MOST)),
		                               &bytes);

		if (!pages)
			break;
		free->reported[count++] = (struct virtq_buf){pages, (uint32_t)bytes};
		left -= bytes;
	}
	if (!count)
		return;
	free->report = (struct virtio_request){.bufs = free->reported, .nwritable = (uint16_t)count, .done = report_done};
	free->reporting = true;
	free->report_over = false;
	virtio_request_submit(&free->reportq, &free->report);
}

void balloon_free_more(struct balloon_free *free)
{
	if (free->running && !free->report_timer.active)
		timer_start(&free->report_timer, clock_ns() + REPORT_DELAY_NS, report_due);
}

/* ---- life ---- */

bool balloon_free_reclaim(struct balloon_free *free)
{
	uint64_t before = page_count_free();

	free->reclaiming = true;
	balloon_free_take_back(free);
	if (page_count_free() == before && free->reporting)
		virtio_requestq_poll(&free->reportq, &free->report_over, POLL_NS);
	free->reclaiming = false;
	return page_count_free() > before;
}

int balloon_free_init(struct balloon_free *free, struct virtio_device *vdev)
{
	free->vdev = vdev;
	virtio_requestq_init(&free->hintq);
	virtio_requestq_init(&free->reportq);
	free->hintq.again = free->reportq.again = true;
	free->commands = page_alloc(2 * sizeof(le32), PAGE_SIZE);
	return free->commands ? 0 : -ENOMEM;
}

void balloon_free_start(struct balloon_free *free)
{
	free->running = true;
	free->round = VIRTIO_BALLOON_CMD_ID_STOP;
	balloon_free_more(free);
}

/* A device whose reset does not complete may still write to what it was told of: that is left to it. */
void balloon_free_stop(struct balloon_free *free)
{
	free->running = false;
	timer_stop(&free->report_timer);
	if (free->vdev->stuck) {
		for (unsigned i = 0; i < BALLOON_HINTS; i++)
			if (!free->hints[i].request.over)
				free->hints[i].buf.addr = NULL;
		free->report.nwritable = 0;
	}
	virtio_requestq_drain(&free->hintq, false);
	virtio_requestq_end(&free->hintq);
	virtio_requestq_drain(&free->reportq, false);
	virtio_requestq_end(&free->reportq);
	balloon_free_take_back(free);
}

void balloon_free_release(struct balloon_free *free) { page_free(free->commands, 2 * sizeof(le32)); }
