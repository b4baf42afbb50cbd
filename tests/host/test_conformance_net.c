/*
 * Driver requirements of "Network Device" that test_net.c does not check by the way. Each test names the section.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/device.h>
#include <class/net.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { RECEIVEQ, TRANSMITQ };
enum { ETHERNET = 14, HEADER = 12 };

/* swdev_net, and what it saw: its serve() and its configuration, watched. */
static struct swdev_type watched;
static uint8_t headers[HEADER]; /* of frames sent, or'ed together */
static unsigned frames_sent, config_writes;
static uint64_t least_receive_buffer;

static bool watch_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	uint8_t header[HEADER] = {0};

	if (queue->index == RECEIVEQ) {
		least_receive_buffer = MIN(least_receive_buffer, chain->writable_bytes);
	} else if (queue->index == TRANSMITQ) {
		swdev_chain_read(chain, 0, header, HEADER - (queue->dev->legacy ? 2 : 0));
		for (unsigned i = 0; i < HEADER; i++)
			headers[i] |= header[i];
		frames_sent++;
	}
	return swdev_net.serve(queue, chain, written);
}

static void watch_config(struct swdev *dev, uint32_t offset)
{
	(void)dev, (void)offset;
	config_writes++;
}

static struct swdev *nic(void)
{
	watched = swdev_net;
	watched.serve = watch_serve;
	watched.config_written = watch_config;
	memset(headers, 0, sizeof(headers));
	frames_sent = config_writes = 0;
	least_receive_buffer = UINT64_MAX;
	return swdev_new(&watched);
}

static struct net_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	struct net_device *device;

	plug_in(dev, front);
	device = net_find(dev->vdev->name);
	assert_non_null(device);
	return device;
}

/* ---- frames ---- */

static uint8_t byte_of(unsigned frame, size_t i) { return (uint8_t)((frame * 59 + i) * 0x9e3779b1u >> 20); }

static int sent_status;
static bool sent;

static void note_sent(struct net_buf *buf)
{
	sent_status = buf->status;
	sent = true;
}

#define FRAME_MAX (65535u + ETHERNET)
static uint8_t *memory; /* of one frame, with its headroom */

/* A frame in one piece, of memory that is full of old data. */
static int send(struct net_device *device, unsigned frame, uint32_t length)
{
	struct net_buf buf = {.data = memory + NET_HEADROOM, .length = length, .done = note_sent}, *bufs = &buf;

	memset(memory, 0xa5, NET_HEADROOM);
	for (uint32_t i = 0; i < length; i++)
		buf.data[i] = byte_of(frame, i);
	sent = false;
	assert_int_equal(net_tx_burst(device, &bufs, 1), 1);
	for (unsigned i = 0; i < 100 && !sent; i++)
		loop_sleep(1000000);
	assert_true(sent);
	return sent_status;
}

static void check_arrived(struct swdev *dev, unsigned frame, uint32_t length)
{
	struct swdev_frame *arrived = swdev_nic_sent(dev);

	assert_non_null(arrived);
	assert_int_equal(arrived->length, length);
	for (uint32_t i = 0; i < length; i++)
		assert_int_equal(arrived->bytes[i], byte_of(frame, i));
	free(arrived);
}

static void give(struct swdev *dev, unsigned frame, uint32_t length)
{
	uint8_t *bytes = malloc(length);

	for (uint32_t i = 0; i < length; i++)
		bytes[i] = byte_of(frame, i);
	swdev_nic_receive(dev, bytes, length);
	free(bytes);
	loop_sleep(1000000);
}

/* The next frame that the driver has, which is this one; false: it has none. */
static bool take(struct net_device *device, unsigned frame, uint32_t length)
{
	struct net_buf *head;
	uint32_t at = 0;

	if (!net_rx_burst(device, &head, 1))
		return false;
	for (const struct net_buf *buf = head; buf; buf = buf->more)
		for (uint32_t i = 0; i < buf->length; i++, at++)
			assert_int_equal(buf->data[i], byte_of(frame, at));
	assert_int_equal(at, length);
	net_buf_free(head);
	return true;
}

/* ---- "Device configuration layout" ---- */

