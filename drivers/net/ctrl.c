/*
 * Network Device: the control virtqueue.
 *
 * One command at a time, and its caller waits. What was asked for is remembered, since a reset makes the device forget it: the restart asks
 * again. Only the acknowledgement of an announcement goes out on its own, as it answers the device and not a program.
 *
 * Head, data and ack have a descriptor each, and both tables of addresses too, as the legacy interface demands; others do not mind.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>

#include "net_impl.h"

#define PATIENCE_NS UINT64_C(2000000000)

/* "Control Virtqueue": class << 8 | command */
enum {
	CTRL_RX = 0x000, /* with an enum net_rx_mode */
	CTRL_MAC_TABLE_SET = 0x100,
	CTRL_MAC_ADDR_SET = 0x101,
	CTRL_VLAN_ADD = 0x200,
	CTRL_VLAN_DEL = 0x201,
	CTRL_ANNOUNCE_ACK = 0x300,
	CTRL_MQ_VQ_PAIRS_SET = 0x400,
	CTRL_MQ_RSS_CONFIG = 0x401,
	CTRL_MQ_HASH_CONFIG = 0x402,
	CTRL_GUEST_OFFLOADS_SET = 0x500,
	CTRL_NOTF_COAL_SET = 0x600, /* with 0 for TX, 1 for RX */
	CTRL_NOTF_COAL_VQ_SET = 0x602,
	CTRL_NOTF_COAL_VQ_GET = 0x603,
	CTRL_HASH_TUNNEL_SET = 0x700,
};
#define CTRL_OK 0u
#define CTRL_NO_ANSWER 0xffu

/* "Notifications Coalescing" */
struct virtio_net_ctrl_coal_vq {
	le16 vq_index, reserved;
	le32 max_packets, max_usecs;
};
_Static_assert(sizeof(struct virtio_net_ctrl_coal_vq) == 12, "virtio_net_ctrl_coal_vq");

/* What the device reads and writes, in memory of its own. */
struct net_wire {
	union {
		le16 id;
		le32 tunnels;
		le64 offloads;
		uint8_t mac[6];
		struct virtio_net_ctrl_coal_vq coal;
		uint8_t bytes[2 * sizeof(le32) + 6 * NET_MACS_MAX];
	} data;
	uint8_t head[2], ack, announce_head[2], announce_ack;
};

/* Send a command with its data: `first` and `second` bytes that the device reads, `answer` behind them that it writes. */
static int command(struct net *net, unsigned what, uint32_t first, uint32_t second, uint32_t answer)
{
	struct net_ctrl *ctrl = &net->ctrl;
	struct net_wire *wire = ctrl->wire;
	struct virtq_buf *buf = ctrl->bufs;
	int error;
	uint8_t ack;

	if (ctrl->waiting || !ctrl->request.over)
		return -EBUSY;
	wire->head[0] = (uint8_t)(what >> 8);
	wire->head[1] = (uint8_t)what;
	wire->ack = CTRL_NO_ANSWER;
	*buf++ = (struct virtq_buf){wire->head, sizeof(wire->head)};
	*buf++ = (struct virtq_buf){wire->data.bytes, first};
	if (second)
		*buf++ = (struct virtq_buf){wire->data.bytes + first, second};
	ctrl->request = (struct virtio_request){.bufs = ctrl->bufs, .nreadable = (uint16_t)(buf - ctrl->bufs)};
	if (answer)
		*buf++ = (struct virtq_buf){wire->data.bytes + first, answer};
	*buf++ = (struct virtq_buf){&wire->ack, sizeof(wire->ack)};
	ctrl->request.nwritable = (uint16_t)(buf - ctrl->bufs - ctrl->request.nreadable);

	ctrl->waiting = true;
	error = virtio_request_call(&ctrl->queue, &ctrl->request, PATIENCE_NS);
	ctrl->waiting = false;
	if (ctrl->orphan) {
		virtio_net_ctrl_close(net);
		return -ENODEV;
	}
	if (error)
		return error;
	/* "Control Virtqueue": "little the driver can do except issue a diagnostic if ack is not VIRTIO_NET_OK" */
	ack = READ_ONCE(wire->ack);
	if (ack != CTRL_OK)
		log_warn("virtio-net %s: command 0x%03x is refused (%u)", net->vdev->name, what, ack);
	return ack == CTRL_OK ? 0 : -EIO;
}

