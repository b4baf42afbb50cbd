/*
 * Network cards against a peer that sends all back: frames that the device is to checksum and to cut, and several CPUs at once.
 *
 * Frames are UDP and TCP over IPv4, since that is what a host's network stack knows how to checksum, to cut and to steer. The peer exchanges
 * the addresses and ports, so that what comes back is of the same flow; by that a device finds the queue that the flow went out by.
 */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <base/event.h>
#include <base/log.h>
#include <base/tap.h>
#include <base/util.h>

#include "ping.h"

#define HEADERS 54u /* Ethernet, IPv4, TCP */
#define PORT 7000u
#define LONG 60000u
#define SHORT 1000u
#define MSS 1448u
#define ROUNDS 64u
#define FRAMES 64u

static uint8_t byte_of(uint32_t i) { return (uint8_t)(i * 13 + (i >> 8)); }

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t sum16(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return fold(sum);
}

/* The headers of a frame of `length` bytes from 10.0.2.15 to 10.0.2.2; the checksum behind them is left to the device. */
static void put_headers(const struct net_device *device, struct net_buf *buf, uint32_t length, bool tcp, uint32_t port)
{
	static const uint8_t addresses[8] = {10, 0, 2, 15, 10, 0, 2, 2};
	uint8_t *eth = buf->data, *ip = eth + 14, *transport = ip + 20;

	memset(eth, 0, HEADERS);
	memset(eth, 0xff, 6);
	memcpy(eth + 6, device->mac, 6);
	put16(eth + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, length - 14);
	ip[8] = 64;
	ip[9] = tcp ? 6 : 17;
	memcpy(ip + 12, addresses, sizeof(addresses));
	put16(ip + 10, ~sum16(ip, 20));
	put16(transport, PORT + port);
	put16(transport + 2, PORT);
	if (tcp) {
		transport[12] = 0x50;
		transport[13] = 0x10;
	} else {
		put16(transport + 4, length - 34);
	}
	put16(transport + (tcp ? 16 : 6), fold(sum16(ip + 12, 8) + ip[9] + length - 34));
	buf->offload = (struct net_offload){.flags = NET_CSUM_PARTIAL, .csum_start = 34, .csum_offset = tcp ? 16 : 6};
}

/* ---- checksums and segments ---- */

static struct echo {
	bool back, whole;
	struct net_offload offload;
} echo;

/* What else the network says is passed over. */
static void take_echo(struct net_device *device)
{
	struct net_buf *buf;

	for (; net_rx_burst(device, &buf, 1); net_buf_free(buf)) {
		uint32_t at = 0;

		if (echo.back || buf->length <= HEADERS || buf->data[12] != 8 || buf->data[13] || buf->data[23] != 6)
			continue;
		echo = (struct echo){.back = true, .whole = true, .offload = buf->offload};
		for (struct net_buf *piece = buf; piece; piece = piece->more)
			for (uint32_t i = 0; i < piece->length; i++, at++)
				echo.whole = echo.whole && (at < HEADERS || piece->data[i] == byte_of(at));
		echo.whole = echo.whole && at == (buf->offload.gso ? LONG : SHORT);
	}
}

static bool exchange(struct net_device *device, struct net_pool *pool, uint32_t length)
{
	struct net_buf *head = NULL, **link = &head;
	bool sent;

	for (uint32_t at = 0; at < length; link = &(*link)->more) {
		struct net_buf *buf = net_buf_alloc(pool);

		if (!buf)
			break;
		buf->length = MIN(buf->capacity, length - at);
		for (uint32_t i = 0; i < buf->length; i++, at++)
			buf->data[i] = byte_of(at);
		*link = buf;
	}
	put_headers(device, head, length, true, 0);
	if (length == LONG) {
		head->offload.gso = NET_GSO_TCP4;
		head->offload.segment = MSS;
	}
	echo.back = false;
	sent = net_tx_burst(device, &head, 1);
	return sent && loop_wait(&echo.back, PATIENCE_NS) && echo.whole;
}