/* MUST NOT write to any of the device configuration fields: in all of a device's life. */
static void configuration_is_never_written(void **state)
{
	static const struct {
		const struct swdev_front *front;
		bool legacy;
	} ways[] = {{&swdev_direct, false}, {&swdev_mmio, false}, {&swdev_pci, false}, {&swdev_mmio, true}, {&swdev_pci, true}};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		struct swdev *dev = nic();
		struct net_device *device;
		struct device_info *info;

		dev->legacy = ways[i / 2].legacy;
		/* Everything, or nothing: without MAC, the driver takes an address of its own. */
		dev->offered = i % 2 ? UINT64_MAX : FEATURE(F_VERSION_1);
		device = plug(dev, ways[i / 2].front);
		info = device_find(dev->vdev->name);
		assert_int_equal(send(device, 1, 100), 0);
		give(dev, 2, 100);
		swdev_nic_link(dev, false);
		loop_sleep(1000000);
		swdev_needs_reset(dev);
		loop_sleep(1000000);
		(void)info->reset_queue(info, RECEIVEQ);
		if (!info->suspend(info, true))
			assert_int_equal(info->suspend(info, false), 0);
		assert_int_equal(info->rebind(info), 0);
		assert_int_equal(send(net_find(dev->vdev->name), 3, 100), 0);
		assert_true(dev->resets >= 3);
		assert_int_equal(config_writes, 0);
		pull_out(dev);
	}
}

/* MUST set the physical address of the NIC to mac, if MAC is negotiated; otherwise SHOULD use a locally-administered one. */
static void address_is_what_mac_says(void **state)
{
	static const uint8_t addresses[][6] = {
		{0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
		{0x00, 0x00, 0x00, 0x00, 0x00, 0x01},
		{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x02, 0x00, 0x00, 0x00, 0x00, 0x00},
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(addresses); i++) {
		struct swdev *dev = nic();
		struct net_device *device;

		memcpy(dev->config, addresses[i / 2], 6);
		dev->offered &= i % 2 ? ~FEATURE(NET_F_MAC) : UINT64_MAX;
		device = plug(dev, &swdev_direct);
		if (i % 2) {
			assert_memory_not_equal(device->mac, addresses[i / 2], 6);
			assert_int_equal(device->mac[0] & 3, 2);
		} else {
			assert_memory_equal(device->mac, addresses[i / 2], 6);
		}
		pull_out(dev);
	}
}

/* SHOULD read the link status from the bottom bit of status; without STATUS, assume that the link is active. */
static void link_is_the_bottom_bit(void **state)
{
	static const struct {
		uint16_t status;
		bool up;
	} cases[] = {{0, false}, {1, true}, {2, false}, {3, true}, {0xfffe, false}, {0xffff, true}, {0x0100, false}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = nic();
		struct net_device *device;

		put16(dev->config + 6, cases[i].status);
		device = plug(dev, &swdev_direct);
		assert_int_equal(device->link_up, cases[i].up);
		put16(dev->config + 6, 1);
		swdev_config_changed(dev);
		loop_sleep(1000000);
		assert_true(device->link_up);
		put16(dev->config + 6, cases[i].status);
		swdev_config_changed(dev);
		loop_sleep(1000000);
		assert_int_equal(device->link_up, cases[i].up);
		pull_out(dev);

		dev = nic();
		dev->offered &= ~FEATURE(NET_F_STATUS);
		put16(dev->config + 6, cases[i].status);
		assert_true(plug(dev, &swdev_direct)->link_up);
		pull_out(dev);
	}
}

/* With MTU negotiated: MUST supply enough receive buffers for a packet of size mtu and its Ethernet header, MUST NOT transmit larger
 * ones. */
static void mtu_holds_both_ways(void **state)
{
	static const uint16_t mtus[] = {68, 69, 1000, 1499, 1500, 1970, 1971, 9000, 65535};

	(void)state;
	for (unsigned i = 0; i < 8 * ARRAY_SIZE(mtus); i++) {
		uint16_t mtu = mtus[i / 8];
		struct swdev *dev = nic();
		struct net_device *device;

		dev->offered &= i & 1 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		dev->offered &= i & 2 ? ~FEATURE(F_INDIRECT_DESC) : UINT64_MAX;
		dev->offered |= i & 4 ? FEATURE(F_RING_PACKED) : 0;
		put16(dev->config + 10, mtu);
		device = plug(dev, &swdev_direct);
		assert_int_equal(device->mtu, mtu);
		give(dev, i, mtu + ETHERNET);
		assert_true(take(device, i, mtu + ETHERNET));
		assert_int_equal(send(device, i, mtu + ETHERNET), 0);
		check_arrived(dev, i, mtu + ETHERNET);
		assert_int_equal(send(device, i, mtu + ETHERNET + 1), -EINVAL);
		assert_null(swdev_nic_sent(dev));
		assert_int_equal(swdev_nic(dev)->dropped, 0);
		pull_out(dev);
	}
}

/* The same where the queue is too small for such a packet: the device is refused rather than left with less. */
static void queue_too_small_for_mtu(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = nic();

		dev->offered &= i & 1 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		dev->queues[RECEIVEQ].max = i & 2 ? 4 : 8; /* buffers of 1,984 bytes */
		put16(dev->config + 10, 9000);
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, &swdev_direct), i & 2 ? -EINVAL : 0);
		if (!(i & 2)) {
			give(dev, i, 9000 + ETHERNET);
			assert_true(take(net_find(dev->vdev->name), i, 9000 + ETHERNET));
		}
		pull_out(dev);
	}
}

