/*
 * The packed virtqueue ("Packed Virtqueues").
 *
 * One ring of descriptors that both sides write, in turns told apart by two bits and a wrap counter on each side, and two small structures
 * in which each side says when it wants to be notified.
 *
 * A request gets a buffer id; with VIRTIO_F_IN_ORDER they go round in a circle, so that the oldest request is always the id after
 * the one before. The first descriptor of the first request since the last kick is written without its flags: the
 * device, which reads the ring in order, sees nothing of the batch until the kick stores them.
 */
#include <errno.h>
#include <string.h>

#include <virtio/burst.h>

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 }; /* "Driver and Device Event Suppression" */

size_t packed_layout(uint16_t size, struct virtq_setup *setup)
{
	/* "Structure Size and Alignment": 16, 4 and 4 bytes. The events are a cache line apart: each side writes one. */
	size_t ring = ALIGN_UP(sizeof(struct pvirtq_desc) * size, (size_t)64);

	setup->descriptor_area = 0;
	setup->driver_area = ring;
	setup->device_area = ring + 64;
	return ring + 128;
}

void packed_init(struct virtq_ring *q)
{
	q->packed.desc = q->memory;
	q->packed.driver = virtq_area(q, q->setup.driver_area);
	q->packed.device = virtq_area(q, q->setup.device_area);
	q->packed.next_avail = q->packed.last_used = 0;
	q->packed.avail_bits = VIRTQ_DESC_F_AVAIL;
	q->packed.used_bits = PACKED_BOTH;
	q->vq.one_flags[0] = 0;
	q->vq.one_flags[1] = (uint64_t)VIRTQ_DESC_F_WRITE << 48;
}

static unsigned list_flags(uint16_t i, uint16_t nreadable, uint16_t count)
{
	return (i < nreadable ? 0u : VIRTQ_DESC_F_WRITE) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0u);
}

static inline void advance(struct virtq_ring *q)
{
	if (unlikely(++q->packed.next_avail == q->vq.size)) {
		q->packed.next_avail = 0;
		q->packed.avail_bits ^= PACKED_BOTH;
	}
}

/* Write one ring descriptor and move on. The flags, which make it available, are returned; the head's are left to the caller. */
static uint16_t write_next(struct virtq_ring *q, dma_addr_t addr, uint32_t len, uint16_t id, unsigned flags, bool head)
{
	struct pvirtq_desc *desc = &q->packed.desc[q->packed.next_avail];

	flags |= q->packed.avail_bits;
	desc->addr = cpu_to_le64(addr);
	desc->len = cpu_to_le32(len);
	desc->id = cpu_to_le16(id);
	if (!head)
		WRITE_ONCE(desc->flags, cpu_to_le16((uint16_t)flags));
	advance(q);
	q->added++;
	return (uint16_t)flags;
}

/* "Scatter-Gather Support": the head of a list not before the rest of it; and the first head of a batch not before the kick. */
static void write_head(struct virtq_ring *q, uint16_t at, uint16_t flags, bool first)
{
	if (first) {
		q->packed.held_head = at;
		q->packed.held_flags = flags;
	} else {
		WRITE_ONCE(q->packed.desc[at].flags, cpu_to_le16(flags));
	}
}

int packed_add(struct virtq_ring *q, const struct virtq_buf *bufs, uint16_t nreadable, uint16_t count, uint32_t writable,
               void *token)
{
	uint16_t id = (uint16_t)q->vq.free_head, ring_count = count, head = (uint16_t)q->packed.next_avail, head_flags;
	bool indirect = count > 1 && q->vq.tables, first = !q->added;
	const struct virtq_mapping *map;

	/* "Scatter-Gather Support": room for the whole list before any of it is made available */
	if (unlikely((indirect ? 1 : count) > q->vq.free_count))
		return -ENOSPC;
	if (unlikely(q->mappings) && virtq_map(q, id, bufs, nreadable, count))
		return -ENOSPC;
	map = virtq_mappings(q, id);

	if (indirect) {
		/* "Indirect Descriptors": no flag but WRITE inside the table */
		struct pvirtq_desc *table = virtq_table(q, id);

		for (uint16_t i = 0; i < count; i++) {
			table[i].addr = cpu_to_le64(virtq_buf_addr(map, i, &bufs[i]));
			table[i].len = cpu_to_le32(bufs[i].len);
			table[i].flags = cpu_to_le16(i < nreadable ? 0 : VIRTQ_DESC_F_WRITE);
		}
		head_flags = write_next(q, virtq_table_addr(q, id), count * (uint32_t)sizeof(table[0]), id, VIRTQ_DESC_F_INDIRECT,
		                        true);
		ring_count = 1;
	} else {
		head_flags = write_next(q, virtq_buf_addr(map, 0, &bufs[0]), bufs[0].len, id, list_flags(0, nreadable, count),
		                        true);
		for (uint16_t i = 1; i < count; i++)
			write_next(q, virtq_buf_addr(map, i, &bufs[i]), bufs[i].len, id, list_flags(i, nreadable, count), false);
	}
	write_head(q, head, head_flags, first);
	virtq_slot_take(q, id, ring_count, writable, token); /* ring descriptors run out before ids do */
	return 0;
}

