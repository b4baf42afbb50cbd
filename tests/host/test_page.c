/*
 * lib/page.c: against a reference that keeps one byte per page, and against callers that break its rules.
 */
#include "check.h"

#include <base/boot_info.h>
#include <base/page.h>
#include <base/poison.h>

#define PAGES 512u

static struct boot_info boot;
static _Alignas(64 * PAGE_SIZE) uint8_t arena[PAGES * PAGE_SIZE];
static uint64_t base; /* of the arena */

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	base = (uintptr_t)arena;
	memory_unpoison(arena, sizeof(arena));
	memset(arena, 0x55, sizeof(arena));
	boot = (struct boot_info){.cmdline = "", .memory_count = 1, .memory[0] = {base, sizeof(arena), MEMORY_RAM}};
	page_init(&boot, 0, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	memory_unpoison(arena, sizeof(arena));
	return 0;
}

/* Another memory map: nothing of the former one is in use. */
static void restart(void)
{
	memory_unpoison(arena, sizeof(arena));
	boot.memory_count = 0;
}

static void *at(uint64_t page) { return (void *)(uintptr_t)(base + page * PAGE_SIZE); }

/* RAM of the arena's pages [first, first + count). */
static void add_ram(unsigned first, unsigned count)
{
	boot.memory[boot.memory_count++] = (struct memory_range){base + first * PAGE_SIZE, count * PAGE_SIZE, MEMORY_RAM};
}

static void test_top_down_and_zeroed(void **state)
{
	(void)state;
	assert_int_equal(page_count_total(), PAGES);
	assert_int_equal(page_count_free(), PAGES);

	uint8_t *last = page_alloc(PAGE_SIZE, PAGE_SIZE);

	assert_ptr_equal(last, at(PAGES - 1));
	memset(last, 0xee, PAGE_SIZE);

	uint8_t *next = page_alloc(PAGE_SIZE + 1, PAGE_SIZE);

	assert_ptr_equal(next, at(PAGES - 3));
	assert_int_equal(page_count_free(), PAGES - 3);
	page_free(last, PAGE_SIZE);

	uint8_t *again = page_alloc(PAGE_SIZE, PAGE_SIZE);

	assert_ptr_equal(again, last);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(again[i], 0);
	memset(again, 0xee, PAGE_SIZE);
	page_free(again, PAGE_SIZE);
	again = page_alloc_uncleared(PAGE_SIZE, PAGE_SIZE);
	assert_ptr_equal(again, last);
	assert_int_equal(again[PAGE_SIZE - 1], 0xee);
	page_free(again, PAGE_SIZE);
	page_free(next, PAGE_SIZE + 1);
	page_free(NULL, 5);
	assert_int_equal(page_count_free(), PAGES);
}

static void test_what_cannot_be(void **state)
{
	(void)state;
	assert_null(page_alloc(0, PAGE_SIZE));
	assert_null(page_alloc(SIZE_MAX, PAGE_SIZE));
	assert_null(page_alloc(SIZE_MAX - PAGE_SIZE + 2, PAGE_SIZE));
	assert_null(page_alloc((PAGES + 1) * PAGE_SIZE, PAGE_SIZE));
	assert_null(page_alloc(PAGE_SIZE, UINT64_C(1) << 62));
	assert_int_equal(page_count_free(), PAGES);

	void *all = page_alloc(PAGES * PAGE_SIZE, PAGE_SIZE);

	assert_ptr_equal(all, at(0));
	assert_int_equal(page_count_free(), 0);
	assert_null(page_alloc(1, PAGE_SIZE));
	page_free(all, PAGES * PAGE_SIZE);
	assert_int_equal(page_count_free(), PAGES);
}

