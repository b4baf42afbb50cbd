/*
 * The block driver and class against a memory disk: data, limits, errors, capacity.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <class/device.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

static uint8_t *memory; /* 1 MiB of it */
#define MEMORY (1u << 20)
#define SECTORS 4096u

static struct swdev *plug(struct swdev *dev)
{
	plug_in(dev, &swdev_direct);
	return dev;
}

static struct swdev *disk(void)
{
	struct swdev *dev = swdev_new(&swdev_blk);

	swdev_disk_resize(dev, SECTORS);
	return dev;
}

static struct block_device *block_of(const struct swdev *dev)
{
	struct block_device *device = block_find(dev->vdev->name);

	assert_non_null(device);
	return device;
}

static uint64_t random_state = 99;
static uint32_t draw(void) { return (uint32_t)next_random(&random_state); }

static void noise(uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(draw() >> 11);
}

/* ---- data ---- */

static void whole_disk(void **state)
{
	static const enum swdev_order orders[] = {SWDEV_FIFO, SWDEV_LIFO, SWDEV_RANDOM};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct swdev *dev = disk();
		struct block_device *device;

		dev->order = orders[i % 3];
		dev->offered |= i >= 3 ? FEATURE(F_RING_PACKED) : 0;
		device = block_of(plug(dev));
		assert_int_equal(device->capacity, SECTORS);
		for (unsigned half = 0; half < 2; half++) {
			noise(memory, MEMORY);
			assert_int_equal(block_io(device, BLOCK_WRITE, half * (MEMORY / 512), memory, MEMORY), 0);
			assert_memory_equal(swdev_disk(dev)->bytes + half * MEMORY, memory, MEMORY);
			memset(memory, 0, MEMORY);
			assert_int_equal(block_io(device, BLOCK_READ, half * (MEMORY / 512), memory, MEMORY), 0);
			assert_memory_equal(swdev_disk(dev)->bytes + half * MEMORY, memory, MEMORY);
		}
		pull_out(dev);
	}
}

#define DEPTH 40u

struct operation {
	struct block_request request;
	struct dma_buf segments[70];
	uint8_t *memory;
	uint32_t bytes;
	unsigned slot, ended;
	bool busy;
};

static struct operation operations[DEPTH];
static uint8_t *shadow; /* what the disk shall be; a region per slot, so that requests in flight never overlap */
static unsigned ended;

static void operation_done(struct block_request *request)
{
	struct operation *op = request->context;

	assert_true(op->busy);
	assert_int_equal(request->status, 0);
	if (request->op == BLOCK_READ)
		assert_memory_equal(op->memory, shadow + request->sector * 512, op->bytes);
	op->busy = false;
	ended++;
}

/* Cut `bytes` of memory at random places. */
static unsigned cut(struct operation *op)
{
	unsigned count = 0;
	uint32_t at = 0;

	while (at < op->bytes) {
		uint32_t length = count + 1 == ARRAY_SIZE(op->segments) ? op->bytes - at : 1 + draw() % 1500;

		length = length > op->bytes - at ? op->bytes - at : length;
		op->segments[count++] = (struct dma_buf){op->memory + at, length};
		at += length;
	}
	return count;
}

static void random_operations(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct swdev *dev = disk();
		struct block_device *device;
		unsigned submitted = 0;

		dev->order = SWDEV_RANDOM;
		dev->budget = variant & 1 ? 3 : 0;
		dev->offered &= variant & 2 ? ~FEATURE(F_INDIRECT_DESC) : ~FEATURE(F_EVENT_IDX);
		dev->offered |= variant & 4 ? FEATURE(F_RING_PACKED) : 0;
		dev->queues[0].max = variant & 1 ? 8 : 256;
		device = block_of(plug(dev));
		shadow = calloc(SECTORS, 512);
		ended = 0;
		for (unsigned i = 0; i < DEPTH; i++)
			operations[i] = (struct operation){.slot = i, .memory = memory + i * 24000u};
		while (ended < 1500) {
			struct operation *op = &operations[draw() % DEPTH];

			if (op->busy || submitted == 1500) {
				loop_turn(true, UINT64_MAX);
				continue;
			}
			op->bytes = (1 + draw() % 45) * 512;
			op->request = (struct block_request){.op = draw() % 3 ? BLOCK_WRITE : BLOCK_READ,
			                                     .sector = op->slot * 100u + draw() % 50,
			                                     .segments = op->segments,
			                                     .segment_count = cut(op),
			                                     .done = operation_done,
			                                     .context = op};
			if (op->request.op == BLOCK_WRITE) {
				noise(op->memory, op->bytes);
				memcpy(shadow + op->request.sector * 512, op->memory, op->bytes);
			}
			op->busy = true;
			submitted++;
			block_submit(device, &op->request);
		}
		assert_memory_equal(shadow, swdev_disk(dev)->bytes, SECTORS * 512);
		free(shadow);
		pull_out(dev);
	}
}

