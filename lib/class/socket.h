/*
 * Sockets between the machine and its host, and whoever else the host knows: connections to (context id, port). Loop context.
 *
 * A socket is its program's from the call that gives it until socket_close(), even when its device is gone meanwhile.
 */
#ifndef CLASS_SOCKET_H
#define CLASS_SOCKET_H

#include <class/device.h>

#define SOCKET_HOST 2u /* the host's context id */

enum socket_type { SOCKET_STREAM = 1, SOCKET_SEQPACKET = 2 };
enum socket_state { SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_LISTENING, SOCKET_CLOSED };

struct socket_device;

struct socket {
	const struct socket_ops *ops;
	enum socket_type type;
	enum socket_state state;
	int error; /* of a closed one: 0 (the peer ended it), -ECONNREFUSED, -ECONNRESET, -EIO, -ENODEV */
	uint64_t peer_cid;
	uint32_t port, peer_port;
	bool peer_sends, peer_receives; /* it has not said that it will no more */
	bool record_ended;              /* SEQPACKET: the message received last ended a record */

	/* The program's; changed() is called when there may be something to accept, to receive, room to send, or an end. May be NULL. It does
	 * not close the socket. */
	void (*changed)(struct socket *socket);
	void *context;
};

struct socket_ops {
	int (*connect)(struct socket_device *device, enum socket_type type, uint64_t cid, uint32_t port, struct socket **socket);
	int (*listen)(struct socket_device *device, enum socket_type type, uint32_t port, struct socket **socket);
	struct socket *(*accept)(struct socket *listener);
	int64_t (*send)(struct socket *socket, const void *memory, uint32_t length, bool record);
	int64_t (*receive)(struct socket *socket, void *memory, uint32_t length);
	void (*shutdown)(struct socket *socket, bool send, bool receive);
	void (*close)(struct socket *socket);
};

struct socket_device {
	struct class_node node;
	const struct socket_ops *ops;
	uint64_t cid; /* the machine's own; it may change when it is moved */
	bool stream, seqpacket;
};
CLASS(struct socket_device, socket)

/* All that wait do so for at most `timeout_ns`, then -ETIMEDOUT (LOOP_FOREVER: as long as it takes; 0: not at all). Negative errnos. */

/* -ECONNREFUSED, -ENOTSUP (no such type there), -ENOMEM, -ENODEV */
[[nodiscard]] int socket_connect(struct socket_device *device, enum socket_type type, uint64_t cid, uint32_t port,
                                 uint64_t timeout_ns, struct socket **socket);
/* -EADDRINUSE */
[[nodiscard]] int socket_listen(struct socket_device *device, enum socket_type type, uint32_t port, struct socket **listener);
[[nodiscard]] int socket_accept(struct socket *listener, uint64_t timeout_ns, struct socket **socket);

/* All bytes. A SEQPACKET socket sends them as one message; `record`: the last one of a record. An error when the peer receives no more. */
[[nodiscard]] int socket_send(struct socket *socket, const void *memory, uint32_t length, bool record, uint64_t timeout_ns);
/* Bytes that have come, at most `length`; of a SEQPACKET socket a message, -EMSGSIZE when it is longer (it stays). 0: no more will come. */
[[nodiscard]] int64_t socket_receive(struct socket *socket, void *memory, uint32_t length, uint64_t timeout_ns);
/* Send, receive no more: the peer is told. */
static inline void socket_shutdown(struct socket *socket, bool send, bool receive)
{
	socket->ops->shutdown(socket, send, receive);
}
/* In any state; NULL is none. */
void socket_close(struct socket *socket);

#endif
