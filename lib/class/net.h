/*
 * Network devices: frames in buffers, moved in bursts, without copies. Loop context.
 *
 * A buffer has one owner. net_tx_burst() takes those that it accepts and gives each to its done() when the device is through
 * with it; net_rx_burst() gives filled buffers to the caller, who frees them with net_buf_free().
 * A frame is an Ethernet frame without its checksum; a long one received may span several buffers, chained by `more`.
 */
#ifndef CLASS_NET_H
#define CLASS_NET_H

#include <class/device.h>

#define NET_HEADROOM 64u /* bytes kept before data for the driver's header */
#define NET_BUF_BYTES 2048u
#define NET_FRAME_MAX 1514u

struct event;
struct net_device;
struct net_pool;

/* Of a frame's offload: what the device is to do before it sends, or did not do before it gave the frame. */
enum { NET_CSUM_PARTIAL = 1, NET_CSUM_GOOD = 2, NET_COALESCED = 4 };
enum { NET_GSO_NONE, NET_GSO_TCP4, NET_GSO_UFO = 3, NET_GSO_TCP6, NET_GSO_USO, NET_GSO_ECN = 0x80 };

struct net_offload {
	/* PARTIAL: at csum_start + csum_offset there is the sum of the pseudo header; the checksum from csum_start to the end of the frame
	 * belongs there. Received, such a frame is good as it is. GOOD (received): the checksum was found right. Neither: who knows.
	 * COALESCED (received): csum_start counts the segments that were made one, csum_offset the duplicate acknowledgements. */
	uint8_t flags;    /* 0: none of these, and then the rest but the hash says nothing */
	uint8_t gso;      /* NET_GSO_*: to be cut into segments; PARTIAL is set with it. ECN: the TCP header has CWR set */
	uint16_t headers; /* received: a hint at their length, not to be relied on */
	uint16_t segment; /* payload bytes of each segment */
	uint16_t csum_start, csum_offset;
	uint16_t hash_type; /* received: what the hash is of, a bit of net_device.hash_types; 0: there is none */
	uint32_t hash;
};

struct net_buf {
	struct net_buf *next; /* the owner's, for lists */
	struct net_buf *more; /* the rest of this frame; NULL: none */
	uint8_t *data;   /* at least NET_HEADROOM bytes of the buffer's own lie before it when it is given to net_tx_burst() */
	uint32_t length; /* bytes at data */
	struct net_offload offload; /* of the whole frame, in its first buffer; directly behind the length */
	uint32_t capacity;          /* bytes from data to the end of the buffer, for a fresh one */
	struct net_pool *pool;
	void (*done)(struct net_buf *buf); /* after transmission; NULL: net_buf_free() */
	void *context;                     /* the program's */
	uint8_t *start;                    /* the pool's: where data begins in a fresh one */
	/* After transmission: 0; -EIO: the device broke; -EINVAL: empty, too long, in too many pieces, or an offload that makes no sense;
	 * -ENOTSUP: an offload that the device does not do. */
	int status;
};

static inline bool net_offload_any(const struct net_offload *offload) { return offload->flags | offload->gso; }

/* Whether a frame is one buffer without an offload, of 1 to `most` bytes (fewer than any address): one comparison of all that, little-endian.
 * False also for a hint at the length of headers alone. */
static inline bool net_buf_plain(const struct net_buf *buf, uint32_t most, uint64_t *length)
{
	_Static_assert(offsetof(struct net_buf, offload) == offsetof(struct net_buf, length) + 4 &&
	                       offsetof(struct net_offload, headers) == 2,
	               "length, flags, gso and headers are neighbours");
	_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the length is the lower half");
	__builtin_memcpy(length, &buf->length, sizeof(*length));
	return ((*length - 1) | (uintptr_t)buf->more) < most;
}

/* Buffers of NET_BUF_BYTES each, `count` of them, from page_alloc_uncleared(). NULL: no memory. A pool belongs to one CPU: its buffers
 * are taken, freed, sent and received there. */
struct net_pool *net_pool_create(unsigned count);
void net_pool_destroy(struct net_pool *pool); /* what is still out keeps it in place until it is back */
/* NULL: none free. Its data is behind the headroom; no more, no done, no offload. Bytes and length are what they were. */
struct net_buf *net_buf_alloc(struct net_pool *pool);
unsigned net_bufs_alloc(struct net_pool *pool, struct net_buf **bufs, unsigned count); /* as many as there are, at most `count` */
/* The same without a copy: they lie there until any buffer of the pool goes back. */
struct net_buf **net_bufs_take(struct net_pool *pool, unsigned *count);
void net_buf_free(struct net_buf *buf); /* with all that `more` chains */
void net_bufs_free(struct net_buf **bufs, unsigned count);
unsigned net_pool_free_count(const struct net_pool *pool);
void net_pool_notify(struct net_pool *pool, struct event *event); /* mark it when a buffer comes back, once; NULL: not any more */

