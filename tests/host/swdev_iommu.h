/*
 * The software device's IOMMU: what a test sees of it.
 */
#ifndef SWDEV_IOMMU_H
#define SWDEV_IOMMU_H

#include "swdev.h"

#define SWDEV_ENDPOINTS 3u /* 0x10, 0x18, 0x20 */
#define SWDEV_MAPPINGS 4096u

struct swdev_remapper {
	uint32_t domain[SWDEV_ENDPOINTS]; /* 0: none */
	uint32_t bypass;                  /* the bypass domain; 0: none */
	struct {
		uint32_t domain; /* 0: free */
		uint32_t flags;
		uint64_t first, last, phys;
	} mappings[SWDEV_MAPPINGS];
	unsigned mapped, maps, unmaps, attaches, probes, faults;
	uint8_t fail; /* status of the next requests, if not 0 */
};
static inline struct swdev_remapper *swdev_remapper(struct swdev *dev) { return dev->state; }

/* Put `dev`, before it is plugged, behind the IOMMU `dev->context` as that endpoint: it obeys the platform, and reaches what is mapped for it. */
void swdev_behind(struct swdev *dev, struct swdev *iommu, uint32_t endpoint);
void swdev_fault(struct swdev *iommu, uint8_t reason, uint32_t endpoint, uint64_t address, uint32_t flags, uint32_t reserved);

extern const struct swdev_type swdev_iommu;

#endif
