/*
 * How fast the TSC and the local APIC's timer count.
 *
 * Told, where somebody tells: CPUID 15h and 16h, the hypervisors' leaf 40000010h, kvm-clock. Measured otherwise, both at once,
 * against a counter of known rate, in two steps that do not hold up the boot: at first for a fraction of a millisecond, which is
 * good enough for log lines and time-outs, and once devices are found over all the time since. Where there is no such counter, the
 * local APIC's timer is the reference: under hypervisors it counts at 1 GHz, less where somebody chose so.
 *
 * A measurement takes the time between two ticks of the reference, each caught between two readings of the TSC. Between those the
 * hypervisor may take the CPU away; so each end is the best of a few ticks, and what uncertainty is left is the stated error.
 */
#include <arch/clock.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define KHZ UINT64_C(1000)
#define MHZ UINT64_C(1000000)
#define GHZ UINT64_C(1000000000)

#define FIRST_HALVES_PER_SECOND 8000 /* one over the time that half a measurement takes: at first ... */
#define HALVES_PER_SECOND 1000       /* ... and at most, or where it is not refined later */
#define TICKS_TRIED 4                /* at each end */
#define READS_MAX 100000             /* without a tick: the reference stands still */
#define ERROR_MAX_PPM 10000          /* worse is not believed */
#define LVT_MASKED (1u << 16)

#define LEAF_CRYSTAL 0x15
#define LEAF_FREQUENCY 0x16
#define LEAF_HYPERVISOR 0x40000000
#define LEAF_HYPERVISOR_RATES 0x40000010

/* ---- told ---- */

static bool rates_from_cpuid(struct rates *rates)
{
	struct cpuid crystal = cpuid(LEAF_CRYSTAL), base = cpuid(LEAF_FREQUENCY);

	if (!crystal.eax || !crystal.ebx)
		return false;
	/* The local APIC is often not driven by that crystal in a virtual machine. */
	if (crystal.ecx)
		rates->tsc_hz = (uint64_t)crystal.ecx * crystal.ebx / crystal.eax;
	else
		rates->tsc_hz = (base.eax & 0xffff) * MHZ;
	rates->source = "CPUID 15h";
	return rates->tsc_hz != 0;
}

