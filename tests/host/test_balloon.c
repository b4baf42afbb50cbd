/*
 * The balloon driver: what it gives, takes and tells, against a device that scribbles over what is its own.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/cmdline.h>
#include <base/event.h>
#include <base/page.h>
#include <base/poison.h>
#include <base/util.h>
#include <virtio/virtio.h>

#include "swdev_balloon.h"
#include "swdev_impl.h"

#define SECOND UINT64_C(1000000000)
#define RAM (64u << 20)

static struct swdev *make(uint64_t without, uint64_t with)
{
	struct swdev *dev = swdev_new(&swdev_balloon);

	host_console_capture(true);
	dev->offered = (dev->offered & ~without) | with;
	return dev;
}

static struct swdev_balloon *plug(struct swdev *dev)
{
	if (swdev_plug(dev, &swdev_direct))
		fail_msg("refused: %s", dev->vdev->reason);
	return swdev_balloon_state(dev);
}

static void unplug(struct swdev *dev, uint64_t free_pages)
{
	pull_out(dev);
	assert_int_equal(page_count_free(), free_pages);
}

static void want(struct swdev *dev, uint32_t pages)
{
	swdev_balloon_want(dev, pages);
	loop_sleep(SECOND / 10);
	assert_int_equal(swdev_balloon_state(dev)->pages, pages);
	assert_int_equal(swdev_balloon_actual(dev), pages);
}

static void up_and_down(void **state)
{
	static const uint32_t sizes[] = {1, 1020, 1021, 1022, 5000, 4999, 3000, 7000, 1, 0, 2000, 0};
	static const uint64_t ways[] = {0, FEATURE(F_RING_PACKED), FEATURE(F_EVENT_IDX)};

	(void)state;
	for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
		uint64_t free_pages = page_count_free(), now;
		struct swdev *dev = make(FEATURE(BALLOON_F_PAGE_REPORTING), ways[way]);

		plug(dev);
		now = page_count_free();
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			want(dev, sizes[i]);
			assert_in_range(now - page_count_free() - sizes[i], 0, sizes[i] / 500 + 3); /* and what the lists take */
		}
		assert_int_equal(page_count_free(), now);
		unplug(dev, free_pages);
	}
}

/* What the device asks for at the start, and what it gets of a request for everything: enough stays to live on. */
static void all_of_it(void **state)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = make(FEATURE(BALLOON_F_PAGE_REPORTING), 0);
	void *memory;

	(void)state;
	put32(dev->config, UINT32_MAX);
	plug(dev);
	loop_sleep(5 * SECOND);
	assert_in_range(swdev_balloon_actual(dev), free_pages * 3 / 4, free_pages);
	assert_in_range(page_count_free(), 1000, free_pages / 4);
	memory = page_alloc(2 << 20, PAGE_SIZE);
	assert_non_null(memory);
	page_free(memory, 2 << 20);
	want(dev, 100);
	unplug(dev, free_pages);
}

/* The pages come back with a reset and go again; those of requests in flight, too. */
static void resets(void **state)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = make(0, FEATURE(F_RING_RESET));
	struct swdev_balloon *balloon = plug(dev);

	(void)state;
	want(dev, 3000);
	swdev_needs_reset(dev);
	loop_sleep(SECOND);
	assert_int_equal(balloon->pages, 3000);
	balloon->grudging = true;
	swdev_balloon_want(dev, 6000);
	loop_sleep(SECOND / 10);
	for (unsigned q = 0; q < dev->queue_count; q++)
		assert_int_equal(virtio_queue_reset(dev->vdev, q), 0);
	assert_int_equal(balloon->pages, 3000);
	balloon->grudging = false;
	loop_sleep(SECOND / 10);
	assert_int_equal(balloon->pages, 6000);
	balloon->grudging = true;
	swdev_balloon_want(dev, 100); /* a deflation in flight */
	loop_sleep(SECOND / 10);
	swdev_needs_reset(dev);
	balloon->grudging = false;
	loop_sleep(SECOND);
	assert_int_equal(balloon->pages, 100);
	assert_int_equal(swdev_balloon_actual(dev), 100);
	balloon->grudging = true;
	swdev_balloon_want(dev, 5000);
	loop_sleep(SECOND / 10);
	unplug(dev, free_pages);
}

