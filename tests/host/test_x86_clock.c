/*
 * arch/x86_64's time of day and what kvm-clock tells, by forged pages of that clock; the real-time clock of a PC, by forged registers; and
 * the rate of the TSC by counters that are true, late, absent, or lie.
 */
#include "check.h"

#include <arch/clock.h>
#include <base/acpi.h>
#include <base/util.h>

#include "forged.h"

#define clock_epoch_ns forged_epoch_ns
uint64_t forged_epoch_ns(void);
#include "../../arch/x86_64/wall.c"
#include "../../arch/x86_64/rates.c"

#define S NS_PER_S

static bool kvm;
static struct kvm_clock told_clock;
static struct kvm_wall_clock told_wall;
static uint64_t clock_page; /* as long as it is registered */

struct cpuid forged_cpuid(uint32_t leaf)
{
	if (!kvm)
		return (struct cpuid){0};
	switch (leaf) {
	case 1:
		return (struct cpuid){.ecx = 1u << 31};
	case LEAF_HYPERVISOR:
		return (struct cpuid){.eax = LEAF_HYPERVISOR + 1, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d};
	case LEAF_HYPERVISOR + 1:
		return (struct cpuid){.eax = KVM_FEATURE_CLOCKSOURCE2};
	default:
		return (struct cpuid){0};
	}
}

uint64_t forged_rdmsr(uint32_t msr)
{
	fail_msg("MSR %#x is read", msr);
	return 0;
}

void forged_wrmsr(uint32_t msr, uint64_t value)
{
	if (msr == MSR_KVM_WALL_CLOCK) {
		assert_int_equal(value % 4, 0);
		memcpy((void *)value, &told_wall, sizeof(told_wall));
	} else if (msr == MSR_KVM_SYSTEM_TIME) {
		clock_page = value;
		if (value & 1) {
			assert_int_equal(value % 32, 1); /* within a page, by its alignment */
			memcpy((void *)(value - 1), &told_clock, sizeof(told_clock));
		}
	} else {
		fail_msg("MSR %#x is written", msr);
	}
}

/* What rates.c measures: the host's time, 1 GHz. The local APIC's timer counts the same. */
static uint64_t lapic_started;
static uint32_t lapic_count;
void lapic_timer_start(uint32_t count)
{
	lapic_started = clock_ns();
	lapic_count = count;
}
uint32_t lapic_timer_current(void)
{
	uint64_t passed = clock_ns() - lapic_started;

	return passed < lapic_count ? lapic_count - (uint32_t)passed : 0;
}

/* What it measures with: two counters, of 16 and 24 bits. */
static struct counter {
	bool there, runs;
	uint64_t hz, lost; /* what it really counts by; so many counts behind */
	uint32_t noise;    /* of any kind, if not 0 */
} counters[2];

static bool start(const struct counter *counter) { return counter->there; }

static uint32_t count(struct counter *counter)
{
	uint64_t now = clock_ns() * counter->hz / S - counter->lost;

	if (!counter->noise)
		return counter->runs ? (uint32_t)now : 0;
	counter->noise = counter->noise * 1664525 + 1013904223;
	/* A random walk or random jumps, forwards or to anywhere. */
	switch (counter->noise >> 13 & 3) {
	case 0:
		counter->lost += counter->noise >> 20;
		break;
	case 1:
		counter->lost -= counter->noise >> 24;
		break;
	case 2:
		return counter->noise;
	}
	return (uint32_t)now;
}

static bool start_pit(void) { return start(&counters[0]); }
static bool start_pm(void) { return start(&counters[1]); }
static uint32_t count_pit(void) { return count(&counters[0]); }
static uint32_t count_pm(void) { return count(&counters[1]); }
static void stop_pit(void) { counters[0].there = false; }
static void stop_pm(void) { counters[1].there = false; }

const struct reference references[] = {
	{"16 bits", 1193182, 0xffff, start_pit, count_pit, stop_pit},
	{"24 bits", 3579545, 0xffffff, start_pm, count_pm, stop_pm},
};
const unsigned reference_count = ARRAY_SIZE(references);

