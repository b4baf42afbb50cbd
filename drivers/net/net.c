/*
 * "Network Device": one receiveq, one transmitq. Here are configuration and life; rx.c and tx.c have a virtqueue each.
 *
 * The header of a frame lies directly before its data, in the buffer's headroom, so that a frame in one piece is one descriptor, each
 * way. Only a legacy device that did not agree to ANY_LAYOUT gets the header in a descriptor of its own.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "net_impl.h"

/* "Network Device / Device configuration layout", as far as it is used */
struct virtio_net_config {
	uint8_t mac[6];
	le16 status, max_virtqueue_pairs, mtu;
	le32 speed;
	uint8_t duplex, rss_max_key_size;
	le16 rss_max_indirection_table_length;
};
_Static_assert(sizeof(struct virtio_net_config) == 20, "virtio_net_config");

#define VIRTIO_NET_S_LINK_UP 1u

enum { RECEIVEQ, TRANSMITQ, QUEUES };

#define QUEUE_MAX 256u
#define MTU_MIN 68u
#define MTU_DEFAULT 1500u
#define FIELD(name) offsetof(struct virtio_net_config, name)

static const struct net_ops ops = {
	.tx_burst = virtio_net_tx_burst,
	.rx_burst = virtio_net_rx_burst,
	.rx_again = virtio_net_rx_again,
};

static void read_mac(struct net *net)
{
	static const uint8_t none[6];
	uint8_t *mac = net->device.mac;
	uint64_t noise = (clock_ticks() ^ (uintptr_t)net) * UINT64_C(0x9e3779b97f4a7c15);

	if (virtio_has(net->vdev, VIRTIO_NET_F_MAC)) {
		if (!virtio_config_read(net->vdev, FIELD(mac), mac, 6) && !(mac[0] & 1) && memcmp(mac, none, 6))
			return;
		log_warn("virtio-net %s: its MAC address is none of a single device, a random one is used", net->vdev->name);
	} else if (net->device.mac_is_random) {
		return; /* keep it over resets */
	}
	/* "Device configuration layout": otherwise a locally-administered MAC address */
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)(noise >> (16 + 8 * i));
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	net->device.mac_is_random = true;
}

static bool read_link(struct net *net)
{
	/* 0 and 1. (A sentence about the device has them the other way round; no device has.) */
	static const enum net_duplex modes[] = {NET_DUPLEX_HALF, NET_DUPLEX_FULL};
	struct virtio_device *vdev = net->vdev;
	uint32_t speed = UINT32_MAX;
	uint8_t duplex = UINT8_MAX;

	/* "Device configuration layout": speeds above 0x7fffffff and other modes are unknown; the driver re-reads after each change */
	if (virtio_has(vdev, VIRTIO_NET_F_SPEED_DUPLEX)) {
		speed = virtio_config_u32(vdev, FIELD(speed), UINT32_MAX);
		duplex = virtio_config_u8(vdev, FIELD(duplex), UINT8_MAX);
	}
	net->device.speed = speed > INT32_MAX ? 0 : speed;
	net->device.duplex = duplex < ARRAY_SIZE(modes) ? modes[duplex] : NET_DUPLEX_UNKNOWN;
	/* "Device configuration layout": active without STATUS */
	return !virtio_has(vdev, VIRTIO_NET_F_STATUS) || (virtio_config_u16(vdev, FIELD(status), 0) & VIRTIO_NET_S_LINK_UP);
}

static int read_config(struct net *net)
{
	struct virtio_device *vdev = net->vdev;
	bool mergeable = virtio_has(vdev, VIRTIO_NET_F_MRG_RXBUF), modern = virtio_has(vdev, VIRTIO_F_VERSION_1);
	uint16_t mtu = MTU_DEFAULT;

	if (virtio_has(vdev, VIRTIO_NET_F_MTU))
		mtu = virtio_config_u16(vdev, FIELD(mtu), 0);
	if (mtu < MTU_MIN)
		return virtio_refuse(vdev, -EINVAL, "mtu %u is below %u", mtu, MTU_MIN);
	net->device.mtu = mtu;
	net->frame_max = mtu + ETHERNET_HEADER;
	/* "Legacy Interface: Device Operation": num_buffers is not there without MRG_RXBUF */
	net->header = modern || mergeable ? sizeof(struct virtio_net_hdr) : offsetof(struct virtio_net_hdr, num_buffers);
	/* "Legacy Interface: Framing Requirements" */
	net->own_header = !modern && !virtio_has(vdev, VIRTIO_F_ANY_LAYOUT);
	/* "Setting Up Receive Buffers": each takes a frame in full, unless several can be merged */
	net->rx_fragments = (uint16_t)(mergeable ? 1 : (net->frame_max + BUF_CAPACITY - 1) / BUF_CAPACITY);
	read_mac(net);
	return 0;
}

