/*
 * Input devices: what they are, what they can do, and the events that somebody makes.
 */
#include "selftest.h"

#include <errno.h>

#include <base/event.h>
#include <base/log.h>
#include <base/tap.h>
#include <class/input.h>

#define LEDS 3u /* num lock, caps lock, scroll lock */

struct watch {
	uint64_t wanted, updates;
	bool over;
};

static void seen(struct input_device *device, const struct input_event *event)
{
	struct watch *watch = device->context;

	record("{\"event\":\"input\",\"device\":\"%s\",\"type\":%u,\"code\":%u,\"value\":%d}", device->node.name, event->type,
	       event->code, (int)event->value);
	watch->updates += event->type == INPUT_SYN && event->code == INPUT_SYN_REPORT;
	watch->over = watch->updates >= watch->wanted;
}

static unsigned count_codes(const struct input_device *device, unsigned type)
{
	unsigned count = 0;

	for (unsigned code = 0; code < 8 * INPUT_BITMAP_BYTES; code++)
		count += input_has(device, type, code);
	return count;
}

static void identity(const struct input_device *device)
{
	char name[6 * INPUT_TEXT_MAX], serial[6 * INPUT_TEXT_MAX];

	record("{\"event\":\"input-device\",\"device\":\"%s\",\"name\":\"%s\",\"serial\":\"%s\",\"ids\":[%u,%u,%u,%u],"
	       "\"types\":%u,\"properties\":%u,\"keys\":%u,\"axes\":%u,\"leds\":%u}",
	       device->node.name, json_string(name, sizeof(name), device->description),
	       json_string(serial, sizeof(serial), device->serial), device->bus, device->vendor, device->product, device->version,
	       (unsigned)device->types, (unsigned)device->properties, count_codes(device, INPUT_KEY),
	       count_codes(device, INPUT_REL) + count_codes(device, INPUT_ABS), count_codes(device, INPUT_LED));
	for (unsigned code = 0; code < INPUT_AXES; code++)
		if (input_has(device, INPUT_ABS, code))
			record("{\"event\":\"input-axis\",\"device\":\"%s\",\"code\":%u,\"min\":%d,\"max\":%d}",
			       device->node.name, code, (int)device->axes[code].min, (int)device->axes[code].max);
}

static void test_input(const char *name)
{
	struct input_device *device = input_find(name);
	struct watch watch = {.wanted = selftest_option("input", 0)};
	int error = 0;

	if (!device)
		return;
	identity(device);
	tap_ok(device->description[0] && device->types, "%s says what it is", name);
	for (unsigned led = 0; led < LEDS && !error && input_has(device, INPUT_LED, led); led++)
		error = input_send(device, INPUT_LED, led, 1);
	if (!error && device->types & 1u << INPUT_LED)
		error = input_send(device, INPUT_LED, 1, 0);
	tap_ok(!error, "%s takes its LEDs", name);
	if (!watch.wanted)
		return;
	device->context = &watch;
	device->event = seen;
	record("{\"event\":\"waiting\",\"device\":\"%s\",\"for\":\"input\"}", name);
	tap_ok(loop_wait(&watch.over, PATIENCE_NS), "%s reports %lu updates", name, watch.wanted);
	device->event = NULL;
	device->context = NULL;
}

SELFTEST(input, test_input);