/* ---- filters ---- */

/* "Packet Receive Filtering" */
static int rx_mode(struct net_device *device, enum net_rx_mode mode, bool on)
{
	struct net *net = net_of(device);
	int error;

	if (mode >= NET_RX_MODES)
		return -EINVAL;
	if (!virtio_has(net->vdev, mode <= NET_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA))
		return -ENOTSUP;
	net->ctrl.wire->data.bytes[0] = on;
	error = command(net, CTRL_RX | mode, 1, 0, 0);
	if (!error) {
		net->ctrl.modes_set |= (uint8_t)(1u << mode);
		net->ctrl.modes = (uint8_t)((net->ctrl.modes & ~(1u << mode)) | (unsigned)on << mode);
	}
	return error;
}

/* "Setting MAC Address Filtering" */
static int set_mac(struct net_device *device, const uint8_t mac[6])
{
	struct net *net = net_of(device);
	int error;

	if (mac[0] & 1)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR) || !virtio_has(net->vdev, VIRTIO_NET_F_CTRL_RX))
		return -ENOTSUP;
	memcpy(net->ctrl.wire->data.mac, mac, 6);
	error = command(net, CTRL_MAC_ADDR_SET, 6, 0, 0);
	if (!error) {
		if (mac != device->mac)
			memcpy(device->mac, mac, 6);
		net->ctrl.mac_set = true;
	}
	return error;
}

static uint32_t put_macs(uint8_t *at, const uint8_t (*macs)[6], unsigned count)
{
	le32 entries = cpu_to_le32(count);

	memcpy(at, &entries, sizeof(entries));
	memcpy(at + sizeof(entries), macs, 6 * count);
	return (uint32_t)sizeof(entries) + 6 * count;
}

static int send_filter(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;
	uint8_t *at = ctrl->wire->data.bytes;
	uint32_t first = put_macs(at, (const uint8_t(*)[6])ctrl->macs, ctrl->stations);

	return command(net, CTRL_MAC_TABLE_SET, first,
	               put_macs(at + first, (const uint8_t(*)[6])(ctrl->macs + ctrl->stations), ctrl->groups), 0);
}

static int filter(struct net_device *device, const uint8_t (*macs)[6], unsigned count)
{
	struct net *net = net_of(device);
	struct net_ctrl *ctrl = &net->ctrl;

	if (count > NET_MACS_MAX)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_RX))
		return -ENOTSUP;
	if (ctrl->waiting)
		return -EBUSY;
	ctrl->stations = ctrl->groups = 0;
	for (unsigned group = 0; group < 2; group++)
		for (unsigned i = 0; i < count; i++)
			if ((macs[i][0] & 1) == group) {
				memcpy(ctrl->macs[ctrl->stations + ctrl->groups], macs[i], 6);
				*(group ? &ctrl->groups : &ctrl->stations) += 1;
			}
	ctrl->filter_set = true;
	return send_filter(net);
}

/* "VLAN Filtering" */
static int send_vlan(struct net *net, uint16_t id, bool pass)
{
	net->ctrl.wire->data.id = cpu_to_le16(id);
	return command(net, pass ? CTRL_VLAN_ADD : CTRL_VLAN_DEL, sizeof(le16), 0, 0);
}

static int vlan(struct net_device *device, uint16_t id, bool pass)
{
	struct net *net = net_of(device);
	uint64_t bit = BIT64(id % 64);
	int error;

	if (id >= 4096)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_VLAN))
		return -ENOTSUP;
	error = send_vlan(net, id, pass);
	if (!error)
		net->ctrl.vlans[id / 64] = (net->ctrl.vlans[id / 64] & ~bit) | (pass ? bit : 0);
	return error;
}

