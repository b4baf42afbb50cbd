/*
 * The list of CAN controllers. All else is their drivers'.
 */
#include <class/can.h>

#include <base/util.h>

struct class_list can_devices;

struct can_device *can_find(const char *name)
{
	struct class_node *node = class_find(&can_devices, name);

	return node ? container_of(node, struct can_device, node) : NULL;
}
