/*
 * The CPUs: each answers, keeps its own time, and does with the others what they share. On a single CPU all of it passes there.
 */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#include "pattern.h"

#define TIMER_NS UINT64_C(20000000)
#define ROUNDS 100
#define LINES 20
#define BOUNCES 2000u

/* One CPU's part, written by that CPU alone. */
static struct part {
	struct cpu_call call;
	struct timer timer;
	struct event done; /* the first CPU's */
	uint64_t started_ns, ran_ns;
	unsigned index, ran_on, wrong;
} parts[CPU_MAX];
static unsigned parts_done;
static bool all_done;

static void part_done(struct event *event)
{
	(void)event;
	all_done = ++parts_done == cpu_count();
}

/* On all CPUs at once. True: all came back. */
static bool everywhere(void (*run)(void *part), bool tell)
{
	memset(parts, 0, sizeof(parts));
	parts_done = 0;
	all_done = false;
	for (unsigned i = 0; i < cpu_count(); i++) {
		parts[i].index = i;
		event_init(&parts[i].done, part_done);
		cpu_call(&parts[i].call, i, run, &parts[i], tell ? &parts[i].done : NULL);
	}
	return loop_wait(&all_done, PATIENCE_NS);
}

static unsigned wrong_in_all(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < cpu_count(); i++)
		wrong += parts[i].wrong;
	return wrong;
}

static void answer(void *arg)
{
	struct part *part = arg;

	part->ran_on = cpu_index();
	part->wrong = part->ran_on != part->index;
}

static void test_calls(void)
{
	bool right = everywhere(answer, true) && !wrong_in_all();
	struct part *last = &parts[cpu_count() - 1];

	*last = (struct part){.index = cpu_count() - 1};
	cpu_run(last->index, answer, last);
	tap_ok(right && last->ran_on == last->index, "%u CPUs answer calls", cpu_count());
}

static void timer_ran(struct timer *timer)
{
	struct part *part = container_of(timer, struct part, timer);

	part->ran_ns = clock_ns();
	part->ran_on = cpu_index();
	event_mark(&part->done);
}

static void start_timer(void *arg)
{
	struct part *part = arg;

	part->started_ns = clock_ns();
	timer_start(&part->timer, part->started_ns + TIMER_NS * (1 + part->index % 4), timer_ran);
}

/* Sent before, taken there, back after: the clocks of CPUs do not contradict that. */
static void test_timers(void)
{
	uint64_t before = clock_ns(), after;
	bool all = everywhere(start_timer, false);
	const struct part *part = parts, *end = parts + cpu_count();

	after = clock_ns();
	for (; part < end; part++) {
		if (part->ran_on != part->index || part->started_ns < before || part->ran_ns > after ||
		    part->ran_ns < part->started_ns + TIMER_NS * (1 + part->index % 4))
			break;
	}
	if (!tap_ok(all && part == end, "each CPU's timer runs there, in time that all share") && part < end)
		tap_detail("cpu: %u, on: %u, ns: %lu %lu %lu %lu", part->index, part->ran_on, before, part->started_ns,
		           part->ran_ns, after);
}

static void use_memory(void *arg)
{
	struct part *part = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t bytes = (1 + pattern_word(part->index, i) % 8) * PAGE_SIZE;
		uint8_t *pages = page_alloc(bytes, PAGE_SIZE), *block = malloc(bytes / 3);

		if (pages)
			pattern_fill(part->index, i, pages, bytes);
		if (block)
			pattern_fill(part->index, ~i, block, bytes / 3);
		part->wrong += !pages || pattern_check(part->index, i, pages, bytes) != bytes;
		part->wrong += !block || pattern_check(part->index, ~i, block, bytes / 3) != bytes / 3;
		free(block);
		if (pages)
			page_free(pages, bytes);
	}
}

static void test_memory(void)
{
	bool right = everywhere(use_memory, true);

	if (!tap_ok(right && !wrong_in_all(), "all CPUs take memory and give it back at once"))
		tap_detail("wrong: %u", wrong_in_all());
}

static void write_lines(void *arg)
{
	const struct part *part = arg;

	for (unsigned i = 0; i < LINES; i++)
		log_debug("cpu %u of %u writes line %u of %u.", part->index, cpu_count(), i, LINES);
}

/* Whether they were whole is for whoever reads them. */
static void test_lines(void) { tap_ok(everywhere(write_lines, true), "all CPUs write lines at once"); }

/* A ring of events, one for each CPU, each marking the next: the count is touched by whoever runs, and by nobody else. */
static struct event ring[CPU_MAX];
static unsigned bounces;
static struct event ring_done;

static void bounce(struct event *event)
{
	unsigned here = cpu_index();

	parts[here].wrong += event != &ring[here];
	if (++bounces < BOUNCES)
		event_mark(&ring[(here + 1) % cpu_count()]);
	else
		event_mark(&ring_done);
}

static void test_ring(void)
{
	bool right;

	memset(parts, 0, sizeof(parts));
	bounces = 0;
	all_done = false;
	parts_done = cpu_count() - 1;
	event_init(&ring_done, part_done);
	for (unsigned i = 0; i < cpu_count(); i++)
		event_init_on(&ring[i], i, bounce);
	event_mark(&ring[0]);
	right = loop_wait(&all_done, PATIENCE_NS);
	if (!tap_ok(right && bounces == BOUNCES && !wrong_in_all(), "a mark goes round the CPUs %u times", BOUNCES))
		tap_detail("bounces: %u, on a wrong CPU: %u", bounces, wrong_in_all());
}

void selftest_cpu(void)
{
	test_calls();
	test_timers();
	test_memory();
	test_lines();
	test_ring();
}
