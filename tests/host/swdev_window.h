/*
 * The DAX window of the software file system device.
 */
#ifndef SWDEV_WINDOW_H
#define SWDEV_WINDOW_H

#include "swdev_tree.h"

#define SWDEV_MAP_WRITE 1u

struct swdev_window {
	uint8_t *memory;
	uint64_t bytes;
	uint16_t alignment;                 /* log2, told in the session */
	unsigned maps, unmaps, most, count; /* requests that were granted; mappings, at most and now */
	int fails;                          /* SETUPMAPPING does, with this Linux errno */
	bool unsaid;                        /* the session does not speak of it */
	void (*at_map)(struct swdev *dev);  /* behind each SETUPMAPPING, before its answer */
	struct swdev_mapping {
		unsigned node; /* + 1; 0: none */
		uint64_t offset, length, at;
	} mappings[32];
};

/* Before it is plugged. What is not mapped of it faults when it is touched. */
struct swdev_window *swdev_window_new(struct swdev *dev, uint64_t bytes);

/* swdev_fs.c's. */
void swdev_window_free(struct swdev_tree *tree);
void swdev_window_reset(struct swdev_tree *tree);
void swdev_window_session(const struct swdev_window *window, uint32_t asked, uint8_t *answer);
int swdev_window_map(struct swdev *dev, unsigned node, const uint8_t *in); /* a Linux errno */
int swdev_window_unmap(struct swdev *dev, const uint8_t *in, uint32_t length);

#endif
