/*
 * The network driver against a wire in memory: frames both ways, in pieces and merged, headers, MAC, MTU, link.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/net.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

static struct net_pool *pool;
#define POOL 512u

static struct net_device *plug(struct swdev *dev)
{
	struct net_device *device;

	plug_in(dev, &swdev_direct);
	device = net_find(dev->vdev->name);
	assert_non_null(device);
	return device;
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_int_equal(net_pool_free_count(pool), POOL);
}

static uint8_t byte_of(unsigned frame, size_t i) { return (uint8_t)((frame * 77 + i) * 0x9e3779b1u >> 22); }

static void fill(uint8_t *bytes, unsigned frame, size_t from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = byte_of(frame, from + i);
}

static uint32_t length_of(unsigned frame) { return 60 + frame * 131 % 1455; }

/* ---- sending ---- */

static void check_sent(struct swdev *dev, unsigned frame, uint32_t length)
{
	struct swdev_frame *sent = swdev_nic_sent(dev);

	assert_non_null(sent);
	assert_int_equal(sent->length, length);
	for (uint32_t i = 0; i < length; i++)
		if (sent->bytes[i] != byte_of(frame, i))
			fail_msg("byte %u of frame %u", i, frame);
	free(sent);
}

static void frames_out(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 12; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;
		unsigned given = 0, checked = 0;

		dev->order = variant / 4; /* in which they are used */

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(F_EVENT_IDX) : UINT64_MAX;
		dev->queues[1].max = 32;
		device = plug(dev);
		while (checked < 3000) {
			struct net_buf *bufs[20];
			unsigned count = 0, taken;

			while (count < 20 && given + count < 3000 && (bufs[count] = net_buf_alloc(pool))) {
				bufs[count]->length = length_of(given + count);
				fill(bufs[count]->data, given + count, 0, bufs[count]->length);
				count++;
			}
			taken = net_tx_burst(device, bufs, count);
			given += taken;
			while (count > taken)
				net_buf_free(bufs[--count]); /* the ring is full: they stay ours */
			loop_turn(true, UINT64_MAX);
			while (checked < swdev_nic(dev)->sent) {
				if (dev->order == SWDEV_FIFO)
					check_sent(dev, checked, length_of(checked));
				else
					free(swdev_nic_sent(dev));
				checked++;
			}
		}
		loop_sleep(20000000); /* done() runs some milliseconds later at the latest */
		assert_int_equal(net_count(device).tx_frames, 3000);
		assert_int_equal(net_count(device).tx_errors, 0);
		assert_int_equal(net_pool_free_count(pool), POOL);
		unplug(dev);
	}
}

static int last_status;
static unsigned done_count;

static void note_done(struct net_buf *buf)
{
	last_status = buf->status;
	done_count++;
	net_buf_free(buf);
}

static struct net_buf *make(unsigned frame, unsigned pieces, uint32_t each)
{
	struct net_buf *first = NULL, **link = &first;

	for (unsigned i = 0; i < pieces; i++, link = &(*link)->more) {
		*link = net_buf_alloc(pool);
		(*link)->length = each;
		fill((*link)->data, frame, i * each, each);
	}
	first->done = note_done;
	return first;
}

static int send(struct net_device *device, struct net_buf *buf)
{
	done_count = 0;
	assert_int_equal(net_tx_burst(device, &buf, 1), 1);
	for (unsigned i = 0; i < 100 && !done_count; i++)
		loop_sleep(1000000);
	assert_int_equal(done_count, 1);
	return last_status;
}

static void pieces_and_sizes(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device = plug(dev);

	(void)state;
	assert_int_equal(send(device, make(1, 7, 100)), 0);
	check_sent(dev, 1, 700);
	assert_int_equal(send(device, make(2, 1, 1514)), 0);
	check_sent(dev, 2, 1514);
	assert_int_equal(send(device, make(3, 1, 1515)), -EINVAL);
	assert_int_equal(send(device, make(4, 3, 600)), -EINVAL);
	assert_int_equal(send(device, make(5, 40, 20)), -EINVAL); /* in too many pieces */
	assert_int_equal(send(device, make(6, 1, 0)), -EINVAL);
	assert_int_equal(net_count(device).tx_errors, 4);
	assert_null(swdev_nic_sent(dev));
	unplug(dev);
}

