/*
 * The shell's commands for wires and clocks: i2c, gpio, rtc.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <class/rtc.h>
#include <class/wire.h>

static void i2c(unsigned count, char **words)
{
	struct i2c_device *device = i2c_find(words[2]);
	uint64_t address = 0, first = 0, length = 16;
	struct i2c_message messages[2];
	uint8_t *memory;
	int error;

	if (strcmp(words[1], "read") != 0 || count < 5) {
		shell_usage(words);
		return;
	}
	if (!shell_number(words[3], "address", 0, 127, &address) || !shell_number(words[4], "register", 0, 255, &first) ||
	    !shell_number(words[5], "count", 1, 256, &length))
		return;
	memory = page_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!device || !memory) {
		shell_error(words[2], "read", device ? -ENOMEM : -ENODEV);
	} else {
		memory[0] = (uint8_t)first;
		messages[0] = (struct i2c_message){.address = (uint16_t)address, .memory = memory, .length = 1};
		messages[1] = (struct i2c_message){.address = (uint16_t)address,
		                                   .memory = memory + 1,
		                                   .length = (uint32_t)length,
		                                   .read = true};
		error = i2c_transfer(device, messages, 2);
		if (error)
			shell_error(words[2], "read", error);
		else
			shell_dump(first, memory + 1, length);
	}
	page_free(memory, PAGE_SIZE);
}

static void list_lines(struct gpio_device *device)
{
	static const char *const directions[] = {"none", "out", "in"};

	for (unsigned i = 0; i < device->lines; i++) {
		enum gpio_direction direction;
		bool high;
		int error = gpio_get_direction(device, i, &direction);

		if (!error)
			error = gpio_get(device, i, &high);
		if (error) {
			shell_error("gpio", "line", error);
			return;
		}
		console_line("%4u %-4s %u %s", i, directions[direction], high, gpio_name(device, i));
	}
}

static void gpio(unsigned count, char **words)
{
	struct gpio_device *device = gpio_find(words[2]);
	uint64_t line = 0, high = 0;
	int error;

	if (!device) {
		shell_error(words[2], "gpio", -ENODEV);
	} else if (!strcmp(words[1], "list")) {
		list_lines(device);
	} else if (!strcmp(words[1], "set") && count == 5) {
		if (!shell_number(words[3], "line", 0, device->lines - 1, &line) || !shell_number(words[4], "value", 0, 1, &high))
			return;
		error = gpio_set(device, (unsigned)line, high);
		if (!error)
			error = gpio_set_direction(device, (unsigned)line, GPIO_OUT);
		if (error)
			shell_error(words[2], "set", error);
	} else {
		shell_usage(words);
	}
}

static void rtc(unsigned count, char **words)
{
	static const char *const types[] = {"UTC", "TAI", "monotonic", "UTC, smeared", "UTC, maybe smeared"};
	struct rtc_device *device = rtc_find(words[1]);
	unsigned clocks = 0;
	int error = device ? rtc_count(device, &clocks) : -ENODEV;

	(void)count;
	for (unsigned i = 0; i < clocks && !error; i++) {
		struct rtc_clock clock;
		uint64_t ns;

		error = rtc_describe(device, i, &clock);
		if (!error)
			error = rtc_read(device, i, &ns);
		if (!error)
			console_line("%u %s %lu.%09lu%s", i, clock.type < ARRAY_SIZE(types) ? types[clock.type] : "?",
			             ns / 1000000000, ns % 1000000000, clock.alarm ? ", alarm" : "");
	}
	if (error)
		shell_error(words[1] ? words[1] : "rtc", "read", error);
}

SHELL_COMMAND(i2c, "i2c read NAME ADDRESS REGISTER [COUNT]", "chips on I2C", i2c, 4, 5);
SHELL_COMMAND(gpio, "gpio list NAME | set NAME LINE 0|1", "GPIO lines", gpio, 2, 4);
SHELL_COMMAND(rtc, "rtc [NAME]", "what time it is there", rtc, 0, 1);
