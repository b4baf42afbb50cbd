/*
 * The other CPUs: starting them, letting them run their event loops, and stopping them at the end.
 *
 * All are started at once, by INIT and SIPI without a pause between them, as hypervisors and CPUs of this century have it; a SIPI that
 * was lost is sent again later. They come up while the first CPU measures its clock, and sleep until it lets them go. Nothing waits but
 * for CPUs that have not come yet; one that does not come at all costs a line. Its memory stays its own, in case it does.
 *
 * Its TSC joins the first one's. All hypervisors and machines with a constant TSC give all CPUs the same one, so only what contradicts
 * that is corrected, by an offset which clock_ticks() adds: a reading taken on the new CPU before the first one sees it, but later than
 * the first one's then; and one taken after the first one let it go, but earlier. Nobody waits for that. What is off by less than these
 * two take stays off. All count at one rate: a machine whose CPUs do not is not supported.
 */
#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/platform.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define XAPIC_ID_MAX 0xfeu

#define SIPI_AGAIN_NS UINT64_C(2000000)
#define START_NS UINT64_C(2000000000)
#define STOP_NS UINT64_C(20000000)

/* A CPU's way. It may come while it is being given up: that step is a compare-and-exchange. */
enum { CPU_ABSENT, CPU_HERE, CPU_GONE, CPU_RUNS, CPU_STOPPED };

unsigned impl_cpu_count = 1;

static char *low_page;
static unsigned slots = 1;
static bool stopping;

static unsigned get_state(const struct cpu *cpu) { return __atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE); }

static void set_state(struct cpu *cpu, unsigned state) { __atomic_store_n(&cpu->state, state, __ATOMIC_RELEASE); }

