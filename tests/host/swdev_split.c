/*
 * The device's side of "Split Virtqueues".
 *
 * The device reads the descriptor table and the available ring, and writes the used ring. Each descriptor that it has taken is kept
 * as a copy until it is used, and compared then: a driver must not alter what it has exposed.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};
_Static_assert(sizeof(struct descriptor) == 16, "The Virtqueue Descriptor Table");

/* One descriptor as it was when the chain was taken, and where it lies. */
struct taken {
	uint64_t at;
	struct descriptor descriptor;
	uint16_t index;
	bool in_ring;
};

/* The copy of a chain. */
struct taken_list {
	unsigned count;
	struct taken entries[];
};

static uint8_t *descriptor_area(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->descriptor_area, 16u * queue->size, "the descriptor table");
}

static uint8_t *avail_ring(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->driver_area, 6 + 2u * queue->size, "the available ring");
}

static uint8_t *used_ring(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->device_area, 6 + 8u * queue->size, "the used ring");
}

static uint8_t *used_event(struct swdev_queue *queue, uint8_t *avail) { return avail + 4 + 2u * queue->size; }
static uint8_t *avail_event(struct swdev_queue *queue, uint8_t *used) { return used + 4 + 8u * queue->size; }

/* True: `event` is one of the entries old .. new - 1. */
static bool passed(uint16_t event, uint16_t old, uint16_t new) { return (uint16_t)(event - old) < (uint16_t)(new - old); }

static void enabled(struct swdev_queue *queue)
{
	struct swdev *dev = queue->dev;
	uint8_t *used = used_ring(queue), *avail = avail_ring(queue);

	if (queue->descriptor_area % 16 || queue->driver_area % 2 || queue->device_area % 4) {
		swdev_violation(dev, "queue %u: misaligned areas", queue->index);
		queue->enabled = false;
		return;
	}
	if (!used || !avail || !descriptor_area(queue)) {
		queue->enabled = false;
		return;
	}
	if (get16(used) || get16(used + 2) || get16(avail_event(queue, used)))
		swdev_violation(dev, "queue %u: the used ring is not zero when it is enabled", queue->index);
	swdev_split.ask(queue, dev->wish);
}

static bool pending(struct swdev_queue *queue)
{
	uint8_t *avail = avail_ring(queue);

	return avail && get16(avail + 2) != queue->taken;
}

/* Checks that hold for a descriptor wherever it is. */
static bool check_flags(struct swdev_queue *queue, const struct descriptor *d, bool in_table)
{
	struct swdev *dev = queue->dev;

	if (d->flags & ~(NEXT | WRITE | INDIRECT)) {
		swdev_violation(dev, "queue %u: descriptor flags %#x", queue->index, d->flags);
		return false;
	}
	if (!(d->flags & INDIRECT))
		return true;
	if (in_table)
		swdev_violation(dev, "queue %u: INDIRECT within an indirect table", queue->index);
	else if (!swdev_has(dev, F_INDIRECT_DESC))
		swdev_violation(dev, "queue %u: INDIRECT was not negotiated", queue->index);
	else if (d->flags & NEXT)
		swdev_violation(dev, "queue %u: INDIRECT together with NEXT", queue->index);
	else if (d->length == 0 || d->length % 16)
		swdev_violation(dev, "queue %u: an indirect table of %u bytes", queue->index, d->length);
	else
		return true;
	return false;
}

static void remember(struct swdev_chain *chain, uint64_t at, const struct descriptor *d, uint16_t index, bool in_ring)
{
	struct taken_list *list = chain->copy;
	unsigned count = list ? list->count : 0;

	if ((count & (count - 1)) == 0)
		list = realloc(list, sizeof(*list) + (count ? 2 * count : 1) * sizeof(list->entries[0]));
	list->entries[count] = (struct taken){at, *d, index, in_ring};
	list->count = count + 1;
	chain->copy = list;
}

/* Collect a chain from the ring's table or an indirect one, `left` descriptors at most. */
static bool walk(struct swdev_chain *chain, uint64_t table, unsigned entries, uint16_t index, unsigned left, bool in_table)
{
	struct swdev_queue *queue = chain->queue;
	struct swdev *dev = queue->dev;
	bool in_order = swdev_has(dev, F_IN_ORDER);

	for (; left; left--) {
		struct descriptor d;
		const uint8_t *memory;

		if (index >= entries) {
			swdev_violation(dev, "queue %u: descriptor %u of %u", queue->index, index, entries);
			return false;
		}
		memory = swdev_memory(dev, table + 16u * index, 16, "a descriptor");
		if (!memory)
			return false;
		memcpy(&d, memory, sizeof(d));
		remember(chain, table + 16u * index, &d, index, !in_table);
		if (!in_table && queue->busy[index]) {
			swdev_violation(dev, "queue %u: descriptor %u is in flight already", queue->index, index);
			return false;
		}
		if (!in_table) {
			queue->busy[index] = 1;
			chain->slots++;
			queue->in_order_next = (uint16_t)((index + 1) % queue->size);
		}
		if (!check_flags(queue, &d, in_table))
			return false;
		if (d.flags & INDIRECT)
			return walk(chain, d.address, d.length / 16, 0, left, true);
		if (!swdev_chain_add(chain, d.address, d.length, d.flags & WRITE))
			return false;
		if (!(d.flags & NEXT))
			return true;
		if (in_order && d.next != (in_table ? index + 1 : (index + 1) % queue->size))
			swdev_violation(dev, "queue %u: IN_ORDER, but descriptor %u is followed by %u", queue->index, index,
			                d.next);
		index = d.next;
	}
	swdev_violation(dev, "queue %u: a chain longer than the queue size %u, or a loop", queue->index, queue->size);
	return false;
}

