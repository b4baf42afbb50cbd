/*
 * Requirements of "Device Cleanup", "Virtqueue Reset", "Device Suspend" and "Device Configuration Space", seen from a driver of the test's own.
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
#include <class/block.h>
#include <class/device.h>
#include <host.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_pci.h"
#include "swdev_types.h"
#include "swdev_work.h"
#include "trace.h"

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

static struct device_info *info_of(const struct swdev *dev) { return device_find(dev->vdev->name); }

#define OWN_ID 59

static struct swdev *own_dev;
#define OWN_BYTES 64u
static uint8_t *own_bytes; /* two buffers */
static unsigned own_added, own_stops, own_drains;

static int own_probe(struct virtio_device *vdev)
{
	/* "Device Suspend": not before DRIVER_OK */
	assert_true(virtio_device_suspend(vdev) < 0);
	assert_int_equal(own_dev->status & ST_SUSPEND, 0);
	return 0;
}

static void own_add(struct virtq *vq, void *memory)
{
	struct virtq_buf buf = {memory, OWN_BYTES};

	assert_int_equal(virtq_add(vq, &buf, 0, 1, memory), 0);
	own_added++;
}

/* "Device Initialization": no available buffer notification before DRIVER_OK; what was added goes out with it. */
static int own_start(struct virtio_device *vdev)
{
	static const struct virtq_spec spec = {.name = "q", .max_size = 64};
	int error = virtio_queues_create(vdev, 1, &spec);

	if (error)
		return error;
	own_dev->queues[0].notifications = 0;
	own_add(vdev->queues[0], own_bytes);
	assert_false(virtq_kick(vdev->queues[0]));
	assert_int_equal(own_dev->queues[0].notifications, 0);
	virtio_driver_ok(vdev);
	assert_int_equal(own_dev->queues[0].notifications, 1);
	own_dev->queues[0].notifications = 0;
	return 0;
}

/* "Device Cleanup": no buffer is taken back before the queue is not live any more. */
static void take_back(struct virtq *vq)
{
	assert_false(own_dev->queues[0].enabled);
	for (unsigned i = 0; i < own_added; i++)
		assert_non_null(virtq_detach_unused(vq));
	assert_null(virtq_detach_unused(vq));
	own_added = 0;
}

static void own_stop(struct virtio_device *vdev)
{
	assert_int_equal(own_dev->status & ST_DRIVER_OK, 0);
	take_back(vdev->queues[0]);
	own_stops++;
}

static void own_remove(struct virtio_device *vdev) { (void)vdev; }

static void own_drain(struct virtio_device *vdev, struct virtq *vq)
{
	assert_true(vdev->driver_ok);
	take_back(vq);
	own_drains++;
}

static void own_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	assert_true(own_dev->queues[0].enabled);
	own_add(vq, own_bytes);
}

static const struct virtio_driver own_driver = {.name = "virtio-own",
                                                .instance = "own",
                                                .type = OWN_ID,
                                                .config_size = 64,
                                                .probe = own_probe,
                                                .start = own_start,
                                                .stop = own_stop,
                                                .remove = own_remove,
                                                .queue_drain = own_drain,
                                                .queue_refill = own_refill};
VIRTIO_DRIVER(own_driver);

/* And its device, which keeps whatever it gets. */
static void nothing(struct swdev *dev) { (void)dev; }

static bool keep(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	(void)queue, (void)chain, (void)written;
	return false;
}

static const struct swdev_field own_fields[] = {{0, 8, 1, -1, .writable = false}, {8, 1, 16, -1, .writable = true}, {.width = 0}};
static const struct swdev_type own_type = {.id = OWN_ID,
                                           .name = "own",
                                           .queues = 1,
                                           .fields = own_fields,
                                           .config_size = 24,
                                           .init = nothing,
                                           .free = nothing,
                                           .serve = keep};

static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

static struct swdev *own(const struct swdev_front *front, uint64_t features)
{
	own_dev = swdev_new(&own_type);
	own_dev->offered |= features;
	own_stops = own_drains = 0;
	assert_int_equal(swdev_plug(own_dev, front), 0);
	return own_dev;
}

static void no_notification_before_driver_ok(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2 * ARRAY_SIZE(fronts); f++)
		unplug(own(fronts[f / 2], f % 2 ? FEATURE(F_RING_PACKED) : 0)); /* own_start() checks */
}

static void buffers_are_taken_back_after_the_reset(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2 * ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f / 2], FEATURE(F_RING_RESET) | (f % 2 ? FEATURE(F_RING_PACKED) : 0));

		assert_int_equal(info_of(dev)->reset_queue(info_of(dev), 0), 0);
		assert_int_equal(own_drains, 1);
		swdev_needs_reset(dev);
		loop_sleep(1000000);
		assert_int_equal(own_stops, 1);
		unplug(dev);
		assert_int_equal(own_stops, 2);
	}
}

