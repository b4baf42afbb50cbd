/*
 * The life of a device: negotiation, refusals, recovery, resets of queues, suspension, and cycles of all that which leave nothing behind.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <class/device.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s: %s", dev->type->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void do_work(struct swdev *dev, unsigned amount)
{
	struct swdev_work *work = swdev_work_begin(dev, amount);

	assert_non_null(work);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		fail_msg("%s does not work\n%s", dev->type->name, host_console_text());
	swdev_work_end(work);
}

static const struct device_info *info_of(const struct swdev *dev) { return device_find(dev->vdev->name); }

/* ---- negotiation ---- */

static void unknown_features_are_passed_over(void **state)
{
	uint64_t unknown = FEATURE(20) | FEATURE(30) | FEATURE(44) | FEATURE(49) | FEATURE(50);

	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);

		dev->offered |= unknown;
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_int_equal(dev->accepted & unknown, 0);
		assert_true(dev->accepted & FEATURE(F_VERSION_1));
		do_work(dev, 4);
		unplug(dev);
	}
}

static void bare_device(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);

		dev->offered = FEATURE(F_VERSION_1);
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		if (types[t] != &swdev_blk) /* without FLUSH a flush need not succeed */
			do_work(dev, 20);
		unplug(dev);
	}
}

static void reserved_features(void **state)
{
	static const uint64_t sets[] = {FEATURE(F_ACCESS_PLATFORM),
	                                FEATURE(F_ORDER_PLATFORM),
	                                FEATURE(F_NOTIFICATION_DATA),
	                                FEATURE(F_IN_ORDER),
	                                FEATURE(F_IN_ORDER) | FEATURE(F_RING_PACKED),
	                                FEATURE(F_NOTIFICATION_DATA) | FEATURE(F_RING_PACKED),
	                                FEATURE(F_ORDER_PLATFORM) | FEATURE(F_RING_PACKED)};
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
			for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
				struct swdev *dev = swdev_new(types[t]);

				dev->offered |= sets[i];
				assert_int_equal(swdev_plug(dev, fronts[f]), 0);
				assert_int_equal(dev->accepted & sets[i], sets[i]);
				do_work(dev, 30);
				unplug(dev);
			}
		}
	}
}

/* ---- refusals ---- */

static void no_driver(void **state)
{
	static const struct swdev_type *const stranger = &swdev_echo;
	static struct swdev_type type;
	struct swdev *dev;

	(void)state;
	type = *stranger;
	type.id = 61;
	dev = swdev_new(&type);
	assert_int_equal(swdev_plug(dev, &swdev_direct), -ENODEV);
	assert_string_equal(info_of(dev)->state, "refused");
	assert_string_equal(info_of(dev)->driver, "");
	assert_non_null(strstr(info_of(dev)->reason, "61"));
	assert_int_equal(dev->status & (ST_DRIVER | ST_DRIVER_OK), 0);
	unplug(dev);
}

static void driver_refuses(void **state)
{
	uint64_t free_pages = page_count_free();

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct swdev *dev = swdev_new(&swdev_echo);

		echo_removes = 0;
		echo_options = (struct echo_options){.fail_probe = i ? 0 : -EINVAL, .fail_start = i ? -EBUSY : 0};
		assert_int_equal(swdev_plug(dev, &swdev_direct), i ? -EBUSY : -EINVAL);
		/* "Device Initialization": FAILED, and no step further; where queues were up, a reset ends them */
		assert_true(dev->status == 0 || dev->status & ST_FAILED);
		assert_false(dev->status & ST_DRIVER_OK);
		assert_string_equal(info_of(dev)->state, "refused");
		assert_string_equal(info_of(dev)->reason, "the test wants it so");
		assert_int_equal(echo_removes, i);
		unplug(dev);
	}
	echo_options = (struct echo_options){0};
	assert_int_equal(page_count_free(), free_pages);
}

static void no_memory(void **state)
{
	void *hog[64];
	unsigned hogs = 0, refused = 0;
	uint64_t free_pages = page_count_free();

	(void)state;
	/* Leave 0, 1, 2 ... pages: each allocation of a bring-up fails once. */
	for (unsigned left = 0; left < 160; left++) {
		for (size_t size = page_count_free() * PAGE_SIZE; size >= PAGE_SIZE && hogs < ARRAY_SIZE(hog);) {
			uint64_t excess = page_count_free() > left ? page_count_free() - left : 0;

			if (!excess)
				break;
			size = size > excess * PAGE_SIZE ? excess * PAGE_SIZE : size;
			hog[hogs] = page_alloc(size, PAGE_SIZE);
			if (hog[hogs])
				*(size_t *)hog[hogs++] = size;
			else
				size /= 2;
		}
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);
			uint64_t before = page_count_free();

			if (swdev_plug(dev, &swdev_direct)) {
				refused++;
				assert_true(info_of(dev)->reason[0]);
			}
			unplug(dev);
			assert_int_equal(page_count_free(), before);
		}
		while (hogs) {
			hogs--;
			page_free(hog[hogs], *(size_t *)hog[hogs]);
		}
	}
	assert_true(refused > 20);
	assert_int_equal(page_count_free(), free_pages);
}

