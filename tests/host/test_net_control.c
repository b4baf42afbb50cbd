/*
 * The controlq of the network driver: every command in its form (swdev_net_ctrl.c checks it), refusals, lies and silence, and what holds over
 * a reset.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <class/device.h>
#include <class/net_control.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

#define CONTROL (NET_F_CONTROL | NET_F_OFFLOADS_IN)

static struct net_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	plug_in(dev, front);
	return net_find(dev->vdev->name);
}

static const uint8_t macs[][6] = {{3, 0, 0, 0, 0, 1},
                                  {2, 0, 0, 0, 0, 2},
                                  {0xff, 1, 2, 3, 4, 5},
                                  {4, 0, 0, 0, 0, 6},
                                  {0x33, 0x33, 1, 1, 1, 1}};
static const uint8_t own[6] = {0x0a, 1, 2, 3, 4, 5};
static const struct net_coalescing some = {7, 1000}, other = {1, 2};

static void set_all(struct net_device *device)
{
	struct net_steering steering = {.hash_types = NET_HASH_TCP4 | NET_HASH_UDP6, .tunnels = 0x101, .entries = 1};

	for (unsigned mode = 0; mode < NET_RX_MODES; mode++)
		assert_int_equal(net_rx_mode(device, mode, mode % 2), 0);
	assert_int_equal(net_set_mac(device, own), 0);
	assert_int_equal(net_filter(device, macs, ARRAY_SIZE(macs)), 0);
	for (unsigned id = 0; id < 4096; id += 195)
		assert_int_equal(net_vlan(device, (uint16_t)id, true), 0);
	assert_int_equal(net_vlan(device, 195, false), 0);
	assert_int_equal(net_rx_offloads(device, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6), 0);
	memset(steering.key, 0x5c, sizeof(steering.key));
	assert_int_equal(net_steer(device, &steering), 0);
	assert_int_equal(net_coalesce(device, NET_RX, -1, &some), 0);
	assert_int_equal(net_coalesce(device, NET_TX, 0, &other), 0);
}

static void check_all(struct swdev *dev, struct net_device *device)
{
	const struct swdev_nic_control *has = &swdev_nic(dev)->control;
	struct net_coalescing how;

	for (unsigned mode = 0; mode < NET_RX_MODES; mode++)
		assert_int_equal(has->modes[mode], mode % 2);
	assert_memory_equal(dev->config, own, 6);
	assert_memory_equal(device->mac, own, 6);
	assert_int_equal(has->stations, 2);
	assert_int_equal(has->groups, 3);
	assert_memory_equal(has->macs[0], macs[1], 6);
	assert_memory_equal(has->macs[1], macs[3], 6);
	assert_memory_equal(has->macs[2], macs[0], 6);
	assert_memory_equal(has->macs[4], macs[4], 6);
	for (unsigned id = 0; id < 4096; id++)
		assert_int_equal(has->vlans[id / 64] >> id % 64 & 1, id % 195 == 0 && id != 195);
	assert_int_equal(has->offloads, FEATURE(NET_F_GUEST_CSUM) | FEATURE(NET_F_GUEST_TSO6));
	assert_int_equal(has->hash_types, NET_HASH_TCP4 | NET_HASH_UDP6);
	assert_int_equal(has->tunnels, 0x101);
	assert_int_equal(has->key_bytes, 40);
	assert_int_equal(has->key[39], 0x5c);
	assert_int_equal(net_coalescing(device, NET_RX, 0, &how), 0);
	assert_memory_equal(&how, &some, sizeof(how));
	assert_int_equal(net_coalescing(device, NET_TX, 0, &how), 0);
	assert_memory_equal(&how, &other, sizeof(how));
	assert_int_equal(has->refused, 0);
}

/* Each command; and what a reset made the device forget it is told again. With RSS, and with HASH_REPORT alone. */
static void all_that_is_asked(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct swdev *dev = swdev_new(&swdev_net);
		struct net_device *device;

		dev->offered |= CONTROL | (variant & 1 ? FEATURE(F_RING_PACKED) : 0) | (variant & 2 ? FEATURE(NET_F_RSS) : 0);
		dev->offered |= variant & 4 ? FEATURE(NET_F_MQ) : 0;
		device = plug(dev, &swdev_direct);
		set_all(device);
		check_all(dev, device);
		swdev_needs_reset(dev);
		loop_sleep(20000000);
		assert_true(dev->resets >= 2);
		check_all(dev, device);
		assert_int_equal(device->rx_offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6);
		pull_out(dev);
	}
}