/* ---- offloads ---- */

static int rx_offloads(struct net_device *device, uint8_t offloads)
{
	static const uint8_t bits[] = {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
	                               VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_GUEST_UFO,  VIRTIO_NET_F_GUEST_USO4,
	                               VIRTIO_NET_F_GUEST_USO6};
	struct net *net = net_of(device);
	uint64_t mask = 0;
	int error;

	/* "Setting Offloads State": MUST NOT enable one that was not negotiated */
	if (offloads & ~net->rx_offloads)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return -ENOTSUP;
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		mask |= offloads & 1u << i ? BIT64(bits[i]) : 0;
	net->ctrl.wire->data.offloads = cpu_to_le64(mask);
	error = command(net, CTRL_GUEST_OFFLOADS_SET, sizeof(le64), 0, 0);
	if (!error) {
		device->rx_offloads = offloads;
		net->ctrl.offloads_set = true;
	}
	return error;
}

/* ---- queues ---- */

static uint8_t *put16(uint8_t *at, unsigned value)
{
	le16 wire = cpu_to_le16((uint16_t)value);

	memcpy(at, &wire, sizeof(wire));
	return at + sizeof(wire);
}

/* "Setting RSS parameters", or for its lack "Hash calculation": the same but for the queues. */
static int send_steering(struct net *net, const struct net_steering *steering)
{
	bool rss = virtio_has(net->vdev, VIRTIO_NET_F_RSS);
	uint8_t *start = net->ctrl.wire->data.bytes, *at = start;
	le32 types = cpu_to_le32(steering->hash_types);

	memcpy(at, &types, sizeof(types));
	at += sizeof(types);
	if (rss) {
		at = put16(at, steering->entries - 1u);
		at = put16(at, 0); /* unclassified_queue */
		for (unsigned i = 0; i < steering->entries; i++)
			at = put16(at, steering->table[i]);
		at = put16(at, net->pair_count); /* max_tx_vq */
	} else {
		memset(at, 0, 4 * sizeof(le16));
		at += 4 * sizeof(le16);
	}
	*at++ = NET_HASH_KEY;
	memcpy(at, steering->key, NET_HASH_KEY);
	at += NET_HASH_KEY;
	return command(net, rss ? CTRL_MQ_RSS_CONFIG : CTRL_MQ_HASH_CONFIG, (uint32_t)(at - start), 0, 0);
}

/* "Inner Header Hash" */
static int send_tunnels(struct net *net, uint32_t tunnels)
{
	net->ctrl.wire->data.tunnels = cpu_to_le32(tunnels);
	return command(net, CTRL_HASH_TUNNEL_SET, sizeof(le32), 0, 0);
}

static int steer(struct net_device *device, const struct net_steering *steering)
{
	struct net *net = net_of(device);
	bool rss = virtio_has(net->vdev, VIRTIO_NET_F_RSS);
	bool tunnels = virtio_has(net->vdev, VIRTIO_NET_F_HASH_TUNNEL);
	int error;

	if (!rss && !virtio_has(net->vdev, VIRTIO_NET_F_HASH_REPORT))
		return -ENOTSUP;
	/* "Setting RSS parameters", "Inner Header Hash": nothing that the device does not know */
	if (steering->hash_types & ~device->hash_types || steering->tunnels & ~net->tunnels)
		return -EINVAL;
	if (rss) {
		/* "Setting RSS parameters": a power of two, below the device's length, of enabled queues */
		if (!steering->entries || steering->entries > net->steer_max || steering->entries & (steering->entries - 1u))
			return -EINVAL;
		for (unsigned i = 0; i < steering->entries; i++)
			if (steering->table[i] >= net->pair_count)
				return -EINVAL;
	}
	error = send_steering(net, steering);
	if (!error && tunnels)
		error = send_tunnels(net, steering->tunnels);
	if (!error && steering != &net->ctrl.steering)
		net->ctrl.steering = *steering;
	return error;
}