/* ---- "Virtqueue Reset" ---- */

static const uint64_t queue_reset_at[] = {0xc0, 58}, queue_ready_at[] = {0x44, 28}; /* mmio, pci */

static const struct swdev_lie late_queue_reset =
	{.name = "", .reg = REG_QUEUE_RESET, .index = -1, .op = OP_SET, .value = 1, .times = 5};

/* "Virtqueue Reset": that it has been reset is verified, "MMIO Device Register Layout", "Common configuration structure layout": by reading 0. */
static void queue_reset_is_awaited(void **state)
{
	(void)state;
	for (unsigned r = 0; r < 2u; r++) {
		struct swdev *dev = own(fronts[1 + r], FEATURE(F_RING_RESET));
		unsigned at, reads = 0;

		dev->lie = &late_queue_reset;
		trace_begin();
		assert_int_equal(info_of(dev)->reset_queue(info_of(dev), 0), 0);
		trace_end();
		for (at = 0; !(trace[at].write && trace[at].offset == queue_reset_at[r]); at++)
			;
		assert_int_equal(trace[at].value, 1);
		do {
			at++;
			assert_false(trace[at].write);
			assert_int_equal(trace[at].offset, queue_reset_at[r]);
			reads++;
		} while (trace[at].value != 0);
		assert_int_equal(reads, 6);
		unplug(dev);
	}
}

/* Without VIRTIO_F_RING_RESET there is nothing of the kind, and no register for it ("MMIO Device Register Layout"). */
static void queue_reset_needs_its_feature(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f], 0);

		trace_begin();
		assert_int_equal(info_of(dev)->reset_queue(info_of(dev), 0), -ENOTSUP);
		trace_end();
		assert_int_equal(trace_count, 0);
		assert_true(dev->queues[0].enabled);
		assert_int_equal(dev->status, 15);
		unplug(dev);
	}
}

/* "Virtqueue Re-enable": each register that was written for the queue at first is written again, and that which enables it comes last. */
static void queue_is_set_up_anew(void **state)
{
	(void)state;
	for (unsigned r = 0; r < 2u; r++) {
		struct trace_access first[256];
		unsigned firsts = 0, last = 0;
		struct swdev *dev;

		trace_begin();
		dev = own(fronts[1 + r], FEATURE(F_RING_RESET));
		for (unsigned i = 0; i < trace_count; i++)
			if (trace_kind(dev, &trace[i]) == TRACE_QUEUE && trace[i].write && firsts < ARRAY_SIZE(first))
				first[firsts++] = trace[i];
		assert_true(firsts > 8); /* a select, the size, six halves of addresses, ready */
		trace_begin();
		assert_int_equal(info_of(dev)->reset_queue(info_of(dev), 0), 0);
		trace_end();
		for (unsigned i = 0; i < firsts; i++) {
			unsigned again = trace_find(0, first[i].base, true, first[i].offset);

			if (again == trace_count)
				fail_msg("register %#x is not written again", (unsigned)first[i].offset);
			assert_int_equal(trace[again].value, first[i].value);
		}
		for (unsigned i = 0; i < trace_count; i++)
			if (trace_kind(dev, &trace[i]) == TRACE_QUEUE && trace[i].write)
				last = i;
		assert_int_equal(trace[last].offset, queue_ready_at[r]);
		unplug(dev);
	}
}

/* ---- "Device Suspend" ---- */

static unsigned late;
static bool resuming;

/* The device takes five reads to show that it has done as told; the values in between are each half of the truth. */
static uint32_t slow(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	static const uint8_t halves[] = {ST_DRIVER_OK, ST_SUSPEND, ST_SUSPEND | ST_DRIVER_OK, 0};
	uint8_t due = resuming ? ST_DRIVER_OK : ST_SUSPEND;
	uint8_t shown = halves[late % ARRAY_SIZE(halves)];

	(void)index;
	if (reg != REG_STATUS || !(dev->status & due) || late == 5)
		return honest;
	late++;
	if (shown == due)
		shown = ST_SUSPEND | ST_DRIVER_OK;
	return (honest & ~(uint32_t)(ST_SUSPEND | ST_DRIVER_OK)) | shown;
}

static const struct swdev_lie slowly = {.name = "", .at_read = slow};

static void suspend_and_resume_are_awaited(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f], FEATURE(F_SUSPEND));

		dev->lie = &slowly;
		resuming = false;
		late = 0;
		assert_int_equal(virtio_device_suspend(dev->vdev), 0);
		assert_int_equal(late, 5);
		resuming = true;
		late = 0;
		assert_int_equal(virtio_device_resume(dev->vdev), 0);
		assert_int_equal(late, 5);
		dev->lie = NULL;
		unplug(dev);
	}
}

