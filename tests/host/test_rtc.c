/*
 * The driver of clocks: what it says to the device, which checks it, and what it makes of its answers.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/event.h>
#include <class/rtc.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static void settle(void) { loop_sleep(1000000); }

static unsigned expirations;

static void expired(struct rtc_device *device, unsigned clock)
{
	(void)device;
	assert_int_equal(clock, 0);
	expirations++;
}

static void rtc_clocks(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_rtc, *layout, 0);
		struct rtc_device *device = rtc_find(NULL);
		uint64_t ns = 0, cycles = 0;
		struct rtc_clock clock;
		unsigned count = 0;

		assert_int_equal(rtc_count(device, &count), 0);
		assert_int_equal(count, SWDEV_CLOCKS);
		for (unsigned i = 0; i < count; i++) {
			uint64_t before = swdev_clock(i);

			assert_int_equal(rtc_describe(device, i, &clock), 0);
			assert_int_equal(clock.type, i);
			assert_int_equal(clock.alarm, i == 0);
			assert_int_equal(rtc_read(device, i, &ns), 0);
			assert_true(ns >= before && ns <= swdev_clock(i));
		}
		assert_int_equal(rtc_read(device, count, &ns), -EINVAL);
		assert_int_equal(rtc_read(device, 65536, &ns), -EINVAL);
		assert_int_equal(rtc_read_cross(device, 0, RTC_COUNTER_X86_TSC, &ns, &cycles), 0);
		assert_true(cycles > 0);
		assert_int_equal(rtc_read_cross(device, 0, RTC_COUNTER_ARM_VCT, &ns, &cycles), -ENOTSUP);
		assert_int_equal(rtc_read_cross(device, 0, (enum rtc_counter)77, &ns, &cycles), -EINVAL);
		pull_out(dev);
	}
}

static void rtc_alarms(void **state)
{
	struct swdev *dev = plug_new(&swdev_rtc, 0, 0);
	struct rtc_device *device = rtc_find(NULL);
	uint64_t ns = 0, at = swdev_clock(0) + 5000000000;
	bool enabled = false;

	(void)state;
	expirations = 0;
	device->expired = expired;
	swdev_clocks(dev)->expiring = true; /* one that somebody set before us */
	settle();
	assert_int_equal(expirations, 0);
	assert_int_equal(rtc_set_alarm(device, 0, at, true), 0);
	assert_int_equal(rtc_get_alarm(device, 0, &ns, &enabled), 0);
	assert_true(ns == at && enabled);
	loop_sleep(4000000000);
	assert_int_equal(expirations, 0);
	loop_sleep(2000000000);
	settle();
	assert_int_equal(expirations, 1);
	assert_int_equal(rtc_enable_alarm(device, 0, false), 0);
	assert_int_equal(rtc_get_alarm(device, 0, &ns, &enabled), 0);
	assert_true(ns == at && !enabled);
	assert_int_equal(rtc_enable_alarm(device, 0, true), 0); /* not in the future: at once */
	settle();
	assert_int_equal(expirations, 2);
	assert_int_equal(rtc_set_alarm(device, 1, at, true), -EINVAL); /* the device: that clock has none */
	pull_out(dev);

	dev = plug_new(&swdev_rtc, 0, FEATURE(RTC_F_ALARM));
	assert_int_equal(dev->vdev->queue_count, 1);
	assert_int_equal(rtc_set_alarm(rtc_find(NULL), 0, at, true), -ENOTSUP);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rtc_clocks),
		cmocka_unit_test(rtc_alarms),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
