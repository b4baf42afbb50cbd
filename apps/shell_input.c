/*
 * The shell's `input`: keyboards, mice, tablets.
 */
#include "shell.h"

#include <base/event.h>
#include <base/log.h>
#include <class/input.h>

#define SECOND_NS UINT64_C(1000000000)

static void print_event(struct input_device *device, const struct input_event *event)
{
	if (event->type != INPUT_SYN)
		console_line("%s: type %u, code %u, value %d", device->node.name, event->type, event->code, (int)event->value);
}

static void watch(void (*event)(struct input_device *device, const struct input_event *event))
{
	for (struct input_device *device = input_find(NULL); device; device = input_next(device))
		device->event = event;
}

static void shell_input(unsigned count, char **words)
{
	uint64_t seconds;

	if (count == 1) {
		for (struct input_device *device = input_find(NULL); device; device = input_next(device))
			console_line("%s: \"%s\", event types 0x%x", device->node.name, device->description,
			             (unsigned)device->types);
	} else if (shell_number(words[1], "seconds", 1, 3600, &seconds)) {
		watch(print_event);
		loop_sleep(seconds * SECOND_NS);
		watch(NULL);
	}
}

SHELL_COMMAND(input, "input [SECONDS]", "input devices; their events for that long", shell_input, 0, 1);
