/*
 * Which faults end a program inside the fence of <arch/guard.h>.
 *
 * Those of its own code, on the stack that it was started on. A stack that ran over ends in a double fault, whose frame names the
 * instruction, as the CPU had not begun it: going on elsewhere is safe then. Non-maskable interrupts and machine checks are nobody's fault, and
 * the fault of an interrupt's handler has another stack.
 */
#include <arch/guard.h>

#include <base/log.h>
#include <base/util.h>

#include "local.h"

/* linker/x86_64.ld */
extern char guarded_start[], guarded_end[];

/* guard.S: where to go on, on which stack, more registers */
extern uint64_t guard_state[];

/* Divide error, bound range, invalid opcode, double fault, segments and stack, protection, page fault, alignment */
#define FAULTS (1u << 0 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17)

void guard_trap(const struct trap_frame *f, const char *name)
{
	static char why[96];
	const struct stack *stack = &boot_cpu.stacks[STACK_MAIN];
	uint64_t start;
	const char *function;

	if (this_cpu() != &boot_cpu || f->vector > 31 || !(FAULTS >> f->vector & 1) ||
	    f->rip - (uintptr_t)guarded_start >= (uintptr_t)(guarded_end - guarded_start) ||
	    f->rsp - (uintptr_t)stack->low >= guard_state[1] - (uintptr_t)stack->low)
		return;
	function = symbol_find(f->rip, &start);
	format_text(why, sizeof(why), "%s in %s", name, function ? function : "?");
	guard_fall(why);
}
