/*
 * Hostile devices: every lie of swdev_lies.c, told to every driver that it concerns, over every front where it makes sense.
 *
 * Whatever the device does: no report of a sanitizer; bounded time; no rule of the spec broken by the driver; each request ended once;
 * all memory back; few log lines, and one at least where there is something to say; and an honest device in its place works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work_impl.h"

#define WORK 12u
#define HOSTILE_NS UINT64_C(100000000) /* fake time that a hostile device gets for its work */
#define BOUND_NS UINT64_C(60000000000) /* fake time from plugging to the end of unplugging */
#define CPU_SECONDS 60
#define LINES_MAX 24u

static const struct way {
	const char *name;
	const struct swdev_front *front;
	unsigned mask;
	bool legacy, packed;
} ways[] = {
	{"direct", &swdev_direct, FRONT_DIRECT, false, false}, {"direct, packed", &swdev_direct, FRONT_DIRECT, false, true},
	{"mmio", &swdev_mmio, FRONT_MMIO, false, false},       {"mmio, legacy", &swdev_mmio, FRONT_MMIO_LEGACY, true, false},
	{"pci", &swdev_pci, FRONT_PCI, false, false},          {"pci, legacy", &swdev_pci, FRONT_PCI_LEGACY, true, false},
};

static unsigned tellings; /* of the lie at hand, to all drivers */
static bool said;         /* what it shall make the log say */

static struct swdev *make(const struct way *way, const struct swdev_type *type)
{
	struct swdev *dev = swdev_new(type);

	dev->legacy = way->legacy;
	if (way->packed)
		dev->offered |= FEATURE(F_RING_PACKED);
	return dev;
}

/* Log lines since the capture began; records and plain lines are none. */
static unsigned log_lines(void)
{
	unsigned lines = 0;

	for (const char *text = host_console_text(); *text; text++)
		lines += *text == '[' && (text == host_console_text() || text[-1] == '\n');
	return lines;
}

[[gnu::format(printf, 4, 5)]] static void complain(const struct swdev_lie *lie, const struct way *way,
                                                   const struct swdev_type *type, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "%s", host_console_text());
	fail_msg("\"%s\", %s over %s: %s", lie->name, type->name, way->name, text);
}

/* A device that keeps the rules, in the same place, with the same driver. */
static void honest(const struct swdev_lie *lie, const struct way *way, const struct swdev_type *type)
{
	struct swdev *dev = make(way, type);
	struct swdev_work *work;

	host_console_capture(true);
	if (swdev_plug(dev, way->front))
		complain(lie, way, type, "an honest device is refused afterwards");
	work = swdev_work_begin(dev, WORK);
	if (!work || !swdev_work_wait(work, SWDEV_WORK_NS))
		complain(lie, way, type, "an honest device does not work afterwards");
	if (swdev_unplug(dev))
		complain(lie, way, type, "violations at an honest device afterwards");
	swdev_work_end(work);
	if (log_lines())
		complain(lie, way, type, "an honest device is complained of");
}

static void tell(const struct swdev_lie *lie, const struct way *way, const struct swdev_type *type)
{
	uint64_t free_pages = page_count_free(), start = clock_ns();
	unsigned attached = host_irq_attached(), violations, lines, told;
	struct swdev *dev = make(way, type);
	bool blind = lie->blind, worked = false;
	clock_t cpu = clock();
	struct swdev_work *work;

	host_console_capture(true);
	dev->lie = lie;
	dev->quiet = blind;
	dev->budget = 3; /* so that there is work under way for a while */
	swdev_plug(dev, way->front);
	work = swdev_work_begin(dev, WORK);
	if (work)
		worked = swdev_work_wait(work, HOSTILE_NS);
	violations = swdev_unplug(dev);
	swdev_work_end(work);
	told = swdev_lies_told;
	tellings += told;
	said |= lie->says && strstr(host_console_text(), lie->says);
	lines = log_lines();

	if (violations && !blind)
		complain(lie, way, type, "%u violations", violations);
	if (clock_ns() - start > BOUND_NS)
		complain(lie, way, type, "it took %llu ns", (unsigned long long)(clock_ns() - start));
	if ((clock() - cpu) / CLOCKS_PER_SEC > CPU_SECONDS)
		complain(lie, way, type, "it took more than %d s", CPU_SECONDS);
	if (told && !lie->harmless && !lines)
		complain(lie, way, type, "not a line about it");
	if (told && lie->works && !worked)
		complain(lie, way, type, "it does not work");
	if (lines > LINES_MAX || (lie->must_be_silent && lines))
		complain(lie, way, type, "%u lines", lines);
	if (host_irq_attached() != attached)
		complain(lie, way, type, "%u interrupts attached, %u before", host_irq_attached(), attached);
	if (page_count_free() != free_pages && !lie->leaks)
		complain(lie, way, type, "%llu pages free, %llu before", (unsigned long long)page_count_free(),
		         (unsigned long long)free_pages);
	honest(lie, way, type);
}

static void tell_everyone(void **state)
{
	const struct swdev_lie *lie = *state;
	unsigned fronts = lie->fronts ? lie->fronts : FRONT_DIRECT;

	tellings = 0;
	said = false;
	log_threshold = LOG_WARN;
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++) {
		if (!(fronts & ways[w].mask) || (lie->layout == SPLIT_ONLY && ways[w].packed) ||
		    (lie->layout == PACKED_ONLY && !ways[w].packed))
			continue;
		LINKER_FOR_EACH (swdev_workloads, workload)
			if (!lie->type || lie->type == (*workload)->type)
				tell(lie, &ways[w], (*workload)->type);
	}
	if (!tellings)
		fail_msg("\"%s\" was never told", lie->name);
	if (lie->says && !said)
		fail_msg("\"%s\": no log says \"%s\"", lie->name, lie->says);
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests = NULL;
	unsigned count = 0;
	int failed;

	LINKER_FOR_EACH (swdev_lies, lies) {
		for (const struct swdev_lie *lie = *lies; lie->name; lie++) {
			if (argc > 1 && !strstr(lie->name, argv[1]))
				continue;
			tests = realloc(tests, (count + 1) * sizeof(*tests));
			tests[count++] = (struct CMUnitTest){.name = lie->name,
			                                     .test_func = tell_everyone,
			                                     .initial_state = (void *)(uintptr_t)lie};
		}
	}
	swdev_machine(256u << 20); /* some lies leave what the device may write to for ever */
	failed = _cmocka_run_group_tests("hostile devices", tests, count, NULL, NULL);
	free(tests);
	return failed;
}
