/*
 * Every driver through a DMA backend that forgives nothing (bounce.h): both layouts, with and without indirect tables, while the
 * backend has room, has none for a moment or for a while, and has little of it at all. Each request ends once, nothing stays mapped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <host.h>
#include <virtio/virtio.h>

#include "bounce.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

#define WORK 24u
#define OUTAGE 1000u                 /* calls that fail in a row: more than any driver makes before it waits */
#define RETRY_NS UINT64_C(200000000) /* fake time in which a driver that waits tries again, many times over */

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static const struct {
	const char *name;
	uint64_t without, with;
} layouts[] = {
	{"split, direct", FEATURE(F_INDIRECT_DESC), 0},
	{"split, indirect", 0, 0},
	{"packed, direct", FEATURE(F_INDIRECT_DESC), FEATURE(F_RING_PACKED)},
	{"packed, indirect", 0, FEATURE(F_RING_PACKED)},
};

static struct {
	const struct swdev_type *type;
	unsigned layout;
	struct swdev *dev;
	uint64_t free_pages;
} now;

[[gnu::format(printf, 1, 2)]] static void complain(const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_msg("%s, %s: %s\n%s\n%s", now.type->name, layouts[now.layout].name, text, now.dev ? now.dev->first_violation : "",
	         host_console_text());
}

static struct swdev *make(const struct swdev_type *type, unsigned layout)
{
	struct swdev *dev = swdev_new(type);

	host_console_capture(true);
	now.type = type;
	now.layout = layout;
	now.dev = dev;
	now.free_pages = page_count_free();
	bounce_open(dev);
	dev->offered = (dev->offered & ~layouts[layout].without) | layouts[layout].with;
	return dev;
}

static void unmake(struct swdev_work *work)
{
	if (now.dev->violations)
		complain("violations");
	assert_int_equal(swdev_unplug(now.dev), 0);
	now.dev = NULL;
	swdev_work_end(work);
	bounce_close();
	if (page_count_free() != now.free_pages)
		complain("%llu pages free, %llu before", (unsigned long long)page_count_free(),
		         (unsigned long long)now.free_pages);
}

/* For all drivers and layouts. */
static void everywhere(void (*test)(const struct swdev_type *type, unsigned layout))
{
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
		for (unsigned l = 0; l < ARRAY_SIZE(layouts); l++)
			test(types[t], l);
}

/* ---- room for all ---- */

static void work_through_it(const struct swdev_type *type, unsigned layout)
{
	struct swdev *dev = make(type, layout);
	struct swdev_work *work;

	if (swdev_plug(dev, &swdev_direct))
		complain("refused");
	assert_true(virtio_has(dev->vdev, VIRTIO_F_ACCESS_PLATFORM));
	work = swdev_work_begin(dev, WORK);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		complain("the work was not done");
	assert_true(bounce_counts.maps >= WORK);
	unmake(work);
}

static void every_driver_every_layout(void **state)
{
	(void)state;
	everywhere(work_through_it);
}

/* A reset in the middle: what is in flight is unmapped before it is failed. */
static void reset_amid_work(const struct swdev_type *type, unsigned layout)
{
	struct swdev *dev = make(type, layout);
	struct swdev_work *work;

	dev->budget = 2;
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	work = swdev_work_begin(dev, WORK);
	loop_turn(true, LOOP_FOREVER);
	swdev_needs_reset(dev);
	swdev_work_wait(work, RETRY_NS);
	if (dev->resets < 2)
		complain("it was not reset");
	unmake(work);
}

static void resets(void **state)
{
	(void)state;
	everywhere(reset_amid_work);
}

/* ---- no room for a moment ---- */

/* Calls `first` to `first + count - 1` from here on fail. Returns how many did. A request may fail for it, but ends; then all works. */
static unsigned fail_maps(const struct swdev_type *type, unsigned layout, unsigned first, unsigned count)
{
	struct swdev *dev = make(type, layout);
	struct swdev_work *work;
	unsigned failed;

	bounce_fail_maps(first, count);
	if (swdev_plug(dev, &swdev_direct))
		complain("refused, with map %u failing", first);
	work = swdev_work_begin(dev, WORK);
	swdev_work_wait(work, RETRY_NS);
	failed = bounce_counts.failed;
	bounce_fail_maps(0, 0);
	/* Those that do not drop frames, and those that wait for room instead of failing: */
	if (type == &swdev_entropy || type == &swdev_console)
		if (!swdev_work_wait(work, SWDEV_WORK_NS))
			complain("the work was not done, with %u maps failing from %u on", count, first);
	if (type == &swdev_blk || type == &swdev_entropy) {
		swdev_work_end(work);
		work = swdev_work_begin(dev, WORK);
		if (!swdev_work_wait(work, SWDEV_WORK_NS))
			complain("it does not work after map %u failed", first);
	}
	unmake(work);
	return failed;
}

static void fail_each_map(const struct swdev_type *type, unsigned layout)
{
	unsigned first = 1;

	while (fail_maps(type, layout, first, 1))
		first += first < 40 ? 1 : 7;
	assert_true(first > WORK);
}

