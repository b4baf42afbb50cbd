/*
 * What programs stand on: time and memory. Time is tested against itself only, since no second clock is sure to exist; on a busy
 * host a sleep may be far too long, but never too short.
 */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#include "pattern.h"

#define MS_NS UINT64_C(1000000)

static void test_monotony(void)
{
	uint64_t ns = clock_ns(), ticks = clock_ticks();
	unsigned backwards = 0;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ns_now = clock_ns(), ticks_now = clock_ticks();

		backwards += ns_now < ns || ticks_now < ticks;
		ns = ns_now;
		ticks = ticks_now;
	}
	if (!tap_ok(!backwards, "clock never goes backwards"))
		tap_detail("backwards: %u of 20000", backwards);
}

/* A moment in nanoseconds, and ticks before and after that reading: this CPU may have been held up in between. */
struct moment {
	uint64_t ticks_before, ns, ticks_after;
};

static struct moment moment_now(void)
{
	struct moment moment;

	moment.ticks_before = clock_ticks();
	moment.ns = clock_ns();
	moment.ticks_after = clock_ticks();
	return moment;
}

static void test_rate(void)
{
	struct moment start = moment_now(), end;
	uint64_t ns, least, most, expected;

	loop_sleep(20 * MS_NS);
	end = moment_now();
	ns = end.ns - start.ns;
	least = end.ticks_before - start.ticks_after;
	most = end.ticks_after - start.ticks_before;
	expected = ns / 1000 * (clock_hz() / 1000) / 1000;
	if (!tap_ok(least <= expected + expected / 100 && most >= expected - expected / 100,
	            "clock's ticks and nanoseconds agree"))
		tap_detail("hz: %lu, ns: %lu, ticks: %lu to %lu", clock_hz(), ns, least, most);
}

static void test_sleep(void)
{
	uint64_t start = clock_ns(), elapsed;

	loop_sleep(50 * MS_NS);
	elapsed = clock_ns() - start;
	if (!tap_ok(elapsed >= 50 * MS_NS && elapsed < 50 * MS_NS + 5 * SECOND_NS, "a sleep of 50 ms lasts as long"))
		tap_detail("ns: %lu", elapsed);
}

static struct order_timer {
	struct timer timer;
	uint64_t ran_ns;
	unsigned place;
} order_timers[4];
static unsigned order_count;
static bool order_done;

static void order_run(struct timer *timer)
{
	struct order_timer *this = container_of(timer, struct order_timer, timer);

	this->ran_ns = clock_ns();
	this->place = order_count++;
	order_done = order_count == ARRAY_SIZE(order_timers) - 1;
}

static void test_timers(void)
{
	static const struct {
		unsigned ms, place;
	} plan[ARRAY_SIZE(order_timers)] = {{30, 2}, {10, 0}, {20, 1}, {25, 0}};
	uint64_t start = clock_ns();
	bool right;

	memset(order_timers, 0, sizeof(order_timers));
	order_count = 0;
	order_done = false;
	for (unsigned i = 0; i < ARRAY_SIZE(plan); i++)
		timer_start(&order_timers[i].timer, start + plan[i].ms * MS_NS, order_run);
	timer_stop(&order_timers[3].timer);
	right = loop_wait(&order_done, PATIENCE_NS);
	for (unsigned i = 0; i < ARRAY_SIZE(plan) - 1; i++)
		right = right && order_timers[i].place == plan[i].place && order_timers[i].ran_ns >= start + plan[i].ms * MS_NS;
	tap_ok(right && !order_timers[3].ran_ns, "timers run in order of time, a stopped one never");
}

static bool all_zero(const uint8_t *memory, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (memory[i])
			return false;
	}
	return true;
}

static void test_pages(void)
{
	uint64_t before = page_count_free();
	size_t bytes = 1024 * 1024, alignment = 64 * 1024;
	uint8_t *first = page_alloc(bytes, alignment), *second;
	bool right = first && (uintptr_t)first % alignment == 0 && all_zero(first, bytes);

	if (first) {
		pattern_fill(1, 0, first, bytes);
		right = right && pattern_check(1, 0, first, bytes) == bytes;
		page_free(first, bytes);
	}
	second = page_alloc(bytes, PAGE_SIZE);
	right = right && second && all_zero(second, bytes);
	if (second)
		page_free(second, bytes);
	if (!tap_ok(right && page_count_free() == before, "pages come aligned and zeroed and go back"))
		tap_detail("free before: %lu, after: %lu", before, page_count_free());
	tap_ok(!page_alloc((size_t)(page_count_total() + 1) * PAGE_SIZE, PAGE_SIZE), "more pages than there are get no memory");
}

static void test_heap(void)
{
	enum { COUNT = 64 };
	static uint8_t *blocks[COUNT];
	bool right = true;

	for (unsigned i = 0; i < COUNT; i++) {
		size_t length = 1 + (size_t)pattern_word(2, i) % 20000;

		blocks[i] = malloc(length / 2 + 1);
		if (blocks[i])
			blocks[i] = realloc(blocks[i], length);
		right = right && blocks[i];
		if (blocks[i])
			pattern_fill(i, 0, blocks[i], length);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		size_t length = 1 + (size_t)pattern_word(2, i) % 20000;

		right = right && blocks[i] && pattern_check(i, 0, blocks[i], length) == length;
		free(blocks[i]);
	}
	tap_ok(right, "heap blocks keep what they hold");
}

void selftest_base(void)
{
	test_monotony();
	test_rate();
	test_sleep();
	test_timers();
	test_pages();
	test_heap();
}