/* ---- the real-time clock ---- */

static uint8_t rtc[128], rtc_index;
static unsigned updating; /* so many looks */

static uint64_t get(void *context, uint64_t offset, unsigned width)
{
	(void)context;
	assert_int_equal(width, 1);
	if (!offset)
		return UINT8_MAX;
	if (rtc_index == RTC_A && updating)
		return updating--, A_UPDATING;
	return rtc[rtc_index];
}

static void put(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	(void)context;
	assert_int_equal(width, 1);
	assert_int_equal(offset, 0);
	rtc_index = value & 127;
}

static struct host_region ports = {.base = RTC_INDEX, .size = 2, .read = get, .write = put};

static void set_rtc(uint8_t mode, uint8_t year, uint8_t month, uint8_t day, uint8_t hour, uint8_t minute, uint8_t second)
{
	rtc[RTC_B] = mode;
	rtc[RTC_YEAR] = year;
	rtc[RTC_MONTH] = month;
	rtc[RTC_DAY] = day;
	rtc[RTC_HOURS] = hour;
	rtc[RTC_MINUTES] = minute;
	rtc[RTC_SECONDS] = second;
}

static int set_up(void **state)
{
	(void)state;
	host_boot(64 << 10);
	host_clock_set(0);
	kvm = false;
	told_clock = (struct kvm_clock){.system_time = 40 * S, .tsc_to_ns = 0x80000000, .shift = 0};
	told_wall = (struct kvm_wall_clock){.version = 2, .seconds = 1900000000, .nanoseconds = 250000000};
	memset(rtc, 0, sizeof(rtc));
	updating = 0;
	acpi_init(0);
	host_console_capture(true);
	wall_init(&(struct boot_info){.epoch = 0});
	return 0;
}

/* The answer is kept for good, so each question is asked of a machine anew. */
static uint64_t epoch_of_machine(void)
{
	uint64_t now = rtc_now(), kvm_ns = kvm_boot();

	return kvm_ns ? kvm_ns : now ? now * S - clock_ns() : 0;
}

/* ---- kvm-clock ---- */

/* It has counted for 40 s when we have for 5 of them: boot was that much later than when its time was zero. */
static void test_kvm_wall(void **state)
{
	(void)state;
	kvm = true;
	host_clock_set(5 * S);
	assert_int_equal(kvm_boot(), 1900000000 * S + 250000000 + 40 * S - 5 * S);
	assert_int_equal(clock_page, 0); /* nobody writes to our memory any more */
}

static void test_kvm_wall_missing(void **state)
{
	(void)state;
	kvm = true;
	told_wall.seconds = 0;
	assert_int_equal(kvm_boot(), 0);
	told_wall.seconds = 1;
	told_clock.system_time = 0;
	assert_int_equal(kvm_boot(), 0);
	kvm = false;
	assert_int_equal(kvm_boot(), 0);
}

/* nanoseconds = (ticks << shift) * scale / 2^32 */
static void test_kvm_rate(void **state)
{
	static const struct {
		uint32_t scale;
		int8_t shift;
		uint64_t hz;
	} cases[] = {
		{0x80000000, 0, 2000000000}, {0x80000000, -1, 4000000000}, {0x80000000, 1, 1000000000},
		{0xffffffff, 0, 1000000000}, {0xaaaaaaab, 0, 1499999999},  {0, 0, 0},
		{0x80000000, 32, 0},         {0x80000000, -32, 0},         {1, -31, 0},
	};

	(void)state;
	kvm = true;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rates rates = {0};

		told_clock.tsc_to_ns = cases[i].scale;
		told_clock.shift = cases[i].shift;
		if (i == 8) { /* nonsense: some rate, or none, and no fault */
			(void)rates_from_kvm(&rates);
			continue;
		}
		assert_int_equal(rates_from_kvm(&rates), cases[i].hz != 0);
		assert_int_equal(rates.tsc_hz, cases[i].hz);
	}
	told_clock.tsc_to_ns = 0x80000000;
	told_clock.shift = 0;
	struct rates rates = {0};

	rates_begin(&rates);
	assert_string_equal(rates.source, "kvm-clock");
	rates_find(&rates, false);
	assert_int_equal(rates.tsc_hz, 2000000000);
}

