/*
 * The SCSI host driver: units found, lost and changed, commands of both sizes, errors told apart, commands that stay away.
 */
#include <errno.h>

#include "check_swdev.h"

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/block.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_scsi.h"

#define SECOND UINT64_C(1000000000)
#define MEMORY (2u << 20)

static uint8_t *memory;
static uint64_t free_pages;
static struct swdev *leaving;

static struct swdev *make(void)
{
	struct swdev *dev;

	host_console_capture(true);
	free_pages = page_count_free();
	dev = swdev_new(&swdev_scsi);
	return dev;
}

static struct swdev_unit *plug(struct swdev *dev)
{
	if (swdev_plug(dev, &swdev_direct))
		fail_msg("refused: %s", dev->vdev->reason);
	return &swdev_scsi_state(dev)->units[0];
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_int_equal(page_count_free(), free_pages);
}

static struct block_device *disk(const struct swdev *dev, unsigned target, unsigned lun)
{
	char name[40];

	snprintf(name, sizeof(name), "%s.%u.%u", dev->vdev->name, target, lun);
	return block_find(name);
}

static void fill(size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		memory[i] = (uint8_t)((i + seed) * 0x9e3779b1u >> 21);
}

static void units(void **state)
{
	struct swdev *dev = make();
	struct swdev_unit *big, *disc, *empty;
	unsigned count = 0;

	(void)state;
	swdev_scsi_add(dev, 0, 3, 100, 512);
	swdev_scsi_add(dev, 0, 300, 100, 4096);
	big = swdev_scsi_add(dev, 5, 0, UINT64_C(0x123456789), 512);
	disc = swdev_scsi_add(dev, 7, 0, 1000, 2048);
	disc->type = 5;
	empty = swdev_scsi_add(dev, 7, 1, 1000, 2048);
	empty->type = 5;
	empty->no_medium = true;
	swdev_scsi_add(dev, 7, 2, 1000, 512)->type = 3; /* none of ours */
	swdev_scsi_add(dev, 6, 16383, 8, 512)->write_protected = true;
	plug(dev);
	for (struct block_device *device = block_find(NULL); device; device = block_next(device))
		count++;
	assert_int_equal(count, 6);
	assert_int_equal(disk(dev, 0, 0)->capacity, 2048);
	assert_int_equal(disk(dev, 0, 3)->capacity, 100);
	assert_int_equal(disk(dev, 0, 300)->capacity, 800);
	assert_int_equal(disk(dev, 0, 300)->block_size, 4096);
	assert_int_equal(disk(dev, 5, 0)->capacity, big->blocks);
	assert_int_equal(disk(dev, 7, 0)->capacity, 4000);
	assert_true(disk(dev, 7, 0)->read_only);
	assert_true(disk(dev, 6, 16383)->read_only);
	assert_false(disk(dev, 0, 0)->read_only);
	assert_null(disk(dev, 7, 1));
	assert_false(virtio_has(dev->vdev, 3)); /* T10_PI */
	assert_int_equal(block_io(disk(dev, 5, 0), BLOCK_GET_ID, 0, memory, BLOCK_ID_BYTES), 0);
	assert_string_equal((char *)memory, "5-0");
	unplug(dev);
}

static void data(void **state)
{
	static const uint64_t ways[] = {0, FEATURE(F_RING_PACKED)};

	(void)state;
	for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
		struct swdev *dev = make();
		struct swdev_unit *unit, *big;

		dev->offered |= ways[way];
		big = swdev_scsi_add(dev, 1, 0, UINT64_C(1) << 33, 512);
		unit = plug(dev);
		fill(MEMORY / 2, 1);
		assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_WRITE, 0, memory, MEMORY / 2), 0);
		assert_memory_equal(unit->bytes, memory, MEMORY / 2);
		assert_true(unit->largest > 65536); /* and no more than the limits tell: the unit looks */
		assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory + MEMORY / 2, MEMORY / 2), 0);
		assert_memory_equal(memory, memory + MEMORY / 2, MEMORY / 2);
		assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(unit->syncs, 1);
		assert_int_equal(block_range(disk(dev, 0, 0), BLOCK_DISCARD, 8, 1500), 0);
		assert_int_equal(unit->unmaps, 2);
		memset(memory + 4096, 0, 1500 * 512);
		assert_memory_equal(unit->bytes, memory, MEMORY / 2);
		fill(MEMORY / 2, 1);
		assert_false(swdev_scsi_state(dev)->wide_seen);
		/* Behind 2^32 blocks: 16 bytes of command. */
		assert_int_equal(block_io(disk(dev, 1, 0), BLOCK_WRITE, (UINT64_C(1) << 32) + 65536, memory, 4096), 0);
		assert_true(swdev_scsi_state(dev)->wide_seen);
		assert_memory_equal(big->bytes, memory, 4096);
		assert_int_equal(block_io(disk(dev, 1, 0), BLOCK_WRITE, UINT32_MAX, memory, 1024), 0); /* across */
		unplug(dev);
	}
}

