/*
 * The IOMMU's driver, and devices behind it, which reach what is mapped for them and nothing else.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/dma.h>
#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <class/device.h>
#include <class/iommu.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_iommu.h"
#include "swdev_types.h"

static uint8_t *memory; /* 1 MiB */
#define SECTORS 2048u

static struct swdev *plug(struct swdev *dev)
{
	if (swdev_plug(dev, &swdev_direct))
		fail_msg("refused: %s", dev->vdev->reason);
	return dev;
}

static struct swdev *plug_iommu(uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_iommu);

	host_console_capture(true);
	dev->offered |= more;
	return plug(dev);
}

static struct swdev *disk_behind(struct swdev *iommu, uint32_t endpoint, uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_blk);

	swdev_disk_resize(dev, SECTORS);
	swdev_behind(dev, iommu, endpoint);
	dev->offered |= more;
	return plug(dev);
}

static void write_and_read(const struct swdev *dev)
{
	struct block_device *disk = block_find(dev->vdev->name);

	for (uint32_t length = 512; length <= 256u << 10; length = length * 3 / 512 * 512) {
		for (uint32_t i = 0; i < length; i++)
			memory[i] = (uint8_t)(i * 2654435761u >> 13);
		assert_int_equal(block_io(disk, BLOCK_WRITE, 7, memory + 0, length), 0);
		memset(memory + (512u << 10), 0, length);
		assert_int_equal(block_io(disk, BLOCK_READ, 7, memory + (512u << 10), length), 0);
		assert_memory_equal(memory, memory + (512u << 10), length);
	}
}

static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED)};

static void data(void **state)
{
	uint64_t before = page_count_free();

	(void)state;
	for (unsigned l = 0; l < 2; l++) {
		struct swdev *iommu = plug_iommu(layouts[l]), *first, *second;
		struct iommu_device *seen = iommu_find(NULL);
		unsigned idle;

		assert_int_equal(iommu->config[36], 0); /* bypass is off */
		first = disk_behind(iommu, 0x10, layouts[l]);
		second = disk_behind(iommu, 0x20, layouts[l]);
		assert_int_equal(seen->endpoints, 2);
		assert_true(swdev_remapper(iommu)->domain[0] != swdev_remapper(iommu)->domain[2]);
		assert_int_equal(swdev_remapper(iommu)->probes, 2);
		idle = swdev_remapper(iommu)->mapped; /* rings and tables */
		write_and_read(first);
		write_and_read(second);
		assert_int_equal(swdev_remapper(iommu)->mapped, idle); /* nothing else, but while a request is under way */
		assert_true(swdev_remapper(iommu)->maps > 20);
		assert_int_equal(swdev_remapper(iommu)->faults, 0);
		pull_out(first);
		assert_int_equal(seen->endpoints, 1);
		assert_int_equal(swdev_remapper(iommu)->domain[0], 0);
		pull_out(second);
		assert_int_equal(seen->mapped, 0);
		pull_out(iommu);
	}
	assert_int_equal(page_count_free(), before);
}

/* Another device's IOMMU, or none: the identity map. One that has it and cannot isolate it: not taken. */
static void whose(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = swdev_new(&swdev_blk);

	(void)state;
	swdev_disk_resize(dev, SECTORS);
	dev->offered |= FEATURE(F_ACCESS_PLATFORM);
	dev->dma.has_endpoint = true;
	dev->dma.endpoint = 0x28; /* not known there */
	plug(dev);
	assert_null(dev->vdev->dma.ops);
	write_and_read(dev);
	pull_out(dev);

	swdev_remapper(iommu)->fail = 3;
	dev = swdev_new(&swdev_blk);
	swdev_disk_resize(dev, SECTORS);
	swdev_behind(dev, iommu, 0x18);
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	pull_out(dev);
	swdev_remapper(iommu)->fail = 0;
	dev = disk_behind(iommu, 0x18, 0);
	write_and_read(dev);
	pull_out(dev);
	pull_out(iommu);
}