/* Length, id and flags in one store. */
static inline void write_entry(struct pvirtq_desc *entry, dma_addr_t addr, uint64_t rest)
{
	entry->addr = cpu_to_le64(addr);
	entry->rest = cpu_to_le64(rest);
}

/* "Indirect Descriptors": no flag but WRITE inside. */
void packed_lay_out(struct virtq_ring *q, uint16_t id, const struct virtq_buf *data, unsigned nreadable, unsigned count)
{
	const uint64_t write = (uint64_t)VIRTQ_DESC_F_WRITE << 48;
	const dma_addr_t frame = mmu_virt_to_phys(virtq_frame_of(q, id));
	struct pvirtq_desc *d = virtq_table(q, id);

	write_entry(d++, frame, q->head);
	for (unsigned i = 0; i < count; i++)
		write_entry(d++, mmu_virt_to_phys(data[i].addr), data[i].len | (i < nreadable ? 0 : write));
	write_entry(d, frame + q->head, q->vq.tail | write);
	write_entry(&q->copies[id], virtq_table_addr(q, id),
	            (count + 2) * sizeof(*d) | (uint64_t)id << 32 | (uint64_t)VIRTQ_DESC_F_INDIRECT << 48);
}

/* As write_head(): of the first of a batch all but the flags. */
static inline size_t hold_first(struct virtq_ring *q, size_t id)
{
	struct pvirtq_desc *desc = &q->packed.desc[q->packed.next_avail];
	const struct pvirtq_desc *framed = &q->copies[id];

	desc->addr = framed->addr;
	desc->len = framed->len;
	desc->id = framed->id;
	q->packed.held_head = (uint16_t)q->packed.next_avail;
	q->packed.held_flags = VIRTQ_DESC_F_INDIRECT | q->packed.avail_bits;
	advance(q);
	return q->vq.slots[id].next;
}

/* Apart: one request at a time is worth a short way. */
[[gnu::noinline]] static void enter_others(struct virtq_ring *q, size_t id, unsigned count)
{
	for (; count; count--) {
		struct pvirtq_desc *desc = &q->packed.desc[q->packed.next_avail];

		desc->addr = q->copies[id].addr;
		desc->rest = q->copies[id].rest | cpu_to_le64((uint64_t)q->packed.avail_bits << 48);
		advance(q);
		id = q->vq.slots[id].next;
	}
}

void packed_enter(struct virtq_ring *q)
{
	const bool first = !q->added;
	size_t id = q->vq.first_staged;

	if (first)
		id = hold_first(q, id);
	if (q->vq.staged > first)
		enter_others(q, id, q->vq.staged - first);
	q->added = (uint16_t)(q->added + q->vq.staged);
	q->vq.staged = 0;
	q->vq.first_staged = q->vq.free_head;
}

/* What virtq_add_again() writes, but for the flags. */
static void keep(const struct virtq_ring *q, const struct virtq_buf bufs[], unsigned count)
{
	size_t id = q->vq.free_head;

	for (unsigned i = 0; i < count; i++, id = q->vq.slots[id].next)
		q->copies[id] = (struct pvirtq_desc){.addr = cpu_to_le64(mmu_virt_to_phys(bufs[i].addr)),
		                                     .len = cpu_to_le32(bufs[i].len),
		                                     .id = cpu_to_le16((uint16_t)id)};
}

