/*
 * Disks of zones: reports, states, appends, and the cuts that a zone makes; the device checks each request by the rules of its zones.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

#include <apps/zone_trial.h>

#define MEMORY (1u << 20)
static uint8_t *memory;

/* 16 zones of 256 sectors, 2 of them conventional, and half a one. */
static struct swdev *disk(uint8_t model)
{
	struct swdev *dev = swdev_new(&swdev_blk);

	swdev_disk_resize(dev, 16 * 256 + 128);
	swdev_disk_zone(dev, model, 256, 2);
	return dev;
}

static struct block_device *plug(struct swdev *dev)
{
	struct block_device *device;

	plug_in(dev, &swdev_direct);
	device = block_find(dev->vdev->name);
	assert_non_null(device);
	return device;
}

static unsigned state_of(struct swdev *dev, unsigned zone) { return swdev_disk(dev)->zones->zones[zone].state; }

static void limits(void **state)
{
	(void)state;
	for (uint8_t model = 1; model <= 2; model++) {
		struct swdev *dev = disk(model);
		struct block_device *device;

		put32(dev->config + 76, 5);
		put32(dev->config + 80, 7);
		device = plug(dev);
		assert_true(dev->accepted & FEATURE(BLK_F_ZONED));
		assert_int_equal(device->zones.model, model);
		assert_int_equal(device->zones.sectors, 256);
		assert_int_equal(device->zones.open_max, 5);
		assert_int_equal(device->zones.active_max, 7);
		assert_int_equal(device->zones.append_sectors, 64);
		assert_int_equal(device->zones.granularity, 4096);
		pull_out(dev);
	}
}

/* Of a model unknown: refused. Managed by itself, or without the feature: a disk as others. */
static void models(void **state)
{
	struct swdev *dev = disk(3);

	(void)state;
	host_console_capture(true);
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_false(dev->status & ST_DRIVER_OK);
	pull_out(dev);
	for (unsigned i = 0; i < 2; i++) {
		struct block_zone zone;
		struct block_device *device;

		dev = disk(0);
		if (i)
			dev->offered &= ~FEATURE(BLK_F_ZONED);
		device = plug(dev);
		assert_int_equal(device->zones.model, BLOCK_NO_ZONES);
		assert_int_equal(block_zone_report(device, 0, &zone, 1), -ENOTSUP);
		assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET_ALL, 0), -ENOTSUP);
		assert_int_equal(block_zone_append(device, &(uint64_t){512}, memory, 4096), -ENOTSUP);
		pull_out(dev);
	}
}

static void reports(void **state)
{
	static const uint32_t segment_bytes[] = {65536, 512, 256};
	struct block_zone zones[20];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(segment_bytes); i++) {
		struct swdev *dev = disk(1);
		struct block_device *device;

		put32(dev->config + 8, segment_bytes[i]); /* size_max: less than the whole report takes */
		if (segment_bytes[i] == 256)
			put32(dev->config + 12, 8);
		device = plug(dev);
		assert_int_equal(block_zone_report(device, 0, zones, ARRAY_SIZE(zones)), 17);
		for (unsigned z = 0; z < 17; z++) {
			assert_int_equal(zones[z].start, 256 * z);
			assert_int_equal(zones[z].capacity, z < 16 ? 256 : 120);
			assert_int_equal(zones[z].type, z < 2 ? BLOCK_ZONE_CONVENTIONAL : BLOCK_ZONE_SEQUENTIAL);
			assert_int_equal(zones[z].state, z < 2 ? BLOCK_ZONE_NO_POINTER : BLOCK_ZONE_EMPTY);
		}
		assert_int_equal(block_zone_report(device, 5 * 256 + 77, zones, 3), 3); /* a sector within */
		assert_int_equal(zones[0].start, 5 * 256);
		assert_int_equal(block_zone_report(device, device->capacity, zones, 3), -ERANGE);
		pull_out(dev);
	}
}