/* MUST treat any speed above 0x7fffffff, and any duplex but 0 and 1, as unknown; SHOULD read both again after a change. */
static void speed_and_duplex(void **state)
{
	static const struct {
		uint32_t speed, means;
		uint8_t duplex;
		enum net_duplex is;
	} cases[] = {
		{10, 10, 0, NET_DUPLEX_HALF},
		{0x7fffffff, 0x7fffffff, 1, NET_DUPLEX_FULL},
		{0x80000000, 0, 2, NET_DUPLEX_UNKNOWN},
		{1000, 1000, 0xff, NET_DUPLEX_UNKNOWN},
		{0xfffffffe, 0, 0x80, NET_DUPLEX_UNKNOWN},
		{0xffffffff, 0, 0, NET_DUPLEX_HALF},
		{100000, 100000, 1, NET_DUPLEX_FULL},
	};
	struct swdev *dev;
	struct net_device *device;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		dev = nic();
		dev->offered |= FEATURE(NET_F_SPEED_DUPLEX);
		put32(dev->config + 12, cases[i].speed);
		dev->config[16] = cases[i].duplex;
		device = plug(dev, &swdev_direct);
		for (unsigned k = i;; k = (k + 1) % ARRAY_SIZE(cases)) {
			assert_int_equal(device->speed, cases[k].means);
			assert_int_equal(device->duplex, cases[k].is);
			if ((k + 1) % ARRAY_SIZE(cases) == i)
				break;
			put32(dev->config + 12, cases[(k + 1) % ARRAY_SIZE(cases)].speed);
			dev->config[16] = cases[(k + 1) % ARRAY_SIZE(cases)].duplex;
			swdev_config_changed(dev);
			loop_sleep(1000000);
		}
		pull_out(dev);
	}
	device = plug(dev = nic(), &swdev_direct); /* not negotiated */
	assert_int_equal(device->speed, 0);
	assert_int_equal(device->duplex, NET_DUPLEX_UNKNOWN);
	pull_out(dev);
}

/* ---- "Packet Transmission" ---- */

/* MUST set num_buffers, flags and gso_type to zero, where nothing is offloaded. All of the header is zero, whatever lay there. */
static void transmit_header_is_zero(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct swdev *dev = nic();
		struct net_device *device;
		uint32_t lengths[] = {14, 60, 61, 1514};

		dev->legacy = i & 1;
		dev->offered = i & 2 ? UINT64_MAX : dev->offered; /* all offloads are there: none is used */
		dev->offered &= i & 4 ? ~FEATURE(NET_F_MRG_RXBUF) & ~FEATURE(F_ANY_LAYOUT) : UINT64_MAX;
		device = plug(dev, &swdev_mmio);
		for (unsigned k = 0; k < ARRAY_SIZE(lengths); k++) {
			assert_int_equal(send(device, k, lengths[k]), 0);
			check_arrived(dev, k, lengths[k]); /* unaltered, its checksums too */
		}
		assert_int_equal(frames_sent, ARRAY_SIZE(lengths));
		for (unsigned k = 0; k < HEADER; k++)
			assert_int_equal(headers[k], 0);
		pull_out(dev);
	}
}

/* ---- "Setting Up Receive Buffers" ---- */

/* SHOULD be of at least 1526 bytes without MRG_RXBUF, however small the MTU; MUST be no smaller than the header with it. */
static void receive_buffers_are_large_enough(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = nic();

		dev->offered &= i & 1 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		put16(dev->config + 10, i & 2 ? 68 : 1500);
		give(dev, 0, 60);
		(void)plug(dev, &swdev_direct);
		loop_sleep(1000000);
		assert_true(dev->queues[RECEIVEQ].buffers_taken > 0);
		assert_true(least_receive_buffer >= 1526);
		pull_out(dev);
	}
}

