/*
 * The sockets of a "Socket Device": connections by (cid, port) on both sides and type, and their credit.
 *
 * What a socket has to say is noted as bits in `due` and made a packet when there is room, with the credit as it is then. A program that closes its socket leaves it here until the peer has confirmed (RST), or CLOSE_NS have passed.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/page.h>

#include "vsock_impl.h"

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST };
enum { SHUTDOWN_RECEIVE = 1, SHUTDOWN_SEND = 2, SHUTDOWN_BOTH = 3 };
#define BACKLOG 16u
#define CLOSE_NS UINT64_C(8000000000)
#define FIRST_PORT 49152u /* of those that connect */

/* In the order in which they go out */
static const uint16_t ops_due[] = {OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST, OP_SHUTDOWN, OP_RST};
enum { DUE_REQUEST = 1, DUE_RESPONSE = 2, DUE_CREDIT_UPDATE = 4, DUE_CREDIT_REQUEST = 8, DUE_SHUTDOWN = 16, DUE_RST = 32 };

static void tell(struct vsock_socket *s)
{
	if (s->socket.changed)
		s->socket.changed(&s->socket);
}

/* ---- their list ---- */

static struct vsock_socket *create(struct vsock *vsock, enum socket_type type, enum socket_state state)
{
	struct vsock_socket *s = page_alloc(sizeof(*s), PAGE_SIZE);

	if (!s)
		return NULL;
	s->socket = (struct socket){.ops = &vsock_socket_ops,
	                            .type = type,
	                            .state = state,
	                            .peer_sends = true,
	                            .peer_receives = true};
	if (state != SOCKET_LISTENING) {
		s->ring = page_alloc(vsock_ring_bytes(s), PAGE_SIZE);
		if (!s->ring) {
			page_free(s, sizeof(*s));
			return NULL;
		}
	}
	s->vsock = vsock;
	s->next = vsock->sockets;
	vsock->sockets = s;
	return s;
}

static void destroy(struct vsock_socket *s)
{
	if (s->ring)
		page_free(s->ring, vsock_ring_bytes(s));
	page_free(s, sizeof(*s));
}

/* Free what nobody needs any more. */
static void reap(struct vsock *vsock)
{
	for (struct vsock_socket **at = &vsock->sockets; *at;) {
		struct vsock_socket *s = *at;

		if (s->orphan && s->socket.state == SOCKET_CLOSED && !s->due) {
			*at = s->next;
			destroy(s);
		} else {
			at = &s->next;
		}
	}
}

static struct vsock_socket *find_listener(struct vsock *vsock, enum socket_type type, uint32_t port)
{
	struct vsock_socket *s = vsock->sockets;

	while (s && (s->socket.state != SOCKET_LISTENING || s->socket.type != type || s->socket.port != port))
		s = s->next;
	return s;
}

static struct vsock_socket *find(struct vsock *vsock, unsigned type, uint32_t port, uint64_t peer_cid, uint32_t peer_port)
{
	struct vsock_socket *s = vsock->sockets;

	while (s && (s->socket.state > SOCKET_CONNECTED || s->socket.type != type || s->socket.port != port ||
	             s->socket.peer_cid != peer_cid || s->socket.peer_port != peer_port))
		s = s->next;
	return s;
}

/* The end of a connection; what has come can still be read. */
static void ended(struct vsock_socket *s, int error, uint8_t due)
{
	s->socket.state = SOCKET_CLOSED;
	s->socket.error = error;
	s->due = due;
	tell(s);
}

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

static bool send_due_of(struct vsock_socket *s)
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

static void send_due(struct vsock *vsock)
{
	while (vsock->stray_count) {
		if (!vsock_transmit(vsock, &vsock->strays[vsock->stray_first], NULL, 0))
			return;
		vsock->stray_first = (vsock->stray_first + 1) % VSOCK_STRAYS;
		vsock->stray_count--;
	}
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next)
		if (!send_due_of(s))
			return;
	reap(vsock);
}

void vsock_room(struct vsock *vsock)
{
	send_due(vsock);
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next)
		if (s->socket.state == SOCKET_CONNECTED)
			tell(s);
}

static uint32_t credit(const struct vsock_socket *s)
{
	uint32_t on_their_side = s->sent - s->peer_forwarded;

	return on_their_side < s->peer_space ? s->peer_space - on_their_side : 0;
}