/* Reports that cannot be. */
static void false_reports(void **state)
{
	struct swdev *dev = disk(1);
	struct block_device *device = plug(dev);
	struct swdev_zones *told = swdev_disk(dev)->zones;
	struct block_zone zones[4];

	(void)state;
	told->count_lie = 1;
	assert_int_equal(block_zone_report(device, 0, zones, 4), -EIO);
	told->count_lie = UINT64_MAX - 3; /* none */
	assert_int_equal(block_zone_report(device, 0, zones, 4), -EIO);
	told->count_lie = 1ull << 40;
	assert_int_equal(block_zone_report(device, 0, zones, 4), -EIO);
	told->count_lie = 0;
	told->start_lie = 256;
	assert_int_equal(block_zone_report(device, 0, zones, 4), -EIO);
	told->start_lie = 1;
	assert_int_equal(block_zone_report(device, 0, zones, 4), -EIO);
	told->start_lie = 0;
	told->pointer_lie = 257;
	assert_int_equal(block_zone_report(device, 512, zones, 4), -EIO);
	told->pointer_lie = UINT64_MAX;
	assert_int_equal(block_zone_report(device, 512, zones, 4), -EIO);
	told->pointer_lie = 0;
	told->type_lie = 2;
	assert_int_equal(block_zone_report(device, 512, zones, 4), -EIO);
	told->type_lie = 0;
	assert_int_equal(block_zone_report(device, 512, zones, 4), 4);
	pull_out(dev);
}

static void states(void **state)
{
	struct swdev *dev = disk(1);
	struct block_device *device = plug(dev);

	(void)state;
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 512), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_EXPLICITLY_OPEN);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_CLOSE, 512), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_EMPTY);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_CLOSE, 512), -EINVAL);
	assert_int_equal(block_io(device, BLOCK_WRITE, 512, memory, 4096), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_IMPLICITLY_OPEN);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_CLOSE, 512), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_CLOSED);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_FINISH, 512), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_FULL);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 512), -EINVAL);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_FINISH, 768), 0);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET, 512), 0);
	assert_int_equal(state_of(dev, 2), BLOCK_ZONE_EMPTY);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET_ALL, 0), 0);
	assert_int_equal(state_of(dev, 3), BLOCK_ZONE_EMPTY);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET, 0), -EINVAL); /* conventional: the device says so */
	/* What is no zone's first sector never goes out. */
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET, 513), -EINVAL);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 17 * 256), -ERANGE);
	assert_int_equal(block_io(device, BLOCK_ZONE_OPEN, 512, memory, 512), -EINVAL);
	pull_out(dev);
}

/* Resources of the device, whose limits its answers tell. */
static void resources(void **state)
{
	struct swdev *dev = disk(1);
	struct block_device *device;

	(void)state;
	put32(dev->config + 76, 2);
	put32(dev->config + 80, 3);
	device = plug(dev);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 2 * 256), 0);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 3 * 256), 0);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_OPEN, 4 * 256), -EMFILE);
	assert_int_equal(block_io(device, BLOCK_WRITE, 2 * 256, memory, 4096), 0);
	assert_int_equal(block_io(device, BLOCK_WRITE, 3 * 256, memory, 4096), 0);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_CLOSE, 2 * 256), 0);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_CLOSE, 3 * 256), 0);
	assert_int_equal(block_io(device, BLOCK_WRITE, 4 * 256, memory, 4096), 0);
	assert_int_equal(block_io(device, BLOCK_WRITE, 5 * 256, memory, 4096), -EMFILE);
	pull_out(dev);
}

static void fill(void)
{
	for (unsigned i = 0; i < MEMORY; i++)
		memory[i] = (uint8_t)(i * 11 + i / 512);
}

/* A write of three zones is cut where they end, and carried out part after part, whatever the device's order; a read is cut, too. */
static void writes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = disk(1);
		struct block_device *device;

		dev->order = SWDEV_RANDOM;
		dev->offered |= i % 2 ? FEATURE(F_RING_PACKED) : 0;
		put32(dev->config + 8, i < 2 ? 65536 : 4096);
		put32(dev->config + 12, i < 2 ? 126 : 3); /* many parts */
		device = plug(dev);
		fill();
		assert_int_equal(block_io(device, BLOCK_WRITE, 3 * 256, memory, 3 * 256 * 512), 0);
		assert_memory_equal(swdev_disk(dev)->bytes + 3 * 256 * 512, memory, 3 * 256 * 512);
		for (unsigned z = 3; z < 6; z++)
			assert_int_equal(state_of(dev, z), BLOCK_ZONE_FULL);
		memset(memory, 0, 3 * 256 * 512);
		assert_int_equal(block_io(device, BLOCK_READ, 3 * 256 - 8, memory, 3 * 256 * 512 + 4096), 0);
		assert_memory_equal(swdev_disk(dev)->bytes + 3 * 256 * 512, memory + 4096, 3 * 256 * 512);
		/* Not where the zone is written next; what it does not hold; half a unit. */
		assert_int_equal(block_io(device, BLOCK_WRITE, 6 * 256 + 8, memory, 4096), -ESPIPE);
		assert_int_equal(block_io(device, BLOCK_WRITE, 16 * 256, memory, 128 * 512), -EINVAL);
		assert_int_equal(block_io(device, BLOCK_WRITE, 6 * 256, memory, 512), -EINVAL);
		assert_int_equal(block_io(device, BLOCK_WRITE, 6 * 256 + 1, memory, 4096), -EINVAL);
		/* In conventional zones anywhere. */
		assert_int_equal(block_io(device, BLOCK_WRITE, 8, memory, 4096), 0);
		pull_out(dev);
	}
}

