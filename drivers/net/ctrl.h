/*
 * Between the files of the network driver that use the controlq: ctrl.c has it, steer.c says by it what goes to which pair.
 */
#ifndef DRIVERS_NET_CTRL_H
#define DRIVERS_NET_CTRL_H

#include "net_impl.h"

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

/* A command with its data, and wait. -EBUSY: another waits further up the stack. After -ENODEV `net` is gone. */
[[nodiscard]] int virtio_net_command(struct net *net, unsigned what, const void *data, uint32_t bytes);

/* ---- steer.c ---- */
[[nodiscard]] int virtio_net_take_steering(struct net *net,
                                           const struct virtio_net_config *config); /* what the device can, and how it begins */
int virtio_net_steer(struct net_device *device, const struct net_steering *steering);
[[nodiscard]] int virtio_net_restore_steering(struct net *net); /* from here on all pairs are used */

#endif
