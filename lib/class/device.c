/*
 * The list of devices that programs and people see, in order of discovery, and the lists of the device classes.
 */
#include <class/device.h>

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/util.h>

static struct device_info *devices;

void device_add(struct device_info *info)
{
	struct device_info **at = &devices;

	while (*at)
		at = &(*at)->next;
	info->next = NULL;
	*at = info;
}

void device_remove(struct device_info *info)
{
	for (struct device_info **at = &devices; *at; at = &(*at)->next) {
		if (*at == info) {
			*at = info->next;
			info->next = NULL;
			break;
		}
	}
}

const struct device_info *device_first(void) { return devices; }

struct device_info *device_find(const char *name)
{
	struct device_info *info = devices;

	while (info && strcmp(info->name, name) != 0)
		info = info->next;
	return info;
}

/* The members of the record's "queues". A device with very many has its first ones listed. */
static const char *list_queues(const struct device_info *info, char *out, size_t size)
{
	size_t length = 0;

	out[0] = '\0';
	for (unsigned i = 0; info->queue && i < info->queue_count && length + 64 <= size; i++) {
		struct device_queue queue = {.layout = ""};

		info->queue(info, i, &queue);
		if (!queue.size)
			continue;
		format_text(out + length, size - length, "%s{\"size\":%u,\"layout\":\"%s\"}", length ? "," : "",
		            (unsigned)queue.size, queue.layout);
		length += strlen(out + length);
	}
	return out;
}

void device_announce(const struct device_info *info)
{
	static char queues[4096];
	char address[80], reason[600], reason_member[640] = "";

	if (log_is_off())
		return;
	if (info->reason[0])
		format_text(reason_member, sizeof(reason_member), ",\"reason\":\"%s\"",
		            json_string(reason, sizeof(reason), info->reason));
	record("{\"event\":\"device\",\"name\":\"%s\",\"type\":%u,\"driver\":\"%s\",\"transport\":\"%s\",\"address\":\"%s\","
	       "\"revision\":\"%s\",\"irq\":\"%s\",\"vectors\":%u,\"queues\":[%s],"
	       "\"offered\":\"0x%llx\",\"negotiated\":\"0x%llx\",\"state\":\"%s\"%s}",
	       info->name, info->type, info->driver, info->transport, json_string(address, sizeof(address), info->address),
	       info->revision, info->irq, info->vectors, list_queues(info, queues, sizeof(queues)),
	       (unsigned long long)info->offered, (unsigned long long)info->negotiated, info->state, reason_member);

	if (info->reason[0])
		log_warn("%s %s at %s: %s: %s", info->driver[0] ? info->driver : "virtio", info->name, info->address, info->state,
		         info->reason);
	else
		log_info("%s %s at %s: %s, %s, %s, %u vector%s, %u queue%s, features 0x%llx", info->driver, info->name,
		         info->address, info->transport, info->revision, info->irq, info->vectors, info->vectors == 1 ? "" : "s",
		         info->queue_count, info->queue_count == 1 ? "" : "s", (unsigned long long)info->negotiated);
}

void class_add(struct class_list *list, struct class_node *node)
{
	struct class_node **at = &list->first;

	if (node->listed)
		return;
	while (*at)
		at = &(*at)->next;
	node->next = NULL;
	node->listed = true;
	*at = node;
}

void class_remove(struct class_list *list, struct class_node *node)
{
	for (struct class_node **at = &list->first; *at; at = &(*at)->next) {
		if (*at == node) {
			*at = node->next;
			node->next = NULL;
			node->listed = false;
			break;
		}
	}
}

bool class_has(const struct class_list *list, const struct class_node *node)
{
	const struct class_node *at = list->first;

	while (at && at != node)
		at = at->next;
	return at;
}

struct class_node *class_find(const struct class_list *list, const char *name)
{
	struct class_node *node = list->first;

	while (node && name && strcmp(node->name, name) != 0)
		node = node->next;
	return node;
}
