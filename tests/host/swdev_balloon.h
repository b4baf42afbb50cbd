/*
 * The software balloon: what a test sees and asks of it.
 */
#ifndef SWDEV_BALLOON_H
#define SWDEV_BALLOON_H

#include "swdev.h"

enum {
	BALLOON_F_MUST_TELL_HOST = 0,
	BALLOON_F_STATS_VQ = 1,
	BALLOON_F_DEFLATE_ON_OOM = 2,
	BALLOON_F_FREE_PAGE_HINT = 3,
	BALLOON_F_PAGE_POISON = 4,
	BALLOON_F_PAGE_REPORTING = 5,
};

struct swdev_balloon {
	uint8_t *in; /* by page number from the first page of RAM on: it is in the balloon */
	uint64_t first;
	uint32_t pages, inflations, deflations, most; /* pages in it now; requests; most pages ever */
	bool grudging;                                /* keeps requests for pages */
	bool ask_stats;                               /* uses the stats buffer at the next look */
	unsigned stats_seen;
	uint64_t stats[16];
	uint64_t hinted, reported; /* bytes */
	unsigned rounds, stops, reports;
	bool keep_reports;
	bool qemu_queues; /* the reporting queue in the place of an absent hint queue */
};
static inline struct swdev_balloon *swdev_balloon_state(struct swdev *dev) { return dev->state; }

void swdev_balloon_want(struct swdev *dev, uint32_t pages); /* num_pages, and tell the driver */
uint32_t swdev_balloon_actual(struct swdev *dev);
void swdev_balloon_hint(struct swdev *dev, uint32_t command); /* free_page_hint_cmd_id, and tell the driver */

extern const struct swdev_type swdev_balloon;

#endif
