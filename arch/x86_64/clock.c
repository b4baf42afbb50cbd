/*
 * Time: the TSC, scaled to nanoseconds, counted from the entry into the image; and the one interrupt that ends a sleep, from the
 * TSC's deadline register where the CPU has it, else from the local APIC's timer.
 *
 * Scaling is a multiplication by a fixed-point factor. It uses 128 bits, so it does not overflow and rounds down: time never
 * runs backwards. The factor is one word that changes once, when the rate is known better, to a larger one: whoever reads the time
 * meanwhile, on whatever CPU, goes by either. Each CPU adds to its TSC what it is behind the first one's (smp.c).
 */
#include <arch/clock.h>

#include <base/log.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define NS_PER_S UINT64_C(1000000000)
#define TICKS_SHIFT 30 /* of ticks per nanosecond: room for 17 GHz */

#define LVT_DEADLINE (2u << 17)

static struct rates rates;
static bool can_measure, booted;
static uint64_t tsc_hz;
static uint64_t ns_per_tick;  /* 32 bits of fraction */
static uint64_t ticks_per_ns; /* TICKS_SHIFT bits of fraction */
static bool deadline_mode;

static uint64_t scale(uint64_t value, uint64_t factor, unsigned shift)
{
	return (uint64_t)((unsigned __int128)value * factor >> shift);
}

static void set_rate(uint64_t hz)
{
	tsc_hz = hz;
	ns_per_tick = (NS_PER_S << 32) / hz;
	ticks_per_ns = (hz << TICKS_SHIFT) / NS_PER_S;
}

void clock_init_cpu(void) { lapic_timer_setup(VECTOR_TIMER | (deadline_mode ? LVT_DEADLINE : 0)); }

static void settle(void)
{
	rates_end();
	set_rate(rates.tsc_hz);
}

/* False: it is too early, or the rate is being measured. */
static bool find_rate(void)
{
	if (!can_measure)
		return false;
	can_measure = false;
	rates_find(&rates, !deadline_mode);
	if (booted)
		settle();
	else /* the highest rate that it may be, so that time never goes back when it becomes known better */
		set_rate(rates.tsc_hz + (rates.error_ppm ? rates.tsc_hz * RATES_ERROR_MAX_PPM / 1000000 : 0));
	clock_init_cpu();
	return true;
}

uint64_t clock_hz(void) { return tsc_hz || find_rate() ? tsc_hz : 0; }

/* 0 until there can be a rate: so early, GS leads nowhere yet. */
uint64_t clock_ns(void) { return likely(tsc_hz) || find_rate() ? scale(clock_ticks() - boot_ticks, ns_per_tick, 32) : 0; }

/* The local APIC's timer has 32 bits: a long wait ends early, and clock_interrupt() goes on. */
static void start_countdown(uint64_t deadline_ns)
{
	uint64_t now = clock_ns(), wait = deadline_ns > now ? MIN(deadline_ns - now, NS_PER_S) : 0;

	lapic_timer_start((uint32_t)MAX(MIN(wait * (rates.lapic_hz / 1000) / 1000000, (uint64_t)UINT32_MAX), UINT64_C(1)));
}

void clock_arm(uint64_t deadline_ns)
{
	if (unlikely(!tsc_hz))
		(void)find_rate();
	this_cpu()->armed_ns = deadline_ns;
	if (deadline_ns == UINT64_MAX && deadline_mode)
		wrmsr(MSR_TSC_DEADLINE, 0);
	else if (deadline_ns == UINT64_MAX)
		lapic_timer_start(0);
	else if (deadline_mode)
		wrmsr(MSR_TSC_DEADLINE, boot_ticks + scale(deadline_ns, ticks_per_ns, TICKS_SHIFT) + 1 - this_cpu()->tsc_offset);
	else
		start_countdown(deadline_ns);
}

void clock_interrupt(void)
{
	struct cpu *cpu = this_cpu();

	if (cpu->armed_ns != UINT64_MAX && clock_ns() < cpu->armed_ns)
		clock_arm(cpu->armed_ns);
	else
		cpu->armed_ns = UINT64_MAX;
}

/* The rate is found when somebody first needs it: a log line, a wait for a device, a program that asks for the time. */
void clock_init(void)
{
	deadline_mode = cpuid(1).ecx & BIT64(24);
	rates_begin(&rates);
	can_measure = true;
}

void clock_refine(void)
{
	booted = true;
	if (log_is_off() && can_measure)
		return;
	if (!find_rate()) {
		rates_refine(&rates);
		settle();
	}
	if (log_is_off())
		return;
	rates_tell(&rates);

	char timer[40] = "TSC deadline";

	if (!deadline_mode)
		format_text(timer, sizeof(timer), "at %u.%03u MHz", (unsigned)(rates.lapic_hz / 1000000),
		            (unsigned)(rates.lapic_hz / 1000 % 1000));
	log_info("clock: TSC %u.%03u MHz (%s, error %u ppm); timer: %s, %s", (unsigned)(tsc_hz / 1000000),
	         (unsigned)(tsc_hz / 1000 % 1000), rates.source, rates.error_ppm, lapic_is_x2apic() ? "x2APIC" : "xAPIC", timer);
}
