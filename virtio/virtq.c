/*
 * What both layouts of a virtqueue share: making one, the checks on requests and on what comes back, notifications, and the
 * place in the event loop.
 *
 * The interrupt of a queue marks its event; the loop then runs the driver's callback with notifications off, turns them on again
 * and looks once more ("Receiving Used Buffers From The Device"). Kicks are deferred to the end of the turn, so that all requests that
 * a turn added cost one notification.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/mmio.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/burst.h>
#include <virtio/transport.h>

#define MAP_RETRY_NS UINT64_C(1000000)
#define FRAME_ALIGN 16

void *virtq_break(struct virtq_ring *q, const char *reason, ...)
{
	char text[96];
	va_list args;

	if (!q->vq.broken) {
		q->vq.broken = q->vq.closed = true;
		va_start(args, reason);
		log_format(text, sizeof(text), reason, args);
		va_end(args);
		virtio_device_broken(q->vq.vdev, "queue %s: %s", q->vq.name, text);
	}
	return NULL;
}

/* ---- requests ---- */

static void unmap(struct virtq_ring *q, uint16_t slot)
{
	struct virtq_mapping *map = &q->mappings[(size_t)slot * q->max_buffers];

	for (uint16_t i = 0; i < map->mapped; i++)
		dma_unmap(q->dma, map[i].addr, map[i].len, map[i].writable ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
	map->mapped = 0;
}

static void run_retry(struct timer *timer) { event_mark(&container_of(timer, struct virtq_ring, retry)->vq.event); }

int virtq_map(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count)
{
	struct virtq_mapping *map = &q->mappings[(size_t)slot * q->max_buffers];

	for (uint16_t i = 0; i < count; i++) {
		bool writable = i >= nreadable;
		dma_addr_t addr = dma_map(q->dma, bufs[i].addr, bufs[i].len, writable ? DMA_FROM_DEVICE : DMA_TO_DEVICE);

		if (addr == DMA_ERROR) {
			unmap(q, slot);
			/* Others may hold the room: nothing of this queue will tell when it is back. */
			if (q->vq.free_count == q->vq.size && !q->retry.active)
				timer_start(&q->retry, clock_ns() + MAP_RETRY_NS, run_retry);
			return -ENOSPC;
		}
		map[i] = (struct virtq_mapping){.addr = addr, .len = bufs[i].len, .writable = writable, .mapped = map[i].mapped};
		map->mapped = (uint16_t)(i + 1);
	}
	return 0;
}

int virtq_add(struct virtq *vq, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t nwritable, void *token)
{
	struct virtq_ring *q = virtq_ring_of(vq);
	uint32_t count = (uint32_t)nreadable + nwritable, i = 0;
	uint64_t readable = 0, writable = 0;

	if (unlikely(vq->closed))
		return -EIO;
	/* "Scatter-Gather Support", "Indirect Descriptors": no longer than the queue is, tables included */
	if (unlikely(!count || count > q->max_buffers || !token))
		return -EINVAL;
	for (; i < nreadable; i++)
		readable += bufs[i].len;
	for (; i < count; i++)
		writable += bufs[i].len;
	/* "The Virtqueue Descriptor Table": at most 2^32 bytes in all */
	if (unlikely(readable + writable > UINT32_MAX))
		return -EINVAL;
	return vq->packed ? packed_add(q, bufs, nreadable, (uint16_t)count, (uint32_t)writable, token)
	                  : split_add(q, bufs, nreadable, (uint16_t)count, (uint32_t)writable, token);
}

/* Free slots are a stack: the one used last is warm. With IN_ORDER they come back in the order in which they went, so that the list
 * just stays a circle. */
static void *release(struct virtq_ring *q, uint16_t slot)
{
	struct virtq_slot *s = &q->vq.slots[slot];
	uint16_t last = slot;
	void *token = s->token;

	if (unlikely(q->mappings))
		unmap(q, slot);
	q->vq.free_count = (uint16_t)(q->vq.free_count + s->count);
	s->token = NULL;
	if (!virtq_has(q, VIRTIO_F_IN_ORDER) && !q->in_turn) {
		for (unsigned i = s->count; i > 1 && !q->vq.packed; i--) /* a packed chain has one id */
			last = q->vq.slots[last].next;
		q->vq.slots[last].next = (uint16_t)q->vq.free_head;
		q->vq.free_head = slot;
	}
	s->count = 1;
	return token;
}

int64_t virtq_check_used(struct virtq_ring *q, uint32_t id, uint32_t len)
{
	const struct virtq_slot *s = &q->vq.slots[id];

	if (id >= q->vq.size || !s->token) {
		virtq_break(q, "used id %u is not in flight", id);
		return -1;
	}
	if (len <= s->writable)
		return len;
	/* "Legacy Interface: The Virtqueue Used Ring": lengths are not to be relied on there */
	if (!q->exact_lengths)
		return s->writable;
	virtq_break(q, "used length %u, but only %u bytes are device-writable", len, s->writable);
	return -1;
}

void *virtq_complete(struct virtq_ring *q, uint32_t id, uint32_t len, uint32_t *written)
{
	if (q->in_turn && id != (q->vq.packed ? q->packed.last_used : q->split.last_used & (q->vq.size - 1u)))
		virtq_leave_turn(q);
	if (unlikely(id >= q->vq.size || !q->vq.slots[id].token || len > q->vq.slots[id].writable)) {
		int64_t checked = virtq_check_used(q, id, len);

		if (checked < 0)
			return NULL;
		len = (uint32_t)checked;
	}
	*written = len;
	q->vq.harvested++;
	q->last_done = (uint16_t)id;
	return release(q, (uint16_t)id);
}

void *virtq_harvest(struct virtq *vq, uint32_t *len)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (unlikely(vq->broken))
		return NULL;
	return vq->packed ? packed_harvest(q, len) : split_harvest(q, len);
}