static void test_alignment(void **state)
{
	(void)state;
	for (size_t alignment = PAGE_SIZE; alignment <= PAGES / 4 * PAGE_SIZE; alignment *= 2) {
		void *small = page_alloc(1, PAGE_SIZE), *aligned = page_alloc(3 * PAGE_SIZE, alignment);

		assert_non_null(aligned);
		assert_int_equal((uintptr_t)aligned % alignment, 0);
		page_free(small, 1);
		page_free(aligned, 3 * PAGE_SIZE);
		assert_int_equal(page_count_free(), PAGES);
	}
	assert_ptr_equal(page_alloc(PAGES * PAGE_SIZE, PAGE_SIZE), at(0)); /* all one range again */
}

/* Only what is RAM, above the first MiB, and neither image, module nor string. */
static void test_boot_map(void **state)
{
	char *cmdline = (char *)at(40) + PAGE_SIZE - 3, *words = (char *)at(60) + 5;

	(void)state;
	restart();
	strcpy(cmdline, "a=1 b"); /* into page 41 */
	strcpy(words, "m");
	boot.cmdline = cmdline;
	boot.memory[boot.memory_count++] = (struct memory_range){0, 0x9fc00, MEMORY_RAM};
	boot.memory[boot.memory_count++] = (struct memory_range){0xf0000, 0x10000, MEMORY_RESERVED};
	add_ram(0, 100);
	boot.memory[2].base += 1; /* firmware may end a range anywhere: whole pages only */
	add_ram(100, 10);
	boot.memory[3].kind = MEMORY_FIRMWARE;
	add_ram(110, 20);
	boot.module_count = 1;
	boot.module[0] = (struct boot_module){base + 50 * PAGE_SIZE + 7, PAGE_SIZE, words};
	page_init(&boot, base + 10 * PAGE_SIZE + 1, base + 20 * PAGE_SIZE + 1);

	/* 0: half; 10-20: image; 40, 41: cmdline; 50, 51: module; 60: its string. The range ends one byte into page 100: not RAM. */
	assert_int_equal(page_count_total(), 100 - 1 - 11 - 2 - 2 - 1 + 20);
	assert_int_equal(page_count_free(), page_count_total());

	bool seen[PAGES] = {false};

	for (void *page; (page = page_alloc(1, PAGE_SIZE)) != NULL;)
		seen[((uintptr_t)page - base) / PAGE_SIZE] = true;
	for (unsigned i = 0; i < PAGES; i++) {
		bool ram = (i >= 1 && i < 100) || (i >= 110 && i < 130);
		bool taken = (i >= 10 && i <= 20) || i == 40 || i == 41 || i == 50 || i == 51 || i == 60;

		if (seen[i] != (ram && !taken))
			fail_msg("page %u: %s", i, seen[i] ? "handed out" : "lost");
	}
	assert_string_equal(cmdline, "a=1 b");
}

static void test_boot_without_memory(void **state)
{
	(void)state;
	restart();
	page_init(&boot, 0, 0);
	assert_int_equal(page_count_total(), 0);
	assert_null(page_alloc(1, PAGE_SIZE));
	assert_null(page_heap_grow(1));
	boot.memory_count = 1;
	boot.memory[0] = (struct memory_range){base, UINT64_MAX, MEMORY_RAM}; /* wraps */
	page_init(&boot, 0, 0);
	assert_int_equal(page_count_total(), 0);
}

static void test_most_ranges(void **state)
{
	(void)state;
	restart();
	for (unsigned i = 0; i < BOOT_MEMORY_MAX; i++)
		add_ram(4 * i, 3);
	boot.module_count = BOOT_MODULE_MAX;
	for (unsigned i = 0; i < BOOT_MODULE_MAX; i++)
		boot.module[i] = (struct boot_module){base + (40 * i + 1) * PAGE_SIZE, 1, strcpy(at(40 * i + 21), "m")};
	boot.cmdline = strcpy(at(501), "c");
	page_init(&boot, base + 505 * PAGE_SIZE, base + 506 * PAGE_SIZE);
	assert_int_equal(page_count_total(), 3 * BOOT_MEMORY_MAX - 2 * BOOT_MODULE_MAX - 2);
	assert_null(page_alloc(3 * PAGE_SIZE + 1, PAGE_SIZE));
	for (unsigned i = 0; i < 3 * BOOT_MEMORY_MAX - 2 * BOOT_MODULE_MAX - 2; i++) {
		void *page = page_alloc(PAGE_SIZE, PAGE_SIZE);

		assert_non_null(page);
		memset(page, 0xff, PAGE_SIZE);
	}
	assert_int_equal(page_count_free(), 0);
}

