/*
 * arch/x86_64's time of day and what kvm-clock tells, by forged pages of that clock; the real-time clock of a PC, by forged registers.
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

/* What rates.c measures with: the host's time, 1 GHz. */
const struct reference references[1];
const unsigned reference_count = 0;
void lapic_timer_setup(uint32_t lvt) { (void)lvt; }
void lapic_timer_start(uint32_t count) { (void)count; }
uint32_t lapic_timer_current(void) { return (uint32_t)-clock_ns(); }

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
	assert_string_equal(rates_find(false).source, "kvm-clock");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kvm_wall, set_up), cmocka_unit_test_setup(test_kvm_wall_missing, set_up),
		cmocka_unit_test_setup(test_kvm_rate, set_up), cmocka_unit_test_setup(test_order, set_up),
		cmocka_unit_test_setup(test_rtc, set_up),
	};

	return cmocka_run_group_tests_name("x86_64: the time of day", tests, NULL, NULL);
}