void selftest_offload(struct net_device *device)
{
	struct net_pool *pool = net_pool_create(FRAMES);

	if (!(device->tx_offloads & NET_OFFLOAD_TSO4) || !pool) {
		tap_skip("no segmentation", "%s sends segments", device->node.name);
		return;
	}
	net_listen(device, take_echo);
	if (!tap_ok(exchange(device, pool, SHORT) && !echo.offload.gso &&
	                    (echo.offload.flags & (NET_CSUM_PARTIAL | NET_CSUM_GOOD)),
	            "%s sends and gets a frame whose checksum is not made", device->node.name))
		tap_detail("flags: %u, gso: %u", echo.offload.flags, echo.offload.gso);
	if (!tap_ok(exchange(device, pool, LONG) && echo.offload.gso == NET_GSO_TCP4 && echo.offload.segment == MSS &&
	                    echo.offload.flags == NET_CSUM_PARTIAL,
	            "%s sends and gets a frame of %u bytes to be cut", device->node.name, LONG))
		tap_detail("flags: %u, gso: %u, segment: %u", echo.offload.flags, echo.offload.gso, echo.offload.segment);
	net_listen(device, NULL);
	net_pool_destroy(pool);
}

/* ---- queues ---- */

struct flow {
	struct net_pool *pool;
	unsigned sent;
	unsigned back[CPU_MAX]; /* of its flow's frames, by the CPU that they came to */
};
static struct flow *flows;

static void take_flows(struct net_device *device)
{
	struct net_buf *buf;

	while (net_rx_burst(device, &buf, 1)) {
		const uint8_t *port = buf->data + 36;
		uint32_t flow = buf->length >= HEADERS ? (uint32_t)(port[0] << 8 | port[1]) - PORT : CPU_MAX;

		if (flow < cpu_count())
			__atomic_fetch_add(&flows[flow].back[cpu_index()], 1, __ATOMIC_RELAXED);
		net_buf_free(buf);
	}
}

static void send_one(void *arg)
{
	struct net_device *device = arg;
	struct flow *flow = &flows[cpu_index()];
	struct net_buf *buf;

	if (!flow->pool)
		flow->pool = net_pool_create(FRAMES);
	buf = flow->pool ? net_buf_alloc(flow->pool) : NULL;
	if (!buf)
		return;
	memset(buf->data, 0, 100);
	put_headers(device, buf, 100, false, cpu_index());
	buf->length = 100;
	if (!(device->tx_offloads & NET_OFFLOAD_CSUM)) {
		buf->offload.flags = 0;
		put16(buf->data + 40, 0); /* a UDP checksum of 0 is none */
	}
	if (net_tx_burst(device, &buf, 1))
		flow->sent++;
	else
		net_buf_free(buf);
}

static void destroy_pool(void *arg) { net_pool_destroy(arg); }

static unsigned frames_back(const struct net_device *device)
{
	unsigned all = 0;

	for (unsigned flow = 0; flow < device->queues; flow++)
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			all += __atomic_load_n(&flows[flow].back[cpu], __ATOMIC_RELAXED);
	return all;
}

/* Each CPU sends a flow of its own by a queue of its own, and gets it back by its own. */
void selftest_queues(struct net_device *device)
{
	unsigned own = 0, all = 0, sent = 0;

	flows = calloc(device->queues, sizeof(*flows));
	if (!flows)
		return;
	net_listen(device, take_flows);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned cpu = 0; cpu < device->queues; cpu++)
			cpu_run(cpu, send_one, device);
		loop_sleep(2000000);
	}
	for (unsigned cpu = 0; cpu < device->queues; cpu++)
		sent += flows[cpu].sent;
	for (unsigned i = 0; i < 100 && frames_back(device) < sent; i++)
		loop_sleep(SECOND_NS / 10);
	loop_sleep(SECOND_NS / 10); /* for any that there should not be */
	net_listen(device, NULL);
	all = frames_back(device);
	for (unsigned cpu = 0; cpu < device->queues; cpu++) {
		own += flows[cpu].back[cpu];
		if (flows[cpu].pool)
			cpu_run(cpu, destroy_pool, flows[cpu].pool);
	}
	record("{\"event\":\"queues\",\"device\":\"%s\",\"queues\":%u,\"sent\":%u,\"back\":%u,\"own\":%u}", device->node.name,
	       device->queues, sent, all, own);
	tap_ok(device->queues == cpu_count(), "%s has queues for all %u CPUs", device->node.name, cpu_count());
	tap_ok(sent == ROUNDS * device->queues && all == sent, "%s sends from all CPUs at once, and all comes back",
	       device->node.name);
	/* The first frames of a flow may come anywhere */
	tap_ok(own >= all - all / 8, "%s has each flow come back to its CPU", device->node.name);
	free(flows);
}
