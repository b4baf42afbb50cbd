/*
 * The end by a bug: what happened, where, and how it came there, on the console, by as little code as possible. Only the message
 * of panic() is formatted as log lines are. A fault in here starts one more panic, which says so and ends; a fault in
 * that one ends at once.
 *
 * The backtrace follows frame pointers. Each step must lead upwards inside one known stack, so that a destroyed chain ends it.
 */
#include <arch/platform.h>

#include <stdarg.h>
#include <string.h>

#include <arch/cpu.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define BACKTRACE_MAX 32
#define VECTOR_NMI 2
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_PAGE_FAULT 14

#define FAULT_PRESENT BIT64(0)
#define FAULT_WRITE BIT64(1)
#define FAULT_RESERVED BIT64(3)
#define FAULT_FETCH BIT64(4)

static const char *const exception_names[32] = {
	"divide error",
	"debug exception",
	"non-maskable interrupt",
	"breakpoint",
	"overflow",
	"bound range exceeded",
	"invalid opcode",
	"device not available",
	"double fault",
	"coprocessor segment overrun",
	"invalid TSS",
	"segment not present",
	"stack-segment fault",
	"general protection",
	"page fault",
	NULL,
	"x87 floating-point error",
	"alignment check",
	"machine check",
	"SIMD floating-point exception",
	"virtualization exception",
	"control protection exception",
};

static void print(const char *text) { arch_console_write(text, strlen(text)); }

static void print_hex(uint64_t value, unsigned digits)
{
	char text[16];

	for (unsigned i = digits; i > 0; i--, value >>= 4)
		text[i - 1] = "0123456789abcdef"[value & 15];
	arch_console_write(text, digits);
}

/* 0x, and no more digits than it takes. */
static void print_number(uint64_t value)
{
	unsigned digits = 1;

	while (digits < 16 && value >> (4 * digits))
		digits++;
	print("0x");
	print_hex(value, digits);
}

static void print_register(const char *name, uint64_t value)
{
	print(name);
	print_hex(value, 16);
}

static void print_place(uint64_t address, uint64_t start, const char *name)
{
	print_register("  ", address);
	if (name) {
		print(" ");
		print(name);
		print("+");
		print_number(address - start);
	}
	print("\n");
}

/* A call that does not return may be the last instruction of its function: it is looked up by the byte before. */
static void print_caller(uint64_t address)
{
	uint64_t start = 0;
	const char *name = symbol_find(address - 1, &start);

	print_place(address, start, name);
}

/* A word of a stack; 0 where there is none. */
static uint64_t stack_word(uint64_t address)
{
	const struct stack *stack = stack_of(address);

	if (!stack || address % 8 || address < (uintptr_t)stack->low + STACK_GUARD || address + 8 > (uintptr_t)stack->end)
		return 0;
	return *(const uint64_t *)address;
}

static void backtrace(uint64_t rip, uint64_t rsp, uint64_t rbp)
{
	const struct stack *stack = stack_of(rbp);
	uint64_t start = 0;
	const char *name = symbol_find(rip, &start);

	print("backtrace:\n");
	print_place(rip, start, name);
	/* A call that went astray: the caller has no frame yet. */
	if (!name && stack_word(rsp))
		print_caller(stack_word(rsp));
	for (unsigned i = 0; i < BACKTRACE_MAX && stack && stack == stack_of(rbp) && stack_word(rbp + 8); i++) {
		uint64_t former = rbp;

		print_caller(stack_word(rbp + 8));
		rbp = stack_word(rbp);
		if (rbp <= former)
			break;
	}
}

static void print_control_registers(void)
{
	print_register("cr0 ", read_cr0());
	print_register(" cr2 ", read_cr2());
	print_register(" cr3 ", read_cr3());
	print_register(" cr4 ", read_cr4());
	print("\n");
}

static void print_registers(const struct trap_frame *f)
{
	const struct {
		const char *name;
		uint64_t value;
	} registers[] = {
		{"rax ", f->rax},  {" rbx ", f->rbx}, {" rcx ", f->rcx},    {" rdx ", f->rdx}, {"rsi ", f->rsi},
		{" rdi ", f->rdi}, {" rbp ", f->rbp}, {" rsp ", f->rsp},    {"r8  ", f->r8},   {" r9  ", f->r9},
		{" r10 ", f->r10}, {" r11 ", f->r11}, {"r12 ", f->r12},     {" r13 ", f->r13}, {" r14 ", f->r14},
		{" r15 ", f->r15}, {"rip ", f->rip},  {" flg ", f->rflags}, {" cs  ", f->cs},  {" err ", f->error},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
		print_register(registers[i].name, registers[i].value);
		if (i % 4 == 3)
			print("\n");
	}
	print_control_registers();
}

/* One panic is told in full. What goes wrong inside it is named, what goes wrong inside that is not. The first CPU that comes here
 * stops the others: theirs are not told. */
static void enter(void)
{
	static struct cpu *owner;
	static unsigned depth;
	struct cpu *none = NULL;

	cpu_irq_save();
	if (!__atomic_compare_exchange_n(&owner, &none, this_cpu(), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
	    none != this_cpu())
		smp_halt();
	smp_stop();
	serial_unlock();
	if (++depth > 2)
		arch_end(1);
	print(depth == 1 ? "\npanic: " : "\npanic inside a panic: ");
	if (depth == 2) {
		print("giving up\n");
		arch_end(1);
	}
}

static void print_page_fault(const struct trap_frame *f)
{
	uint64_t address = read_cr2();

	print(f->error & FAULT_FETCH ? "execution at " : f->error & FAULT_WRITE ? "write to " : "read from ");
	print_number(address);
	print(f->error & FAULT_RESERVED  ? ", a broken page-table entry"
	      : f->error & FAULT_PRESENT ? ", which is protected"
	      : address < 4096           ? ", a null pointer"
	                                 : ", which is not mapped");
}

void (*panic_fence)(const struct trap_frame *frame, const char *name);

void panic_trap(const struct trap_frame *f)
{
	if (f->vector == VECTOR_NMI && smp_stopping())
		smp_halt();

	const struct stack *stack = stack_of(read_cr2());
	const char *name = f->vector < ARRAY_SIZE(exception_names) ? exception_names[f->vector] : NULL;

	if (panic_fence)
		panic_fence(f, name);
	enter();
	if (f->vector == VECTOR_DOUBLE_FAULT && stack && read_cr2() - (uintptr_t)stack->low < STACK_GUARD) {
		print("stack overflow (double fault)");
	} else {
		print(name ? name : "reserved exception");
		if (f->vector == VECTOR_PAGE_FAULT) {
			print(": ");
			print_page_fault(f);
		}
	}
	print("\n");
	print_registers(f);
	backtrace(f->rip, f->rsp, f->rbp);
	arch_end(1);
}

void panic(const char *format, ...)
{
	static char message[512];
	const uint64_t *frame = __builtin_frame_address(0);
	va_list args;

	enter();
	va_start(args, format);
	log_format(message, sizeof(message), format, args);
	va_end(args);
	print(message);
	print("\n");
	print_register("rsp ", (uintptr_t)frame);
	print("\n");
	print_control_registers();
	backtrace((uintptr_t)__builtin_return_address(0), (uintptr_t)frame, frame[0]);
	arch_end(1);
}
