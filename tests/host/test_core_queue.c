/*
 * The core at its edges: what virtqueues, configuration, suspension and queue resets answer to arguments and moments that a good driver does
 * not come up with every day, and what the core does when the device changes under it.
 */
#include <errno.h>

#include "check_swdev.h"

#include <arch/barrier.h>
#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/device.h>
#include <virtio/transport.h>
#include <virtio/virtio.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"

static uint8_t *memory;
static unsigned used_count;

static void used(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq, (void)token, (void)length;
	used_count++;
}

static struct swdev *make(uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_echo);

	host_console_capture(true);
	used_count = 0;
	echo_options = (struct echo_options){.used = used, .max_buffers = 2};
	dev->offered |= more;
	return dev;
}

static struct swdev *plug(uint64_t more)
{
	struct swdev *dev = make(more);

	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	return dev;
}

static int add(struct virtq *vq, void *token)
{
	struct virtq_buf buf = {memory, 16};

	return virtq_add(vq, &buf, 0, 1, token);
}

static void wait_used(unsigned count)
{
	for (unsigned i = 0; i < 1000 && used_count < count; i++)
		loop_turn(true, LOOP_FOREVER);
	assert_int_equal(used_count, count);
}

static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED), FEATURE(F_IN_ORDER), FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER)};
#define FOR_EACH_LAYOUT(layout) for (const uint64_t *layout = layouts; layout < layouts + ARRAY_SIZE(layouts); layout++)

/* ---- requests ---- */

static void requests_that_cannot_be(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(*layout);
		struct virtq *vq = dev->vdev->queues[0];
		struct virtq_buf bufs[3] = {{memory, 16}, {memory + 16, 16}, {memory + 32, 16}},
				 huge[2] = {{memory, UINT32_MAX}, {memory, 1}};
		uint16_t room = virtq_room(vq);

		assert_int_equal(virtq_add(vq, bufs, 0, 0, memory), -EINVAL);
		assert_int_equal(virtq_add(vq, bufs, 1, 2, memory), -EINVAL); /* max_buffers is 2 */
		assert_int_equal(virtq_add(vq, bufs, 1, 0, NULL), -EINVAL);
		assert_int_equal(virtq_add(vq, huge, 2, 0, memory), -EINVAL); /* 2^32 bytes in sum */
		assert_int_equal(virtq_add(vq, huge, 1, 1, memory), -EINVAL);
		assert_int_equal(virtq_add(vq, huge, 0, 2, memory), -EINVAL);
		assert_int_equal(virtq_room(vq), room);
		assert_false(virtq_kick(vq));
		assert_int_equal(add(vq, memory), 0);
		virtq_kick_later(vq);
		wait_used(1);
		assert_int_equal(virtq_room(vq), room);
		pull_out(dev);
	}
}

/* The line stays silent for a broken queue, and its drivers get an error, until the reset has made it new. */
static void broken_queues(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(*layout);
		struct virtq *vq = dev->vdev->queues[0];
		uint32_t length;

		assert_int_equal(add(vq, memory), 0);
		vq->broken = vq->closed = true;
		swdev_config_changed(dev); /* not now: it waits for the reset */
		virtio_device_broken(dev->vdev, "the test says so");
		virtio_device_broken(dev->vdev, "and again");
		assert_int_equal(add(vq, memory + 1), -EIO);
		assert_false(virtq_kick(vq));
		assert_null(virtq_harvest(vq, &length));
		assert_false(virtq_irq_enable(vq));
		assert_int_equal(virtio_queue_reset(dev->vdev, 0), -EIO);
		loop_turn(true, LOOP_FOREVER);
		assert_int_equal(count_in(host_console_text(), "the test says so"), 1);
		assert_int_equal(count_in(host_console_text(), "and again"), 0);
		assert_int_equal(dev->vdev->state, VIRTIO_RUNNING);
		assert_int_equal(add(dev->vdev->queues[0], memory), 0);
		virtq_kick_later(dev->vdev->queues[0]);
		wait_used(1);
		pull_out(dev);
	}
}

/* ---- the event of a queue ---- */

static struct swdev *nested;
static unsigned nested_stops;

/* Waits inside the queue's callback, until a reset has destroyed the queue. */
static void wait_for_the_reset(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq, (void)token, (void)length;
	if (used_count++)
		return;
	swdev_needs_reset(nested);
	for (unsigned i = 0; i < 1000 && echo_stops == nested_stops; i++)
		loop_turn(true, LOOP_FOREVER);
	assert_int_equal(echo_stops, nested_stops + 1);
}

