/*
 * What has come for a socket: a ring of VSOCK_RING_BYTES. For messages, two bitmaps behind it have a bit for each byte: a message ends with
 * it, a record ends with it. So however short messages are, they take no more than the peer has credit for.
 */
#include <string.h>

#include "vsock_impl.h"

enum { MESSAGE, RECORD };

size_t vsock_ring_bytes(const struct vsock_socket *s)
{
	return VSOCK_RING_BYTES + (s->socket.type == SOCKET_SEQPACKET ? 2 * VSOCK_RING_BYTES / 8 : 0);
}

static uint8_t *mark_byte(const struct vsock_socket *s, unsigned which, uint32_t at)
{
	return s->ring + VSOCK_RING_BYTES + which * VSOCK_RING_BYTES / 8 + at % VSOCK_RING_BYTES / 8;
}

static void set_mark(struct vsock_socket *s, unsigned which, uint32_t at, bool on)
{
	uint8_t *byte = mark_byte(s, which, at);

	*byte = (uint8_t)((*byte & ~(1u << at % 8)) | (unsigned)on << at % 8);
}

static bool mark(const struct vsock_socket *s, unsigned which, uint32_t at) { return *mark_byte(s, which, at) >> at % 8 & 1; }

bool vsock_ring_put(struct vsock_socket *s, const uint8_t *data, uint32_t length, uint32_t flags)
{
	bool messages = s->socket.type == SOCKET_SEQPACKET;
	uint32_t first = MIN(length, VSOCK_RING_BYTES - s->received % VSOCK_RING_BYTES);

	if (length > VSOCK_RING_BYTES - (s->received - s->forwarded))
		return false;
	memcpy(s->ring + s->received % VSOCK_RING_BYTES, data, first);
	memcpy(s->ring, data + first, length - first);
	for (uint32_t i = 0; messages && i < length; i++) {
		set_mark(s, MESSAGE, s->received + i, false);
		set_mark(s, RECORD, s->received + i, false);
	}
	s->received += length;
	/* A message of no bytes at all is none. */
	if (messages && flags & VSOCK_SEQ_EOM && s->received != s->forwarded && !mark(s, MESSAGE, s->received - 1)) {
		set_mark(s, MESSAGE, s->received - 1, true);
		set_mark(s, RECORD, s->received - 1, flags & VSOCK_SEQ_EOR);
		s->messages++;
	}
	return !messages || s->messages || s->received - s->forwarded < VSOCK_RING_BYTES;
}

uint32_t vsock_ring_next(const struct vsock_socket *s)
{
	uint32_t at = s->forwarded;

	if (s->socket.type != SOCKET_SEQPACKET)
		return s->received - s->forwarded;
	if (!s->messages)
		return 0;
	while (!mark(s, MESSAGE, at))
		at++;
	return at + 1 - s->forwarded;
}

void vsock_ring_get(struct vsock_socket *s, void *memory, uint32_t bytes)
{
	uint32_t first = MIN(bytes, VSOCK_RING_BYTES - s->forwarded % VSOCK_RING_BYTES);

	memcpy(memory, s->ring + s->forwarded % VSOCK_RING_BYTES, first);
	memcpy((char *)memory + first, s->ring, bytes - first);
	s->forwarded += bytes;
	if (s->socket.type == SOCKET_SEQPACKET) {
		s->messages--;
		s->socket.record_ended = mark(s, RECORD, s->forwarded - 1);
	}
}