static void config_changed(struct virtio_device *vdev)
{
	struct net *net = vdev->driver_data;

	net_link_event(&net->device, read_link(net));
}

/* ---- life ---- */

static int probe(struct virtio_device *vdev)
{
	struct net *net = page_alloc(sizeof(*net), PAGE_SIZE);

	if (!net)
		return -ENOMEM;
	if (virtio_net_rx_open(net)) {
		page_free(net, sizeof(*net));
		return -ENOMEM;
	}
	net->vdev = vdev;
	net->device.ops = &ops;
	net->device.node.name = vdev->name;
	vdev->driver_data = net;
	return 0;
}

static int create_queues(struct net *net)
{
	struct virtio_device *vdev = net->vdev;
	const struct virtq_spec specs[QUEUES] = {
		[RECEIVEQ] = {.name = "receiveq1",
	                      .callback = virtio_net_rx_used,
	                      .max_size = QUEUE_MAX,
	                      .max_buffers = (uint16_t)(net->rx_fragments + net->own_header),
	                      .context = net},
		[TRANSMITQ] = {.name = "transmitq1",
	                       .callback = virtio_net_tx_used,
	                       .quiet = true,
	                       .max_size = QUEUE_MAX,
	                       .max_buffers = TX_FRAGMENTS + 1,
	                       .context = net},
	};
	uint32_t buffers = (net->frame_max + BUF_CAPACITY - 1) / BUF_CAPACITY + net->own_header;
	int error = virtio_queues_create(vdev, QUEUES, specs);

	if (error)
		return error;
	/* "Device configuration layout": MUST supply enough receive buffers for a packet of size mtu */
	if (vdev->queues[RECEIVEQ]->size < buffers || vdev->queues[TRANSMITQ]->size <= net->own_header)
		return virtio_refuse(vdev, -EINVAL, "queues of %u and %u are too small for a frame", vdev->queues[RECEIVEQ]->size,
		                     vdev->queues[TRANSMITQ]->size);
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct net *net = vdev->driver_data;
	int error = read_config(net);

	if (!error)
		error = create_queues(net);
	if (error)
		return error;
	net->rx = vdev->queues[RECEIVEQ];
	net->tx = vdev->queues[TRANSMITQ];
	virtio_net_rx_fill(net);
	virtio_driver_ok(vdev);
	if (net->registered) {
		net_link_event(&net->device, read_link(net));
	} else {
		net->device.link_up = read_link(net);
		net_register(&net->device);
		net->registered = true;
	}
	virtio_net_tx_tell_room(net);
	return 0;
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	struct net *net = vdev->driver_data;

	if (vq->index == RECEIVEQ) {
		net->rx = NULL;
		virtio_net_rx_drain(net, vq);
	} else {
		net->tx = NULL;
		virtio_net_tx_drain(net, vq);
	}
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct net *net = vdev->driver_data;

	if (vq->index == RECEIVEQ)
		net->rx = vq;
	else
		net->tx = vq;
	virtio_net_rx_fill(net);
	virtio_net_tx_tell_room(net);
}

static void stop(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			queue_drain(vdev, vdev->queues[i]);
}

static void remove(struct virtio_device *vdev)
{
	struct net *net = vdev->driver_data;

	if (net->registered)
		net_unregister(&net->device);
	virtio_net_rx_close(net);
	page_free(net, sizeof(*net));
}

static const struct virtio_driver net_driver = {
	.name = "virtio-net",
	.instance = "net",
	.type = VIRTIO_ID_NET,
	.features = BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_MRG_RXBUF) |
                    BIT64(VIRTIO_NET_F_STATUS) | BIT64(VIRTIO_NET_F_SPEED_DUPLEX),
	.config_size = sizeof(struct virtio_net_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(net_driver);