static int64_t send(struct socket *socket, const void *memory, uint32_t length, bool record)
{
	struct vsock_socket *s = container_of(socket, struct vsock_socket, socket);
	/* "Buffer Space Management": data MUST only be transmitted when the peer has space for it */
	uint32_t bytes = MIN(MIN(length, VSOCK_DATA_BYTES), credit(s)), flags = 0;
	struct virtio_vsock_hdr header;

	if (socket->state != SOCKET_CONNECTED)
		return socket->error ? socket->error : -EPIPE;
	if (s->shut & SHUTDOWN_SEND || !socket->peer_receives)
		return -EPIPE;
	if (!bytes && !s->credit_asked) {
		s->credit_asked = true;
		s->due |= DUE_CREDIT_REQUEST;
	}
	if (!send_due_of(s) || !bytes)
		return -EAGAIN;
	if (socket->type == SOCKET_SEQPACKET && bytes == length)
		flags = record ? VSOCK_SEQ_EOM | VSOCK_SEQ_EOR : VSOCK_SEQ_EOM;
	header = header_of(s, OP_RW, flags, bytes);
	if (!vsock_transmit(s->vsock, &header, memory, bytes))
		return -EAGAIN;
	s->forwarded_told = s->forwarded;
	s->sent += bytes;
	return bytes;
}

/* ---- in ---- */

static int64_t receive(struct socket *socket, void *memory, uint32_t length)
{
	struct vsock_socket *s = container_of(socket, struct vsock_socket, socket);
	uint32_t bytes = vsock_ring_next(s);

	if (s->shut & SHUTDOWN_RECEIVE)
		return 0;
	if (!bytes && socket->state == SOCKET_CLOSED)
		return socket->error;
	if (!bytes)
		return socket->peer_sends ? -EAGAIN : 0;
	if (socket->type == SOCKET_SEQPACKET && bytes > length)
		return -EMSGSIZE;
	bytes = MIN(bytes, length);
	vsock_ring_get(s, memory, bytes);
	if (socket->state == SOCKET_CONNECTED && s->forwarded - s->forwarded_told >= VSOCK_RING_BYTES / 4) {
		s->due |= DUE_CREDIT_UPDATE;
		send_due_of(s);
	}
	return bytes;
}

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
	if (credit(s))
		s->credit_asked = false;
}

static bool incoming(struct vsock *vsock, enum socket_type type, const struct virtio_vsock_hdr *header)
{
	struct vsock_socket *listener = find_listener(vsock, type, le32_to_cpu(header->dst_port)), *s;
	unsigned waiting = 0;

	for (s = vsock->sockets; s; s = s->next)
		waiting += listener && s->listener == listener;
	s = listener && waiting < BACKLOG ? create(vsock, type, SOCKET_CONNECTED) : NULL;
	if (!s)
		return false;
	s->listener = listener;
	s->socket.port = le32_to_cpu(header->dst_port);
	s->socket.peer_cid = le64_to_cpu(header->src_cid);
	s->socket.peer_port = le32_to_cpu(header->src_port);
	s->due = DUE_RESPONSE;
	set_credit(s, header);
	tell(listener);
	return true;
}

static void take_of(struct vsock_socket *s, const struct virtio_vsock_hdr *header, const uint8_t *data, uint32_t length)
{
	unsigned op = le16_to_cpu(header->op), flags = le32_to_cpu(header->flags);
	bool good = s->socket.state == SOCKET_CONNECTED;

	set_credit(s, header);
	if (op == OP_RST) {
		ended(s, !good ? -ECONNREFUSED : s->socket.peer_sends && s->shut != SHUTDOWN_BOTH ? -ECONNRESET : 0, 0);
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
			ended(s, 0, DUE_RST);
			return;
		}
	} else if (op == OP_CREDIT_REQUEST) {
		s->due |= DUE_CREDIT_UPDATE;
	} else {
		good &= op == OP_CREDIT_UPDATE;
	}
	if (good) {
		tell(s);
		return;
	}
	vsock_complain(s->vsock, "a packet against the rules");
	ended(s, -EIO, DUE_RST);
}

void vsock_take(struct vsock *vsock, const struct virtio_vsock_hdr *header, const uint8_t *data, uint32_t length)
{
	unsigned type = le16_to_cpu(header->type);
	bool known = (type == SOCKET_STREAM && vsock->device.stream) || (type == SOCKET_SEQPACKET && vsock->device.seqpacket);
	struct vsock_socket *s = NULL;

	if (known && le64_to_cpu(header->dst_cid) == vsock->device.cid)
		s = find(vsock, type, le32_to_cpu(header->dst_port), le64_to_cpu(header->src_cid), le32_to_cpu(header->src_port));
	else
		known = false;
	if (s)
		take_of(s, header, data, length);
	/* "Receive and Transmit": RST MUST be the reply to an unknown type; "Stream Sockets": and is to what no socket is there for */
	else if (!known || le16_to_cpu(header->op) != OP_REQUEST || !incoming(vsock, (enum socket_type)type, header))
		stray(vsock, header);
	send_due(vsock);
}

/* ---- what programs do ---- */

static int listen(struct socket_device *device, enum socket_type type, uint32_t port, struct socket **socket)
{
	struct vsock *vsock = container_of(device, struct vsock, device);
	struct vsock_socket *s;

	if (!(type == SOCKET_STREAM ? device->stream : device->seqpacket))
		return -ENOTSUP;
	if (find_listener(vsock, type, port))
		return -EADDRINUSE;
	s = create(vsock, type, SOCKET_LISTENING);
	if (!s)
		return -ENOMEM;
	s->socket.port = port;
	*socket = &s->socket;
	return 0;
}

