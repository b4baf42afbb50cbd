/*
 * Between block.c, where requests come in and go out, and block_cut.c, for those that do not fit the device whole.
 */
#ifndef CLASS_BLOCK_IMPL_H
#define CLASS_BLOCK_IMPL_H

#include <class/block.h>

/* A part's bytes: far below the 2^32 of "Message Framing", so that sums need no thought. */
#define PART_BYTES_MAX (UINT32_C(1) << 30)

static inline bool block_has_range(enum block_op op) { return op >= BLOCK_DISCARD; }

static inline const struct block_range_limits *block_range_limits(const struct block_device *device, enum block_op op)
{
	return op == BLOCK_DISCARD ? &device->discard : op == BLOCK_WRITE_ZEROES ? &device->write_zeroes : &device->secure_erase;
}

/* block.c: give a request back to whoever submitted it, on any CPU. */
void block_finish(struct block_request *request);
/* block_cut.c: put it at the end of those that wait to be cut. */
void block_wait(struct block_queue *queue, struct block_request *request);
/* block_cut.c: its end. */
void block_queue_end(struct block_queue *queue);

#endif
