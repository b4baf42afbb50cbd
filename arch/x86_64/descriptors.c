/*
 * The tables that a CPU looks up: GDT and TSS of its own, and the IDT of all.
 *
 * Stacks of their own have: a double fault, since that is what a stack overflow ends in; non-maskable interrupts and machine checks,
 * which may come at any instruction; and interrupts, so that programs may link code that was compiled with a red zone below
 * its stack pointer (libgcc, for one). Interrupts do not nest, so one stack for each CPU does.
 */
#include <base/page.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define VECTOR_NMI 2
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_MACHINE_CHECK 18

#define IST_NONE 0 /* else the number of the stack */

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "64-bit gate");

#define GATE_INTERRUPT 0x8e /* present, ring 0: interrupts stay masked inside */
#define TSS_AVAILABLE UINT64_C(0x0000890000000000)

/* trap.S: entries of exceptions, 16 bytes each, then of interrupts, 8 bytes each */
extern char trap_exceptions[], trap_interrupts[];

static struct gate idt[256];

#define MAIN_STACK_SIZE 65536u
struct exception_stack {
	char guard[STACK_GUARD], space[8192];
} __attribute__((aligned(STACK_GUARD)));
static struct exception_stack boot_stacks[STACK_COUNT - 1];

struct cpu boot_cpu = {.self = &boot_cpu, .armed_ns = UINT64_MAX};
struct cpu *cpus[CPU_MAX] = {&boot_cpu}, *cpu_slots[CPU_MAX] = {&boot_cpu};

static void set_gate(unsigned vector, uint64_t entry, uint8_t ist)
{
	idt[vector] = (struct gate){.offset_low = (uint16_t)entry,
	                            .selector = SELECTOR_CODE,
	                            .ist = ist,
	                            .type = GATE_INTERRUPT,
	                            .offset_middle = (uint16_t)(entry >> 16),
	                            .offset_high = (uint32_t)(entry >> 32)};
}

const struct stack *stack_of(uint64_t address)
{
	for (unsigned i = 0; i < CPU_MAX && cpu_slots[i]; i++) {
		const struct cpu *cpu = cpu_slots[i];

		for (const struct stack *stack = cpu->stacks; stack < cpu->stacks + STACK_COUNT; stack++) {
			if (address >= (uintptr_t)stack->low && address < (uintptr_t)stack->end)
				return stack;
		}
	}
	return NULL;
}

static void set_exception_stacks(struct cpu *cpu, struct exception_stack *stacks)
{
	for (unsigned i = 1; i < STACK_COUNT; i++)
		cpu->stacks[i] = (struct stack){stacks[i - 1].guard, (char *)&stacks[i]};
}

bool stacks_alloc(struct cpu *cpu)
{
	const size_t main_size = STACK_GUARD + MAIN_STACK_SIZE;
	char *memory = page_alloc(main_size + (STACK_COUNT - 1) * sizeof(struct exception_stack), PAGE_SIZE);

	if (!memory)
		return false;
	cpu->stacks[STACK_MAIN] = (struct stack){memory, memory + main_size};
	set_exception_stacks(cpu, (struct exception_stack *)(memory + main_size));
	for (unsigned i = 0; i < STACK_COUNT; i++)
		mmu_guard(cpu->stacks[i].low);
	return true;
}

static void init_idt(void)
{
	for (unsigned vector = 0; vector < 32; vector++)
		set_gate(vector, (uintptr_t)trap_exceptions + vector * 16, IST_NONE);
	for (unsigned vector = 32; vector < 256; vector++)
		set_gate(vector, (uintptr_t)trap_interrupts + (vector - 32) * 8, STACK_INTERRUPT);
	idt[VECTOR_DOUBLE_FAULT].ist = STACK_DOUBLE_FAULT;
	idt[VECTOR_NMI].ist = idt[VECTOR_MACHINE_CHECK].ist = STACK_NMI;
}

void descriptors_init(struct cpu *cpu)
{
	const uint64_t base = (uintptr_t)&cpu->tss;
	const struct descriptor_register gdt_register = {.limit = sizeof(cpu->gdt) - 1, .base = (uintptr_t)cpu->gdt};
	const struct descriptor_register idt_register = {.limit = sizeof(idt) - 1, .base = (uintptr_t)idt};

	if (cpu == &boot_cpu) {
		cpu->stacks[STACK_MAIN] = (struct stack){boot_stack, boot_stack_top};
		set_exception_stacks(cpu, boot_stacks);
		init_idt();
	}
	cpu->gdt[1] = UINT64_C(0x00af9a000000ffff); /* SELECTOR_CODE: 64-bit code */
	cpu->gdt[2] = UINT64_C(0x00cf92000000ffff); /* SELECTOR_DATA */
	cpu->gdt[3] = TSS_AVAILABLE | (sizeof(cpu->tss) - 1) | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	cpu->gdt[4] = base >> 32;
	cpu->tss.io_map = sizeof(cpu->tss);
	for (unsigned i = 1; i < STACK_COUNT; i++)
		cpu->tss.ist[i - 1] = (uintptr_t)cpu->stacks[i].end;

	__asm__ volatile("lgdt %0" : : "m"(gdt_register));
	__asm__ volatile("lidt %0" : : "m"(idt_register));
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
	wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
}
