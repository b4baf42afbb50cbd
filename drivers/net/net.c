/*
 * "Network Device": pairs of a receiveq and a transmitq, one for each CPU as far as the device has them, and a controlq. Here are
 * configuration and life; rx.c and tx.c have a virtqueue each, ctrl.c has the controlq, steer.c what goes to which pair.
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

#include "ctrl.h"

enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };

#define QUEUE_MAX 256u
#define CONTROL_MAX 64u   /* commands are few; over MMIO 1,024 entries may be offered */
#define PAIRS_MAX 0x7fffu /* the controlq has to have an index, too */
#define MTU_MIN 68u
#define MTU_DEFAULT 1500u
#define POOL_BUFFERS (2 * QUEUE_MAX) /* a ring of them with the device, another one with the program */
#define POOL_REQUESTS 32u            /* or that many requests, where they are long */

static struct net_counters count(const struct net_device *device)
{
	const struct net *net = net_of(device);
	struct net_counters sum = {0};

	for (unsigned i = 0; i < net->pair_count; i++) {
		const struct net_counters *one = &net->pairs[i].counters;

		sum.tx_frames += one->tx_frames;
		sum.tx_bytes += one->tx_bytes;
		sum.tx_errors += one->tx_errors;
		sum.rx_frames += one->rx_frames;
		sum.rx_bytes += one->rx_bytes;
		sum.rx_errors += one->rx_errors;
	}
	return sum;
}

static const struct net_ops ops = {
	.tx_burst = virtio_net_tx_burst,
	.rx_burst = virtio_net_rx_burst,
	.rx_again = virtio_net_rx_again,
	.poll = virtio_net_rx_poll,
	.count = count,
	.control = &virtio_net_control,
};

/* ---- configuration ---- */

/* Every field that there is, and with which feature. What changes is the link's, from status to duplex. */
static const struct virtio_fields fields[] = {
	{NET_CONFIG(mac), 6, 1, BIT64(VIRTIO_NET_F_MAC)},
	{NET_CONFIG(status), 2, 2, BIT64(VIRTIO_NET_F_STATUS)},
	{NET_CONFIG(mtu), 2, 2, BIT64(VIRTIO_NET_F_MTU)},
	{NET_CONFIG(speed), 4, 4, BIT64(VIRTIO_NET_F_SPEED_DUPLEX)},
	{NET_CONFIG(duplex), 1, 1, BIT64(VIRTIO_NET_F_SPEED_DUPLEX)},
	{NET_CONFIG(rss_max_key_size), 1, 1, BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT)},
	{NET_CONFIG(rss_max_indirection_table_length), 2, 2, BIT64(VIRTIO_NET_F_RSS)},
	{NET_CONFIG(supported_hash_types), 4, 4, BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT)},
	{NET_CONFIG(supported_tunnel_types), 4, 4, BIT64(VIRTIO_NET_F_HASH_TUNNEL)},
};
#define LINK_FIRST 1u
#define LINK_COUNT 4u

static void take_mac(struct net *net, const uint8_t given[6])
{
	static const uint8_t none[6];
	uint8_t *mac = net->device.mac;
	uint64_t noise;

	if (net->ctrl.mac_set)
		return; /* the program's; the device is told again */
	if (!(given[0] & 1) && memcmp(given, none, sizeof(none))) {
		memcpy(mac, given, sizeof(none));
		return;
	}
	if (virtio_has(net->vdev, VIRTIO_NET_F_MAC))
		log_warn("virtio-net %s: its MAC address is none of a single device, a random one is used", net->vdev->name);
	else if (net->device.mac_is_random)
		return; /* keep it over resets */
	/* "Device configuration layout": otherwise a locally-administered MAC address */
	noise = (clock_ticks() ^ (uintptr_t)net) * UINT64_C(0x9e3779b97f4a7c15);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)(noise >> (16 + 8 * i));
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	net->device.mac_is_random = true;
}