static void errors(void **state)
{
	static const struct {
		uint8_t response, status, key;
		unsigned fail;
		int expected;
	} cases[] = {
		{0, 2, 3, 1, -EIO},    /* medium error */
		{0, 2, 4, 1, -EIO},    /* hardware error */
		{0, 2, 7, 1, -EROFS},  /* data protect */
		{0, 2, 2, 1, -EIO},    /* not ready */
		{0, 2, 11, 3, 0},      /* aborted command: tried again */
		{0, 2, 6, 3, 0},       /* unit attention */
		{0, 2, 11, 99, -EIO},  /* but not for ever */
		{0, 8, 0, 3, 0},       /* busy */
		{0, 0x28, 0, 3, 0},    /* task set full */
		{0, 0x18, 0, 1, -EIO}, /* reservation conflict */
		{5, 0, 0, 3, 0},       /* BUSY */
		{4, 0, 0, 1, 0},       /* RESET, by somebody */
		{7, 0, 0, 1, -EIO},    /* TARGET_FAILURE */
		{9, 0, 0, 1, -EIO},    /* FAILURE */
		{1, 0, 0, 1, -EIO},    /* OVERRUN */
		{77, 0, 0, 1, -EIO},   /* nonsense */
		{0, 0, 0, 1, -EIO},    /* good, but nothing was moved */
	};
	struct swdev *dev = make();
	struct swdev_unit *unit = plug(dev);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		unit->fail = cases[i].fail;
		unit->response = cases[i].response;
		unit->status = cases[i].status;
		unit->key = cases[i].key;
		assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory, 4096), cases[i].expected);
		unit->fail = 0;
		assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory, 4096), 0);
	}
	unplug(dev);
}

static void plugging(void **state)
{
	struct swdev *dev = make();
	struct swdev_unit *unit, *other;

	(void)state;
	unit = plug(dev);
	other = swdev_scsi_add(dev, 3, 2, 77, 512);
	swdev_scsi_event(dev, 1, 3, 2, 1); /* TRANSPORT_RESET, RESCAN */
	loop_sleep(SECOND);
	assert_non_null(disk(dev, 3, 2));
	assert_int_equal(disk(dev, 3, 2)->capacity, 77);
	unit->blocks = 1000;
	swdev_scsi_event(dev, 3, 0, 0, 0x092a); /* PARAM_CHANGE: CAPACITY DATA HAS CHANGED */
	loop_sleep(SECOND);
	assert_int_equal(disk(dev, 0, 0)->capacity, 1000);
	unit->blocks = 2000; /* no event, but an attention */
	unit->attention = 1;
	unit->code = 0x2a;
	unit->qualifier = 9;
	assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory, 512), 0);
	loop_sleep(SECOND);
	assert_int_equal(disk(dev, 0, 0)->capacity, 2000);
	swdev_scsi_remove(dev, other);
	swdev_scsi_event(dev, 1, 3, 2, 2); /* REMOVED */
	loop_sleep(SECOND);
	assert_null(disk(dev, 3, 2));
	swdev_scsi_add(dev, 4, 0, 88, 512);
	swdev_scsi_event(dev, 0x80000000, 0, 0, 0); /* some were missed */
	loop_sleep(SECOND);
	assert_non_null(disk(dev, 4, 0));
	swdev_scsi_remove(dev, unit); /* without a word */
	assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory, 512), -ENODEV);
	loop_sleep(SECOND);
	assert_null(disk(dev, 0, 0));
	unplug(dev);
}

static unsigned ended;
static int ended_status;
static void done(struct block_request *request)
{
	ended++;
	ended_status = request->status;
}

static struct dma_buf segment;
static void submit(struct swdev *dev, struct block_request *request)
{
	segment = (struct dma_buf){memory, 4096};
	*request = (struct block_request){.op = BLOCK_READ, .segments = &segment, .segment_count = 1, .done = done};
	block_submit(disk(dev, 0, 0), request);
}