static void destroyed_in_its_callback(void **state)
{
	uint64_t free_pages = page_count_free();

	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout);

		nested = dev;
		nested_stops = echo_stops;
		echo_options.used = wait_for_the_reset;
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_int_equal(add(dev->vdev->queues[0], memory), 0);
		virtq_kick_later(dev->vdev->queues[0]);
		wait_used(1);
		assert_int_equal(add(dev->vdev->queues[0], memory), 0);
		virtq_kick_later(dev->vdev->queues[0]);
		wait_used(2);
		pull_out(dev);
		assert_int_equal(page_count_free(), free_pages);
	}
}

/* The device uses a buffer right between the wish for notifications and the last look: it sends none, and the look finds it. */
static unsigned barriers_left;

static void serve_at_barrier(enum host_barrier barrier)
{
	if (barrier != HOST_VIRT_MB || !barriers_left || --barriers_left)
		return;
	host_barrier_hook = NULL;
	swdev_look_all(true);
}

static struct virtq *second_add;

static void add_another(struct virtq *vq, void *token, uint32_t length)
{
	(void)token, (void)length;
	if (used_count++)
		return;
	assert_int_equal(add(vq, memory + 1), 0);
	virtq_kick(vq); /* one full barrier */
	second_add = vq;
	barriers_left = 1; /* and the next one is that of the wish */
	host_barrier_hook = serve_at_barrier;
}

static void used_at_the_last_moment(void **state)
{
	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		FOR_EACH_LAYOUT(layout)
		{
			struct swdev *dev = make(*layout);

			if (!event_idx)
				dev->offered &= ~FEATURE(F_EVENT_IDX);
			echo_options.used = add_another;
			second_add = NULL;
			assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
			assert_int_equal(add(dev->vdev->queues[0], memory), 0);
			virtq_kick_later(dev->vdev->queues[0]);
			wait_used(2);
			assert_ptr_equal(second_add, dev->vdev->queues[0]);
			assert_null(host_barrier_hook);
			pull_out(dev);
		}
	}
}

/* ---- what a device writes that cannot be ---- */

static uint16_t *packed_desc(struct swdev *dev, unsigned index) /* ... id, flags at 6 and 7 */
{
	return (uint16_t *)(uintptr_t)dev->queues[0].descriptor_area + 8 * index;
}

/* Returns how many requests came back before the queue was found broken. */
static unsigned harvest_until_broken(struct virtq *vq, const char *line)
{
	unsigned count = 0;
	uint32_t length;

	while (virtq_harvest(vq, &length))
		count++;
	assert_true(vq->broken);
	if (count_in(host_console_text(), line) != 1)
		fail_msg("not a word of \"%s\": %s", line, host_console_text());
	return count;
}

static void used_though_nothing_is_in_flight(void **state)
{
	struct swdev *dev = plug(FEATURE(F_RING_PACKED));

	(void)state;
	dev->quiet = true;
	packed_desc(dev, 0)[7] = 0x8080;
	assert_int_equal(harvest_until_broken(dev->vdev->queues[0], "is used with nothing in flight"), 0);
	(void)!swdev_unplug(dev);
}

static void used_in_turn_though_nothing_is_in_flight(void **state)
{
	struct swdev *dev = make(FEATURE(F_RING_PACKED));
	struct virtq *vq;
	void *token;

	(void)state;
	echo_options.max_buffers = 1;
	echo_options.in_turn = true;
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	vq = dev->vdev->queues[0];
	dev->quiet = true;
	assert_int_equal(virtq_harvest_burst(vq, &token, NULL, 1), 0);
	assert_false(vq->broken);
	packed_desc(dev, 0)[7] = 0x8080;
	assert_int_equal(virtq_harvest_burst(vq, &token, NULL, 1), 0);
	assert_true(vq->broken);
	assert_int_equal(count_in(host_console_text(), "is used with nothing in flight"), 1);
	(void)!swdev_unplug(dev);
}

/* The batch ends with a request that the device was not told of yet. */
static void a_batch_beyond_what_is_available(void **state)
{
	struct swdev *dev = plug(FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER));
	struct virtq *vq = dev->vdev->queues[0];

	(void)state;
	dev->quiet = true;
	dev->dead = true;
	assert_int_equal(add(vq, memory), 0);
	virtq_kick(vq);
	assert_int_equal(add(vq, memory + 1), 0);
	packed_desc(dev, 0)[6] = packed_desc(dev, 1)[6];
	packed_desc(dev, 0)[7] = 0x8080;
	assert_int_equal(harvest_until_broken(vq, "a batch goes beyond what is available"), 1);
	(void)!swdev_unplug(dev);
}

