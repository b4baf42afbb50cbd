/*
 * Domains: what an isolated device sees of memory. Each endpoint has one of its own.
 *
 * A domain has a window of addresses, DOMAIN_PAGES granules of them, and a table that says for each what is behind it. A mapping is a run of
 * granules that the search for room finds, going round; it is made when a buffer is given to the device and undone when it comes back, so that
 * the device reaches nothing else. The table is also what a reset of the IOMMU is survived with: it forgets everything, and all of the
 * table is mapped again.
 *
 * What cannot be unmapped is not used again before the next such reset: the device may still reach it.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>

#include "iommu_impl.h"

#define ENTRY_USED 1u
#define ENTRY_LAST 2u /* of a run */
#define ENTRY_READ 4u
#define ENTRY_WRITE 8u
#define ENTRY_RESERVED 16u
#define ENTRY_STALE 32u /* not mapped as it should be: spoilt, or left over */
#define ENTRY_FLAGS 63u

struct domain {
	struct domain *next;
	struct iommu *iommu; /* NULL: it has gone */
	struct dma_device *dma;
	uint32_t id;
	bool attached;  /* as far as the IOMMU knows */
	uint64_t first; /* address of entry 0 */
	uint64_t granule;
	uint32_t cursor;
	uint64_t entries[DOMAIN_PAGES]; /* physical address and ENTRY_ bits */
};

static struct domain *orphans;

/* Endpoints that are not isolated: a bit each. Whichever IOMMU comes has to let them pass. */
#define PASSING_MAX 65536u
static uint8_t passing[PASSING_MAX / 8];

static uint64_t address_of(const struct domain *domain, uint32_t entry) { return domain->first + entry * domain->granule; }

static uint32_t map_flags(uint64_t entry)
{
	return (entry & ENTRY_READ ? MAP_READ : 0u) | (entry & ENTRY_WRITE ? MAP_WRITE : 0u);
}

/* ---- room ---- */

/* `count` free entries in a row; DOMAIN_PAGES: none. */
static uint32_t find_room(struct domain *domain, uint32_t count)
{
	uint32_t run = 0, at = domain->cursor;

	for (uint32_t tried = 0; tried < DOMAIN_PAGES + count; tried++, at++) {
		if (at >= DOMAIN_PAGES) {
			at = 0;
			run = 0;
		}
		run = domain->entries[at] & ENTRY_USED ? 0 : run + 1;
		if (run == count) {
			domain->cursor = at + 1;
			return at + 1 - count;
		}
	}
	return DOMAIN_PAGES;
}

static void forget(struct domain *domain, uint32_t at, uint32_t count)
{
	memset(&domain->entries[at], 0, count * sizeof(uint64_t));
}

/* ---- the DMA seam ---- */

static dma_addr_t map_run(struct domain *domain, uint64_t phys, size_t size, uint32_t bits)
{
	struct iommu *iommu = domain->iommu;
	uint64_t base = phys & ~(domain->granule - 1);
	uint64_t count = (phys - base + size + domain->granule - 1) / domain->granule;
	uint32_t at = count && count < DOMAIN_PAGES ? find_room(domain, (uint32_t)count) : DOMAIN_PAGES;
	bool spoil = iommu->device.spoil;

	if (at == DOMAIN_PAGES || !domain->attached)
		return DMA_ERROR;
	if (iommu_map(iommu, domain->id, address_of(domain, at), count * domain->granule, base, map_flags(bits)))
		return DMA_ERROR;
	if (spoil)
		spoil = !iommu_unmap(iommu, domain->id, address_of(domain, at), count * domain->granule);
	if (spoil) {
		iommu->device.spoil = false;
		bits |= ENTRY_STALE;
	}
	for (uint32_t i = 0; i < count; i++)
		domain->entries[at + i] = (base + i * domain->granule) | ENTRY_USED | bits | (i == count - 1 ? ENTRY_LAST : 0);
	iommu->device.maps++;
	iommu->device.mapped += count;
	return address_of(domain, at) + (phys - base);
}

static dma_addr_t map_locked(struct domain *domain, uint64_t phys, size_t size, uint32_t bits)
{
	struct iommu *iommu = domain->iommu;
	dma_addr_t address;

	if (!iommu)
		return DMA_ERROR;
	spin_lock(&iommu->lock);
	address = map_run(domain, phys, size, bits);
	spin_unlock(&iommu->lock);
	return address;
}