static void look_at_link(struct net *net)
{
	/* 0 and 1. (A sentence about the device has them the other way round; no device has.) */
	static const enum net_duplex modes[] = {NET_DUPLEX_HALF, NET_DUPLEX_FULL};
	/* "Device configuration layout": active without STATUS */
	struct virtio_net_config config = {.status = cpu_to_le16(STATUS_LINK_UP), .speed = UINT32_MAX, .duplex = UINT8_MAX};
	struct net_device *device = &net->device;
	uint32_t speed;
	bool up;

	/* "Device configuration layout": speeds above 0x7fffffff and other modes are unknown; the driver re-reads after each change */
	(void)!virtio_config_fields(net->vdev, &fields[LINK_FIRST], LINK_COUNT, &config.status);
	speed = le32_to_cpu(config.speed);
	device->speed = speed > INT32_MAX ? 0 : speed;
	device->duplex = config.duplex < ARRAY_SIZE(modes) ? modes[config.duplex] : NET_DUPLEX_UNKNOWN;
	up = config.status & cpu_to_le16(STATUS_LINK_UP);
	if (!device->node.listed)
		device->link_up = up; /* what the first look finds is no change */
	net_link_event(device, up);
	if (virtio_has(net->vdev, VIRTIO_NET_F_GUEST_ANNOUNCE) && config.status & cpu_to_le16(STATUS_ANNOUNCE)) {
		net_announce_event(device);
		virtio_net_ctrl_announced(net);
	}
}

static int read_config(struct net *net)
{
	struct virtio_device *vdev = net->vdev;
	bool modern = virtio_has(vdev, VIRTIO_F_VERSION_1), report = virtio_has(vdev, VIRTIO_NET_F_HASH_REPORT);
	struct virtio_net_config config = {.mtu = cpu_to_le16(MTU_DEFAULT)};
	uint32_t longest;
	uint16_t mtu;

	if (virtio_config_fields(vdev, fields, ARRAY_SIZE(fields), &config) == -EIO)
		return -EIO;
	net->mergeable = virtio_has(vdev, VIRTIO_NET_F_MRG_RXBUF);
	mtu = le16_to_cpu(config.mtu);
	if (mtu < MTU_MIN)
		return virtio_refuse(vdev, -EINVAL, "mtu %u is below %u", mtu, MTU_MIN);
	net->device.mtu = mtu;
	net->device.standby = virtio_has(vdev, VIRTIO_NET_F_STANDBY);
	net->frame_max = mtu + ETHERNET_HEADER;
	virtio_net_offloads(net);
	if (!net->ctrl.offloads_set)
		net->device.rx_offloads = net->rx_offloads;
	/* "Legacy Interface: Device Operation": num_buffers is not there without MRG_RXBUF. "Setting Up Receive Buffers": 20 or 12 bytes */
	net->header = (uint16_t)(report                     ? sizeof(struct virtio_net_hdr)
	                         : modern || net->mergeable ? offsetof(struct virtio_net_hdr, hash_value)
	                                                    : offsetof(struct virtio_net_hdr, num_buffers));
	/* "Legacy Interface: Framing Requirements" */
	net->own_header = !modern && !virtio_has(vdev, VIRTIO_F_ANY_LAYOUT);
	net->tx_plain_max = net->own_header || report ? 0 : net->frame_max;
	/* "Setting Up Receive Buffers": each takes a frame in full, unless several can be merged */
	longest = net->rx_offloads & ~NET_OFFLOAD_CSUM ? MAX(GSO_FRAME_MAX, net->frame_max) : net->frame_max;
	net->rx_fragments = (uint16_t)(net->mergeable ? 1 : FRAGMENTS(longest));
	net->rx_plain = net->rx_fragments == 1 && !report;
	take_mac(net, config.mac);
	return virtio_net_take_steering(net, &config);
}

static void config_changed(struct virtio_device *vdev) { look_at_link(vdev->driver_data); }

/* ---- life ---- */

/* How many pairs are used: one for each CPU, if the device has as many. */
static int count_pairs(struct virtio_device *vdev, uint16_t *most, uint16_t *used)
{
	*most = *used = 1;
	if (virtio_has(vdev, VIRTIO_NET_F_MQ) || virtio_has(vdev, VIRTIO_NET_F_RSS))
		*most = virtio_config_u16(vdev, NET_CONFIG(max_virtqueue_pairs), 0);
	if (*most < 1 || *most > PAIRS_MAX)
		return virtio_refuse(vdev, -EINVAL, "max_virtqueue_pairs is %u", *most);
	*used = (uint16_t)MIN(*most, cpu_count());
	return 0;
}

