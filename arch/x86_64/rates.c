/*
 * How fast the TSC and the local APIC's timer count.
 *
 * Told, where somebody tells: CPUID 15h and 16h, the hypervisors' leaf 40000010h, kvm-clock. Measured otherwise, against a counter
 * of known rate, and without holding up the boot: one tick of that counter is caught at once, and what is measured is the time from
 * there to when the rate is needed. Where there is no such counter, the local APIC's timer is the reference: under hypervisors it
 * counts at 1 GHz, less where somebody chose so.
 *
 * A measurement takes the time between two ticks of the reference, each caught between two readings of the TSC. Between those the
 * hypervisor may take the CPU away; so each end is the best of a few ticks, and what uncertainty is left is the stated error. A
 * third tick, a little before the last one, tells whether the reference is one: by what comes between these two it must have come as far.
 */
#include <arch/clock.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define KHZ UINT64_C(1000)
#define MHZ UINT64_C(1000000)
#define GHZ UINT64_C(1000000000)

#define SHORT_PER_SECOND 8000 /* one over the least time from tick to tick of three: while the boot waits for it ... */
#define LONG_PER_SECOND 1000  /* ... and where there will be no better one */
#define TICKS_TRIED 4         /* at each end */
#define READS_MAX 100000      /* without a tick: the reference stands still */
#define SPAN_MAX_SECONDS 2    /* the local APIC's timer takes longer to 0, 50 rounds of a reference last longer */

#define LEAF_CRYSTAL 0x15
#define LEAF_FREQUENCY 0x16
#define LEAF_HYPERVISOR 0x40000000
#define LEAF_HYPERVISOR_RATES 0x40000010

/* ---- told ---- */

static bool rates_from_cpuid(struct rates *rates)
{
	struct cpuid crystal = cpuid(LEAF_CRYSTAL);

	if (!crystal.eax || !crystal.ebx)
		return false;
	/* The local APIC is often not driven by that crystal in a virtual machine. */
	if (crystal.ecx)
		rates->tsc_hz = (uint64_t)crystal.ecx * crystal.ebx / crystal.eax;
	else
		rates->tsc_hz = (cpuid(LEAF_FREQUENCY).eax & 0xffff) * MHZ;
	rates->source = "CPUID 15h";
	return rates->tsc_hz != 0;
}

static bool under_hypervisor(void) { return cpuid(1).ecx & BIT64(31); }

static bool rates_from_hypervisor(struct rates *rates)
{
	struct cpuid r = cpuid(LEAF_HYPERVISOR_RATES);

	rates->tsc_hz = r.eax * KHZ;
	rates->lapic_hz = r.ebx * KHZ;
	rates->source = "CPUID 40000010h";
	return rates->tsc_hz != 0;
}

#define KVM_FEATURE_CLOCKSOURCE2 BIT64(3)
#define MSR_KVM_SYSTEM_TIME 0x4b564d01

/* pvclock_vcpu_time_info */
struct kvm_clock {
	uint32_t version, reserved0; /* odd: being written */
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_ns; /* nanoseconds = (ticks << shift) * this / 2^32 */
	int8_t shift;
	uint8_t flags, reserved1[2];
};
_Static_assert(sizeof(struct kvm_clock) == 32, "pvclock_vcpu_time_info");

/* As it is now, under a hypervisor. False: it is not offered. */
static bool kvm_clock(struct kvm_clock *copy)
{
	static volatile struct kvm_clock clock __attribute__((aligned(32)));
	struct cpuid id = cpuid(LEAF_HYPERVISOR);

	/* "KVMKVMKVM" */
	if (id.ebx != 0x4b4d564b || id.ecx != 0x564b4d56 || !(cpuid(LEAF_HYPERVISOR + 1).eax & KVM_FEATURE_CLOCKSOURCE2))
		return false;
	wrmsr(MSR_KVM_SYSTEM_TIME, (uintptr_t)&clock | 1);
	copy->system_time = clock.system_time;
	copy->tsc_to_ns = clock.tsc_to_ns;
	copy->shift = clock.shift;
	wrmsr(MSR_KVM_SYSTEM_TIME, 0);
	return true;
}

uint64_t rates_kvm_time(void)
{
	struct kvm_clock clock;

	return under_hypervisor() && kvm_clock(&clock) ? clock.system_time : 0;
}

static bool rates_from_kvm(struct rates *rates)
{
	struct kvm_clock clock;

	if (!kvm_clock(&clock) || !clock.tsc_to_ns || clock.shift < -31 || clock.shift > 31)
		return false;
	rates->tsc_hz = (GHZ << 32) / clock.tsc_to_ns;
	rates->tsc_hz = clock.shift < 0 ? rates->tsc_hz << -clock.shift : rates->tsc_hz >> clock.shift;
	rates->source = "kvm-clock";
	return rates->tsc_hz != 0;
}

/* ---- measured ---- */

struct tick {
	uint32_t count;      /* the reference's */
	uint64_t tsc, doubt; /* the middle and the length of the interval that has the tick */
	uint32_t lapic;
};

/* What is measured with, and since when. */
static const struct reference *reference;
static unsigned next; /* of references[] */
static struct tick first;
static const char *refused; /* one that was no good */

/* Wait for a tick that comes `counts` or somewhat more after a former one: the sharpest of several. False: there is none. */
static bool catch_tick(const struct tick *former, uint32_t counts, struct tick *best)
{
	uint32_t before = reference->read() & reference->mask;
	uint64_t from = clock_ticks();
	unsigned ticks = 0;

	best->doubt = UINT64_MAX;
	for (unsigned reads = 0; reads < READS_MAX; reads++) {
		uint32_t now = reference->read() & reference->mask;
		uint64_t to = clock_ticks();

		if (now != before && ((now - former->count) & reference->mask) >= counts) {
			if (to - from < best->doubt)
				*best = (struct tick){now, from + (to - from) / 2, to - from, lapic_timer_current()};
			if (++ticks == TICKS_TRIED)
				return true;
		}
		before = now;
		from = to;
	}
	return false;
}

