/*
 * The list of RPMB devices. All else is their drivers'.
 */
#include <class/rpmb.h>

#include <base/util.h>

static struct class_list devices;

struct rpmb_device *rpmb_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct rpmb_device, node) : NULL;
}

void rpmb_register(struct rpmb_device *device) { class_add(&devices, &device->node); }

void rpmb_unregister(struct rpmb_device *device) { class_remove(&devices, &device->node); }