static void statistics(void **state)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = make(0, 0);
	struct swdev_balloon *balloon = plug(dev);

	(void)state;
	loop_sleep(SECOND / 10);
	assert_int_equal(balloon->stats_seen, 1); /* the first at once */
	assert_int_equal(balloon->stats[5], page_count_total() * PAGE_SIZE);
	want(dev, 4000);
	for (unsigned i = 2; i < 50; i++) {
		balloon->ask_stats = true;
		loop_sleep(SECOND / 10);
		assert_int_equal(balloon->stats_seen, i);
	}
	assert_int_equal(balloon->stats[4], page_count_free() * PAGE_SIZE);
	assert_int_equal(balloon->stats[6], page_count_free() * PAGE_SIZE);
	unplug(dev, free_pages);
}

/* The allocator asks: with DEFLATE_ON_OOM it gets pages, in the middle of whatever; without, none that the device wants. */
static void out_of_memory(void **state)
{
	(void)state;
	for (unsigned allowed = 0; allowed < 2; allowed++) {
		uint64_t free_pages = page_count_free();
		struct swdev *dev = make(FEATURE(BALLOON_F_PAGE_REPORTING), allowed ? FEATURE(BALLOON_F_DEFLATE_ON_OOM) : 0);
		struct swdev_balloon *balloon = plug(dev);
		size_t bytes = 16u << 20;
		uint8_t *memory;

		swdev_balloon_want(dev, UINT32_MAX);
		loop_sleep(3 * SECOND);
		assert_true(page_count_free() * PAGE_SIZE < bytes);
		memory = page_alloc(bytes, PAGE_SIZE);
		if (!allowed) {
			assert_null(memory);
			assert_int_equal(balloon->deflations, 0);
			unplug(dev, free_pages);
			continue;
		}
		assert_non_null(memory);
		for (size_t i = 0; i < bytes; i += 512)
			assert_int_equal(memory[i], 0);
		assert_int_equal(swdev_balloon_actual(dev), balloon->pages);
		memset(memory, 0x77, bytes);
		loop_sleep(SECOND); /* a respite: what was just taken back does not go again at once */
		assert_int_equal(swdev_balloon_actual(dev), balloon->pages);
		page_free(memory, bytes);
		loop_sleep(20 * SECOND);
		assert_true(page_count_free() * PAGE_SIZE < bytes);
		/* One that never answers costs a moment, not the machine. */
		balloon->grudging = true;
		assert_null(page_alloc(bytes, PAGE_SIZE));
		unplug(dev, free_pages);
	}
}

static void hinting(void **state)
{
	uint64_t free_pages = page_count_free(), at_rest;
	struct swdev *dev = make(FEATURE(BALLOON_F_PAGE_REPORTING), 0);
	struct swdev_balloon *balloon = plug(dev);
	uint8_t *memory;

	(void)state;
	at_rest = page_count_free();
	swdev_balloon_hint(dev, 7);
	loop_sleep(SECOND);
	assert_int_equal(balloon->rounds, 1);
	assert_int_equal(balloon->stops, 1);
	assert_in_range(balloon->hinted, at_rest * PAGE_SIZE / 2, at_rest * PAGE_SIZE);
	assert_true(page_count_free() < at_rest / 2); /* they are held until the device has done */
	swdev_balloon_hint(dev, 0);
	loop_sleep(SECOND);
	assert_true(page_count_free() < at_rest / 2);
	swdev_balloon_hint(dev, 8);
	loop_sleep(SECOND);
	assert_int_equal(balloon->rounds, 2);
	assert_int_equal(balloon->stops, 2);
	/* Whoever needs memory has it, cleared. */
	memory = page_alloc(32u << 20, PAGE_SIZE);
	assert_non_null(memory);
	for (size_t i = 0; i < 32u << 20; i += 4)
		assert_int_equal(get32(memory + i), 0);
	page_free(memory, 32u << 20);
	assert_int_equal(page_count_free(), at_rest);
	swdev_balloon_hint(dev, 9);
	loop_sleep(SECOND);
	swdev_balloon_hint(dev, 1);
	loop_sleep(SECOND);
	assert_int_equal(balloon->rounds, 3);
	assert_int_equal(page_count_free(), at_rest);
	swdev_balloon_hint(dev, 10); /* and one that the removal ends */
	loop_sleep(SECOND);
	unplug(dev, free_pages);
}

