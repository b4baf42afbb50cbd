/*
 * What a workload of swdev_work.h is made of. A type's workload is registered by LINKER_ENTRY(swdev_workloads, load): the hostile suite then
 * tells every lie to the type's driver too.
 */
#ifndef SWDEV_WORK_IMPL_H
#define SWDEV_WORK_IMPL_H

#include <class/block.h>
#include <class/char.h>
#include <class/entropy.h>
#include <class/net.h>

#include "swdev_types.h"
#include "swdev_work.h"

#define SWDEV_ITEM_BYTES 4096u
#define SWDEV_ITEM_SEGMENTS 3u

/* One request. Its memory: SWDEV_ITEM_BYTES to write, SWDEV_ITEM_BYTES to read into. */
struct swdev_item {
	struct swdev_work *work;
	union {
		struct block_request block;
		struct entropy_request entropy;
		struct char_request tty;
	};
	struct dma_buf segments[SWDEV_ITEM_SEGMENTS];
	uint8_t *out, *in;
	unsigned index, ends;
	bool reading, failed;
};

struct swdev_work {
	struct swdev *dev;
	const struct swdev_workload *load;
	unsigned amount, ended, good;
	uint8_t *memory;
	struct swdev_item *items;
	void *state; /* the workload's, from malloc() */
	struct net_device *net;
	struct net_pool *pool;
	unsigned frames_back, frames_given, frames_in;
	uint8_t *typed; /* console: what the device types */
	size_t typed_length, typed_seen;
	struct char_device *tty;
	bool wrong;
};

struct swdev_workload {
	const struct swdev_type *type;
	bool (*begin)(struct swdev_work *work);          /* submit `amount` requests; false: the class has no such device */
	bool (*complete)(const struct swdev_work *work); /* NULL: when all items have ended */
	bool (*check)(struct swdev_work *work); /* NULL; behind honest work: everything is as it shall be on the device's side */
	void (*end)(struct swdev_work *work);   /* NULL; the device is gone, all items have ended */
	bool frames;                            /* the items are frames: counted, not ended */
};

void swdev_work_ended(struct swdev_item *item, bool good); /* once for each item */

/* Bytes that item `index` is filled with. */
void swdev_work_fill(uint8_t *bytes, unsigned index, size_t length);
bool swdev_work_matches(const uint8_t *bytes, unsigned index, size_t length);

#endif