static unsigned ended;

static void append_done(struct block_request *request)
{
	assert_int_equal(request->status, 0);
	ended++;
}

static void appends(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = disk(1);
		struct block_request requests[8];
		struct dma_buf pieces[8][2];
		struct block_device *device;
		uint64_t sector = 7 * 256;
		bool seen[8] = {0};

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		dev->order = SWDEV_RANDOM;
		device = plug(dev);
		fill();
		assert_int_equal(block_zone_append(device, &sector, memory, 8192), 0);
		assert_int_equal(sector, 7 * 256);
		sector = 7 * 256;
		assert_int_equal(block_zone_append(device, &sector, memory + 8192, 4096), 0);
		assert_int_equal(sector, 7 * 256 + 16);
		assert_memory_equal(swdev_disk(dev)->bytes + 7 * 256 * 512, memory, 12288);
		/* Many at once: each has its place, and its data there. */
		ended = 0;
		for (unsigned i = 0; i < 8; i++) {
			pieces[i][0] = (struct dma_buf){memory + 4096 * i, 1000};
			pieces[i][1] = (struct dma_buf){memory + 4096 * i + 1000, 3096};
			requests[i] = (struct block_request){.op = BLOCK_ZONE_APPEND,
			                                     .sector = 8 * 256,
			                                     .segments = pieces[i],
			                                     .segment_count = 2,
			                                     .done = append_done};
			block_submit(device, &requests[i]);
		}
		loop_sleep(10000000);
		assert_int_equal(ended, 8);
		for (unsigned i = 0; i < 8; i++) {
			unsigned place = (unsigned)(requests[i].sector - 8 * 256) / 8;

			assert_true(place < 8 && !seen[place]);
			seen[place] = true;
			assert_memory_equal(swdev_disk(dev)->bytes + requests[i].sector * 512, memory + 4096 * i, 4096);
		}
		sector = 0;
		assert_int_equal(block_zone_append(device, &sector, memory, 4096), -EINVAL); /* conventional */
		sector = 9 * 256 + 8;
		assert_int_equal(block_zone_append(device, &sector, memory, 4096), -EINVAL);
		sector = 9 * 256;
		assert_int_equal(block_zone_append(device, &sector, memory, 512), -EINVAL);
		assert_int_equal(block_zone_append(device, &sector, memory, 65 * 512), -EINVAL);
		assert_int_equal(block_zone_append(device, &sector, memory, 65 * 8 * 512), -EINVAL);
		assert_int_equal(sector, 9 * 256);
		/* Where it cannot lie. */
		swdev_disk(dev)->zones->append_lie = 256;
		assert_int_equal(block_zone_append(device, &sector, memory, 4096), -EIO);
		swdev_disk(dev)->zones->append_lie = UINT64_MAX - 255;
		assert_int_equal(block_zone_append(device, &sector, memory, 4096), -EIO);
		pull_out(dev);
	}
}

/* A queue reset ends an append, which might have been carried out: once more would be twice. A write goes out again. */
static void note_end(struct block_request *request)
{
	(void)request;
	ended++;
}

static void append_and_queue_reset(void **state)
{
	struct swdev *dev = disk(1);
	struct dma_buf piece = {memory, 4096};
	struct block_request requests[] = {{.op = BLOCK_ZONE_APPEND, .sector = 512}, {.op = BLOCK_WRITE, .sector = 768}};
	struct block_device *device;
	struct device_info *info;

	(void)state;
	dev->offered |= FEATURE(F_RING_RESET);
	device = plug(dev);
	info = device_find(dev->vdev->name);
	dev->dead = true;
	ended = 0;
	for (unsigned i = 0; i < 2; i++) {
		requests[i].segments = &piece;
		requests[i].segment_count = 1;
		requests[i].done = note_end;
		block_submit(device, &requests[i]);
	}
	loop_sleep(1000000);
	assert_int_equal(ended, 0);
	dev->dead = false;
	assert_int_equal(info->reset_queue(info, 0), 0);
	loop_sleep(1000000);
	assert_int_equal(ended, 2);
	assert_int_equal(requests[0].status, -EIO);
	assert_int_equal(requests[1].status, 0);
	assert_int_equal(swdev_disk(dev)->zones->appends, 0);
	pull_out(dev);
}