void *virtq_detach_unused(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	vq->staged = 0;
	if (q->in_turn)
		virtq_leave_turn(q);
	for (; q->detach_next < vq->size; q->detach_next++)
		if (q->vq.slots[q->detach_next].token)
			return release(q, q->detach_next);
	return NULL;
}

/* ---- notifications ---- */

/* "Driver Notifications" */
static inline void notify(struct virtq_ring *q)
{
	uint32_t data = q->notify.id;

	if (likely(q->notify.kind == VIRTQ_NOTIFY_MMIO16 && !virtq_has(q, VIRTIO_F_NOTIFICATION_DATA))) {
		mmio_write16(q->notify.addr, cpu_to_le16((uint16_t)data));
		return;
	}
	if (virtq_has(q, VIRTIO_F_NOTIFICATION_DATA))
		data |= (q->vq.packed ? (uint32_t)q->packed.next_avail | (uint32_t)packed_avail_wrap(q) << 15
		                      : (uint32_t)q->split.avail_idx)
		        << 16;
	switch (q->notify.kind) {
	case VIRTQ_NOTIFY_MMIO16:
		mmio_write16(q->notify.addr, cpu_to_le16((uint16_t)data));
		break;
	case VIRTQ_NOTIFY_MMIO32:
		mmio_write32(q->notify.addr, cpu_to_le32(data));
		break;
	case VIRTQ_NOTIFY_PIO16:
		pio_write16(q->notify.port, (uint16_t)data);
		break;
	case VIRTQ_NOTIFY_CALL:
		q->vq.vdev->ops->notify(q->vq.vdev, q->vq.index, data);
		break;
	}
}

bool virtq_kick(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	/* "Device Initialization": no notification before DRIVER_OK; virtio_driver_ok() kicks what has gathered */
	if (vq->closed || !READ_ONCE(vq->vdev->driver_ok))
		return false;
	virtq_enter(q);
	if (!q->added)
		return false;
	if (vq->packed ? packed_publish(q) : split_publish(q)) {
		notify(q);
		vq->kicks++;
		return true;
	}
	vq->suppressed++;
	return false;
}

static void run_kick(struct event *event) { virtq_kick(&container_of(event, struct virtq_ring, kick_event)->vq); }

void virtq_kick_later(struct virtq *vq) { event_defer(&virtq_ring_of(vq)->kick_event); }

void *virtq_await(struct virtq *vq, uint32_t *len, uint64_t until_ns)
{
	void *token;

	virtq_kick(vq);
	while (!(token = virtq_harvest(vq, len)) && !vq->broken && vq->vdev->driver_ok && clock_ns() < until_ns)
		cpu_relax();
	return token;
}

struct run {
	struct virtq *vq;
	void (*run)(struct virtq *vq);
};

static void run_it(void *arg)
{
	const struct run *run = arg;

	run->run(run->vq);
}

void virtq_run(struct virtq *vq, void (*run)(struct virtq *vq)) { cpu_run(virtq_cpu(vq), run_it, &(struct run){vq, run}); }

bool virtq_irq_enable_after(struct virtq *vq, uint16_t count)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (unlikely(vq->broken))
		return false;
	return vq->packed ? packed_irq_enable(q, count) : split_irq_enable(q, count);
}

bool virtq_irq_enable(struct virtq *vq) { return virtq_irq_enable_after(vq, 1); }

void virtq_irq_disable(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (vq->packed)
		packed_irq_disable(q);
	else
		split_irq_disable(q);
}

