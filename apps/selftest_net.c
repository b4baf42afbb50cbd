/*
 * Network cards. Without a peer only so much can be seen: that frames of all sizes are taken and given back. With one, see
 * selftest_echo.c and ping.h.
 */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/event.h>
#include <base/log.h>
#include <base/tap.h>
#include <base/util.h>

#include <class/net_control.h>

#include "ping.h"

#define TX_FRAMES 256u

static void test_mac(const struct net_device *device)
{
	const uint8_t *mac = device->mac;
	bool zero = true;

	for (unsigned i = 0; i < 6; i++)
		zero = zero && !mac[i];
	if (!tap_ok(!zero && !(mac[0] & 1), "%s has the address of one station", device->node.name))
		tap_detail("mac: %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

struct tx_count {
	unsigned done, errors;
};

static void tx_done(struct net_buf *buf)
{
	struct tx_count *count = buf->context;

	count->done++;
	count->errors += buf->status != 0;
	net_buf_free(buf);
}

/* Broadcast frames of an experimental type, not the echo's, 60 to 1514 bytes, faster than they go out. */
static void test_transmit(struct net_device *device)
{
	struct net_pool *pool = net_pool_create(TX_FRAMES);
	struct tx_count *count = calloc(1, sizeof(*count));
	uint64_t deadline = clock_ns() + PATIENCE_NS;
	struct net_buf *waiting = NULL;
	uint32_t longest = MIN(NET_FRAME_MAX, device->mtu + 14u);
	unsigned sent = 0;

	while (pool && count && count->done < TX_FRAMES && clock_ns() < deadline) {
		if (!waiting && sent < TX_FRAMES && (waiting = net_buf_alloc(pool))) {
			waiting->length = 60 + sent * (longest - 60) / (TX_FRAMES - 1);
			memset(waiting->data, 0, waiting->length);
			memset(waiting->data, 0xff, 6);
			memcpy(waiting->data + 6, device->mac, 6);
			memcpy(waiting->data + 12, "\x88\xb6", 2);
			waiting->done = tx_done;
			waiting->context = count;
		}
		if (waiting && net_tx_burst(device, &waiting, 1)) {
			waiting = NULL;
			sent++;
		} else {
			loop_turn(true, deadline);
		}
	}
	if (!tap_ok(pool && count && count->done == TX_FRAMES && !count->errors, "%s sends frames of 60 to %u bytes",
	            device->node.name, longest))
		tap_detail("sent: %u, done: %u, errors: %u", sent, count ? count->done : 0, count ? count->errors : 0);
	if (waiting)
		net_buf_free(waiting);
	if (!pool || net_pool_free_count(pool) < TX_FRAMES)
		return; /* the device still has the memory */
	net_pool_destroy(pool);
	free(count);
}

static void test_ping(struct net_device *device, const char *address)
{
	uint8_t own[4] = {10, 0, 2, 15}, target[4];
	const char *ip = cmdline_get("selftest.ip");
	struct ping ping;
	int error;

	if ((ip && !ip_parse(ip, own)) || !ip_parse(address, target)) {
		tap_ok(false, "%s pings a well-formed address", device->node.name);
		return;
	}
	error = ping_open(&ping, device, own);
	if (!error) {
		error = ping_resolve(&ping, target, PATIENCE_NS);
		if (!tap_ok(!error, "%s has %s answer to ARP", device->node.name, address))
			tap_detail("error: %d", error);
		for (unsigned size = 0; !error && size <= PING_PAYLOAD_MAX; size += 56)
			error = ping_once(&ping, (uint16_t)size, PATIENCE_NS);
		ping_close(&ping);
	}
	if (!tap_ok(!error, "%s has %s answer to ICMP echo", device->node.name, address))
		tap_detail("error: %d", error);
}

/* Whatever is offered, set for someone outside to look at. */
static void test_control(struct net_device *device)
{
	static const uint8_t mac[6] = {0x02, 0x76, 0x69, 0x72, 0x65, 0x6f};
	static const uint8_t macs[][6] = {{0x01, 0, 0x5e, 0, 0, 1}, {0x02, 0, 0, 0, 0, 9}, {0x33, 0x33, 0, 0, 0, 1}};
	int error = net_rx_mode(device, NET_RX_PROMISC, false);

	if (error == -ENOTSUP) {
		tap_skip("no receive filters", "%s takes receive filters", device->node.name);
		return;
	}
	error = error ? error : net_rx_mode(device, NET_RX_ALLMULTI, true);
	error = error ? error : net_filter(device, macs, 3);
	error = error ? error : net_set_mac(device, mac);
	error = error ? error : net_vlan(device, 5, true);
	error = error ? error : net_vlan(device, 4095, true);
	error = error ? error : net_vlan(device, 5, false);
	if (!tap_ok(!error && !memcmp(device->mac, mac, 6), "%s takes receive filters", device->node.name))
		tap_detail("error: %d", error);
	tap_ok(net_vlan(device, 4096, true) == -EINVAL && net_set_mac(device, macs[0]) == -EINVAL,
	       "%s is not asked for what makes no sense", device->node.name);
}

/* With an address on the network, so that there is something to announce. */
static void test_announce(struct net_device *device)
{
	static const uint8_t own[4] = {10, 0, 2, 15};
	uint64_t deadline = clock_ns() + PATIENCE_NS;
	struct ping ping;

	if (ping_open(&ping, device, own)) {
		tap_ok(false, "%s gets memory", device->node.name);
		return;
	}
	record("{\"event\":\"waiting\",\"device\":\"%s\",\"for\":\"announcement\"}", device->node.name);
	while (!device->announces && clock_ns() < deadline)
		loop_turn(true, deadline);
	tap_ok(device->announces, "%s is asked to announce itself", device->node.name);
	ping_close(&ping);
}

static bool link_becomes(struct net_device *device, bool up)
{
	uint64_t deadline = clock_ns() + PATIENCE_NS;

	record("{\"event\":\"waiting\",\"device\":\"%s\",\"for\":\"link %s\"}", device->node.name, up ? "up" : "down");
	while (device->link_up != up && clock_ns() < deadline)
		loop_turn(true, deadline);
	return device->link_up == up;
}

static void test_link_changes(struct net_device *device)
{
	uint64_t before = device->link_changes;

	tap_ok(link_becomes(device, false), "%s sees its link go down", device->node.name);
	tap_ok(link_becomes(device, true), "%s sees its link come up again", device->node.name);
	if (!tap_ok(device->link_changes >= before + 2, "%s is told of each change of its link", device->node.name))
		tap_detail("changes: %lu", device->link_changes - before);
}

static void test_one_net(struct net_device *device)
{
	const char *peer = cmdline_get("selftest.net"), *address = cmdline_get("selftest.ping");

	test_mac(device);
	tap_ok(device->link_up, "%s has its link up", device->node.name);
	test_transmit(device);
	if (peer && !strcmp(peer, "echo"))
		selftest_echo(device, (uint32_t)selftest_option("frames", 1000));
	if (address && *address)
		test_ping(device, address);
	if (selftest_option("offload", 0))
		selftest_offload(device);
	if (selftest_option("queues", 0))
		selftest_queues(device);
	if (selftest_option("control", 0))
		test_control(device);
	if (selftest_option("announce", 0))
		test_announce(device);
	if (selftest_option("link", 0))
		test_link_changes(device);
}

static void test_net(const char *name)
{
	struct net_device *device = net_find(name);

	if (device)
		test_one_net(device);
}

SELFTEST(net, test_net);