void packed_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable)
{
	const unsigned size = q->vq.size, write = writable ? VIRTQ_DESC_F_WRITE : 0;
	const uint32_t all_or_none = writable ? UINT32_MAX : 0;
	struct virtq_slot *slots = q->vq.slots;
	struct pvirtq_desc *ring = q->packed.desc;
	uint64_t flags;
	size_t at, slot, i = 0;

	if (writable && q->in_turn)
		keep(q, bufs, count);
	if (count && !q->added) { /* its flags wait for the kick */
		(void)packed_add(q, bufs, !writable, 1, bufs->len & all_or_none, tokens[0]);
		i = 1;
	}
	at = q->packed.next_avail;
	slot = q->vq.free_head;
	flags = (uint64_t)(write | q->packed.avail_bits) << 48;
	q->vq.free_count = (uint16_t)(q->vq.free_count - (count - i));
	q->added = (uint16_t)(q->added + (count - i));
	for (; i < count; i++) {
		struct virtq_slot *s = &slots[slot];
		uint32_t len = bufs[i].len;
		le64 rest = cpu_to_le64(len | (uint64_t)slot << 32 | flags); /* len, id and flags in one store */

		ring[at].addr = cpu_to_le64(mmu_virt_to_phys(bufs[i].addr));
		memcpy(&ring[at].len, &rest, sizeof(rest));
		s->token = tokens[i];
		s->writable = len & all_or_none;
		slot = s->next;
		if (unlikely(++at == size)) {
			at = 0;
			q->packed.avail_bits ^= PACKED_BOTH;
			flags ^= (uint64_t)PACKED_BOTH << 48;
		}
	}
	q->packed.next_avail = (uint16_t)at;
	q->vq.free_head = (uint16_t)slot;
}

bool packed_publish(struct virtq_ring *q)
{
	uint16_t new = (uint16_t)q->packed.next_avail, added = q->added;
	uint16_t flags, off;
	uint32_t event;

	/* "Updating flags": all descriptors of the batch before the flags of its first, which let the device in. */
	virtq_wmb(q);
	WRITE_ONCE(q->packed.desc[q->packed.held_head].flags, cpu_to_le16(q->packed.held_flags));
	q->added = 0;

	/* "Sending Available Buffer Notifications": the flags before the load of the device's wish, as in the split ring. */
	virtq_mb(q);
	event = le32_to_cpu(READ_ONCE(q->packed.device->both));
	flags = event >> 16 & 3;
	if (flags != EVENT_DESC || !virtq_has(q, VIRTIO_F_EVENT_IDX))
		return flags != EVENT_DISABLE;

	/* In the frame of the current wrap: what lies in the wrap before is `size` further back. */
	off = event & 0x7fff;
	if ((event >> 15 & 1) != packed_avail_wrap(q))
		off = (uint16_t)(off - q->vq.size);
	return virtq_need_event(off, new, (uint16_t)(new - added));
}

/* Ring descriptors that the device may use. */
static unsigned available(const struct virtq_ring *q) { return (unsigned)q->vq.size - q->vq.free_count - q->added; }

static bool is_used(const struct virtq_ring *q, uint16_t flags) { return (flags & PACKED_BOTH) == q->packed.used_bits; }

static bool more_used(const struct virtq_ring *q)
{
	return is_used(q, le16_to_cpu(READ_ONCE(q->packed.desc[q->packed.last_used].flags)));
}

static void *take(struct virtq_ring *q, uint32_t id, uint32_t written, uint32_t *len)
{
	uint16_t count = q->vq.slots[id].count; /* the caller has checked id */
	void *token = virtq_complete(q, id, written, len);

	q->packed.last_used = (uint16_t)(q->packed.last_used + count);
	if (q->packed.last_used >= q->vq.size) {
		q->packed.last_used = (uint16_t)(q->packed.last_used - q->vq.size);
		q->packed.used_bits ^= PACKED_BOTH;
	}
	return token;
}

/* IN_ORDER ("Packed Virtqueues / In-order use of descriptors"): all requests up to the batch's last; those before it were used in full. */
static void *take_in_order(struct virtq_ring *q, uint32_t *len)
{
	uint16_t slot = q->oldest;

	if (unlikely(!available(q)))
		return virtq_break(q, "a batch goes beyond what is available");
	q->oldest = (uint16_t)(slot + 1u == q->vq.size ? 0 : slot + 1);
	if (slot != q->batch_last)
		return take(q, slot, q->vq.slots[slot].writable, len);
	q->in_batch = false;
	return take(q, slot, q->batch_len, len);
}

