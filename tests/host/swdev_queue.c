/*
 * The queues of the software device: their set-up, what they hold, and the looks that the device takes at them.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"

/* ---- set-up ---- */

uint16_t swdev_queue_max(struct swdev *dev, uint16_t queue)
{
	uint16_t honest = queue < dev->queue_count ? dev->queues[queue].max : 0;
	uint16_t told = (uint16_t)swdev_tell(dev, REG_QUEUE_MAX, queue, honest);

	if (queue < dev->queue_count) {
		struct swdev_queue *q = &dev->queues[queue];

		if (!q->enabled && q->size == (q->told_max ? q->told_max : q->max))
			q->size = told; /* until the driver sets another */
		q->told_max = told;
	}
	return told;
}

struct swdev_queue *swdev_queue_select(struct swdev *dev, uint16_t queue)
{
	return queue < dev->queue_count ? &dev->queues[queue] : NULL;
}

bool swdev_queue_may_set(struct swdev_queue *queue, const char *what)
{
	struct swdev *dev = queue->dev;

	if (dev->removed)
		return false;
	if (queue->enabled) {
		swdev_violation(dev, "queue %u: %s set while it is enabled", queue->index, what);
		return false;
	}
	if (!(dev->status & (dev->legacy ? ST_DRIVER : ST_FEATURES_OK)))
		swdev_violation(dev, "queue %u: %s set at status %#x", queue->index, what, dev->status);
	if (dev->status & ST_FAILED)
		swdev_violation(dev, "queue %u: %s set after FAILED", queue->index, what);
	if (!dev->legacy && !dev->features_ok_seen)
		swdev_violation(dev, "queue %u: %s set before FEATURES_OK was read back", queue->index, what);
	return true;
}

void swdev_queue_enable(struct swdev_queue *queue)
{
	struct swdev *dev = queue->dev;
	uint16_t limit = queue->told_max ? queue->told_max : queue->max;

	if (!swdev_queue_may_set(queue, "enable"))
		return;
	if (!dev->legacy && dev->status & ST_DRIVER_OK && !queue->was_reset)
		swdev_violation(dev, "queue %u enabled after DRIVER_OK", queue->index);
	if (queue->size == 0 || queue->size > limit || queue->size > 32768) {
		swdev_violation(dev, "queue %u enabled with size %u of %u", queue->index, queue->size, limit);
		return;
	}
	if (!swdev_has(dev, F_RING_PACKED) && queue->size & (queue->size - 1)) {
		swdev_violation(dev, "split queue %u enabled with size %u", queue->index, queue->size);
		return;
	}
	swdev_queue_disable(queue);
	queue->busy = calloc(65536, 1);
	queue->enabled = true;
	queue->was_reset = false;
	swdev_ring(queue)->enabled(queue);
}

static void free_list(struct swdev_chain *chain)
{
	while (chain) {
		struct swdev_chain *next = chain->next;
		swdev_chain_free(chain);
		chain = next;
	}
}

void swdev_queue_disable(struct swdev_queue *queue)
{
	free_list(queue->ready);
	free_list(queue->held);
	free(queue->busy);
	queue->ready = queue->held = NULL;
	queue->ready_tail = &queue->ready;
	queue->held_tail = &queue->held;
	queue->busy = NULL;
	queue->enabled = queue->notified = queue->used_unsignalled = false;
	queue->taken = queue->used = queue->avail_seen = queue->in_order_next = 0;
	queue->slots_taken = queue->slots_used = queue->slots_seen = queue->signalled = 0;
	queue->in_flight = queue->slots_in_flight = 0;
}

void swdev_queue_reset(struct swdev_queue *queue)
{
	if (!swdev_has(queue->dev, F_RING_RESET))
		swdev_violation(queue->dev, "queue %u reset without VIRTIO_F_RING_RESET", queue->index);
	if (!queue->enabled)
		swdev_violation(queue->dev, "queue %u reset while it is not enabled", queue->index);
	swdev_queue_disable(queue);
	queue->size = queue->max;
	queue->descriptor_area = queue->driver_area = queue->device_area = 0;
	queue->vector = 0xffff;
	queue->was_reset = true;
}

/* "Driver Notifications" */
void swdev_notify(struct swdev *dev, uint32_t value)
{
	struct swdev_queue *queue = swdev_queue_select(dev, (uint16_t)value);

	if (dev->removed)
		return;
	if (!(dev->status & ST_DRIVER_OK))
		swdev_violation(dev, "notification %#x %s", value,
		                dev->status & ST_SUSPEND ? "while suspended" : "before DRIVER_OK");
	if (!queue || !queue->enabled) {
		swdev_violation(dev, "notification %#x: that queue is not enabled", value);
		return;
	}
	if (swdev_has(dev, F_NOTIFICATION_DATA)) {
		uint16_t next = swdev_ring(queue)->next_offset(queue);

		if (value >> 16 != next)
			swdev_violation(dev, "notification data %#x, next_off and next_wrap are %#x", value, next);
	} else if (value >> 16) {
		swdev_violation(dev, "notification %#x is not a queue index", value);
	}
	queue->notified = true;
	queue->notifications++;
}