/* ---- measured ---- */

static int set_up_counters(void **state)
{
	set_up(state);
	for (unsigned i = 0; i < 2; i++)
		counters[i] = (struct counter){.there = true, .runs = true, .hz = references[i].hz};
	reference = NULL;
	refused = NULL;
	next = 0;
	host_clock_step = 300;
	return 0;
}

static int tear_down_counters(void **state)
{
	(void)state;
	host_clock_step = 0;
	return 0;
}

static void assert_rates(const struct rates *rates, const char *source, unsigned error_max)
{
	assert_string_equal(rates->source, source);
	assert_in_range(rates->error_ppm, 0, error_max);
	assert_in_range(rates->tsc_hz, S - S / MHZ * (rates->error_ppm + 1), S + S / MHZ * (rates->error_ppm + 1));
	assert_in_range(rates->lapic_hz, S - S / 50, S + S / 50);
}

/* However much later, and however often the counter has come round. */
static void test_measured(void **state)
{
	static const struct {
		uint64_t later;
		unsigned error_max;
	} cases[] = {{0, 10000},     {5000000, 500},   {27400000, 100},    {54900000, 60},    {55000000, 60},
	             {80000000, 60}, {1000000000, 10}, {4000000000, 1500}, {9000000000, 1500}};

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned j = 0; j < ARRAY_SIZE(cases); j++) {
			struct rates rates = {0};

			set_up_counters(state);
			counters[!i].there = false;
			rates_begin(&rates);
			host_clock_advance(cases[j].later);

			uint64_t start = clock_ns();

			rates_find(&rates, true);
			assert_rates(&rates, references[i].name, cases[j].error_max);
			assert_in_range(clock_ns() - start, 100000, 8000000);
			assert_true(counters[i].there);
			rates_end();
			assert_false(counters[i].there);
			assert_string_equal(host_console_text(), "");
		}
	}
}

/* Needed at once, and known better later; unless the counter has gone astray meanwhile. The local APIC's timer has other work then. */
static void test_refined(void **state)
{
	static const uint64_t later[] = {100000, 20000000, 100000000, 1500000000, 6000000000};

	for (unsigned astray = 0; astray < 2; astray++) {
		for (unsigned i = 0; i < ARRAY_SIZE(later); i++) {
			struct rates rates = {0}, early;

			set_up_counters(state);
			rates_begin(&rates);
			rates_find(&rates, true);
			assert_rates(&rates, references[0].name, 10000);
			early = rates;
			host_clock_advance(later[i]);
			lapic_timer_start(5000000);
			if (astray)
				counters[0].hz = counters[0].hz * 103 / 100;
			rates_refine(&rates);
			assert_rates(&rates, references[0].name, early.error_ppm);
			assert_int_equal(rates.error_ppm < early.error_ppm, !astray);
			assert_int_equal(rates.lapic_hz, early.lapic_hz);
			assert_int_equal(lapic_count, 5000000);
		}
	}
}

/* Counts that were lost before do not count; who loses them all the time, or stands still, is none; and there is one other at least. */
static void test_liars(void **state)
{
	struct rates rates = {0};

	(void)state;
	rates_begin(&rates);
	host_clock_advance(10000000);
	counters[0].lost = 300;
	rates_find(&rates, true);
	assert_rates(&rates, references[0].name, 1500);

	set_up_counters(state);
	counters[0].runs = false;
	rates = (struct rates){0};
	rates_begin(&rates);
	assert_false(counters[0].there);
	counters[1].runs = false;
	rates_find(&rates, true);
	assert_rates(&rates, "local APIC, taken as 1 GHz", 1500);
	rates_end();
	rates_tell(&rates);
	assert_non_null(strstr(host_console_text(), "24 bits is no good reference"));

	set_up_counters(state);
	counters[0].there = counters[1].there = false;
	rates = (struct rates){0};
	rates_begin(&rates);
	assert_int_equal(rates.tsc_hz, 0);
	rates_find(&rates, true);
	assert_rates(&rates, "local APIC, taken as 1 GHz", 1500);
	rates_refine(&rates);
	assert_rates(&rates, "local APIC, taken as 1 GHz", 1500);
}