/* ---- limits ---- */

static void limits_are_kept(void **state)
{
	static const struct {
		uint32_t seg_max, size_max;
	} cases[] = {{4, 8192}, {1, 512}, {1, 65536}, {100, 1000}, {3, 700}, {128, 0}, {0, 4096}, {64, 0}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = disk();

		put32(dev->config + 8, cases[i].size_max);
		put32(dev->config + 12, cases[i].seg_max);
		if (!cases[i].size_max && cases[i].seg_max == 128) /* 0 with the feature is the same */
			dev->offered &= ~FEATURE(BLK_F_SIZE_MAX);
		if (!cases[i].seg_max)
			dev->offered &= ~FEATURE(BLK_F_SEG_MAX);
		plug(dev);
		noise(memory, 300000);
		assert_int_equal(block_io(block_of(dev), BLOCK_WRITE, 8, memory, 512 * 500), 0);
		assert_memory_equal(swdev_disk(dev)->bytes + 8 * 512, memory, 512 * 500);
		if (cases[i].seg_max)
			assert_true(swdev_disk(dev)->max_segments <= cases[i].seg_max);
		if (cases[i].size_max)
			assert_true(swdev_disk(dev)->max_segment_bytes <= cases[i].size_max);
		pull_out(dev);
	}
}

static void queue_sizes(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		for (uint16_t size = 1; size <= 1024; size = (uint16_t)(2 * size)) {
			struct swdev *dev = disk();
			int error;

			dev->queues[0].max = size;
			dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
			host_console_capture(true);
			error = swdev_plug(dev, &swdev_direct);
			if (size < 3) { /* header, data and status do not fit */
				assert_int_not_equal(error, 0);
				assert_non_null(strstr(dev->vdev->reason, "queue size"));
			} else {
				assert_int_equal(error, 0);
				assert_int_equal(block_io(block_of(dev), BLOCK_WRITE, 0, memory, 65536), 0);
				assert_memory_equal(swdev_disk(dev)->bytes, memory, 65536);
			}
			pull_out(dev);
		}
	}
}

/* ---- errors ---- */

static void bad_requests(void **state)
{
	struct swdev *dev = plug(disk());
	struct block_device *device = block_of(dev);

	(void)state;
	assert_int_equal(block_io(device, BLOCK_READ, SECTORS, memory, 512), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_READ, SECTORS - 1, memory, 1024), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_WRITE, UINT64_MAX, memory, 512), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_WRITE, UINT64_MAX / 512, memory, 512), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 511), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_GET_ID, 0, memory, 19), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_READ, SECTORS - 1, memory, 512), 0);
	assert_int_equal(swdev_disk(dev)->reads, 1);
	pull_out(dev);
}

static void device_errors(void **state)
{
	static const struct {
		uint8_t status;
		int error;
	} cases[] = {{BLK_IOERR, -EIO}, {BLK_UNSUPP, -ENOTSUP}, {3, -EIO}, {0xff, -EIO}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = disk();
		struct block_device *device;

		put32(dev->config + 8, 16384); /* so that 1 MiB is 16 parts */
		put32(dev->config + 12, 4);
		device = block_of(plug(dev));
		swdev_disk(dev)->fail = 1;
		swdev_disk(dev)->fail_status = cases[i].status;
		assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 4096), cases[i].error);
		assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 4096), 0);
		swdev_disk(dev)->fail = 1; /* one part of many */
		assert_int_equal(block_io(device, BLOCK_WRITE, 0, memory, MEMORY), cases[i].error);
		assert_int_equal(block_io(device, BLOCK_WRITE, 0, memory, MEMORY), 0);
		assert_string_equal(device_find(dev->vdev->name)->state, "ok"); /* an I/O error is no reason to reset it */
		assert_int_equal(dev->resets, 1);
		pull_out(dev);
	}
}

static void read_only(void **state)
{
	struct swdev *dev = disk();

	(void)state;
	dev->offered |= FEATURE(BLK_F_RO);
	plug(dev);
	assert_true(block_of(dev)->read_only);
	assert_int_equal(block_io(block_of(dev), BLOCK_WRITE, 0, memory, 512), -EROFS);
	assert_int_equal(block_io(block_of(dev), BLOCK_READ, 0, memory, 512), 0);
	assert_int_equal(swdev_disk(dev)->writes, 0);
	pull_out(dev);
}

