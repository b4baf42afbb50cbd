/*
 * Wires and clocks: what can be asked without an effect on what is at their other end.
 */
#include "selftest.h"

#include <base/tap.h>
#include <class/rtc.h>
#include <class/wire.h>

static void test_gpio(const char *name)
{
	struct gpio_device *device = gpio_find(name);
	int error = 0;

	if (!device)
		return;
	for (unsigned i = 0; i < device->lines && !error; i++) {
		enum gpio_direction direction;
		bool high;

		error = gpio_get_direction(device, i, &direction);
		if (!error)
			error = gpio_get(device, i, &high);
	}
	if (!tap_ok(!error, "%s tells the state of its %u lines", name, device->lines))
		tap_detail("error: %d", error);
}

static void test_rtc(const char *name)
{
	struct rtc_device *device = rtc_find(name);
	unsigned clocks = 0;
	bool right = true;
	int error;

	if (!device)
		return;
	error = rtc_count(device, &clocks);
	for (unsigned i = 0; i < clocks && !error; i++) {
		struct rtc_clock clock = {};
		uint64_t first = 0, second = 0;

		error = rtc_describe(device, i, &clock);
		if (!error)
			error = rtc_read(device, i, &first);
		if (!error)
			error = rtc_read(device, i, &second);
		right &= clock.type != RTC_MONOTONIC || second >= first;
	}
	if (!tap_ok(!error && right, "%s tells the time by %u clocks", name, clocks))
		tap_detail("error: %d", error);
}

SELFTEST(gpio, test_gpio);
SELFTEST(rtc, test_rtc);
