/*
 * The sockets of a "Socket Device": their list, and what programs do with them.
 *
 * What a socket has to say is noted as bits in `due`; vsock_packet.c makes packets of them. A program that closes its socket leaves it here
 * until the peer has confirmed (RST), or CLOSE_NS have passed.
 */
#include <errno.h>

#include <arch/clock.h>
#include <base/page.h>

#include "vsock_impl.h"

#define CLOSE_NS UINT64_C(8000000000)
#define FIRST_PORT 49152u /* of those that connect */

void vsock_tell(struct vsock_socket *s)
{
	if (s->socket.changed)
		s->socket.changed(&s->socket);
}

/* ---- their list ---- */

struct vsock_socket *vsock_create(struct vsock *vsock, enum socket_type type, enum socket_state state)
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
void vsock_reap(struct vsock *vsock)
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

struct vsock_socket *vsock_find_listener(struct vsock *vsock, enum socket_type type, uint32_t port)
{
	struct vsock_socket *s = vsock->sockets;

	while (s && (s->socket.state != SOCKET_LISTENING || s->socket.type != type || s->socket.port != port))
		s = s->next;
	return s;
}

struct vsock_socket *vsock_find(struct vsock *vsock, unsigned type, uint32_t port, uint64_t peer_cid, uint32_t peer_port)
{
	struct vsock_socket *s = vsock->sockets;

	while (s && (s->socket.state > SOCKET_CONNECTED || s->socket.type != type || s->socket.port != port ||
	             s->socket.peer_cid != peer_cid || s->socket.peer_port != peer_port))
		s = s->next;
	return s;
}

/* The end of a connection; what has come can still be read. */
void vsock_ended(struct vsock_socket *s, int error, uint8_t due)
{
	s->socket.state = SOCKET_CLOSED;
	s->socket.error = error;
	s->due = due;
	vsock_tell(s);
}

/* ---- what programs do ---- */

static int64_t send(struct socket *socket, const void *memory, uint32_t length, bool record)
{
	struct vsock_socket *s = container_of(socket, struct vsock_socket, socket);
	/* "Buffer Space Management": data MUST only be transmitted when the peer has space for it */
	uint32_t bytes = MIN(MIN(length, VSOCK_DATA_BYTES), vsock_credit(s)), flags = 0;

	if (socket->state != SOCKET_CONNECTED)
		return socket->error ? socket->error : -EPIPE;
	if (s->shut & SHUTDOWN_SEND || !socket->peer_receives)
		return -EPIPE;
	if (!bytes && !s->credit_asked) {
		s->credit_asked = true;
		s->due |= DUE_CREDIT_REQUEST;
	}
	if (!vsock_send_due_of(s) || !bytes)
		return -EAGAIN;
	if (socket->type == SOCKET_SEQPACKET && bytes == length)
		flags = record ? VSOCK_SEQ_EOM | VSOCK_SEQ_EOR : VSOCK_SEQ_EOM;
	return vsock_send(s, flags, memory, bytes) ? (int64_t)bytes : -EAGAIN;
}

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
		vsock_send_due_of(s);
	}
	return bytes;
}

static int listen(struct socket_device *device, enum socket_type type, uint32_t port, struct socket **socket)
{
	struct vsock *vsock = container_of(device, struct vsock, device);
	struct vsock_socket *s;

	if (!(type == SOCKET_STREAM ? device->stream : device->seqpacket))
		return -ENOTSUP;
	if (vsock_find_listener(vsock, type, port))
		return -EADDRINUSE;
	s = vsock_create(vsock, type, SOCKET_LISTENING);
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
	while (vsock_find(vsock, type, vsock->last_port, cid, port) || vsock_find_listener(vsock, type, vsock->last_port));
	s = vsock_create(vsock, type, SOCKET_CONNECTING);
	if (!s)
		return -ENOMEM;
	s->socket.port = vsock->last_port;
	s->socket.peer_cid = cid;
	s->socket.peer_port = port;
	s->due = DUE_REQUEST;
	*socket = &s->socket;
	vsock_send_due_of(s);
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
	vsock_send_due_of(s);
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
			vsock_ended(s, 0, DUE_RST);
		else
			next = MIN(next, s->deadline_ns);
	}
	vsock_send_due(vsock);
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
			vsock_ended(child, 0, child->socket.state == SOCKET_CONNECTED ? DUE_RST : child->due);
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
		vsock_ended(s, 0, socket->state == SOCKET_CONNECTING ? DUE_RST : s->due);
	}
	vsock_send_due(vsock);
}

const struct socket_ops vsock_socket_ops = {.connect = connect,
                                            .listen = listen,
                                            .accept = accept,
                                            .send = send,
                                            .receive = receive,
                                            .shutdown = shutdown,
                                            .close = close};

/* ---- when the device has other ideas ---- */

void vsock_end_all(struct vsock *vsock, int error)
{
	vsock->stray_count = 0;
	for (struct vsock_socket *s = vsock->sockets; s; s = s->next) {
		s->due = 0;
		if (s->socket.state <= SOCKET_CONNECTED || error == -ENODEV)
			vsock_ended(s, s->socket.state == SOCKET_CLOSED ? s->socket.error : error, 0);
		if (error == -ENODEV && s->listener)
			s->orphan = true;
	}
	vsock_reap(vsock);
	while (error == -ENODEV && vsock->sockets) {
		struct vsock_socket *s = vsock->sockets;

		vsock->sockets = s->next;
		s->vsock = NULL;
	}
}
