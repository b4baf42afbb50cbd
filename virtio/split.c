/*
 * The split virtqueue ("Split Virtqueues").
 *
 * Three areas in one allocation, laid out so that the legacy interface can use them too: the descriptor table, behind it the available
 * ring, and from the next page on the used ring. The driver writes the first two and reads the third.
 *
 * A request is a chain of free descriptors, or one descriptor that refers to the slot's own indirect table. Free descriptors form
 * a stack; with VIRTIO_F_IN_ORDER a circle, since they come back as they went: so chains are sequential, as that feature demands,
 * without a second allocator.
 *
 * virtq_add() fills descriptors and ring entries; the available index, which makes them visible, moves once per kick.
 */
#include <errno.h>
#include <string.h>

#include <virtio/burst.h>

#define LEGACY_ALIGN 4096u

size_t split_layout(uint16_t size, struct virtq_setup *setup)
{
	size_t avail = sizeof(struct virtq_desc) * size;
	size_t used = ALIGN_UP(avail + sizeof(struct virtq_avail) + 2u * size + 2u, (size_t)LEGACY_ALIGN);

	/* "Virtqueues": each part aligned to 16, 2 and 4 bytes */
	setup->descriptor_area = 0;
	setup->driver_area = avail;
	setup->device_area = used;
	return used + sizeof(struct virtq_used) + sizeof(struct virtq_used_elem) * size + 2u;
}

void split_init(struct virtq_ring *q)
{
	uint16_t size = q->vq.size;

	q->split.desc = q->memory;
	q->split.avail = virtq_area(q, q->setup.driver_area);
	q->split.used = virtq_area(q, q->setup.device_area);
	q->split.used_event = &q->split.avail->ring[size];
	q->split.avail_event = (void *)&q->split.used->ring[size];
	q->split.avail_idx = q->split.last_used = q->split.used_idx = 0;
	q->vq.one_flags[0] = (uint64_t)VIRTQ_DESC_F_NEXT << 32 | UINT64_C(2) << 48;
	q->vq.one_flags[1] = q->vq.one_flags[0] | (uint64_t)VIRTQ_DESC_F_WRITE << 32;
	for (uint16_t i = 0; i < size; i++)
		q->split.avail->ring[i] = cpu_to_le16(i); /* for requests in turn: nothing that the device looks at yet */
}

/* "Indirect Descriptors": one table, no NEXT beside INDIRECT, no INDIRECT inside */
static void write_table(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count)
{
	const struct virtq_mapping *map = virtq_mappings(q, slot);
	struct virtq_desc *table = virtq_table(q, slot);
	unsigned i = 0;

	for (; i < nreadable; i++)
		split_write_desc(&table[i], virtq_buf_addr(map, i, &bufs[i]), bufs[i].len, VIRTQ_DESC_F_NEXT, (uint16_t)(i + 1));
	for (; i < count; i++)
		split_write_desc(&table[i], virtq_buf_addr(map, i, &bufs[i]), bufs[i].len, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT,
		                 (uint16_t)(i + 1));
	table[count - 1].flags &= cpu_to_le16((uint16_t)~VIRTQ_DESC_F_NEXT);
	split_write_desc(&q->split.desc[slot], virtq_table_addr(q, slot), count * (uint32_t)sizeof(table[0]),
	                 VIRTQ_DESC_F_INDIRECT, 0);
}

/* A chain of ring descriptors from `head` on; returns its last one. */
static uint16_t write_chain(struct virtq_ring *q, uint16_t head, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count)
{
	const struct virtq_mapping *map = virtq_mappings(q, head);
	uint16_t d = head;

	for (uint16_t i = 0;; i++) {
		uint16_t next = q->vq.slots[d].next;
		unsigned flags = (i < nreadable ? 0u : VIRTQ_DESC_F_WRITE) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0u);

		split_write_desc(&q->split.desc[d], virtq_buf_addr(map, i, &bufs[i]), bufs[i].len, flags, next);
		if (i + 1 == count)
			return d;
		d = next;
	}
}

/* "Updating The Available Ring": the entry first, the index at the kick */
static inline void make_available(struct virtq_ring *q, uint16_t head)
{
	uint32_t at = q->split.avail_idx;

	q->split.avail->ring[at & (q->vq.size - 1u)] = cpu_to_le16(head);
	q->split.avail_idx = (uint16_t)(at + 1);
	q->added++;
}

int split_add(struct virtq_ring *q, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count, uint32_t writable,
              void *token)
{
	uint16_t head = (uint16_t)q->vq.free_head, last = head;
	bool indirect = count > 1 && q->vq.tables;

	if (unlikely((indirect ? 1 : count) > q->vq.free_count))
		return -ENOSPC;
	if (unlikely(q->mappings) && virtq_map(q, head, bufs, nreadable, count))
		return -ENOSPC;

	if (indirect) {
		write_table(q, head, bufs, nreadable, count);
		count = 1;
	} else {
		last = write_chain(q, head, bufs, nreadable, count);
	}
	virtq_slot_take(q, last, count, writable, token);

	make_available(q, head);
	return 0;
}

