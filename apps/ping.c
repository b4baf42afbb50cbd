/*
 * ARP and ICMP echo (see ping.h).
 *
 * A station answers ARP requests for its own address while it is open, since whoever it asks may want to ask back before it
 * answers. Packets are laid out in structs of bytes, so that neither alignment nor byte order of the CPU matters.
 */
#include "ping.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/log.h>
#include <base/util.h>

#define BUFFERS 8u
#define FRAME_MIN 60u
#define ECHO_ID 0x7669u

struct ethernet {
	uint8_t destination[6], source[6], type[2];
};

struct arp {
	uint8_t hardware[2], protocol[2], hardware_bytes, protocol_bytes, operation[2];
	uint8_t sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
};

struct ipv4 {
	uint8_t version_length, service, total[2], id[2], fragment[2], ttl, protocol, checksum[2], source[4], destination[4];
};

struct icmp_echo {
	uint8_t type, code, checksum[2], id[2], sequence[2];
};

struct arp_frame {
	struct ethernet ethernet;
	struct arp arp;
};
_Static_assert(sizeof(struct arp_frame) == 42, "ARP over Ethernet");

struct echo_frame {
	struct ethernet ethernet;
	struct ipv4 ip;
	struct icmp_echo icmp;
	uint8_t payload[PING_PAYLOAD_MAX];
};
_Static_assert(offsetof(struct echo_frame, payload) == 42, "ICMP over IPv4 over Ethernet");

enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806 };
enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { IP_ICMP = 1, ICMP_ECHO_REPLY = 0, ICMP_ECHO_REQUEST = 8 };

static void put16(uint8_t bytes[2], uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t bytes[2]) { return (uint16_t)(bytes[0] << 8 | bytes[1]); }

/* The Internet checksum: over bytes that hold their own checksum it is 0. */
static uint16_t internet_checksum(const void *memory, size_t length)
{
	const uint8_t *bytes = memory;
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

bool ip_parse(const char *text, uint8_t ip[4])
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned value = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 3; digits++)
			value = value * 10 + (unsigned)(*text++ - '0');
		if (!digits || value > 255 || *text++ != (i < 3 ? '.' : '\0'))
			return false;
		ip[i] = (uint8_t)value;
	}
	return true;
}

uint32_t frame_copy(const struct net_buf *buf, void *out, uint32_t size)
{
	uint32_t length = 0;

	for (; buf; buf = buf->more) {
		if (length < size)
			memcpy((uint8_t *)out + length, buf->data, MIN(buf->length, size - length));
		length += buf->length;
	}
	return length;
}

static int send_frame(struct ping *ping, const void *frame, uint32_t length)
{
	struct net_buf *buf = net_buf_alloc(ping->pool);

	if (!buf)
		return -EIO;
	memset(buf->data, 0, FRAME_MIN);
	memcpy(buf->data, frame, length);
	buf->length = MAX(length, FRAME_MIN);
	if (net_tx_burst(ping->device, &buf, 1) == 1)
		return 0;
	net_buf_free(buf);
	return -EIO;
}

static int send_arp(struct ping *ping, unsigned operation, const uint8_t mac[6], const uint8_t ip[4])
{
	struct arp_frame frame = {.arp = {.hardware_bytes = 6, .protocol_bytes = 4}};

	memset(frame.ethernet.destination, 0xff, 6);
	if (operation == ARP_REPLY) {
		memcpy(frame.ethernet.destination, mac, 6);
		memcpy(frame.arp.target_mac, mac, 6);
	}
	memcpy(frame.ethernet.source, ping->device->mac, 6);
	put16(frame.ethernet.type, TYPE_ARP);
	put16(frame.arp.hardware, 1);
	put16(frame.arp.protocol, TYPE_IPV4);
	put16(frame.arp.operation, operation);
	memcpy(frame.arp.sender_mac, ping->device->mac, 6);
	memcpy(frame.arp.sender_ip, ping->own, 4);
	memcpy(frame.arp.target_ip, ip, 4);
	return send_frame(ping, &frame, sizeof(frame));
}

static void receive_arp(struct ping *ping, const struct arp *arp)
{
	if (get16(arp->hardware) != 1 || get16(arp->protocol) != TYPE_IPV4 || memcmp(arp->target_ip, ping->own, 4))
		return;
	if (get16(arp->operation) == ARP_REQUEST && send_arp(ping, ARP_REPLY, arp->sender_mac, arp->sender_ip))
		return;
	if (get16(arp->operation) == ARP_REPLY && !memcmp(arp->sender_ip, ping->target, 4)) {
		memcpy(ping->target_mac, arp->sender_mac, 6);
		ping->resolved = true;
	}
}

static uint8_t payload_byte(const struct ping *ping, uint32_t i) { return (uint8_t)(i + ping->sequence); }

