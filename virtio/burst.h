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

/* Where bursts of both kinds leave what they harvested; one of the two. */
struct virtq_harvest_to {
	void **tokens;
	uint32_t *lens;
	struct virtq_used_request *used;
};

/* Give back the slot of a plain ring's request, and its token. */
static inline void virtq_take(struct virtq_ring *q, struct virtq_harvest_to to, size_t i, uint32_t id, void *token, uint32_t len,
                              uint32_t *head)
{
	struct virtq_slot *s = &q->slots[id];

	if (to.used) {
		to.used[i] = (struct virtq_used_request){token, virtq_frame_of(q, id), s->writable - len};
	} else {
		to.tokens[i] = token;
		if (to.lens)
			to.lens[i] = len;
	}
	s->token = NULL;
	s->next = (uint16_t)*head;
	*head = id;
}

static inline void split_write_desc(struct virtq_desc *desc, dma_addr_t addr, uint32_t len, unsigned flags, uint16_t next)
{
	le64 rest = cpu_to_le64(len | (uint64_t)flags << 32 | (uint64_t)next << 48); /* one store for the three fields */

	desc->addr = cpu_to_le64(addr);
	memcpy(&desc->len, &rest, sizeof(rest));
}

static inline unsigned packed_avail_bits(bool wrap) { return wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED; }

/* ---- the engines; `count` is at most what there is room for ---- */
void split_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned split_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
/* And with indirect tables. */
int split_add_framed(struct virtq_ring *q, const struct virtq_buf *data, unsigned nreadable, unsigned count, void *token);
unsigned split_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count);

void packed_add_burst(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned packed_harvest_burst(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
int packed_add_framed(struct virtq_ring *q, const struct virtq_buf *data, unsigned nreadable, unsigned count, void *token);
unsigned packed_harvest_framed(struct virtq_ring *q, struct virtq_used_request used[], unsigned count);

/* A request was used out of turn, or is about to be released so: from now on the free slots are a list, of which no slot has a token. */
[[gnu::cold]] void virtq_leave_turn(struct virtq_ring *q);

/* split_turn.c, packed_turn.c: in turn; no further than there was something used in turn, or to the ring's end, and of the others' `count` is
 * at most what is in flight. */
void split_add_in_turn(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned split_add_again(struct virtq_ring *q, void *const tokens[], unsigned count);
unsigned split_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);
void packed_add_in_turn(struct virtq_ring *q, void *const tokens[], const struct virtq_buf bufs[], unsigned count, bool writable);
unsigned packed_add_again(struct virtq_ring *q, void *const tokens[], unsigned count);
unsigned packed_harvest_in_turn(struct virtq_ring *q, void *tokens[], uint32_t lens[], unsigned count);

#endif
