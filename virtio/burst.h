/*
 * The inside of bursts and framed requests: between burst.c and the engines. Plain rings only.
 */
#ifndef VIRTIO_BURST_H
#define VIRTIO_BURST_H

#include <string.h>

#include <virtio/virtq_impl.h>

static inline uint8_t *virtq_frame_of(const struct virtq_ring *q, size_t slot)
{
	return q->vq.frames + slot * q->vq.frame_stride;
}

static inline void split_write_desc(struct virtq_desc *desc, dma_addr_t addr, uint32_t len, unsigned flags, uint16_t next)
{
	le64 rest = cpu_to_le64(len | (uint64_t)flags << 32 | (uint64_t)next << 48); /* one store for the three fields */

	desc->addr = cpu_to_le64(addr);
	memcpy(&desc->len, &rest, sizeof(rest));
}

/* ---- the engines; `count` is at most what there is room for ---- */
void split_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned split_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
/* And with indirect tables: put what is staged into the ring; write a slot's whole table. */
void split_enter(struct virtq_ring *q);
void split_lay_out(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *data, unsigned nreadable, unsigned count);
unsigned split_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count);

void packed_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned packed_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
void packed_enter(struct virtq_ring *q);
void packed_lay_out(struct virtq_ring *q, uint16_t slot, const struct virtq_buf *data, unsigned nreadable, unsigned count);
unsigned packed_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count);

/* A request was used out of turn, or is about to be released so: from now on the free slots are a list, of which no slot has a token. */
[[gnu::cold]] void virtq_leave_turn(struct virtq_ring *q);

/* split_turn.c, packed_turn.c: in turn; no further than there was something used in turn, or to the ring's end, and of the others' `count` is
 * at most what is in flight. */
unsigned split_span(const struct virtq_ring *q, unsigned count, struct virtq_span *span);
void split_span_end(struct virtq_ring *q, unsigned count);
unsigned split_add_again(struct virtq_ring *q, void *const tokens[], unsigned count);
unsigned split_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
unsigned packed_span(struct virtq_ring *q, unsigned count, struct virtq_span *span);
void packed_span_end(struct virtq_ring *q, unsigned count);
unsigned packed_add_again(struct virtq_ring *q, void *const tokens[], unsigned count);
unsigned packed_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
/* What is staged becomes part of the ring, unpublished. */
static inline void virtq_enter(struct virtq_ring *q)
{
	if (!q->vq.staged)
		return;
	if (q->vq.packed)
		packed_enter(q);
	else
		split_enter(q);
}

/* Where bursts of both kinds leave what they harvested; `lens` may be NULL. */
struct virtq_harvest_to {
	void **tokens;
	uint32_t *lens;
	struct virtq_used_request *used; /* framed: instead of both */
};

/* Give back the slot of a plain ring's request, and its token. */
[[gnu::always_inline]] static inline void virtq_take(const struct virtq_ring *q, const struct virtq_harvest_to to, size_t i,
                                                     size_t id, struct virtq_slot *slot, uint32_t len, uint32_t *head)
{
	if (to.tokens) {
		to.tokens[i] = slot->token;
		if (to.lens)
			to.lens[i] = len;
	} else {
		to.used[i] = (struct virtq_used_request){slot->token, virtq_frame_of(q, id), slot->writable - len};
	}
	slot->token = NULL;
	slot->next = (uint16_t)*head;
	*head = (uint32_t)id;
}

#endif
