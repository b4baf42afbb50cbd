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
	q->packed.driver = (void *)((char *)q->memory + q->setup.driver_area);
	q->packed.device = (void *)((char *)q->memory + q->setup.device_area);
	q->packed.next_avail = q->packed.last_used = 0;
	q->packed.avail_wrap = q->packed.used_wrap = true;
}

static unsigned list_flags(uint16_t i, uint16_t nreadable, uint16_t count)
{
	return (i < nreadable ? 0u : VIRTQ_DESC_F_WRITE) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0u);
}

/* Write one ring descriptor and move on. The flags, which make it available, are returned; the head's are left to the caller. */
static uint16_t write_next(struct virtq_ring *q, dma_addr_t addr, uint32_t len, uint16_t id, unsigned flags, bool head)
{
	struct pvirtq_desc *desc = &q->packed.desc[q->packed.next_avail];

	flags |= packed_avail_bits(q->packed.avail_wrap);
	desc->addr = cpu_to_le64(addr);
	desc->len = cpu_to_le32(len);
	desc->id = cpu_to_le16(id);
	if (!head)
		WRITE_ONCE(desc->flags, cpu_to_le16((uint16_t)flags));
	if (++q->packed.next_avail == q->vq.size) {
		q->packed.next_avail = 0;
		q->packed.avail_wrap = !q->packed.avail_wrap;
	}
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
	bool indirect = count > 1 && q->tables, first = !q->added;
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

static inline void write_entry(struct pvirtq_desc *entry, dma_addr_t addr, uint32_t len, unsigned flags)
{
	le64 rest = cpu_to_le64(len | (uint64_t)flags << 48);

	entry->addr = cpu_to_le64(addr);
	memcpy(&entry->len, &rest, sizeof(rest));
}

/* All of a slot's table; false: too long. "Indirect Descriptors": no flag but WRITE inside. */
static bool lay_out(struct virtq_ring *q, uint16_t id, const struct virtq_buf *data, unsigned nreadable, unsigned count,
                    uint64_t *writable)
{
	const dma_addr_t frame = mmu_virt_to_phys(virtq_frame_of(q, id));
	struct pvirtq_desc *d = virtq_table(q, id);
	uint64_t bytes = q->head + q->tail;

	*writable = q->tail;
	write_entry(d++, frame, q->head, 0);
	for (unsigned i = 0; i < count; i++) {
		bytes += data[i].len;
		*writable += i < nreadable ? 0 : data[i].len;
		write_entry(d++, mmu_virt_to_phys(data[i].addr), data[i].len, i < nreadable ? 0 : VIRTQ_DESC_F_WRITE);
	}
	write_entry(d, frame + q->head, q->tail, VIRTQ_DESC_F_WRITE);
	q->vq.shapes[id] = (uint8_t)(count + 1);
	return bytes <= UINT32_MAX;
}

/* "Scatter-Gather Support", as write_head(), of a table that is a request. */
static inline void add_table(struct virtq_ring *q, size_t id, unsigned count)
{
	const uint32_t at = q->packed.next_avail;
	const uint64_t flags = VIRTQ_DESC_F_INDIRECT | packed_avail_bits(q->packed.avail_wrap);
	const uint64_t rest = count * sizeof(struct pvirtq_desc) | (uint64_t)id << 32 | flags << 48;
	struct pvirtq_desc *desc = &q->packed.desc[at];

	desc->addr = cpu_to_le64(virtq_table_addr(q, id));
	if (likely(q->added)) {
		le64 wire = cpu_to_le64(rest);

		memcpy(&desc->len, &wire, sizeof(wire));
	} else {
		desc->len = cpu_to_le32((uint32_t)rest);
		desc->id = cpu_to_le16((uint16_t)id);
		q->packed.held_head = (uint16_t)at;
		q->packed.held_flags = (uint16_t)flags;
	}
	q->added++;
	q->packed.next_avail = at + 1;
	if (unlikely(at + 1 == q->vq.size)) {
		q->packed.next_avail = 0;
		q->packed.avail_wrap = !q->packed.avail_wrap;
	}
}

int packed_add_framed(struct virtq_ring *q, const struct virtq_buf *data, unsigned nreadable, unsigned count, void *token)
{
	const uint16_t id = (uint16_t)q->vq.free_head;
	uint64_t writable;

	if (!lay_out(q, id, data, nreadable, count, &writable))
		return -EINVAL;
	add_table(q, id, count + 2);
	virtq_slot_take(q, id, 1, (uint32_t)writable, token);
	return 0;
}

int packed_add_frame_and_one(struct virtq *vq, const struct virtq_buf *data, bool writable, void *token)
{
	struct virtq_ring *q = virtq_ring_of(vq);
	const size_t id = q->vq.free_head;
	const uint32_t len = data->len;
	struct pvirtq_desc *table = virtq_table(q, id);
	struct virtq_slot *s = &q->slots[id];

	write_entry(&table[1], mmu_virt_to_phys(data->addr), len, writable ? VIRTQ_DESC_F_WRITE : 0);
	add_table(q, id, 3);
	s->token = token;
	s->writable = q->tail + (writable ? len : 0);
	q->vq.free_head = s->next;
	q->vq.free_count--;
	return 0;
}

void packed_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable)
{
	const unsigned size = q->vq.size, write = writable ? VIRTQ_DESC_F_WRITE : 0;
	const uint32_t all_or_none = writable ? UINT32_MAX : 0;
	struct virtq_slot *slots = q->slots;
	struct pvirtq_desc *ring = q->packed.desc;
	uint64_t flags;
	size_t at, slot, i = 0;

	if (likely(q->in_turn)) {
		packed_add_in_turn(q, tokens, bufs, count, writable);
		return;
	}
	if (count && !q->added) { /* its flags wait for the kick */
		(void)packed_add(q, bufs, !writable, 1, bufs->len & all_or_none, tokens[0]);
		i = 1;
	}
	at = q->packed.next_avail;
	slot = q->vq.free_head;
	flags = (uint64_t)(write | packed_avail_bits(q->packed.avail_wrap)) << 48;
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
			q->packed.avail_wrap = !q->packed.avail_wrap;
			flags ^= (uint64_t)(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) << 48;
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
	if (flags != EVENT_DESC || !q->event_idx)
		return flags != EVENT_DISABLE;

	/* In the frame of the current wrap: what lies in the wrap before is `size` further back. */
	off = event & 0x7fff;
	if ((bool)(event >> 15 & 1) != q->packed.avail_wrap)
		off = (uint16_t)(off - q->vq.size);
	return virtq_need_event(off, new, (uint16_t)(new - added));
}

