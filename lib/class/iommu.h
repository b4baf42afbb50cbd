/*
 * IOMMUs, for programs that look at them: what is isolated, and what was refused. The isolation itself is <base/dma.h>'s.
 */
#ifndef CLASS_IOMMU_H
#define CLASS_IOMMU_H

#include <class/device.h>

struct iommu_fault {
	uint32_t endpoint;
	bool mapping; /* the endpoint is isolated and that address is not mapped for it; else it is attached to nothing, or nobody knows */
	bool write, has_address;
	uint64_t address;
};

struct iommu_device {
	struct class_node node;
	unsigned endpoints;            /* isolated at this moment, */
	uint64_t mapped;               /* with so many pages mapped for them */
	uint64_t maps, unmaps, faults; /* so far */
	struct iommu_fault last_fault;
	bool spoil; /* the test's: the next mapping is of a page of the IOMMU's own, which is unmapped again at once */
};

CLASS(struct iommu_device, iommu)

#endif