static void reporting(void **state)
{
	static const uint64_t ways[][2] = {{0, 0}, {FEATURE(BALLOON_F_FREE_PAGE_HINT), 0}, {FEATURE(BALLOON_F_STATS_VQ), 0}};

	(void)state;
	for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
		uint64_t free_pages, reported;
		struct swdev_balloon *balloon;
		struct swdev *dev;
		uint8_t *memory;

		swdev_machine(RAM); /* memory of which nobody was told */
		free_pages = page_count_free();
		dev = make(ways[way][0], ways[way][1]);
		balloon = swdev_balloon_state(dev);
		memory = page_alloc(8u << 20, PAGE_SIZE);
		if (way == 1) /* no hints: the device has a gap there */
			dev->queues[3].max = 0;
		if (way == 2)
			dev->queues[2].max = 0;
		memset(memory, 0x66, 8u << 20);
		plug(dev);
		loop_sleep(5 * SECOND);
		assert_in_range(balloon->reported, page_count_free() * PAGE_SIZE * 9 / 10, page_count_free() * PAGE_SIZE);
		reported = balloon->reported;
		loop_sleep(20 * SECOND);
		assert_int_equal(balloon->reported, reported); /* nothing new */
		page_free(memory, 8u << 20);
		loop_sleep(5 * SECOND);
		assert_in_range(balloon->reported - reported, (8u << 20) - (1 << 17),
		                9u << 20); /* small rests go with the next */
		/* A report that is out when memory is needed is waited for. */
		balloon->keep_reports = true;
		memory = page_alloc(40u << 20, PAGE_SIZE);
		page_free(memory, 40u << 20);
		loop_sleep(3 * SECOND);
		assert_true(page_count_free() < free_pages - free_pages / 20);
		assert_null(page_alloc(60u << 20, PAGE_SIZE));
		balloon->keep_reports = false;
		unplug(dev, free_pages);
	}
}

/* QEMU without hints has the reporting queue in their place. */
static void reporting_as_qemu(void **state)
{
	uint64_t free_pages;
	struct swdev_balloon *balloon;
	struct swdev *dev;

	(void)state;
	swdev_machine(RAM);
	free_pages = page_count_free();
	dev = make(FEATURE(BALLOON_F_FREE_PAGE_HINT), 0);
	balloon = swdev_balloon_state(dev);
	dev->queues[4].max = 0;
	plug(dev);
	loop_sleep(5 * SECOND);
	assert_true(balloon->reported > 0);
	assert_int_equal(dev->queues[3].buffers_used, balloon->reports);
	unplug(dev, free_pages);
}

/* page.poison=: then PAGE_POISON is accepted, and what is reported is filled. Else it is not accepted. */
static void poison(void **state)
{
	struct swdev *dev = make(0, 0);
	struct swdev_balloon *balloon = plug(dev);
	uint64_t free_pages;
	uint8_t *memory;

	(void)state;
	assert_false(virtio_has(dev->vdev, BALLOON_F_PAGE_POISON));
	assert_int_equal(swdev_unplug(dev), 0);

	cmdline_init("page.poison=0xa7");
	swdev_machine(RAM);
	assert_int_equal(page_poison(), 0xa7);
	host_console_capture(true);
	free_pages = page_count_free();
	dev = make(0, 0);
	balloon = plug(dev);
	assert_true(virtio_has(dev->vdev, BALLOON_F_PAGE_POISON));
	assert_int_equal(get32(dev->config + 12), 0xa7a7a7a7);
	loop_sleep(5 * SECOND);
	assert_true(balloon->reported > (RAM >> 1));
	want(dev, 3000);
	want(dev, 0);
	for (unsigned i = 0; i < 20; i++) {
		memory = page_alloc(1 << (13 + i % 8), PAGE_SIZE);
		memset(memory, (int)i, 1 << (13 + i % 8));
		page_free(memory, 1 << (13 + i % 8));
	}
	loop_sleep(5 * SECOND);
	assert_int_equal(count_in(host_console_text(), "while it was free"), 0);
	unplug(dev, free_pages);

	memory = page_alloc(PAGE_SIZE, PAGE_SIZE);
	page_free(memory, PAGE_SIZE);
	memory_unpoison(memory, PAGE_SIZE);
	memory[100] = 1; /* the mistake that it is for */
	memory_poison(memory, PAGE_SIZE);
	assert_ptr_equal(page_alloc(PAGE_SIZE, PAGE_SIZE), memory);
	assert_int_equal(count_in(host_console_text(), "was written to while it was free"), 1);
	cmdline_init("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(up_and_down), cmocka_unit_test(all_of_it),         cmocka_unit_test(resets),
		cmocka_unit_test(statistics),  cmocka_unit_test(out_of_memory),     cmocka_unit_test(hinting),
		cmocka_unit_test(reporting),   cmocka_unit_test(reporting_as_qemu), cmocka_unit_test(poison),
	};

	swdev_machine(RAM);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