/* "Automatic receive steering in multiqueue mode" */
static int send_pairs(struct net *net)
{
	net->ctrl.wire->data.id = cpu_to_le16(net->pair_count);
	return command(net, CTRL_MQ_VQ_PAIRS_SET, sizeof(le16), 0, 0);
}

/* ---- notifications ---- */

/* "Notifications Coalescing" */
static int send_coalescing(struct net *net, unsigned what, enum net_way way, unsigned queue, const struct net_coalescing *how)
{
	struct virtio_net_ctrl_coal_vq *coal = &net->ctrl.wire->data.coal;
	bool all = what == CTRL_NOTF_COAL_SET, get = what == CTRL_NOTF_COAL_VQ_GET;
	le32 values[2] = {cpu_to_le32(how->packets), cpu_to_le32(how->usecs)};

	if (all) {
		memcpy(coal, values, sizeof(values));
		return command(net, what | (way == NET_RX), sizeof(values), 0, 0);
	}
	coal->vq_index = cpu_to_le16((uint16_t)(2 * queue + way));
	coal->reserved = 0;
	memcpy(&coal->max_packets, values, sizeof(values));
	return get ? command(net, what, 2 * sizeof(le16), 0, sizeof(values)) : command(net, what, sizeof(*coal), 0, 0);
}

static int coalesce(struct net_device *device, enum net_way way, int queue, const struct net_coalescing *how)
{
	struct net *net = net_of(device);
	int error;

	if (way > NET_TX || queue < -1 || queue >= (int)device->queues)
		return -EINVAL;
	if (!virtio_has(net->vdev, queue < 0 ? VIRTIO_NET_F_NOTF_COAL : VIRTIO_NET_F_VQ_NOTF_COAL))
		return -ENOTSUP;
	error = send_coalescing(net, queue < 0 ? CTRL_NOTF_COAL_SET : CTRL_NOTF_COAL_VQ_SET, way, (unsigned)queue, how);
	for (int i = 0; !error && i < net->pair_count; i++)
		if (queue < 0 || i == queue)
			net->pairs[i].coalescing[way] = *how;
	return error;
}

static int coalescing(struct net_device *device, enum net_way way, unsigned queue, struct net_coalescing *how)
{
	struct net *net = net_of(device);
	const struct virtio_net_ctrl_coal_vq *coal = &net->ctrl.wire->data.coal;
	int error;

	*how = (struct net_coalescing){0};
	if (way > NET_TX || queue >= device->queues)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_VQ_NOTF_COAL))
		return -ENOTSUP;
	/* "Notifications Coalescing": the values are ignored when the device responds with an error */
	error = send_coalescing(net, CTRL_NOTF_COAL_VQ_GET, way, queue, how);
	if (!error)
		*how = (struct net_coalescing){le32_to_cpu(READ_ONCE(coal->max_packets)),
		                               le32_to_cpu(READ_ONCE(coal->max_usecs))};
	return error;
}

static int restore_coalescing(struct net *net)
{
	int error = 0;

	for (unsigned i = 0; i < 2u * net->pair_count && error != -ETIMEDOUT; i++) {
		const struct net_coalescing *how = &net->pairs[i / 2].coalescing[i % 2];

		if (!how->packets && !how->usecs)
			continue;
		if (virtio_has(net->vdev, VIRTIO_NET_F_VQ_NOTF_COAL))
			error = send_coalescing(net, CTRL_NOTF_COAL_VQ_SET, i % 2, i / 2, how);
		else if (i < 2)
			error = send_coalescing(net, CTRL_NOTF_COAL_SET, i % 2, 0, how);
	}
	return error;
}

const struct net_control_ops virtio_net_control = {
	.rx_mode = rx_mode,
	.set_mac = set_mac,
	.filter = filter,
	.vlan = vlan,
	.rx_offloads = rx_offloads,
	.steer = steer,
	.coalesce = coalesce,
	.coalescing = coalescing,
};

/* ---- announcements ---- */

