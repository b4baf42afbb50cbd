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

struct net_buf {
	struct net_buf *next; /* the owner's, for lists */
	struct net_buf *more; /* the rest of this frame; NULL: none */
	uint8_t *data;     /* at least NET_HEADROOM bytes of the buffer's own lie before it when it is given to net_tx_burst() */
	uint32_t length;   /* bytes at data */
	uint32_t capacity; /* bytes from data to the end of the buffer, for a fresh one */
	struct net_pool *pool;
	void (*done)(struct net_buf *buf); /* after transmission; NULL: net_buf_free() */
	void *context;                     /* the program's */
	uint32_t reserved;                 /* the driver's, while it has the buffer */
	int status; /* after transmission: 0; -EIO: the device broke; -EINVAL: empty, longer than mtu and header, in too many pieces */
};

/* Buffers of NET_BUF_BYTES each, `count` of them, from page_alloc_uncleared(). NULL: no memory. */
struct net_pool *net_pool_create(unsigned count);
void net_pool_destroy(struct net_pool *pool); /* what is still out keeps it in place until it is back */
/* NULL: none free. Its data is behind the headroom, length 0, more and done NULL. */
struct net_buf *net_buf_alloc(struct net_pool *pool);
void net_buf_free(struct net_buf *buf); /* with all that `more` chains */
unsigned net_pool_free_count(const struct net_pool *pool);
void net_pool_notify(struct net_pool *pool, struct event *event); /* mark it when a buffer comes back, once; NULL: not any more */

struct net_ops {
	unsigned (*tx_burst)(struct net_device *device, struct net_buf **bufs, unsigned count);
	unsigned (*rx_burst)(struct net_device *device, struct net_buf **bufs, unsigned count);
	void (*rx_again)(struct net_device *device); /* call rx_ready() soon */
};

enum net_duplex { NET_DUPLEX_UNKNOWN, NET_DUPLEX_HALF, NET_DUPLEX_FULL };

struct net_device {
	struct class_node node;
	const struct net_ops *ops;
	uint8_t mac[6];
	uint16_t mtu; /* payload of a frame, 1500 where not told */
	bool link_up, mac_is_random;
	uint32_t speed; /* Mbit/s, 0: unknown */
	enum net_duplex duplex;
	bool gone;
	uint64_t link_changes;
	uint64_t tx_frames, tx_bytes, tx_errors, rx_frames, rx_bytes, rx_errors;

	/* The program's. */
	/* Frames arrived: net_rx_burst() until it gives 0. Set by net_listen(); NULL: they wait, at most a ring of them. */
	void (*rx_ready)(struct net_device *device);
	void (*tx_ready)(struct net_device *device); /* room again after net_tx_burst() took fewer than given. NULL: no interest */
	void (*link_changed)(struct net_device *device); /* NULL: no interest */
	void *context;
};

/* ---- for programs ---- */
struct net_device *net_find(const char *name); /* NULL: the first */
struct net_device *net_next(struct net_device *device);

/* Give frames to the device; returns how many it took, from the front (the rest stay the caller's). Chains of `more` are one frame.
 * done() does not wait (loop_wait() and what uses it): its device may go meanwhile.
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

/* Received frames, at most `count`; the ring is filled up again with fresh buffers behind it. */
static inline unsigned net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	return device->ops->rx_burst(device, bufs, count);
}

/* ---- for drivers ---- */
void net_register(struct net_device *device);
void net_unregister(struct net_device *device);          /* sets gone; programs keep no pointer past this */
void net_link_event(struct net_device *device, bool up); /* counts and tells the program when it changed */

#endif