static dma_addr_t map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	return map_locked(dma->context, mmu_virt_to_phys(memory), size, dir == DMA_TO_DEVICE ? ENTRY_READ : ENTRY_WRITE);
}

static void unmap(struct dma_device *dma, dma_addr_t address, size_t size, enum dma_dir dir)
{
	struct domain *domain = dma->context;
	struct iommu *iommu = domain->iommu;
	uint32_t at = (uint32_t)((address - domain->first) / domain->granule), count = 0;

	(void)size;
	(void)dir;
	while (!(domain->entries[at + count++] & ENTRY_LAST))
		;
	if (!iommu) { /* nothing is mapped, and this is not to be again */
		forget(domain, at, count);
		return;
	}
	spin_lock(&iommu->lock);
	/* One that the IOMMU lost by a reset is none of its any more. */
	if (domain->entries[at] & ENTRY_STALE || !domain->attached ||
	    !iommu_unmap(iommu, domain->id, address_of(domain, at), count * domain->granule) || !iommu->vq) {
		forget(domain, at, count);
	} else {
		for (uint32_t i = 0; i < count; i++)
			domain->entries[at + i] = ENTRY_USED | ENTRY_STALE;
	}
	iommu->device.unmaps++;
	iommu->device.mapped -= count;
	spin_unlock(&iommu->lock);
}

static void *alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *address)
{
	struct domain *domain = dma->context;
	size_t granule = (size_t)domain->granule; /* a page or more */
	void *memory = page_alloc(ALIGN_UP(size, granule), MAX(alignment, granule));

	if (!memory)
		return NULL;
	*address = map_locked(domain, mmu_virt_to_phys(memory), size, ENTRY_READ | ENTRY_WRITE);
	if (*address != DMA_ERROR)
		return memory;
	page_free(memory, ALIGN_UP(size, granule));
	return NULL;
}

static void free_memory(struct dma_device *dma, void *memory, size_t size, dma_addr_t address)
{
	const struct domain *domain = dma->context;

	unmap(dma, address, size, DMA_TO_DEVICE);
	page_free(memory, ALIGN_UP(size, (size_t)domain->granule));
}

static void take_out(struct domain **list, const struct domain *domain)
{
	while (*list && *list != domain)
		list = &(*list)->next;
	if (*list)
		*list = domain->next;
}

static void detach(struct dma_device *dma)
{
	struct domain *domain = dma->context;
	struct iommu *iommu = domain->iommu;

	take_out(iommu ? &iommu->domains : &orphans, domain);
	if (iommu) {
		spin_lock(&iommu->lock);
		if (domain->attached && iommu_detach(iommu, domain->id, dma->endpoint))
			log_warn("%s: endpoint %#x is not let go", iommu->vdev->name, dma->endpoint);
		spin_unlock(&iommu->lock);
		iommu->device.endpoints--;
	}
	page_free(domain, sizeof(*domain));
}

static const struct dma_ops ops = {.alloc = alloc, .free = free_memory, .map = map, .unmap = unmap, .detach = detach};

/* ---- attaching ---- */

/* "Property RESV_MEM": not to be mapped */
static void reserve(void *context, uint64_t first, uint64_t last)
{
	struct domain *domain = context;
	uint64_t granule = domain->granule, end = domain->first + DOMAIN_PAGES * granule;

	if (last < domain->first || first >= end || first > last)
		return;
	first = (MAX(first, domain->first) - domain->first) / granule;
	last = (MIN(last, end - 1) - domain->first) / granule;
	for (uint64_t i = first; i <= last; i++)
		domain->entries[i] = ENTRY_USED | ENTRY_RESERVED;
}

static bool id_is_free(const struct iommu *iommu, uint32_t id)
{
	const struct domain *domain = iommu->domains;

	while (domain && domain->id != id)
		domain = domain->next;
	return !domain;
}

static int introduce(struct iommu *iommu, struct domain *domain)
{
	int error = 0;

	domain->iommu = iommu;
	domain->id = iommu->domain_first;
	while (!id_is_free(iommu, domain->id))
		if (domain->id++ == iommu->domain_last)
			return -ENOSPC;
	if (virtio_has(iommu->vdev, VIRTIO_IOMMU_F_PROBE))
		error = iommu_probe(iommu, domain->dma->endpoint, reserve, domain);
	if (!error)
		error = iommu_attach(iommu, domain->id, domain->dma->endpoint);
	domain->attached = !error;
	return error;
}

