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
#include <base/event.h>
#include <base/util.h>

struct virtio_device;
struct virtq_spec;

/* A buffer of a request: memory that the DMA seam can map, contiguous. */
struct virtq_buf {
	void *addr;
	uint32_t len; /* bytes, not 0 */
};

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

struct virtq {
	struct virtio_device *vdev;
	const char *name;
	void *context; /* the driver's */
	uint16_t index, size;
	bool packed;
	bool closed;                           /* takes no requests: broken, or reset and not yet restarted */
	bool broken;                           /* and gives none back */
	uint64_t kicks, suppressed, harvested; /* notifications sent, not sent, buffers used */
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
/* The next used requests, at most `count`: tokens and bytes written, as virtq_harvest(). Fewer than that may be given though there are
 * more: 0 says that there are none. */
unsigned virtq_harvest_burst(struct virtq *vq, void *tokens[], uint32_t lens[], unsigned count);

/* Notify the device of what was added, unless it asked not to be. True: a notification went out. */
bool virtq_kick(struct virtq *vq);
/* The same at the end of this turn of the loop: once per queue and turn. What drivers use. */
void virtq_kick_later(struct virtq *vq);

/* The next used request: its token, and in *len how many bytes the device wrote (at most the writable bytes). NULL: none, or broken. */
void *virtq_harvest(struct virtq *vq, uint32_t *len);

/* Ask for used buffer notifications. True: more were used meanwhile, so harvest again. */
bool virtq_irq_enable(struct virtq *vq);
/* The same, but only when `count` are used (at most those in flight), as far as the device can count (EVENT_IDX). True: it may be so
 * already. */
bool virtq_irq_enable_after(struct virtq *vq, uint16_t count);
void virtq_irq_disable(struct virtq *vq); /* a hint to the device */

/* Requests that the device never used, one token a call, NULL at the end. After a reset of the device or queue only. */
void *virtq_detach_unused(struct virtq *vq);

/* How many more descriptors virtq_add() has for requests of `buffers` buffers. */
uint16_t virtq_room(const struct virtq *vq);

/* The CPU that the queue belongs to: all of the above is called there. */
static inline unsigned virtq_cpu(const struct virtq *vq) { return vq->event.cpu; }

/* Have run(vq) called there, and wait: turns of the loop meanwhile, unless it is this CPU. Loop context, any CPU. */
void virtq_run(struct virtq *vq, void (*run)(struct virtq *vq));

/* ---- for the core: CPU 0 ---- */
/* Memory and state of virtqueue `index`; the device learns of it by virtq_enable(). */
[[nodiscard]] int virtq_create(struct virtio_device *vdev, uint16_t index, uint16_t size, const struct virtq_spec *spec,
                               struct virtq **vq);
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
