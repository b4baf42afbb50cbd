/*
 * What the command line restricts: features, the ring's layout, interrupts, transports.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <base/cmdline.h>
#include <base/event.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

/* A blk device under that command line; NULL: it was refused, or passed over. */
static struct swdev *bring_up(const char *words, struct swdev *dev, const struct swdev_front *front)
{
	cmdline_init(words);
	host_console_capture(true);
	if (!swdev_plug(dev, front))
		return dev;
	assert_int_equal(swdev_unplug(dev), 0);
	return NULL;
}

static void works(struct swdev *dev)
{
	struct swdev_work *work;

	assert_non_null(dev);
	work = swdev_work_begin(dev, 20);
	assert_true(swdev_work_wait(work, SWDEV_WORK_NS));
	assert_int_equal(swdev_unplug(dev), 0);
	swdev_work_end(work);
}

static struct swdev *blk(uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_blk);

	dev->offered |= more;
	return dev;
}

static void without_features(void **state)
{
	struct swdev *dev = bring_up("virtio.without=28,6,64", blk(0), &swdev_direct);

	(void)state;
	assert_non_null(dev);
	assert_non_null(strstr(host_console_text(), "virtio.without: \"64\" is no list of feature bits"));
	assert_int_equal(dev->accepted & (FEATURE(28) | FEATURE(6)), 0);
	assert_true(dev->accepted & FEATURE(29));
	works(dev);
}

static void ring_layout(void **state)
{
	struct swdev *dev;

	(void)state;
	dev = bring_up("virtio.queue=packed", blk(FEATURE(F_RING_PACKED)), &swdev_direct);
	assert_true(dev->vdev->queues[0]->packed);
	works(dev);
	dev = bring_up("virtio.queue=any", blk(FEATURE(F_RING_PACKED)), &swdev_direct);
	assert_true(dev->vdev->queues[0]->packed);
	works(dev);
	dev = bring_up("virtio.queue=split", blk(FEATURE(F_RING_PACKED)), &swdev_direct);
	assert_false(dev->vdev->queues[0]->packed);
	works(dev);
	dev = bring_up("virtio.queue=split", blk(0), &swdev_direct);
	works(dev);
	assert_null(bring_up("virtio.queue=packed", blk(0), &swdev_direct));
	assert_non_null(strstr(host_console_text(), "feature bit 34"));
	dev = bring_up("virtio.queue=round", blk(FEATURE(F_RING_PACKED)), &swdev_direct);
	assert_non_null(strstr(host_console_text(), "virtio.queue: \"round\""));
	works(dev);
}

static void interrupts(void **state)
{
	static const struct {
		const char *words;
		enum virtio_irq_mode mode;
	} cases[] = {
		{"virtio.irq=msix", VIRTIO_IRQ_MSIX}, {"virtio.irq=intx", VIRTIO_IRQ_LINE}, {"virtio.irq=poll", VIRTIO_IRQ_POLL},
		{"virtio.irq=any", VIRTIO_IRQ_MSIX},  {"virtio.irq=bell", VIRTIO_IRQ_MSIX},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = bring_up(cases[i].words, blk(0), &swdev_pci);

		assert_non_null(dev);
		assert_int_equal(dev->vdev->irq_mode, cases[i].mode);
		works(dev);
	}
	assert_non_null(strstr(host_console_text(), "virtio.irq: \"bell\""));
}

static void transports(void **state)
{
	struct swdev *dev;

	(void)state;
	assert_null(bring_up("virtio.transport=mmio", blk(0), &swdev_pci));
	assert_null(bring_up("virtio.transport=pci", blk(0), &swdev_mmio));
	works(bring_up("virtio.transport=mmio", blk(0), &swdev_mmio));
	works(bring_up("virtio.transport=pci-modern", blk(0), &swdev_pci));
	dev = blk(0);
	dev->legacy = true;
	assert_null(bring_up("virtio.transport=pci-modern", dev, &swdev_pci));

	for (unsigned i = 0; i < 2; i++) { /* a transitional device both ways */
		dev = blk(0);
		dev->transitional = true;
		dev->legacy_choice = i;
		dev = bring_up(i ? "virtio.transport=pci-legacy" : "virtio.transport=any", dev, &swdev_pci);
		assert_non_null(dev);
		assert_int_equal(dev->vdev->legacy, i);
		works(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_features), /* first: that word is read once */
		cmocka_unit_test(ring_layout),
		cmocka_unit_test(interrupts),
		cmocka_unit_test(transports),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
