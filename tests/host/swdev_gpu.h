/*
 * What a test sees and sets of the software GPU device: three displays, the first of which is on.
 */
#ifndef SWDEV_GPU_H
#define SWDEV_GPU_H

#include "swdev.h"

enum { GPU_F_EDID = 1, GPU_F_RESOURCE_BLOB = 3, GPU_F_BLOB_ALIGNMENT = 5 };

#define SWDEV_DISPLAYS 3u
#define SWDEV_RESOURCES 32u

struct swdev_resource {
	uint32_t format, width, height; /* of 2D ones */
	uint64_t backing, backing_bytes, blob_bytes;
	uint32_t *pixels; /* 2D: the device's own */
	bool exists;
};

struct swdev_display {
	uint32_t width, height;                     /* that the device wants; 0: off */
	uint32_t resource;                          /* that it scans out; 0: none */
	uint32_t shown_width, shown_height, *shown; /* as of the last flush */
};

struct swdev_gpu {
	struct swdev_display displays[SWDEV_DISPLAYS];
	struct swdev_resource resources[SWDEV_RESOURCES];
	unsigned commands[0x400], flushes, transfers;
	uint64_t transferred; /* pixels */
	uint32_t fails;       /* this command does; UINT32_MAX: all */
	uint32_t short_answer;
	uint32_t cursor[64 * 64], cursor_resource, cursor_x, cursor_y, cursor_scanout, cursor_hot_x, cursor_hot_y;
};
static inline struct swdev_gpu *swdev_gpu_state(struct swdev *dev) { return dev->state; }
void swdev_gpu_display(struct swdev *dev, unsigned display, uint32_t width, uint32_t height); /* and tell the driver */

extern const struct swdev_type swdev_gpu;

#endif