static void a_batch_that_ends_nowhere(void **state)
{
	static const uint32_t ids[] = {1, 255, 256, UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		struct swdev *dev = plug(FEATURE(F_IN_ORDER));
		struct virtq *vq = dev->vdev->queues[0];
		uint8_t *ring = (uint8_t *)(uintptr_t)dev->queues[0].device_area;

		dev->quiet = true;
		dev->dead = true;
		assert_int_equal(add(vq, memory), 0);
		virtq_kick(vq);
		put32(ring + 4, ids[i]);
		put16(ring + 2, 1);
		assert_int_equal(harvest_until_broken(vq, "is not in flight"), 0);
		(void)!swdev_unplug(dev);
	}
}

/* "Driver and Device Event Suppression": 2 is reserved without EVENT_IDX. One notification too many does no harm. */
static void a_wish_that_was_not_negotiated(void **state)
{
	struct swdev *dev = make(FEATURE(F_RING_PACKED));
	struct virtq *vq;

	(void)state;
	dev->offered &= ~FEATURE(F_EVENT_IDX);
	dev->dead = true;
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	vq = dev->vdev->queues[0];
	put32((void *)(uintptr_t)dev->queues[0].device_area, 2u << 16);
	assert_int_equal(add(vq, memory), 0);
	assert_true(virtq_kick(vq));
	put32((void *)(uintptr_t)dev->queues[0].device_area, 1u << 16);
	assert_int_equal(add(vq, memory + 1), 0);
	assert_false(virtq_kick(vq));
	pull_out(dev);
}

/* ---- configuration ---- */

static void configuration_of_any_shape(void **state)
{
	static const struct {
		uint32_t offset, size;
	} good[] = {{0, 1}, {1, 2}, {2, 2}, {2, 4}, {4, 4}, {2, 8}, {8, 8}, {3, 7}, {0, 64}, {63, 1}},
	  bad[] = {{0, 0}, {64, 1}, {63, 2}, {0, 65}, {UINT32_MAX, 2}};
	struct swdev_type type = swdev_echo;
	uint8_t bytes[80];

	(void)state;
	type.config_size = 64;
	for (unsigned legacy = 0; legacy < 2; legacy++) {
		struct swdev *dev = swdev_new(&type);

		dev->legacy = legacy;
		dev->quiet = true; /* it has no fields: every access is a violation */
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		for (unsigned i = 0; i < 64; i++)
			dev->config[i] = (uint8_t)(i * 3 + 1);
		for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
			memset(bytes, 0, sizeof(bytes));
			assert_int_equal(virtio_config_read(dev->vdev, good[i].offset, bytes, good[i].size), 0);
			assert_memory_equal(bytes, dev->config + good[i].offset, good[i].size);
			memset(bytes, (int)i, sizeof(bytes));
			assert_int_equal(virtio_config_write(dev->vdev, good[i].offset, bytes, good[i].size), 0);
			assert_memory_equal(bytes, dev->config + good[i].offset, good[i].size);
			for (unsigned k = 0; k < 64; k++)
				dev->config[k] = (uint8_t)(k * 3 + 1);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			assert_int_equal(virtio_config_read(dev->vdev, bad[i].offset, bytes, bad[i].size), -EINVAL);
			assert_int_equal(virtio_config_write(dev->vdev, bad[i].offset, bytes, bad[i].size), -EINVAL);
		}
		assert_int_equal(virtio_config_u8(dev->vdev, 2, 99), 7);
		assert_int_equal(virtio_config_u16(dev->vdev, 2, 99), 7 | 10 << 8);
		assert_int_equal(virtio_config_u8(dev->vdev, 64, 99), 99);
		assert_int_equal(virtio_config_u16(dev->vdev, 63, 99), 99);
		assert_int_equal(virtio_config_u32(dev->vdev, 61, 99), 99);
		assert_true(virtio_config_u64(dev->vdev, 57, 99) == 99);
		(void)!swdev_unplug(dev);
	}
}