static void operations_without_data(void **state)
{
	static const struct {
		enum block_op op;
		unsigned feature;
		uint8_t leaves;
	} cases[] = {{BLOCK_DISCARD, BLK_F_DISCARD, 0xd5},
	             {BLOCK_WRITE_ZEROES, BLK_F_WRITE_ZEROES, 0},
	             {BLOCK_SECURE_ERASE, BLK_F_SECURE_ERASE, 0}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = disk();
		struct block_device *device;

		put32(dev->config + 44, 16); /* discard_sector_alignment */
		dev->offered |= FEATURE(cases[i].feature);
		device = block_of(plug(dev));
		memset(memory, 0x77, MEMORY);
		assert_int_equal(block_io(device, BLOCK_WRITE, 0, memory, 256 * 512), 0);
		/* 64 sectors at most in a part; a discard is cut at 16, 80, ... */
		assert_int_equal(block_range(device, cases[i].op, 9, 200), 0);
		assert_int_equal(swdev_disk(dev)->ranges, 4);
		assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 256 * 512), 0);
		for (unsigned k = 0; k < 256 * 512; k++)
			assert_int_equal(memory[k], k / 512 >= 9 && k / 512 < 209 ? cases[i].leaves : 0x77);
		assert_int_equal(block_range(device, cases[i].op, device->capacity - 8, 16), -ERANGE);
		assert_int_equal(block_range(device, cases[i].op, 0, 0), -EINVAL);
		assert_int_equal(block_io(device, cases[i].op, 0, memory, 512), -EINVAL);
		assert_int_equal(block_range(device, cases[(i + 1) % ARRAY_SIZE(cases)].op, 0, 8), -ENOTSUP);
		swdev_disk(dev)->fail = 1;
		swdev_disk(dev)->fail_status = BLK_IOERR;
		assert_int_equal(block_range(device, cases[i].op, 9, 200), -EIO);
		pull_out(dev);
	}
}

/* No segments, or no sectors: as if it were not offered. On a zoned device nothing is discarded. */
static void operations_that_cannot_be(void **state)
{
	struct swdev *dev = disk();

	(void)state;
	dev->offered |= FEATURE(BLK_F_DISCARD) | FEATURE(BLK_F_WRITE_ZEROES) | FEATURE(BLK_F_SECURE_ERASE) | FEATURE(BLK_F_ZONED);
	put32(dev->config + 48, 0);
	put32(dev->config + 64, 0);
	plug(dev);
	assert_false(dev->accepted & FEATURE(BLK_F_DISCARD));
	assert_int_equal(block_range(block_of(dev), BLOCK_DISCARD, 0, 8), -ENOTSUP);
	assert_int_equal(block_range(block_of(dev), BLOCK_WRITE_ZEROES, 0, 8), -ENOTSUP);
	assert_int_equal(block_range(block_of(dev), BLOCK_SECURE_ERASE, 0, 8), -ENOTSUP);
	assert_int_equal(swdev_disk(dev)->ranges, 0);
	pull_out(dev);
}

static void lifetime(void **state)
{
	static const uint8_t expected[BLOCK_LIFETIME_BYTES] = {1, 0, 2, 0, 3, 0};
	struct swdev *dev = plug(disk());

	(void)state;
	assert_int_equal(block_io(block_of(dev), BLOCK_GET_LIFETIME, 0, memory, BLOCK_LIFETIME_BYTES), -ENOTSUP);
	pull_out(dev);
	dev = disk();
	dev->offered |= FEATURE(BLK_F_LIFETIME);
	plug(dev);
	assert_int_equal(block_io(block_of(dev), BLOCK_GET_LIFETIME, 0, memory, BLOCK_LIFETIME_BYTES), 0);
	assert_memory_equal(memory, expected, sizeof(expected));
	pull_out(dev);
}

static void write_cache_switch(void **state)
{
	struct swdev *dev = plug(disk());

	(void)state;
	assert_true(block_of(dev)->writeback); /* it can flush, so there may be something to flush */
	assert_int_equal(block_set_writeback(block_of(dev), false), -ENOTSUP);
	pull_out(dev);
	dev = disk();
	dev->offered |= FEATURE(BLK_F_CONFIG_WCE);
	dev->config[32] = 1;
	plug(dev);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(block_set_writeback(block_of(dev), i % 2), 0);
		assert_int_equal(dev->config[32], i % 2);
		assert_int_equal(block_of(dev)->writeback, i % 2);
	}
	pull_out(dev);
}

