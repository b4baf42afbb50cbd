/*
 * Memory that a driver shares with its device. Without a backend the device uses physical addresses and reaches all of RAM, so
 * pages are enough; map, unmap and sync have nothing to do then and are inline in <base/dma.h>.
 */
#include <base/dma.h>

#include <errno.h>

#include <base/page.h>

static void *alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr, void *(*from)(size_t, size_t))
{
	if (dma->ops)
		return dma->ops->alloc(dma, size, alignment, addr);

	void *memory = from(size, MAX(alignment, PAGE_SIZE));

	if (memory)
		*addr = mmu_virt_to_phys(memory);
	return memory;
}

void *dma_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr)
{
	return alloc(dma, size, alignment, addr, page_alloc);
}

void *dma_alloc_uncleared(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr)
{
	return alloc(dma, size, alignment, addr, page_alloc_uncleared);
}

void dma_free(struct dma_device *dma, void *memory, size_t size, dma_addr_t addr)
{
	if (dma->ops)
		dma->ops->free(dma, memory, size, addr);
	else
		page_free(memory, size);
}

/* ---- isolation ---- */

static struct dma_provider *providers;

void dma_provider_add(struct dma_provider *provider)
{
	provider->next = providers;
	providers = provider;
}

void dma_provider_remove(struct dma_provider *provider)
{
	for (struct dma_provider **at = &providers; *at; at = &(*at)->next) {
		if (*at == provider) {
			*at = provider->next;
			break;
		}
	}
}

int dma_attach(struct dma_device *dma, bool obeys)
{
	int error = -ENODEV;

	if (dma->ops || !dma->has_endpoint)
		return 0;
	for (struct dma_provider *provider = providers; provider && error == -ENODEV; provider = provider->next)
		error = provider->attach(provider, dma, obeys);
	return error == -ENODEV ? 0 : error;
}

void dma_detach(struct dma_device *dma)
{
	if (!dma->ops || !dma->ops->detach)
		return;
	dma->ops->detach(dma);
	dma->ops = NULL;
}