/* "Legacy Interface: Framing Requirements": a descriptor each, without ANY_LAYOUT. */
static void legacy_framing(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;

	(void)state;
	dev->legacy = true;
	dev->offered = (dev->offered | CONTROL) & UINT32_MAX & ~FEATURE(F_ANY_LAYOUT);
	device = plug(dev, &swdev_mmio);
	assert_int_equal(net_filter(device, macs, ARRAY_SIZE(macs)), 0);
	assert_int_equal(net_filter(device, NULL, 0), 0);
	assert_int_equal(net_rx_mode(device, NET_RX_PROMISC, true), 0);
	assert_int_equal(net_rx_offloads(device, 0), 0);
	swdev_nic_announce(dev);
	loop_sleep(20000000);
	assert_int_equal(swdev_nic(dev)->control.announced, 1);
	pull_out(dev);
}

/* MUST NOT issue a command whose feature was not negotiated, nor one that makes no sense. */
static void nothing_that_is_not_offered(void **state)
{
	struct net_steering steering = {.entries = 1};
	struct net_coalescing how = {9, 9};
	struct swdev *dev;
	struct net_device *device;

	(void)state;
	for (unsigned variant = 0; variant < 2; variant++) {
		dev = swdev_new(&swdev_net);
		dev->offered |= variant ? FEATURE(NET_F_CTRL_VQ) | NET_F_OFFLOADS_IN : 0;
		device = plug(dev, &swdev_direct);
		for (unsigned mode = 0; mode < NET_RX_MODES; mode++)
			assert_int_equal(net_rx_mode(device, mode, true), -ENOTSUP);
		assert_int_equal(net_set_mac(device, own), -ENOTSUP);
		assert_int_equal(net_filter(device, macs, 1), -ENOTSUP);
		assert_int_equal(net_vlan(device, 1, true), -ENOTSUP);
		assert_int_equal(net_rx_offloads(device, 0), -ENOTSUP);
		assert_int_equal(net_steer(device, &steering), -ENOTSUP);
		assert_int_equal(net_coalesce(device, NET_RX, -1, &some), -ENOTSUP);
		assert_int_equal(net_coalesce(device, NET_RX, 0, &some), -ENOTSUP);
		assert_int_equal(net_coalescing(device, NET_RX, 0, &how), -ENOTSUP);
		assert_int_equal(swdev_nic(dev)->control.commands, 0);
		pull_out(dev);
	}
	dev = swdev_new(&swdev_net);
	dev->offered |= (CONTROL | FEATURE(NET_F_RSS)) & ~FEATURE(NET_F_GUEST_UFO) & ~FEATURE(NET_F_CTRL_MAC_ADDR);
	put32(dev->config + 20, 0xfffffe07); /* hash types and tunnels that nobody knows are ignored */
	put32(dev->config + 24, 0xfffffe03);
	device = plug(dev, &swdev_direct);
	swdev_nic(dev)->control.commands = 0;
	assert_int_equal(device->hash_types, 7);
	assert_int_equal(net_set_mac(device, own), -ENOTSUP);
	assert_int_equal(net_rx_offloads(device, NET_OFFLOAD_UFO), -EINVAL);
	assert_int_equal(net_rx_mode(device, NET_RX_MODES, true), -EINVAL);
	assert_int_equal(net_filter(device, macs, NET_MACS_MAX + 1), -EINVAL);
	assert_int_equal(net_vlan(device, 4096, true), -EINVAL);
	assert_int_equal(net_coalesce(device, NET_TX, 1, &some), -EINVAL); /* one pair is enabled */
	assert_int_equal(net_coalescing(device, NET_TX, 1, &how), -EINVAL);
	steering.hash_types = 8;
	assert_int_equal(net_steer(device, &steering), -EINVAL);
	steering.hash_types = 7;
	steering.tunnels = 4;
	assert_int_equal(net_steer(device, &steering), -EINVAL);
	steering.tunnels = 3;
	steering.entries = 3;
	assert_int_equal(net_steer(device, &steering), -EINVAL);
	steering.entries = 256;
	assert_int_equal(net_steer(device, &steering), -EINVAL);
	steering.entries = 2;
	steering.table[1] = 1; /* of a pair that is not enabled */
	assert_int_equal(net_steer(device, &steering), -EINVAL);
	assert_int_equal(swdev_nic(dev)->control.commands, 0);
	steering.table[1] = 0;
	assert_int_equal(net_steer(device, &steering), 0);
	pull_out(dev);
}

