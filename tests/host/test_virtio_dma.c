/*
 * The DMA seam: every driver behind a backend that gives the device addresses of its own, bounces all data, and knows exactly what is
 * mapped. The device reaches nothing else: an address that was not mapped, or is not any more, is a violation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/dma.h>
#include <base/event.h>
#include <base/page.h>
#include <class/device.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

#define FIRST_ADDRESS UINT64_C(0x7700000000)

/* A piece of the device's address space. */
struct mapping {
	struct mapping *next;
	uint64_t address;
	size_t size;
	uint8_t *shared;   /* what the device sees */
	uint8_t *original; /* NULL: allocated, not mapped */
	enum dma_dir dir;
};

static struct mapping *mappings;
static uint64_t next_address;
static unsigned mapped, mapped_most, limit, refused;

static struct mapping *add(size_t size)
{
	struct mapping *mapping = calloc(1, sizeof(*mapping));

	*mapping =
		(struct mapping){.next = mappings, .address = next_address, .size = size, .shared = page_alloc(size, PAGE_SIZE)};
	next_address += ALIGN_UP(size, (size_t)PAGE_SIZE) + PAGE_SIZE; /* and a gap */
	mappings = mapping;
	return mapping;
}

static struct mapping *take(uint64_t address, size_t size)
{
	for (struct mapping **at = &mappings; *at; at = &(*at)->next) {
		struct mapping *mapping = *at;

		if (mapping->address != address)
			continue;
		assert_int_equal(mapping->size, size);
		*at = mapping->next;
		return mapping;
	}
	fail_msg("%#llx is not mapped", (unsigned long long)address);
	return NULL;
}

static void drop(struct mapping *mapping)
{
	page_free(mapping->shared, mapping->size);
	free(mapping);
}

static void *bounce_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *address)
{
	struct mapping *mapping = add(size);

	(void)dma;
	assert_true(alignment <= PAGE_SIZE);
	*address = mapping->address;
	return mapping->shared;
}

static void bounce_free(struct dma_device *dma, void *memory, size_t size, dma_addr_t address)
{
	struct mapping *mapping = take(address, size);

	(void)dma;
	assert_ptr_equal(mapping->shared, memory);
	assert_null(mapping->original);
	drop(mapping);
}

static dma_addr_t bounce_map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	struct mapping *mapping;

	(void)dma;
	if (limit && mapped == limit) {
		refused++;
		return DMA_ERROR;
	}
	mapping = add(size);
	mapping->original = memory;
	mapping->dir = dir;
	if (dir == DMA_TO_DEVICE)
		memcpy(mapping->shared, memory, size);
	else
		memset(mapping->shared, 0xa5, size);
	mapped++;
	mapped_most = MAX(mapped_most, mapped);
	return mapping->address;
}

static void bounce_unmap(struct dma_device *dma, dma_addr_t address, size_t size, enum dma_dir dir)
{
	struct mapping *mapping = take(address, size);

	(void)dma;
	assert_non_null(mapping->original);
	assert_int_equal(mapping->dir, dir);
	if (dir == DMA_FROM_DEVICE)
		memcpy(mapping->original, mapping->shared, size);
	mapped--;
	drop(mapping);
}

static const struct dma_ops bounce = {.alloc = bounce_alloc, .free = bounce_free, .map = bounce_map, .unmap = bounce_unmap};

static uint64_t translate(struct swdev *dev, uint64_t address, uint64_t length)
{
	(void)dev;
	for (const struct mapping *mapping = mappings; mapping; mapping = mapping->next)
		if (address >= mapping->address && address - mapping->address <= mapping->size &&
		    length <= mapping->size - (address - mapping->address))
			return (uintptr_t)mapping->shared + (address - mapping->address);
	return 0; /* nowhere */
}

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static void run(const struct swdev_type *type, uint64_t features, unsigned most, bool recover)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = swdev_new(type);
	struct swdev_work *work;

	next_address = FIRST_ADDRESS;
	mapped = mapped_most = refused = 0;
	limit = most;
	dev->offered |= FEATURE(F_ACCESS_PLATFORM) | features;
	dev->translate = translate;
	dev->dma.ops = &bounce;
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_true(dev->accepted & FEATURE(F_ACCESS_PLATFORM));
	if (recover) {
		work = swdev_work_begin(dev, 30);
		dev->budget = 3;
		loop_turn(true, UINT64_MAX);
		swdev_needs_reset(dev);
		swdev_work_wait(work, 50000000);
		dev->budget = 0;
		if (type != &swdev_net)
			swdev_work_end(work);
		else
			swdev_work_wait(work, 50000000);
	}
	if (!recover || type != &swdev_net) {
		work = swdev_work_begin(dev, 60);
		if (!swdev_work_wait(work, SWDEV_WORK_NS))
			fail_msg("%s: the work was not done\n%s\n%s", type->name, dev->first_violation, host_console_text());
	}
	if (dev->violations)
		fail_msg("%s: %s", type->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
	swdev_work_end(work);
	assert_null(mappings);
	assert_int_equal(mapped, 0);
	assert_true(mapped_most > 0);
	if (most)
		assert_true(refused > 0 || mapped_most < most);
	assert_int_equal(page_count_free(), free_pages);
}

static void every_driver(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		run(types[t], 0, 0, false);
		run(types[t], FEATURE(F_RING_PACKED), 0, false);
		run(types[t], FEATURE(F_IN_ORDER), 0, false);
	}
}

/* A backend without room for more than a few: requests wait for it. */
static void little_room(void **state)
{
	(void)state;
	run(&swdev_blk, 0, 12, false);
	run(&swdev_blk, FEATURE(F_RING_PACKED), 5, false);
	run(&swdev_entropy, 0, 3, false);
	run(&swdev_console, 0, 40, false);
}

static void through_a_reset(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		run(types[t], 0, 0, true);
		run(types[t], FEATURE(F_RING_PACKED), 0, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_driver),
		cmocka_unit_test(little_room),
		cmocka_unit_test(through_a_reset),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
