/*
 * The packed virtqueue in turn: while each request is used in the order in which it was added, its id is its place in the ring, and a burst is
 * a walk along the ring.
 */
#include <virtio/burst.h>

/* `run` more are available, up to the ring's end at most. */
void packed_span_end(struct virtq_ring *q, unsigned run)
{
	q->packed.next_avail += run;
	if (q->packed.next_avail == q->vq.size) {
		q->packed.next_avail = 0;
		q->packed.avail_bits ^= PACKED_BOTH;
	}
	q->vq.free_head = q->packed.next_avail;
	q->vq.free_count = (uint16_t)(q->vq.free_count - run);
	q->added = (uint16_t)(q->added + run);
}

/* The flags of the first request, and of the others. Of a batch's first they are held back, and it gets those that it had when it was used. */
struct turn_flags {
	uint32_t first, others;
};

static inline struct turn_flags flags_in_turn(struct virtq_ring *q, bool writable)
{
	const uint32_t flags = q->packed.avail_bits | (writable ? VIRTQ_DESC_F_WRITE : 0);

	if (q->added)
		return (struct turn_flags){flags, flags};
	q->packed.held_head = (uint16_t)q->packed.next_avail;
	q->packed.held_flags = (uint16_t)flags;
	return (struct turn_flags){packed_avail_wrap(q) ? 0 : PACKED_BOTH, flags};
}

unsigned packed_span(struct virtq_ring *q, unsigned count, struct virtq_span *span)
{
	const size_t at = q->packed.next_avail;
	const struct turn_flags flags = flags_in_turn(q, false);

	span->entry = (void *)&q->packed.desc[at];
	span->slot = &q->vq.slots[at];
	span->bits = (uint64_t)at << 32 | (uint64_t)flags.first << 48;
	span->next = (uint64_t)(at + 1) << 32 | (uint64_t)flags.others << 48;
	return MIN(count, q->vq.size - (unsigned)at);
}

static inline bool add_one_again(struct pvirtq_desc *desc, const struct virtq_slot *slot, const struct pvirtq_desc *copy,
                                 const void *token, uint64_t flags)
{
	if (unlikely(slot->token != token))
		return false;
	desc->addr = copy->addr;
	WRITE_ONCE(desc->rest, copy->rest | cpu_to_le64(flags));
	return true;
}

/* What the device used has an id, a length and flags of the device's, and who knows which address. */
unsigned packed_add_again(struct virtq_ring *q, void *const tokens[], unsigned count)
{
	const size_t at = q->packed.next_avail;
	const struct turn_flags flags = flags_in_turn(q, true);
	struct pvirtq_desc *desc = &q->packed.desc[at];
	const struct pvirtq_desc *copies = &q->copies[at];
	const struct virtq_slot *slot = &q->vq.slots[at];
	const uint64_t others = (uint64_t)flags.others << 48;
	uint64_t next = (uint64_t)flags.first << 48;
	size_t i = 0;

	count = MIN(count, q->vq.size - (unsigned)at); /* not past the ring's end */
#define AGAIN(j) add_one_again(&desc[j], &slot[j], &copies[j], tokens[j], (j) == i ? next : others)
	for (; i + 4 <= count && FOUR(AGAIN, i); i += 4)
		next = others;
	for (; i < count && AGAIN(i); i++)
		next = others;
#undef AGAIN
	packed_span_end(q, (unsigned)i);
	return (unsigned)i;
}

/* One request that was used in turn, and used right. `used` is its id and the flags, in a descriptor's upper half. */
static inline bool used_in_turn(const struct pvirtq_desc *desc, const struct virtq_slot *slot, uint32_t used, void **token)
{
	const uint32_t mask = PACKED_BOTH << 16 | UINT16_MAX;

	if ((le32_to_cpu(READ_ONCE(desc->halves[1])) & mask) != used)
		return false;
	*token = slot->token;
	return true;
}

/* The same with its length. */
static inline bool used_in_turn_measured(const struct pvirtq_desc *desc, const struct virtq_slot *slot, uint64_t used,
                                         void **token, uint32_t *len)
{
	const uint64_t mask = (uint64_t)PACKED_BOTH << 48 | UINT64_C(0xffffffffffff);
	/* All in one access: who sees the flags sees what was written before them. With another id or other flags it is no length. */
	const uint64_t written = (le64_to_cpu(READ_ONCE(desc->rest)) & mask) - used;

	if (unlikely(written > slot->writable))
		return false;
	*len = (uint32_t)written;
	*token = slot->token;
	return true;
}

/* As many of the next `count` as there are of those: four at a time, then one by one. So many are in flight at least. */
[[gnu::always_inline]] static inline unsigned harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[],
                                                              unsigned count, const bool measured)
{
	const size_t first = q->packed.last_used;
	const struct pvirtq_desc *ring = &q->packed.desc[first];
	const struct virtq_slot *slots = &q->vq.slots[first];
	const uint32_t flags = (uint32_t)q->packed.used_bits << 16;
	uint64_t used = (uint64_t)((uint32_t)first | flags) << 32;
	size_t i = 0;

	count = MIN(count, q->vq.size - (unsigned)first); /* not past the ring's end */
#define USED(j)                                                                                                                  \
	(measured ? used_in_turn_measured(&ring[j], &slots[j], used + ((uint64_t)((j)-i) << 32), &tokens[j], &lens[j])           \
	          : used_in_turn(&ring[j], &slots[j], ((uint32_t)first | flags) + (uint32_t)(j), &tokens[j]))
	for (; i + 4 <= count && FOUR(USED, i); i += 4)
		used += UINT64_C(4) << 32;
	for (; i < count && USED(i); i++)
		used += UINT64_C(1) << 32;
#undef USED
	/* The flags before the data that the device wrote. */
	virt_rmb();
	q->vq.free_count = (uint16_t)(q->vq.free_count + i);
	q->vq.harvested += i;
	q->packed.last_used = (uint32_t)(first + i);
	if (q->packed.last_used == q->vq.size) {
		q->packed.last_used = 0;
		q->packed.used_bits ^= PACKED_BOTH;
	}
	return (unsigned)i;
}

/* Apart from each other and from the rest: each has the registers for itself. */
[[gnu::noinline]] static unsigned harvest_measured(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	return harvest_in_turn(q, tokens, lens, count, true);
}

[[gnu::noinline]] static unsigned harvest_unmeasured(struct virtq_ring *q, void *tokens[], unsigned count)
{
	return harvest_in_turn(q, tokens, NULL, count, false);
}

unsigned packed_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	return lens ? harvest_measured(q, tokens, lens, count) : harvest_unmeasured(q, tokens, count);
}
