/*
 * Block devices. Requests are asynchronous: the caller owns the request and its memory until done() is called, once, in the
 * loop (never from inside block_submit()). Requests larger than the device takes are cut into parts and end when all parts have;
 * any number may be submitted: what the device has no room for waits in order of submission. A part that fails ends the cutting.
 * Parts and requests may be carried out in any order; a flush covers the writes that were done() before it was submitted, and
 * succeeds at once where the device has no cache to flush.
 */
#ifndef CLASS_BLOCK_H
#define CLASS_BLOCK_H

#include <base/event.h>
#include <class/device.h>

#define BLOCK_SECTOR 512u /* the unit of addresses, whatever the device's block size */
#define BLOCK_ID_BYTES 20u

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_GET_ID };

/* A piece of memory: RAM that the DMA seam maps, any alignment. */
struct block_segment {
	void *memory;
	uint32_t length; /* bytes, not 0 */
};

struct block_device;

/* A place in a request. */
struct block_cursor {
	uint64_t sector;
	unsigned segment;
	uint32_t offset; /* bytes into that segment */
};

struct block_request {
	/* The caller's. */
	enum block_op op;
	uint64_t sector;                      /* read, write: a multiple of the block size */
	const struct block_segment *segments; /* read, write: in sum a multiple of the block size; get-id: one of BLOCK_ID_BYTES */
	unsigned segment_count;
	void (*done)(struct block_request *request);
	void *context;

	/* The result: 0, -EIO (the device says so, or it broke), -EINVAL (malformed), -ERANGE (past the end), -EROFS,
	 * -ENOTSUP, -ENODEV (gone: submit no more). */
	int status;

	/* The class's, while in flight. */
	struct block_request *next;
	struct block_device *device;
	struct block_cursor cut; /* where the next part starts */
	unsigned parts;          /* in flight */
	bool all_cut, again;
};

/* What one part may be, as the device limits it. 0: no limit. */
struct block_limits {
	uint32_t max_segments; /* pieces of memory in a part */
	uint32_t max_segment_bytes;
};

/* A part of a request, as the driver gets it: whole blocks, within the limits. */
#define BLOCK_PART_SEGMENTS 128
struct block_part {
	struct block_request *request;
	uint64_t sector;
	uint32_t bytes;
	bool bounced;           /* the class's */
	unsigned segment_count; /* flush: 0 */
	struct block_segment segments[BLOCK_PART_SEGMENTS];
};

struct block_ops {
	/* Post a part and remember part->request; it ends in block_part_done(), later. 0; -ENOSPC: no room now, block_pump() is called
	 * when there is; other errors fail the request. */
	int (*post)(struct block_device *device, const struct block_part *part);
};

struct block_device {
	struct class_node node;
	const struct block_ops *ops;
	uint64_t capacity;      /* sectors; may change */
	uint32_t block_size;    /* bytes, a multiple of BLOCK_SECTOR */
	uint32_t optimal_bytes; /* 0: not told */
	bool read_only, can_flush;
	bool gone; /* removed: all requests end in -ENODEV */
	struct block_limits limits;

	struct block_request *waiting, **waiting_tail; /* not cut to the end yet */
	struct block_request *finished, **finished_tail;
	struct event finish_event;
	struct block_part scratch;

	struct block_request *bounced; /* its part in flight is one block in `bounce`, which belongs at bounce_cursor */
	struct block_cursor bounce_cursor;
	uint8_t *bounce;
	uint32_t bounce_bytes;
};

/* ---- for programs ---- */
struct block_device *block_find(const char *name); /* NULL: the first; returns NULL: none */
struct block_device *block_next(struct block_device *device);

/* Always ends in done(), with request->status; bad requests too. */
void block_submit(struct block_device *device, struct block_request *request);

/* The same and wait: returns the status. memory: contiguous. May be called from a done(), which may wait for nothing
 * but requests that it submits itself: others may be due behind it. */
[[nodiscard]] int block_io(struct block_device *device, enum block_op op, uint64_t sector, void *memory, uint32_t length);

/* ---- for drivers ---- */
void block_register(struct block_device *device); /* node.name, ops, capacity, block_size, read_only, can_flush, limits are set */
void block_unregister(struct block_device *device); /* fails what waits; what was posted, the driver has ended before */
/* A part has ended. -EAGAIN: the device may or may not have carried it out, and the request is to be done again, all of it. */
void block_part_done(struct block_device *device, struct block_request *request, int status);
void block_pump(struct block_device *device); /* room again: cut and post what waits */

#endif
