/*
 * ARP and ICMP echo over a bare network device: the least that shows frames to mean something to someone else.
 */
#ifndef APPS_PING_H
#define APPS_PING_H

#include <stdbool.h>
#include <stdint.h>

#include <class/net.h>

#define PING_PAYLOAD_MAX 1400u

/* One station at a time per device: while open, the device's rx_ready is the station's. Frames that mean nothing to it are
 * dropped. */
struct ping {
	struct net_device *device;
	struct net_pool *pool;
	uint8_t own[4], target[4], target_mac[6];
	bool resolved, answered;
	uint16_t sequence, payload; /* of the echo request in flight */
	uint64_t sent_ns, rtt_ns;
};

/* "10.0.2.2", and nothing behind it. */
bool ip_parse(const char *text, uint8_t ip[4]);

[[nodiscard]] int ping_open(struct ping *ping, struct net_device *device, const uint8_t own[4]); /* -ENOMEM */
void ping_close(struct ping *ping);

/* The MAC address behind an IP address on this network, in ping->target_mac; it is the target from now on. -EHOSTUNREACH: no
 * answer in time. */
[[nodiscard]] int ping_resolve(struct ping *ping, const uint8_t target[4], uint64_t timeout_ns);

/* One echo request of that many bytes to the target. 0, and the round trip's time in ping->rtt_ns; -ETIMEDOUT, -EIO. */
[[nodiscard]] int ping_once(struct ping *ping, uint16_t payload, uint64_t timeout_ns);

/* Copy a received frame, which may span buffers, to at most `size` bytes at `out`; returns the frame's length. */
uint32_t frame_copy(const struct net_buf *buf, void *out, uint32_t size);

#endif
