/*
 * Requirements of "Feature Bits" and "Reserved Feature Bits" about what follows from a feature. Which ones are accepted at all is in
 * test_conformance_accepted.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arch/barrier.h>
#include <base/event.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static void work_and_unplug(struct swdev *dev)
{
	struct swdev_work *work = swdev_work_begin(dev, 20);

	assert_non_null(work);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		fail_msg("%s does not work\n%s", dev->type->name, host_console_text());
	assert_int_equal(swdev_unplug(dev), 0);
	swdev_work_end(work);
}

/* ---- "Feature Bits": none without those that it requires ---- */

#define OWN_ID 58

static const struct virtio_feature_rule own_rules[] = {{1, BIT64(2)}, {2, BIT64(3) | BIT64(4)}, {3, BIT64(5)}, {0, 0}};

static int own_probe(struct virtio_device *vdev)
{
	(void)vdev;
	return 0;
}

static int own_start(struct virtio_device *vdev)
{
	virtio_driver_ok(vdev);
	return 0;
}

static void own_end(struct virtio_device *vdev) { (void)vdev; }

static const struct virtio_driver own_driver = {.name = "virtio-own",
                                                .instance = "own",
                                                .type = OWN_ID,
                                                .features = BIT64(1) | BIT64(2) | BIT64(3) | BIT64(4) | BIT64(5),
                                                .rules = own_rules,
                                                .probe = own_probe,
                                                .start = own_start,
                                                .stop = own_end,
                                                .remove = own_end};
VIRTIO_DRIVER(own_driver);

static void nothing(struct swdev *dev) { (void)dev; }

static const struct swdev_rule device_rules[] = {{1, FEATURE(2)}, {2, FEATURE(3) | FEATURE(4)}, {3, FEATURE(5)}, {0, 0}};
static const struct swdev_type own_type = {.id = OWN_ID, .name = "own", .rules = device_rules, .init = nothing, .free = nothing};

static void prerequisites(void **state)
{
	static const struct {
		uint64_t offered, accepted;
	} cases[] = {
		{FEATURE(1), 0},
		{FEATURE(2), 0},
		{FEATURE(1) | FEATURE(2), 0}, /* one drop pulls another */
		{FEATURE(1) | FEATURE(3), 0},
		{FEATURE(1) | FEATURE(2) | FEATURE(3), 0},
		{FEATURE(1) | FEATURE(2) | FEATURE(4), FEATURE(1) | FEATURE(2) | FEATURE(4)},
		{FEATURE(1) | FEATURE(2) | FEATURE(3) | FEATURE(4), FEATURE(1) | FEATURE(2) | FEATURE(4)},
		{FEATURE(2) | FEATURE(3) | FEATURE(5), FEATURE(2) | FEATURE(3) | FEATURE(5)},
		{FEATURE(4) | FEATURE(5), FEATURE(4) | FEATURE(5)},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = swdev_new(&own_type);

		dev->offered = FEATURE(F_VERSION_1) | cases[i].offered;
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_int_equal(dev->accepted, FEATURE(F_VERSION_1) | cases[i].accepted);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* ---- VIRTIO_F_ACCESS_PLATFORM ---- */

/* What the platform would have for devices that go through it. */
static void *platform_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *address)
{
	(void)dma, (void)size, (void)alignment, (void)address;
	fail_msg("memory of the platform's for a device that does not go through it");
	return NULL;
}

static dma_addr_t platform_map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	(void)dma, (void)memory, (void)size, (void)dir;
	fail_msg("an address of the platform's for a device that does not go through it");
	return DMA_ERROR;
}

static const struct dma_ops platform = {.alloc = platform_alloc, .map = platform_map};

/* A device that does not offer it is given physical addresses, whatever the platform has. */
static void physical_addresses_without_access_platform(void **state)
{
	(void)state;
	for (unsigned t = 0; t < 3 * ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t / 3]);

		dev->legacy = t % 3 == 2;
		dev->offered |= t % 3 == 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->dma.ops = &platform;
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		work_and_unplug(dev);
	}
}

/* ---- VIRTIO_F_ORDER_PLATFORM ---- */

static unsigned between_cpus, to_hardware;

static void count_barrier(enum host_barrier barrier)
{
	if (barrier >= HOST_IO_MB)
		to_hardware++;
	else
		between_cpus++;
}

/* The barriers are those for hardware where it was negotiated, on every path of both layouts; elsewhere those of CPUs do. */
static void barriers_for_hardware(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		for (unsigned i = 0; i < 16; i++) {
			struct swdev *dev = swdev_new(types[t]);

			dev->offered = (dev->offered & ~FEATURE(F_EVENT_IDX)) | (i & 1 ? FEATURE(F_ORDER_PLATFORM) : 0) |
			               (i & 2 ? FEATURE(F_RING_PACKED) : 0) | (i & 4 ? FEATURE(F_EVENT_IDX) : 0) |
			               (i & 8 ? FEATURE(F_IN_ORDER) : 0);
			between_cpus = to_hardware = 0;
			host_barrier_hook = count_barrier;
			assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
			work_and_unplug(dev);
			host_barrier_hook = NULL;
			assert_int_equal(i & 1 ? between_cpus : to_hardware, 0);
			assert_true((i & 1 ? to_hardware : between_cpus) > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prerequisites),
		cmocka_unit_test(physical_addresses_without_access_platform),
		cmocka_unit_test(barriers_for_hardware),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