static int probe(struct virtio_device *vdev)
{
	struct net *net;
	size_t bytes;
	bool control = virtio_has(vdev, VIRTIO_NET_F_CTRL_VQ);
	uint16_t most, used, queues;
	int error = count_pairs(vdev, &most, &used);

	if (error)
		return error;
	queues = (uint16_t)(2 * (control ? most : used) + control);
	bytes = sizeof(*net) + sizeof(net->pairs[0]) * used + sizeof(net->specs[0]) * queues;
	net = page_alloc(bytes, PAGE_SIZE);
	if (!net)
		return -ENOMEM;
	net->bytes = bytes;
	net->vdev = vdev;
	net->max_pairs = most;
	net->pair_count = used;
	net->queue_count = queues;
	net->specs = (void *)&net->pairs[used];
	for (unsigned i = 0; i < used; i++)
		net->pairs[i] = (struct net_pair){.net = net, .index = i};
	if (virtio_net_ctrl_open(net)) {
		page_free(net, bytes);
		return -ENOMEM;
	}
	net->device.ops = &ops;
	vdev->driver_data = net;
	vdev->node = &net->device.node;
	return 0;
}

/* "Virtqueues": the pairs, then the controlq; those of pairs that are not used are left out. */
static int create_queues(struct net *net)
{
	struct virtio_device *vdev = net->vdev;
	uint32_t needed = FRAGMENTS(net->frame_max) + net->own_header;
	struct virtq_spec *spec = net->specs;
	int error;

	for (unsigned i = 0; i < 2u * net->pair_count; i++, spec++) {
		struct net_pair *pair = &net->pairs[i / 2];
		bool tx = i % 2 == NET_TX;

		spec->name = tx ? "transmitq" : "receiveq";
		spec->callback = tx ? virtio_net_tx_used : virtio_net_rx_used;
		spec->quiet = tx || net->device.polled;
		spec->max_size = QUEUE_MAX;
		spec->max_buffers = (uint16_t)(tx ? FRAGMENTS_MAX + 1 : net->rx_fragments + net->own_header);
		spec->in_turn = true;
		spec->context = pair;
		spec->cpu = pair->index;
	}
	if (virtio_has(vdev, VIRTIO_NET_F_CTRL_VQ)) {
		spec = &net->specs[net->queue_count - 1];
		*spec = virtio_requestq_spec(&net->ctrl.queue, "controlq", ARRAY_SIZE(net->ctrl.commands->bufs));
		spec->max_size = CONTROL_MAX;
	}
	error = virtio_queues_create(vdev, net->queue_count, net->specs);
	for (unsigned i = 0; !error && i < 2u * net->pair_count; i += 2) {
		uint16_t rx = vdev->queues[i + NET_RX]->size, tx = vdev->queues[i + NET_TX]->size;

		/* "Device configuration layout": MUST supply enough receive buffers for a packet of size mtu */
		if (rx < needed || tx < 1u + net->own_header)
			error = virtio_refuse(vdev, -EINVAL, "queue %u of %u is too small for a frame", i + (rx >= needed),
			                      rx < needed ? rx : tx);
		net->rx_fragments = (uint16_t)MIN(net->rx_fragments, rx - net->own_header);
	}
	return error;
}

static int open_pools(struct net *net)
{
	unsigned buffers = MAX(POOL_BUFFERS, POOL_REQUESTS * net->rx_fragments);

	for (unsigned i = 0; i < net->pair_count; i++)
		if (!net->pairs[i].pool && virtio_net_rx_open(&net->pairs[i], buffers))
			return virtio_refuse(net->vdev, -ENOMEM, "no memory for its buffers");
	return 0;
}

/* On the queue's CPU, as what drains it. */
static void start_queue(struct virtq *vq)
{
	struct net *net = vq->vdev->driver_data;
	struct net_pair *pair = &net->pairs[vq->index / 2];

	if (vq->index == 2 * net->max_pairs) {
		virtio_requestq_start(&net->ctrl.queue, vq);
	} else if (vq->index % 2) {
		pair->tx = vq;
		virtio_net_tx_tell_room(pair);
	} else {
		pair->rx = vq;
		virtio_net_rx_fill(pair);
	}
}

static void drain_queue(struct virtq *vq)
{
	struct net *net = vq->vdev->driver_data;
	struct net_pair *pair = &net->pairs[vq->index / 2];

	if (vq->index == 2 * net->max_pairs) {
		virtio_requestq_drain(&net->ctrl.queue, false);
	} else if (vq->index % 2) {
		pair->tx = NULL;
		virtio_net_tx_drain(pair, vq);
	} else {
		pair->rx = NULL;
		virtio_net_rx_drain(pair, vq);
	}
}

