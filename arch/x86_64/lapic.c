/*
 * The local APIC, in x2APIC mode (registers are MSRs) where the CPU has it, else in memory at the address that its base MSR says.
 */
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

void lapic_init(void)
{
	struct cpuid features = cpuid(1);

	if (!(features.edx & BIT64(9)))
		panic("this CPU has no local APIC");

	uint64_t base = rdmsr(MSR_APIC_BASE) | BASE_ENABLED;

	/* Firmware may have entered x2APIC mode, and there is no direct way back. */
	x2apic = (features.ecx & BIT64(21)) || (base & BASE_X2APIC);
	wrmsr(MSR_APIC_BASE, base);
	if (x2apic) {
		wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);
	} else {
		registers = mmu_map_device(base & BASE_ADDRESS, 4096);
		if (!registers)
			panic("the local APIC is out of reach (at 0x%llx)", (unsigned long long)(base & BASE_ADDRESS));
	}
	write_register(REG_TASK_PRIORITY, 0);
	write_register(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	write_register(REG_LVT_LINT0, LVT_MASKED); /* the 8259's way in */
	write_register(REG_LVT_LINT1, LVT_NMI);
	write_register(REG_LVT_ERROR, LVT_MASKED);
	write_register(REG_TIMER_DIVIDE, DIVIDE_BY_1);
	write_register(REG_SPURIOUS, SPURIOUS_ENABLED | VECTOR_SPURIOUS);
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
