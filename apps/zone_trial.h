/*
 * A zone of a disk, gone through from empty to full and back.
 */
#ifndef APPS_ZONE_TRIAL_H
#define APPS_ZONE_TRIAL_H

#include <class/block.h>

/* The first empty zone of sequential writes. -ENOENT: none. */
[[nodiscard]] int zone_find_empty(struct block_device *device, struct block_zone *zone);
/* Opened, appended or written to, read back, finished and reset, its state asked for after each. `memory`: two units that can be written. NULL, or
 * what went wrong, and *error why (0: something else than it should came of it). */
const char *zone_trial(struct block_device *device, const struct block_zone *zone, uint8_t *memory, int *error);

#endif
