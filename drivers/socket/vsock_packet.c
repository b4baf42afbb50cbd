/*
 * The packets of a "Socket Device": connections by (cid, port) on both sides and type, and their credit.
 *
 * A socket's `due` is made packets when there is room, with the credit as it is then. Packets that come change the socket that they are for;
 * what is for none is answered by a RST.
 */
#include <errno.h>

#include "vsock_impl.h"

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST };
#define BACKLOG 16u

/* In the order in which they go out */
static const uint16_t ops_due[] = {OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST, OP_SHUTDOWN, OP_RST};

/* ---- out ---- */

static struct virtio_vsock_hdr header_of(const struct vsock_socket *s, uint16_t op, uint32_t flags, uint32_t length)
{
	/* "Receive and Transmit": guest_cid MUST be the source; "Buffer Space Management": buf_alloc and fwd_cnt MUST be valid */
	return (struct virtio_vsock_hdr){.src_cid = cpu_to_le64(s->vsock->device.cid),
	                                 .dst_cid = cpu_to_le64(s->socket.peer_cid),
	                                 .src_port = cpu_to_le32(s->socket.port),
	                                 .dst_port = cpu_to_le32(s->socket.peer_port),
	                                 .len = cpu_to_le32(length),
	                                 .type = cpu_to_le16((uint16_t)s->socket.type),
	                                 .op = cpu_to_le16(op),
	                                 .flags = cpu_to_le32(flags),
	                                 .buf_alloc = cpu_to_le32(VSOCK_RING_BYTES),
	                                 .fwd_cnt = cpu_to_le32(s->forwarded)};
}

bool vsock_send_due_of(struct vsock_socket *s)
{
	while (s->due) {
		unsigned bit = (unsigned)__builtin_ctz(s->due);
		struct virtio_vsock_hdr header = header_of(s, ops_due[bit], ops_due[bit] == OP_SHUTDOWN ? s->shut : 0, 0);

		if (!vsock_transmit(s->vsock, &header, NULL, 0))
			return false;
		s->forwarded_told = s->forwarded;
		s->due &= (uint8_t) ~(1u << bit);
	}
	return true;
}

void vsock_send_due(struct vsock *vsock)
{
	while (vsock->stray_count) {
		if (!vsock_transmit(vsock, &vsock->strays[vsock->stray_first], NULL, 0))
			return;
		vsock->stray_first = (vsock->stray_first + 1) % VSOCK_STRAYS;
		vsock->stray_count--;
	}
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next)
		if (!vsock_send_due_of(s))
			return;
	vsock_reap(vsock);
}

void vsock_room(struct vsock *vsock)
{
	vsock_send_due(vsock);
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next)
		if (s->socket.state == SOCKET_CONNECTED)
			vsock_tell(s);
}

uint32_t vsock_credit(const struct vsock_socket *s)
{
	uint32_t on_their_side = s->sent - s->peer_forwarded;

	return on_their_side < s->peer_space ? s->peer_space - on_their_side : 0;
}

bool vsock_send(struct vsock_socket *s, uint32_t flags, const void *data, uint32_t bytes)
{
	struct virtio_vsock_hdr header = header_of(s, OP_RW, flags, bytes);

	if (!vsock_transmit(s->vsock, &header, data, bytes))
		return false;
	s->forwarded_told = s->forwarded;
	s->sent += bytes;
	return true;
}

void vsock_lost(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_socket *s = vsock_find(vsock, le16_to_cpu(header->type), le32_to_cpu(header->src_port),
	                                    le64_to_cpu(header->dst_cid), le32_to_cpu(header->dst_port));

	if (s)
		vsock_ended(s, -ECONNRESET, DUE_RST);
}

/* ---- in ---- */

/* False: it is against the rules. */
static bool take_data(struct vsock_socket *s, const uint8_t *data, uint32_t length, uint32_t flags)
{
	if (!s->socket.peer_sends)
		return false;
	return s->orphan || s->shut & SHUTDOWN_RECEIVE || vsock_ring_put(s, data, length, flags); /* or nobody wants it */
}

