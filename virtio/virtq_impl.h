/*
 * The inside of a virtqueue: what virtq.c and the two engines share. Drivers and transports do not include this.
 *
 * Everything that the driver must be able to rely on is private: the ring in shared memory is only ever written by us, but for
 * the device area, whose every value is read once and checked against the slots here.
 */
#ifndef VIRTIO_VIRTQ_IMPL_H
#define VIRTIO_VIRTQ_IMPL_H

#include <arch/barrier.h>
#include <base/endian.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* Descriptor flags: "The Virtqueue Descriptor Table", "Packed Virtqueues / Next Flag: Descriptor Chaining" */
enum {
	VIRTQ_DESC_F_NEXT = 1,
	VIRTQ_DESC_F_WRITE = 2,
	VIRTQ_DESC_F_INDIRECT = 4,
	VIRTQ_DESC_F_AVAIL = 1 << 7,
	VIRTQ_DESC_F_USED = 1 << 15,
};

#define VIRTQ_SIZE_MAX 32768u
#define FRAMED_BUFFERS_MAX 130u /* of a framed request, its head and tail included */

/* A buffer as it was mapped; kept only where unmapping does something. */
struct virtq_mapping {
	dma_addr_t addr;
	uint32_t len;
	bool writable;
	uint16_t mapped; /* in a request's first: how many it has */
};

struct virtq_desc { /* "The Virtqueue Descriptor Table" */
	le64 addr;
	le32 len;
	le16 flags, next;
};
_Static_assert(sizeof(struct virtq_desc) == 16, "virtq_desc");

struct pvirtq_desc { /* "Packed Virtqueues / The Virtqueue Descriptor Format" */
	le64 addr;
	union {
		struct {
			le32 len;
			le16 id, flags;
		};
		le32 halves[2]; /* the length; id and flags */
		le64 rest;
	};
};
_Static_assert(sizeof(struct pvirtq_desc) == 16, "pvirtq_desc");

struct virtq_avail { /* "The Virtqueue Available Ring" */
	le16 flags, idx, ring[];
};

struct virtq_used_elem {
	le32 id, len;
};
_Static_assert(sizeof(struct virtq_used_elem) == 8, "virtq_used_elem");

struct virtq_used { /* "The Virtqueue Used Ring" */
	le16 flags, idx;
	struct virtq_used_elem ring[];
};

/* "Event Suppression Structure Format": le16 desc (offset and wrap), le16 flags. What the device wrote is read as one le32, so that
 * both halves belong together. */
struct pvirtq_event_suppress {
	union {
		struct {
			le16 desc, flags;
		};
		le32 both;
	};
};
_Static_assert(sizeof(struct pvirtq_event_suppress) == 4, "pvirtq_event_suppress");

struct virtq_ring {
	struct virtq vq;
	struct dma_device *dma;
	struct virtq_notify notify;
	void (*callback)(struct virtq *vq);
	struct event kick_event;
	struct poller poller; /* a queue without interrupts of another CPU than 0, or one that */
	bool polled;          /* the driver wants polled */
	struct timer retry;   /* runs the callback once more, when there was no room to map and nothing in flight will make any */
	bool quiet;           /* no notifications but those asked for one by one */
	uint64_t features;    /* of the device */
	bool exact_lengths;
	bool plain; /* a request is one ring descriptor, nothing is mapped, and order is the device's affair: bursts in one pass */
	/* A plain ring, all of whose requests so far were used in their order: then a request's slot is its place in the ring, free slots are
	 * those that are not in flight, and tokens of free slots stay where they are. */
	bool in_turn, may_in_turn;
	bool active, dead; /* the callback is on the stack; free it when it returns */
	bool leak;         /* the device may still write to the areas: never free them */

	uint16_t max_buffers; /* of one request */
	uint16_t added;       /* since the last kick: requests (split), descriptors (packed) */
	uint32_t head;        /* bytes of a frame's */
	uint16_t last_done;   /* the slot that was completed last */
	uint16_t oldest;      /* IN_ORDER: the slot whose turn it is */
	uint16_t batch_last;  /* IN_ORDER: the slot that ends the batch being harvested, */
	bool in_batch;        /* if there is one */
	uint16_t detach_next; /* virtq_detach_unused() goes on here */
	uint32_t batch_len;   /* what the device wrote into that last one */

	struct pvirtq_desc *
		copies; /* packed: in turn, of their descriptors, without flags; framed, what refers to a slot's table, without the two
				     * bits of the lap */
	struct virtq_mapping *mappings; /* max_buffers for each slot, or NULL: the identity map */
	dma_addr_t
		tables_addr; /* of vq.tables: indirect tables, max_buffers entries for each slot, or NULL: direct descriptors only */

	union {
		struct {
			struct virtq_desc *desc;
			struct virtq_avail *avail;
			struct virtq_used *used;
			volatile le16 *used_event, *avail_event;
			uint16_t avail_idx, last_used, used_idx; /* used_idx: as last read */
		} split;
		struct {
			struct pvirtq_desc *desc;
			struct pvirtq_event_suppress *driver, *device;
			uint32_t next_avail, last_used;
			uint16_t avail_bits, used_bits; /* of AVAIL and USED, in this lap of ours: made available, used */
			uint16_t held_head, held_flags; /* the batch's first descriptor, made available by the kick */
		} packed;
	};