/* ---- recovery ---- */

static void recovery_under_load(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		for (unsigned when = 0; when < 12; when++) {
			struct swdev *dev = swdev_new(types[t]);
			struct swdev_work *work;
			uint64_t free_pages;

			dev->budget = 2;
			dev->offered |= when % 2 ? FEATURE(F_RING_PACKED) : 0;
			assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
			free_pages = page_count_free();
			work = swdev_work_begin(dev, 30);
			for (unsigned i = 0; i < when; i++)
				loop_turn(true, clock_ns() + 1000);
			swdev_needs_reset(dev);
			swdev_work_wait(work, 100000000);
			assert_int_equal(dev->resets, 3); /* at first, to take it down, to bring it up again */
			assert_string_equal(info_of(dev)->state, "ok");
			dev->budget = 0;
			if (types[t] != &swdev_net)
				swdev_work_end(work); /* each ended once */
			do_work(dev, 30);
			if (types[t] == &swdev_net)
				swdev_work_end(work);
			assert_int_equal(page_count_free(), free_pages);
			unplug(dev);
		}
	}
}

static void asked_resets(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);
		struct device_info *info;

		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		info = device_find(dev->vdev->name);
		for (unsigned i = 0; i < 30; i++) {
			uint64_t free_pages = page_count_free();

			assert_int_equal(i % 3 ? info->reset(info) : info->rebind(info), 0);
			do_work(dev, 5);
			assert_int_equal(page_count_free(), free_pages);
		}
		assert_int_equal(dev->resets >= 31, 1);
		unplug(dev);
	}
}

/* Interrupts that come when the device is on its way out find nothing of it. */
static void late_interrupts(void **state)
{
	static const unsigned modes[] = {VIRTIO_IRQ_MSIX, VIRTIO_IRQ_MSIX_SHARED, VIRTIO_IRQ_MSIX_ONE, VIRTIO_IRQ_LINE,
	                                 VIRTIO_IRQ_POLL};

	(void)state;
	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);

			dev->direct_irq = modes[m];
			assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
			do_work(dev, 5);
			for (unsigned last = 0; last < 2; last++) {
				for (unsigned i = 0; i < dev->queue_count; i++)
					dev->front->interrupt(dev, &dev->queues[i]);
				dev->front->interrupt(dev, NULL);
				if (!last)
					assert_int_equal(device_find(dev->vdev->name)->reset(device_find(dev->vdev->name)), 0);
			}
			unplug(dev);
			loop_turn(false, 0);
			loop_turn(false, 0);
		}
	}
}

static uint32_t noted_length;

static void note_used(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq, (void)token;
	noted_length = length;
}

/* "Device Initialization": nothing is notified before DRIVER_OK, and what was made available before is notified then. */
static void kick_at_driver_ok(void **state)
{
	struct swdev *dev = swdev_new(&swdev_echo);
	uint8_t *page = page_alloc(PAGE_SIZE, PAGE_SIZE);

	(void)state;
	echo_options = (struct echo_options){.early = page, .used = note_used};
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_int_equal(dev->queues[0].notifications, 1);
	loop_sleep(100000);
	assert_int_equal(dev->queues[0].buffers_used, 1);
	assert_int_equal(noted_length, 100);
	assert_int_equal(page[99], 0x5a);
	unplug(dev);
	echo_options = (struct echo_options){0};
	page_free(page, PAGE_SIZE);
}

/* ---- "Virtqueue Reset" ---- */

static void queue_resets_under_load(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned n = 0; n < 6; n++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);
			struct device_info *info;
			unsigned done = 0;

			dev->budget = 2;
			dev->offered |= FEATURE(F_RING_RESET) | (n % 2 ? FEATURE(F_RING_PACKED) : 0);
			assert_int_equal(swdev_plug(dev, fronts[n / 2]), 0);
			info = device_find(dev->vdev->name);
			if (!(dev->accepted & FEATURE(F_RING_RESET))) {
				assert_int_equal(info->reset_queue(info, 0), -ENOTSUP);
				unplug(dev);
				continue;
			}
			while (done < 20) {
				struct swdev_work *work = swdev_work_begin(dev, 20);

				for (unsigned i = 0; i < 4; i++, done++) {
					loop_turn(true, clock_ns() + 1000);
					assert_int_equal(info->reset_queue(info, done % dev->vdev->queue_count), 0);
				}
				swdev_work_wait(work, 100000000);
				swdev_work_end(work);
			}
			assert_int_equal(dev->resets, 1);
			do_work(dev, 30);
			unplug(dev);
		}
	}
}

