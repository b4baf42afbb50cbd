/*
 * Input devices: keyboards, mice, tablets, touch screens. Events, codes and bitmaps are those of Linux's evdev interface, which virtio's
 * input device takes over. Loop context.
 */
#ifndef CLASS_INPUT_H
#define CLASS_INPUT_H

#include <class/device.h>

/* Event types, and the codes that programs here use; all others pass as they are. */
enum {
	INPUT_SYN = 0x00,
	INPUT_KEY = 0x01,
	INPUT_REL = 0x02,
	INPUT_ABS = 0x03,
	INPUT_LED = 0x11,
	INPUT_TYPES = 0x20,
};
enum { INPUT_SYN_REPORT = 0 };

#define INPUT_BITMAP_BYTES 128u
#define INPUT_AXES 64u
#define INPUT_TEXT_MAX 128u

/* An update of the device's state is one or more events and an INPUT_SYN, INPUT_SYN_REPORT behind them. */
struct input_event {
	uint16_t type, code;
	int32_t value;
};

struct input_axis {
	int32_t min, max, fuzz, flat, resolution;
};

struct input_device;

struct input_ops {
	int (*send)(struct input_device *device, const struct input_event *event);
};

struct input_device {
	struct class_node node;
	const struct input_ops *ops;
	char description[INPUT_TEXT_MAX + 1], serial[INPUT_TEXT_MAX + 1]; /* from outside: print with care */
	uint16_t bus, vendor, product, version;                           /* 0: not told */
	uint32_t types, properties;                                       /* bit masks of event types and INPUT_PROP_* */
	uint8_t codes[INPUT_TYPES][INPUT_BITMAP_BYTES]; /* bitmaps of what it sends, and of LEDs what it takes */
	struct input_axis axes[INPUT_AXES];             /* of INPUT_ABS codes that it has */

	/* The program's: each event, in order. NULL: they are dropped. Does not wait. */
	void (*event)(struct input_device *device, const struct input_event *event);
	void *context;
};

CLASS(struct input_device, input)
bool input_has(const struct input_device *device, unsigned type, unsigned code);

/* Tell the device, an LED most often. 0: it is on its way; -ENOTSUP: it does not have that; -EAGAIN: too many on their way; -ENODEV: gone. */
[[nodiscard]] int input_send(struct input_device *device, unsigned type, unsigned code, int32_t value);

#endif
