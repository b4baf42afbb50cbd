/*
 * The driver of CAN controllers: frames both ways, those that cannot be, a bus that is lost.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/event.h>
#include <class/can.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static void settle(void) { loop_sleep(1000000); }

static unsigned sent, failed, received, departures;
static struct can_frame last;

static void frame_done(struct can_request *request)
{
	sent += !request->status;
	failed += request->status != 0;
}

static void frame_came(struct can_device *device, const struct can_frame *frame)
{
	(void)device;
	last = *frame;
	received++;
}

static void bus_left(struct can_device *device)
{
	(void)device;
	departures++;
}

static int send(struct can_device *device, uint32_t id, uint32_t flags, uint16_t length)
{
	static struct can_request requests[64];
	static unsigned next;
	struct can_request *request = &requests[next++ % 64];

	*request = (struct can_request){.frame = {.id = id, .flags = flags, .length = length}, .done = frame_done};
	memset(request->frame.data, 0x42, length > CAN_DATA_MAX ? CAN_DATA_MAX : length);
	return can_send(device, request);
}

static struct can_device *can_plug(struct swdev **dev, uint64_t more, uint64_t less)
{
	struct can_device *device;

	*dev = plug_new(&swdev_can, more, less);
	device = can_find(NULL);
	device->received = frame_came;
	device->left = bus_left;
	sent = failed = received = departures = 0;
	return device;
}

static void can_frames(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev;
		struct can_device *device = can_plug(&dev, *layout, 0);

		assert_int_equal(send(device, 0x123, 0, 8), 0); /* stopped, initially */
		settle();
		assert_int_equal(failed, 1);
		assert_int_equal(can_start(device), 0);
		assert_int_equal(send(device, 0x123, 0, 8), 0);
		settle();
		assert_int_equal(received, 1);
		assert_int_equal(last.id, 0x123);
		assert_int_equal(last.length, 8);
		assert_int_equal(last.data[7], 0x42);
		assert_int_equal(send(device, 0x1fffffff, CAN_FD | CAN_EXTENDED, 64), 0);
		settle();
		assert_int_equal(last.length, 64);
		assert_int_equal(last.flags, CAN_FD | CAN_EXTENDED);
		assert_int_equal(last.data[63], 0x42);
		assert_int_equal(send(device, 1, CAN_RTR, 0), 0);
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(send(device, i, 0, 3), 0);
		settle();
		assert_int_equal(sent, 43);
		assert_int_equal(received, 43);
		assert_int_equal(can_stop(device), 0);
		assert_int_equal(send(device, 1, 0, 0), 0);
		settle();
		assert_int_equal(failed, 2);
		pull_out(dev);
	}
}

static void can_frames_that_cannot_be(void **state)
{
	struct swdev *dev;
	struct can_device *device = can_plug(&dev, 0, 0);

	(void)state;
	assert_int_equal(send(device, 0x800, 0, 8), -EINVAL);
	assert_int_equal(send(device, 0x20000000, CAN_EXTENDED, 8), -EINVAL);
	assert_int_equal(send(device, 1, 0, 9), -EINVAL);
	assert_int_equal(send(device, 1, CAN_FD, 65), -EINVAL);
	assert_int_equal(send(device, 1, CAN_FD | CAN_RTR, 0), -EINVAL);
	assert_int_equal(send(device, 1, 1, 0), -EINVAL);
	pull_out(dev);

	device = can_plug(&dev, 0, FEATURE(CAN_F_FD) | FEATURE(CAN_F_RTR));
	assert_int_equal(send(device, 1, CAN_FD, 8), -EINVAL);
	assert_int_equal(send(device, 1, CAN_RTR, 0), -EINVAL);
	pull_out(dev);

	dev = swdev_new(&swdev_can); /* neither kind of frames */
	dev->offered &= ~(FEATURE(CAN_F_FD) | FEATURE(CAN_F_CLASSIC) | FEATURE(CAN_F_RTR));
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	pull_out(dev);
}

static void can_bus_off(void **state)
{
	struct swdev *dev;
	struct can_device *device = can_plug(&dev, 0, 0);

	(void)state;
	assert_int_equal(can_start(device), 0);
	swdev_needs_reset(dev); /* a reset of the device: started again, and nobody notices */
	settle();
	assert_true(device->started && swdev_can_bus(dev)->started);
	assert_int_equal(send(device, 5, 0, 1), 0);
	settle();
	assert_int_equal(received, 1);
	swdev_can_bus_off(dev);
	settle();
	assert_int_equal(departures, 1);
	assert_true(device->bus_off && !device->started);
	assert_int_equal(can_start(device), 0);
	assert_true(device->started && !device->bus_off);
	swdev_can_bus(dev)->refuses = true;
	assert_int_equal(can_stop(device), -EIO);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(can_frames),
		cmocka_unit_test(can_frames_that_cannot_be),
		cmocka_unit_test(can_bus_off),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