/* One that does not come back: aborted; when that is of no use, the unit is reset; then the device. Others go on meanwhile. */
static void staying_away(void **state)
{
	(void)state;
	for (unsigned deaf = 0; deaf < 3; deaf++) {
		struct swdev *dev = make();
		struct swdev_unit *unit, *other;
		struct block_request request;

		other = swdev_scsi_add(dev, 1, 0, 1000, 512);
		unit = plug(dev);
		ended = 0;
		unit->holds = true;
		unit->deaf = deaf > 0;
		if (deaf == 2)
			dev->queues[0].max = 256;
		submit(dev, &request);
		loop_sleep(20 * SECOND);
		assert_int_equal(ended, 0);
		assert_int_equal(swdev_scsi_state(dev)->aborts, 0);
		assert_int_equal(block_io(disk(dev, 1, 0), BLOCK_READ, 0, memory + 8192, 4096), 0);
		assert_int_equal(other->reads, 1);
		if (deaf == 2) { /* does not take control requests either */
			unit->there = false;
			unit->holds = true;
		}
		loop_sleep(30 * SECOND);
		assert_int_equal(swdev_scsi_state(dev)->aborts, 1);
		assert_int_equal(swdev_scsi_state(dev)->lun_resets, deaf ? 1 : 0);
		assert_int_equal(ended, 1);
		assert_int_equal(ended_status, -EIO);
		assert_int_equal(dev->resets, deaf == 2 ? 3 : 1);
		unit->there = true;
		unit->holds = false;
		loop_sleep(SECOND);
		if (deaf < 2)
			assert_int_equal(block_io(disk(dev, 0, 0), BLOCK_READ, 0, memory, 4096), 0);
		unplug(dev);
	}
}

static void resets(void **state)
{
	struct swdev *dev = make();
	struct swdev_unit *unit;
	struct block_request request[20];

	(void)state;
	dev->offered |= FEATURE(F_RING_RESET);
	unit = plug(dev);
	unit->holds = true;
	ended = 0;
	for (unsigned i = 0; i < 20; i++)
		submit(dev, &request[i]);
	loop_sleep(SECOND / 10);
	for (unsigned q = 0; q < 3; q++)
		assert_int_equal(virtio_queue_reset(dev->vdev, q), 0);
	assert_int_equal(ended, 0);
	unit->holds = false;
	loop_sleep(SECOND / 10);
	assert_int_equal(ended, 20);
	assert_int_equal(ended_status, 0);
	unit->holds = true;
	ended = 0;
	for (unsigned i = 0; i < 20; i++)
		submit(dev, &request[i]);
	loop_sleep(SECOND / 10);
	swdev_scsi_add(dev, 2, 2, 55, 512); /* nobody tells of it: the restart looks */
	unit->holds = false;
	swdev_needs_reset(dev);
	loop_sleep(SECOND);
	assert_int_equal(ended, 20);
	assert_int_equal(ended_status, 0); /* those that waited */
	assert_non_null(disk(dev, 2, 2));
	unit->holds = true;
	ended = 0;
	for (unsigned i = 0; i < 20; i++)
		submit(dev, &request[i]);
	loop_sleep(SECOND / 10);
	unplug(dev);
	assert_int_equal(ended, 20);
}

/* It goes in the middle of a scan, and is reset in one. */
static void scans_cut_short(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		struct swdev *dev = make();
		struct swdev_unit *unit = plug(dev);

		swdev_scsi_add(dev, 1, 0, 100, 512);
		swdev_scsi_event(dev, 1, 1, 0, 1);
		dev->budget = 1;
		loop_turn(false, 0);
		swdev_look_all(false);
		loop_turn(false, 0); /* the report, */
		dev->dead = true;
		for (unsigned i = 0; i < 5; i++)
			loop_turn(false, 0); /* and the scan waits, a turn deeper, for good */
		dev->dead = way == 0;
		if (way == 1)
			swdev_needs_reset(dev);
		loop_sleep(SECOND);
		if (way)
			assert_non_null(disk(dev, 1, 0));
		(void)unit;
		unplug(dev);
	}
}

static void unplug_now(struct timer *timer)
{
	(void)timer;
	assert_int_equal(swdev_unplug(leaving), 0);
	leaving = NULL;
}

/* Whichever of its commands is not answered: at the start the device is refused, and it may go while a scan waits. */
static void silence(void **state)
{
	static const unsigned commands[] = {0x10000, 0x11200, 0x11a00, 0x12500, 0x11201};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		struct swdev *dev = make();
		struct timer timer = {0};

		swdev_scsi_add(dev, 1, 0, 100, 512)->ignores = commands[i];
		assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_string_equal(dev->vdev->reason, "its logical units do not answer");
		unplug(dev);

		leaving = make();
		plug(leaving);
		swdev_scsi_add(leaving, 1, 0, 100, 512)->ignores = commands[i];
		swdev_scsi_event(leaving, 1, 1, 0, 1);
		timer_start(&timer, clock_ns() + SECOND, unplug_now);
		loop_sleep(2 * SECOND);
		assert_null(leaving);
		assert_int_equal(page_count_free(), free_pages);
	}

	struct swdev *dev = make();

	swdev_scsi_add(dev, 1, 0, 100, 512);
	plug_breaking(dev);
	unplug(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units),           cmocka_unit_test(data),         cmocka_unit_test(errors),
		cmocka_unit_test(plugging),        cmocka_unit_test(staying_away), cmocka_unit_test(resets),
		cmocka_unit_test(scans_cut_short), cmocka_unit_test(silence),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