static void test_heap(void **state)
{
	(void)state;

	char *start = page_heap_grow(0);

	assert_ptr_equal(start, at(0));
	assert_null(page_heap_grow(-1));
	assert_int_equal(page_count_free(), PAGES);
	assert_ptr_equal(page_heap_grow(10), start);
	assert_int_equal(page_count_free(), PAGES - 1);
	assert_ptr_equal(page_heap_grow(0), start + 10);
	memset(start, 0xaa, PAGE_SIZE);
	assert_ptr_equal(page_heap_grow(5 * PAGE_SIZE), start + 10);
	for (char *c = start + 10; c < start + 10 + 5 * PAGE_SIZE; c++)
		assert_int_equal(*c, 0);
	assert_int_equal(page_count_free(), PAGES - 6);
	memset(start, 0xbb, 10 + 5 * PAGE_SIZE);
	assert_ptr_equal(page_heap_grow(-(intptr_t)(3 * PAGE_SIZE)), start + 10 + 5 * PAGE_SIZE);
	assert_int_equal(page_count_free(), PAGES - 3);
	assert_null(page_heap_grow(-(intptr_t)(2 * PAGE_SIZE + 11)));
	assert_null(page_heap_grow(INTPTR_MIN));
	assert_null(page_heap_grow(INTPTR_MAX));
	assert_ptr_equal(page_heap_grow(-(intptr_t)(2 * PAGE_SIZE + 10)), start + 10 + 2 * PAGE_SIZE);
	assert_int_equal(page_count_free(), PAGES);
}

/* Heap and pages meet: each can take all that the other leaves. */
static void test_heap_meets_pages(void **state)
{
	(void)state;

	void *top = page_alloc((PAGES - 4) * PAGE_SIZE, PAGE_SIZE);

	assert_non_null(page_heap_grow(3 * PAGE_SIZE));
	assert_null(page_heap_grow(PAGE_SIZE + 1));
	assert_non_null(page_heap_grow(PAGE_SIZE));
	assert_int_equal(page_count_free(), 0);
	assert_null(page_heap_grow(1));
	assert_null(page_alloc(1, PAGE_SIZE));
	page_free((char *)top + PAGE_SIZE, PAGE_SIZE); /* a part, not next to the heap */
	assert_null(page_heap_grow(1));
	page_free(top, PAGE_SIZE);
	assert_non_null(page_heap_grow(2 * PAGE_SIZE));
	assert_null(page_heap_grow(1));
	assert_non_null(page_heap_grow(-(intptr_t)(6 * PAGE_SIZE)));
	assert_ptr_equal(page_alloc(6 * PAGE_SIZE, PAGE_SIZE), at(0));
}

/* The heap takes the largest range, wherever it lies. */
static void test_heap_range(void **state)
{
	(void)state;
	restart();
	add_ram(0, 10);
	add_ram(20, 100);
	add_ram(200, 50);
	page_init(&boot, 0, 0);
	assert_ptr_equal(page_heap_grow(1), at(20));
	assert_null(page_heap_grow(100 * PAGE_SIZE));
	assert_non_null(page_heap_grow(100 * PAGE_SIZE - 1));
	assert_int_equal(page_count_free(), 60);
}

