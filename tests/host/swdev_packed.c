/*
 * The device's side of "Packed Virtqueues".
 *
 * Positions are counted from the start and never wrap: position p is slot p modulo the size, and its wrap counter is 1 on the even
 * rounds. A descriptor is available when its AVAIL bit equals the wrap counter and its USED bit does not.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };
enum { EVENTS_ENABLE = 0, EVENTS_DISABLE = 1, EVENTS_DESC = 2 };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};
_Static_assert(sizeof(struct descriptor) == 16, "The Virtqueue Descriptor Format");

/* The descriptors of a chain as they were when it was taken, those of the ring and then those of an indirect table. */
struct taken {
	uint64_t position, table;
	unsigned slots, entries;
	struct descriptor descriptors[];
};

static uint8_t *ring(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->descriptor_area, 16u * queue->size, "the descriptor ring");
}

static uint8_t *driver_events(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->driver_area, 4, "the driver event suppression");
}

static uint8_t *device_events(struct swdev_queue *queue)
{
	return swdev_memory(queue->dev, queue->device_area, 4, "the device event suppression");
}

static bool wrap_of(const struct swdev_queue *queue, uint64_t position) { return position / queue->size % 2 == 0; }

static bool is_available(const struct swdev_queue *queue, const uint8_t *descriptors, uint64_t position)
{
	uint16_t flags = get16(descriptors + 16 * (position % queue->size) + 14);
	bool wrap = wrap_of(queue, position);

	return !!(flags & AVAIL) == wrap && !!(flags & USED) != wrap;
}

/* True: the slot and wrap counter that `event` names are among positions old .. new - 1. */
static bool passed(const struct swdev_queue *queue, uint16_t event, uint64_t old, uint64_t new)
{
	uint64_t period = 2u * queue->size;
	uint64_t phase = (event & 0x7fffu) + (event >> 15 ? 0u : queue->size);

	return old + (phase % period + period - old % period) % period < new;
}

static void enabled(struct swdev_queue *queue)
{
	uint8_t *device = device_events(queue), *descriptors = ring(queue);

	if (queue->descriptor_area % 16 || queue->driver_area % 4 || queue->device_area % 4) {
		swdev_violation(queue->dev, "queue %u: misaligned areas", queue->index);
		queue->enabled = false;
		return;
	}
	if (!device || !descriptors || !driver_events(queue)) {
		queue->enabled = false;
		return;
	}
	for (unsigned i = 0; i < queue->size; i++) {
		if (get16(descriptors + 16u * i + 14)) {
			swdev_violation(queue->dev, "queue %u: the descriptor ring is not zero when it is enabled", queue->index);
			break;
		}
	}
	swdev_packed.ask(queue, queue->dev->wish);
}

static bool pending(struct swdev_queue *queue)
{
	uint8_t *descriptors = ring(queue);

	return descriptors && queue->slots_in_flight < queue->size && is_available(queue, descriptors, queue->slots_taken);
}

/* "Indirect Flag: Scatter-Gather Support": a table of descriptors in a row, of which WRITE is the only flag. */
static bool walk_table(struct swdev_chain *chain, const struct descriptor *d)
{
	struct swdev_queue *queue = chain->queue;
	struct swdev *dev = queue->dev;
	unsigned entries = d->length / 16;

	if (!swdev_has(dev, F_INDIRECT_DESC)) {
		swdev_violation(dev, "queue %u: INDIRECT was not negotiated", queue->index);
		return false;
	}
	if (d->flags & NEXT || chain->slots > 1) {
		swdev_violation(dev, "queue %u: INDIRECT in a list linked by NEXT", queue->index);
		return false;
	}
	if (d->length == 0 || d->length % 16 || entries > queue->size) {
		swdev_violation(dev, "queue %u: an indirect table of %u bytes", queue->index, d->length);
		return false;
	}
	for (unsigned i = 0; i < entries; i++) {
		struct descriptor entry;
		const uint8_t *memory = swdev_memory(dev, d->address + 16u * i, 16, "an indirect descriptor");

		if (!memory)
			return false;
		memcpy(&entry, memory, sizeof(entry));
		if (entry.flags & ~WRITE) {
			swdev_violation(dev, "queue %u: flags %#x in an indirect table", queue->index, entry.flags);
			return false;
		}
		if (!swdev_chain_add(chain, entry.address, entry.length, entry.flags & WRITE))
			return false;
	}
	return true;
}

