/*
 * The class of byte streams: a list of devices, and writing with a wait. All else is the driver's.
 */
#include <class/char.h>

#include <base/event.h>
#include <base/util.h>

static struct class_list devices;

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
	char_submit(device, &wait.request);
	loop_wait(&wait.over, LOOP_FOREVER);
	return wait.request.status;
}

struct char_device *char_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct char_device, node) : NULL;
}

void char_register(struct char_device *device)
{
	device->gone = false;
	class_add(&devices, &device->node);
}

void char_unregister(struct char_device *device)
{
	device->gone = true;
	class_remove(&devices, &device->node);
}