/* Polled, the device is not to interrupt; nor is it once the queue was reset. */
static void polling(void **state)
{
	struct swdev *dev = plug(disk());
	uint64_t before = device_find(dev->vdev->name)->interrupts(device_find(dev->vdev->name));

	(void)state;
	assert_int_equal(block_poll(block_of(dev), true), 0);
	loop_turn(false, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(block_io(block_of(dev), BLOCK_READ, i, memory, 512), 0);
	assert_int_equal(device_find(dev->vdev->name)->interrupts(device_find(dev->vdev->name)), before);
	assert_int_equal(block_poll(block_of(dev), false), 0);
	assert_int_equal(block_io(block_of(dev), BLOCK_READ, 0, memory, 512), 0);
	pull_out(dev);
}

static void flush_and_id(void **state)
{
	struct swdev *dev = plug(disk());
	char id[BLOCK_ID_BYTES + 1] = "";

	(void)state;
	assert_true(block_of(dev)->can_flush);
	assert_int_equal(block_io(block_of(dev), BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(swdev_disk(dev)->flushes, 1);
	assert_int_equal(block_io(block_of(dev), BLOCK_GET_ID, 0, memory, BLOCK_ID_BYTES), 0);
	memcpy(id, memory, BLOCK_ID_BYTES);
	assert_string_equal(id, "swdev disk 012345678");
	pull_out(dev);

	dev = disk();
	dev->offered &= ~FEATURE(BLK_F_FLUSH);
	plug(dev);
	assert_false(block_of(dev)->can_flush);
	(void)!block_io(block_of(dev), BLOCK_FLUSH, 0, NULL, 0);
	assert_int_equal(swdev_disk(dev)->flushes, 0); /* it must not be sent */
	pull_out(dev);
}

/* ---- geometry ---- */

static void large_blocks(void **state)
{
	struct swdev *dev = disk();
	struct block_device *device;

	(void)state;
	put32(dev->config + 20, 4096);
	device = block_of(plug(dev));
	assert_int_equal(device->block_size, 4096);
	assert_int_equal(block_io(device, BLOCK_READ, 0, memory, 512), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_READ, 1, memory, 4096), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_READ, 8, memory, 4096), 0);
	pull_out(dev);
}

static void capacity_changes(void **state)
{
	struct swdev *dev = plug(disk());
	struct block_device *device = block_of(dev);

	(void)state;
	swdev_disk_resize(dev, 2 * SECTORS);
	loop_sleep(1000000);
	assert_int_equal(device->capacity, 2 * SECTORS);
	assert_int_equal(block_io(device, BLOCK_WRITE, 2 * SECTORS - 1, memory, 512), 0);
	swdev_disk_resize(dev, 100);
	loop_sleep(1000000);
	assert_int_equal(device->capacity, 100);
	assert_int_equal(block_io(device, BLOCK_WRITE, 100, memory, 512), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_WRITE, 99, memory, 512), 0);
	pull_out(dev);
}

/* Requests of a device that is taken away end, each once. */
static unsigned gone;

static void gone_done(struct block_request *request)
{
	assert_true(request->status == -ENODEV || request->status == -EIO);
	gone++;
}

static void removal_under_load(void **state)
{
	struct swdev *dev = disk();
	struct block_request requests[50];
	struct dma_buf segment = {memory, 65536};

	(void)state;
	dev->dead = true;
	plug(dev);
	gone = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i] =
			(struct block_request){.op = BLOCK_READ, .segments = &segment, .segment_count = 1, .done = gone_done};
		block_submit(block_of(dev), &requests[i]);
	}
	loop_sleep(1000000);
	assert_int_equal(gone, 0);
	pull_out(dev);
	loop_turn(false, 0);
	assert_int_equal(gone, ARRAY_SIZE(requests));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_disk),
		cmocka_unit_test(random_operations),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(queue_sizes),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(device_errors),
		cmocka_unit_test(read_only),
		cmocka_unit_test(flush_and_id),
		cmocka_unit_test(large_blocks),
		cmocka_unit_test(capacity_changes),
		cmocka_unit_test(removal_under_load),
		cmocka_unit_test(operations_without_data),
		cmocka_unit_test(operations_that_cannot_be),
		cmocka_unit_test(lifetime),
		cmocka_unit_test(write_cache_switch),
		cmocka_unit_test(polling),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
