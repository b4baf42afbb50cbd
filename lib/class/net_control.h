/*
 * What programs may ask of a network device beside frames. Loop context; each call waits for the device, at most some seconds.
 *
 * 0, or -ENOTSUP: the device does not offer it; -EINVAL: no such thing; -EIO: the device refused, or broke; -EBUSY: another such call
 * waits further up the stack. What was set holds over resets of the device.
 */
#ifndef CLASS_NET_CONTROL_H
#define CLASS_NET_CONTROL_H

#include <errno.h>

#include <class/net.h>

#define NET_MACS_MAX 128u
#define NET_HASH_KEY 40u /* bytes */
#define NET_STEER_MAX 128u

/* At first all frames to the device's own address, to groups and to everybody may arrive, or any. */
enum net_rx_mode { NET_RX_PROMISC, NET_RX_ALLMULTI, NET_RX_ALLUNI, NET_RX_NOMULTI, NET_RX_NOUNI, NET_RX_NOBCAST, NET_RX_MODES };

enum {
	NET_HASH_IP4 = 1,
	NET_HASH_TCP4 = 2,
	NET_HASH_UDP4 = 4,
	NET_HASH_IP6 = 8,
	NET_HASH_TCP6 = 16,
	NET_HASH_UDP6 = 32,
	NET_HASH_ALL = 0x1ff, /* with the three of IPv6 with extension headers */
};

/* Which queue a frame comes in by: that of table[hash & (entries - 1)]. */
struct net_steering {
	uint32_t hash_types;
	uint32_t tunnels; /* where frames in tunnels are hashed by what is inside: bits of "Inner Header Hash" */
	uint16_t entries; /* a power of 2 */
	uint16_t table[NET_STEER_MAX];
	uint8_t key[NET_HASH_KEY];
};

/* An interrupt after that many packets or that many microseconds, whichever is first; a 0 in either: after each packet. */
struct net_coalescing {
	uint32_t packets, usecs;
};

enum net_way { NET_RX, NET_TX };

struct net_control_ops {
	int (*rx_mode)(struct net_device *device, enum net_rx_mode mode, bool on);
	int (*set_mac)(struct net_device *device, const uint8_t mac[6]);
	int (*filter)(struct net_device *device, const uint8_t (*macs)[6], unsigned count);
	int (*vlan)(struct net_device *device, uint16_t id, bool pass);
	int (*rx_offloads)(struct net_device *device, uint8_t offloads);
	int (*steer)(struct net_device *device, const struct net_steering *steering);
	int (*coalesce)(struct net_device *device, enum net_way way, int queue, const struct net_coalescing *how);
	int (*coalescing)(struct net_device *device, enum net_way way, unsigned queue, struct net_coalescing *how);
};

static inline int net_rx_mode(struct net_device *device, enum net_rx_mode mode, bool on)
{
	return device->ops->control->rx_mode(device, mode, on);
}

static inline int net_set_mac(struct net_device *device, const uint8_t mac[6])
{
	return device->ops->control->set_mac(device, mac);
}

/* The addresses, of stations and of groups, whose frames are to arrive beside those to the device's own; they replace the former ones. */
static inline int net_filter(struct net_device *device, const uint8_t (*macs)[6], unsigned count)
{
	return device->ops->control->filter(device, macs, count);
}

/* Whether frames tagged with VLAN `id` (0 to 4095) are to arrive. At first none are, where this is offered. */
static inline int net_vlan(struct net_device *device, uint16_t id, bool pass)
{
	return device->ops->control->vlan(device, id, pass);
}

/* Of the offloads that it gave at first, those that it may give from now on. */
static inline int net_rx_offloads(struct net_device *device, uint8_t offloads)
{
	return device->ops->control->rx_offloads(device, offloads);
}

static inline int net_steer(struct net_device *device, const struct net_steering *steering)
{
	return device->ops->control->steer(device, steering);
}

/* Of one queue, or with -1 of all of that way; and what the device says of one. */
static inline int net_coalesce(struct net_device *device, enum net_way way, int queue, const struct net_coalescing *how)
{
	return device->ops->control->coalesce(device, way, queue, how);
}

static inline int net_coalescing(struct net_device *device, enum net_way way, unsigned queue, struct net_coalescing *how)
{
	return device->ops->control->coalescing(device, way, queue, how);
}

#endif
