/*
 * What the two files of the balloon driver share.
 */
#ifndef DRIVERS_MEMORY_BALLOON_H
#define DRIVERS_MEMORY_BALLOON_H

#include <base/endian.h>
#include <base/page.h>
#include <virtio/request.h>

/* "Memory Balloon Device / Feature bits" */
enum {
	VIRTIO_BALLOON_F_MUST_TELL_HOST = 0,
	VIRTIO_BALLOON_F_STATS_VQ = 1,
	VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2,
	VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3,
	VIRTIO_BALLOON_F_PAGE_POISON = 4,
	VIRTIO_BALLOON_F_PAGE_REPORTING = 5,
};

#define BALLOON_HINTS 32u   /* pieces of memory in a round of hints */
#define BALLOON_REPORTS 16u /* pieces of memory in a report */

/* Free memory, taken from the allocator to be told of. */
struct balloon_hint {
	struct virtio_request request;
	struct virtq_buf buf;
	struct balloon_free *owner;
};

/* "Free Page Hinting", "Free Page Reporting" */
struct balloon_free {
	struct virtio_device *vdev;
	struct virtio_requestq hintq, reportq;
	bool running, reclaiming;

	/* The round of hints. Commands lie in a page of their own. */
	uint32_t command, round; /* as the device has it now; of the last round */
	struct balloon_hint hints[BALLOON_HINTS], first, last;
	unsigned out; /* with the device */
	le32 *commands;

	struct virtio_request report;
	struct virtq_buf reported[BALLOON_REPORTS];
	bool reporting, report_over;
	struct timer report_timer;
};

/* Pages that stay with us whatever the device wants: the machine has to live. */
uint64_t balloon_spare_pages(void);

[[nodiscard]] int balloon_free_init(struct balloon_free *free, struct virtio_device *vdev);
void balloon_free_start(struct balloon_free *free);
void balloon_free_stop(struct balloon_free *free);
void balloon_free_release(struct balloon_free *free);                   /* in remove() */
void balloon_free_command(struct balloon_free *free, uint32_t command); /* free_page_hint_cmd_id may have changed */
void balloon_free_more(struct balloon_free *free);                      /* memory was freed */
void balloon_free_take_back(struct balloon_free *free);                 /* hinted pages are needed */
bool balloon_free_reclaim(struct balloon_free *free);                   /* any of it is needed, now. True: it was given back */

#endif
