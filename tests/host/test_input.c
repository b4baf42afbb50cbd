/*
 * The input driver: what a device is, its events, its LEDs, and what resets do to them.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/util.h>
#include <class/input.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_input.h"
#include "swdev_work.h"

static struct input_event seen[256];
static unsigned seen_count;

static void note(struct input_device *device, const struct input_event *event)
{
	(void)device;
	if (seen_count < ARRAY_SIZE(seen))
		seen[seen_count] = *event;
	seen_count++;
}

static struct input_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	struct input_device *device;

	plug_in(dev, front);
	device = input_find(dev->vdev->name);
	assert_non_null(device);
	device->event = note;
	seen_count = 0;
	return device;
}

static void identity(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fronts); i++) {
		struct swdev *dev = swdev_new(&swdev_input);
		const struct input_device *device = plug(dev, fronts[i]);

		assert_int_equal(strlen(device->description), 128);
		assert_string_equal(device->serial, "serial-7");
		assert_int_equal(device->bus, 6);
		assert_int_equal(device->vendor, 0x1af4);
		assert_int_equal(device->product, 0x7a);
		assert_int_equal(device->version, 3);
		assert_int_equal(device->properties, 2);
		assert_int_equal(device->types, 1 << INPUT_KEY | 1 << INPUT_ABS | 1 << INPUT_LED);
		assert_true(input_has(device, INPUT_KEY, 0x2ff) && input_has(device, INPUT_KEY, 0x1e));
		assert_false(input_has(device, INPUT_KEY, 0x1f) || input_has(device, INPUT_KEY, 0x300));
		assert_false(input_has(device, INPUT_TYPES, 0) || input_has(device, INPUT_KEY, 1024));
		assert_int_equal(device->axes[1].min, -100);
		assert_int_equal(device->axes[1].max, 1001);
		assert_int_equal(device->axes[0x39].max, 1000 + 0x39);
		assert_int_equal(device->axes[0x2f].fuzz, 2);
		assert_int_equal(device->axes[0x2f].flat, 3);
		assert_int_equal(device->axes[0x2f].resolution, 4);
		assert_int_equal(device->axes[2].max, 0);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* Two fingers, by slot and tracking id; and what was never announced. */
static void touches(void **state)
{
	static const struct input_event expected[] = {{INPUT_ABS, 0x2f, 0}, {INPUT_ABS, 0x39, 5}, {INPUT_ABS, 0, 17},
	                                              {INPUT_ABS, 0x2f, 1}, {INPUT_ABS, 0x39, 6}, {INPUT_ABS, 1, -99},
	                                              {INPUT_SYN, 0, 0}};

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_input);

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		plug(dev, &swdev_direct);
		for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
			swdev_input_event(dev, expected[i].type, expected[i].code, (uint32_t)expected[i].value);
			swdev_input_event(dev, 2, 0, 1);      /* a relative axis */
			swdev_input_event(dev, 3, 4000, 1);   /* an absurd code */
			swdev_input_event(dev, 0xffff, 1, 1); /* an absurd type */
		}
		loop_sleep(10000000);
		assert_int_equal(seen_count, ARRAY_SIZE(expected));
		for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
			assert_int_equal(seen[i].type, expected[i].type);
			assert_int_equal(seen[i].code, expected[i].code);
			assert_int_equal(seen[i].value, expected[i].value);
		}
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* More events than there are buffers, slowly and at once: none is lost, and the queue stays populated. */
static void many_events(void **state)
{
	struct swdev *dev = swdev_new(&swdev_input);

	(void)state;
	dev->queues[0].max = 16;
	plug(dev, &swdev_direct);
	for (unsigned i = 0; i < 1000; i++)
		swdev_input_event(dev, INPUT_KEY, 0x1e, i & 1);
	loop_sleep(100000000);
	assert_int_equal(seen_count, 1000);
	assert_int_equal(dev->queues[0].in_flight, 16);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void leds(void **state)
{
	struct swdev *dev = swdev_new(&swdev_input);
	struct input_device *device = plug(dev, &swdev_direct);
	const struct swdev_input *input = swdev_input_state(dev);
	unsigned accepted = 0;

	(void)state;
	assert_int_equal(input_send(device, INPUT_LED, 3, 1), -ENOTSUP);
	assert_int_equal(input_send(device, INPUT_LED, 1, 1), 0);
	loop_sleep(1000000);
	assert_int_equal(input->status_count, 1);
	assert_int_equal(input->status[0].type, INPUT_LED);
	assert_int_equal(input->status[0].code, 1);
	assert_int_equal(input->status[0].value, 1);
	for (unsigned i = 0; i < 100; i++)
		accepted += !input_send(device, INPUT_LED, 0, (int32_t)i);
	assert_int_equal(accepted, 64);
	assert_int_equal(input_send(device, INPUT_LED, 0, 1), -EAGAIN);
	loop_sleep(1000000);
	assert_int_equal(input->status_count, 65);
	assert_int_equal(input_send(device, INPUT_LED, 2, 1), 0);
	assert_int_equal(swdev_unplug(dev), 0);
}

/* A status that a reset finds under way goes out afterwards; a removal ends it. */
static void resets(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		struct swdev *dev = swdev_new(&swdev_input);
		struct input_device *device;

		dev->offered |= FEATURE(F_RING_RESET);
		device = plug(dev, &swdev_direct);
		dev->dead = true;
		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(input_send(device, INPUT_LED, 0, (int32_t)i), 0);
		loop_sleep(1000000);
		dev->dead = way == 2;
		if (way == 0)
			swdev_needs_reset(dev);
		if (way == 1)
			assert_int_equal(virtio_queue_reset(dev->vdev, 1) | virtio_queue_reset(dev->vdev, 0), 0);
		loop_sleep(100000000);
		if (way < 2) {
			assert_int_equal(swdev_input_state(dev)->status_count, 10);
			for (unsigned i = 0; i < 10; i++)
				assert_int_equal(swdev_input_state(dev)->status[i].value, i);
			swdev_input_event(dev, INPUT_KEY, 0x1e, 1);
			loop_sleep(1000000);
			assert_int_equal(seen_count, 1);
		}
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity), cmocka_unit_test(touches), cmocka_unit_test(many_events),
		cmocka_unit_test(leds),     cmocka_unit_test(resets),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
