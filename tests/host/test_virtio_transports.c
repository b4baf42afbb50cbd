/*
 * Every driver over every way to reach its device, each with each kind of interrupt: honest devices, real data, all bytes checked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <base/event.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

/* A way to reach a device: its front, and how it is set. */
struct way {
	const char *name;
	const struct swdev_front *front;
	bool legacy, level, transitional, no_line;
	uint16_t vectors; /* UINT16_MAX: as many as the device likes */
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
	{"pci, 2 vectors", &swdev_pci, .vectors = 2, .expected_irq = VIRTIO_IRQ_MSIX_SHARED},
	{"pci, 1 vector", &swdev_pci, .vectors = 1, .expected_irq = VIRTIO_IRQ_MSIX_ONE},
	{"pci, intx", &swdev_pci, .vectors = 0, .expected_irq = VIRTIO_IRQ_LINE},
	{"pci, poll", &swdev_pci, .vectors = 0, .no_line = true, .expected_irq = VIRTIO_IRQ_POLL},
	{"pci, transitional", &swdev_pci, .transitional = true, .vectors = UINT16_MAX, .expected_irq = VIRTIO_IRQ_MSIX},
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
	dev->direct_irq = way->irq;
	if (way->vectors != UINT16_MAX)
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
	work = swdev_work_begin(dev, 40);
	if (!work || !swdev_work_wait(work, SWDEV_WORK_NS))
		fail_with_log(way, dev, "the work was not done");
	if (swdev_unplug(dev))
		fail_with_log(way, dev, "violations");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_driver_every_way),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
