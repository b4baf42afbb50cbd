/*
 * The memory device's driver: blocks that come, are used, and go when nobody uses them.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_mem.h"

#define SECOND UINT64_C(1000000000)
#define PAGES (SWDEV_MEM_BLOCK / PAGE_SIZE)

static uint64_t free_pages, total_pages;

static struct swdev_mem *plug(struct swdev *dev)
{
	plug_in(dev, &swdev_direct);
	return swdev_mem_state(dev);
}

static struct swdev *make(void)
{
	free_pages = page_count_free();
	total_pages = page_count_total();
	return swdev_new(&swdev_mem);
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_int_equal(page_count_free(), free_pages);
	assert_int_equal(page_count_total(), total_pages);
}

static void want(struct swdev *dev, unsigned blocks)
{
	swdev_mem_want(dev, blocks);
	loop_sleep(SECOND);
	assert_int_equal(swdev_mem_plugged(dev), blocks);
	assert_int_equal(page_count_total(), total_pages + blocks * PAGES);
}

static void up_and_down(void **state)
{
	static const unsigned sizes[] = {1, 5, 16, 15, 3, 16, 0, 2};

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = make();
		struct swdev_mem *mem;

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		mem = plug(dev);
		assert_true(virtio_has(dev->vdev, 1)); /* UNPLUGGED_INACCESSIBLE */
		assert_false(virtio_has(dev->vdev, 2));
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			want(dev, sizes[i]);
		assert_int_equal(mem->unplug_alls, 0);
		unplug(dev);
	}
}

/* Memory of it is memory: cleared, and whoever has it keeps it. */
static void in_use(void **state)
{
	struct swdev *dev = make();
	uint8_t *memory;

	(void)state;
	plug(dev);
	want(dev, 16);
	memory = page_alloc(3 * SWDEV_MEM_BLOCK, PAGE_SIZE);
	for (unsigned i = 0; i < 3 * SWDEV_MEM_BLOCK; i += 64)
		assert_int_equal(memory[i], 0);
	memset(memory, 0x42, 3 * SWDEV_MEM_BLOCK);
	swdev_mem_want(dev, 0);
	loop_sleep(5 * SECOND);
	assert_in_range(swdev_mem_plugged(dev), 3, 4);
	for (unsigned i = 0; i < 3 * SWDEV_MEM_BLOCK; i += 64)
		assert_int_equal(memory[i], 0x42);
	page_free(memory, 3 * SWDEV_MEM_BLOCK);
	loop_sleep(5 * SECOND);
	assert_int_equal(swdev_mem_plugged(dev), 0);
	unplug(dev);
}

/* What is plugged already is unplugged at the start; a reset changes nothing, and the blocks are asked for. */
static void resets(void **state)
{
	struct swdev *dev = make();
	struct swdev_mem *mem = swdev_mem_state(dev);

	(void)state;
	mem->plugged[7] = true;
	put64(dev->config + 40, SWDEV_MEM_BLOCK);
	dev->offered |= FEATURE(F_RING_RESET);
	plug(dev);
	loop_sleep(SECOND);
	assert_int_equal(mem->unplug_alls, 1);
	want(dev, 5);
	swdev_needs_reset(dev);
	loop_sleep(SECOND);
	assert_int_equal(swdev_mem_plugged(dev), 5);
	assert_int_equal(mem->states, 5);
	assert_int_equal(count_in(host_console_text(), "is gone"), 0);
	mem->holds = true;
	swdev_mem_want(dev, 9);
	loop_sleep(SECOND);
	assert_int_equal(virtio_queue_reset(dev->vdev, 0), 0);
	mem->holds = false;
	loop_sleep(SECOND);
	want(dev, 9);
	mem->plugged[0] = false; /* against the rules */
	swdev_needs_reset(dev);
	loop_sleep(SECOND);
	assert_int_equal(count_in(host_console_text(), "is gone"), 1);
	mem->plugged[0] = true;
	unplug(dev);
}

static void refusals(void **state)
{
	struct swdev *dev = make();
	struct swdev_mem *mem = plug(dev);

	(void)state;
	for (unsigned answer = 1; answer < 4; answer++) {
		mem->answer = answer;
		mem->answers = 2;
		swdev_mem_want(dev, 4 + answer);
		loop_sleep(SECOND / 10);
		assert_int_equal(mem->answers, 1);
		loop_sleep(5 * SECOND); /* not for ever */
		assert_int_equal(swdev_mem_plugged(dev), 4 + answer);
	}
	mem->answer = 2;
	mem->answers = 2;
	swdev_mem_want(dev, 1);
	loop_sleep(10 * SECOND);
	assert_int_equal(swdev_mem_plugged(dev), 1);
	assert_int_equal(page_count_total(), total_pages + PAGES);
	unplug(dev);
}

/* Its driver goes while memory is in use: it stays with its user, and the next driver counts on it. */
static void outlives(void **state)
{
	struct swdev *dev = make();
	uint8_t *memory;

	(void)state;
	plug(dev);
	want(dev, 6);
	memory = page_alloc(SWDEV_MEM_BLOCK, PAGE_SIZE);
	assert_int_equal(dev->vdev->info.rebind(&dev->vdev->info), 0);
	loop_sleep(SECOND);
	memset(memory, 1, SWDEV_MEM_BLOCK);
	assert_int_equal(swdev_mem_plugged(dev), 6);
	assert_int_equal(page_count_total(), total_pages + 6 * PAGES);
	assert_int_equal(swdev_mem_state(dev)->unplug_alls, 0);
	page_free(memory, SWDEV_MEM_BLOCK);
	swdev_mem_want(dev, 0);
	loop_sleep(5 * SECOND);
	unplug(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(up_and_down), cmocka_unit_test(in_use),   cmocka_unit_test(resets),
		cmocka_unit_test(refusals),    cmocka_unit_test(outlives),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
