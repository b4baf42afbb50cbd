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

#include "ctrl.h"

#define PATIENCE_NS UINT64_C(2000000000)

#define CTRL_OK 0u
#define CTRL_NO_ANSWER 0xffu

/* "Notifications Coalescing" */
struct virtio_net_ctrl_coal_vq {
	le16 vq_index, reserved;
	le32 max_packets, max_usecs;
};
_Static_assert(sizeof(struct virtio_net_ctrl_coal_vq) == 12, "virtio_net_ctrl_coal_vq");

/* What the device reads and writes, in memory of its own: of a program's command, of a restart's, and of the acknowledgement. */
struct net_wires {
	struct net_wire {
		uint8_t data[2 * sizeof(le32) + 6 * NET_MACS_MAX], head[2], ack;
	} commands[2];
	uint8_t announce_head[2], announce_ack;
};

static void put_head(uint8_t head[2], unsigned what)
{
	head[0] = (uint8_t)(what >> 8);
	head[1] = (uint8_t)what;
}

/* `first` and `second` bytes of data that the device reads, `answer_bytes` that it writes. */
static void lay_out(struct net_command *command, struct net_wire *wire, uint32_t first, uint32_t second, uint32_t answer_bytes)
{
	struct virtq_buf *buf = command->bufs;

	*buf++ = (struct virtq_buf){wire->head, sizeof(wire->head)};
	*buf++ = (struct virtq_buf){wire->data, first};
	if (second)
		*buf++ = (struct virtq_buf){wire->data + first, second};
	command->request = (struct virtio_request){.bufs = command->bufs, .nreadable = (uint16_t)(buf - command->bufs)};
	if (answer_bytes)
		*buf++ = (struct virtq_buf){wire->data + first, answer_bytes};
	*buf++ = (struct virtq_buf){&wire->ack, sizeof(wire->ack)};
	command->request.nwritable = (uint16_t)(buf - command->bufs - command->request.nreadable);
}

/* A restart has a command of its own: it comes, for one, while a program waits for the answer that its device never gave. */
static int exchange(struct net *net, unsigned what, const void *data, uint32_t first, uint32_t second, void *answer,
                    uint32_t answer_bytes)
{
	struct net_ctrl *ctrl = &net->ctrl;
	unsigned which = net->vdev->state != VIRTIO_RUNNING;
	struct net_command *command = &ctrl->commands[which];
	struct net_wire *wire = &ctrl->wires->commands[which];
	int error;
	uint8_t ack;

	if (command->waiting || !command->request.over)
		return -EBUSY;
	put_head(wire->head, what);
	memcpy(wire->data, data, first + second);
	wire->ack = CTRL_NO_ANSWER;
	lay_out(command, wire, first, second, answer_bytes);

	command->waiting = true;
	error = virtio_request_call(&ctrl->queue, &command->request, PATIENCE_NS);
	command->waiting = false;
	if (ctrl->orphan) {
		virtio_net_ctrl_close(net);
		return -ENODEV;
	}
	if (error)
		return error;
	/* "Control Virtqueue": "little the driver can do except issue a diagnostic if ack is not VIRTIO_NET_OK" */
	ack = READ_ONCE(wire->ack);
	if (ack != CTRL_OK) {
		log_warn("virtio-net %s: command 0x%03x is refused (%u)", net->vdev->name, what, ack);
		return -EIO;
	}
	if (answer)
		memcpy(answer, wire->data + first, answer_bytes);
	return 0;
}

int virtio_net_command(struct net *net, unsigned what, const void *data, uint32_t bytes)
{
	return exchange(net, what, data, bytes, 0, NULL, 0);
}

/* ---- filters ---- */

/* "Packet Receive Filtering" */
static int rx_mode(struct net_device *device, enum net_rx_mode mode, bool on)
{
	struct net *net = net_of(device);
	uint8_t value = on;
	int error;

	if (mode >= NET_RX_MODES)
		return -EINVAL;
	if (!virtio_has(net->vdev, mode <= NET_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA))
		return -ENOTSUP;
	error = virtio_net_command(net, CTRL_RX | mode, &value, sizeof(value));
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
	error = virtio_net_command(net, CTRL_MAC_ADDR_SET, mac, 6);
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
	const struct net_ctrl *ctrl = &net->ctrl;
	uint8_t tables[sizeof(((struct net_wire *)NULL)->data)];
	uint32_t first = put_macs(tables, ctrl->macs, ctrl->stations);
	uint32_t second = put_macs(tables + first, ctrl->macs + ctrl->stations, ctrl->groups);

	return exchange(net, CTRL_MAC_TABLE_SET, tables, first, second, NULL, 0);
}

static int filter(struct net_device *device, const uint8_t (*macs)[6], unsigned count)
{
	struct net *net = net_of(device);
	struct net_ctrl *ctrl = &net->ctrl;

	if (count > NET_MACS_MAX)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_RX))
		return -ENOTSUP;
	if (ctrl->commands[0].waiting)
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
	le16 wire = cpu_to_le16(id);

	return virtio_net_command(net, pass ? CTRL_VLAN_ADD : CTRL_VLAN_DEL, &wire, sizeof(wire));
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
	le64 wire;
	int error;

	/* "Setting Offloads State": MUST NOT enable one that was not negotiated */
	if (offloads & ~net->rx_offloads)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return -ENOTSUP;
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		mask |= offloads & 1u << i ? BIT64(bits[i]) : 0;
	wire = cpu_to_le64(mask);
	error = virtio_net_command(net, CTRL_GUEST_OFFLOADS_SET, &wire, sizeof(wire));
	if (!error) {
		device->rx_offloads = offloads;
		net->ctrl.offloads_set = true;
	}
	return error;
}