/* One that does not obey the platform is in a bypass domain, after a reset of the IOMMU, too, and until its place is another's. */
static void passes(void **state)
{
	struct swdev *iommu = plug_iommu(0), *other = disk_behind(iommu, 0x20, 0), *dev = swdev_new(&swdev_blk);
	const struct swdev_remapper *map = swdev_remapper(iommu);

	(void)state;
	swdev_disk_resize(dev, SECTORS);
	dev->dma.has_endpoint = true;
	dev->dma.endpoint = 0x18;
	plug(dev);
	assert_null(dev->vdev->dma.ops);
	assert_true(map->bypass && map->domain[1] == map->bypass && map->domain[2] != map->bypass);
	assert_int_equal(device_find(iommu->vdev->name)->reset(device_find(iommu->vdev->name)), 0);
	assert_true(map->domain[1] == map->bypass);
	assert_int_equal(iommu_find(NULL)->endpoints, 1);
	write_and_read(dev);
	write_and_read(other);
	pull_out(dev);
	dev = disk_behind(iommu, 0x18, 0);
	assert_true(map->domain[1] && map->domain[1] != map->bypass);
	assert_int_equal(device_find(iommu->vdev->name)->reset(device_find(iommu->vdev->name)), 0);
	assert_true(map->domain[1] && map->domain[1] != map->bypass);
	write_and_read(dev);
	pull_out(dev);
	pull_out(other);
	pull_out(iommu);
}

static void faults(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = disk_behind(iommu, 0x18, 0);
	struct iommu_device *seen = iommu_find(NULL);

	(void)state;
	swdev_fault(iommu, 2, 0x18, 0x123456, 0x102 | 0x40000, 0); /* an undefined flag: to be ignored */
	loop_sleep(1000000);
	assert_int_equal(seen->faults, 1);
	assert_true(seen->last_fault.mapping && seen->last_fault.write && seen->last_fault.has_address);
	assert_int_equal(seen->last_fault.address, 0x123456);
	assert_int_equal(seen->last_fault.endpoint, 0x18);
	swdev_fault(iommu, 2, 0x18, 0x99, 0x102, 1); /* reserved is not zero */
	loop_sleep(1000000);
	assert_int_equal(seen->faults, 1);
	swdev_fault(iommu, 200, 0x10, 0x99, 1, 0); /* an unknown reason */
	loop_sleep(1000000);
	assert_int_equal(seen->faults, 2);
	assert_false(seen->last_fault.mapping || seen->last_fault.write || seen->last_fault.has_address);
	assert_int_equal(count_in(host_console_text(), "was refused a"), 2);

	/* What is not mapped is not reached. */
	dev->quiet = true;
	seen->spoil = true;
	assert_int_not_equal(block_io(block_find(dev->vdev->name), BLOCK_READ, 0, memory, 512), 0);
	assert_int_equal(seen->faults, 3);
	assert_true(dev->violations > 0); /* as the device sees it */
	dev->violations = 0;
	write_and_read(dev);
	pull_out(dev);
	pull_out(iommu);
}

/* A reset of the IOMMU forgets everything; it is all there again before a device behind it notices. */
static void resets(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = disk_behind(iommu, 0x10, 0);
	unsigned mapped = swdev_remapper(iommu)->mapped;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(device_find(iommu->vdev->name)->reset(device_find(iommu->vdev->name)), 0);
		assert_int_equal(swdev_remapper(iommu)->mapped, mapped);
		write_and_read(dev);
	}
	assert_int_equal(device_find(iommu->vdev->name)->rebind(device_find(iommu->vdev->name)), 0);
	assert_int_equal(swdev_remapper(iommu)->mapped, mapped);
	assert_int_equal(iommu_find(NULL)->endpoints, 1);
	write_and_read(dev);
	pull_out(dev);
	assert_int_equal(iommu_find(NULL)->mapped, 0);
	pull_out(iommu);
}