static bool rates_from_hypervisor(struct rates *rates)
{
	struct cpuid r;

	if (!(cpuid(1).ecx & BIT64(31)))
		return false;
	r = cpuid(LEAF_HYPERVISOR_RATES);
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

/* As it is now. False: it is not offered. */
static bool kvm_clock(struct kvm_clock *copy)
{
	static volatile struct kvm_clock clock __attribute__((aligned(32)));
	struct cpuid id = cpuid(LEAF_HYPERVISOR), features = cpuid(LEAF_HYPERVISOR + 1);

	/* "KVMKVMKVM" */
	if (!(cpuid(1).ecx & BIT64(31)) || id.ebx != 0x4b4d564b || id.ecx != 0x564b4d56 ||
	    !(features.eax & KVM_FEATURE_CLOCKSOURCE2))
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

	return kvm_clock(&clock) ? clock.system_time : 0;
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

/* Wait for a tick: the sharpest of several. False: there is none. */
static bool catch_tick(const struct reference *reference, struct tick *best)
{
	best->doubt = UINT64_MAX;
	for (unsigned i = 0; i < TICKS_TRIED; i++) {
		uint32_t before = reference->read() & reference->mask;
		uint64_t from = clock_ticks();

		for (unsigned reads = 0;; reads++) {
			uint32_t now = reference->read() & reference->mask;
			uint64_t to = clock_ticks();

			if (now != before) {
				if (to - from < best->doubt)
					*best = (struct tick){now, from + (to - from) / 2, to - from, lapic_timer_current()};
				break;
			}
			if (reads == READS_MAX)
				return false;
			from = to;
		}
	}
	return true;
}

/* The tick that comes `counts` or somewhat more after another. */
static bool catch_tick_after(const struct reference *reference, const struct tick *former, uint32_t counts, struct tick *tick)
{
	unsigned reads = 0;

	while (((reference->read() - former->count) & reference->mask) < counts) {
		if (++reads == READS_MAX)
			return false;
	}
	return catch_tick(reference, tick);
}

/* Ticks of the TSC per second, between two ticks of the reference. */
static uint64_t tsc_rate(const struct reference *reference, const struct tick *first, const struct tick *last)
{
	return (last->tsc - first->tsc) * reference->hz / MAX((last->count - first->count) & reference->mask, 1u);
}

/* How far a result may be off: half of the doubt at each end, and what a tick is worth, as it may have come anywhere in that time. */
static uint64_t span_error(const struct reference *reference, const struct tick *first, const struct tick *last)
{
	return (first->doubt + last->doubt) / 2 * MHZ / MAX(last->tsc - first->tsc, UINT64_C(1)) +
	       MHZ / MAX((last->count - first->count) & reference->mask, 1u);
}

/* Between a tick caught before, and another one. False: not believed. */
static bool finish(const struct reference *reference, const struct tick *first, const struct tick *last, uint64_t error,
                   struct rates *rates)
{
	*rates = (struct rates){.source = reference->name,
	                        .tsc_hz = tsc_rate(reference, first, last),
	                        .lapic_hz = (uint64_t)(first->lapic - last->lapic) * reference->hz /
	                                    MAX((last->count - first->count) & reference->mask, 1u),
	                        .error_ppm = (unsigned)MIN(error, MHZ)};
	return rates->tsc_hz && error <= ERROR_MAX_PPM;
}

/* Two halves: where they disagree, the reference has lost ticks or goes by another time. They grow until the result is good. */
static bool measure_with(const struct reference *reference, uint32_t halves_per_second, struct tick *first, struct rates *rates)
{
	uint32_t counts = MAX(reference->hz / halves_per_second, 1u);
	struct tick middle, last;
	uint64_t error;

	if (!catch_tick(reference, first) || !catch_tick_after(reference, first, counts, &middle))
		return false;
	do {
		if (!catch_tick_after(reference, &middle, counts, &last))
			return false;

		uint64_t whole = MAX(tsc_rate(reference, first, &last), UINT64_C(1)), half = tsc_rate(reference, first, &middle);

		error = (whole > half ? whole - half : half - whole) * MHZ / whole + span_error(reference, first, &last);
		if (finish(reference, first, &last, error, rates))
			return true;
		middle = last;
		counts *= 2;
	} while (counts <= reference->hz / HALVES_PER_SECOND * 2);
	log_info("clock: %s is no good reference (error %llu ppm)", reference->name, (unsigned long long)error);
	return false;
}

/* The local APIC's timer counts down; as a reference it counts up. */
static uint32_t lapic_read(void) { return 0u - lapic_timer_current(); }

/* What rates_refine() goes on with. */
static const struct reference *reference_in_use;
static struct tick first_tick;

static void measure(struct rates *rates)
{
	static const struct reference lapic = {"local APIC, taken as 1 GHz", 1000000000, UINT32_MAX, NULL, lapic_read, NULL};

	for (unsigned i = 0; i < reference_count; i++) {
		if (!references[i].start())
			continue;
		if (measure_with(&references[i], FIRST_HALVES_PER_SECOND, &first_tick, rates)) {
			reference_in_use = &references[i];
			return;
		}
		references[i].stop();
	}
	/* This one is needed for other things: all of it now. */
	if (!measure_with(&lapic, HALVES_PER_SECOND, &first_tick, rates)) {
		*rates = (struct rates){.source = "nothing, taken as 1 GHz", .tsc_hz = GHZ, .lapic_hz = GHZ, .error_ppm = MHZ};
		log_warn("clock: no counter moves; times will be wrong");
	}
}

/* The whole span since the first tick, however long that is, as long as the reference has not come round meanwhile; else once more, longer. */
static bool measure_again(const struct rates *former, struct rates *rates)
{
	const struct reference *reference = reference_in_use;
	uint64_t counts = (clock_ticks() - first_tick.tsc) / MAX(former->tsc_hz / reference->hz, UINT64_C(1));
	struct tick last;

	if (counts > reference->mask / 2)
		return measure_with(reference, HALVES_PER_SECOND, &first_tick, rates);
	return catch_tick(reference, &last) &&
	       finish(reference, &first_tick, &last, span_error(reference, &first_tick, &last), rates);
}

bool rates_refine(struct rates *rates)
{
	uint64_t bound = rates->tsc_hz * rates->error_ppm / MHZ;
	struct rates again;
	bool better;

	if (!reference_in_use)
		return false;
	better = measure_again(rates, &again) && again.error_ppm < rates->error_ppm && again.tsc_hz <= rates->tsc_hz + bound &&
	         again.tsc_hz >= rates->tsc_hz - bound;
	reference_in_use->stop();
	reference_in_use = NULL;
	if (!better)
		return false;
	again.lapic_hz = rates->lapic_hz; /* its timer may have had other things to count */
	*rates = again;
	return true;
}

/* The local APIC's rate by the TSC's, which is known. */
static uint64_t measure_lapic(uint64_t tsc_hz)
{
	uint64_t start = clock_ticks(), ticks;
	uint32_t count = lapic_timer_current();

	do
		ticks = clock_ticks() - start;
	while (ticks < tsc_hz / HALVES_PER_SECOND);
	return (uint64_t)(count - lapic_timer_current()) * tsc_hz / ticks;
}

struct rates rates_find(bool want_lapic)
{
	struct rates rates = {0};

	lapic_timer_setup(LVT_MASKED | VECTOR_TIMER);
	lapic_timer_start(UINT32_MAX);
	if (!rates_from_cpuid(&rates) && !rates_from_hypervisor(&rates) && !rates_from_kvm(&rates))
		measure(&rates);
	if (want_lapic && !rates.lapic_hz)
		rates.lapic_hz = measure_lapic(rates.tsc_hz);
	lapic_timer_start(0);
	return rates;
}
