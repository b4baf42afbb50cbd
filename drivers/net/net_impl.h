/*
 * What the files of the network driver share: net.c (configuration and life), rx.c and tx.c (a virtqueue each), ctrl.c (the controlq),
 * steer.c (what goes to which pair), offload.c (what the header says).
 */
#ifndef DRIVERS_NET_NET_IMPL_H
#define DRIVERS_NET_NET_IMPL_H

#include <arch/cpu.h>
#include <base/endian.h>
#include <base/event.h>
#include <class/net.h>
#include <class/net_control.h>
#include <virtio/request.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* "Network Device / Feature bits" */
enum {
	VIRTIO_NET_F_CSUM = 0,
	VIRTIO_NET_F_GUEST_CSUM = 1,
	VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
	VIRTIO_NET_F_MTU = 3,
	VIRTIO_NET_F_MAC = 5,
	VIRTIO_NET_F_GUEST_TSO4 = 7,
	VIRTIO_NET_F_GUEST_TSO6 = 8,
	VIRTIO_NET_F_GUEST_ECN = 9,
	VIRTIO_NET_F_GUEST_UFO = 10,
	VIRTIO_NET_F_HOST_TSO4 = 11,
	VIRTIO_NET_F_HOST_TSO6 = 12,
	VIRTIO_NET_F_HOST_ECN = 13,
	VIRTIO_NET_F_HOST_UFO = 14,
	VIRTIO_NET_F_MRG_RXBUF = 15,
	VIRTIO_NET_F_STATUS = 16,
	VIRTIO_NET_F_CTRL_VQ = 17,
	VIRTIO_NET_F_CTRL_RX = 18,
	VIRTIO_NET_F_CTRL_VLAN = 19,
	VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
	VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
	VIRTIO_NET_F_MQ = 22,
	VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
	VIRTIO_NET_F_HASH_TUNNEL = 51,
	VIRTIO_NET_F_VQ_NOTF_COAL = 52,
	VIRTIO_NET_F_NOTF_COAL = 53,
	VIRTIO_NET_F_GUEST_USO4 = 54,
	VIRTIO_NET_F_GUEST_USO6 = 55,
	VIRTIO_NET_F_HOST_USO = 56,
	VIRTIO_NET_F_HASH_REPORT = 57,
	VIRTIO_NET_F_GUEST_HDRLEN = 59,
	VIRTIO_NET_F_RSS = 60,
	VIRTIO_NET_F_RSC_EXT = 61,
	VIRTIO_NET_F_STANDBY = 62,
	VIRTIO_NET_F_SPEED_DUPLEX = 63,
};

/* "Network Device / Device configuration layout" */
struct virtio_net_config {
	uint8_t mac[6];
	le16 status, max_virtqueue_pairs, mtu;
	le32 speed;
	uint8_t duplex, rss_max_key_size;
	le16 rss_max_indirection_table_length;
	le32 supported_hash_types, supported_tunnel_types;
};
_Static_assert(sizeof(struct virtio_net_config) == 28, "virtio_net_config");
#define NET_CONFIG(name) offsetof(struct virtio_net_config, name)

/* "Network Device / Device Operation"; of any length from the end, so of any alignment */
struct [[gnu::packed, gnu::aligned(2)]] virtio_net_hdr
{
	union {
		struct {
			uint8_t flags, gso_type;
		};
		le16 flags_and_gso;
	};
	le16 hdr_len, gso_size, csum_start, csum_offset;
	le16 num_buffers; /* not there in legacy devices without MRG_RXBUF */
	le32 hash_value;  /* this and what follows with HASH_REPORT only */
	le16 hash_report, padding_reserved;
};
_Static_assert(sizeof(struct virtio_net_hdr) == 20, "virtio_net_hdr");
_Static_assert(sizeof(struct virtio_net_hdr) <= NET_HEADROOM, "the header fits the headroom");

#define ETHERNET_HEADER 14u
#define BUF_CAPACITY (NET_BUF_BYTES - NET_HEADROOM)
#define FRAGMENTS(bytes) (((bytes) + BUF_CAPACITY - 1) / BUF_CAPACITY)
#define GSO_FRAME_MAX 65589u /* "Setting Up Receive Buffers": the longest frame with segments */
#define FRAGMENTS_MAX FRAGMENTS(GSO_FRAME_MAX)

/* A pair of queues, and the CPU's that has them. */
struct net_pair {
	struct net *net;
	unsigned index;        /* of the pair, and of its CPU */
	struct virtq *rx, *tx; /* NULL while stopped */
	struct net_counters counters;

	/* rx.c's */
	struct net_pool *pool;
	struct event fill_event;
	struct net_buf *backlog, **backlog_tail; /* frames that came while the program had no rx_ready */