static int start(struct virtio_device *vdev)
{
	struct net *net = vdev->driver_data;
	int error = read_config(net);

	if (!error)
		error = create_queues(net);
	if (!error)
		error = open_pools(net);
	if (error)
		return error;
	/* "Automatic receive steering in multiqueue mode": MUST use the first transmitq only, until the device has taken the number */
	net->device.queues = 1;
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_run(vdev->queues[i], start_queue);
	virtio_driver_ok(vdev);
	error = virtio_net_ctrl_restore(net);
	if (error)
		return error;
	look_at_link(net);
	return 0;
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	drain_queue(vq);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	start_queue(vq);
}

static void stop(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_run(vdev->queues[i], drain_queue);
}

static void close_pair(void *pair) { virtio_net_rx_close(pair); }

static void remove(struct virtio_device *vdev)
{
	struct net *net = vdev->driver_data;

	for (unsigned i = 0; i < net->pair_count; i++)
		cpu_run(i, close_pair, &net->pairs[i]);
	virtio_net_ctrl_close(net);
}

/* "Feature bit requirements", and what SHOULD NOT be accepted without the controlq */
static const struct virtio_feature_rule rules[] = {
	{VIRTIO_NET_F_GUEST_TSO4, BIT64(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_TSO6, BIT64(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_ECN, BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6)},
	{VIRTIO_NET_F_GUEST_UFO, BIT64(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_USO4, BIT64(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_GUEST_USO6, BIT64(VIRTIO_NET_F_GUEST_CSUM)},
	{VIRTIO_NET_F_HOST_TSO4, BIT64(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_HOST_TSO6, BIT64(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_HOST_ECN, BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6)},
	{VIRTIO_NET_F_HOST_UFO, BIT64(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_HOST_USO, BIT64(VIRTIO_NET_F_CSUM)},
	{VIRTIO_NET_F_CTRL_RX, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_VLAN, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_RX_EXTRA, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_GUEST_ANNOUNCE, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_GUEST_ANNOUNCE, BIT64(VIRTIO_NET_F_STATUS)},
	{VIRTIO_NET_F_MQ, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_CTRL_MAC_ADDR, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_NOTF_COAL, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_VQ_NOTF_COAL, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_RSC_EXT, BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6)},
	{VIRTIO_NET_F_RSC_EXT, BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6)},
	{VIRTIO_NET_F_RSS, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_HASH_REPORT, BIT64(VIRTIO_NET_F_CTRL_VQ)},
	{VIRTIO_NET_F_HASH_TUNNEL, BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT)},
	{0, 0},
};

#define FEATURES                                                                                                                 \
	(BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |                   \
	 BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6) |   \
	 BIT64(VIRTIO_NET_F_GUEST_ECN) | BIT64(VIRTIO_NET_F_GUEST_UFO) | BIT64(VIRTIO_NET_F_HOST_TSO4) |                         \
	 BIT64(VIRTIO_NET_F_HOST_TSO6) | BIT64(VIRTIO_NET_F_HOST_ECN) | BIT64(VIRTIO_NET_F_HOST_UFO) |                           \
	 BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_STATUS) | BIT64(VIRTIO_NET_F_CTRL_VQ) |                              \
	 BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_CTRL_VLAN) | BIT64(VIRTIO_NET_F_CTRL_RX_EXTRA) |                       \
	 BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_CTRL_MAC_ADDR) |                       \
	 BIT64(VIRTIO_NET_F_HASH_TUNNEL) | BIT64(VIRTIO_NET_F_VQ_NOTF_COAL) | BIT64(VIRTIO_NET_F_NOTF_COAL) |                    \
	 BIT64(VIRTIO_NET_F_GUEST_USO4) | BIT64(VIRTIO_NET_F_GUEST_USO6) | BIT64(VIRTIO_NET_F_HOST_USO) |                        \
	 BIT64(VIRTIO_NET_F_HASH_REPORT) | BIT64(VIRTIO_NET_F_GUEST_HDRLEN) | BIT64(VIRTIO_NET_F_RSS) |                          \
	 BIT64(VIRTIO_NET_F_RSC_EXT) | BIT64(VIRTIO_NET_F_STANDBY) | BIT64(VIRTIO_NET_F_SPEED_DUPLEX))

static const struct virtio_driver net_driver = {
	.name = "virtio-net",
	.instance = "net",
	.type = VIRTIO_ID_NET,
	.devices = &net_devices,
	.features = FEATURES,
	.rules = rules,
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