void split_lay_out(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *data, unsigned nreadable, unsigned count)
{
	const dma_addr_t frame = mmu_virt_to_phys(virtq_frame_of(q, slot));
	struct virtq_desc *table = virtq_table(q, slot), *d = table;

	split_write_desc(d++, frame, q->head, VIRTQ_DESC_F_NEXT, 1);
	for (unsigned i = 0; i < count; i++, d++)
		split_write_desc(d, mmu_virt_to_phys(data[i].addr), data[i].len,
		                 VIRTQ_DESC_F_NEXT | (i < nreadable ? 0 : VIRTQ_DESC_F_WRITE), (uint16_t)(i + 2));
	split_write_desc(d, frame + q->head, q->vq.tail, VIRTQ_DESC_F_WRITE, 0);
	split_write_desc(&q->split.desc[slot], virtq_table_addr(q, slot), (count + 2) * (uint32_t)sizeof(*table),
	                 VIRTQ_DESC_F_INDIRECT, 0);
}

void split_enter(struct virtq_ring *q)
{
	const size_t mask = q->vq.size - 1u, end = q->split.avail_idx + q->vq.staged;
	const struct virtq_slot *slots = q->vq.slots;
	le16 *ring = q->split.avail->ring;
	size_t slot = q->vq.first_staged;

	for (size_t at = q->split.avail_idx; at != end; at++) {
		ring[at & mask] = cpu_to_le16((uint16_t)slot);
		slot = slots[slot].next;
	}
	q->split.avail_idx = (uint16_t)end;
	q->added = (uint16_t)(q->added + q->vq.staged);
	q->vq.staged = 0;
	q->vq.first_staged = q->vq.free_head;
}

void split_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable)
{
	const size_t mask = q->vq.size - 1u;
	const unsigned flags = writable ? VIRTQ_DESC_F_WRITE : 0;
	const uint32_t all_or_none = writable ? UINT32_MAX : 0;
	struct virtq_slot *slots = q->vq.slots;
	struct virtq_desc *desc = q->split.desc;
	le16 *ring = q->split.avail->ring;
	size_t slot = q->vq.free_head, at = q->split.avail_idx;

	q->vq.free_count = (uint16_t)(q->vq.free_count - count);
	q->added = (uint16_t)(q->added + count);
	for (size_t i = 0; i < count; i++) {
		struct virtq_slot *s = &slots[slot];
		uint32_t len = bufs[i].len;

		split_write_desc(&desc[slot], mmu_virt_to_phys(bufs[i].addr), len, flags, 0);
		ring[at++ & mask] = cpu_to_le16((uint16_t)slot);
		s->token = tokens[i];
		s->writable = len & all_or_none;
		slot = s->next;
	}
	q->vq.free_head = (uint16_t)slot;
	q->split.avail_idx = (uint16_t)at;
}

bool split_publish(struct virtq_ring *q)
{
	uint16_t new = q->split.avail_idx, old = (uint16_t)(new - q->added);

	/* "Updating idx": the device must see descriptors and ring entries before the index that exposes them. */
	virtq_wmb(q);
	WRITE_ONCE(q->split.avail->idx, cpu_to_le16(new));
	q->added = 0;

	/* "Notifying The Device": the index store before the load of the device's wish. The device stores its wish and then loads the
	 * index; without full barriers on both sides each could miss the other. */
	virtq_mb(q);
	if (virtq_has(q, VIRTIO_F_EVENT_IDX))
		return virtq_need_event(le16_to_cpu(READ_ONCE(*q->split.avail_event)), new, old);
	return !(le16_to_cpu(READ_ONCE(q->split.used->flags)) & 1);
}

static void look(struct virtq_ring *q) { q->split.used_idx = le16_to_cpu(READ_ONCE(q->split.used->idx)); }

static uint16_t seen_used(const struct virtq_ring *q) { return (uint16_t)(q->split.used_idx - q->split.last_used); }

/* How many are used and not harvested yet. Entries and data may be read. */
static inline uint16_t used_now(struct virtq_ring *q)
{
	uint16_t published = (uint16_t)(q->split.avail_idx - q->added), in_flight = (uint16_t)(published - q->split.last_used);

	look(q);
	if (unlikely(seen_used(q) > in_flight)) {
		virtq_break(q, "used index jumped from %u to %u with %u in flight", q->split.last_used, q->split.used_idx,
		            in_flight);
		return 0;
	}
	/* The index before the entries that it tells of, and before the data that the device wrote for them. */
	virtq_rmb(q);
	return seen_used(q);
}

/* IN_ORDER ("In-order use of descriptors"): one used entry may stand for a batch that ends with its id. Each call takes the oldest
 * request; all but the last were used in full. */
