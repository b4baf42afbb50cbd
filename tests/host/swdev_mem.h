/*
 * The software memory device.
 */
#ifndef SWDEV_MEM_H
#define SWDEV_MEM_H

#include "swdev.h"

#define SWDEV_MEM_BLOCK (1u << 20)
#define SWDEV_MEM_BLOCKS 16u

struct swdev_mem {
	bool plugged[SWDEV_MEM_BLOCKS];
	unsigned plugs, unplugs, unplug_alls, states;
	unsigned answer; /* for the next `answers` requests, instead of the right one */
	unsigned answers;
	bool holds;
};
static inline struct swdev_mem *swdev_mem_state(struct swdev *dev) { return dev->state; }

void swdev_mem_want(struct swdev *dev, unsigned blocks); /* requested_size, and tell the driver */
unsigned swdev_mem_plugged(struct swdev *dev);

extern const struct swdev_type swdev_mem;

#endif
