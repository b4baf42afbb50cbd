/*
 * Block devices. Requests are asynchronous: the caller owns the request, its segments and its memory until done() is called, once, in the
 * loop of the CPU that submitted it (never from inside block_submit()). Requests larger than the device takes are cut into parts and end
 * when all parts have; any number may be submitted: what the device has no room for waits in order of submission. A part that
 * fails ends the cutting. Parts and requests may be carried out in any order; a flush covers the writes that were done() before it was
 * submitted, and succeeds at once where the device has no cache to flush.
 *
 * CPUs: a device has one queue or more, each of which belongs to a CPU. A CPU without one of its own hands its requests to another CPU
 * that has, and gets them back, by events; no lock on the way.
 */
#ifndef CLASS_BLOCK_H
#define CLASS_BLOCK_H

#include <base/dma.h>
#include <base/event.h>
#include <class/device.h>

#define BLOCK_SECTOR 512u /* the unit of addresses, whatever the device's block size */
#define BLOCK_ID_BYTES 20u
#define BLOCK_LIFETIME_BYTES 6u

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,
	BLOCK_GET_ID,       /* text of BLOCK_ID_BYTES, ended by 0 if shorter */
	BLOCK_GET_LIFETIME, /* three le16: state of the reserve, wear of SLC and of MLC cells, as virtio_blk_lifetime has them */
	BLOCK_ZONE_REPORT,  /* the driver's form: see block_zone_report() */
	BLOCK_ZONE_APPEND,  /* to the zone at `sector`, which then is where the data lies: whole, at most zones.append_sectors */
	BLOCK_ZONE_OPEN,    /* of the zone at `sector`, as the next three */
	BLOCK_ZONE_CLOSE,
	BLOCK_ZONE_FINISH,
	BLOCK_ZONE_RESET,
	BLOCK_ZONE_RESET_ALL,
	BLOCK_DISCARD,      /* of `sectors`: what they hold is not needed any more */
	BLOCK_WRITE_ZEROES, /* to `sectors`: no data to transfer */
	BLOCK_SECURE_ERASE, /* of `sectors` */
	BLOCK_OPS
};

struct block_device;
struct block_home;

/* A place in a request. */
struct block_cursor {
	uint64_t sector;
	unsigned segment;
	uint32_t offset; /* bytes into that segment */
};

struct block_request {
	/* The caller's. */
	enum block_op op;
	bool may_unmap;                 /* write zeroes: the device may give the space back */
	uint64_t sector;                /* a multiple of the block size */
	const struct dma_buf *segments; /* read, write: in sum a multiple of the block size; get-...: one of that many bytes */
	unsigned segment_count;
	uint64_t sectors; /* of operations without data: a multiple of the block size */
	void (*done)(struct block_request *request);
	void *context;

	/* The result: 0, -EIO (the device says so, or it broke), -EINVAL (malformed), -ERANGE (past the end), -EROFS,
	 * -ENOTSUP, -ENODEV (gone: submit no more). Of zones, too: -EINVAL (not in that state, or more than it holds), -ESPIPE (a write that
	 * is not where the zone is written next), -EMFILE (too many zones are open or active). */
	int status;

	/* The class's, while in flight. */
	unsigned parts; /* in flight */
	bool whole;     /* posted as it is: it ends with its one part */
	bool all_cut, again;
	struct block_home *home;
	struct block_request *next;
	struct block_cursor cut; /* where the next part starts */
};

/* What one part may be, as the device limits it. 0: no limit. */
struct block_limits {
	uint32_t max_segments; /* pieces of memory in a part */
	uint32_t max_segment_bytes;
};

/* The same for an operation without data. 0 sectors: not to be had. */
struct block_range_limits {
	uint32_t max_sectors, alignment; /* of cuts, in sectors; 0: any */
};

/* A disk of zones, each of which is written from its start to its end, and reset as a whole. Requests are cut where zones end, a write
 * is carried out part after part. */
struct block_zones {
	enum { BLOCK_NO_ZONES, BLOCK_HOST_MANAGED, BLOCK_HOST_AWARE } model;
	uint32_t sectors;              /* of each but the last, which may have less */
	uint32_t open_max, active_max; /* zones; 0: no limit */
	uint32_t append_sectors;       /* 0: no appending */
	uint32_t granularity;          /* of writes: bytes, a multiple of the block size */
};

enum { BLOCK_ZONE_CONVENTIONAL = 1, BLOCK_ZONE_SEQUENTIAL, BLOCK_ZONE_PREFERRED };
enum {
	BLOCK_ZONE_NO_POINTER = 0,
	BLOCK_ZONE_EMPTY,
	BLOCK_ZONE_IMPLICITLY_OPEN,
	BLOCK_ZONE_EXPLICITLY_OPEN,
	BLOCK_ZONE_CLOSED,
	BLOCK_ZONE_READ_ONLY = 13,
	BLOCK_ZONE_FULL,
	BLOCK_ZONE_OFFLINE
};
struct block_zone {
	uint64_t start, capacity; /* sectors; of them, those that can be written to */
	uint64_t pointer; /* the sector to be written next; of no sense where there is none, and in the last three states */
	uint8_t type, state;
};

#define BLOCK_PART_SEGMENTS 128

/* Requests of one CPU on their way back to it. */
struct block_home {
	bool own;                                        /* the queue is this CPU's */
	struct block_queue *queue;                       /* to which this CPU submits */
	struct block_request *finished, **finished_tail; /* this CPU's */
	struct block_request *returned;                  /* other CPUs put them here; atomic, latest first */
	struct event event;                              /* calls done() */
};

