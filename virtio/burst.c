/*
 * The faster ways in and out of a virtqueue: bursts of single buffers, and framed requests.
 *
 * The engines have loops for plain rings, where a request is one ring descriptor (of its own, or for a table) and nothing is mapped. All
 * other rings get the same by virtq_add() and virtq_harvest(), one at a time.
 */
#include <errno.h>
#include <string.h>

#include <virtio/burst.h>

unsigned virtq_span(struct virtq *vq, unsigned count, struct virtq_span *span)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (unlikely(!q->in_turn || vq->closed))
		return 0;
	count = MIN(count, vq->free_count);
	return vq->packed ? packed_span(q, count, span) : split_span(q, count, span);
}

void virtq_span_end(struct virtq *vq, unsigned count)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (vq->packed)
		packed_span_end(q, count);
	else
		split_span_end(q, count);
}

unsigned virtq_add_burst(struct virtq *vq, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable)
{
	struct virtq_ring *q = virtq_ring_of(vq);
	unsigned i = 0;

	if (likely(q->plain)) {
		if (unlikely(vq->closed))
			return 0;
		i = MIN(count, q->vq.free_count);
		if (vq->packed)
			packed_add_burst(q, tokens, bufs, i, writable);
		else
			split_add_burst(q, tokens, bufs, i, writable);
		return i;
	}
	while (i < count && !virtq_add(vq, &bufs[i], !writable, writable, tokens[i]))
		i++;
	return i;
}

unsigned virtq_add_again(struct virtq *vq, void *const tokens[], unsigned count)
{
	struct virtq_ring *q = virtq_ring_of(vq);
	unsigned done = 0, more;

	if (unlikely(!q->in_turn || vq->closed))
		return 0;
	count = MIN(count, vq->free_count);
	do {
		more = vq->packed ? packed_add_again(q, tokens + done, count - done)
		                  : split_add_again(q, tokens + done, count - done);
		done += more;
	} while (more && done < count);
	return done;
}

[[gnu::noinline]] static unsigned harvest_singly(struct virtq *vq, void *tokens[], uint32_t lens[], unsigned count)
{
	unsigned i = 0;

	for (uint32_t len; i < count && (tokens[i] = virtq_harvest(vq, &len)); i++)
		if (lens)
			lens[i] = len;
	return i;
}

unsigned virtq_harvest_burst(struct virtq *vq, void *tokens[], uint32_t lens[], unsigned count)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (unlikely(vq->broken || !count))
		return 0;
	if (unlikely(!q->plain))
		return harvest_singly(vq, tokens, lens, count);
	return vq->packed ? packed_harvest_burst(q, tokens, lens, count) : split_harvest_burst(q, tokens, lens, count);
}

void virtq_leave_turn(struct virtq_ring *q)
{
	q->in_turn = false;
	for (uint32_t i = 0, slot = q->vq.free_head; i < q->vq.free_count; i++, slot = q->vq.slots[slot].next)
		q->vq.slots[slot].token = NULL;
}

/* As one list of buffers. */
[[gnu::noinline]] static int add_frame_and_data(struct virtq_ring *q, const struct virtq_buf *data, uint16_t nreadable,
                                                uint16_t nwritable, void *token)
{
	struct virtq_buf bufs[FRAMED_BUFFERS_MAX];
	uint8_t *frame = virtq_frame_of(q, q->vq.free_head);
	unsigned count = (unsigned)nreadable + nwritable;

	bufs[0] = (struct virtq_buf){frame, q->head};
	if (count)
		memcpy(&bufs[1], data, count * sizeof(bufs[0]));
	bufs[1 + count] = (struct virtq_buf){frame + q->head, q->vq.tail};
	return virtq_add(&q->vq, bufs, (uint16_t)(nreadable + 1), (uint16_t)(nwritable + 1), token);
}

int virtq_add_framed(struct virtq *vq, const struct virtq_buf *data, uint16_t nreadable, uint16_t nwritable, void *token)
{
	struct virtq_ring *q = virtq_ring_of(vq);
	unsigned count = (unsigned)nreadable + nwritable;
	uint64_t readable = q->head, writable = vq->tail;

	if (unlikely(count + 2 > q->max_buffers || !token))
		return -EINVAL;
	if (unlikely(!q->plain))
		return add_frame_and_data(q, data, nreadable, nwritable, token);
	for (unsigned i = 0; i < count; i++)
		*(i < nreadable ? &readable : &writable) += data[i].len;
	if (unlikely(readable + writable > UINT32_MAX))
		return -EINVAL;
	if (vq->packed)
		packed_lay_out(q, (uint16_t)vq->free_head, data, nreadable, count);
	else
		split_lay_out(q, (uint16_t)vq->free_head, data, nreadable, count);
	vq->shapes[vq->free_head] = (uint8_t)(count + 1);
	virtq_stage(vq, (uint32_t)writable, token);
	return 0;
}

[[gnu::noinline]] static unsigned harvest_one_by_one(struct virtq_ring *q, struct virtq_used_request used[], unsigned count)
{
	uint32_t written;
	unsigned i = 0;

	for (; i < count && (used[i].token = virtq_harvest(&q->vq, &written)); i++) {
		used[i].frame = virtq_frame_of(q, q->last_done);
		used[i].missing = q->vq.slots[q->last_done].writable - written;
	}
	return i;
}

unsigned virtq_harvest_framed(struct virtq *vq, struct virtq_used_request used[], unsigned count)
{
	struct virtq_ring *q = virtq_ring_of(vq);

	if (unlikely(vq->broken))
		return 0;
	if (unlikely(!q->plain))
		return harvest_one_by_one(q, used, count);
	return vq->packed ? packed_harvest_framed(q, used, count) : split_harvest_framed(q, used, count);
}