/* ---- receiving ---- */

static unsigned received, received_bytes;
static struct net_buf *kept[POOL];
static unsigned kept_count, keep;

static void check_received(const struct net_buf *buf)
{
	uint32_t at = 0;

	for (; buf; buf = buf->more) {
		for (uint32_t i = 0; i < buf->length; i++)
			if (buf->data[i] != byte_of(received, at + i))
				fail_msg("byte %u of frame %u", at + i, received);
		at += buf->length;
	}
	received_bytes = at;
}

static void take(struct net_device *device)
{
	struct net_buf *bufs[8];
	unsigned count;

	while ((count = net_rx_burst(device, bufs, 8))) {
		for (unsigned i = 0; i < count; i++) {
			check_received(bufs[i]);
			received++;
			if (kept_count < keep)
				kept[kept_count++] = bufs[i];
			else
				net_buf_free(bufs[i]);
		}
	}
}

static void arrive(struct swdev *dev, unsigned frame, uint32_t length)
{
	uint8_t *bytes = malloc(length);

	fill(bytes, frame, 0, length);
	swdev_nic_receive(dev, bytes, length);
	free(bytes);
}

static void frames_in(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		dev->offered &= variant & 4 ? ~FEATURE(F_EVENT_IDX) : UINT64_MAX;
		dev->queues[0].max = 16;
		device = plug(dev);
		received = kept_count = keep = 0;
		net_listen(device, take);
		for (unsigned i = 0; i < 3000;) {
			for (unsigned burst = 0; burst < 1 + i % 40 && i < 3000; burst++, i++)
				arrive(dev, i, length_of(i));
			loop_sleep(1000000);
		}
		loop_sleep(10000000);
		assert_int_equal(received, 3000); /* in order, none lost, none altered: check_received() */
		assert_int_equal(net_count(device).rx_frames, 3000);
		assert_int_equal(swdev_nic(dev)->dropped, 0);
		unplug(dev);
	}
}

/* A program that looks by itself is not told; a reset does not change that, and once it wants to be told it is, of what waits first. */
static void looked_for(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(F_EVENT_IDX) : UINT64_MAX;
		device = plug(dev);
		received = kept_count = keep = 0;
		net_listen(device, take);
		net_poll(device, true);
		loop_sleep(1000000);
		for (unsigned i = 0; i < 4; i++) {
			if (i == 2) {
				virtio_device_broken(dev->vdev, "the test wants it so");
				loop_sleep(10000000);
			}
			arrive(dev, i, 100);
			loop_sleep(1000000);
			assert_int_equal(received, i);
			take(device);
			assert_int_equal(received, i + 1);
		}
		arrive(dev, 4, 100);
		loop_sleep(1000000);
		assert_int_equal(received, 4);
		net_poll(device, false);
		loop_sleep(1000000);
		assert_int_equal(received, 5);
		arrive(dev, 5, 100);
		loop_sleep(1000000);
		assert_int_equal(received, 6);
		unplug(dev);
	}
}

/* Frames of 9,014 bytes: in several merged buffers, or in one buffer of several pieces. */
static void jumbo_frames(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;

		put16(dev->config + 10, 9000);
		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		device = plug(dev);
		assert_int_equal(device->mtu, 9000);
		received = kept_count = keep = 0;
		net_listen(device, take);
		for (unsigned i = 0; i < 200; i++) {
			arrive(dev, i, i % 2 ? 9014 : 64 + i * 40);
			loop_sleep(1000000);
			assert_int_equal(received, i + 1);
			assert_int_equal(received_bytes, i % 2 ? 9014 : 64 + i * 40);
		}
		assert_int_equal(send(device, make(7, 6, 1500)), 0);
		check_sent(dev, 7, 9000);
		unplug(dev);
	}
}