/* "Setting MAC Address Filtering": SHOULD set the address where it is not the device's `mac`. */
static void own_address_is_told(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;

	(void)state;
	dev->offered = (dev->offered | CONTROL) & ~FEATURE(NET_F_MAC);
	device = plug(dev, &swdev_direct);
	assert_int_equal(device->mac[0] & 3, 2);
	assert_memory_equal(dev->config, device->mac, 6);
	pull_out(dev);
}

/* Whatever it says but VIRTIO_NET_OK is a refusal, in one line; what was so before stays. */
static void refusals(void **state)
{
	static const uint8_t acks[] = {1, 2, 0x80, 0xff};
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;
	struct net_coalescing how = {9, 9};
	uint8_t before[6];

	(void)state;
	dev->offered |= CONTROL;
	device = plug(dev, &swdev_direct);
	memcpy(before, device->mac, 6);
	for (unsigned i = 0; i < ARRAY_SIZE(acks); i++) {
		swdev_nic(dev)->control.lies = true;
		swdev_nic(dev)->control.false_ack = acks[i];
		host_console_capture(true);
		assert_int_equal(net_set_mac(device, own), -EIO);
		assert_non_null(strstr(host_console_text(), "command 0x101 is refused"));
		assert_memory_equal(device->mac, before, 6);
		assert_int_equal(net_rx_offloads(device, 0), -EIO);
		assert_int_equal(device->rx_offloads, 0x7f);
		assert_int_equal(net_coalescing(device, NET_RX, 0, &how), -EIO);
		assert_int_equal(how.packets | how.usecs, 0);
		swdev_nic(dev)->control.lies = false;
		assert_int_equal(net_rx_mode(device, NET_RX_PROMISC, true), 0);
	}
	pull_out(dev);
}

static int nested;

static void ask_inside(struct timer *timer)
{
	(void)timer;
	nested = net_rx_mode(net_find(NULL), NET_RX_PROMISC, true);
}

static struct swdev *restarted;

static void reset_inside(struct timer *timer)
{
	ask_inside(timer);
	swdev_nic(restarted)->control.silent = false;
	swdev_needs_reset(restarted);
}

/* The device asks for a reset while a program waits for its answer: what was set is set again all the same. */
static void restart_inside(void **state)
{
	struct net_device *device;
	struct timer timer = {0};

	(void)state;
	restarted = swdev_new(&swdev_net);
	restarted->offered |= CONTROL;
	device = plug(restarted, &swdev_direct);
	set_all(device);
	swdev_nic(restarted)->control.silent = true;
	timer_start(&timer, 0, reset_inside);
	nested = 0;
	assert_int_equal(net_vlan(device, 7, true), -EIO);
	assert_int_equal(nested, -EBUSY);
	check_all(restarted, device);
	pull_out(restarted);
}

/* A device that never answers is reset, after a line; a call inside the wait is turned away. */
static void silence(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;
	struct timer timer = {0};

	(void)state;
	dev->offered |= CONTROL & ~FEATURE(NET_F_HASH_REPORT);
	device = plug(dev, &swdev_direct);
	swdev_nic(dev)->control.silent = true;
	timer_start(&timer, 0, ask_inside);
	nested = 0;
	assert_int_equal(net_vlan(device, 1, true), -EIO);
	assert_int_equal(nested, -EBUSY);
	assert_non_null(strstr(host_console_text(), "controlq"));
	assert_true(dev->resets >= 2);
	swdev_nic(dev)->control.silent = false;
	loop_sleep(20000000);
	assert_int_equal(net_vlan(device, 1, true), 0);
	pull_out(dev);

	/* At the start: the device is refused, and the driver does not wait for ever. */
	dev = swdev_new(&swdev_net);
	dev->offered |= CONTROL;
	swdev_nic(dev)->control.silent = true;
	host_console_capture(true);
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_non_null(strstr(host_console_text(), "controlq: no answer"));
	pull_out(dev);
}

