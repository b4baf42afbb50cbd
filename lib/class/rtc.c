/*
 * The list of devices with clocks. All else is their driver's.
 */
#include <class/rtc.h>

#include <base/util.h>

static struct class_list devices;

struct rtc_device *rtc_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct rtc_device, node) : NULL;
}

void rtc_register(struct rtc_device *device) { class_add(&devices, &device->node); }

void rtc_unregister(struct rtc_device *device) { class_remove(&devices, &device->node); }