/* ---- "Processing of Incoming Packets" ---- */

enum { NEEDS_CSUM = 1, DATA_VALID = 2, RSC_INFO = 4, UDP_TUNNEL_CSUM = 8 };
enum { TCPV4 = 1, UDP_TUNNEL_IPV4 = 0x20, UDP_TUNNEL_IPV6 = 0x40, ECN = 0x80 };

static struct net_device *plug_variant(struct swdev *dev, unsigned variant)
{
	dev->offered &= variant & 1 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
	dev->legacy = variant & 2;
	put16(dev->config + 10, 3000); /* so that a frame may take several buffers */
	return plug(dev, &swdev_mmio);
}

/* MUST ignore flags that it does not recognize; MUST NOT use csum_start, csum_offset and outer_nh_offset, nor rely on hdr_len:
 * whatever the header says, the frame is what came behind it. */
static void receive_header_is_not_relied_on(void **state)
{
	static const uint8_t cases[][10] = {
		{0},
		{NEEDS_CSUM, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff},
		{DATA_VALID, 0, 1, 0, 1, 0, 1, 0, 1, 0},
		{RSC_INFO | NEEDS_CSUM, TCPV4, 0, 0, 0, 0, 2, 0, 2, 0},
		{0xf0 | RSC_INFO},
		{0xf7, 0x9f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* all but what tells of UDP tunnels */
		{UDP_TUNNEL_CSUM, ECN, 0, 0x80, 0xff, 0x7f, 0, 0x80, 0xff, 0x7f},
	};

	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = nic();
		struct net_device *device = plug_variant(dev, variant);

		for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
			memcpy(swdev_nic(dev)->header, cases[i], sizeof(cases[i]));
			give(dev, i, 60);
			assert_true(take(device, i, 60));
			give(dev, i, 3014);
			assert_true(take(device, i, 3014));
		}
		assert_int_equal(net_count(device).rx_errors, 0);
		pull_out(dev);
	}
}

/* MUST NOT accept a packet over both kinds of tunnel; over one, without NEEDS_CSUM, with DATA_VALID or without a segmentation type;
 * over none, with UDP_TUNNEL_CSUM and NEEDS_CSUM. All of it goes, and the next one is accepted. */
static void contradictory_tunnels_are_refused(void **state)
{
	static const uint8_t cases[][2] = {
		{NEEDS_CSUM, TCPV4 | UDP_TUNNEL_IPV4 | UDP_TUNNEL_IPV6},
		{0, UDP_TUNNEL_IPV4 | UDP_TUNNEL_IPV6},
		{0, TCPV4 | UDP_TUNNEL_IPV4},
		{0, TCPV4 | UDP_TUNNEL_IPV6},
		{NEEDS_CSUM | DATA_VALID, TCPV4 | UDP_TUNNEL_IPV4},
		{NEEDS_CSUM | DATA_VALID, TCPV4 | UDP_TUNNEL_IPV6},
		{NEEDS_CSUM, UDP_TUNNEL_IPV4},
		{NEEDS_CSUM, UDP_TUNNEL_IPV6},
		{NEEDS_CSUM | UDP_TUNNEL_CSUM, TCPV4},
		{NEEDS_CSUM | UDP_TUNNEL_CSUM, 0},
		{0xff, 0},
	};

	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = nic();
		struct net_device *device = plug_variant(dev, variant);

		for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
			memcpy(swdev_nic(dev)->header, cases[i], sizeof(cases[i]));
			give(dev, i, i % 2 ? 60 : 3014);
			assert_false(take(device, 0, 0));
			assert_int_equal(net_count(device).rx_errors, i + 1);
			memset(swdev_nic(dev)->header, 0, sizeof(swdev_nic(dev)->header));
			give(dev, i, 3014);
			assert_true(take(device, i, 3014));
		}
		assert_int_equal(net_count(device).rx_frames, ARRAY_SIZE(cases));
		pull_out(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration_is_never_written),  cmocka_unit_test(address_is_what_mac_says),
		cmocka_unit_test(link_is_the_bottom_bit),          cmocka_unit_test(mtu_holds_both_ways),
		cmocka_unit_test(queue_too_small_for_mtu),         cmocka_unit_test(speed_and_duplex),
		cmocka_unit_test(transmit_header_is_zero),         cmocka_unit_test(receive_buffers_are_large_enough),
		cmocka_unit_test(receive_header_is_not_relied_on), cmocka_unit_test(contradictory_tunnels_are_refused),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(NET_HEADROOM + FRAME_MAX + 1, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
