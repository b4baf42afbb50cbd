/*
 * Virtqueues: one API, two engines (split.c and packed.c).
 *
 * A driver adds buffers under a token of its own and gets the token back, once, when the device has used them. Nothing that the
 * device can write is trusted: a violation marks the queue broken (one log line); from then on virtq_add() gives -EIO,
 * virtq_harvest() gives NULL, and the core resets the device.
 *
 * Loop context, one CPU per queue, no locks. The data path allocates nothing.
 */
#ifndef VIRTIO_VIRTQ_H
#define VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>

#include <base/dma.h>
#include <base/endian.h>
#include <base/event.h>
#include <base/util.h>

struct virtio_device;
struct virtq_spec;

#define virtq_buf dma_buf /* a buffer of a request */

/* What queue_enable() tells the device. */
struct virtq_setup {
	uint16_t size;
	dma_addr_t descriptor_area, driver_area, device_area;
};

/* How the device is notified of available buffers; told by queue_enable(). */
struct virtq_notify {
	enum { VIRTQ_NOTIFY_MMIO16, VIRTQ_NOTIFY_MMIO32, VIRTQ_NOTIFY_PIO16, VIRTQ_NOTIFY_CALL } kind;
	volatile void *addr; /* MMIO */
	uint16_t port;       /* PIO */
	uint16_t id;         /* what names the queue: its index, or its queue_notify_data ("VIRTIO_F_NOTIF_CONFIG_DATA") */
};

/* A request in flight, found by its head descriptor (split) or buffer id (packed). */
struct virtq_slot {
	void *token;       /* NULL: not in flight */
	uint32_t writable; /* bytes that the device may write */
	uint16_t count;    /* ring descriptors that it holds; 1 while free */
	uint16_t next;     /* the next descriptor of the chain, or the next free one */
};

/* A descriptor of an indirect table, in both layouts: the length, and above it flags and the like. */
struct virtq_entry {
	le64 addr, rest;
};

struct virtq {
	struct virtio_device *vdev;
	const char *name;
	void *context; /* the driver's */
	uint16_t index, size;
	bool packed;
	bool closed;                           /* takes no requests: broken, or reset and not yet restarted */
	bool broken;                           /* and gives none back */
	uint16_t free_count;                   /* ring descriptors not in flight */
	uint32_t free_head;                    /* the next slot */
	struct virtq_slot *slots;              /* size of them */
	uint64_t kicks, suppressed, harvested; /* notifications sent, not sent, buffers used */

	/* Framed requests. Those just added are a run of what was the list of free slots, which the kick puts into the ring. */
	uint16_t staged;
	uint32_t first_staged;               /* free_head, while none is */
	uint32_t frame_stride, table_stride; /* bytes, from slot to slot */
	uint32_t tail;                       /* bytes, of a frame */
	uint8_t *frames, *tables;
	uint8_t *shapes;       /* [slot]: data buffers, and one more, for which its table is laid out */
	uint64_t one_flags[2]; /* of the entry of one data buffer, device-readable and device-writable */

	struct event event; /* an interrupt of this queue, on its CPU: runs the callback with the spec's re-check */
			    /* the engine's part follows in <virtio/virtq_impl.h> */
};

/* Make `nreadable` device-readable buffers and then `nwritable` device-writable ones available as one request.
 * `token` is not NULL and not in flight. 0; -ENOSPC: no room now, the callback runs when there may be; -EINVAL: no buffers, or too many ever; -EIO: broken.
 * The device may see it at once; it is told of it by a kick. */
[[nodiscard]] int virtq_add(struct virtq *vq, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t nwritable, void *token);

/* Bursts, for those whose requests are single buffers (packets): the same as so many calls, in one pass, at a fraction of the cost.
 * Make bufs[i] available under tokens[i] (no NULL among them, no length 0), all device-writable or all device-readable. Returns how many:
 * fewer than `count` when there is no room for more now, 0 when broken, too. */