/* ---- buffers ---- */

static void append(struct swdev_chain ***tail, struct swdev_chain *chain)
{
	chain->next = NULL;
	**tail = chain;
	*tail = &chain->next;
}

static struct swdev_chain *remove_nth(struct swdev_chain **list, struct swdev_chain ***tail, unsigned n)
{
	struct swdev_chain **at = list, *chain;

	while (n--)
		at = &(*at)->next;
	chain = *at;
	*at = chain->next;
	if (!*at)
		*tail = at;
	chain->next = NULL;
	return chain;
}

struct swdev_chain *swdev_take_held(struct swdev_queue *queue)
{
	return queue->held ? remove_nth(&queue->held, &queue->held_tail, 0) : NULL;
}

/* The next to serve, by the device's order; IN_ORDER binds it ("VIRTIO_F_IN_ORDER"). */
static struct swdev_chain *next_ready(struct swdev_queue *queue)
{
	struct swdev *dev = queue->dev;
	unsigned count = 0, n = 0;

	if (!queue->ready)
		return NULL;
	if (dev->order != SWDEV_FIFO && !swdev_has(dev, F_IN_ORDER)) {
		for (struct swdev_chain *chain = queue->ready; chain && count < 64; chain = chain->next)
			count++;
		n = dev->order == SWDEV_LIFO ? count - 1 : (unsigned)(swdev_random(dev) % count);
	}
	return remove_nth(&queue->ready, &queue->ready_tail, n);
}

void swdev_complete(struct swdev_chain *chain, uint32_t written)
{
	chain->written = written;
	swdev_ring(chain->queue)->put(chain->queue, chain, 1);
	chain->queue->buffers_used++;
	chain->queue->used_unsignalled = true;
	swdev_chain_free(chain);
}

/* A list of served buffers into the ring. With IN_ORDER one entry may stand for several that were used completely. */
static void put_all(struct swdev_queue *queue, struct swdev_chain *list)
{
	bool batches = queue->dev->batch_used && swdev_has(queue->dev, F_IN_ORDER);
	unsigned batch = 1;

	while (list) {
		struct swdev_chain *chain = list;

		list = chain->next;
		if (list && batches && chain->written == chain->writable_bytes) {
			list->slots_before = (uint16_t)(chain->slots_before + chain->slots);
			swdev_ring(queue)->retire(queue, chain);
			batch++;
		} else {
			swdev_ring(queue)->put(queue, chain, batch);
			batch = 1;
		}
		queue->buffers_used++;
		queue->used_unsignalled = true;
		swdev_chain_free(chain);
	}
}

static void serve(struct swdev_queue *queue)
{
	const struct swdev_ring *ring = swdev_ring(queue);
	struct swdev *dev = queue->dev;
	struct swdev_chain *chain, *done = NULL, **done_tail = &done;
	unsigned budget = dev->budget ? dev->budget : UINT32_MAX;

	queue->notified = false;
	while ((chain = ring->take(queue))) {
		queue->buffers_taken++;
		append(&queue->ready_tail, chain);
	}
	while (budget-- && (chain = next_ready(queue))) {
		chain->written = 0;
		if (dev->type->serve(queue, chain, &chain->written))
			append(&done_tail, chain);
		else
			append(&queue->held_tail, chain);
	}
	put_all(queue, done);
	ring->ask(queue, dev->wish);
	if (ring->pending(queue))
		queue->notified = true; /* it came in between: another look */
}

static void signal_used(struct swdev_queue *queue)
{
	struct swdev *dev = queue->dev;

	if (!queue->used_unsignalled)
		return;
	queue->used_unsignalled = false;
	if (!swdev_ring(queue)->wants_interrupt(queue) || dev->no_interrupts)
		return;
	queue->interrupts++;
	dev->front->interrupt(dev, queue);
}

void swdev_look(struct swdev *dev, bool idle)
{
	if (dev->removed)
		return;
	dev->looks++;
	if (dev->lie && dev->lie->at_look)
		dev->lie->at_look(dev);
	for (unsigned i = 0; dev->status & ST_SUSPEND && i < dev->queue_count; i++)
		if (dev->queues[i].enabled && !dev->queues[i].left && swdev_ring(&dev->queues[i])->pending(&dev->queues[i]))
			swdev_violation(dev, "queue %u: buffers were made available while it is suspended", i);
	if (!(dev->status & ST_DRIVER_OK) || dev->status & (ST_FAILED | ST_NEEDS_RESET) || dev->dead)
		return;
	for (unsigned i = 0; i < dev->queue_count; i++) {
		struct swdev_queue *queue = &dev->queues[i];

		if (!queue->enabled)
			continue;
		if (idle && !queue->notified && swdev_ring(queue)->kick_is_due(queue)) {
			swdev_violation(dev, "queue %u: buffers were made available, the notification is missing", i);
			queue->notified = true;
		}
		if (queue->notified || queue->ready || dev->wish != SWDEV_WANT_ALL)
			serve(queue);
	}
	if (dev->type->produce)
		dev->type->produce(dev);
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queues[i].enabled)
			signal_used(&dev->queues[i]);
}
