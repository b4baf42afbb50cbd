/*
 * Work for an IOMMU: endpoints are attached, pages mapped for them and unmapped. And lies of its own.
 */
#include <string.h>

#include <base/dma.h>
#include <base/event.h>
#include <class/iommu.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_iommu.h"
#include "swdev_work_impl.h"

static bool begin(struct swdev_work *work)
{
	struct dma_device dma = {.has_endpoint = true, .endpoint = 0x18};
	bool good = work->dev->vdev->state == VIRTIO_RUNNING && iommu_find(work->dev->vdev->name);
	dma_addr_t addresses[64];

	if (!good)
		return false;
	good = !dma_attach(&dma, true) && dma.ops;
	for (unsigned i = 0; i < work->amount && i < ARRAY_SIZE(addresses); i++) {
		addresses[i] = good ? dma_map(&dma, work->items[i].out, SWDEV_ITEM_BYTES, DMA_TO_DEVICE) : DMA_ERROR;
		good &= addresses[i] != DMA_ERROR;
		swdev_work_ended(&work->items[i], good);
	}
	loop_sleep(1000000); /* a reset may be due */
	for (unsigned i = 0; i < work->amount && i < ARRAY_SIZE(addresses); i++)
		if (addresses[i] != DMA_ERROR)
			dma_unmap(&dma, addresses[i], SWDEV_ITEM_BYTES, DMA_TO_DEVICE);
	dma_detach(&dma);
	return true;
}

static const struct swdev_workload iommu_load = {.type = &swdev_iommu, .begin = begin};
LINKER_ENTRY(swdev_workloads, iommu_load);

/* ---- lies ---- */

static void faults_without_end(struct swdev *dev)
{
	if (!(dev->status & ST_DRIVER_OK) || !dev->queues[1].held)
		return;
	dev->lies_told++;
	swdev_fault(dev, (uint8_t)dev->lies_told, dev->lies_told, UINT64_MAX, dev->lies_told * 0x101, 0);
}

static void fails_everything(struct swdev *dev)
{
	dev->lies_told++;
	swdev_remapper(dev)->fail = 200;
}

#define CONFIG(at) .reg = REG_CONFIG, .index = at

static const struct swdev_lie iommu_lies[] = {
	{"iommu pages of no size", 0, .type = &swdev_iommu, .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 0,
         .harmless = true},
	{"iommu input range that ends before it begins", 0, .type = &swdev_iommu, CONFIG(8), .op = OP_SET, .value = UINT32_MAX,
         .harmless = true, .blind = true},
	{"iommu without domains", 0, .type = &swdev_iommu, CONFIG(28), .op = OP_SET, .value = 2, .says = "no domains"},
	{"iommu with one domain", 0, .type = &swdev_iommu, CONFIG(28), .op = OP_SET, .value = 3, .harmless = true, .works = true},
	{"iommu probe_size of ones", 0, .type = &swdev_iommu, CONFIG(32), .op = OP_SET, .value = UINT32_MAX,
         .says = "probe_size"},
	{"iommu probe_size 0", 0, .type = &swdev_iommu, CONFIG(32), .op = OP_SET, .value = 0, .harmless = true, .blind = true},
	{"iommu probe_size 3", 0, .type = &swdev_iommu, CONFIG(32), .op = OP_SET, .value = 3, .harmless = true, .blind = true},
	{"iommu faults without end", 0, .type = &swdev_iommu, .at_look = faults_without_end},
	{"iommu that fails everything", 0, .type = &swdev_iommu, .setup = fails_everything, .harmless = true},
	{},
};
SWDEV_LIES(iommu_lies);