/* Ring descriptors that the device may use. */
static unsigned available(const struct virtq_ring *q) { return (unsigned)q->vq.size - q->vq.free_count - q->added; }

static bool is_used(const struct virtq_ring *q, uint16_t flags)
{
	return !(flags & VIRTQ_DESC_F_AVAIL) == !q->packed.used_wrap && !(flags & VIRTQ_DESC_F_USED) == !q->packed.used_wrap;
}

static bool more_used(const struct virtq_ring *q)
{
	return is_used(q, le16_to_cpu(READ_ONCE(q->packed.desc[q->packed.last_used].flags)));
}

static void *take(struct virtq_ring *q, uint32_t id, uint32_t written, uint32_t *len)
{
	uint16_t count = q->slots[id].count; /* the caller has checked id */
	void *token = virtq_complete(q, id, written, len);

	q->packed.last_used = (uint16_t)(q->packed.last_used + count);
	if (q->packed.last_used >= q->vq.size) {
		q->packed.last_used = (uint16_t)(q->packed.last_used - q->vq.size);
		q->packed.used_wrap = !q->packed.used_wrap;
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
		return take(q, slot, q->slots[slot].writable, len);
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
	if (unlikely(id >= q->vq.size || !q->slots[id].token))
		return virtq_break(q, "used id %u is not in flight", id);
	/* "Write Flag", "Element Address and Length": without WRITE the length is reserved, to be ignored. But QEMU never sets WRITE, whatever
	 * it wrote, so a length that can be one is taken for one, as all drivers do. */
	if (!(flags & VIRTQ_DESC_F_WRITE) && written > q->slots[id].writable)
		written = 0;
	if (likely(!q->in_order))
		return take(q, id, written, len);
	q->batch_last = id;
	q->batch_len = written;
	q->in_batch = true;
	return take_in_order(q, len);
}

[[gnu::always_inline]] static inline unsigned harvest_plain(struct virtq_ring *q, struct virtq_harvest_to to, unsigned count)
{
	const unsigned size = q->vq.size, both = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
	const struct virtq_slot *slots = q->slots;
	const struct pvirtq_desc *ring = q->packed.desc;
	const unsigned mine = available(q);
	uint32_t head = q->vq.free_head;
	size_t at = q->packed.last_used, i;
	unsigned used_bits = q->packed.used_wrap ? both : 0;

	if (unlikely(!mine)) {
		if (more_used(q))
			virtq_break(q, "descriptor %u is used with nothing in flight", q->packed.last_used);
		return 0;
	}
	count = MIN(count, mine);
	for (i = 0; i < count; i++) {
		uint32_t flags = le16_to_cpu(READ_ONCE(ring[at].flags)), id, len;
		const struct virtq_slot *s;
		void *token;

		if ((flags & both) != used_bits)
			break;
		/* The flags before the rest of the descriptor, and before the data that the device wrote. */
		virt_rmb();
		id = le16_to_cpu(READ_ONCE(ring[at].id));
		len = le32_to_cpu(READ_ONCE(ring[at].len));
		s = &slots[id];
		if (unlikely(id >= size || !(token = s->token) || len > s->writable)) {
			/* As in packed_harvest(): without WRITE the length is no length. */
			int64_t checked = virtq_check_used(q, id, flags & VIRTQ_DESC_F_WRITE ? len : 0);

			if (checked < 0)
				break;
			token = s->token;
			len = (uint32_t)checked;
		}
		virtq_take(q, to, i, id, token, len, &head);
		if (unlikely(++at == size)) {
			at = 0;
			used_bits ^= both;
		}
	}
	q->vq.free_head = (uint16_t)head;
	q->vq.free_count = (uint16_t)(q->vq.free_count + i);
	q->packed.last_used = (uint16_t)at;
	q->packed.used_wrap = used_bits;
	q->vq.harvested += i;
	return (unsigned)i;
}

unsigned packed_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	for (unsigned look = 0; likely(q->in_turn && available(q)) && look < 2; look++) {
		const unsigned end = MIN(count, available(q));
		unsigned done = packed_harvest_in_turn(q, tokens, lens, end);

		/* What is used and was not taken came just now, which a second look shows, or came out of turn. */
		if (done || !more_used(q))
			return done;
		if (look)
			virtq_leave_turn(q);
	}
	return harvest_plain(q, (struct virtq_harvest_to){.tokens = tokens, .lens = lens}, count);
}