unsigned virtq_add_burst(struct virtq *vq, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
/* The same again, for a driver that makes up each buffer when its turn comes, in a queue whose requests are used in turn: the next places of
 * the ring, side by side. Fill them from the front and say how many of them it were, before anything else is done with the queue. Gives how
 * many there are, at most `count`; 0: no room now, broken, or not in turn, which virtq_add() does. Device-readable buffers only: what else is to
 * be kept of writable ones, virtq_add_burst() knows. */
struct virtq_span {
	struct virtq_entry *entry;
	struct virtq_slot *slot;
	uint64_t bits, next; /* what an entry has above its length, and, packed, what the one behind it has */
};
unsigned virtq_span(struct virtq *vq, unsigned count, struct virtq_span *span);
void virtq_span_end(struct virtq *vq, unsigned count);

static inline void virtq_span_put(struct virtq_span *span, size_t i, const void *addr, uint64_t len, void *token, bool packed)
{
	span->entry[i].addr = cpu_to_le64(mmu_virt_to_phys(addr));
	WRITE_ONCE(span->entry[i].rest, cpu_to_le64(span->bits + len));
	span->slot[i].token = token;
	if (packed) {
		span->bits = span->next;
		span->next += UINT64_C(1) << 32; /* the id */
	}
}

/* Each buffer that is put is so many bytes longer than it says. */
static inline void virtq_span_longer(struct virtq_span *span, uint32_t bytes)
{
	span->bits += bytes;
	span->next += bytes;
}

/* Go on behind the first `count`. */
static inline void virtq_span_step(struct virtq_span *span, size_t count)
{
	span->entry += count;
	span->slot += count;
}

/* The same for buffers that are as they were when they were last here: those tokens, from the front, that had in this order the places in the
 * ring that come next are available again, at next to no cost. Returns how many; the others are virtq_add_burst()'s. */
unsigned virtq_add_again(struct virtq *vq, void *const tokens[], unsigned count);
/* The next used requests, at most `count`: tokens and bytes written, as virtq_harvest(). Fewer than that may be given though there are
 * more: 0 says that there are none. `lens` is NULL where nothing is device-writable. */
unsigned virtq_harvest_burst(struct virtq *vq, void *tokens[], uint32_t lens[], unsigned count);

/* Framed requests, for those whose requests are a header, data and a status: the queue (spec->head, spec->tail) has memory for the
 * device-readable first and the device-writable last buffer of each request, so that only the data is told of.
 *
 * virtq_frame() is where the next request's head lies, behind it its tail, and behind that spec->extra bytes that may be among its data:
 * fill in, then add. NULL: no room now, or broken. virtq_frame_room() says how many there are, virtq_next_frame() gives one of these.
 * virtq_add_framed() takes the data (at most spec->max_buffers less two, none is well) and gives what virtq_add() gives. There has to be
 * a frame. */
static inline unsigned virtq_frame_room(const struct virtq *vq) { return unlikely(vq->closed) ? 0 : vq->free_count; }
static inline void *virtq_next_frame(const struct virtq *vq) { return vq->frames + (size_t)vq->free_head * vq->frame_stride; }
static inline void *virtq_frame(const struct virtq *vq) { return likely(virtq_frame_room(vq)) ? virtq_next_frame(vq) : NULL; }
[[nodiscard]] int virtq_add_framed(struct virtq *vq, const struct virtq_buf *data, uint16_t nreadable, uint16_t nwritable,
                                   void *token);

static inline void virtq_stage(struct virtq *vq, uint32_t writable, void *token)
{
	struct virtq_slot *slot = &vq->slots[vq->free_head];

	slot->token = token;
	slot->writable = writable;
	vq->free_head = slot->next;
	vq->free_count--;
	vq->staged++;
}

/* The same for a request with one data buffer, device-writable or not. */
[[nodiscard]] static inline int virtq_add_frame_and_one(struct virtq *vq, const struct virtq_buf *data, bool writable,
                                                        void *token)
{
	const size_t slot = vq->free_head;
	const uint32_t len = data->len;
	struct virtq_entry *one;

	/* As the slot had before, so there are tables: all of its table but that one's entry stands. */
	if (unlikely(vq->shapes[slot] != 2 || (int32_t)len < 0))
		return virtq_add_framed(vq, data, !writable, writable, token);
	one = (void *)(vq->tables + slot * vq->table_stride + sizeof(*one));
	one->addr = cpu_to_le64(mmu_virt_to_phys(data->addr));
	one->rest = cpu_to_le64(vq->one_flags[writable] | len);
	virtq_stage(vq, writable ? vq->tail + len : vq->tail, token);
	return 0;
}

/* A used request. Its frame is the caller's until the next add. */
struct virtq_used_request {
	void *token;
	uint8_t *frame;
	uint32_t missing; /* device-writable bytes, the tail's included, that the device did not write */
};
/* The next used requests, at most `count`; fewer: there are no more, or the queue is broken. */
unsigned virtq_harvest_framed(struct virtq *vq, struct virtq_used_request used[], unsigned count);

/* Notify the device of what was added, unless it asked not to be. True: a notification went out. */
bool virtq_kick(struct virtq *vq);
/* The same at the end of this turn of the loop: once per queue and turn. What drivers use. */
void virtq_kick_later(struct virtq *vq);

/* The next used request: its token, and in *len how many bytes the device wrote (at most the writable bytes). NULL: none, or broken. */
void *virtq_harvest(struct virtq *vq, uint32_t *len);

/* Kick, and the next used request without turns of the loop: for one who is asked in the middle of another's work. NULL, too, for none until then
 * (clock_ns()), or when the device is being reset. */
void *virtq_await(struct virtq *vq, uint32_t *len, uint64_t until_ns);

/* Ask for used buffer notifications. True: more were used meanwhile, so harvest again. */
bool virtq_irq_enable(struct virtq *vq);
/* The same, but only when `count` are used (at most those in flight), as far as the device can count (EVENT_IDX). True: it may be so
 * already. */
bool virtq_irq_enable_after(struct virtq *vq, uint16_t count);
void virtq_irq_disable(struct virtq *vq); /* a hint to the device */
/* Run the callback in each turn of the loop, which then never sleeps, and want no interrupts; or (at first) the other way round. */
void virtq_set_polled(struct virtq *vq, bool on);

/* The callback runs only when virtq_irq_enable_after() has asked for it, once; or (at first, unless the spec has it so) for all used buffers. */
void virtq_set_quiet(struct virtq *vq, bool on);

/* Requests that the device never used, one token a call, NULL at the end. After a reset of the device or queue only. */
void *virtq_detach_unused(struct virtq *vq);

/* Ring descriptors not in flight: what virtq_add() has left. */
static inline uint16_t virtq_room(const struct virtq *vq) { return vq->free_count; }

/* The CPU that the queue belongs to: all of the above is called there. */
static inline unsigned virtq_cpu(const struct virtq *vq) { return vq->event.cpu; }

/* Have run(vq) called there, and wait: turns of the loop meanwhile, unless it is this CPU. Loop context, any CPU. */
void virtq_run(struct virtq *vq, void (*run)(struct virtq *vq));

/* ---- for the core: CPU 0 ---- */
/* Memory and state of virtqueue `index`; the device learns of it by virtq_enable(). NULL: no memory. */
struct virtq *virtq_create(struct virtio_device *vdev, uint16_t index, uint16_t size, const struct virtq_spec *spec);
[[nodiscard]] int virtq_enable(struct virtq *vq);
/* "Virtqueue Reset": stop the queue; what was used is still harvested, and then virtq_detach_unused() gives what was in flight. -ENOTSUP without RING_RESET; -EIO: it would not. */
[[nodiscard]] int virtq_reset(struct virtq *vq);
/* No interrupt will mark its event: each turn of its CPU does, where that is not this CPU. */
void virtq_poll(struct virtq *vq);
/* Add no more, kick no more, and with `broken` harvest no more; true of its CPU when this returns. */
void virtq_close(struct virtq *vq, bool broken);
/* "Virtqueue Re-enable": after that, as new. */
[[nodiscard]] int virtq_restart(struct virtq *vq);
void virtq_destroy(struct virtq *vq); /* the device or the queue is reset */

#endif