static void queue_reset_that_never_completes(void **state)
{
	static const struct swdev_lie stuck = {.name = "queue reset never completes",
	                                       .reg = REG_QUEUE_RESET,
	                                       .index = -1,
	                                       .op = OP_SET,
	                                       .value = 1};
	struct swdev *dev = swdev_new(&swdev_blk);
	struct device_info *info;

	(void)state;
	dev->offered |= FEATURE(F_RING_RESET);
	assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
	dev->lie = &stuck;
	info = device_find(dev->vdev->name);
	assert_true(info->reset_queue(info, 0) < 0);
	dev->lie = NULL;
	loop_sleep(1000000);
	do_work(dev, 10); /* it was reset as a whole */
	assert_int_equal(dev->resets, 3);
	unplug(dev);
}

/* ---- "Device Suspend" ---- */

static void suspend_and_resume(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);
			struct device_info *info;
			struct swdev_work *work;

			dev->offered |= FEATURE(F_SUSPEND);
			assert_int_equal(swdev_plug(dev, fronts[f]), 0);
			assert_true(dev->accepted & FEATURE(F_SUSPEND));
			info = device_find(dev->vdev->name);
			do_work(dev, 10);
			assert_int_equal(info->suspend(info, true), 0);
			assert_int_equal(dev->status & (ST_SUSPEND | ST_DRIVER_OK), ST_SUSPEND);
			work = swdev_work_begin(dev, 10);
			assert_false(swdev_work_wait(work, 10000000)); /* it waits */
			assert_int_equal(info->suspend(info, false), 0);
			assert_int_equal(dev->status & (ST_SUSPEND | ST_DRIVER_OK), ST_DRIVER_OK);
			if (!swdev_work_wait(work, SWDEV_WORK_NS))
				fail_msg("%s over %s: what waited is not done", types[t]->name, fronts[f]->name);
			swdev_work_end(work);
			do_work(dev, 10);
			unplug(dev);
		}
	}
}

/* ---- cycles ---- */

static void thousand_cycles(void **state)
{
	uint64_t free_pages = page_count_free();
	unsigned attached = host_irq_attached();

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		const struct swdev_front *front = i % 10 == 7 ? &swdev_pci : i % 10 == 8 ? &swdev_mmio : &swdev_direct;
		struct swdev *dev = swdev_new(types[i % ARRAY_SIZE(types)]);

		dev->offered |= i % 3 ? FEATURE(F_RING_PACKED) : 0;
		assert_int_equal(swdev_plug(dev, front), 0);
		do_work(dev, 4);
		unplug(dev);
		assert_int_equal(page_count_free(), free_pages);
		if (i % 50 == 0)
			host_console_capture(true);
	}
	assert_int_equal(host_irq_attached(), attached);
	assert_null(virtio_device_first());
	assert_null(device_first());
}

static void many_at_once(void **state)
{
	struct swdev *devs[16];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(devs); i++) {
		devs[i] = swdev_new(types[i % 4]);
		assert_int_equal(swdev_plug(devs[i], i % 3 ? &swdev_pci : &swdev_mmio), 0);
	}
	assert_string_equal(devs[0]->vdev->name, "blk0");
	assert_string_equal(devs[13]->vdev->name, "net3");
	for (unsigned i = 0; i < ARRAY_SIZE(devs); i++)
		do_work(devs[i], 10);
	for (unsigned i = 0; i < ARRAY_SIZE(devs); i++)
		unplug(devs[(i * 5) % ARRAY_SIZE(devs)]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_features_are_passed_over),
		cmocka_unit_test(bare_device),
		cmocka_unit_test(reserved_features),
		cmocka_unit_test(no_driver),
		cmocka_unit_test(driver_refuses),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(recovery_under_load),
		cmocka_unit_test(asked_resets),
		cmocka_unit_test(late_interrupts),
		cmocka_unit_test(kick_at_driver_ok),
		cmocka_unit_test(queue_resets_under_load),
		cmocka_unit_test(queue_reset_that_never_completes),
		cmocka_unit_test(suspend_and_resume),
		cmocka_unit_test(thousand_cycles),
		cmocka_unit_test(many_at_once),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
