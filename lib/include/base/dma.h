/*
 * The DMA seam: what a device sees of memory. Each device has a `struct dma_device`; ops == NULL is the identity map (the device
 * uses physical addresses), decided inline, so that the common case costs no call. Bounce buffers and IOMMUs set ops.
 * Loop context. Memory given to map() belongs to the device until unmap().
 */
#ifndef BASE_DMA_H
#define BASE_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/mmu.h>
#include <base/util.h>

typedef uint64_t dma_addr_t;

#define DMA_ERROR (~(dma_addr_t)0)

/* A backend maps as much in one piece, at least while nothing else is mapped. */
#define DMA_PIECE_MAX 65536u

/* A piece of memory for a device: RAM, contiguous, any alignment. */
struct dma_buf {
	void *addr;
	uint32_t len; /* bytes, not 0 */
};

enum dma_dir { DMA_TO_DEVICE, DMA_FROM_DEVICE };

struct dma_device;

struct dma_ops {
	void *(*alloc)(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr);
	void (*free)(struct dma_device *dma, void *memory, size_t size, dma_addr_t addr);
	dma_addr_t (*map)(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir);
	void (*unmap)(struct dma_device *dma, dma_addr_t addr, size_t size, enum dma_dir dir);
	/* Before the CPU reads what the device wrote (FROM) or after it wrote more (TO), without unmapping. */
	void (*sync)(struct dma_device *dma, dma_addr_t addr, size_t size, enum dma_dir dir);
	/* The end of what attach() began; ops is reset behind it. NULL: nothing to do. */
	void (*detach)(struct dma_device *dma);
};

struct dma_device {
	const struct dma_ops *ops; /* NULL: identity */
	void *context;             /* of ops */
	bool has_endpoint;         /* an IOMMU may stand between it and memory, */
	uint32_t endpoint;         /* which knows it by this number: of a PCI function its bus, device and function */
};

/* An IOMMU: its driver's. */
struct dma_provider {
	struct dma_provider *next;
	/* As dma_attach(), 0 with its ops set if it obeys; -ENODEV: it is not behind this one; other errors: it is, and that cannot be. */
	int (*attach)(struct dma_provider *provider, struct dma_device *dma, bool obeys);
};
void dma_provider_add(struct dma_provider *provider);
void dma_provider_remove(struct dma_provider *provider);

/* Before the device is given any memory: isolate it, if it obeys the platform and something can. Nothing: 0, the identity map. One that does not
 * obey reaches memory by itself, but its interrupts may be on the IOMMU's way: they are let through. */
[[nodiscard]] int dma_attach(struct dma_device *dma, bool obeys);
/* When it has given back all memory. */
void dma_detach(struct dma_device *dma);

/* Zeroed memory that driver and device share, page-aligned at least; NULL: none. */
[[gnu::warn_unused_result]] void *dma_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr);
/* What page_alloc_uncleared() is to page_alloc(); a backend that isolates the device gives zeros all the same. */
[[gnu::warn_unused_result]] void *dma_alloc_uncleared(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr);
void dma_free(struct dma_device *dma, void *memory, size_t size, dma_addr_t addr);

/* DMA_ERROR: the backend has no room now. */
static inline dma_addr_t dma_map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	return likely(!dma->ops) ? mmu_virt_to_phys(memory) : dma->ops->map(dma, memory, size, dir);
}

static inline void dma_unmap(struct dma_device *dma, dma_addr_t addr, size_t size, enum dma_dir dir)
{
	if (unlikely(dma->ops))
		dma->ops->unmap(dma, addr, size, dir);
}

static inline void dma_sync(struct dma_device *dma, dma_addr_t addr, size_t size, enum dma_dir dir)
{
	if (unlikely(dma->ops && dma->ops->sync))
		dma->ops->sync(dma, addr, size, dir);
}

#endif
