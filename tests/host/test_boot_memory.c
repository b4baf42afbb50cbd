/*
 * boot/memory.c: whatever a firmware's memory map says, what comes out is sorted and disjoint, and RAM is what the map gives as
 * RAM and as nothing else.
 */
#include "check.h"

#include <base/page.h>
#include <base/util.h>

#include "../../boot/boot.h"

#define ENTRIES_MAX 1024u /* that are looked at */

#define SPAN 0x40000u /* the addresses of the random maps */
#define UNIT 0x200u
#define RANDOM_MAX 24

static struct boot_info boot;

static struct e820_entry entry(const void *map, unsigned index) { return ((const struct e820_entry *)map)[index]; }

static void take(const struct e820_entry *map, unsigned count)
{
	memset(&boot, 0, sizeof(boot));
	boot_memory(&boot, map, count, entry);
}

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	return 0;
}

static void check_range(unsigned index, uint64_t base, uint64_t size, enum memory_kind kind)
{
	assert_true(index < boot.memory_count);
	assert_int_equal(boot.memory[index].base, base);
	assert_int_equal(boot.memory[index].size, size);
	assert_int_equal(boot.memory[index].kind, kind);
}

/* A PC's, out of order, with RAM that does not end on a page. */
static void test_ordinary(void **state)
{
	static const struct e820_entry map[] = {
		{0x100000, 0x7ee0000, E820_RAM}, {0x9fc00, 0x400, E820_RESERVED},   {0, 0x9fc00, E820_RAM},
		{0x7fe0000, 0x20000, E820_ACPI}, {0xf0000, 0x10000, E820_RESERVED}, {0x100000000, 0x80000000, E820_RAM},
	};

	(void)state;
	take(map, 6);
	assert_int_equal(boot.memory_count, 6);
	check_range(0, 0, 0x9f000, MEMORY_RAM);
	check_range(1, 0x9fc00, 0x400, MEMORY_RESERVED);
	check_range(2, 0xf0000, 0x10000, MEMORY_RESERVED);
	check_range(3, 0x100000, 0x7ee0000, MEMORY_RAM);
	check_range(4, 0x7fe0000, 0x20000, MEMORY_FIRMWARE);
	check_range(5, 0x100000000, 0x80000000, MEMORY_RAM);
	assert_string_equal(host_console_text(), "");
}

static void test_holes_in_ram(void **state)
{
	static const struct e820_entry map[] = {
		{0, 0x10000, E820_RAM},
		{0x2800, 0x800, E820_NVS},
		{0x5000, 0x1000, 77},
		{0x4000, 0x8000, E820_RAM},
	};

	(void)state;
	take(map, 4);
	assert_int_equal(boot.memory_count, 5);
	check_range(0, 0, 0x2000, MEMORY_RAM);
	check_range(1, 0x2800, 0x800, MEMORY_FIRMWARE);
	check_range(2, 0x3000, 0x2000, MEMORY_RAM);
	check_range(3, 0x5000, 0x1000, MEMORY_RESERVED);
	check_range(4, 0x6000, 0xa000, MEMORY_RAM);
}