	/* tx.c's */
	unsigned tx_in_flight;
	bool tx_harvesting, tx_starved;
	struct timer tx_timer;
	uint64_t tx_look_ns;

	/* ctrl.c's */
	struct net_coalescing coalescing[2]; /* NET_RX, NET_TX */
};

struct net_command {
	struct virtio_request request;
	struct virtq_buf bufs[5];
	bool waiting; /* its caller */
};

/* The controlq: what was asked for, so that it can be asked for again, and the commands that are out. */
struct net_ctrl {
	struct virtio_requestq queue;
	struct net_command commands[2]; /* a program's, a restart's */
	struct virtio_request announce;
	struct virtq_buf announce_bufs[2];
	struct net_wires *wires; /* what the device reads and writes */
	bool announce_again;
	bool orphan;              /* the device is gone while a caller waits */
	uint8_t modes, modes_set; /* bits of enum net_rx_mode */
	bool mac_set, filter_set, offloads_set;
	uint8_t macs[NET_MACS_MAX][6]; /* of stations, then of groups */
	uint16_t stations, groups;
	uint64_t vlans[4096 / 64];
	struct net_steering steering;
};

struct net {
	struct net_device device;
	struct virtio_device *vdev;
	size_t bytes; /* of all this */
	bool mergeable;
	bool rx_plain;         /* a receive buffer is a request, and nothing stands in a header but of offloads */
	uint16_t header;       /* bytes of it */
	uint16_t own_header;   /* 1: it wants a descriptor of its own; else 0 */
	uint16_t rx_fragments; /* buffers of one request: more than 1 only for long frames without MRG_RXBUF */
	uint32_t frame_max;    /* bytes of a frame that is sent as it is, Ethernet header included */
	uint32_t tx_plain_max; /* the same where a frame in one piece is one descriptor with a header of 12 bytes at most; else 0 */
	uint16_t max_pairs;    /* the device's */
	uint16_t pair_count;
	uint16_t queue_count;
	struct virtq_spec *specs; /* of the queues: behind the pairs */
	uint8_t rx_offloads;      /* those negotiated */
	uint32_t tunnels;         /* "supported_tunnel_types", those known */
	struct net_ctrl ctrl;
	struct net_pair pairs[];
};

static inline struct net *net_of(const struct net_device *device)
{
	return container_of((struct net_device *)(uintptr_t)device, struct net, device);
}

/* This CPU's; NULL: it has none. */
static inline struct net_pair *net_pair_of(struct net *net)
{
	unsigned cpu = cpu_index();

	return likely(cpu < net->pair_count) ? &net->pairs[cpu] : NULL;
}

/* rx.c */
[[nodiscard]] int virtio_net_rx_open(struct net_pair *pair, unsigned buffers);
void virtio_net_rx_fill(struct net_pair *pair);
void virtio_net_rx_used(struct virtq *vq);
unsigned virtio_net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count);
void virtio_net_rx_again(struct net_device *device);
void virtio_net_rx_poll(struct net_device *device);
void virtio_net_rx_drain(struct net_pair *pair, struct virtq *vq); /* the queue or the device is reset */
void virtio_net_rx_close(struct net_pair *pair);

/* tx.c */
unsigned virtio_net_tx_burst(struct net_device *device, struct net_buf **bufs, unsigned count);
void virtio_net_tx_used(struct virtq *vq);
void virtio_net_tx_tell_room(struct net_pair *pair);
void virtio_net_tx_drain(struct net_pair *pair, struct virtq *vq); /* the queue or the device is reset */

/* offload.c */
void virtio_net_offloads(struct net *net); /* what was negotiated, for the class */
/* The header of a frame with an offload, in the headroom. 0, -EINVAL, -ENOTSUP. */
[[nodiscard]] int virtio_net_tx_header(const struct net *net, struct net_buf *buf, uint32_t bytes);
/* Of a frame of `bytes` in all: buf->offload from its header. False: it may not be accepted. */
[[nodiscard]] bool virtio_net_rx_header(const struct net *net, struct net_buf *buf, uint32_t bytes);

/* ctrl.c */
extern const struct net_control_ops virtio_net_control;
[[nodiscard]] int virtio_net_ctrl_open(struct net *net);
/* In start(), behind virtio_driver_ok(): all that was ever set, and more than one pair. */
[[nodiscard]] int virtio_net_ctrl_restore(struct net *net);
void virtio_net_ctrl_announced(struct net *net); /* "Gratuitous Packet Sending": acknowledge */
void virtio_net_ctrl_close(struct net *net);     /* frees `net`, at once or when the command that is out has ended */

#endif