static void configuration_shorter_than_the_driver_thinks(void **state)
{
	struct swdev *dev = make(0);
	uint32_t value;

	(void)state;
	dev->config_size = 6;
	dev->quiet = true;
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_int_equal(virtio_config_read(dev->vdev, 4, &value, 4), -EINVAL);
	assert_int_equal(virtio_config_write(dev->vdev, 4, &value, 4), -EINVAL);
	(void)!swdev_unplug(dev);
}

/* ---- suspension and queue resets at wrong times ---- */

static uint32_t needs_reset_instead(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg != REG_STATUS || dev->lies_told++ < dev->lie->value)
		return honest;
	return (honest & ~(uint32_t)ST_SUSPEND & ~(uint32_t)ST_DRIVER_OK) | ST_NEEDS_RESET;
}

static uint32_t never(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)dev, (void)index;
	return reg == REG_STATUS ? honest & ~(uint32_t)ST_SUSPEND & ~(uint32_t)ST_DRIVER_OK : honest;
}

/* A device that cannot says so, or never answers: an error in bounded time, and a reset that makes it work again. */
static void suspensions_that_fail(void **state)
{
	static const struct swdev_lie lies[] = {
		{.name = "needs reset instead", .index = -1, .value = 1, .at_read = needs_reset_instead},
		{.name = "needs reset at once", .index = -1, .value = 2, .at_read = needs_reset_instead},
		{.name = "never", .index = -1, .at_read = never},
	};

	(void)state;
	for (unsigned l = 0; l < ARRAY_SIZE(lies); l++) {
		for (unsigned resume = 0; resume < 2; resume++) {
			struct swdev *dev = plug(FEATURE(F_SUSPEND));

			dev->quiet = true;
			if (resume)
				assert_int_equal(virtio_device_suspend(dev->vdev), 0);
			dev->lie = &lies[l];
			dev->lies_told = 0;
			assert_int_equal(resume ? virtio_device_resume(dev->vdev) : virtio_device_suspend(dev->vdev), -EIO);
			assert_int_equal(count_in(host_console_text(), resume ? "it does not resume" : "it does not suspend"), 1);
			dev->lie = NULL;
			loop_turn(true, LOOP_FOREVER);
			assert_int_equal(dev->vdev->state, VIRTIO_RUNNING);
			assert_false(dev->vdev->suspended);
			assert_int_equal(add(dev->vdev->queues[0], memory), 0);
			virtq_kick_later(dev->vdev->queues[0]);
			wait_used(1);
			(void)!swdev_unplug(dev);
		}
	}
}

static void actions_at_wrong_times(void **state)
{
	struct swdev *dev = plug(FEATURE(F_SUSPEND) | FEATURE(F_RING_RESET));
	struct device_info *info = &dev->vdev->info;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(info->suspend(info, false), -ENODEV); /* it is not suspended */
	assert_int_equal(info->reset_queue(info, 1), -EINVAL); /* the driver has but one */
	assert_int_equal(info->suspend(info, true), 0);
	assert_int_equal(info->suspend(info, true), -ENODEV);
	assert_int_equal(info->reset_queue(info, 0), -ENODEV);
	assert_int_equal(virtio_config_write(dev->vdev, 0, &byte, 1), -EBUSY);
	assert_int_equal(info->suspend(info, false), 0);
	assert_int_equal(info->reset_queue(info, 0), 0);
	pull_out(dev);

	dev = make(FEATURE(F_SUSPEND) | FEATURE(F_RING_RESET));
	echo_options.fail_start = -EIO;
	assert_int_equal(swdev_plug(dev, &swdev_direct), -EIO);
	info = &dev->vdev->info;
	assert_string_equal(info->state, "refused");
	assert_int_equal(info->suspend(info, true), -ENODEV);
	assert_int_equal(info->suspend(info, false), -ENODEV);
	assert_int_equal(info->reset_queue(info, 0), -ENODEV);
	assert_int_equal(info->reset(info), -ENODEV);
	assert_int_equal((int)info->interrupts(info), 0);
	echo_options.fail_start = 0;
	assert_int_equal(info->rebind(info), 0); /* a driver may think better of it */
	assert_string_equal(info->state, "ok");
	pull_out(dev);
}

/* ---- resets that fail ---- */

static void features_that_change(void **state)
{
	struct swdev *dev = plug(FEATURE(F_IN_ORDER));
	struct device_info *info = &dev->vdev->info;

	(void)state;
	dev->offered &= ~FEATURE(F_IN_ORDER);
	assert_int_equal(info->reset(info), -EIO);
	assert_string_equal(info->state, "failed");
	assert_string_equal(info->reason, "its features changed by a reset");
	assert_int_equal(info->reset(info), -ENODEV);
	pull_out(dev);
}

