/*
 * "Control Virtqueue" of the network card: each command is checked against what was negotiated and against its form, and remembered.
 */
#include <string.h>

#include "swdev_net_impl.h"

struct ctrl {
	struct swdev *dev;
	struct swdev_nic_control *to;
	const uint8_t *data;
	uint32_t length;
	uint8_t class, command;
	uint8_t answer[8];
	uint32_t answer_bytes;
};

static bool needs(struct ctrl *ctrl, unsigned bit)
{
	if (swdev_has(ctrl->dev, bit))
		return true;
	swdev_violation(ctrl->dev, "command %u.%u without feature %u", ctrl->class, ctrl->command, bit);
	return false;
}

static bool has_bytes(struct ctrl *ctrl, uint32_t length)
{
	if (ctrl->length == length)
		return true;
	swdev_violation(ctrl->dev, "command %u.%u with %u bytes, not %u", ctrl->class, ctrl->command, ctrl->length, length);
	return false;
}

/* "Packet Receive Filtering" */
static bool rx(struct ctrl *ctrl)
{
	if (ctrl->command > 5 || !needs(ctrl, ctrl->command < 2 ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA) || !has_bytes(ctrl, 1))
		return false;
	if (ctrl->data[0] > 1)
		swdev_violation(ctrl->dev, "receive mode %u is set to %u", ctrl->command, ctrl->data[0]);
	ctrl->to->modes[ctrl->command] = ctrl->data[0];
	return true;
}

/* "Setting MAC Address Filtering" */
static bool mac(struct ctrl *ctrl)
{
	uint32_t stations, groups;

	if (!needs(ctrl, NET_F_CTRL_RX))
		return false;
	if (ctrl->command == 1) {
		if (!needs(ctrl, NET_F_CTRL_MAC_ADDR) || !has_bytes(ctrl, 6))
			return false;
		if (ctrl->data[0] & 1)
			swdev_violation(ctrl->dev, "the address of a group is set");
		memcpy(ctrl->dev->config, ctrl->data, 6);
		return true;
	}
	if (ctrl->command || ctrl->length < 8)
		return false;
	memcpy(&stations, ctrl->data, 4);
	if (stations > 256 || ctrl->length < 8 + 6 * stations)
		return has_bytes(ctrl, UINT32_MAX);
	memcpy(&groups, ctrl->data + 4 + 6 * stations, 4);
	if (stations + groups > 256 || !has_bytes(ctrl, 8 + 6 * (stations + groups)))
		return false;
	ctrl->to->stations = stations;
	ctrl->to->groups = groups;
	for (unsigned i = 0; i < stations + groups; i++) {
		memcpy(ctrl->to->macs[i], ctrl->data + 4 + 6 * i + (i < stations ? 0 : 4), 6);
		if ((ctrl->to->macs[i][0] & 1) != (i >= stations))
			swdev_violation(ctrl->dev, "entry %u of the MAC filter is in the wrong table", i);
	}
	return true;
}

/* "VLAN Filtering" */
static bool vlan(struct ctrl *ctrl)
{
	uint16_t id;

	if (ctrl->command > 1 || !needs(ctrl, NET_F_CTRL_VLAN) || !has_bytes(ctrl, 2))
		return false;
	id = (uint16_t)(ctrl->data[0] | ctrl->data[1] << 8);
	if (id > 4095) {
		swdev_violation(ctrl->dev, "VLAN %u", id);
		return false;
	}
	if (ctrl->command)
		ctrl->to->vlans[id / 64] &= ~(UINT64_C(1) << id % 64);
	else
		ctrl->to->vlans[id / 64] |= UINT64_C(1) << id % 64;
	return true;
}

/* "Gratuitous Packet Sending" */
static bool announce(struct ctrl *ctrl)
{
	if (ctrl->command || !needs(ctrl, NET_F_GUEST_ANNOUNCE) || !has_bytes(ctrl, 0))
		return false;
	if (!(ctrl->dev->config[6] & 2) && !ctrl->dev->lie) /* of the status, maybe */
		swdev_violation(ctrl->dev, "an announcement is acknowledged that nobody asked for");
	ctrl->dev->config[6] &= (uint8_t)~2u;
	ctrl->to->announced++;
	return true;
}

