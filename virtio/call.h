/*
 * Calls: for drivers whose classes wait. A call has room for a message and its answer, and takes the data beside them where the caller has it.
 */
#ifndef VIRTIO_CALL_H
#define VIRTIO_CALL_H

#include <virtio/request.h>

#define VIRTIO_CALLS 8u
#define VIRTIO_CALL_PIECES 8u
#define VIRTIO_CALL_DATA (VIRTIO_CALL_PIECES * DMA_PIECE_MAX) /* bytes beside message or answer, at most */
#define VIRTIO_CALL_BUFFERS (VIRTIO_CALL_PIECES + 2)          /* for virtio_requestq_spec() */

struct virtio_call {
	struct virtio_request request;
	struct virtq_buf bufs[VIRTIO_CALL_BUFFERS];
	bool taken;
	uint32_t length; /* of the message so far */
	uint8_t message[1200], answer[1040];
};

/* A number of so many bytes, little-endian, behind the message; text. To no call: nothing. */
void virtio_call_put(struct virtio_call *call, uint64_t value, unsigned bytes);
void virtio_call_put_text(struct virtio_call *call, const char *text, size_t length);
uint64_t virtio_call_get(const uint8_t *bytes, unsigned count);

/* Driver memory from page_alloc(), zero at first. */
struct virtio_calls {
	struct virtio_call calls[VIRTIO_CALLS];
};

/* With an empty message; NULL: all are under way, and virtio_call() says so. */
struct virtio_call *virtio_call_take(struct virtio_calls *calls);
static inline void virtio_call_give(struct virtio_call *call) { call->taken = false; }

/* The message, then `out_bytes` at `out`, device-readable; `answer_length` bytes for the answer (0: none), then `in_bytes` at
 * `in`. Gives the request's status when it is over, see virtio_request_call(); -EBUSY: no call. The answer is zero where nothing was
 * written. A call that is out for ever (-ETIMEDOUT) stays taken, whatever virtio_call_give() says: do not give it. */
[[nodiscard]] int virtio_call(struct virtio_requestq *queue, struct virtio_call *call, const void *out, uint32_t out_bytes,
                              uint32_t answer_length, void *in, uint32_t in_bytes);

/* A call in memory of its own, and its whole answer; not in start(). -EIO, too, for an answer that is too short; `answer` is as it was
 * then. */
[[nodiscard]] int virtio_ask(struct virtio_requestq *queue, const void *question, uint32_t question_bytes, void *answer,
                             uint32_t answer_bytes);

#endif