unsigned packed_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count)
{
	return harvest_plain(q, (struct virtq_harvest_to){.used = used}, count);
}

bool packed_irq_enable(struct virtq_ring *q, uint16_t count)
{
	if (q->event_idx) {
		/* A descriptor that was made available; in a later wrap, where the ring's end lies between. */
		uint16_t off = (uint16_t)(q->packed.last_used + count - 1);
		bool wrap = q->packed.used_wrap ^ (off >= q->vq.size);

		off = (uint16_t)(off - (off >= q->vq.size ? q->vq.size : 0));
		WRITE_ONCE(q->packed.driver->desc, cpu_to_le16((uint16_t)(off | wrap << 15)));
		virtq_wmb(q); /* where, before that it counts */
		WRITE_ONCE(q->packed.driver->flags, cpu_to_le16(EVENT_DESC));
	} else {
		WRITE_ONCE(q->packed.driver->flags, cpu_to_le16(EVENT_ENABLE));
	}

	/* The wish before the last look, against a device that used a descriptor before it saw the wish. */
	virtq_mb(q);
	return q->in_batch || more_used(q);
}

void packed_irq_disable(struct virtq_ring *q) { WRITE_ONCE(q->packed.driver->flags, cpu_to_le16(EVENT_DISABLE)); }