static struct swdev *leaving;

static void take_away(struct timer *timer)
{
	(void)timer;
	assert_int_equal(swdev_unplug(leaving), 0);
}

/* The device goes while a program waits for it: by surprise, or in order. */
static void removal(void **state)
{
	struct net_device *device;
	struct timer timer = {0};

	(void)state;
	for (unsigned surprise = 0; surprise < 2; surprise++) {
		leaving = swdev_new(&swdev_net);
		leaving->offered |= CONTROL & ~FEATURE(NET_F_HASH_REPORT);
		device = plug(leaving, &swdev_direct);
		swdev_nic(leaving)->control.silent = true;
		if (surprise)
			swdev_remove_by_surprise(leaving);
		timer_start(&timer, 0, take_away);
		assert_int_equal(net_vlan(device, 1, true), -ENODEV);
		assert_null(net_find(NULL));
	}
}

static unsigned announcements;

static void announced(struct net_device *device)
{
	(void)device;
	announcements++;
}

/* "Gratuitous Packet Sending": the program is told, and the device gets its acknowledgement: each time, and at the start, too. */
static void announce(void **state)
{
	struct swdev *dev = swdev_new(&swdev_net);
	struct net_device *device;

	(void)state;
	dev->offered |= CONTROL;
	put16(dev->config + 6, 3);
	device = plug(dev, &swdev_direct);
	loop_sleep(20000000);
	assert_int_equal(swdev_nic(dev)->control.announced, 1);
	assert_int_equal(device->announces, 1);
	device->announce = announced;
	announcements = 0;
	for (unsigned i = 0; i < 3; i++) {
		swdev_nic_announce(dev);
		loop_sleep(20000000);
		assert_int_equal(announcements, i + 1);
		assert_int_equal(swdev_nic(dev)->control.announced, i + 2);
		assert_int_equal(get16(dev->config + 6), 1);
	}
	device->announce = NULL;
	pull_out(dev);

	dev = swdev_new(&swdev_net); /* not negotiated: no command */
	dev->offered |= CONTROL & ~FEATURE(NET_F_GUEST_ANNOUNCE);
	device = plug(dev, &swdev_direct);
	swdev_nic_announce(dev);
	loop_sleep(20000000);
	assert_int_equal(device->announces, 0);
	pull_out(dev);
}

/* Configuration that cannot be. */
static void impossible_configuration(void **state)
{
	static const struct {
		unsigned offset, width, value;
		uint64_t features;
		const char *says;
	} cases[] = {
		{8, 2, 0, FEATURE(NET_F_MQ), "max_virtqueue_pairs is 0"},
		{8, 2, 0x8000, FEATURE(NET_F_MQ), "max_virtqueue_pairs is 32768"},
		{8, 2, 2, FEATURE(NET_F_MQ), NULL},
		{17, 1, 39, FEATURE(NET_F_RSS), "hash keys"},
		{18, 2, 64, FEATURE(NET_F_RSS), "table of 64"},
		{8, 2, 7, FEATURE(NET_F_MQ), "queue 14 (controlq) is not there"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = swdev_new(&swdev_net);
		int error;

		dev->offered |= FEATURE(NET_F_CTRL_VQ) | cases[i].features;
		memcpy(dev->config + cases[i].offset, &cases[i].value, cases[i].width);
		host_console_capture(true);
		error = swdev_plug(dev, &swdev_direct);
		assert_int_equal(!error, !cases[i].says);
		if (error && !strstr(dev->vdev->reason, cases[i].says))
			fail_msg("refused: %s", dev->vdev->reason);
		pull_out(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_asked),
		cmocka_unit_test(legacy_framing),
		cmocka_unit_test(nothing_that_is_not_offered),
		cmocka_unit_test(own_address_is_told),
		cmocka_unit_test(refusals),
		cmocka_unit_test(restart_inside),
		cmocka_unit_test(silence),
		cmocka_unit_test(removal),
		cmocka_unit_test(announce),
		cmocka_unit_test(impossible_configuration),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
