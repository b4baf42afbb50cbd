/*
 * The class of input devices: a list, and what a device says it can do. Events go straight from the driver to the program.
 */
#include <class/input.h>

#include <errno.h>

#include <base/util.h>

static struct class_list devices;

static struct input_device *device_of(struct class_node *node)
{
	return node ? container_of(node, struct input_device, node) : NULL;
}

struct input_device *input_find(const char *name) { return device_of(class_find(&devices, name)); }

struct input_device *input_next(struct input_device *device) { return device_of(device->node.next); }

bool input_has(const struct input_device *device, unsigned type, unsigned code)
{
	return type < INPUT_TYPES && code < 8 * INPUT_BITMAP_BYTES && device->codes[type][code / 8] >> code % 8 & 1;
}

int input_send(struct input_device *device, unsigned type, unsigned code, int32_t value)
{
	struct input_event event = {.type = (uint16_t)type, .code = (uint16_t)code, .value = value};

	if (device->gone)
		return -ENODEV;
	return input_has(device, type, code) ? device->ops->send(device, &event) : -ENOTSUP;
}

void input_register(struct input_device *device)
{
	device->gone = false;
	class_add(&devices, &device->node);
}

void input_unregister(struct input_device *device)
{
	device->gone = true;
	class_remove(&devices, &device->node);
}