void *packed_harvest(struct virtq_ring *q, uint32_t *len)
{
	const struct pvirtq_desc *desc = &q->packed.desc[q->packed.last_used];
	uint16_t flags, id;
	uint32_t written;

	if (unlikely(q->in_batch))
		return take_in_order(q, len);
	flags = le16_to_cpu(READ_ONCE(desc->flags));
	if (!is_used(q, flags))
		return NULL;
	if (unlikely(!available(q)))
		return virtq_break(q, "descriptor %u is used with nothing in flight", q->packed.last_used);

	/* The flags before the rest of the descriptor, and before the data that the device wrote. */
	virtq_rmb(q);
	id = le16_to_cpu(READ_ONCE(desc->id));
	written = le32_to_cpu(READ_ONCE(desc->len));
	if (unlikely(id >= q->vq.size || !q->vq.slots[id].token))
		return virtq_break(q, "used id %u is not in flight", id);
	/* "Write Flag", "Element Address and Length": without WRITE the length is reserved, to be ignored. But QEMU never sets WRITE, whatever
	 * it wrote, so a length that can be one is taken for one, as all drivers do. */
	if (!(flags & VIRTQ_DESC_F_WRITE) && written > q->vq.slots[id].writable)
		written = 0;
	if (likely(!virtq_has(q, VIRTIO_F_IN_ORDER)))
		return take(q, id, written, len);
	q->batch_last = id;
	q->batch_len = written;
	q->in_batch = true;
	return take_in_order(q, len);
}

[[gnu::always_inline]] static inline unsigned harvest_plain(struct virtq_ring *q, const struct virtq_harvest_to to,
                                                            unsigned count)
{
	const uint32_t mine = available(q);
	const struct pvirtq_desc *ring = q->packed.desc;
	uint32_t head = q->vq.free_head, i;
	size_t at = q->packed.last_used;

	if (unlikely(!mine)) {
		if (more_used(q))
			virtq_break(q, "descriptor %u is used with nothing in flight", q->packed.last_used);
		return 0;
	}
	count = MIN(count, mine);
	for (i = 0; i < count; i++) {
		const uint16_t flags = le16_to_cpu(READ_ONCE(ring[at].flags));
		struct virtq_slot *s;
		uint32_t id, len;

		if (!is_used(q, flags))
			break;
		/* The flags before the rest of the descriptor, and before the data that the device wrote. */
		virt_rmb();
		id = le16_to_cpu(READ_ONCE(ring[at].id));
		len = le32_to_cpu(READ_ONCE(ring[at].len));
		s = &q->vq.slots[id];
		if (unlikely(id >= q->vq.size || !s->token || len > s->writable)) {
			/* As in packed_harvest(): without WRITE the length is no length. */
			int64_t checked = virtq_check_used(q, id, flags & VIRTQ_DESC_F_WRITE ? len : 0);

			if (checked < 0)
				break;
			len = (uint32_t)checked;
		}
		virtq_take(q, to, i, id, s, len, &head);
		if (unlikely(++at == q->vq.size)) {
			at = 0;
			q->packed.used_bits ^= PACKED_BOTH;
		}
	}
	q->vq.free_head = q->vq.first_staged = head;
	q->vq.free_count = (uint16_t)(q->vq.free_count + i);
	q->packed.last_used = (uint32_t)at;
	q->vq.harvested += i;
	return i;
}

/* Apart: that there is nothing is found out often, and cheaply. */
[[gnu::noinline]] static unsigned harvest_out_of_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	return harvest_plain(q, (struct virtq_harvest_to){.tokens = tokens, .lens = lens}, count);
}

unsigned packed_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	if (likely(q->in_turn && available(q))) { /* with nothing in flight nothing may be used: the other way looks */
		unsigned done;

		if (!more_used(q))
			return 0;
		done = packed_harvest_in_turn(q, tokens, lens, MIN(count, available(q)));
		if (likely(done))
			return done;
		virtq_leave_turn(q);
	}
	return harvest_out_of_turn(q, tokens, lens, count);
}

unsigned packed_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count)
{
	if (unlikely(q->vq.staged))
		packed_enter(q); /* the list of free slots is about to change */
	return harvest_plain(q, (struct virtq_harvest_to){.used = used}, count);
}

bool packed_irq_enable(struct virtq_ring *q, uint16_t count)
{
	if (virtq_has(q, VIRTIO_F_EVENT_IDX)) {
		/* A descriptor that was made available; in a later wrap, where the ring's end lies between. */
		uint32_t off = q->packed.last_used + count - 1;
		bool wrap = q->packed.used_bits;

		if (unlikely(off >= q->vq.size)) {
			off -= q->vq.size;
			wrap = !wrap;
		}
		/* Where, and that it counts, in one store. */
		WRITE_ONCE(q->packed.driver->both, cpu_to_le32(off | (uint32_t)wrap << 15 | (uint32_t)EVENT_DESC << 16));
	} else {
		WRITE_ONCE(q->packed.driver->flags, cpu_to_le16(EVENT_ENABLE));
	}

	/* The wish before the last look, against a device that used a descriptor before it saw the wish. */
	virtq_mb(q);
	return q->in_batch || more_used(q);
}

void packed_irq_disable(struct virtq_ring *q) { WRITE_ONCE(q->packed.driver->flags, cpu_to_le16(EVENT_DISABLE)); }
