/*
 * Calls: a message and an answer in memory of the driver's, and data from where it is to where it shall go, in pieces that any DMA backend
 * maps.
 */
#include <virtio/call.h>

#include <errno.h>
#include <string.h>

struct virtio_call *virtio_call_take(struct virtio_calls *calls)
{
	for (unsigned i = 0; i < VIRTIO_CALLS; i++) {
		struct virtio_call *call = &calls->calls[i];

		if (call->taken)
			continue;
		call->taken = true;
		call->length = 0;
		return call;
	}
	return NULL;
}

void virtio_call_put(struct virtio_call *call, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		call->message[call->length++] = (uint8_t)(value >> 8 * i);
}

void virtio_call_put_text(struct virtio_call *call, const char *text, size_t length)
{
	memcpy(call->message + call->length, text, length);
	call->length += (uint32_t)length;
}

uint64_t virtio_call_get(const uint8_t *bytes, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

static uint16_t add(struct virtq_buf *bufs, void *memory, uint32_t bytes)
{
	uint16_t count = 0;

	for (uint32_t at = 0; at < bytes; at += DMA_PIECE_MAX)
		bufs[count++] = (struct virtq_buf){(uint8_t *)memory + at, MIN(bytes - at, DMA_PIECE_MAX)};
	return count;
}

int virtio_call(struct virtio_requestq *queue, struct virtio_call *call, const void *out, uint32_t out_bytes,
                uint32_t answer_length, void *in, uint32_t in_bytes, uint64_t timeout_ns)
{
	struct virtio_request *request = &call->request;

	memset(call->answer, 0, sizeof(call->answer));
	*request = (struct virtio_request){.bufs = call->bufs};
	request->nreadable = add(call->bufs, call->message, call->length);
	request->nreadable = (uint16_t)(request->nreadable +
	                                add(call->bufs + request->nreadable, (void *)(uintptr_t)out, out_bytes));
	request->nwritable = add(call->bufs + request->nreadable, call->answer, answer_length);
	request->nwritable = (uint16_t)(request->nwritable +
	                                add(call->bufs + request->nreadable + request->nwritable, in, in_bytes));
	return virtio_request_call(queue, request, timeout_ns);
}
