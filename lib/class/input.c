/*
 * The class of input devices: what a device says it can do. Events go straight from the driver to the program.
 */
#include <class/input.h>

#include <errno.h>

#include <base/util.h>

bool input_has(const struct input_device *device, unsigned type, unsigned code)
{
	return type < INPUT_TYPES && code < 8 * INPUT_BITMAP_BYTES && device->codes[type][code / 8] >> code % 8 & 1;
}

int input_send(struct input_device *device, unsigned type, unsigned code, int32_t value)
{
	struct input_event event = {.type = (uint16_t)type, .code = (uint16_t)code, .value = value};

	if (!device->node.listed)
		return -ENODEV;
	return input_has(device, type, code) ? device->ops->send(device, &event) : -ENOTSUP;
}
