/*
 * Network Device: steering. Which pair of queues a frame comes in by: the device's choice in multiqueue mode, else by a hash over its
 * headers and a table (RSS); and the hash that goes with each frame.
 *
 * It begins with all pairs alike and a key of chance. What a program sets stays over resets.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>

#include "ctrl.h"

#define TUNNELS_KNOWN 0x1ffu

/* "Hash calculation for incoming packets", "Receive-side scaling (RSS)" */
int virtio_net_take_steering(struct net *net, const struct virtio_net_config *config)
{
	struct virtio_device *vdev = net->vdev;
	bool rss = virtio_has(vdev, VIRTIO_NET_F_RSS), report = virtio_has(vdev, VIRTIO_NET_F_HASH_REPORT);
	struct net_steering *steering = &net->ctrl.steering;
	uint16_t longest = le16_to_cpu(config->rss_max_indirection_table_length);
	uint64_t noise;

	net->device.hash_types = le32_to_cpu(config->supported_hash_types) & NET_HASH_ALL;
	/* "Inner Header Hash": MUST ignore bits that are not documented */
	net->tunnels = le32_to_cpu(config->supported_tunnel_types) & TUNNELS_KNOWN;
	if (!rss && !report)
		return 0;
	if (config->rss_max_key_size < NET_HASH_KEY)
		return virtio_refuse(vdev, -EINVAL, "its hash keys are too short");
	if (rss && longest < NET_STEER_MAX)
		return virtio_refuse(vdev, -EINVAL, "RSS over a table of %u", longest);
	if (steering->entries)
		return 0; /* the program's, or that of before a reset */
	noise = clock_ticks();
	steering->hash_types = net->device.hash_types;
	steering->entries = NET_STEER_MAX;
	for (unsigned i = 0; i < NET_STEER_MAX; i++)
		steering->table[i] = (uint16_t)(i % net->pair_count);
	for (unsigned i = 0; i < NET_HASH_KEY; i++) {
		noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		steering->key[i] = (uint8_t)(noise >> 56);
	}
	return 0;
}

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
	uint8_t bytes[sizeof(le32) + (NET_STEER_MAX + 3) * sizeof(le16) + 1 + NET_HASH_KEY], *at = bytes;
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
	return virtio_net_command(net, rss ? CTRL_MQ_RSS_CONFIG : CTRL_MQ_HASH_CONFIG, bytes, (uint32_t)(at - bytes));
}

/* "Inner Header Hash" */
static int send_tunnels(struct net *net, uint32_t tunnels)
{
	le32 wire = cpu_to_le32(tunnels);

	return virtio_net_command(net, CTRL_HASH_TUNNEL_SET, &wire, sizeof(wire));
}

int virtio_net_steer(struct net_device *device, const struct net_steering *steering)
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
		if (!steering->entries || steering->entries > NET_STEER_MAX || steering->entries & (steering->entries - 1u))
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
	le16 wire = cpu_to_le16(net->pair_count);

	return virtio_net_command(net, CTRL_MQ_VQ_PAIRS_SET, &wire, sizeof(wire));
}

int virtio_net_restore_steering(struct net *net)
{
	int error = 0;

	if (net->pair_count == 1 && !net->device.hash_types)
		return 0;
	/* "Device operation in multiqueue mode": the last command counts, so RSS where both are there */
	if (net->pair_count > 1 && !virtio_has(net->vdev, VIRTIO_NET_F_RSS))
		error = send_pairs(net);
	if (!error && (virtio_has(net->vdev, VIRTIO_NET_F_RSS) || virtio_has(net->vdev, VIRTIO_NET_F_HASH_REPORT)))
		error = virtio_net_steer(&net->device, &net->ctrl.steering);
	if (error)
		return error;
	WRITE_ONCE(net->device.queues, net->pair_count);
	for (unsigned i = 1; i < net->pair_count; i++)
		event_mark(&net->pairs[i].tx->event); /* who waits for room hears of it */
	return 0;
}