static void *harvest_in_order(struct virtq_ring *q, uint32_t *len)
{
	uint16_t slot = q->oldest;
	const struct virtq_slot *s = &q->vq.slots[slot];

	if (!q->in_batch) {
		const struct virtq_used_elem *elem = &q->split.used->ring[q->split.last_used & (q->vq.size - 1)];
		uint32_t id = le32_to_cpu(READ_ONCE(elem->id));

		if (id >= q->vq.size || !q->vq.slots[id].token)
			return virtq_break(q, "used id %u is not in flight", id);
		q->batch_last = (uint16_t)id;
		q->batch_len = le32_to_cpu(READ_ONCE(elem->len));
		q->in_batch = true;
	}
	if (slot == q->batch_last) {
		q->in_batch = false;
		*len = q->batch_len;
	} else {
		*len = s->writable;
	}
	q->oldest = (uint16_t)((slot + s->count) & (q->vq.size - 1));
	return virtq_complete(q, slot, *len, len);
}

void *split_harvest(struct virtq_ring *q, uint32_t *len)
{
	const struct virtq_used_elem *elem;
	void *token;

	if (!used_now(q))
		return NULL;
	if (unlikely(virtq_has(q, VIRTIO_F_IN_ORDER))) {
		token = harvest_in_order(q, len);
	} else {
		elem = &q->split.used->ring[q->split.last_used & (q->vq.size - 1)];
		token = virtq_complete(q, le32_to_cpu(READ_ONCE(elem->id)), le32_to_cpu(READ_ONCE(elem->len)), len);
	}
	q->split.last_used++;
	return token;
}

[[gnu::always_inline]] static inline unsigned harvest_plain(struct virtq_ring *q, const struct virtq_harvest_to to,
                                                            unsigned count)
{
	const uint32_t used = used_now(q), mask = q->vq.size - 1u;
	const struct virtq_used_elem *ring = q->split.used->ring;
	uint32_t head = q->vq.free_head, i;

	count = MIN(count, used);
	for (i = 0; i < count; i++) {
		const struct virtq_used_elem *elem = &ring[(q->split.last_used + i) & mask];
		uint32_t id = le32_to_cpu(READ_ONCE(elem->id)), len = le32_to_cpu(READ_ONCE(elem->len));
		struct virtq_slot *s = &q->vq.slots[id];

		if (unlikely(id > mask || !s->token || len > s->writable)) {
			int64_t checked = virtq_check_used(q, id, len);

			if (checked < 0)
				break;
			len = (uint32_t)checked;
		}
		virtq_take(q, to, i, id, s, len, &head);
	}
	q->vq.free_head = q->vq.first_staged = head;
	q->vq.free_count = (uint16_t)(q->vq.free_count + i);
	q->split.last_used = (uint16_t)(q->split.last_used + i);
	q->vq.harvested += i;
	return i;
}

/* Apart: that there is nothing is found out often, and cheaply. */
[[gnu::noinline]] static unsigned harvest_out_of_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	return harvest_plain(q, (struct virtq_harvest_to){.tokens = tokens, .lens = lens}, count);
}

unsigned split_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	if (likely(q->in_turn)) {
		const unsigned used = used_now(q);
		unsigned done;

		if (!used)
			return 0;
		done = split_harvest_in_turn(q, tokens, lens,
		                             MIN(MIN(count, used), q->vq.size - (q->split.last_used & (q->vq.size - 1u))));
		if (likely(done))
			return done;
		virtq_leave_turn(q);
	}
	return harvest_out_of_turn(q, tokens, lens, count);
}

unsigned split_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count)
{
	if (unlikely(q->vq.staged))
		split_enter(q); /* the list of free slots is about to change */
	return harvest_plain(q, (struct virtq_harvest_to){.used = used}, count);
}

bool split_irq_enable(struct virtq_ring *q, uint16_t count)
{
	/* "Used Buffer Notification Suppression": with EVENT_IDX flags stay 0, and the event is the entry before the index to reach */
	if (virtq_has(q, VIRTIO_F_EVENT_IDX))
		WRITE_ONCE(*q->split.used_event, cpu_to_le16((uint16_t)(q->split.last_used + count - 1)));
	else
		WRITE_ONCE(q->split.avail->flags, cpu_to_le16(0));

	/* The wish before the last look at the index, against a device that stored the index before it saw the wish. */
	virtq_mb(q);
	look(q);
	return seen_used(q) >= (virtq_has(q, VIRTIO_F_EVENT_IDX) ? count : 1);
}

void split_irq_disable(struct virtq_ring *q)
{
	/* With EVENT_IDX an event already passed is as good as none for the next 65,535 buffers; every enable renews it. */
	if (virtq_has(q, VIRTIO_F_EVENT_IDX))
		WRITE_ONCE(*q->split.used_event, cpu_to_le16((uint16_t)(q->split.last_used - 1)));
	else
		WRITE_ONCE(q->split.avail->flags, cpu_to_le16(1));
}