static bool change_state(struct cpu *cpu, unsigned from, unsigned to)
{
	return __atomic_compare_exchange_n(&cpu->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void cpu_wake(unsigned cpu) { lapic_send(cpus[cpu]->apic_id, VECTOR_WAKE); }

static void correct_clock(struct cpu *cpu, uint64_t ticks)
{
	cpu->tsc_offset += ticks;
	log_info("cpu %u: its TSC differs, corrected by %lld ticks", cpu->index, (long long)ticks);
}

/* ---- on the CPU that is started ---- */

void smp_main(struct cpu *cpu)
{
	uint64_t now;

	descriptors_init(cpu);
	lapic_enable();
	cpu->tsc_here = clock_ticks();
	if (!change_state(cpu, CPU_ABSENT, CPU_HERE))
		smp_halt(); /* too late */
	while (get_state(cpu) != CPU_RUNS)
		cpu_idle();
	now = clock_ticks();
	if (now < cpu->tsc_there)
		correct_clock(cpu, cpu->tsc_there - now);
	clock_init_cpu();
	cpu_irq_restore(IMPL_RFLAGS_IF);
	loop_run();
}

/* ---- on the first one ---- */

static bool make_cpu(uint32_t apic_id)
{
	static bool told;
	struct cpu *cpu;

	if (apic_id == boot_cpu.apic_id)
		return true;
	if (apic_id > XAPIC_ID_MAX && !lapic_is_x2apic()) {
		if (!told)
			log_warn("cpu with APIC id %u left out, and all others above %u: the APICs have 8 bits for it", apic_id,
			         XAPIC_ID_MAX);
		told = true;
		return true;
	}
	cpu = page_alloc(sizeof(*cpu), PAGE_SIZE);
	if (!cpu || !stacks_alloc(cpu))
		return false;
	cpu->self = cpu;
	cpu->apic_id = apic_id;
	cpu->entry_stack = cpu->stacks[STACK_MAIN].end;
	cpu->armed_ns = UINT64_MAX;
	cpu_slots[slots++] = cpu;
	return true;
}

static bool make_trampoline(void)
{
	struct trampoline_data *data;

	low_page = mmu_low_page();
	if (!low_page || read_cr3() > UINT32_MAX)
		return false;
	memcpy(low_page, trampoline, (size_t)(trampoline_end - trampoline));
	data = (struct trampoline_data *)(low_page + ((const char *)&trampoline_data - trampoline));
	*data = (struct trampoline_data){.cr0 = (uint32_t)read_cr0(),
	                                 .cr3 = (uint32_t)read_cr3(),
	                                 .cr4 = (uint32_t)read_cr4(),
	                                 .efer = (uint32_t)rdmsr(MSR_EFER) & ~(uint32_t)EFER_LMA,
	                                 .gdt_limit = 3 * 8 - 1,
	                                 .gdt_base = (uint32_t)(uintptr_t)(low_page + (trampoline_gdt - trampoline)),
	                                 .entry = (uint32_t)(uintptr_t)smp_entry,
	                                 .selector = SELECTOR_CODE};
	return mmu_make_code(low_page);
}

static void send_sipi(const struct cpu *cpu) { lapic_send(cpu->apic_id, LAPIC_STARTUP((uint32_t)(uintptr_t)low_page)); }

void smp_start(void)
{
	boot_cpu.state = CPU_RUNS;
	if (madt.cpu_count <= 1)
		return;
	if (!make_trampoline()) {
		log_warn("cpus: no memory below 1 MiB to start others from; there is one CPU");
		return;
	}
	for (unsigned i = 0; i < MIN(madt.cpu_count, (unsigned)CPU_MAX) && slots < CPU_MAX; i++) {
		if (!make_cpu(madt.apic_ids[i])) {
			log_warn("cpus: no memory for more than %u", slots);
			break;
		}
	}
	if (madt.cpu_count > CPU_MAX)
		log_warn("cpus: %u of %u are left out", madt.cpu_count - CPU_MAX, madt.cpu_count);
	for (unsigned i = 1; i < slots; i++)
		lapic_send(cpu_slots[i]->apic_id, LAPIC_INIT);
	for (unsigned i = 1; i < slots; i++)
		send_sipi(cpu_slots[i]);
}

static bool wait_for(struct cpu *cpu, uint64_t deadline_ns)
{
	uint64_t again_ns = clock_ns() + SIPI_AGAIN_NS;

	while (get_state(cpu) == CPU_ABSENT) {
		uint64_t now = clock_ns();

		if (now >= deadline_ns)
			return !change_state(cpu, CPU_ABSENT, CPU_GONE);
		if (now >= again_ns) {
			send_sipi(cpu); /* nothing to a CPU that executes already */
			again_ns = now + 10 * SIPI_AGAIN_NS;
		}
		cpu_relax();
	}
	return true;
}

void smp_join(void)
{
	uint64_t deadline_ns;

	if (slots == 1)
		return;
	deadline_ns = clock_ns() + START_NS;
	for (unsigned i = 1; i < slots; i++) {
		struct cpu *cpu = cpu_slots[i];
		uint64_t now;

		if (!wait_for(cpu, deadline_ns)) {
			log_warn("cpu with APIC id %u does not start", cpu->apic_id);
			continue;
		}
		cpu->index = impl_cpu_count;
		cpus[impl_cpu_count++] = cpu;
		now = clock_ticks();
		if (cpu->tsc_here > now)
			correct_clock(cpu, now - cpu->tsc_here);
		cpu->tsc_there = clock_ticks();
		set_state(cpu, CPU_RUNS);
		cpu_wake(cpu->index);
	}
	log_info("cpus: %u run", impl_cpu_count);
}

/* ---- the end ---- */

bool smp_stopping(void) { return __atomic_load_n(&stopping, __ATOMIC_ACQUIRE); }

void smp_halt(void)
{
	struct cpu *cpu = this_cpu();

	if (get_state(cpu) == CPU_RUNS)
		set_state(cpu, CPU_STOPPED);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* By an NMI, since they may be anywhere; for a short time only, since they may be nowhere. */
void smp_stop(void)
{
	uint64_t start;

	if (impl_cpu_count == 1 || __atomic_exchange_n(&stopping, true, __ATOMIC_ACQ_REL))
		return;
	for (unsigned i = 0; i < impl_cpu_count; i++) {
		if (cpus[i] != this_cpu() && get_state(cpus[i]) == CPU_RUNS)
			lapic_send(cpus[i]->apic_id, LAPIC_NMI);
	}
	start = clock_ns();
	for (unsigned i = 0; i < impl_cpu_count; i++) {
		while (cpus[i] != this_cpu() && get_state(cpus[i]) == CPU_RUNS && clock_ns() - start < STOP_NS)
			cpu_relax();
	}
}