/* Nobody listens: frames wait. A program that keeps its buffers holds the ring's refill back, and the sender with it; nothing is lost. */
static void slow_program(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device = plug(dev);

	(void)state;
	received = kept_count = keep = 0;
	for (unsigned i = 0; i < 20; i++)
		arrive(dev, i, 100);
	loop_sleep(10000000);
	assert_int_equal(received, 0);
	net_listen(device, take);
	loop_sleep(10000000);
	assert_int_equal(received, 20);

	keep = POOL;
	for (unsigned i = 20; i < 1500; i++)
		arrive(dev, i, 100);
	loop_sleep(50000000);
	assert_true(received > 20);
	keep = 0;
	for (unsigned i = 0; i < 20 && received < 1500; i++) {
		while (kept_count)
			net_buf_free(kept[--kept_count]);
		loop_sleep(50000000);
	}
	assert_int_equal(received, 1500);
	unplug(dev);
}

/* ---- configuration ---- */

static unsigned link_calls;

static void link_changed(struct net_device *device)
{
	(void)device;
	link_calls++;
}

static void link_status(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;

	(void)state;
	dev->offered |= FEATURE(NET_F_SPEED_DUPLEX);
	device = plug(dev);
	link_calls = 0;
	device->link_changed = link_changed;
	assert_true(device->link_up);
	assert_int_equal(device->speed, 10000);
	for (unsigned i = 1; i <= 5; i++) {
		swdev_nic_link(dev, i % 2 == 0);
		loop_sleep(1000000);
		assert_int_equal(device->link_up, i % 2 == 0);
		assert_int_equal(device->link_changes, i);
		assert_int_equal(link_calls, i);
	}
	swdev_nic_link(dev, false); /* as before: no change */
	put32(dev->config + 12, 0xffffffff);
	swdev_config_changed(dev);
	loop_sleep(1000000);
	assert_int_equal(link_calls, 5);
	assert_int_equal(device->speed, 0);
	unplug(dev);
}

static void addresses(void **state)
{
	static const uint8_t given[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device = plug(dev);

	(void)state;
	assert_memory_equal(device->mac, given, 6);
	assert_false(device->mac_is_random);
	assert_int_equal(device->mtu, 1500);
	unplug(dev);

	dev = swdev_new(&swdev_net);
	dev->offered &= ~(FEATURE(NET_F_MAC) | FEATURE(NET_F_STATUS) | FEATURE(NET_F_MTU));
	device = plug(dev);
	assert_true(device->mac_is_random);
	assert_int_equal(device->mac[0] & 3, 2); /* locally administered, of one station */
	assert_true(device->link_up);
	assert_int_equal(device->mtu, 1500);
	unplug(dev);
}

/* ---- the legacy interface: no num_buffers without MRG_RXBUF; the header in a descriptor of its own without ANY_LAYOUT ---- */

static void legacy_headers(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;

		dev->legacy = true;
		dev->offered |= variant & 1 ? FEATURE(F_ANY_LAYOUT) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, &swdev_mmio), 0);
		device = net_find(dev->vdev->name);
		received = kept_count = keep = 0;
		net_listen(device, take);
		for (unsigned i = 0; i < 300; i++) {
			arrive(dev, i, length_of(i));
			assert_int_equal(send(device, make(i, 1, length_of(i))), 0);
			check_sent(dev, i, length_of(i));
			loop_sleep(1000000);
			assert_int_equal(received, i + 1);
		}
		unplug(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_out),  cmocka_unit_test(pieces_and_sizes), cmocka_unit_test(frames_in),
		cmocka_unit_test(looked_for),  cmocka_unit_test(jumbo_frames),     cmocka_unit_test(slow_program),
		cmocka_unit_test(link_status), cmocka_unit_test(addresses),        cmocka_unit_test(legacy_headers),
	};

	swdev_machine(64u << 20);
	pool = net_pool_create(POOL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