static void any_one_map_fails(void **state)
{
	(void)state;
	everywhere(fail_each_map);
}

static void fail_for_a_while(const struct swdev_type *type, unsigned layout)
{
	for (unsigned first = 1; first < 60; first += 11)
		fail_maps(type, layout, first, OUTAGE);
}

static void all_maps_fail_for_a_while(void **state)
{
	(void)state;
	everywhere(fail_for_a_while);
}

/* ---- no memory for rings ---- */

static void fail_each_alloc(const struct swdev_type *type, unsigned layout)
{
	unsigned failed, first = 1;

	do {
		struct swdev *dev = make(type, layout);
		struct swdev_work *work = NULL;
		bool refused;

		bounce_fail_allocs(first++, 1);
		refused = swdev_plug(dev, &swdev_direct) != 0;
		failed = bounce_counts.failed;
		if (refused != !!strstr(host_console_text(), "no memory for queue"))
			complain("allocation %u fails, and %s", first - 1,
			         refused ? "nothing says so" : "it is said, without need");
		if (!refused) { /* tables are a luxury */
			work = swdev_work_begin(dev, WORK);
			if (!swdev_work_wait(work, SWDEV_WORK_NS))
				complain("the work was not done without allocation %u", first - 1);
		}
		unmake(work);
	} while (failed);
}

static void any_one_allocation_fails(void **state)
{
	(void)state;
	everywhere(fail_each_alloc);
}

/* ---- little room ---- */

static void work_in_a_small_window(const struct swdev_type *type, unsigned layout)
{
	/* Less than the work wants at once, more than one request does. */
	size_t limit = type == &swdev_blk ? 20000 : type == &swdev_net ? 150000 : type == &swdev_console ? 40000 : 1000;
	struct swdev *dev = make(type, layout);
	struct swdev_work *work;

	bounce_limit(limit);
	for (unsigned q = 0; q < dev->queue_count; q++)
		dev->queues[q].max = 64;
	if (swdev_plug(dev, &swdev_direct))
		complain("refused");
	work = swdev_work_begin(dev, 2 * WORK);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		complain("the work was not done, %u of %u maps failed", bounce_counts.failed, bounce_counts.maps);
	if (!bounce_counts.failed)
		complain("there was room for all");
	unmake(work);
}

static void little_room(void **state)
{
	(void)state;
	everywhere(work_in_a_small_window);
}

/* ---- the backend itself: what it is there to find, it finds ---- */

static void unmap_twice(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_TO_DEVICE);

	dma_unmap(dma, address, 100, DMA_TO_DEVICE);
	dma_unmap(dma, address, 100, DMA_TO_DEVICE);
}

static void unmap_another_size(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_TO_DEVICE);

	dma_unmap(dma, address, 96, DMA_TO_DEVICE);
	dma_unmap(dma, address, 100, DMA_TO_DEVICE);
}

static void unmap_another_way(struct dma_device *dma, uint8_t *memory)
{
	dma_unmap(dma, dma_map(dma, memory, 100, DMA_TO_DEVICE), 100, DMA_FROM_DEVICE);
}

static void change_what_is_mapped(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_TO_DEVICE);

	*(uint8_t *)swdev_memory(now.dev, address + 50, 1, "test") ^= 1;
	dma_unmap(dma, address, 100, DMA_TO_DEVICE);
}

static void reach_beyond(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_FROM_DEVICE);

	assert_non_null(swdev_memory(now.dev, address, 100, "test"));
	assert_null(swdev_memory(now.dev, address, 101, "test"));
	dma_unmap(dma, address, 100, DMA_FROM_DEVICE);
}

static void reach_back(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_FROM_DEVICE);

	dma_unmap(dma, address, 100, DMA_FROM_DEVICE);
	assert_null(swdev_memory(now.dev, address, 1, "test"));
}

static void reach_the_original(struct dma_device *dma, uint8_t *memory)
{
	dma_addr_t address = dma_map(dma, memory, 100, DMA_FROM_DEVICE);

	assert_null(swdev_memory(now.dev, (uintptr_t)memory, 100, "test"));
	dma_unmap(dma, address, 100, DMA_FROM_DEVICE);
}

static void the_backend_sees_it(void **state)
{
	static void (*const mistakes[])(struct dma_device * dma, uint8_t * memory) = {
		unmap_twice,  unmap_another_size, unmap_another_way,  change_what_is_mapped,
		reach_beyond, reach_back,         reach_the_original,
	};
	uint8_t *memory = page_alloc(100, PAGE_SIZE);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct swdev *dev = make(&swdev_entropy, 0);

		dev->quiet = true;
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		mistakes[i](&dev->dma, memory);
		assert_int_equal(dev->violations, 1);
		assert_int_equal(swdev_unplug(dev), 1);
		bounce_close();
	}
	page_free(memory, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_backend_sees_it),
		cmocka_unit_test(every_driver_every_layout),
		cmocka_unit_test(resets),
		cmocka_unit_test(any_one_map_fails),
		cmocka_unit_test(all_maps_fail_for_a_while),
		cmocka_unit_test(any_one_allocation_fails),
		cmocka_unit_test(little_room),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
