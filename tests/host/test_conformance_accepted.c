/*
 * Which features each driver accepts, when they are offered: every bit alone, and all at once.
 *
 * Most of what the spec asks of drivers is asked "if ... is negotiated". The conformance tables answer that with a feature
 * that is never accepted; here is the proof.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/util.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_gpu.h"
#include "swdev_impl.h"
#include "swdev_input.h"
#include "swdev_tree.h"
#include "swdev_types.h"
#include "swdev_work.h"

static const struct {
	const struct swdev_type *type;
	uint64_t accepted; /* of the bits of its own type */
	uint64_t together; /* of those: not alone, since they need another */
	unsigned queues;   /* that it sets up, a bit for each, however many there are */
} drivers[] = {
	{&swdev_net,
         NET_F_CONTROL | NET_F_OFFLOADS_OUT | NET_F_OFFLOADS_IN | FEATURE(NET_F_MTU) | FEATURE(NET_F_MAC) |
                 FEATURE(NET_F_MRG_RXBUF) | FEATURE(NET_F_STATUS) | FEATURE(NET_F_MQ) | FEATURE(NET_F_RSS) |
                 FEATURE(NET_F_RSC_EXT) | FEATURE(NET_F_GUEST_HDRLEN) | FEATURE(NET_F_STANDBY) | FEATURE(NET_F_SPEED_DUPLEX),
         (NET_F_CONTROL & ~FEATURE(NET_F_CTRL_VQ)) | (NET_F_OFFLOADS_OUT & ~FEATURE(NET_F_CSUM)) |
                 (NET_F_OFFLOADS_IN & ~FEATURE(NET_F_GUEST_CSUM)) | FEATURE(NET_F_MQ) | FEATURE(NET_F_RSS) |
                 FEATURE(NET_F_RSC_EXT),
         1 | 2 | 1u << 2 * NET_PAIRS},
	{&swdev_blk,
         FEATURE(BLK_F_SIZE_MAX) | FEATURE(BLK_F_SEG_MAX) | FEATURE(BLK_F_RO) | FEATURE(BLK_F_BLK_SIZE) | FEATURE(BLK_F_FLUSH) |
                 FEATURE(BLK_F_TOPOLOGY) | FEATURE(BLK_F_CONFIG_WCE) | FEATURE(BLK_F_MQ) | FEATURE(BLK_F_DISCARD) |
                 FEATURE(BLK_F_WRITE_ZEROES) | FEATURE(BLK_F_LIFETIME) | FEATURE(BLK_F_SECURE_ERASE) | FEATURE(BLK_F_ZONED),
         FEATURE(BLK_F_CONFIG_WCE), 1},
	{&swdev_console, FEATURE(CONSOLE_F_SIZE) | FEATURE(CONSOLE_F_MULTIPORT) | FEATURE(CONSOLE_F_EMERG_WRITE), 0, 63},
	{&swdev_entropy, 0, 0, 1},
	{&swdev_input, 0, 0, 3},
	{&swdev_9p, 1, 0, 1},
	{&swdev_fs, 0, 0, 31},
	{&swdev_gpu, FEATURE(GPU_F_EDID) | FEATURE(GPU_F_RESOURCE_BLOB) | FEATURE(GPU_F_BLOB_ALIGNMENT),
         FEATURE(GPU_F_BLOB_ALIGNMENT), 3},
};

#define RESERVED                                                                                                                 \
	(FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX) | FEATURE(F_VERSION_1) | FEATURE(F_ACCESS_PLATFORM) |                   \
	 FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER) | FEATURE(F_ORDER_PLATFORM) | FEATURE(F_NOTIFICATION_DATA) |               \
	 FEATURE(F_RING_RESET) | FEATURE(F_SUSPEND))
#define RESERVED_LEGACY (FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX) | FEATURE(F_ANY_LAYOUT))

static const struct {
	const struct swdev_front *front;
	bool legacy;
	uint64_t reserved; /* accepted there of "Reserved Feature Bits" */
} ways[] = {
	{&swdev_direct, false, RESERVED},
	{&swdev_mmio, false, RESERVED},
	{&swdev_pci, false, RESERVED | FEATURE(F_NOTIF_CONFIG_DATA)},
	{&swdev_mmio, true, RESERVED_LEGACY},
	{&swdev_pci, true, RESERVED_LEGACY},
};

static void every_bit_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(drivers) * ARRAY_SIZE(ways) * 64; i++) {
		unsigned d = i / 64 % ARRAY_SIZE(drivers), w = i / 64 / ARRAY_SIZE(drivers), bit = i % 64;
		struct swdev *dev = swdev_new(drivers[d].type);
		uint64_t expected;

		dev->legacy = ways[w].legacy;
		dev->offered = FEATURE(bit) | (dev->legacy ? 0 : FEATURE(F_VERSION_1));
		expected = dev->offered & ((drivers[d].accepted & ~drivers[d].together) | ways[w].reserved);
		if (dev->legacy)
			expected &= UINT32_MAX;
		if (dev->legacy && drivers[d].type == &swdev_blk)
			expected &= ~FEATURE(BLK_F_ZONED); /* a legacy device cannot have it */
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, ways[w].front), 0);
		if (dev->accepted != expected)
			fail_msg("%s over %s%s: %#llx of %#llx accepted", dev->type->name, ways[w].front->name,
			         dev->legacy ? " (legacy)" : "", (unsigned long long)dev->accepted,
			         (unsigned long long)dev->offered);
		assert_true(dev->status & ST_DRIVER_OK);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* Features 64 and above are all there, too. Of those, none can be accepted but by a write, which is a violation. */
static uint32_t all_beyond_63(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)dev;
	return reg == REG_FEATURES && index > 1 ? UINT32_MAX : honest;
}

static const struct swdev_lie offer_all_beyond_63 = {.name = "all features beyond 63", .at_read = all_beyond_63};

/* A device that has it all, and queues for it: the control virtqueues of network and console devices, further pairs, further requestqs.
 * Only the queues that exist with what was accepted are set up, and they work. */
static void all_bits_at_once(void **state)
{
	static struct swdev_type type;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(drivers) * ARRAY_SIZE(ways); i++) {
		unsigned d = i % ARRAY_SIZE(drivers), w = i / ARRAY_SIZE(drivers);
		struct swdev_work *work;
		struct swdev *dev;
		uint64_t expected;

		type = *drivers[d].type;
		type.queues = 7;
		dev = swdev_new(&type);
		dev->legacy = ways[w].legacy;
		dev->lie = &offer_all_beyond_63;
		dev->offered = dev->legacy ? UINT32_MAX : UINT64_MAX;
		if (drivers[d].type == &swdev_blk)
			dev->offered &= ~FEATURE(BLK_F_RO); /* else nothing is written */
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, ways[w].front), 0);
		expected = dev->offered & (drivers[d].accepted | ways[w].reserved);
		if (drivers[d].type == &swdev_blk)
			expected &= ~FEATURE(BLK_F_DISCARD); /* its zones, which are offered, too, may be the host's to manage */
		if (drivers[d].type == &swdev_blk && dev->legacy)
			expected &= ~FEATURE(BLK_F_ZONED);
		assert_int_equal(dev->accepted, expected);
		work = swdev_work_begin(dev, 20);
		assert_non_null(work);
		assert_true(swdev_work_wait(work, SWDEV_WORK_NS));
		swdev_work_end(work);
		for (uint16_t q = 0; q < type.queues; q++)
			assert_int_equal(dev->queues[q].enabled, drivers[d].queues >> q & 1);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_alone),
		cmocka_unit_test(all_bits_at_once),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