/* Where a device takes requests. All but the inbox is its CPU's. */
struct block_queue {
	unsigned cpu; /* the driver's to set */
	struct block_device *device;
	struct block_home *home;                       /* of its CPU */
	struct block_request *waiting, **waiting_tail; /* not cut to the end yet */
	struct block_request *inbox;                   /* of other CPUs; atomic, latest first */
	struct event inbox_event;

	struct dma_buf scratch[BLOCK_PART_SEGMENTS]; /* a part of a request that does not fit whole */
	struct block_request *bounced; /* its part in flight is one block in `bounce`, which belongs at bounce_cursor */
	struct block_cursor bounce_cursor;
	uint8_t *bounce;
	uint32_t bounce_bytes;
};

struct block_ops {
	/* Post a part of a request: whole blocks, within the limits; `segments` are the request's or lie in the queue until the next call.
	 * It ends in block_part_done(), later. `sectors`: of the part. 0; -ENOSPC: no room now, block_pump() is called when there is; other
	 * errors fail the request. On the queue's CPU. */
	int (*post)(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
	            unsigned segment_count, uint32_t sectors);
	/* The same for reads and writes of one piece of memory each that fit as they are, several at once: how many, from the front. NULL:
	 * only post(). */
	unsigned (*post_simple)(struct block_queue *queue, struct block_request *const requests[], unsigned count);
	/* Turn the device's write cache on or off. NULL: it cannot be switched. CPU 0. */
	int (*set_writeback)(struct block_device *device, bool on);
	/* NULL: it has no zones. As block_zone_report(). */
	int (*zone_report)(struct block_device *device, uint64_t sector, struct block_zone zones[], unsigned count);
	/* Turn polling of a queue on or off: see block_poll(). On the queue's CPU. */
	void (*poll)(struct block_queue *queue, bool on);
};

struct block_device {
	struct class_node node;
	const struct block_ops *ops;
	uint64_t capacity;   /* sectors; may change */
	uint32_t block_size; /* bytes, a power of 2, BLOCK_SECTOR at least */
	/* Hints; 0: not told. Bytes, but for the sector that begins the first physical block. */
	uint32_t physical_bytes, min_bytes, optimal_bytes, first_aligned;
	bool read_only, can_flush;
	bool writeback; /* a write may be in a cache until the next flush */
	bool has_lifetime;
	bool gone; /* removed: all requests end in -ENODEV */
	bool zeroes_may_unmap;
	struct block_limits limits;
	struct block_range_limits discard, write_zeroes, secure_erase;
	struct block_zones zones;

	/* The class's. */
	uint32_t whole_bytes, whole_segments; /* block_update() */
	enum block_op simple_ops;             /* those below */
	struct block_queue **queues;
	unsigned queue_count;
	struct block_home *homes; /* by CPU */
};

/* ---- for programs ---- */
CLASS(struct block_device, block)

/* Always ends in done(), with request->status; bad requests too. Any CPU. */
void block_submit(struct block_device *device, struct block_request *request);
/* Several at once, which costs less. */
void block_submit_many(struct block_device *device, struct block_request *const requests[], unsigned count);

/* The same and wait: returns the status. memory: contiguous. May be called from a done(), which may wait for nothing
 * but requests that it submits itself: others may be due behind it. */
[[nodiscard]] int block_io(struct block_device *device, enum block_op op, uint64_t sector, void *memory, uint32_t length);
/* The operations without data. */
[[nodiscard]] int block_range(struct block_device *device, enum block_op op, uint64_t sector, uint64_t sectors);

/* The zones from that of `sector` on: how many of them there are in `zones`, or an errno. */
[[nodiscard]] int block_zone_report(struct block_device *device, uint64_t sector, struct block_zone zones[], unsigned count);
/* BLOCK_ZONE_OPEN and those behind it. */
[[nodiscard]] int block_zone_do(struct block_device *device, enum block_op op, uint64_t sector);
/* `memory`: contiguous. *sector: the zone's, then the data's. */
[[nodiscard]] int block_zone_append(struct block_device *device, uint64_t *sector, void *memory, uint32_t length);

/* How completions of this CPU's queue are found: by looking in each turn of the loop, which then never sleeps, or by interrupts (as at
 * first). On a CPU that has a queue of its own; -ENOTSUP elsewhere. */
[[nodiscard]] int block_poll(struct block_device *device, bool on);

/* -ENOTSUP: it cannot be switched; -EIO: the device did not do it. CPU 0. */
[[nodiscard]] int block_set_writeback(struct block_device *device, bool on);

/* ---- for drivers ---- */
/* node.name, ops, capacity, block_size, read_only, can_flush, limits, and the queues' cpu are set. -ENOMEM. `queues` stays in place. Again: block_update(). */
[[nodiscard]] int block_register(struct block_device *device, struct block_queue **queues, unsigned count);
/* read_only or limits have changed; none of its queues takes requests. */
void block_update(struct block_device *device);
void block_unregister(struct block_device *device); /* fails what waits; what was posted, the driver has ended before. CPU 0 */
/* Room again: cut and post what waits. On the queue's CPU, as the next. */
void block_pump(struct block_queue *queue);
/* A part has ended. -EAGAIN: the device may or may not have carried it out, and the request is to be done again, all of it. */
void block_part_ended(struct block_queue *queue, struct block_request *request, int status);

static inline void block_append(struct block_home *home, struct block_request *request)
{
	request->next = NULL;
	*home->finished_tail = request;
	home->finished_tail = &request->next;
}

static inline void block_part_done(struct block_queue *queue, struct block_request *request, int status)
{
	struct block_home *home = request->home;

	/* Whole, well, and of this CPU: what nearly all are. */
	if (likely(!status && request->whole && home == queue->home)) {
		request->parts = 0;
		if (!home->finished)
			event_defer(&home->event);
		block_append(home, request);
	} else {
		block_part_ended(queue, request, status);
	}
}

#endif