/* ---- notifications ---- */

/* "Notifications Coalescing": all queues of a way; one */
static int send_coalescing(struct net *net, enum net_way way, int queue, const struct net_coalescing *how)
{
	struct virtio_net_ctrl_coal_vq coal = {.vq_index = cpu_to_le16((uint16_t)(2 * queue + (int)way)),
	                                       .max_packets = cpu_to_le32(how->packets),
	                                       .max_usecs = cpu_to_le32(how->usecs)};

	return queue < 0 ? virtio_net_command(net, CTRL_NOTF_COAL_SET | (way == NET_RX), &coal.max_packets, 2 * sizeof(le32))
	                 : virtio_net_command(net, CTRL_NOTF_COAL_VQ_SET, &coal, sizeof(coal));
}

static int coalesce(struct net_device *device, enum net_way way, int queue, const struct net_coalescing *how)
{
	struct net *net = net_of(device);
	int error;

	if (way > NET_TX || queue < -1 || queue >= (int)device->queues)
		return -EINVAL;
	if (!virtio_has(net->vdev, queue < 0 ? VIRTIO_NET_F_NOTF_COAL : VIRTIO_NET_F_VQ_NOTF_COAL))
		return -ENOTSUP;
	error = send_coalescing(net, way, queue, how);
	for (int i = 0; !error && i < net->pair_count; i++)
		if (queue < 0 || i == queue)
			net->pairs[i].coalescing[way] = *how;
	return error;
}

static int coalescing(struct net_device *device, enum net_way way, unsigned queue, struct net_coalescing *how)
{
	struct net *net = net_of(device);
	struct virtio_net_ctrl_coal_vq coal = {.vq_index = cpu_to_le16((uint16_t)(2 * queue + way))};
	int error;

	*how = (struct net_coalescing){0};
	if (way > NET_TX || queue >= device->queues)
		return -EINVAL;
	if (!virtio_has(net->vdev, VIRTIO_NET_F_VQ_NOTF_COAL))
		return -ENOTSUP;
	/* "Notifications Coalescing": the values are ignored when the device responds with an error */
	error = exchange(net, CTRL_NOTF_COAL_VQ_GET, &coal, 2 * sizeof(le16), 0, &coal.max_packets, 2 * sizeof(le32));
	if (!error)
		*how = (struct net_coalescing){le32_to_cpu(coal.max_packets), le32_to_cpu(coal.max_usecs)};
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
			error = send_coalescing(net, i % 2, (int)(i / 2), how);
		else if (i < 2)
			error = send_coalescing(net, i % 2, -1, how);
	}
	return error;
}

const struct net_control_ops virtio_net_control = {
	.rx_mode = rx_mode,
	.set_mac = set_mac,
	.filter = filter,
	.vlan = vlan,
	.rx_offloads = rx_offloads,
	.steer = virtio_net_steer,
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
	struct net_wires *wires = ctrl->wires;

	if (!ctrl->announce.over) {
		ctrl->announce_again = true;
		return;
	}
	put_head(wires->announce_head, CTRL_ANNOUNCE_ACK);
	ctrl->announce_bufs[0] = (struct virtq_buf){wires->announce_head, sizeof(wires->announce_head)};
	ctrl->announce_bufs[1] = (struct virtq_buf){&wires->announce_ack, sizeof(wires->announce_ack)};
	ctrl->announce =
		(struct virtio_request){.bufs = ctrl->announce_bufs, .nreadable = 1, .nwritable = 1, .done = acknowledged};
	virtio_request_submit(&ctrl->queue, &ctrl->announce);
}

/* ---- life ---- */

static int restore_settings(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;
	int error = 0;

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
	return error == -ETIMEDOUT ? error : restore_coalescing(net);
}

int virtio_net_ctrl_restore(struct net *net)
{
	int error = virtio_net_restore_steering(net);

	/* Before it is known to programs nobody has set anything but we. */
	if (error != -ETIMEDOUT && (net->device.node.listed || net->device.mac_is_random))
		error = restore_settings(net);
	/* What it refuses now it has said in a line; what it does not answer is its end. */
	return error == -ETIMEDOUT ? virtio_refuse(net->vdev, error, "controlq: no answer") : 0;
}

int virtio_net_ctrl_open(struct net *net)
{
	struct net_ctrl *ctrl = &net->ctrl;

	virtio_requestq_init(&ctrl->queue);
	ctrl->commands[0].request.over = ctrl->commands[1].request.over = ctrl->announce.over = true;
	ctrl->wires = page_alloc(sizeof(*ctrl->wires), PAGE_SIZE);
	return ctrl->wires ? 0 : -ENOMEM;
}

void virtio_net_ctrl_close(struct net *net)
{
	virtio_requestq_end(&net->ctrl.queue);
	if (net->ctrl.commands[0].waiting || net->ctrl.commands[1].waiting) {
		net->ctrl.orphan = true; /* exchange() sees it, further up the stack */
		return;
	}
	page_free(net->ctrl.wires, sizeof(*net->ctrl.wires));
	page_free(net, net->bytes);
}
