/*
 * The local APIC, in x2APIC mode (registers are MSRs) where the CPU has it, else in memory at the address that its base MSR says.
 */
#include <arch/cpu.h>
#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define REG_ID 0x20
#define REG_TASK_PRIORITY 0x80
#define REG_EOI 0xb0
#define REG_SPURIOUS 0xf0
#define REG_COMMAND 0x300 /* xAPIC: and the destination at 310h */
#define REG_COMMAND_HIGH 0x310
#define REG_LVT_TIMER 0x320
#define REG_LVT_LINT0 0x350
#define REG_LVT_LINT1 0x360
#define REG_LVT_ERROR 0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_CURRENT 0x390
#define REG_TIMER_DIVIDE 0x3e0

#define BASE_X2APIC BIT64(10)
#define BASE_ENABLED BIT64(11)
#define BASE_ADDRESS UINT64_C(0x000ffffffffff000)

#define SPURIOUS_ENABLED (1u << 8)
#define LVT_MASKED (1u << 16)
#define LVT_NMI (4u << 8)
#define DIVIDE_BY_1 0xb
#define COMMAND_PENDING (1u << 12)
#define COMMAND_WAIT 100000 /* reads */

#define MSR_X2APIC 0x800

static bool x2apic;
static volatile uint8_t *registers;

static uint32_t read_register(unsigned reg)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : mmio_read32(registers + reg);
}

static void write_register(unsigned reg, uint32_t value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		mmio_write32(registers + reg, value);
}

static uint64_t registers_at(void) { return rdmsr(MSR_APIC_BASE) & BASE_ADDRESS; }

void lapic_enable(void)
{
	/* LINT0 is the 8259's way in. */
	static const struct {
		uint32_t reg, value;
	} setup[] = {
		{REG_TASK_PRIORITY, 0},
		{REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER},
		{REG_LVT_LINT0, LVT_MASKED},
		{REG_LVT_LINT1, LVT_NMI},
		{REG_LVT_ERROR, LVT_MASKED},
		{REG_TIMER_DIVIDE, DIVIDE_BY_1},
		{REG_SPURIOUS, SPURIOUS_ENABLED | VECTOR_SPURIOUS},
	};
	uint64_t base = rdmsr(MSR_APIC_BASE) | BASE_ENABLED;

	wrmsr(MSR_APIC_BASE, base);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);
	for (unsigned i = 0; i < ARRAY_SIZE(setup); i++)
		write_register(setup[i].reg, setup[i].value);
}

void lapic_init(void)
{
	struct cpuid features = cpuid(1);

	if (!(features.edx & BIT64(9)))
		panic("this CPU has no local APIC");

	/* Firmware may have entered x2APIC mode, and there is no direct way back. */
	x2apic = (features.ecx & BIT64(21)) || (rdmsr(MSR_APIC_BASE) & BASE_X2APIC);
	if (!x2apic) {
		registers = mmu_map_device(registers_at(), 4096);
		if (!registers)
			panic("the local APIC is out of reach (at 0x%llx)", (unsigned long long)registers_at());
	}
	lapic_enable();
	boot_cpu.apic_id = lapic_id();
}

void lapic_send(uint32_t apic_id, uint32_t command)
{
	unsigned long state;

	if (x2apic) {
		/* Unlike a register in memory an MSR may be written before the stores ahead of it are seen. */
		__asm__ volatile("mfence; lfence" ::: "memory");
		wrmsr(MSR_X2APIC + REG_COMMAND / 16, (uint64_t)apic_id << 32 | command);
		return;
	}
	state = cpu_irq_save(); /* two registers */
	for (unsigned i = 0; i < COMMAND_WAIT && read_register(REG_COMMAND) & COMMAND_PENDING; i++)
		cpu_relax();
	write_register(REG_COMMAND_HIGH, apic_id << 24);
	write_register(REG_COMMAND, command);
	cpu_irq_restore(state);
}

void lapic_end_of_interrupt(void) { write_register(REG_EOI, 0); }

uint32_t lapic_id(void) { return x2apic ? read_register(REG_ID) : read_register(REG_ID) >> 24; }

bool lapic_is_x2apic(void) { return x2apic; }

void lapic_timer_setup(uint32_t lvt)
{
	write_register(REG_LVT_TIMER, lvt);
	/* In xAPIC mode that was a store, which the write of the deadline's MSR does not wait for by itself. */
	__asm__ volatile("mfence" ::: "memory");
}

void lapic_timer_start(uint32_t count) { write_register(REG_TIMER_INITIAL, count); }

uint32_t lapic_timer_current(void) { return read_register(REG_TIMER_CURRENT); }
