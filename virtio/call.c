/*
 * Calls: a message and an answer in memory of the driver's, and data from where it is to where it shall go, in pieces that any DMA backend
 * maps.
 */
#include <virtio/call.h>

#include <errno.h>
#include <string.h>

#include <base/page.h>

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
	for (unsigned i = 0; call && i < bytes; i++)
		call->message[call->length++] = (uint8_t)(value >> 8 * i);
}

void virtio_call_put_text(struct virtio_call *call, const char *text, size_t length)
{
	if (!call)
		return;
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
                uint32_t answer_length, void *in, uint32_t in_bytes)
{
	struct virtio_request *request = &call->request;

	if (!call)
		return -EBUSY;
	memset(call->answer, 0, sizeof(call->answer));
	*request = (struct virtio_request){.bufs = call->bufs};
	request->nreadable = add(call->bufs, call->message, call->length);
	request->nreadable = (uint16_t)(request->nreadable +
	                                add(call->bufs + request->nreadable, (void *)(uintptr_t)out, out_bytes));
	request->nwritable = add(call->bufs + request->nreadable, call->answer, answer_length);
	request->nwritable = (uint16_t)(request->nwritable +
	                                add(call->bufs + request->nreadable + request->nwritable, in, in_bytes));
	return virtio_request_call(queue, request, VIRTIO_ANSWER_NS);
}

int virtio_ask(struct virtio_requestq *queue, const void *question, uint32_t question_bytes, void *answer, uint32_t answer_bytes)
{
	size_t size = sizeof(struct virtio_call) + answer_bytes;
	struct virtio_call *call = page_alloc(size, PAGE_SIZE);
	int error;

	if (!call)
		return -ENOMEM;
	virtio_call_put_text(call, question, question_bytes);
	error = virtio_call(queue, call, NULL, 0, 0, call + 1, answer_bytes);
	if (error == -ETIMEDOUT)
		return error; /* the device may have it for ever */
	if (!error && call->request.written < answer_bytes)
		error = -EIO;
	if (!error)
		memcpy(answer, call + 1, answer_bytes);
	page_free(call, size);
	return error;
}
