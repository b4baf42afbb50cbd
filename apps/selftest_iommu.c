/*
 * IOMMUs. That data goes through them is shown by the tests of the devices behind; here: that nothing else does.
 *
 *   selftest.iommu_fault=1  let a disk behind it access what is not mapped for it
 */
#include "selftest.h"

#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <class/iommu.h>

static void test_fault(struct iommu_device *iommu, const char *name)
{
	struct block_device *disk = block_find(NULL);
	uint64_t faults = iommu->faults;
	uint8_t *memory = disk ? page_alloc(disk->block_size, PAGE_SIZE) : NULL;
	int first, second;

	if (!memory) {
		tap_skip("no disk", "%s refuses what is not mapped", name);
		return;
	}
	iommu->spoil = true;
	first = block_io(disk, BLOCK_READ, 0, memory, disk->block_size);
	for (unsigned i = 0; i < 100 && iommu->faults == faults; i++)
		loop_sleep(10000000);
	/* A device may take what it could not read for zeros, and carry on. */
	if (!tap_ok(iommu->faults > faults, "%s refuses what is not mapped, and tells of it", name))
		tap_detail("error: %d, faults: %lu", first, iommu->faults - faults);
	record("{\"event\":\"fault\",\"device\":\"%s\",\"endpoint\":%u,\"mapping\":%s,\"address\":\"0x%lx\"}", name,
	       iommu->last_fault.endpoint, iommu->last_fault.mapping ? "true" : "false", iommu->last_fault.address);
	second = block_io(disk, BLOCK_READ, 0, memory, disk->block_size);
	if (!tap_ok(!second, "%s works on behind %s", disk->node.name, name))
		tap_detail("error: %d", second);
	page_free(memory, disk->block_size);
}

static void test_iommu(const char *name)
{
	struct iommu_device *iommu = iommu_find(name);

	if (!iommu)
		return;
	if (!tap_ok(!iommu->endpoints == !iommu->mapped && iommu->maps >= iommu->unmaps,
	            "%s isolates %u devices, which reach %lu pages", name, iommu->endpoints, iommu->mapped))
		tap_detail("maps: %lu, unmaps: %lu", iommu->maps, iommu->unmaps);
	if (selftest_option("iommu_fault", 0))
		test_fault(iommu, name);
}

SELFTEST(iommu, test_iommu);