static void test_bad_entries(void **state)
{
	static const struct e820_entry map[] = {
		{0, 0, E820_RAM},           {UINT64_MAX - 0xfff, 0x2000, E820_RAM}, {0x1000, UINT64_MAX, E820_RESERVED},
		{0x1000, 0x1000, E820_RAM}, {UINT64_MAX - 0xff, 0x80, E820_RAM},
	};

	(void)state;
	take(map, 5);
	assert_int_equal(boot.memory_count, 1); /* the last entry has no whole page, and the one behind it would be at 0 */
	check_range(0, 0x1000, 0x1000, MEMORY_RAM);
	assert_int_equal(count_in(host_console_text(), "memory map: 2 of 5 entries are bad, left out (entry 1: "), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
}

static void test_too_many(void **state)
{
	static struct e820_entry map[BOOT_MEMORY_MAX + 2];

	(void)state;
	for (unsigned i = 0; i < BOOT_MEMORY_MAX + 2; i++)
		map[i] = (struct e820_entry){i * 0x2000, 0x1000, E820_RAM};
	take(map, BOOT_MEMORY_MAX + 2);
	assert_int_equal(boot.memory_count, BOOT_MEMORY_MAX);
	assert_int_equal(count_in(host_console_text(), "too long (130 entries), 2 left out"), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
}

/* Neighbours of one kind are one range, whatever order they come in. */
static void test_neighbours(void **state)
{
	static const struct e820_entry map[] = {
		{0x3000, 0x1000, E820_RAM}, {0x1000, 0x1000, E820_RAM}, {0x2000, 0x1000, E820_RAM},
		{0x5000, 0x800, E820_NVS},  {0x5800, 0x800, E820_ACPI}, {0x6000, 0x1000, E820_RAM},
	};

	(void)state;
	take(map, 6);
	assert_int_equal(boot.memory_count, 3);
	check_range(0, 0x1000, 0x3000, MEMORY_RAM);
	check_range(1, 0x5000, 0x1000, MEMORY_FIRMWARE);
	check_range(2, 0x6000, 0x1000, MEMORY_RAM);
	assert_string_equal(host_console_text(), "");
}

/* A count that no map has: bounded work, one line. */
static void test_endless(void **state)
{
	static struct e820_entry map[ENTRIES_MAX];

	(void)state;
	memset(&boot, 0, sizeof(boot));
	map[7] = (struct e820_entry){0x1000, 0x1000, E820_RAM};
	boot_memory(&boot, map, UINT64_MAX, entry);
	assert_int_equal(boot.memory_count, 1);
	assert_int_equal(count_in(host_console_text(), "memory map: too long"), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
}

static void test_sizes(void **state)
{
	(void)state;
	memset(&boot, 0, sizeof(boot));
	boot_memory_sizes(&boot, 639, 64 << 10);
	assert_int_equal(boot.memory_count, 2);
	check_range(0, 0, 0x9f000, MEMORY_RAM);
	check_range(1, 0x100000, 64 << 20, MEMORY_RAM);
	memset(&boot, 0, sizeof(boot));
	boot_memory_sizes(&boot, UINT64_MAX, UINT64_MAX);
	check_range(0, 0, 0xa0000, MEMORY_RAM);
	check_range(1, 0x100000, UINT64_C(0xfff00000), MEMORY_RAM);
}

static bool covers(const struct e820_entry *e, uint64_t base, uint64_t size)
{
	return e->base <= base && base + size <= e->base + e->size;
}

/* Whether one entry of the map, RAM or not as asked, has all of these bytes. */
static bool map_has(const struct e820_entry *map, unsigned count, bool ram, uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < count; i++) {
		if ((map[i].type == E820_RAM) == ram && covers(&map[i], base, size))
			return true;
	}
	return false;
}

static bool boot_has(bool ram, uint64_t base)
{
	for (unsigned i = 0; i < boot.memory_count; i++) {
		const struct memory_range *m = &boot.memory[i];

		if ((m->kind == MEMORY_RAM) == ram && base >= m->base && base < m->base + m->size)
			return true;
	}
	return false;
}

static void check_all(const struct e820_entry *map, unsigned count)
{
	for (unsigned i = 0; i < boot.memory_count; i++) {
		assert_true(boot.memory[i].size > 0);
		assert_true(i == 0 || boot.memory[i - 1].base + boot.memory[i - 1].size <= boot.memory[i].base);
		if (boot.memory[i].kind == MEMORY_RAM)
			assert_int_equal((boot.memory[i].base | boot.memory[i].size) % PAGE_SIZE, 0);
	}
	for (uint64_t at = 0; at < SPAN; at += UNIT) {
		bool taken = map_has(map, count, false, at, UNIT), ram = map_has(map, count, true, at, UNIT);

		assert_int_equal(boot_has(false, at), taken);
		if (boot_has(true, at))
			assert_true(ram && !taken);
	}
	/* No page is lost that one entry gives in full and no other one takes from. */
	for (uint64_t page = 0; page < SPAN; page += PAGE_SIZE) {
		bool touched = false;

		for (uint64_t at = page; at < page + PAGE_SIZE; at += UNIT)
			touched |= map_has(map, count, false, at, UNIT);
		if (!touched && map_has(map, count, true, page, PAGE_SIZE))
			assert_true(boot_has(true, page));
	}
}

static void test_random(void **state)
{
	uint64_t seed = 820;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct e820_entry map[RANDOM_MAX];
		unsigned count = 1 + (unsigned)(next_random(&seed) % RANDOM_MAX);

		for (unsigned i = 0; i < count; i++) {
			uint64_t alignment = next_random(&seed) % 2 ? UNIT : PAGE_SIZE;
			uint64_t base = ALIGN_DOWN(next_random(&seed) % SPAN, alignment);

			map[i] = (struct e820_entry){base, ALIGN_DOWN(next_random(&seed) % (SPAN - base), alignment),
			                             1 + (uint32_t)(next_random(&seed) % 6) / 2};
		}
		take(map, count);
		check_all(map, count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_ordinary, set_up),    cmocka_unit_test_setup(test_holes_in_ram, set_up),
		cmocka_unit_test_setup(test_bad_entries, set_up), cmocka_unit_test_setup(test_too_many, set_up),
		cmocka_unit_test_setup(test_random, set_up),      cmocka_unit_test_setup(test_neighbours, set_up),
		cmocka_unit_test_setup(test_endless, set_up),     cmocka_unit_test_setup(test_sizes, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
