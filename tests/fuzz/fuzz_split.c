/*
 * virtio/split.c and virtq.c against a device that writes what the input says. See ring.c.
 */
#include "fuzz.h"
#include "ring.h"

static void run(const uint8_t *data, size_t size) { ring_run(data, size, false); }

static void seeds(void) { ring_seeds(false); }

FUZZ_TARGET(split);