static void acknowledged(struct virtio_request *request)
{
	struct net *net = container_of(request, struct net, ctrl.announce);
	bool again = net->ctrl.announce_again && !request->status;

	net->ctrl.announce_again = false;
	if (again)
		virtio_net_ctrl_announced(net);
}

void virtio_net_ctrl_announced(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;
	struct net_wire *wire = ctrl->wire;

	if (!ctrl->announce.over) {
		ctrl->announce_again = true;
		return;
	}
	wire->announce_head[0] = (uint8_t)(CTRL_ANNOUNCE_ACK >> 8);
	wire->announce_head[1] = (uint8_t)CTRL_ANNOUNCE_ACK;
	ctrl->announce_bufs[0] = (struct virtq_buf){wire->announce_head, sizeof(wire->announce_head)};
	ctrl->announce_bufs[1] = (struct virtq_buf){&wire->announce_ack, sizeof(wire->announce_ack)};
	ctrl->announce =
		(struct virtio_request){.bufs = ctrl->announce_bufs, .nreadable = 1, .nwritable = 1, .done = acknowledged};
	virtio_request_submit(&ctrl->queue, &ctrl->announce);
}

/* ---- life ---- */

static int restore_queues(struct net *net)
{
	int error = 0;

	/* "Device operation in multiqueue mode": the last command counts, so RSS where both are there */
	if (net->pair_count > 1 && !virtio_has(net->vdev, VIRTIO_NET_F_RSS))
		error = send_pairs(net);
	if (!error && (net->device.hash_types || net->pair_count > 1) &&
	    (virtio_has(net->vdev, VIRTIO_NET_F_RSS) || virtio_has(net->vdev, VIRTIO_NET_F_HASH_REPORT)))
		error = steer(&net->device, &net->ctrl.steering);
	if (error)
		return error;
	WRITE_ONCE(net->device.queues, net->pair_count);
	for (unsigned i = 1; i < net->pair_count; i++)
		event_mark(&net->pairs[i].tx->event); /* who waits for room hears of it */
	return 0;
}

int virtio_net_ctrl_restore(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;
	int error = restore_queues(net);

	for (unsigned mode = 0; mode < NET_RX_MODES && error != -ETIMEDOUT; mode++)
		if (ctrl->modes_set & 1u << mode)
			error = rx_mode(&net->device, mode, ctrl->modes & 1u << mode);
	/* "Setting MAC Address Filtering": SHOULD set it where it is not the device's `mac` */
	if (error != -ETIMEDOUT && (ctrl->mac_set || net->device.mac_is_random))
		error = set_mac(&net->device, net->device.mac);
	if (error != -ETIMEDOUT && ctrl->filter_set)
		error = send_filter(net);
	for (unsigned word = 0; word < ARRAY_SIZE(ctrl->vlans); word++)
		for (uint64_t left = ctrl->vlans[word]; left && error != -ETIMEDOUT; left &= left - 1)
			error = send_vlan(net, (uint16_t)(64 * word + (unsigned)__builtin_ctzll(left)), true);
	if (error != -ETIMEDOUT && ctrl->offloads_set)
		error = rx_offloads(&net->device, net->device.rx_offloads);
	if (error != -ETIMEDOUT)
		error = restore_coalescing(net);
	/* What it refuses now it has said in a line; what it does not answer is its end. */
	return error == -ETIMEDOUT ? virtio_refuse(net->vdev, error, "controlq: no answer") : 0;
}

int virtio_net_ctrl_open(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;

	virtio_requestq_init(&ctrl->queue);
	ctrl->request.over = ctrl->announce.over = true;
	ctrl->wire = page_alloc(sizeof(*ctrl->wire), PAGE_SIZE);
	return ctrl->wire ? 0 : -ENOMEM;
}

void virtio_net_ctrl_close(struct net *net)
{
	virtio_requestq_end(&net->ctrl.queue);
	if (net->ctrl.waiting) {
		net->ctrl.orphan = true; /* command() sees it, further up the stack */
		return;
	}
	page_free(net->ctrl.wire, sizeof(*net->ctrl.wire));
	page_free(net, net->bytes);
}
