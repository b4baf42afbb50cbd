/*
 * The PMEM driver: bytes that are there at once, and last when a flush has ended well.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/block.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_pmem.h"

#define SECOND UINT64_C(1000000000)

static uint8_t *memory;

static struct swdev_pmem *plug(struct swdev *dev)
{
	plug_in(dev, &swdev_direct);
	return swdev_pmem_state(dev);
}

static void bytes(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_pmem);
		struct swdev_pmem *pmem;
		struct block_device *device;

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		pmem = plug(dev);
		assert_false(virtio_has(dev->vdev, 0)); /* SHMEM_REGION: so start and size count */
		device = block_find(dev->vdev->name);
		assert_int_equal(device->capacity, SWDEV_PMEM_BYTES / 512);
		for (unsigned i = 0; i < 8192; i++)
			memory[i] = (uint8_t)(i * 7 + packed);
		assert_int_equal(block_io(device, BLOCK_WRITE, 100, memory, 8192), 0);
		assert_memory_equal(pmem->memory + 51200, memory, 8192);
		assert_memory_not_equal(pmem->lasting + 51200, memory, 8192);
		assert_int_equal(block_io(device, BLOCK_FLUSH, 0, NULL, 0), 0);
		assert_memory_equal(pmem->lasting + 51200, memory, 8192);
		assert_int_equal(block_io(device, BLOCK_READ, 100, memory + 8192, 8192), 0);
		assert_memory_equal(memory, memory + 8192, 8192);
		assert_int_equal(block_io(device, BLOCK_READ, device->capacity, memory, 512), -ERANGE);
		assert_int_equal(block_io(device, BLOCK_GET_ID, 0, memory, BLOCK_ID_BYTES), -ENOTSUP);
		pmem->fails = true;
		assert_int_equal(block_io(device, BLOCK_FLUSH, 0, NULL, 0), -EIO);
		pmem->fails = false;
		pmem->silent = true;
		assert_int_equal(block_io(device, BLOCK_FLUSH, 0, NULL, 0), -EIO);
		pull_out(dev);
	}
}

static unsigned ended;
static int statuses[40];
static void done(struct block_request *request) { statuses[ended++] = request->status; }

/* More flushes than there is room for; a reset of the queue repeats, one of the device fails what it had, the removal ends all. */
static void flushes(void **state)
{
	struct swdev *dev = swdev_new(&swdev_pmem);
	struct block_request requests[40];
	struct swdev_pmem *pmem;

	(void)state;
	dev->offered |= FEATURE(F_RING_RESET);
	pmem = plug(dev);
	for (unsigned round = 0; round < 3; round++) {
		ended = 0;
		pmem->holds = true;
		for (unsigned i = 0; i < 40; i++) {
			requests[i] = (struct block_request){.op = BLOCK_FLUSH, .done = done};
			block_submit(block_find(dev->vdev->name), &requests[i]);
		}
		loop_sleep(SECOND);
		assert_int_equal(ended, 0);
		if (round == 0)
			assert_int_equal(virtio_queue_reset(dev->vdev, 0), 0);
		else if (round == 1)
			swdev_needs_reset(dev);
		else
			break;
		pmem->holds = false;
		loop_sleep(SECOND);
		assert_int_equal(ended, 40);
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(statuses[i], round && i < 16 ? -EIO : 0);
	}
	pull_out(dev);
	assert_int_equal(ended, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(bytes), cmocka_unit_test(flushes)};

	swdev_machine(64u << 20);
	memory = page_alloc(65536, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
