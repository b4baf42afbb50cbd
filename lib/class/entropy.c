/*
 * The class of random sources: a list of devices, and reading with a wait. All else is the driver's.
 */
#include <class/entropy.h>

#include <base/event.h>
#include <base/util.h>

static struct class_list devices;

struct entropy_wait {
	struct entropy_request request;
	bool over;
};

static void wake(struct entropy_request *request) { container_of(request, struct entropy_wait, request)->over = true; }

int entropy_read(struct entropy_device *device, void *memory, uint32_t length)
{
	struct entropy_wait wait = {.request = {.memory = memory, .length = length, .done = wake}};

	if (!length)
		return 0;
	entropy_submit(device, &wait.request);
	loop_wait(&wait.over, LOOP_FOREVER);
	return wait.request.status;
}

struct entropy_device *entropy_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct entropy_device, node) : NULL;
}

void entropy_register(struct entropy_device *device)
{
	device->gone = false;
	class_add(&devices, &device->node);
}

void entropy_unregister(struct entropy_device *device)
{
	device->gone = true;
	class_remove(&devices, &device->node);
}