static void suspend_that_never_comes(void **state)
{
	static const struct swdev_lie never = {.name = "", .reg = REG_STATUS, .index = -1, .op = OP_CLEAR, .value = ST_SUSPEND};
	struct swdev *dev = own(&swdev_mmio, FEATURE(F_SUSPEND));

	(void)state;
	dev->lie = &never;
	assert_int_equal(virtio_device_suspend(dev->vdev), -EIO);
	dev->lie = NULL;
	loop_sleep(1000000);
	assert_int_equal(dev->status, 15); /* it was reset instead */
	unplug(dev);
}

static void suspend_needs_its_feature(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f], 0);

		assert_int_equal(virtio_device_suspend(dev->vdev), -ENOTSUP);
		assert_int_equal(dev->status, 15);
		unplug(dev);
	}
}

/* No more buffers, no notifications, no changes to the configuration; all of it possible again after the resume. */
static void nothing_happens_while_suspended(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2 * ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f / 2], FEATURE(F_SUSPEND) | (f % 2 ? FEATURE(F_RING_PACKED) : 0));
		struct virtq *vq = dev->vdev->queues[0];
		uint8_t byte = 0x77;

		swdev_look_all(true);
		assert_int_equal(virtio_device_suspend(dev->vdev), 0);
		own_add(vq, own_bytes + OWN_BYTES);
		assert_false(virtq_kick(vq));
		virtq_kick_later(vq);
		loop_sleep(1000000);
		assert_int_equal(dev->queues[0].notifications, 0);
		assert_false((dev->offered >> F_RING_PACKED & 1 ? &swdev_packed : &swdev_split)->pending(&dev->queues[0]));
		assert_true(virtio_config_write(dev->vdev, 8, &byte, 1) < 0);
		assert_int_equal(dev->config[8], 0);

		assert_int_equal(virtio_device_resume(dev->vdev), 0);
		assert_int_equal(dev->queues[0].notifications, 1);
		assert_int_equal(virtio_config_write(dev->vdev, 8, &byte, 1), 0);
		assert_int_equal(dev->config[8], 0x77);
		swdev_look_all(true);
		assert_int_equal(dev->queues[0].buffers_taken, 2);
		assert_int_equal(info_of(dev)->suspend(info_of(dev), true),
		                 0); /* and a suspended device is taken down as any other */
		unplug(dev);
	}
}

/* ---- "Device Configuration Space" ---- */

static unsigned tear;

static uint32_t change_in_between(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg == REG_CONFIG && tear && --tear == 0) {
		memset(dev->config, 0x22, 24);
		dev->generation++;
	}
	return honest;
}

static const struct swdev_lie changing = {.name = "", .at_read = change_in_between};

/* Neither a field of 64 bits nor a group of fields is ever half old and half new. */
static void reads_are_not_torn(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = own(fronts[f], 0);

		dev->lie = &changing;
		for (unsigned at = 1; at <= 16; at++) {
			uint8_t group[16];

			memset(dev->config, 0x11, 24);
			tear = at;
			if (at <= 2)
				assert_int_equal(virtio_config_u64(dev->vdev, 0, 0), 0x2222222222222222);
			memset(dev->config, 0x11, 24);
			tear = at;
			assert_int_equal(virtio_config_read(dev->vdev, 8, group, sizeof(group)), 0);
			for (unsigned i = 0; i < sizeof(group); i++)
				assert_int_equal(group[i], 0x22);
		}
		dev->lie = NULL;
		unplug(dev);
	}
}

/* A configuration larger than what the driver knows of is no reason for anything. */
static void larger_configurations_are_welcome(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);

			dev->config_size = 256;
			assert_int_equal(swdev_plug(dev, fronts[f]), 0);
			do_work(dev, 10);
			unplug(dev);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_notification_before_driver_ok),
		cmocka_unit_test(buffers_are_taken_back_after_the_reset),
		cmocka_unit_test(queue_reset_is_awaited),
		cmocka_unit_test(queue_reset_needs_its_feature),
		cmocka_unit_test(queue_is_set_up_anew),
		cmocka_unit_test(suspend_and_resume_are_awaited),
		cmocka_unit_test(suspend_that_never_comes),
		cmocka_unit_test(suspend_needs_its_feature),
		cmocka_unit_test(nothing_happens_while_suspended),
		cmocka_unit_test(reads_are_not_torn),
		cmocka_unit_test(larger_configurations_are_welcome),
	};

	swdev_machine(64u << 20);
	own_bytes = page_alloc(PAGE_SIZE, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
