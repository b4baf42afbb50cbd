/*
 * Between the parts of the IOMMU driver: iommu.c, the device; iommu_request.c, what is asked of it; iommu_domain.c, what it isolates.
 */
#ifndef IOMMU_IMPL_H
#define IOMMU_IMPL_H

#include <base/dma.h>
#include <base/endian.h>
#include <base/spinlock.h>
#include <class/iommu.h>
#include <virtio/request.h>

enum {
	VIRTIO_IOMMU_F_INPUT_RANGE = 0,
	VIRTIO_IOMMU_F_DOMAIN_RANGE = 1,
	VIRTIO_IOMMU_F_MAP_UNMAP = 2,
	VIRTIO_IOMMU_F_PROBE = 4,
	VIRTIO_IOMMU_F_BYPASS_CONFIG = 6,
};

enum { MAP_READ = 1, MAP_WRITE = 2 };

#define DOMAIN_PAGES 32768u /* granules of a domain's window of addresses */

struct iommu {
	struct iommu_device device;
	struct dma_provider provider;
	struct virtio_device *vdev;
	struct virtio_eventq events;
	struct domain *domains;

	uint64_t granule; /* bytes of a page */
	uint64_t input_first, input_last;
	uint32_t domain_first, domain_last;
	uint32_t passing; /* the domain of those that are not isolated: domain_last + 1, or domain_last, and then there is none */
	uint32_t probe_bytes;

	/* Requests go out one at a time, from any CPU, and are waited for without turns of the loop: a mapping is made in the middle of
	 * somebody's data path. */
	struct spinlock lock;
	struct virtq *vq; /* NULL while stopped */
	bool stuck;       /* a request was never answered: nothing goes out before the reset */
	uint8_t *wire;    /* the request, and at WIRE_ANSWER the answer */
	uint32_t wire_bytes;
};
#define WIRE_ANSWER 256u

/* The requests: 0 or a negative errno; -ENODEV: the device does not know that endpoint; -EIO: no answer. The caller holds the lock. */
[[nodiscard]] int iommu_attach(struct iommu *iommu, uint32_t domain, uint32_t endpoint);
[[nodiscard]] int iommu_attach_passing(struct iommu *iommu, uint32_t endpoint);
[[nodiscard]] int iommu_detach(struct iommu *iommu, uint32_t domain, uint32_t endpoint);
[[nodiscard]] int iommu_map(struct iommu *iommu, uint32_t domain, uint64_t from, uint64_t bytes, uint64_t phys, uint32_t flags);
[[nodiscard]] int iommu_unmap(struct iommu *iommu, uint32_t domain, uint64_t from, uint64_t bytes);
/* Calls reserved() for each range, ends included, that is not to be mapped. */
[[nodiscard]] int iommu_probe(struct iommu *iommu, uint32_t endpoint,
                              void (*reserved)(void *context, uint64_t first, uint64_t last), void *context);

/* The provider's attach(). */
int domain_attach(struct dma_provider *provider, struct dma_device *dma, bool obeys);
/* After a reset of the IOMMU: all as it was. And when it goes: its domains wait for one that comes. */
void domains_restore(struct iommu *iommu);
void domains_orphan(struct iommu *iommu);

#endif
