/*
 * The split virtqueue in turn: while each request is used in the order in which it was added, slot and entry of the available ring have the
 * place of the request (the entry says so since split_init()), and a burst is a walk along the ring.
 */
#include <virtio/burst.h>

unsigned split_span(const struct virtq_ring *q, unsigned count, struct virtq_span *span)
{
	const size_t at = q->split.avail_idx & (q->vq.size - 1u);

	*span = (struct virtq_span){.entry = (void *)&q->split.desc[at], .slot = &q->vq.slots[at]};
	return MIN(count, q->vq.size - (unsigned)at);
}

void split_span_end(struct virtq_ring *q, unsigned count)
{
	q->split.avail_idx = (uint16_t)(q->split.avail_idx + count);
	q->vq.free_head = q->split.avail_idx & (q->vq.size - 1u);
	q->vq.free_count = (uint16_t)(q->vq.free_count - count);
	q->added = (uint16_t)(q->added + count);
}

unsigned split_add_again(struct virtq_ring *q, void *const tokens[], unsigned count)
{
	const size_t at = q->split.avail_idx & (q->vq.size - 1u);
	const struct virtq_slot *slots = &q->vq.slots[at];
	size_t i = 0;

	count = MIN(count, q->vq.size - (unsigned)at); /* not past the ring's end */
#define AGAIN(i) (slots[i].token == tokens[i])
	while (i + 4 <= count && FOUR(AGAIN, i))
		i += 4;
	while (i < count && AGAIN(i))
		i++;
#undef AGAIN
	split_span_end(q, (unsigned)i);
	return (unsigned)i;
}

/* One request that was used in turn, and used right. */
[[gnu::always_inline]] static inline bool used_in_turn(const struct virtq_used_elem *elem, const struct virtq_slot *slot,
                                                       size_t id, void **token, uint32_t *len, bool measured)
{
	if (unlikely(elem->id != cpu_to_le32((uint32_t)id))) /* read for this only */
		return false;
	if (measured) {
		uint32_t written = le32_to_cpu(READ_ONCE(elem->len));

		if (unlikely(written > slot->writable))
			return false;
		*len = written;
	}
	*token = slot->token;
	return true;
}

/* As many of the next `count` as there are of those: four at a time, then one by one. So many are in flight at least. */
[[gnu::always_inline]] static inline unsigned harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[],
                                                              unsigned count, const bool measured)
{
	const size_t first = q->split.last_used & (q->vq.size - 1u);
	const struct virtq_used_elem *elems = &q->split.used->ring[first];
	const struct virtq_slot *slots = &q->vq.slots[first];
	size_t i = 0;

#define USED(i) used_in_turn(&elems[i], &slots[i], first + (i), &tokens[i], measured ? &lens[i] : NULL, measured)
	while (i + 4 <= count && FOUR(USED, i))
		i += 4;
	while (i < count && USED(i))
		i++;
#undef USED
	q->vq.free_count = (uint16_t)(q->vq.free_count + i);
	q->split.last_used = (uint16_t)(q->split.last_used + i);
	q->vq.harvested += i;
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

unsigned split_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count)
{
	return lens ? harvest_measured(q, tokens, lens, count) : harvest_unmeasured(q, tokens, count);
}