static bool walk(struct swdev_chain *chain, uint8_t *descriptors)
{
	struct swdev_queue *queue = chain->queue;
	struct swdev *dev = queue->dev;

	for (;;) {
		struct descriptor d;

		if (queue->slots_in_flight + chain->slots >= queue->size) {
			swdev_violation(dev, "queue %u: a list that does not fit into the ring", queue->index);
			return false;
		}
		if (!is_available(queue, descriptors, queue->slots_taken)) {
			swdev_violation(dev, "queue %u: a partial list was made available", queue->index);
			return false;
		}
		memcpy(&d, descriptors + 16 * (queue->slots_taken % queue->size), sizeof(d));
		queue->slots_taken++;
		chain->slots++;
		chain->id = d.id;
		if (d.flags & ~(NEXT | WRITE | INDIRECT | AVAIL | USED)) {
			swdev_violation(dev, "queue %u: descriptor flags %#x", queue->index, d.flags);
			return false;
		}
		if (d.flags & INDIRECT)
			return walk_table(chain, &d);
		if (!swdev_chain_add(chain, d.address, d.length, d.flags & WRITE))
			return false;
		if (!(d.flags & NEXT))
			return true;
	}
}

static void remember(struct swdev_chain *chain, const uint8_t *descriptors, uint64_t position)
{
	struct swdev_queue *queue = chain->queue;
	unsigned entries = chain->readable + chain->writable;
	struct taken *taken = malloc(sizeof(*taken) + (chain->slots + entries) * sizeof(taken->descriptors[0]));
	const struct descriptor *last = &taken->descriptors[chain->slots - 1];

	*taken = (struct taken){.position = position, .slots = chain->slots};
	for (unsigned i = 0; i < chain->slots; i++)
		memcpy(&taken->descriptors[i], descriptors + 16 * ((position + i) % queue->size), 16);
	if (last->flags & INDIRECT && entries) {
		taken->table = last->address;
		taken->entries = entries;
		memcpy(&taken->descriptors[chain->slots],
		       swdev_memory(queue->dev, taken->table, 16u * entries, "an indirect table"), 16u * entries);
	}
	chain->copy = taken;
}

/* "Packed Virtqueues / The Virtqueue Descriptor Table": what was made available must not change before it is used. We have written
 * into the ring ourselves before `slots_used`. */
static void compare(const struct swdev_chain *chain, const uint8_t *descriptors)
{
	struct swdev_queue *queue = chain->queue;
	const struct taken *taken = chain->copy;
	const uint8_t *table = taken->entries ? swdev_memory(queue->dev, taken->table, 16u * taken->entries, "an indirect table")
	                                      : NULL;

	for (unsigned i = 0; i < taken->slots; i++)
		if (taken->position + i >= queue->slots_used &&
		    memcmp(&taken->descriptors[i], descriptors + 16 * ((taken->position + i) % queue->size), 16) != 0)
			swdev_violation(queue->dev, "queue %u: descriptor %u was altered in flight", queue->index,
			                (unsigned)((taken->position + i) % queue->size));
	if (table && memcmp(&taken->descriptors[taken->slots], table, 16u * taken->entries) != 0)
		swdev_violation(queue->dev, "queue %u: an indirect table was altered in flight", queue->index);
}

static struct swdev_chain *take(struct swdev_queue *queue)
{
	uint8_t *descriptors = ring(queue);
	uint64_t position = queue->slots_taken;
	struct swdev_chain *chain;

	if (!descriptors || !pending(queue))
		return NULL;
	chain = swdev_chain_new(queue);
	if (walk(chain, descriptors))
		remember(chain, descriptors, position);
	else
		swdev_violation(queue->dev, "queue %u: the list ending at position %llu is unusable", queue->index,
		                (unsigned long long)queue->slots_taken);
	if (queue->busy[chain->id])
		swdev_violation(queue->dev, "queue %u: buffer id %u is in flight already", queue->index, chain->id);
	queue->busy[chain->id] = 1;
	queue->in_flight++;
	queue->slots_in_flight += chain->slots;
	return chain;
}

