/*
 * The class of sockets: what waits. All else is the driver's, whose operations do what can be done at once (-EAGAIN: nothing).
 */
#include <class/socket.h>

#include <errno.h>

#include <arch/clock.h>
#include <base/event.h>

static uint64_t deadline(uint64_t timeout_ns) { return timeout_ns == LOOP_FOREVER ? LOOP_FOREVER : clock_ns() + timeout_ns; }

static bool turn(uint64_t deadline_ns)
{
	if (clock_ns() >= deadline_ns)
		return false;
	loop_turn(true, deadline_ns);
	return true;
}

int socket_connect(struct socket_device *device, enum socket_type type, uint64_t cid, uint32_t port, uint64_t timeout_ns,
                   struct socket **socket)
{
	uint64_t deadline_ns = deadline(timeout_ns);
	int error = device->ops->connect(device, type, cid, port, socket);

	if (error)
		return error;
	while ((*socket)->state == SOCKET_CONNECTING && turn(deadline_ns))
		;
	if ((*socket)->state == SOCKET_CONNECTED)
		return 0;
	error = (*socket)->state == SOCKET_CONNECTING ? -ETIMEDOUT : (*socket)->error ? (*socket)->error : -ECONNRESET;
	socket_close(*socket);
	*socket = NULL;
	return error;
}

int socket_listen(struct socket_device *device, enum socket_type type, uint32_t port, struct socket **listener)
{
	return device->ops->listen(device, type, port, listener);
}

int socket_accept(struct socket *listener, uint64_t timeout_ns, struct socket **socket)
{
	uint64_t deadline_ns = deadline(timeout_ns);

	while (!(*socket = listener->ops->accept(listener))) {
		if (listener->state != SOCKET_LISTENING)
			return listener->error ? listener->error : -EINVAL;
		if (!turn(deadline_ns))
			return -ETIMEDOUT;
	}
	return 0;
}

int socket_send(struct socket *socket, const void *memory, uint32_t length, bool record, uint64_t timeout_ns)
{
	uint64_t deadline_ns = deadline(timeout_ns);

	for (uint32_t done = 0; done < length;) {
		int64_t sent = socket->ops->send(socket, (const char *)memory + done, length - done, record);

		if (sent < 0 && sent != -EAGAIN)
			return (int)sent;
		if (sent > 0)
			done += (uint32_t)sent;
		else if (!turn(deadline_ns))
			return -ETIMEDOUT;
	}
	return 0;
}

int64_t socket_receive(struct socket *socket, void *memory, uint32_t length, uint64_t timeout_ns)
{
	uint64_t deadline_ns = deadline(timeout_ns);
	int64_t got;

	while ((got = socket->ops->receive(socket, memory, length)) == -EAGAIN)
		if (!turn(deadline_ns))
			return -ETIMEDOUT;
	return got;
}

void socket_close(struct socket *socket)
{
	if (socket)
		socket->ops->close(socket);
}
