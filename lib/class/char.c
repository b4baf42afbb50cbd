/*
 * The class of byte streams: finding consoles and ports, and writing with a wait. All else is the driver's.
 */
#include <class/char.h>

#include <errno.h>
#include <string.h>

#include <base/event.h>
#include <base/util.h>

struct char_wait {
	struct char_request request;
	bool over;
};

static void wake(struct char_request *request) { container_of(request, struct char_wait, request)->over = true; }

int char_write(struct char_device *device, const void *memory, uint32_t length)
{
	struct char_wait wait = {.request = {.memory = memory, .length = length, .done = wake}};

	if (!length)
		return 0;
	if (!device->open)
		return -ENOTCONN;
	char_submit(device, &wait.request);
	loop_wait(&wait.over, LOOP_FOREVER);
	return wait.request.status;
}

bool char_has(const struct char_device *device) { return class_has(&char_devices, &device->node); }

struct char_device *char_next(struct char_device *device)
{
	struct class_node *node = !device ? char_devices.first : char_has(device) ? device->node.next : NULL;

	return node ? container_of(node, struct char_device, node) : NULL;
}

struct char_device *char_find(const char *name)
{
	struct class_node *node = name ? class_find(&char_devices, name) : NULL;
	struct char_device *device = NULL;

	if (node)
		return container_of(node, struct char_device, node);
	do
		device = char_next(device);
	while (device && (name ? !*name || strcmp(device->tag, name) != 0 : !device->console));
	return device;
}