/* A reply to what reached no socket. */
static void stray(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct virtio_vsock_hdr *reply = &vsock->strays[(vsock->stray_first + vsock->stray_count) % VSOCK_STRAYS];

	if (le16_to_cpu(header->op) == OP_RST)
		return;
	*reply = (struct virtio_vsock_hdr){.src_cid = cpu_to_le64(vsock->device.cid),
	                                   .dst_cid = header->src_cid,
	                                   .src_port = header->dst_port,
	                                   .dst_port = header->src_port,
	                                   .type = header->type,
	                                   .op = cpu_to_le16(OP_RST)};
	vsock->stray_count++;
}

static void set_credit(struct vsock_socket *s, const struct virtio_vsock_hdr *header)
{
	s->peer_space = le32_to_cpu(header->buf_alloc);
	s->peer_forwarded = le32_to_cpu(header->fwd_cnt);
	if (vsock_credit(s))
		s->credit_asked = false;
}

static bool incoming(struct vsock *vsock, enum socket_type type, const struct virtio_vsock_hdr *header)
{
	struct vsock_socket *listener = vsock_find_listener(vsock, type, le32_to_cpu(header->dst_port)), *s;
	unsigned waiting = 0;

	for (s = vsock->sockets; s; s = s->next)
		waiting += listener && s->listener == listener;
	s = listener && waiting < BACKLOG ? vsock_create(vsock, type, SOCKET_CONNECTED) : NULL;
	if (!s)
		return false;
	s->listener = listener;
	s->socket.port = le32_to_cpu(header->dst_port);
	s->socket.peer_cid = le64_to_cpu(header->src_cid);
	s->socket.peer_port = le32_to_cpu(header->src_port);
	s->due = DUE_RESPONSE;
	set_credit(s, header);
	vsock_tell(listener);
	return true;
}

static void take_of(struct vsock_socket *s, const struct virtio_vsock_hdr *header, const uint8_t *data, uint32_t length)
{
	unsigned op = le16_to_cpu(header->op), flags = le32_to_cpu(header->flags);
	bool good = s->socket.state == SOCKET_CONNECTED;

	set_credit(s, header);
	if (op == OP_RST) {
		vsock_ended(s, !good ? -ECONNREFUSED : s->socket.peer_sends && s->shut != SHUTDOWN_BOTH ? -ECONNRESET : 0, 0);
		return;
	}
	if (op == OP_RESPONSE) {
		good = !good;
		s->socket.state = SOCKET_CONNECTED;
	} else if (good && op == OP_RW) {
		good = take_data(s, data, length, flags);
	} else if (good && op == OP_SHUTDOWN) {
		s->socket.peer_receives &= !(flags & SHUTDOWN_RECEIVE);
		s->socket.peer_sends &= !(flags & SHUTDOWN_SEND);
		if (!s->socket.peer_receives && !s->socket.peer_sends) {
			vsock_ended(s, 0, DUE_RST);
			return;
		}
	} else if (op == OP_CREDIT_REQUEST) {
		s->due |= DUE_CREDIT_UPDATE;
	} else {
		good &= op == OP_CREDIT_UPDATE;
	}
	if (good) {
		vsock_tell(s);
		return;
	}
	vsock_complain(s->vsock, "a packet against the rules");
	vsock_ended(s, -EIO, DUE_RST);
}

void vsock_take(struct vsock *vsock, const struct virtio_vsock_hdr *header, const uint8_t *data, uint32_t length)
{
	unsigned type = le16_to_cpu(header->type);
	bool known = (type == SOCKET_STREAM && vsock->device.stream) || (type == SOCKET_SEQPACKET && vsock->device.seqpacket);
	struct vsock_socket *s = NULL;

	if (known && le64_to_cpu(header->dst_cid) == vsock->device.cid)
		s = vsock_find(vsock, type, le32_to_cpu(header->dst_port), le64_to_cpu(header->src_cid),
		               le32_to_cpu(header->src_port));
	else
		known = false;
	if (s)
		take_of(s, header, data, length);
	/* "Receive and Transmit": RST MUST be the reply to an unknown type; "Stream Sockets": and is to what no socket is there for */
	else if (!known || le16_to_cpu(header->op) != OP_REQUEST || !incoming(vsock, (enum socket_type)type, header))
		stray(vsock, header);
	vsock_send_due(vsock);
}