static struct swdev_chain *take(struct swdev_queue *queue)
{
	struct swdev *dev = queue->dev;
	uint8_t *avail = avail_ring(queue);
	struct swdev_chain *chain;
	uint16_t index, head;

	if (!avail || (index = get16(avail + 2)) == queue->taken)
		return NULL;
	if ((uint16_t)(index - queue->used) > queue->size || (uint16_t)(index - queue->taken) > queue->size) {
		swdev_violation(dev, "queue %u: available index %u, with %u used and a size of %u", queue->index, index,
		                queue->used, queue->size);
		queue->taken = index;
		return NULL;
	}
	head = get16(avail + 4 + 2u * (queue->taken % queue->size));
	queue->taken++;
	if (swdev_has(dev, F_IN_ORDER) && head != queue->in_order_next)
		swdev_violation(dev, "queue %u: IN_ORDER, but head %u where %u is next", queue->index, head,
		                queue->in_order_next);
	chain = swdev_chain_new(queue);
	chain->id = head;
	if (!walk(chain, queue->descriptor_area, queue->size, head, queue->size, false))
		swdev_violation(dev, "queue %u: the chain at %u is unusable", queue->index, head);
	queue->in_flight++;
	return chain;
}

/* "Device Cleanup": a driver must not alter virtqueue entries for exposed buffers. */
static void retire(struct swdev_queue *queue, const struct swdev_chain *chain)
{
	const struct taken_list *list = chain->copy;

	for (unsigned i = 0; list && i < list->count; i++) {
		const struct taken *taken = &list->entries[i];
		const uint8_t *memory = swdev_memory(queue->dev, taken->at, 16, "a descriptor in flight");

		if (memory && memcmp(memory, &taken->descriptor, 16))
			swdev_violation(queue->dev, "queue %u: descriptor %u was altered in flight", queue->index, taken->index);
		if (taken->in_ring)
			queue->busy[taken->index] = 0;
	}
	queue->in_flight--;
}

static void put(struct swdev_queue *queue, const struct swdev_chain *chain, unsigned batch)
{
	struct swdev_used_entry entry = {chain->id, chain->written, (uint16_t)batch, 0, true};
	uint8_t *used = used_ring(queue);
	uint8_t *slot;

	retire(queue, chain);
	if (!used)
		return;
	swdev_tell_used(queue, &entry);
	slot = used + 4 + 8u * (queue->used % queue->size);
	if (entry.write_entry) {
		put32(slot, entry.id);
		put32(slot + 4, entry.length);
	}
	queue->used = (uint16_t)(queue->used + entry.step);
	put16(used + 2, queue->used);
}

/* "Used Buffer Notification Suppression" */
static bool wants_interrupt(struct swdev_queue *queue)
{
	uint8_t *avail = avail_ring(queue);
	uint16_t old = (uint16_t)queue->signalled, flags;

	if (!avail)
		return false;
	queue->signalled = queue->used;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = get16(avail);
	if (flags > 1)
		swdev_violation(queue->dev, "queue %u: available ring flags %#x", queue->index, flags);
	if (!swdev_has(queue->dev, F_EVENT_IDX))
		return !(flags & 1);
	if (flags)
		swdev_violation(queue->dev, "queue %u: available ring flags %#x with EVENT_IDX", queue->index, flags);
	return passed(get16(used_event(queue, avail)), old, queue->used);
}

/* "Available Buffer Notification Suppression" */
static void ask(struct swdev_queue *queue, enum swdev_wish wish)
{
	uint8_t *used = used_ring(queue);

	if (!used)
		return;
	if (!swdev_has(queue->dev, F_EVENT_IDX)) {
		put16(used, wish == SWDEV_WANT_NONE);
	} else {
		uint16_t ahead = wish == SWDEV_WANT_ALL ? 0 : wish == SWDEV_WANT_NONE ? 0xffff : 3;

		put16(avail_event(queue, used), (uint16_t)(queue->taken + ahead));
	}
	queue->avail_seen = queue->taken;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool kick_is_due(struct swdev_queue *queue)
{
	uint8_t *avail = avail_ring(queue), *used = used_ring(queue);
	uint16_t index;

	if (!avail || !used || (index = get16(avail + 2)) == queue->avail_seen)
		return false;
	if (!swdev_has(queue->dev, F_EVENT_IDX))
		return !(get16(used) & 1);
	return passed(get16(avail_event(queue, used)), queue->avail_seen, index);
}

static uint16_t next_offset(struct swdev_queue *queue)
{
	uint8_t *avail = avail_ring(queue);

	return avail ? get16(avail + 2) : 0;
}

const struct swdev_ring swdev_split = {
	.name = "split",
	.enabled = enabled,
	.pending = pending,
	.take = take,
	.retire = retire,
	.put = put,
	.wants_interrupt = wants_interrupt,
	.ask = ask,
	.kick_is_due = kick_is_due,
	.next_offset = next_offset,
};
