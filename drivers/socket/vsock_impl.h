/*
 * Between the parts of the socket driver: vsock.c is the device and its queues, vsock_packet.c what packets say, vsock_socket.c the sockets,
 * vsock_ring.c what has come for one. Loop context.
 */
#ifndef DRIVERS_NET_VSOCK_IMPL_H
#define DRIVERS_NET_VSOCK_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include <base/endian.h>
#include <class/socket.h>
#include <virtio/request.h>

/* "Socket Device / Device Operation" */
struct virtio_vsock_hdr {
	le64 src_cid, dst_cid;
	le32 src_port, dst_port;
	le32 len;
	le16 type, op;
	le32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "virtio_vsock_hdr");

#define VSOCK_PACKET_BYTES 4096u
#define VSOCK_DATA_BYTES (VSOCK_PACKET_BYTES - (unsigned)sizeof(struct virtio_vsock_hdr))

struct vsock_packet {
	struct virtio_vsock_hdr header;
	uint8_t data[VSOCK_DATA_BYTES];
};

#define VSOCK_PACKETS 32u /* of each way */
#define VSOCK_STRAYS 64u
#define VSOCK_RING_BYTES 65536u /* what a peer may send to a socket without hearing of more space */

enum { VSOCK_SEQ_EOM = 1, VSOCK_SEQ_EOR = 2 }; /* "Seqpacket Sockets" */
enum { SHUTDOWN_RECEIVE = 1, SHUTDOWN_SEND = 2, SHUTDOWN_BOTH = 3 };

/* What a socket has to say, in the order in which it goes out. */
enum { DUE_REQUEST = 1, DUE_RESPONSE = 2, DUE_CREDIT_UPDATE = 4, DUE_CREDIT_REQUEST = 8, DUE_SHUTDOWN = 16, DUE_RST = 32 };

struct vsock {
	struct socket_device device;
	struct virtio_device *vdev;
	struct virtq *rx, *tx; /* NULL while stopped */
	struct virtio_eventq events;
	struct vsock_packet *packets; /* VSOCK_PACKETS to receive into, and as many to send */
	uint64_t rx_idle, tx_idle;    /* not with the device: a bit each */
	bool complained, resting;     /* rx is quiet, for want of a place for strays */

	/* vsock_socket.c's and vsock_packet.c's */
	struct vsock_socket *sockets;
	struct virtio_vsock_hdr strays[VSOCK_STRAYS]; /* RSTs to those who reached no socket */
	unsigned stray_first, stray_count;
	struct timer timer;
	uint32_t last_port;
};

struct vsock_socket {
	struct socket socket;
	struct vsock *vsock; /* NULL: it is gone */
	struct vsock_socket *next;
	struct vsock_socket *listener; /* which has not accepted it yet */
	bool orphan;                   /* closed by its program */
	uint8_t due, shut;             /* what we shut down */
	uint64_t deadline_ns;          /* an orphan's */

	uint32_t sent, peer_forwarded, peer_space; /* bytes, ever; what the peer says */
	bool credit_asked;
	uint32_t received, forwarded, forwarded_told; /* bytes, ever: those that came, those that the program has */
	unsigned messages;
	uint8_t *ring; /* VSOCK_RING_BYTES, and for messages two bitmaps: where one ends, where a record ends; NULL: it listens */
};

/* ---- vsock.c ---- */
/* False: there is no room now; vsock_room() follows. */
bool vsock_transmit(struct vsock *vsock, const struct virtio_vsock_hdr *header, const void *data, uint32_t length);
void vsock_complain(struct vsock *vsock, const char *what);

/* ---- vsock_packet.c ---- */
/* A packet came. Not while there are VSOCK_STRAYS strays. */
void vsock_take(struct vsock *vsock, const struct virtio_vsock_hdr *header, const uint8_t *data, uint32_t length);
/* There is room to send. */
void vsock_room(struct vsock *vsock);
/* A packet was lost on its way out. */
void vsock_lost(struct vsock *vsock, const struct virtio_vsock_hdr *header);
/* What is due: false: not all of it, there is no room; of all, and then free what nobody needs any more. */
bool vsock_send_due_of(struct vsock_socket *s);
void vsock_send_due(struct vsock *vsock);
/* Data, within vsock_credit(), the bytes that the peer has space for. False: there is no room now. */
bool vsock_send(struct vsock_socket *s, uint32_t flags, const void *data, uint32_t bytes);
uint32_t vsock_credit(const struct vsock_socket *s);

/* ---- vsock_socket.c ---- */
extern const struct socket_ops vsock_socket_ops;
struct vsock_socket *vsock_create(struct vsock *vsock, enum socket_type type, enum socket_state state); /* NULL: no memory */
struct vsock_socket *vsock_find_listener(struct vsock *vsock, enum socket_type type, uint32_t port);
struct vsock_socket *vsock_find(struct vsock *vsock, unsigned type, uint32_t port, uint64_t peer_cid, uint32_t peer_port);
void vsock_tell(struct vsock_socket *s);
/* The end of a connection; what has come can still be read. */
void vsock_ended(struct vsock_socket *s, int error, uint8_t due);
void vsock_reap(struct vsock *vsock);
/* All connections end; with -ENODEV listening sockets, too, and none of them knows the device any more. */
void vsock_end_all(struct vsock *vsock, int error);

/* ---- vsock_ring.c: what has come ---- */
size_t vsock_ring_bytes(const struct vsock_socket *s); /* its memory */
/* False: more than there is space for, or a message that never fits. */
bool vsock_ring_put(struct vsock_socket *s, const uint8_t *data, uint32_t length, uint32_t flags);
uint32_t vsock_ring_next(const struct vsock_socket *s); /* bytes: of all, or of the next message if all of it is there */
void vsock_ring_get(struct vsock_socket *s, void *memory, uint32_t bytes);

#endif
