/*
 * The tables that the CPU looks up: GDT, TSS and IDT.
 *
 * Stacks of their own have: a double fault, since that is what a stack overflow ends in; non-maskable interrupts and machine checks,
 * which may come at any instruction; and interrupts, so that programs may link code that was compiled with a red zone below
 * its stack pointer (libgcc, for one). Interrupts do not nest, so one stack does.
 */
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define VECTOR_NMI 2
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_MACHINE_CHECK 18

enum ist { IST_NONE, IST_DOUBLE_FAULT, IST_NMI, IST_INTERRUPT };

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "64-bit TSS");

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
static struct tss tss = {.io_map = sizeof(tss)};
static uint64_t gdt[5] = {0, UINT64_C(0x00af9a000000ffff), UINT64_C(0x00cf92000000ffff)};

struct exception_stack {
	char guard[STACK_GUARD], space[8192];
} __attribute__((aligned(STACK_GUARD)));
static struct exception_stack double_fault_stack, nmi_stack, interrupt_stack;

static void set_gate(unsigned vector, uint64_t entry, enum ist ist)
{
	idt[vector] = (struct gate){.offset_low = (uint16_t)entry,
	                            .selector = SELECTOR_CODE,
	                            .ist = (uint8_t)ist,
	                            .type = GATE_INTERRUPT,
	                            .offset_middle = (uint16_t)(entry >> 16),
	                            .offset_high = (uint32_t)(entry >> 32)};
}

static const struct stack stacks[] = {
	{boot_stack, boot_stack_top},
	{double_fault_stack.guard, (char *)(&double_fault_stack + 1)},
	{nmi_stack.guard, (char *)(&nmi_stack + 1)},
	{interrupt_stack.guard, (char *)(&interrupt_stack + 1)},
};

const struct stack *stack_of(uint64_t address)
{
	for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++) {
		if (address >= (uintptr_t)stacks[i].low && address < (uintptr_t)stacks[i].end)
			return &stacks[i];
	}
	return NULL;
}

void stack_guards(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++)
		mmu_guard(stacks[i].low);
}

void descriptors_init(void)
{
	const uint64_t base = (uintptr_t)&tss;
	const struct descriptor_register gdt_register = {.limit = sizeof(gdt) - 1, .base = (uintptr_t)gdt};
	const struct descriptor_register idt_register = {.limit = sizeof(idt) - 1, .base = (uintptr_t)idt};

	gdt[3] = TSS_AVAILABLE | (sizeof(tss) - 1) | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	gdt[4] = base >> 32;
	tss.ist[IST_DOUBLE_FAULT - 1] = (uintptr_t)(&double_fault_stack + 1);
	tss.ist[IST_NMI - 1] = (uintptr_t)(&nmi_stack + 1);
	tss.ist[IST_INTERRUPT - 1] = (uintptr_t)(&interrupt_stack + 1);

	for (unsigned vector = 0; vector < 32; vector++)
		set_gate(vector, (uintptr_t)trap_exceptions + vector * 16, IST_NONE);
	for (unsigned vector = 32; vector < 256; vector++)
		set_gate(vector, (uintptr_t)trap_interrupts + (vector - 32) * 8, IST_INTERRUPT);
	idt[VECTOR_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
	idt[VECTOR_NMI].ist = idt[VECTOR_MACHINE_CHECK].ist = IST_NMI;

	__asm__ volatile("lgdt %0" : : "m"(gdt_register));
	__asm__ volatile("lidt %0" : : "m"(idt_register));
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}