/* ---- who is asked ---- */

static void test_order(void **state)
{
	(void)state;
	/* 2029-02-28 23:59:58 */
	host_pio_add(&ports);
	set_rtc(B_24_HOURS, 0x29, 2, 0x28, 0x23, 0x59, 0x58);
	assert_int_equal(epoch_of_machine(), 1867017598 * S);
	kvm = true;
	assert_int_equal(epoch_of_machine(), 1900000000 * S + 250000000 + 40 * S);
	wall_init(&(struct boot_info){.epoch = 1700000000});
	assert_int_equal(forged_epoch_ns(), 1700000000 * S); /* the firmware's word counts most */
	host_pio_remove(&ports);
}

static void test_rtc(void **state)
{
	(void)state;
	assert_int_equal(rtc_now(), 0); /* none */
	host_pio_add(&ports);
	set_rtc(B_24_HOURS | B_BINARY, 29, 2, 28, 23, 59, 58);
	assert_int_equal(rtc_now(), 1867017598);
	set_rtc(B_BINARY, 29, 2, 28, 11 | HOUR_PM, 59, 58);
	assert_int_equal(rtc_now(), 1867017598);
	set_rtc(0, 0x29, 2, 0x28, 0x11 | HOUR_PM, 0x59, 0x58);
	updating = 5;
	assert_int_equal(rtc_now(), 1867017598);
	set_rtc(0, 0x29, 3, 1, 0x12, 0, 0); /* 12 AM */
	assert_int_equal(rtc_now(), 1867017600);
	set_rtc(B_24_HOURS, 0x70, 1, 1, 0, 0, 0); /* no century: 1970 */
	assert_int_equal(rtc_now(), 0);
	set_rtc(B_24_HOURS, 0x24, 2, 0x29, 0, 0, 0);
	assert_int_equal(rtc_now(), 1709164800);
	set_rtc(B_24_HOURS, 0x24, 0x13, 1, 0, 0, 0); /* nonsense */
	assert_int_equal(rtc_now(), 0);
	updating = UINT32_MAX; /* for ever */
	assert_int_equal(rtc_now(), 0);
	host_pio_remove(&ports);
}

/* Whatever a counter shows: it ends soon, with some rate. */
static void test_noise(void **state)
{
	for (uint32_t seed = 1; seed <= 300; seed++) {
		struct rates rates = {0};

		set_up_counters(state);
		counters[seed % 2].noise = seed;
		counters[!(seed % 2)].there = seed % 3 == 0;
		rates_begin(&rates);
		host_clock_advance(seed * 100000);
		rates_find(&rates, true);
		assert_true(rates.tsc_hz && rates.lapic_hz);
		rates_refine(&rates);
		rates_end();
		assert_true(rates.tsc_hz && rates.lapic_hz);
		assert_true(clock_ns() < S);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kvm_wall, set_up),
		cmocka_unit_test_setup(test_kvm_wall_missing, set_up),
		cmocka_unit_test_setup(test_kvm_rate, set_up),
		cmocka_unit_test_setup(test_order, set_up),
		cmocka_unit_test_setup(test_rtc, set_up),
		cmocka_unit_test_setup_teardown(test_measured, set_up_counters, tear_down_counters),
		cmocka_unit_test_setup_teardown(test_refined, set_up_counters, tear_down_counters),
		cmocka_unit_test_setup_teardown(test_liars, set_up_counters, tear_down_counters),
		cmocka_unit_test_setup_teardown(test_noise, set_up_counters, tear_down_counters),
	};

	return cmocka_run_group_tests_name("x86_64: the time of day", tests, NULL, NULL);
}