enum net_duplex { NET_DUPLEX_UNKNOWN, NET_DUPLEX_HALF, NET_DUPLEX_FULL };

struct net_counters {
	uint64_t tx_frames, tx_bytes, tx_errors, rx_frames, rx_bytes, rx_errors;
};

/* What a device does with a frame, either way. */
enum {
	NET_OFFLOAD_CSUM = 1,
	NET_OFFLOAD_TSO4 = 2,
	NET_OFFLOAD_TSO6 = 4,
	NET_OFFLOAD_ECN = 8, /* segments of connections that use ECN, too */
	NET_OFFLOAD_UFO = 16,
	NET_OFFLOAD_USO4 = 32,
	NET_OFFLOAD_USO6 = 64,
};

struct net_control_ops; /* <class/net_control.h> */

struct net_ops {
	unsigned (*tx_burst)(struct net_device *device, struct net_buf **bufs, unsigned count);
	unsigned (*rx_burst)(struct net_device *device, struct net_buf **bufs, unsigned count);
	void (*rx_again)(struct net_device *device); /* call rx_ready() soon */
	void (*poll)(struct net_device *device);     /* as device->polled has it */
	struct net_counters (*count)(const struct net_device *device);
	const struct net_control_ops *control;
};

struct net_device {
	struct class_node node;
	const struct net_ops *ops;
	uint8_t mac[6];
	uint16_t mtu;    /* payload of a frame, 1500 where not told */
	unsigned queues; /* pairs of queues in use: CPUs 0 to queues - 1 send and receive */
	bool link_up, mac_is_random;
	bool standby;   /* a stand-in, while there is no other device with its address */
	uint32_t speed; /* Mbit/s, 0: unknown */
	enum net_duplex duplex;
	uint8_t tx_offloads; /* NET_OFFLOAD_*: what it takes */
	uint8_t rx_offloads; /* and gives; see net_rx_offloads() */
	uint32_t hash_types; /* NET_HASH_*: what it hashes and tells */
	bool polled;         /* see net_poll() */
	uint64_t link_changes, announces;

	/* The program's. */
	/* Frames arrived: net_rx_burst() until it gives 0. Set by net_listen(); NULL: they wait, at most a ring of them. */
	void (*rx_ready)(struct net_device *device);
	void (*tx_ready)(struct net_device *device); /* room again after net_tx_burst() took fewer than given. NULL: no interest */
	void (*link_changed)(struct net_device *device); /* NULL: no interest */
	void (*announce)(
		struct net_device *device); /* send gratuitous packets: the network is another one now. NULL: nothing to say */
	void *context;
};

/* ---- for programs ---- */
CLASS(struct net_device, net)

/* Give frames to the device, in the queue of this CPU; returns how many it took, from the front (the rest stay the caller's). Chains of
 * `more` are one frame. done() does not wait (loop_wait() and what uses it): its device may go meanwhile.
 * done() of these and of earlier frames may run inside; at the latest it runs some milliseconds after the device is through, and sooner
 * for a program that waits: that got some back here, or has none to give (count 0). */
static inline unsigned net_tx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	return device->ops->tx_burst(device, bufs, count);
}

/* Who is told of received frames, those that wait already included; NULL: nobody. */
static inline void net_listen(struct net_device *device, void (*rx_ready)(struct net_device *device))
{
	device->rx_ready = rx_ready;
	if (rx_ready)
		device->ops->rx_again(device);
}

/* Whether the program looks for frames by itself, by net_rx_burst(): then there is no interrupt for them, and no rx_ready(). At first it
 * does not. */
static inline void net_poll(struct net_device *device, bool on)
{
	device->polled = on;
	device->ops->poll(device);
}

/* Received frames, at most `count`, of the queue of this CPU; the ring is filled up again with fresh buffers behind it:
 * those that were given back, at the next call or the end of the turn. */
static inline unsigned net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	return device->ops->rx_burst(device, bufs, count);
}

static inline struct net_counters net_count(const struct net_device *device) { return device->ops->count(device); } /* so far */

/* ---- for drivers ---- */
void net_link_event(struct net_device *device, bool up); /* counts and tells the program when it changed */
void net_announce_event(struct net_device *device);
void net_bufs_done(struct net_buf **bufs, unsigned count, int status); /* the device is through with them: done(), or free */

#endif