/* Gone for good: what is behind it is cut off, ends its requests in errors, and goes in peace. */
static void gone(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = disk_behind(iommu, 0x10, 0);
	uint64_t before = page_count_free();

	(void)state;
	pull_out(iommu);
	assert_null(iommu_find(NULL));
	dev->quiet = true;
	dev->violations = 0;
	(void)device_find(dev->vdev->name)->reset(device_find(dev->vdev->name));
	dev->violations = 0;
	pull_out(dev);
	assert_true(page_count_free() >= before);
	iommu = plug_iommu(0);
	dev = disk_behind(iommu, 0x10, 0);
	write_and_read(dev);
	pull_out(dev);
	pull_out(iommu);
}

/* It comes back with smaller pages, in which all that was is mapped again; with larger ones, in which it cannot be. */
static void other_pages(void **state)
{
	struct swdev *iommu = swdev_new(&swdev_iommu), *dev;
	unsigned mapped;

	(void)state;
	host_console_capture(true);
	put64(iommu->config, ~UINT64_C(0x3fff));
	plug(iommu);
	dev = disk_behind(iommu, 0x10, 0);
	mapped = swdev_remapper(iommu)->mapped;
	put64(iommu->config, ~UINT64_C(0xfff));
	assert_int_equal(device_find(iommu->vdev->name)->rebind(device_find(iommu->vdev->name)), 0);
	assert_int_equal(swdev_remapper(iommu)->mapped, mapped);
	write_and_read(dev);
	put64(iommu->config, ~UINT64_C(0xffff));
	assert_int_equal(device_find(iommu->vdev->name)->rebind(device_find(iommu->vdev->name)), 0);
	assert_int_equal(count_in(host_console_text(), "endpoint 0x10 is cut off"), 1);
	dev->quiet = true;
	assert_int_not_equal(block_io(block_find(dev->vdev->name), BLOCK_READ, 0, memory, 512), 0);
	dev->violations = 0;
	pull_out(dev);
	pull_out(iommu);
}

/* What is let go while there is none is not mapped by the next one. */
static void let_go_meanwhile(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = disk_behind(iommu, 0x10, 0);
	unsigned mapped = swdev_remapper(iommu)->mapped;
	dma_addr_t address = dma_map(&dev->vdev->dma, memory, 512, DMA_TO_DEVICE);

	(void)state;
	assert_true(address != DMA_ERROR);
	assert_int_equal(swdev_remapper(iommu)->mapped, mapped + 1);
	dev->quiet = true;
	pull_out(iommu);
	dma_unmap(&dev->vdev->dma, address, 512, DMA_TO_DEVICE);
	iommu = plug_iommu(0);
	swdev_behind(dev, iommu, 0x10);
	assert_int_equal(swdev_remapper(iommu)->mapped, mapped);
	dev->violations = 0;
	pull_out(dev);
	pull_out(iommu);
}

/* It answers no more: the mapping fails, bounded in time; a reset makes it well. */
static void silent(void **state)
{
	struct swdev *iommu = plug_iommu(0), *dev = disk_behind(iommu, 0x10, 0);

	(void)state;
	iommu->dead = true;
	assert_int_equal(dma_map(&dev->vdev->dma, memory, 512, DMA_TO_DEVICE), DMA_ERROR);
	assert_int_equal(count_in(host_console_text(), "no answer"), 1);
	iommu->dead = false;
	loop_sleep(1000000);
	assert_int_equal(count_in(host_console_text(), "iommu0: reset, works again"), 1);
	write_and_read(dev);
	pull_out(dev);
	pull_out(iommu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data),   cmocka_unit_test(whose),       cmocka_unit_test(passes),
		cmocka_unit_test(faults), cmocka_unit_test(resets),      cmocka_unit_test(gone),
		cmocka_unit_test(silent), cmocka_unit_test(other_pages), cmocka_unit_test(let_go_meanwhile),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(1u << 20, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
