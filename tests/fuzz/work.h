/*
 * A program that uses a device through its class, as the input says: requests good and bad, of any shape. The memory of a request is freed in
 * its done(), so that whoever touches it later is caught.
 */
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>

#include "fuzz.h"

/* For the only device of the machine, if it is of that virtio device type and there at all. `honest`: it does what it is told, so data is
 * checked, and errors are not expected. */
void work_begin(uint16_t type, bool honest);
void work_step(struct fuzz_input *in);
bool work_idle(void); /* nothing is under way */
/* The device is gone: fails for a request that did not end. */
void work_end(void);

#endif