static void retire(struct swdev_queue *queue, const struct swdev_chain *chain)
{
	const uint8_t *descriptors = ring(queue);

	if (chain->copy && descriptors)
		compare(chain, descriptors);
	queue->busy[chain->id] = 0;
	queue->in_flight--;
	queue->slots_in_flight -= chain->slots;
}

static void put(struct swdev_queue *queue, const struct swdev_chain *chain, unsigned batch)
{
	uint16_t flags = (uint16_t)((wrap_of(queue, queue->slots_used) ? AVAIL | USED : 0) | (chain->written ? WRITE : 0));
	struct swdev_used_entry entry = {chain->id, chain->written, (uint16_t)(chain->slots_before + chain->slots), 0, true};
	uint8_t *descriptors = ring(queue);
	uint8_t *slot;

	(void)batch;
	retire(queue, chain);
	if (!descriptors)
		return;
	swdev_tell_used(queue, &entry);
	slot = descriptors + 16 * (queue->slots_used % queue->size);
	if (entry.write_entry) {
		put32(slot + 8, entry.length);
		put16(slot + 12, (uint16_t)entry.id);
	}
	put16(slot + 14, (uint16_t)(flags ^ entry.flags));
	queue->slots_used += entry.step;
}

/* "Driver and Device Event Suppression" */
static bool wants_interrupt(struct swdev_queue *queue)
{
	uint8_t *events = driver_events(queue);
	uint64_t old = queue->signalled;
	uint16_t flags;

	if (!events)
		return false;
	queue->signalled = queue->slots_used;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = get16(events + 2);
	switch (flags) {
	case EVENTS_ENABLE:
		return true;
	case EVENTS_DISABLE:
		return false;
	case EVENTS_DESC:
		if (swdev_has(queue->dev, F_EVENT_IDX)) {
			if ((get16(events) & 0x7fff) >= queue->size)
				swdev_violation(queue->dev, "queue %u: event offset %u", queue->index, get16(events) & 0x7fff);
			return passed(queue, get16(events), old, queue->slots_used);
		}
	}
	swdev_violation(queue->dev, "queue %u: driver event flags %#x", queue->index, flags);
	return true;
}

/* The position behind the last one that the driver has made available. */
static uint64_t next_position(struct swdev_queue *queue)
{
	uint8_t *descriptors = ring(queue);
	uint64_t position = queue->slots_taken;

	while (descriptors && position < queue->slots_used + queue->size && is_available(queue, descriptors, position))
		position++;
	return position;
}

static void ask(struct swdev_queue *queue, enum swdev_wish wish)
{
	uint8_t *events = device_events(queue);

	if (!events)
		return;
	if (wish == SWDEV_WANT_EVERY_FOURTH && swdev_has(queue->dev, F_EVENT_IDX)) {
		uint64_t event = queue->slots_taken + 3;

		put16(events, (uint16_t)(event % queue->size | (wrap_of(queue, event) ? 0x8000u : 0)));
		put16(events + 2, EVENTS_DESC);
	} else {
		put16(events + 2, wish == SWDEV_WANT_NONE ? EVENTS_DISABLE : EVENTS_ENABLE);
	}
	queue->slots_seen = queue->slots_taken;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool kick_is_due(struct swdev_queue *queue)
{
	uint8_t *events = device_events(queue);
	uint64_t next = next_position(queue);

	if (!events || next == queue->slots_seen || get16(events + 2) == EVENTS_DISABLE)
		return false;
	return get16(events + 2) == EVENTS_ENABLE || passed(queue, get16(events), queue->slots_seen, next);
}

static uint16_t next_offset(struct swdev_queue *queue)
{
	uint64_t next = next_position(queue);

	return (uint16_t)(next % queue->size | (wrap_of(queue, next) ? 0x8000u : 0));
}

const struct swdev_ring swdev_packed = {
	.name = "packed",
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