static int connect(struct socket_device *device, enum socket_type type, uint64_t cid, uint32_t port, struct socket **socket)
{
	struct vsock *vsock = container_of(device, struct vsock, device);
	struct vsock_socket *s;

	if (!(type == SOCKET_STREAM ? device->stream : device->seqpacket))
		return -ENOTSUP;
	do
		vsock->last_port = MAX(vsock->last_port + 1, FIRST_PORT);
	while (find(vsock, type, vsock->last_port, cid, port) || find_listener(vsock, type, vsock->last_port));
	s = create(vsock, type, SOCKET_CONNECTING);
	if (!s)
		return -ENOMEM;
	s->socket.port = vsock->last_port;
	s->socket.peer_cid = cid;
	s->socket.peer_port = port;
	s->due = DUE_REQUEST;
	*socket = &s->socket;
	send_due_of(s);
	return 0;
}

/* The one that waits longest: new ones are listed first. */
static struct socket *accept(struct socket *socket)
{
	struct vsock_socket *listener = container_of(socket, struct vsock_socket, socket), *found = NULL;

	for (struct vsock_socket *s = listener->vsock ? listener->vsock->sockets : NULL; s; s = s->next)
		if (s->listener == listener)
			found = s;
	if (!found)
		return NULL;
	found->listener = NULL;
	return &found->socket;
}

static void shutdown(struct socket *socket, bool is_send, bool is_receive)
{
	struct vsock_socket *s = container_of(socket, struct vsock_socket, socket);
	unsigned shut = s->shut | (is_send ? SHUTDOWN_SEND : 0u) | (is_receive ? SHUTDOWN_RECEIVE : 0u);

	if (socket->state != SOCKET_CONNECTED || shut == s->shut)
		return;
	s->shut = (uint8_t)shut;
	s->due |= DUE_SHUTDOWN;
	send_due_of(s);
}

/* Orphans whose peers do not confirm. */
static void on_timer(struct timer *timer)
{
	struct vsock *vsock = container_of(timer, struct vsock, timer);
	uint64_t now = clock_ns(), next = UINT64_MAX;

	for (struct vsock_socket *s = vsock->sockets; s; s = s->next) {
		if (!s->orphan || s->socket.state == SOCKET_CLOSED)
			continue;
		if (s->deadline_ns <= now)
			ended(s, 0, DUE_RST);
		else
			next = MIN(next, s->deadline_ns);
	}
	send_due(vsock);
	if (next != UINT64_MAX)
		timer_start(timer, next, on_timer);
}

static void close(struct socket *socket)
{
	struct vsock_socket *s = container_of(socket, struct vsock_socket, socket);
	struct vsock *vsock = s->vsock;

	if (!vsock) {
		destroy(s);
		return;
	}
	for (struct vsock_socket *child = vsock->sockets; child; child = child->next) {
		if (child->listener == s) {
			child->orphan = true;
			child->listener = NULL;
			ended(child, 0, child->socket.state == SOCKET_CONNECTED ? DUE_RST : child->due);
		}
	}
	s->orphan = true;
	socket->changed = NULL;
	if (socket->state == SOCKET_CONNECTED) {
		shutdown(socket, true, true);
		s->deadline_ns = clock_ns() + CLOSE_NS;
		if (!vsock->timer.active)
			timer_start(&vsock->timer, s->deadline_ns, on_timer);
	} else {
		ended(s, 0, socket->state == SOCKET_CONNECTING ? DUE_RST : s->due);
	}
	send_due(vsock);
}

const struct socket_ops vsock_socket_ops = {.connect = connect,
                                            .listen = listen,
                                            .accept = accept,
                                            .send = send,
                                            .receive = receive,
                                            .shutdown = shutdown,
                                            .close = close};

/* ---- when the device has other ideas ---- */

void vsock_lost(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_socket *s = find(vsock, le16_to_cpu(header->type), le32_to_cpu(header->src_port),
	                              le64_to_cpu(header->dst_cid), le32_to_cpu(header->dst_port));

	if (s)
		ended(s, -ECONNRESET, DUE_RST);
}

void vsock_end_all(struct vsock *vsock, int error)
{
	vsock->stray_count = 0;
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next) {
		s->due = 0;
		if (s->socket.state <= SOCKET_CONNECTED || error == -ENODEV)
			ended(s, s->socket.state == SOCKET_CLOSED ? s->socket.error : error, 0);
		if (error == -ENODEV && s->listener)
			s->orphan = true;
	}
	reap(vsock);
	while (error == -ENODEV && vsock->sockets) {
		struct vsock_socket *s = vsock->sockets;

		vsock->sockets = s->next;
		s->vsock = NULL;
	}
}