static bool catch_first(void) { return catch_tick(&first, 0, &first); }

/*
 * Over all the time since the first tick. How far that may be off: half of the doubt at each end, and what a tick is worth, as it may have
 * come anywhere in that time. The short piece up to the last tick foretells the whole: how often the reference has come round, and how far it
 * must have come. Where it has not, it has lost ticks or goes by another time. The piece grows until the result is good.
 */
static bool measure_with(uint32_t pieces_per_second, struct rates *rates)
{
	uint32_t mask = reference->mask, hz = reference->hz, counts = MAX(hz / pieces_per_second, 1u);
	struct tick middle, last;

	if (!catch_tick(&first, counts, &middle))
		return false;
	for (; counts <= hz / LONG_PER_SECOND * 2 && catch_tick(&middle, counts, &last); counts *= 2) {
		uint64_t ticks = last.tsc - first.tsc + 1, piece = last.tsc - middle.tsc + 1;
		uint64_t foretold = ticks * ((last.count - middle.count) & mask) / piece;
		uint64_t whole = (last.count - first.count) & mask;

		whole += (foretold - whole + mask / 2) & ~(uint64_t)mask;
		if (!whole || foretold > (uint64_t)hz * SPAN_MAX_SECONDS)
			return false;

		uint64_t off = (MAX(whole, foretold) - MIN(whole, foretold)) * MHZ / whole;
		uint64_t error = (first.doubt + last.doubt) / 2 * MHZ / ticks + MHZ / whole;

		*rates = (struct rates){reference->name, ticks * hz / whole, (uint64_t)(first.lapic - last.lapic) * hz / whole,
		                        (unsigned)error};
		if (off + error <= RATES_ERROR_MAX_PPM && rates->tsc_hz)
			return true;
		rates->tsc_hz = 0;
	}
	return false;
}

/* The next one that is there, and counts; the local APIC's timer counts from there on, too. */
static bool next_reference(void)
{
	while (next < reference_count) {
		reference = &references[next++];
		if (!reference->start())
			continue;
		if (catch_first())
			return true;
		reference->stop();
	}
	reference = NULL;
	return false;
}

/* The local APIC's timer counts down; as a reference it counts up. */
static uint32_t lapic_read(void) { return 0u - lapic_timer_current(); }

/* It is needed for other things: all at once. */
static void measure_with_lapic(struct rates *rates)
{
	static const struct reference lapic = {"local APIC, taken as 1 GHz", GHZ, UINT32_MAX, NULL, lapic_read, NULL};

	reference = &lapic;
	if (!catch_first() || !measure_with(LONG_PER_SECOND, rates))
		*rates = (struct rates){.source = "nothing, taken as 1 GHz", .tsc_hz = GHZ, .lapic_hz = GHZ, .error_ppm = MHZ};
	reference = NULL;
}

/* ---- both ---- */

/* The local APIC's rate by the TSC's, which is known. */
static uint64_t measure_lapic(uint64_t tsc_hz)
{
	uint64_t start = clock_ticks(), ticks;
	uint32_t count = lapic_timer_current();

	do
		ticks = clock_ticks() - start;
	while (ticks < tsc_hz / LONG_PER_SECOND);
	return (uint64_t)(count - lapic_timer_current()) * tsc_hz / ticks;
}

void rates_begin(struct rates *rates)
{
	lapic_timer_start(UINT32_MAX);
	if (!rates_from_cpuid(rates) && !(under_hypervisor() && (rates_from_hypervisor(rates) || rates_from_kvm(rates))))
		(void)next_reference();
}

/* Over long pieces, with the first tick caught anew: it may be the one to blame, or too old. */
static bool measure_anew(struct rates *rates) { return catch_first() && measure_with(LONG_PER_SECOND, rates); }

/* May be on behalf of whoever holds the serial port: what there is to say is said later. */
void rates_find(struct rates *rates, bool want_lapic)
{
	if (reference && !measure_with(SHORT_PER_SECOND, rates)) {
		lapic_timer_start(UINT32_MAX);
		while (reference && !measure_anew(rates)) {
			refused = reference->name;
			reference->stop();
			(void)next_reference();
		}
	}
	if (!rates->tsc_hz)
		measure_with_lapic(rates);
	if (want_lapic && !rates->lapic_hz)
		rates->lapic_hz = measure_lapic(rates->tsc_hz);
	lapic_timer_start(0);
}

void rates_refine(struct rates *rates)
{
	uint64_t bound = rates->tsc_hz * RATES_ERROR_MAX_PPM / MHZ;
	struct rates again;

	if (reference && (measure_with(SHORT_PER_SECOND, &again) || measure_anew(&again)) && again.error_ppm < rates->error_ppm &&
	    again.tsc_hz <= rates->tsc_hz + bound && again.tsc_hz >= rates->tsc_hz - bound) {
		again.lapic_hz = rates->lapic_hz; /* its timer has had other things to count */
		*rates = again;
	}
}

void rates_end(void)
{
	if (reference)
		reference->stop();
	reference = NULL;
}

void rates_tell(const struct rates *rates)
{
	if (refused)
		log_info("clock: %s is no good reference", refused);
	if (rates->error_ppm == MHZ)
		log_warn("clock: no counter moves; times will be wrong");
}