static void free_ring(struct virtq_ring *q)
{
	if (q->memory && !q->leak)
		dma_free(q->dma, q->memory, q->memory_bytes, q->memory_addr);
	if (q->vq.tables && !q->leak)
		dma_free(q->dma, q->vq.tables, q->tables_bytes, q->tables_addr);
	if (q->mappings)
		page_free(q->mappings, q->mappings_bytes);
	if (q->vq.frames && !q->leak)
		page_free(q->vq.frames, q->frames_bytes);
	page_free(q, q->private_bytes);
}

static void run_queue(struct event *event)
{
	struct virtq *vq = container_of(event, struct virtq, event);
	struct virtq_ring *q = virtq_ring_of(vq);

	/* An interrupt may be late or spurious: after a reset, before DRIVER_OK, on a queue that wants none. */
	if (vq->broken || !READ_ONCE(vq->vdev->driver_ok) || !q->callback)
		return;
	/* With EVENT_IDX the event is past: nothing will come until it comes round again. */
	if (!virtq_has(q, VIRTIO_F_EVENT_IDX) || q->quiet || q->polled)
		virtq_irq_disable(vq);
	q->active = true;
	q->callback(vq);
	q->active = false;
	if (unlikely(q->dead))
		free_ring(q); /* destroyed meanwhile: the callback waited for something in a nested turn */
	else if (!q->quiet && !q->polled && virtq_irq_enable(vq))
		event_mark(&vq->event); /* in the next turn: others first */
}

/* ---- making and unmaking ---- */

/* Frames are ordinary memory: where the DMA seam translates, they are mapped with the data. */
static bool alloc_frames(struct virtq_ring *q, uint16_t extra)
{
	q->vq.frame_stride = ALIGN_UP(q->head + q->vq.tail + extra, FRAME_ALIGN);
	q->frames_bytes = (size_t)q->vq.size * q->vq.frame_stride;
	q->vq.frames = page_alloc(q->frames_bytes, PAGE_SIZE);
	return q->vq.frames;
}

static bool alloc_ring(struct virtq_ring *q, uint16_t max_buffers)
{
	uint16_t size = q->vq.size;

	q->memory = dma_alloc(q->dma, q->memory_bytes, PAGE_SIZE, &q->memory_addr);
	if (!q->memory)
		return false;
	q->setup.descriptor_area += q->memory_addr;
	q->setup.driver_area += q->memory_addr;
	q->setup.device_area += q->memory_addr;
	q->max_buffers = MIN(MAX(max_buffers, 1), size);
	q->vq.table_stride = q->max_buffers * (uint32_t)sizeof(struct virtq_desc);
	if (q->dma->ops) {
		q->mappings_bytes = sizeof(*q->mappings) * q->max_buffers * size;
		q->mappings = page_alloc(q->mappings_bytes, PAGE_SIZE);
		if (!q->mappings)
			return false;
	}
	if (q->max_buffers > 1 && virtio_has(q->vq.vdev, VIRTIO_F_INDIRECT_DESC)) {
		/* Without memory for tables requests are chains of ring descriptors: nothing is lost but room. */
		q->tables_bytes = sizeof(struct virtq_desc) * q->max_buffers * size;
		q->vq.tables = dma_alloc_uncleared(q->dma, q->tables_bytes, PAGE_SIZE, &q->tables_addr);
	}
	return true;
}

/* The state of a queue that was never used; its areas, and all that lies behind it, are zero. */
static void init_ring(struct virtq_ring *q)
{
	q->vq.free_count = q->vq.size;
	q->vq.free_head = q->vq.first_staged = q->vq.staged = 0;
	for (uint32_t i = 0; i < q->vq.size; i++)
		q->vq.slots[i] = (struct virtq_slot){.count = 1, .next = (uint16_t)(i + 1)};
	q->vq.slots[q->vq.size - 1].next = 0;
	if (q->vq.packed)
		packed_init(q);
	else
		split_init(q);
	q->in_turn = q->plain && q->may_in_turn;
	if (q->quiet || q->polled)
		virtq_irq_disable(&q->vq);
}

/* "Reserved Feature Bits": without ACCESS_PLATFORM the device is given physical addresses only */
struct dma_device *virtio_dma(struct virtio_device *vdev)
{
	static struct dma_device physical;

	return virtio_has(vdev, VIRTIO_F_ACCESS_PLATFORM) ? &vdev->dma : &physical;
}