/* The queues of a pair are to be set up before they are enabled. */
static void check_pair(struct ctrl *ctrl, unsigned pair)
{
	for (unsigned i = 2 * pair; i < 2 * pair + 2; i++)
		if (pair >= swdev_nic_pairs(ctrl->dev) || !ctrl->dev->queues[i].enabled)
			swdev_violation(ctrl->dev, "queue %u is to be used, but was not set up", i);
}

/* "Automatic receive steering in multiqueue mode" */
static bool pairs(struct ctrl *ctrl)
{
	uint16_t count;

	if (!needs(ctrl, NET_F_MQ) || !has_bytes(ctrl, 2))
		return false;
	memcpy(&count, ctrl->data, 2);
	if (!count || count > swdev_nic_pairs(ctrl->dev)) {
		swdev_violation(ctrl->dev, "%u virtqueue_pairs", count);
		return false;
	}
	for (unsigned i = 0; i < count; i++)
		check_pair(ctrl, i);
	ctrl->to->pairs = count;
	return true;
}

static bool key(struct ctrl *ctrl, uint32_t at)
{
	uint8_t bytes = at < ctrl->length ? ctrl->data[at] : 0;

	if (!has_bytes(ctrl, at + 1 + bytes))
		return false;
	if (bytes > ctrl->dev->config[17] || bytes > sizeof(ctrl->to->key))
		swdev_violation(ctrl->dev, "a hash key of %u bytes", bytes);
	memcpy(ctrl->to->key, ctrl->data + at + 1, ctrl->to->key_bytes = (uint8_t)(bytes > 40 ? 40 : bytes));
	return true;
}

/* "Setting RSS parameters", "Hash calculation" */
static bool steering(struct ctrl *ctrl)
{
	bool rss = ctrl->command == 1;
	uint32_t types, entries;

	if (!needs(ctrl, rss ? NET_F_RSS : NET_F_HASH_REPORT) || ctrl->length < 12)
		return false;
	memcpy(&types, ctrl->data, 4);
	if (types & ~get32(ctrl->dev->config + 20))
		swdev_violation(ctrl->dev, "hash types %#x", types);
	ctrl->to->hash_types = types;
	if (!rss) {
		for (unsigned i = 4; i < 12; i++)
			if (ctrl->data[i])
				swdev_violation(ctrl->dev, "reserved bytes that are not zero");
		return key(ctrl, 12);
	}
	entries = (ctrl->data[4] | (uint32_t)ctrl->data[5] << 8) + 1;
	if (entries & (entries - 1) || entries > get16(ctrl->dev->config + 18) || ctrl->length < 10 + 2 * entries) {
		swdev_violation(ctrl->dev, "an RSS table of %u", entries);
		return false;
	}
	ctrl->to->entries = (uint16_t)entries;
	memcpy(ctrl->to->table, ctrl->data + 8, 2 * entries);
	memcpy(&ctrl->to->max_tx, ctrl->data + 8 + 2 * entries, 2);
	for (unsigned i = 0; i < entries; i++)
		check_pair(ctrl, ctrl->to->table[i]);
	check_pair(ctrl, (unsigned)(ctrl->data[6] | ctrl->data[7] << 8));
	check_pair(ctrl, ctrl->to->max_tx - 1u);
	ctrl->to->pairs = ctrl->to->max_tx;
	return key(ctrl, 10 + 2 * entries);
}

/* "Setting Offloads State": bits 1, 7 to 10, 54 and 55 are those of the features */
static bool offloads(struct ctrl *ctrl)
{
	uint64_t wanted;

	if (ctrl->command || !needs(ctrl, NET_F_CTRL_GUEST_OFFLOADS) || !has_bytes(ctrl, 8))
		return false;
	memcpy(&wanted, ctrl->data, 8);
	if (wanted & ~(NET_F_OFFLOADS_IN & ctrl->dev->accepted))
		swdev_violation(ctrl->dev, "offloads %#llx", (unsigned long long)wanted);
	ctrl->to->offloads = wanted;
	return true;
}