/* On the host, the address sanitizer knows what is allocated, to the byte. */
static void test_poison(void **state)
{
	uint8_t *pages = page_alloc(3 * PAGE_SIZE, PAGE_SIZE), *odd = page_alloc(PAGE_SIZE + 5, PAGE_SIZE), *heap;
	uint8_t *probe = page_alloc(1, PAGE_SIZE);

	(void)state;
	if (!memory_is_poisoned(probe + 1, 1))
		skip();
	assert_false(memory_is_poisoned(pages, 3 * PAGE_SIZE));
	assert_false(memory_is_poisoned(odd, PAGE_SIZE + 5));
	assert_true(memory_is_poisoned(odd + PAGE_SIZE + 5, 1));
	page_free(odd, PAGE_SIZE + 5);
	page_free(probe, 1);
	page_free(pages, PAGE_SIZE); /* merges with all below */
	for (size_t i = 0; i < PAGE_SIZE; i += 64)
		assert_true(memory_is_poisoned(pages + i, 1));
	assert_false(memory_is_poisoned(pages + PAGE_SIZE, 2 * PAGE_SIZE));
	page_free(pages + 2 * PAGE_SIZE, PAGE_SIZE);
	page_free(pages + PAGE_SIZE, PAGE_SIZE); /* merges with both sides: no node is left in between */
	for (size_t i = 0; i < 3 * PAGE_SIZE; i += 8)
		assert_true(memory_is_poisoned(pages + i, 1));
	heap = page_heap_grow(2 * PAGE_SIZE);
	assert_false(memory_is_poisoned(heap, 2 * PAGE_SIZE));
	page_heap_grow(-(intptr_t)PAGE_SIZE);
	assert_true(memory_is_poisoned(heap + PAGE_SIZE + 64, 1));
}

static void *victim;
static size_t victim_bytes;

static void free_victim(void) { page_free(victim, victim_bytes); }

static void alloc_misaligned(void) { assert_null(page_alloc(1, victim_bytes)); }

static void expect_panic(void *pages, size_t bytes)
{
	uint64_t free_pages = page_count_free();

	victim = pages;
	victim_bytes = bytes;
	assert_int_equal(host_run(free_victim), HOST_PANICKED);
	assert_non_null(strstr(host_panic_text, "page_free"));
	assert_int_equal(page_count_free(), free_pages);
}

static void test_our_own_bugs(void **state)
{
	(void)state;

	char *pages = page_alloc(4 * PAGE_SIZE, PAGE_SIZE), *heap = page_heap_grow(3 * PAGE_SIZE);

	expect_panic(pages + 1, PAGE_SIZE);
	expect_panic(pages, 0);
	expect_panic(pages, 5 * PAGE_SIZE);
	expect_panic(pages, SIZE_MAX);
	expect_panic(pages - PAGE_SIZE, 2 * PAGE_SIZE);
	expect_panic(heap, PAGE_SIZE);
	expect_panic(heap + 2 * PAGE_SIZE, 2 * PAGE_SIZE);
	expect_panic(&boot, PAGE_SIZE);
	expect_panic(at(100), PAGE_SIZE);
	page_free(pages + PAGE_SIZE, PAGE_SIZE);
	expect_panic(pages + PAGE_SIZE, PAGE_SIZE);
	expect_panic(pages, 2 * PAGE_SIZE);
	expect_panic(pages, 4 * PAGE_SIZE);
	page_free(pages, PAGE_SIZE);
	page_free(pages + 2 * PAGE_SIZE, 2 * PAGE_SIZE);
	expect_panic(pages, 4 * PAGE_SIZE);

	static const size_t alignments[] = {0, 1, 2048, 3 * PAGE_SIZE, PAGE_SIZE + 1};

	for (unsigned i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
		victim_bytes = alignments[i];
		assert_int_equal(host_run(alloc_misaligned), HOST_PANICKED);
	}
}

/* ---- the reference: which pages are taken, by whom ---- */

#define HOLDERS 64u
static struct holder {
	uint64_t page;
	unsigned count;
} holders[HOLDERS];
static uint8_t owner[PAGES]; /* 0: free, 255: heap or not RAM, else 1 + holder */
static unsigned heap_pages;

static unsigned free_in_reference(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PAGES; i++)
		count += owner[i] == 0;
	return count;
}

/* Is there any aligned run of `count` free pages? Where is the highest? */
static bool highest_run(unsigned count, unsigned alignment, uint64_t *page)
{
	for (unsigned first = PAGES - count + 1; count <= PAGES && first-- > 0;) {
		unsigned length = 0;

		if ((base / PAGE_SIZE + first) % alignment)
			continue;
		while (length < count && owner[first + length] == 0)
			length++;
		if (length == count) {
			*page = first;
			return true;
		}
	}
	return false;
}