static void a_start_that_fails_after_a_reset(void **state)
{
	struct swdev *dev = plug(0);
	struct device_info *info = &dev->vdev->info;
	unsigned removes = echo_removes;

	(void)state;
	echo_options.fail_start = -EIO;
	assert_int_equal(info->reset(info), -EIO);
	assert_string_equal(info->state, "failed");
	assert_string_equal(info->reason, "the test wants it so");
	assert_int_equal(echo_removes, removes + 1);
	pull_out(dev);
	assert_int_equal(echo_removes, removes + 1);
}

/* Gone while it is suspended or being reset: an error, and no line too many. */
static void gone_meanwhile(void **state)
{
	struct swdev *dev = plug(FEATURE(F_SUSPEND) | FEATURE(F_RING_RESET));

	(void)state;
	dev->quiet = true;
	swdev_remove_by_surprise(dev);
	assert_int_equal(virtio_device_suspend(dev->vdev), -ENODEV);
	loop_turn(true, LOOP_FOREVER);
	assert_string_equal(dev->vdev->info.state, "failed");
	(void)!swdev_unplug(dev);

	dev = plug(0);
	dev->quiet = true;
	swdev_remove_by_surprise(dev);
	assert_int_equal(dev->vdev->info.reset(&dev->vdev->info), -EIO);
	assert_string_equal(dev->vdev->info.state, "failed");
	assert_int_equal(dev->vdev->info.rebind(&dev->vdev->info), -ENODEV);
	(void)!swdev_unplug(dev);
}

/* ---- a driver without queue resets, and without words ---- */

static int plain_error;

static int plain_probe(struct virtio_device *vdev) { return (void)vdev, plain_error; }

static int plain_start(struct virtio_device *vdev)
{
	const struct virtq_spec spec = {.name = "q"};
	int error = virtio_queues_create(vdev, 1, &spec);

	if (!error)
		virtio_driver_ok(vdev);
	return error;
}

static void plain_stop(struct virtio_device *vdev) { (void)vdev; }

#define PLAIN_ID 62

static const struct virtio_driver plain_driver = {
	.name = "virtio-plain",
	.instance = "plain",
	.type = PLAIN_ID,
	.probe = plain_probe,
	.start = plain_start,
	.stop = plain_stop,
	.remove = plain_stop,
};
VIRTIO_DRIVER(plain_driver);

static void a_plain_driver(void **state)
{
	struct swdev_type type = swdev_echo;
	struct swdev *dev;

	(void)state;
	type.id = PLAIN_ID;
	dev = swdev_new(&type);
	dev->offered |= FEATURE(F_RING_RESET);
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_false(virtio_has(dev->vdev, VIRTIO_F_RING_RESET));
	assert_int_equal(virtio_queue_reset(dev->vdev, 0), -ENOTSUP);
	swdev_config_changed(dev); /* it has no config_changed() either */
	loop_turn(true, LOOP_FOREVER);
	pull_out(dev);

	/* And it gives no reasons. */
	plain_error = -EIO;
	dev = swdev_new(&type);
	assert_int_equal(swdev_plug(dev, &swdev_direct), -EIO);
	assert_non_null(strstr(dev->vdev->info.reason, "error 5"));
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_that_cannot_be),
		cmocka_unit_test(broken_queues),
		cmocka_unit_test(destroyed_in_its_callback),
		cmocka_unit_test(used_at_the_last_moment),
		cmocka_unit_test(used_though_nothing_is_in_flight),
		cmocka_unit_test(used_in_turn_though_nothing_is_in_flight),
		cmocka_unit_test(a_batch_beyond_what_is_available),
		cmocka_unit_test(a_batch_that_ends_nowhere),
		cmocka_unit_test(a_wish_that_was_not_negotiated),
		cmocka_unit_test(configuration_of_any_shape),
		cmocka_unit_test(configuration_shorter_than_the_driver_thinks),
		cmocka_unit_test(suspensions_that_fail),
		cmocka_unit_test(actions_at_wrong_times),
		cmocka_unit_test(features_that_change),
		cmocka_unit_test(a_start_that_fails_after_a_reset),
		cmocka_unit_test(gone_meanwhile),
		cmocka_unit_test(a_plain_driver),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(PAGE_SIZE, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