static int let_pass(struct iommu *iommu, uint32_t endpoint)
{
	int error;

	if (endpoint >= PASSING_MAX || iommu->passing == iommu->domain_last)
		return -ENODEV;
	spin_lock(&iommu->lock);
	error = iommu_attach_passing(iommu, endpoint);
	spin_unlock(&iommu->lock);
	if (!error)
		passing[endpoint / 8] |= (uint8_t)(1u << endpoint % 8);
	return error;
}

int domain_attach(struct dma_provider *provider, struct dma_device *dma, bool obeys)
{
	struct iommu *iommu = container_of(provider, struct iommu, provider);
	struct domain *domain;
	int error;

	if (!obeys)
		return let_pass(iommu, dma->endpoint);
	domain = page_alloc(sizeof(*domain), PAGE_SIZE);
	if (!domain)
		return -ENOMEM;
	domain->dma = dma;
	domain->granule = iommu->granule;
	/* Not at 0, which drivers of devices take for nothing. */
	domain->first = ALIGN_UP(MAX(iommu->input_first, iommu->granule), iommu->granule);
	spin_lock(&iommu->lock);
	error = introduce(iommu, domain);
	spin_unlock(&iommu->lock);
	if (error) {
		page_free(domain, sizeof(*domain));
		return error;
	}
	if (dma->endpoint < PASSING_MAX)
		passing[dma->endpoint / 8] &= (uint8_t) ~(1u << dma->endpoint % 8);
	domain->next = iommu->domains;
	iommu->domains = domain;
	iommu->device.endpoints++;
	dma->ops = &ops;
	dma->context = domain;
	return 0;
}

/* ---- the IOMMU comes and goes ---- */

static int restore(struct iommu *iommu, struct domain *domain)
{
	uint32_t from = 0;
	/* It may have come back with other pages. */
	int error = domain->granule % iommu->granule ? -EINVAL : iommu_attach(iommu, domain->id, domain->dma->endpoint);

	for (uint32_t i = 0; i < DOMAIN_PAGES && !error; i++) {
		uint64_t entry = domain->entries[i];

		if (entry & ENTRY_STALE)
			domain->entries[i] = entry = 0;
		if (entry & ENTRY_USED && !(entry & ENTRY_RESERVED) && entry & ENTRY_LAST)
			error = iommu_map(iommu, domain->id, address_of(domain, from), (i + 1 - from) * domain->granule,
			                  domain->entries[from] & ~(uint64_t)ENTRY_FLAGS, map_flags(entry));
		if (!(entry & ENTRY_USED) || entry & (ENTRY_LAST | ENTRY_RESERVED))
			from = i + 1;
	}
	return error;
}

void domains_restore(struct iommu *iommu)
{
	while (orphans) {
		struct domain *domain = orphans;

		orphans = domain->next;
		domain->id = iommu->domain_first;
		while (!id_is_free(iommu, domain->id) && domain->id < iommu->domain_last)
			domain->id++;
		domain->iommu = iommu;
		domain->next = iommu->domains;
		iommu->domains = domain;
		iommu->device.endpoints++;
		for (uint32_t i = 0; i < DOMAIN_PAGES; i++)
			iommu->device.mapped += domain->entries[i] & ENTRY_USED && !(domain->entries[i] & ENTRY_RESERVED);
	}
	spin_lock(&iommu->lock);
	for (struct domain *domain = iommu->domains; domain; domain = domain->next) {
		domain->attached = !restore(iommu, domain);
		if (!domain->attached)
			log_error("%s: endpoint %#x is cut off", iommu->vdev->name, domain->dma->endpoint);
	}
	for (uint32_t i = 0; i < PASSING_MAX && iommu->passing != iommu->domain_last; i++)
		if (passing[i / 8] >> i % 8 & 1 && iommu_attach_passing(iommu, i))
			log_error("%s: endpoint %#x is cut off", iommu->vdev->name, i);
	spin_unlock(&iommu->lock);
}

void domains_orphan(struct iommu *iommu)
{
	while (iommu->domains) {
		struct domain *domain = iommu->domains;

		iommu->domains = domain->next;
		domain->iommu = NULL;
		domain->attached = false;
		domain->next = orphans;
		orphans = domain;
	}
}
