/*
 * Devices as programs see them: a name, where it came from, what was agreed with it. Virtio's core fills one per device, classes
 * hang theirs on it. Loop context, and of the first CPU (cpu_run() takes a call there), but for what a class allows elsewhere.
 */
#ifndef CLASS_DEVICE_H
#define CLASS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <base/util.h>

struct device_queue {
	uint16_t size;                /* 0: the driver leaves it out */
	const char *layout;           /* "split", "packed" */
	uint64_t notifications, used; /* available buffer notifications sent, buffers used so far */
};

struct device_info {
	struct device_info *next;
	const char *name;      /* "blk0" */
	unsigned type;         /* virtio device id */
	const char *driver;    /* "virtio-blk"; "" when none fits */
	const char *transport; /* "pci", "mmio" */
	const char *address;
	const char *revision; /* "1.x", "legacy" */
	const char *irq;      /* "msix", "msix-shared", "intx", "poll" */
	unsigned vectors;
	uint64_t offered, negotiated;
	const char *state;  /* "ok", "refused", "failed", "removed" */
	const char *reason; /* why not ok; "" */
	unsigned queue_count;
	/* Fill *queue for queue `index` < queue_count. */
	void (*queue)(const struct device_info *info, unsigned index, struct device_queue *queue);
	uint64_t (*interrupts)(const struct device_info *info);
	/* Test actions, 0 or a negative errno (-ENOTSUP: the device does not offer it): reset and bring up again; take it from its driver and
	 * give it back; reset one queue; suspend and resume. */
	int (*reset)(struct device_info *info);
	int (*rebind)(struct device_info *info);
	int (*reset_queue)(struct device_info *info, unsigned queue);
	int (*suspend)(struct device_info *info, bool suspend);
};

void device_add(struct device_info *info);            /* into the list, in order */
void device_announce(const struct device_info *info); /* print its record and its log line */
void device_remove(struct device_info *info);
const struct device_info *device_first(void);
struct device_info *device_find(const char *name); /* NULL: none */

/* What each class's device embeds: its name and place in the class's list. */
struct class_node {
	struct class_node *next;
	const char *name; /* as the device_info's */
	bool listed;
};

struct class_list {
	struct class_node *first;
};

void class_add(struct class_list *list, struct class_node *node); /* at the end, unless it is listed already */
void class_remove(struct class_list *list, struct class_node *node);
bool class_has(const struct class_list *list, const struct class_node *node);   /* `node` may be gone: only compared */
struct class_node *class_find(const struct class_list *list, const char *name); /* name NULL: the first */

/* What every class has: KIND_devices, the list, which lib/class/lists.c defines; KIND_find(NAME), for NULL the first; KIND_next(DEVICE). NULL:
 * none. `type` has the class_node as its member `node`. */
#define CLASS(type, kind)                                                                                                        \
	extern struct class_list kind##_devices;                                                                                 \
	static inline type *kind##_of_node(struct class_node *node) { return node ? container_of(node, type, node) : NULL; }     \
	static inline type *kind##_find(const char *name) { return kind##_of_node(class_find(&kind##_devices, name)); }          \
	static inline type *kind##_next(const type *device) { return kind##_of_node(device->node.next); }

#endif
