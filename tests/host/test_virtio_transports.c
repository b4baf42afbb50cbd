/*
 * Every driver over every way to reach its device, each with each kind of interrupt: honest devices, real data, all bytes checked.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <host.h>
#include <virtio/transport.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

/* A way to reach a device: its front, and how it is set. */
struct way {
	const char *name;
	const struct swdev_front *front;
	bool legacy, level, transitional, no_line, window, ports;
	uint64_t features;
	uint16_t vectors; /* UINT16_MAX: one for each queue, and one */
	uint8_t structures_bar;
	unsigned irq, expected_irq;
};

static const struct way ways[] = {
	{"direct", &swdev_direct, .irq = VIRTIO_IRQ_MSIX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"direct, shared", &swdev_direct, .irq = VIRTIO_IRQ_MSIX_SHARED, .expected_irq = VIRTIO_IRQ_MSIX_SHARED},
	{"direct, one", &swdev_direct, .irq = VIRTIO_IRQ_MSIX_ONE, .expected_irq = VIRTIO_IRQ_MSIX_ONE},
	{"direct, line", &swdev_direct, .irq = VIRTIO_IRQ_LINE, .expected_irq = VIRTIO_IRQ_LINE},
	{"direct, poll", &swdev_direct, .irq = VIRTIO_IRQ_POLL, .expected_irq = VIRTIO_IRQ_POLL},
	{"mmio", &swdev_mmio, .expected_irq = VIRTIO_IRQ_LINE},
	{"mmio, level", &swdev_mmio, .level = true, .expected_irq = VIRTIO_IRQ_LINE},
	{"mmio, legacy", &swdev_mmio, .legacy = true, .expected_irq = VIRTIO_IRQ_LINE},
	{"pci", &swdev_pci, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	/* As StratoVirt lays it out: MSI-X in BAR 1, one vector more than queues, the structures in BAR 2. */
	{"pci, structures in BAR 2", &swdev_pci, .structures_bar = 2, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"pci, 2 vectors", &swdev_pci, .vectors = 2, .expected_irq = VIRTIO_IRQ_MSIX_SHARED},
	{"pci, 1 vector", &swdev_pci, .vectors = 1, .expected_irq = VIRTIO_IRQ_MSIX_ONE},
	{"pci, intx", &swdev_pci, .vectors = 0, .expected_irq = VIRTIO_IRQ_LINE},
	{"pci, poll", &swdev_pci, .vectors = 0, .no_line = true, .expected_irq = VIRTIO_IRQ_POLL},
	{"pci, transitional", &swdev_pci, .transitional = true, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"pci, window", &swdev_pci, .window = true, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"pci, window, intx", &swdev_pci, .window = true, .vectors = 0, .expected_irq = VIRTIO_IRQ_LINE},
	{"pci, ports", &swdev_pci, .ports = true, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"pci, notify data", &swdev_pci, .features = FEATURE(F_NOTIFICATION_DATA), .vectors = UINT16_MAX},
	{"pci, notify config data", &swdev_pci, .features = FEATURE(F_NOTIF_CONFIG_DATA), .vectors = UINT16_MAX},
	{"pci, both", &swdev_pci, .features = FEATURE(F_NOTIF_CONFIG_DATA) | FEATURE(F_NOTIFICATION_DATA), .vectors = UINT16_MAX},
	{"pci, ports, both", &swdev_pci, .ports = true, .features = FEATURE(F_NOTIF_CONFIG_DATA) | FEATURE(F_NOTIFICATION_DATA),
         .vectors = UINT16_MAX},
	{"pci, window, both", &swdev_pci, .window = true, .features = FEATURE(F_NOTIF_CONFIG_DATA) | FEATURE(F_NOTIFICATION_DATA),
         .vectors = UINT16_MAX},
	{"mmio, notify data", &swdev_mmio, .features = FEATURE(F_NOTIFICATION_DATA), .expected_irq = VIRTIO_IRQ_LINE},
	{"pci, legacy", &swdev_pci, .legacy = true, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
	{"pci, legacy, intx", &swdev_pci, .legacy = true, .vectors = 0, .expected_irq = VIRTIO_IRQ_LINE},
};

static struct swdev *make(const struct way *way, const struct swdev_type *type)
{
	struct swdev *dev = swdev_new(type);

	dev->legacy = way->legacy;
	dev->mmio_level = way->level;
	dev->transitional = way->transitional;
	dev->no_line = way->no_line;
	dev->window = way->window;
	dev->ports = way->ports;
	dev->offered |= way->features;
	dev->direct_irq = way->irq;
	if (way->structures_bar)
		dev->structures_bar = way->structures_bar;
	if (way->vectors == UINT16_MAX)
		assert_int_equal(dev->vectors, dev->queue_count + 1);
	else
		dev->vectors = way->vectors;
	return dev;
}

static void fail_with_log(const struct way *way, const struct swdev *dev, const char *what)
{
	fail_msg("%s, %s: %s\n%s\n%s", way->name, dev->type->name, what, dev->first_violation, host_console_text());
}

static void one(const struct way *way, const struct swdev_type *type)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = make(way, type);
	struct swdev_work *work;
	unsigned attached = host_irq_attached();

	host_console_capture(true);
	if (swdev_plug(dev, way->front))
		fail_with_log(way, dev, "refused");
	/* A queue for each vector: 2 are enough for a device of one queue. */
	if (dev->vdev->irq_mode != way->expected_irq && !(way->vectors == 2 && dev->queue_count == 1))
		fail_with_log(way, dev, "another kind of interrupt");
	assert_int_equal(dev->accepted & way->features, way->features);
	work = swdev_work_begin(dev, 40);
	if (!work || !swdev_work_wait(work, SWDEV_WORK_NS))
		fail_with_log(way, dev, "the work was not done");
	if (dev->violations)
		fail_with_log(way, dev, "violations");
	assert_int_equal(swdev_unplug(dev), 0);
	swdev_work_end(work);
	assert_int_equal(page_count_free(), free_pages);
	assert_int_equal(host_irq_attached(), attached);
}

static void every_driver_every_way(void **state)
{
	(void)state;
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++)
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
			one(&ways[w], types[t]);
}