	struct virtq_setup setup;
	void *memory; /* descriptor, driver and device areas */
	dma_addr_t memory_addr;
	size_t memory_bytes, tables_bytes, mappings_bytes, frames_bytes, private_bytes;
};

static inline struct virtq_ring *virtq_ring_of(struct virtq *vq) { return container_of(vq, struct virtq_ring, vq); }

/* Where an area lies of which the device knows that address. */
static inline void *virtq_area(const struct virtq_ring *q, dma_addr_t at) { return (char *)q->memory + (at - q->memory_addr); }

static inline bool virtq_has(const struct virtq_ring *q, unsigned bit) { return q->features & BIT64(bit); }

/* "VIRTIO_F_ORDER_PLATFORM": the barriers suitable for hardware devices where it is negotiated, CPU barriers elsewhere. */
static inline void virtq_mb(const struct virtq_ring *q)
{
	if (unlikely(virtq_has(q, VIRTIO_F_ORDER_PLATFORM)))
		io_mb();
	else
		virt_mb();
}

static inline void virtq_rmb(const struct virtq_ring *q)
{
	if (unlikely(virtq_has(q, VIRTIO_F_ORDER_PLATFORM)))
		io_rmb();
	else
		virt_rmb();
}

static inline void virtq_wmb(const struct virtq_ring *q)
{
	if (unlikely(virtq_has(q, VIRTIO_F_ORDER_PLATFORM)))
		io_wmb();
	else
		virt_wmb();
}

#define PACKED_BOTH ((unsigned)VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)
static inline bool packed_avail_wrap(const struct virtq_ring *q) { return q->packed.avail_bits == VIRTQ_DESC_F_AVAIL; }

/* True when the index went past `event` on its way from `old` to `new`: all arithmetic modulo 2^16, `old` as of the last kick. */
static inline bool virtq_need_event(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* The first free slot has become a request of `count` ring descriptors, of which `last` is the last slot that it takes from the list. */
static inline void virtq_slot_take(struct virtq_ring *q, uint16_t last, uint16_t count, uint32_t writable, void *token)
{
	struct virtq_slot *s = &q->vq.slots[q->vq.free_head];

	s->token = token;
	s->writable = writable;
	s->count = count;
	q->vq.free_head = q->vq.slots[last].next;
	q->vq.free_count = (uint16_t)(q->vq.free_count - count);
}

/* ---- virtq.c, for the engines ---- */

/* A violation by the device: log once, no more traffic, ask for a reset. Always returns NULL. */
[[gnu::format(printf, 2, 3), gnu::cold]] void *virtq_break(struct virtq_ring *q, const char *reason, ...);

/* Where the DMA seam translates: map all buffers of a request for its slot. 0, or -ENOSPC with nothing mapped. */
[[nodiscard]] int virtq_map(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *bufs, uint16_t nreadable,
                            uint16_t count);

/* Where the buffers of the request of `slot` were mapped; NULL: the identity map. */
static inline const struct virtq_mapping *virtq_mappings(const struct virtq_ring *q, uint16_t slot)
{
	return likely(!q->mappings) ? NULL : &q->mappings[(size_t)slot * q->max_buffers];
}

/* Buffer `i` as the device sees it. */
static inline dma_addr_t virtq_buf_addr(const struct virtq_mapping *map, unsigned i, const struct virtq_buf *buf)
{
	return likely(!map) ? mmu_virt_to_phys(buf->addr) : map[i].addr;
}

/* The indirect table of a slot. */
static inline void *virtq_table(const struct virtq_ring *q, size_t slot) { return q->vq.tables + slot * q->vq.table_stride; }

static inline dma_addr_t virtq_table_addr(const struct virtq_ring *q, size_t slot)
{
	return q->tables_addr + slot * q->vq.table_stride;
}

/* The device used the request of slot `id` and wrote `len` bytes, it says (both read once). Checks both, gives the slot back and returns
 * the token. NULL: broken. */
void *virtq_complete(struct virtq_ring *q, uint32_t id, uint32_t len, uint32_t *written);
/* Those checks alone, for who found something odd: the length to go on with, or -1: broken. */
[[gnu::cold]] int64_t virtq_check_used(struct virtq_ring *q, uint32_t id, uint32_t len);

/* ---- the engines ---- */
/* What the layout wants: bytes in all, zeroed, page-aligned; the areas in *setup as offsets. */
size_t split_layout(uint16_t size, struct virtq_setup *setup);
void split_init(struct virtq_ring *q);
int split_add(struct virtq_ring *q, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count, uint32_t writable,
              void *token);
bool split_publish(struct virtq_ring *q);
void *split_harvest(struct virtq_ring *q, uint32_t *len);
bool split_irq_enable(struct virtq_ring *q, uint16_t count);
void split_irq_disable(struct virtq_ring *q);

size_t packed_layout(uint16_t size, struct virtq_setup *setup);
void packed_init(struct virtq_ring *q);
int packed_add(struct virtq_ring *q, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count, uint32_t writable,
               void *token);
bool packed_publish(struct virtq_ring *q);
void *packed_harvest(struct virtq_ring *q, uint32_t *len);
bool packed_irq_enable(struct virtq_ring *q, uint16_t count);
void packed_irq_disable(struct virtq_ring *q);

#endif
