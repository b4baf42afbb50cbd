/*
 * libvireo.a in a kernel that is not Vireo: devices found, driven through the class APIs, checked from the other side, and taken away again
 * with every page back. The archive is the one of `make lib`, but for its compiler flags and the seam's inline functions.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/page.h>
#include <class/block.h>
#include <class/device.h>
#include <class/entropy.h>
#include <class/net.h>
#include <drivers/bus/mmio.h>
#include <virtio/virtio.h>

#include "kernel.h"

/* What is registered survived the linking, though nothing names it. */
static void drivers_are_registered(void **state)
{
	unsigned count = 0;

	(void)state;
	LINKER_FOR_EACH (virtio_drivers, driver) {
		assert_non_null((*driver)->name);
		count++;
	}
	assert_true(count >= 4);
	assert_true(&__stop_mmio_drivers[0] > &__start_mmio_drivers[0]);
}

static void devices_are_found(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= DEVICES; i++) {
		struct mmio_slot slot = {.base = DEVICE_BASE + i * DEVICE_SIZE, .size = DEVICE_SIZE, .gsi = DEVICE_LINE + i};
		char origin[32];

		snprintf(origin, sizeof(origin), "slot %u", i);
		mmio_slot_add(&slot, origin); /* the last one is not there */
	}
	assert_non_null(strstr(kernel_log(), "slot 2: over RAM or out of reach"));
	assert_string_equal(device_first()->name, "blk0");
	assert_string_equal(device_first()->state, "ok");
	assert_string_equal(device_find("rng0")->irq, "intx");
	assert_non_null(block_find("blk0"));
	assert_null(net_find(NULL));
}

static void the_disk_is_written_and_read(void **state)
{
	struct block_device *block = block_find(NULL);
	uint8_t *data = page_alloc(2u * PAGE_SIZE, PAGE_SIZE);
	uint64_t interrupts = device_first()->interrupts(device_first());

	(void)state;
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(block->capacity, DISK_SECTORS);
	assert_int_equal(block_io(block, BLOCK_WRITE, 8, data, PAGE_SIZE), 0);
	assert_memory_equal(device_disk() + 8 * BLOCK_SECTOR, data, PAGE_SIZE);
	assert_int_equal(block_io(block, BLOCK_READ, 8, data + PAGE_SIZE, PAGE_SIZE), 0);
	assert_memory_equal(data, data + PAGE_SIZE, PAGE_SIZE);
	assert_int_equal(block_io(block, BLOCK_READ, DISK_SECTORS - 1, data, PAGE_SIZE), -ERANGE);
	assert_int_equal(device_first()->interrupts(device_first()) - interrupts, 2);
	page_free(data, 2u * PAGE_SIZE);
}

static void entropy_comes_in_pieces(void **state)
{
	uint8_t *bytes = page_alloc(1000, PAGE_SIZE);

	(void)state;
	assert_int_equal(entropy_read(entropy_find(NULL), bytes, 1000), 0);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(bytes[i], device_entropy_byte(i));
	page_free(bytes, 1000);
}

static void nothing_is_left(void **state)
{
	(void)state;
	while (virtio_device_first())
		virtio_device_remove(virtio_device_first());
	assert_null(block_find(NULL));
	assert_null(device_first());
	assert_int_equal(kernel_pages_used(), 0);
	assert_int_equal(device_faults(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drivers_are_registered),
		cmocka_unit_test(devices_are_found),
		cmocka_unit_test(the_disk_is_written_and_read),
		cmocka_unit_test(entropy_comes_in_pieces),
		cmocka_unit_test(nothing_is_left),
	};

	kernel_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
