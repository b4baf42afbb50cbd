/*
 * The software PMEM device.
 */
#ifndef SWDEV_PMEM_H
#define SWDEV_PMEM_H

#include "swdev.h"

#define SWDEV_PMEM_BYTES (1u << 20)

struct swdev_pmem {
	uint8_t *memory, *lasting; /* as the driver sees it; as it was at the last flush */
	bool holds, fails, silent; /* keeps flushes; says that they failed; writes no answer */
	unsigned flushes;
};
static inline struct swdev_pmem *swdev_pmem_state(struct swdev *dev) { return dev->state; }

extern const struct swdev_type swdev_pmem;

#endif