/* `offload`: where the device vouches for the ICMP checksum, or has left it to be made, it is right. */
static void receive_echo(struct ping *ping, const struct echo_frame *frame, uint32_t length, const struct net_offload *offload)
{
	bool vouched = offload->flags & (NET_CSUM_PARTIAL | NET_CSUM_GOOD);

	const uint32_t ip_bytes = (uint32_t)(sizeof(frame->ip) + sizeof(frame->icmp)) + ping->payload;

	if (length < sizeof(frame->ethernet) + ip_bytes || frame->ip.version_length != 0x45 ||
	    get16(frame->ip.total) != ip_bytes || frame->ip.protocol != IP_ICMP ||
	    internet_checksum(&frame->ip, sizeof(frame->ip)) || memcmp(frame->ip.source, ping->target, 4) ||
	    memcmp(frame->ip.destination, ping->own, 4))
		return;
	if (frame->icmp.type != ICMP_ECHO_REPLY || get16(frame->icmp.id) != ECHO_ID ||
	    get16(frame->icmp.sequence) != ping->sequence ||
	    (!vouched && internet_checksum(&frame->icmp, sizeof(frame->icmp) + ping->payload)))
		return;
	for (uint32_t i = 0; i < ping->payload; i++) {
		if (frame->payload[i] != payload_byte(ping, i))
			return;
	}
	ping->rtt_ns = clock_ns() - ping->sent_ns;
	ping->answered = true;
}

static void receive(struct net_device *device)
{
	static union {
		struct ethernet ethernet;
		struct arp_frame arp;
		struct echo_frame echo;
	} frame;
	struct ping *ping = device->context;
	struct net_buf *buf;

	while (net_rx_burst(device, &buf, 1)) {
		uint32_t length = frame_copy(buf, &frame, sizeof(frame));
		struct net_offload offload = buf->offload;

		net_buf_free(buf);
		if (length >= sizeof(frame.arp) && get16(frame.ethernet.type) == TYPE_ARP)
			receive_arp(ping, &frame.arp.arp);
		else if (length <= sizeof(frame) && get16(frame.ethernet.type) == TYPE_IPV4)
			receive_echo(ping, &frame.echo, length, &offload);
	}
}

/* A gratuitous ARP request, for the own address: who hears it knows where that is now. */
static void announce(struct net_device *device)
{
	struct ping *ping = device->context;

	if (send_arp(ping, ARP_REQUEST, NULL, ping->own))
		log_warn("%s: no announcement could be sent", device->node.name);
}

int ping_open(struct ping *ping, struct net_device *device, const uint8_t own[4])
{
	*ping = (struct ping){.device = device, .pool = net_pool_create(BUFFERS)};
	if (!ping->pool)
		return -ENOMEM;
	memcpy(ping->own, own, 4);
	device->context = ping;
	device->announce = announce;
	net_listen(device, receive);
	receive(device); /* what waited in the ring */
	return 0;
}

void ping_close(struct ping *ping)
{
	uint64_t deadline = clock_ns() + UINT64_C(2000000000);

	net_listen(ping->device, NULL);
	ping->device->announce = NULL;
	ping->device->context = NULL;
	while (net_pool_free_count(ping->pool) < BUFFERS && clock_ns() < deadline)
		loop_turn(true, deadline);
	/* A device that keeps buffers for good keeps the pool. */
	if (net_pool_free_count(ping->pool) == BUFFERS)
		net_pool_destroy(ping->pool);
}

int ping_resolve(struct ping *ping, const uint8_t target[4], uint64_t timeout_ns)
{
	int error;

	memcpy(ping->target, target, 4);
	ping->resolved = false;
	error = send_arp(ping, ARP_REQUEST, NULL, target);
	if (error)
		return error;
	return loop_wait(&ping->resolved, timeout_ns) ? 0 : -EHOSTUNREACH;
}

int ping_once(struct ping *ping, uint16_t payload, uint64_t timeout_ns)
{
	struct echo_frame frame = {.ip = {.version_length = 0x45, .ttl = 64, .protocol = IP_ICMP},
	                           .icmp = {.type = ICMP_ECHO_REQUEST}};
	const uint32_t icmp_bytes = (uint32_t)sizeof(frame.icmp) + payload, ip_bytes = (uint32_t)sizeof(frame.ip) + icmp_bytes;
	int error;

	if (payload > PING_PAYLOAD_MAX)
		return -EINVAL;
	ping->payload = payload;
	ping->sequence++;
	ping->answered = false;
	memcpy(frame.ethernet.destination, ping->target_mac, 6);
	memcpy(frame.ethernet.source, ping->device->mac, 6);
	put16(frame.ethernet.type, TYPE_IPV4);
	put16(frame.ip.total, ip_bytes);
	memcpy(frame.ip.source, ping->own, 4);
	memcpy(frame.ip.destination, ping->target, 4);
	put16(frame.ip.checksum, internet_checksum(&frame.ip, sizeof(frame.ip)));
	put16(frame.icmp.id, ECHO_ID);
	put16(frame.icmp.sequence, ping->sequence);
	for (uint32_t i = 0; i < payload; i++)
		frame.payload[i] = payload_byte(ping, i);
	put16(frame.icmp.checksum, internet_checksum(&frame.icmp, icmp_bytes));
	ping->sent_ns = clock_ns();
	error = send_frame(ping, &frame, (uint32_t)sizeof(frame.ethernet) + ip_bytes);
	if (error)
		return error;
	return loop_wait(&ping->answered, timeout_ns) ? 0 : -ETIMEDOUT;
}
