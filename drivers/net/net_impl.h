/*
 * What the files of the network driver share: net.c (configuration and life), rx.c and tx.c (one virtqueue each).
 */
#ifndef DRIVERS_NET_NET_IMPL_H
#define DRIVERS_NET_NET_IMPL_H

#include <base/endian.h>
#include <base/event.h>
#include <class/net.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* "Network Device / Feature bits" */
enum {
	VIRTIO_NET_F_MTU = 3,
	VIRTIO_NET_F_MAC = 5,
	VIRTIO_NET_F_MRG_RXBUF = 15,
	VIRTIO_NET_F_STATUS = 16,
	VIRTIO_NET_F_SPEED_DUPLEX = 63,
};

/* "Network Device / Device Operation" */
struct virtio_net_hdr {
	uint8_t flags, gso_type;
	le16 hdr_len, gso_size, csum_start, csum_offset;
	le16 num_buffers; /* not there in legacy devices without MRG_RXBUF */
};
_Static_assert(sizeof(struct virtio_net_hdr) == 12, "virtio_net_hdr");
_Static_assert(sizeof(struct virtio_net_hdr) <= NET_HEADROOM, "the header fits the headroom");

/* Of its flags and gso_type, what a frame is refused for */
enum {
	VIRTIO_NET_HDR_F_NEEDS_CSUM = 1,
	VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM = 8,
	VIRTIO_NET_HDR_GSO_UDP_TUNNEL = 0x20 | 0x40, /* _IPV4 and _IPV6 */
};

#define ETHERNET_HEADER 14u
#define BUF_CAPACITY (NET_BUF_BYTES - NET_HEADROOM)
#define TX_FRAGMENTS 17u /* buffers of one frame: 64 KiB in pages */
#define RX_FRAGMENTS ((UINT16_MAX + ETHERNET_HEADER) / BUF_CAPACITY + 1)

struct net {
	struct net_device device;
	struct virtio_device *vdev;
	struct virtq *rx, *tx; /* NULL while stopped */
	bool registered;
	uint32_t header;     /* bytes of the header */
	uint16_t own_header; /* 1: it wants a descriptor of its own; else 0 */

	/* rx.c's */
	struct net_pool *pool;
	uint16_t rx_fragments; /* buffers of one request: more than 1 only for a large MTU without MRG_RXBUF */
	struct event fill_event;
	struct net_buf *backlog, **backlog_tail; /* frames that came while the program had no rx_ready */

	/* tx.c's */
	uint32_t frame_max; /* bytes, Ethernet header included */
	unsigned tx_in_flight;
	bool tx_harvesting, tx_starved;
	struct timer tx_timer;
	uint64_t tx_look_ns;
};

/* rx.c */
[[nodiscard]] int virtio_net_rx_open(struct net *net);
void virtio_net_rx_fill(struct net *net);
void virtio_net_rx_used(struct virtq *vq);
unsigned virtio_net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count);
void virtio_net_rx_again(struct net_device *device);
void virtio_net_rx_drain(struct net *net, struct virtq *vq); /* the queue or the device is reset */
void virtio_net_rx_close(struct net *net);

/* tx.c */
unsigned virtio_net_tx_burst(struct net_device *device, struct net_buf **bufs, unsigned count);
void virtio_net_tx_used(struct virtq *vq);
void virtio_net_tx_tell_room(struct net *net);
void virtio_net_tx_drain(struct net *net, struct virtq *vq); /* the queue or the device is reset */

#endif