struct virtq *virtq_create(struct virtio_device *vdev, uint16_t index, uint16_t size, const struct virtq_spec *spec)
{
	bool packed = virtio_has(vdev, VIRTIO_F_RING_PACKED);
	/* Behind the ring: slots; packed, in turn or framed, a descriptor for each; framed a shape for each. */
	size_t for_copies = packed && (spec->in_turn || spec->head) ? sizeof(struct pvirtq_desc) : 0;
	size_t private_bytes = sizeof(struct virtq_ring) + (sizeof(struct virtq_slot) + for_copies + (spec->head ? 1 : 0)) * size;
	struct virtq_ring *q = page_alloc(private_bytes, PAGE_SIZE);

	if (!q)
		return NULL;
	q->private_bytes = private_bytes;
	q->vq.vdev = vdev;
	q->vq.name = spec->name;
	q->vq.context = spec->context;
	q->vq.index = index;
	q->vq.size = size;
	q->vq.packed = packed;
	event_init_on(&q->vq.event, spec->cpu, run_queue);
	event_init_kick(&q->kick_event, spec->cpu, run_kick);
	q->dma = virtio_dma(vdev);
	q->callback = spec->callback;
	q->quiet = spec->quiet || !spec->callback;
	q->vq.slots = (struct virtq_slot *)(q + 1);
	q->copies = (struct pvirtq_desc *)(q->vq.slots + size);
	q->vq.shapes = (uint8_t *)q->copies + for_copies * size;
	q->head = spec->head;
	q->vq.tail = spec->tail;
	q->features = vdev->features;
	q->exact_lengths = !vdev->legacy && !spec->loose_lengths;

	q->setup.size = size;
	q->memory_bytes = packed ? packed_layout(size, &q->setup) : split_layout(size, &q->setup);
	if ((spec->head && !alloc_frames(q, spec->extra)) ||
	    !alloc_ring(q, q->head ? (uint16_t)MIN(spec->max_buffers, FRAMED_BUFFERS_MAX) : spec->max_buffers)) {
		free_ring(q);
		return NULL;
	}
	q->may_in_turn = spec->in_turn;
	q->plain = !(q->features & (BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_ORDER_PLATFORM))) && !q->mappings &&
	           (q->vq.tables || q->max_buffers == 1);
	init_ring(q);
	return &q->vq;
}

int virtq_enable(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	return vq->vdev->ops->queue_enable(vq->vdev, vq->index, &q->setup, &q->notify);
}

static void close_queue(struct virtq *vq) { vq->closed = true; }

static void break_queue(struct virtq *vq) { vq->broken = vq->closed = true; }

void virtq_close(struct virtq *vq, bool broken) { virtq_run(vq, broken ? break_queue : close_queue); }

int virtq_reset(struct virtq *vq)
{
	if (!virtio_has(vq->vdev, VIRTIO_F_RING_RESET))
		return -ENOTSUP;
	virtq_close(vq, false);
	return vq->vdev->ops->queue_reset(vq->vdev, vq->index);
}

static void clear(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	memset(q->memory, 0, q->memory_bytes);
	memset(q + 1, 0, q->private_bytes - sizeof(*q));
	q->added = q->oldest = q->detach_next = 0;
	q->in_batch = false;
	init_ring(q);
}

static void open_queue(struct virtq *vq) { vq->closed = false; }

/* Closed until it is enabled: "the driver MUST NOT notify" before. */
int virtq_restart(struct virtq *vq)
{
	int error;

	virtq_run(vq, clear);
	error = virtq_enable(vq);
	if (!error)
		virtq_run(vq, open_queue);
	return error;
}

static void destroy(struct virtq *vq)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	event_cancel(&vq->event);
	event_cancel(&q->kick_event);
	timer_stop(&q->retry);
	poller_remove(&q->poller);
	vq->broken = vq->closed = true;
	q->leak = vq->vdev->stuck;
	if (q->active)
		q->dead = true;
	else
		free_ring(q);
}

static void poll_here(struct virtq *vq) { poller_add(&virtq_ring_of(vq)->poller, &vq->event); }

void virtq_poll(struct virtq *vq)
{
	if (virtq_cpu(vq) != cpu_index())
		virtq_run(vq, poll_here);
}

void virtq_set_polled(struct virtq *vq, bool on)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	q->polled = on;
	if (vq->vdev->irq_mode == VIRTIO_IRQ_POLL) /* it is looked at anyway */
		return;
	poller_remove(&q->poller);
	if (on)
		poller_add(&q->poller, &vq->event);
	event_mark(&vq->event); /* turns interrupts off or on */
}

void virtq_set_quiet(struct virtq *vq, bool on)
{
	virtq_ring_of(vq)->quiet = on;
	if (on)
		virtq_irq_disable(vq);
	else
		event_mark(&vq->event); /* turns interrupts on */
}

void virtq_destroy(struct virtq *vq) { virtq_run(vq, destroy); }