static void random_alloc(uint64_t *random, unsigned index)
{
	unsigned count = 1 + (unsigned)(next_random(random) % (next_random(random) % 8 ? 8 : 120));
	unsigned alignment = 1u << next_random(random) % (next_random(random) % 4 ? 1 : 7);
	uint64_t wanted;
	bool possible = highest_run(count, alignment, &wanted);
	uint8_t *pages = page_alloc(count * PAGE_SIZE, alignment * PAGE_SIZE);

	assert_int_equal(pages != NULL, possible);
	if (!pages)
		return;
	assert_ptr_equal(pages, at(wanted));
	for (unsigned i = 0; i < count; i++) {
		uint64_t *page = at(wanted + i);

		assert_true(page[0] == 0 && page[1] == 0 && page[511] == 0);
		memset(page, 0xff, PAGE_SIZE);
		owner[wanted + i] = (uint8_t)(1 + index);
	}
	holders[index] = (struct holder){wanted, count};
}

static void random_free(uint64_t *random, unsigned index)
{
	struct holder *holder = &holders[index];
	unsigned count = next_random(random) % 4 ? holder->count : 1 + (unsigned)(next_random(random) % holder->count);

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(owner[holder->page + i], 1 + index);
	memset(owner + holder->page, 0, count);
	page_free(at(holder->page), count * PAGE_SIZE);
	holder->page += count;
	holder->count -= count;
}

static void random_heap(uint64_t *random)
{
	int delta = (int)(next_random(random) % 9) - 4;
	unsigned wanted = (unsigned)((int)heap_pages + delta);
	bool possible = delta >= 0 || heap_pages >= (unsigned)-delta;

	for (int i = 0; possible && i < delta; i++)
		possible = owner[heap_pages + (unsigned)i] == 0;
	assert_int_equal(page_heap_grow(delta * (intptr_t)PAGE_SIZE) != NULL, possible);
	if (!possible)
		return;
	for (unsigned i = 0; i < 8 && heap_pages + i < PAGES; i++) {
		if (delta > 0 && i < (unsigned)delta)
			owner[heap_pages + i] = 255;
	}
	for (unsigned i = wanted; i < heap_pages; i++)
		owner[i] = 0;
	heap_pages = wanted;
}

static void test_random_sequences(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		uint64_t random = seed * 0x9e3779b97f4a7c15u;

		set_up(NULL);
		memset(owner, 0, sizeof(owner));
		memset(holders, 0, sizeof(holders));
		heap_pages = 0;
		if (seed % 2) { /* a hole */
			restart();
			add_ram(0, 300);
			add_ram(310, PAGES - 310);
			memset(owner + 300, 255, 10);
			page_init(&boot, 0, 0);
		}

		uint64_t total = page_count_total();

		for (unsigned step = 0; step < 4000; step++) {
			unsigned index = (unsigned)(next_random(&random) % HOLDERS);

			if (next_random(&random) % 16 == 0)
				random_heap(&random);
			else if (holders[index].count)
				random_free(&random, index);
			else
				random_alloc(&random, index);
			assert_int_equal(page_count_free(), free_in_reference());
		}
		for (unsigned i = 0; i < HOLDERS; i++)
			page_free(holders[i].count ? at(holders[i].page) : NULL, holders[i].count * PAGE_SIZE);
		assert_non_null(page_heap_grow(-(intptr_t)(heap_pages * PAGE_SIZE)));
		assert_int_equal(page_count_free(), total);
		assert_non_null(page_alloc((seed % 2 ? 300 : PAGES) * PAGE_SIZE, PAGE_SIZE)); /* all merged */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_top_down_and_zeroed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_cannot_be, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_alignment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_boot_map, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_boot_without_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_most_ranges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_heap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_heap_meets_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_heap_range, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_poison, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_our_own_bugs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random_sequences, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