static void erases(void **state)
{
	struct swdev *dev = disk(1);
	struct block_device *device;

	(void)state;
	dev->offered |= FEATURE(BLK_F_SECURE_ERASE) | FEATURE(BLK_F_DISCARD);
	put32(dev->config + 60, 600); /* two zones, and a bit, which is of no use */
	put32(dev->config + 68, 256);
	device = plug(dev);
	assert_false(dev->accepted & FEATURE(BLK_F_DISCARD));
	fill();
	assert_int_equal(block_io(device, BLOCK_WRITE, 2 * 256, memory, 4 * 256 * 512), 0);
	assert_int_equal(block_range(device, BLOCK_SECURE_ERASE, 2 * 256, 128), -EINVAL);
	assert_int_equal(block_range(device, BLOCK_SECURE_ERASE, 2 * 256 + 8, 256), -EINVAL);
	assert_int_equal(block_range(device, BLOCK_SECURE_ERASE, 2 * 256, 3 * 256), 0);
	assert_int_equal(swdev_disk(dev)->ranges, 2);
	for (unsigned z = 2; z < 6; z++)
		assert_int_equal(state_of(dev, z), z < 5 ? BLOCK_ZONE_EMPTY : BLOCK_ZONE_FULL);
	pull_out(dev);
}

static void read_only(void **state)
{
	struct swdev *dev = disk(1);
	struct block_device *device;
	struct block_zone zone;

	(void)state;
	dev->offered |= FEATURE(BLK_F_RO);
	device = plug(dev);
	assert_int_equal(block_zone_report(device, 0, &zone, 1), 1);
	assert_int_equal(block_zone_do(device, BLOCK_ZONE_RESET, 512), -EROFS);
	assert_int_equal(block_zone_append(device, &(uint64_t){512}, memory, 4096), -EROFS);
	pull_out(dev);
}

/* Host-aware zones are written anywhere, too. */
static void preferred(void **state)
{
	struct swdev *dev = disk(2);
	struct block_device *device = plug(dev);

	(void)state;
	assert_int_equal(block_io(device, BLOCK_WRITE, 6 * 256 + 80, memory, 4096), 0);
	assert_int_equal(block_io(device, BLOCK_WRITE, 6 * 256, memory, 4096), 0);
	assert_int_equal(swdev_disk(dev)->zones->zones[6].pointer, 6 * 256 + 8);
	pull_out(dev);
}

/* What selftest does to a zone. */
static void trial(void **state)
{
	(void)state;
	for (uint8_t model = 1; model <= 2; model++) {
		struct swdev *dev = disk(model);
		struct block_device *device = plug(dev);
		struct block_zone zone;
		const char *failed;
		int error;

		for (unsigned z = 2; z < 16; z++)
			assert_int_equal(block_zone_do(device, BLOCK_ZONE_FINISH, 256 * z), 0);
		assert_int_equal(zone_find_empty(device, &zone), 0);
		assert_int_equal(zone.start, 16 * 256);
		failed = zone_trial(device, &zone, memory, &error);
		if (failed)
			fail_msg("%s: %d", failed, error);
		assert_int_equal(swdev_disk(dev)->zones->appends, model == 1);
		assert_int_equal(state_of(dev, 16), BLOCK_ZONE_EMPTY);
		assert_int_equal(swdev_disk(dev)->zones->resets, 1);
		assert_string_equal(zone_trial(device, &(struct block_zone){.start = 0}, memory, &error), "open");
		assert_int_equal(error, -EINVAL);
		assert_int_equal(block_zone_do(device, BLOCK_ZONE_FINISH, 16 * 256), 0);
		assert_int_equal(zone_find_empty(device, &zone), -ENOENT);
		pull_out(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits),        cmocka_unit_test(models),    cmocka_unit_test(reports),
		cmocka_unit_test(false_reports), cmocka_unit_test(states),    cmocka_unit_test(resources),
		cmocka_unit_test(writes),        cmocka_unit_test(appends),   cmocka_unit_test(append_and_queue_reset),
		cmocka_unit_test(erases),        cmocka_unit_test(read_only), cmocka_unit_test(preferred),
		cmocka_unit_test(trial),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
