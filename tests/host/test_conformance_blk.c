/*
 * Driver requirements of "Block Device" that test_blk.c does not check by the way. Each test names the section.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

#define MEMORY (1u << 20)
static uint8_t *memory;

/* swdev_blk, its configuration watched. */
static struct swdev_type watched;
static unsigned config_writes;

static void watch_config(struct swdev *dev, uint32_t offset)
{
	(void)dev, (void)offset;
	config_writes++;
}

static struct swdev *disk(void)
{
	watched = swdev_blk;
	watched.config_written = watch_config;
	config_writes = 0;
	return swdev_new(&watched);
}

static struct block_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	struct block_device *device;

	plug_in(dev, front);
	device = block_find(dev->vdev->name);
	assert_non_null(device);
	return device;
}

/* ---- "Device Initialization" ---- */

/* Neither FLUSH nor CONFIG_WCE: a writethrough cache, nothing is to be flushed. FLUSH alone: SHOULD assume a writeback cache. With both,
 * MUST NOT read writeback before FEATURES_OK (swdev_blk looks after that), and the mode stays as the device has it. */
static void cache_modes(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};
	static const struct {
		uint64_t offered, accepted;
		unsigned flushes;
	} cases[] = {
		{0, 0, 0},
		{FEATURE(BLK_F_FLUSH), FEATURE(BLK_F_FLUSH), 1},
		{FEATURE(BLK_F_CONFIG_WCE), 0, 0},
		{FEATURE(BLK_F_CONFIG_WCE) | FEATURE(BLK_F_FLUSH), FEATURE(BLK_F_CONFIG_WCE) | FEATURE(BLK_F_FLUSH), 1},
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(fronts) * ARRAY_SIZE(cases); i++) {
		unsigned c = i % ARRAY_SIZE(cases);
		struct swdev *dev = disk();
		struct block_device *device;

		dev->config[32] = i & 4 ? 1 : 0; /* writeback */
		dev->offered = FEATURE(F_VERSION_1) | cases[c].offered;
		device = plug(dev, fronts[i / 2 / ARRAY_SIZE(cases)]);
		assert_int_equal(dev->accepted, FEATURE(F_VERSION_1) | cases[c].accepted);
		assert_int_equal(device->can_flush, cases[c].flushes);
		assert_int_equal(block_io(device, BLOCK_WRITE, 0, memory, 4096), 0);
		assert_int_equal(block_io(device, BLOCK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(swdev_disk(dev)->flushes, cases[c].flushes);
		assert_int_equal(config_writes, 0);
		pull_out(dev);
	}
}

/* ---- "Device Operation" ---- */

/* MUST set sector to 0 for a flush, SHOULD NOT include any data: whatever the caller put there. */
static void flush_is_bare(void **state)
{
	struct swdev *dev = disk();
	struct block_device *device = plug(dev, &swdev_direct);

	(void)state;
	assert_int_equal(block_io(device, BLOCK_FLUSH, 77, memory, 4096), 0);
	assert_int_equal(block_io(device, BLOCK_FLUSH, UINT64_MAX, memory, 20), 0);
	assert_int_equal(swdev_disk(dev)->flushes, 2);
	pull_out(dev);
}

static bool over;

static void note_end(struct block_request *request)
{
	(void)request;
	over = true;
}

/* MUST NOT submit a request beyond capacity: not even the rest of one that was within it when its first part went. */
static void capacity_shrinks_under_a_request(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct swdev *dev = disk();
		struct block_device *device;
		struct dma_buf segment = {memory, MEMORY};
		struct block_request request = {.op = i ? BLOCK_WRITE : BLOCK_READ, .segments = &segment, .segment_count = 1};

		request.done = note_end;
		put32(dev->config + 8, 16384); /* so that a part is 16 KiB, */
		put32(dev->config + 12, 1);
		dev->offered &= ~FEATURE(F_INDIRECT_DESC);
		dev->queues[0].max = 4; /* and one at a time is under way */
		dev->dead = true;
		device = plug(dev, &swdev_direct);
		assert_int_equal(device->capacity, MEMORY / 512);
		over = false;
		block_submit(device, &request);
		swdev_disk_resize(dev, 1000);
		loop_sleep(1000000);
		dev->dead = false;
		for (unsigned turns = 0; turns < 1000 && !over; turns++)
			loop_sleep(1000000);
		assert_true(over);
		assert_int_equal(request.status, -ERANGE);
		assert_int_equal(swdev_disk(dev)->writes + swdev_disk(dev)->reads, 1000 / 32);
		pull_out(dev);
	}
}

/* The length of data MUST be a multiple of 512 bytes for reads and writes, however the caller's memory is cut: no whole number of
 * pieces makes a block here, and no piece is one. MUST be 20 bytes for GET_ID. */
static void data_is_whole_sectors(void **state)
{
	struct swdev *dev = disk();
	struct block_device *device;
	struct dma_buf segments[64];
	struct block_request request;
	unsigned count = 0;

	(void)state;
	put32(dev->config + 8, 700);
	put32(dev->config + 12, 3);
	device = plug(dev, &swdev_direct);
	for (uint32_t at = 0, length; at < 10240; at += length, count++) {
		length = MIN(1 + count * 13, 10240 - at);
		segments[count] = (struct dma_buf){memory + at, length};
	}
	for (unsigned i = 0; i < 2; i++) {
		request = (struct block_request){.op = i ? BLOCK_READ : BLOCK_WRITE,
		                                 .segments = segments,
		                                 .segment_count = count,
		                                 .done = note_end};
		over = false;
		block_submit(device, &request);
		for (unsigned turns = 0; turns < 1000 && !over; turns++)
			loop_sleep(1000000);
		assert_true(over);
		assert_int_equal(request.status, 0);
	}
	assert_int_equal(block_io(device, BLOCK_WRITE, 0, memory, 700), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 512 + 511), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_GET_ID, 0, memory, 20), 0);
	assert_int_equal(block_io(device, BLOCK_GET_ID, 0, memory, 21), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_GET_ID, 0, memory, 512), -EINVAL);
	assert_int_equal(swdev_disk(dev)->ids, 1);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cache_modes),
		cmocka_unit_test(flush_is_bare),
		cmocka_unit_test(capacity_shrinks_under_a_request),
		cmocka_unit_test(data_is_whole_sectors),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