/* "Notifications Coalescing" */
static bool coalescing(struct ctrl *ctrl)
{
	bool one = ctrl->command >= 2, get = ctrl->command == 3;
	unsigned way = ctrl->command == 0;
	uint16_t queue;

	if (ctrl->command > 3 || !needs(ctrl, one ? NET_F_VQ_NOTF_COAL : NET_F_NOTF_COAL) ||
	    !has_bytes(ctrl, get   ? 4
	                     : one ? 12
	                           : 8))
		return false;
	if (!one) {
		for (unsigned i = way; i < 2 * swdev_nic_pairs(ctrl->dev); i += 2)
			memcpy(ctrl->to->coalescing[i], ctrl->data, 8);
		return true;
	}
	memcpy(&queue, ctrl->data, 2);
	if (queue >= 2 * swdev_nic_pairs(ctrl->dev) || !ctrl->dev->queues[queue].enabled) {
		swdev_violation(ctrl->dev, "coalescing of queue %u", queue);
		return false;
	}
	if (get) {
		memcpy(ctrl->answer, ctrl->to->coalescing[queue], 8);
		ctrl->answer_bytes = 8;
	} else {
		memcpy(ctrl->to->coalescing[queue], ctrl->data + 4, 8);
	}
	return true;
}

/* "Inner Header Hash" */
static bool tunnels(struct ctrl *ctrl)
{
	if (ctrl->command || !needs(ctrl, NET_F_HASH_TUNNEL) || !has_bytes(ctrl, 4))
		return false;
	memcpy(&ctrl->to->tunnels, ctrl->data, 4);
	if (ctrl->to->tunnels & ~(get32(ctrl->dev->config + 24) & 0x1ffu))
		swdev_violation(ctrl->dev, "tunnels %#x", ctrl->to->tunnels);
	return true;
}

/* "Legacy Interface: Framing Requirements" */
static void check_framing(const struct ctrl *ctrl, const struct swdev_chain *chain)
{
	bool tables = ctrl->class == 1 && ctrl->command == 0;
	unsigned data = chain->readable - 1;

	if (!ctrl->dev->legacy || swdev_has(ctrl->dev, F_ANY_LAYOUT))
		return;
	if (chain->segments[0].length != 2 || chain->segments[chain->readable + chain->writable - 1].length != 1 ||
	    data != (tables         ? 2u
	             : ctrl->length ? 1u
	                            : 0u))
		swdev_violation(ctrl->dev, "the framing of command %u.%u", ctrl->class, ctrl->command);
}

bool swdev_nic_command(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev_nic_control *to = &swdev_nic(queue->dev)->control;
	struct ctrl ctrl = {.dev = queue->dev, .to = to};
	uint8_t bytes[2 + 8 + 6 * 256] __attribute__((aligned(8))), ack;
	bool ok = false;

	if (to->silent)
		return false;
	memset(bytes, 0, sizeof(bytes));
	if (chain->readable_bytes < 2 || chain->readable_bytes > sizeof(bytes) || !chain->writable_bytes) {
		swdev_violation(queue->dev, "a command of %llu and %llu bytes", (unsigned long long)chain->readable_bytes,
		                (unsigned long long)chain->writable_bytes);
		*written = 0;
		return true;
	}
	swdev_chain_read(chain, 0, bytes, chain->readable_bytes);
	ctrl.class = bytes[0];
	ctrl.command = bytes[1];
	ctrl.data = bytes + 2;
	ctrl.length = (uint32_t)chain->readable_bytes - 2;
	check_framing(&ctrl, chain);
	to->commands++;
	if (!to->lies) {
		static bool (*const classes[])(struct ctrl * ctrl) = {rx,   mac,      vlan,       announce,
		                                                      NULL, offloads, coalescing, tunnels};

		if (ctrl.class == 4)
			ok = ctrl.command == 0 ? pairs(&ctrl) : ctrl.command < 3 && steering(&ctrl);
		else
			ok = ctrl.class < sizeof(classes) / sizeof(classes[0]) && classes[ctrl.class](&ctrl);
	}
	to->refused += !ok;
	ack = to->lies ? to->false_ack : !ok;
	if (chain->writable_bytes != ctrl.answer_bytes + 1 && ok)
		swdev_violation(queue->dev, "command %u.%u has %llu bytes for its answer", ctrl.class, ctrl.command,
		                (unsigned long long)chain->writable_bytes);
	swdev_chain_write(chain, 0, ctrl.answer, ctrl.answer_bytes);
	swdev_chain_write(chain, chain->writable_bytes - 1, &ack, 1);
	*written = (uint32_t)chain->writable_bytes;
	return true;
}