/* Configuration changes are heard of over every kind of interrupt. */
static void configuration_changes(void **state)
{
	(void)state;
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++) {
		struct swdev *dev = make(&ways[w], &swdev_blk);

		assert_int_equal(swdev_plug(dev, ways[w].front), 0);
		for (unsigned i = 1; i < 5; i++) {
			swdev_disk_resize(dev, 2048 * i + 8);
			loop_sleep(50000000);
			if (block_find(dev->vdev->name)->capacity != 2048 * i + 8)
				fail_with_log(&ways[w], dev, "a change of the capacity was not heard of");
		}
		swdev_needs_reset(dev);
		loop_sleep(50000000);
		if (dev->resets != 3)
			fail_with_log(&ways[w], dev, "DEVICE_NEEDS_RESET was not heard of");
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

static void shared_memory(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = swdev_new(&swdev_entropy);
		struct virtio_shm region = {0};

		dev->shm_base = f ? 0x100000000 : 0x7000000000; /* in BAR 2; physical */
		dev->shm_size = UINT64_C(5) << 32;
		dev->shm_id = 1;
		assert_int_equal(swdev_plug(dev, fronts[f]), 0);
		assert_int_equal(dev->vdev->ops->shm_region(dev->vdev, 0, &region), -ENOENT);
		assert_int_equal(dev->vdev->ops->shm_region(dev->vdev, 1, &region), 0);
		assert_int_equal(region.length, UINT64_C(5) << 32);
		assert_int_equal(region.phys, f ? (UINT64_C(1) << 36) + 0x100000000 : 0x7000000000);
		assert_int_equal(swdev_unplug(dev), 0);

		dev = swdev_new(&swdev_entropy); /* beyond what there is */
		dev->shm_base = f ? UINT64_C(1) << 35 : UINT64_C(1) << 63;
		dev->shm_size = (UINT64_C(1) << 35) + 4096;
		dev->shm_id = 1;
		assert_int_equal(swdev_plug(dev, fronts[f]), 0);
		if (f) /* its BAR ends */
			assert_int_equal(dev->vdev->ops->shm_region(dev->vdev, 1, &region), -EIO);
		else
			assert_int_equal(dev->vdev->ops->shm_region(dev->vdev, 1, &region), 0);
		assert_null(virtio_device_memory(dev->vdev, dev->shm_base, dev->shm_size));
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* The platform grants few messages, or none: fewer vectors, then the line. */
static void few_messages(void **state)
{
	(void)state;
	for (unsigned messages = 0; messages < 4; messages++) {
		static const enum virtio_irq_mode modes[] = {VIRTIO_IRQ_LINE, VIRTIO_IRQ_MSIX_ONE, VIRTIO_IRQ_MSIX_SHARED,
		                                             VIRTIO_IRQ_MSIX};
		struct swdev *dev = swdev_new(&swdev_net);
		struct swdev_work *work;

		host_message_limit = messages;
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		assert_int_equal(dev->vdev->irq_mode, modes[messages]);
		work = swdev_work_begin(dev, 30);
		assert_true(swdev_work_wait(work, SWDEV_WORK_NS));
		assert_int_equal(swdev_unplug(dev), 0);
		swdev_work_end(work);
	}
	host_message_limit = 1024;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_driver_every_way),
		cmocka_unit_test(configuration_changes),
		cmocka_unit_test(shared_memory),
		cmocka_unit_test(few_messages),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
