/*
 * <arch/guard.h>: the registers that a C function keeps, saved by guard_up() and loaded by guard_fall(). guard.c decides which faults come
 * here, which panic.c asks while there is a fence: so an image that never puts one up has none of this in it.
 */
	.bss
	.balign 8
	.globl guard_state
guard_state:
	.skip 9 * 8

	.text
	.globl guard_up
	.type guard_up, @function
guard_up:
	leaq guard_state(%rip), %rdx
	movq (%rsp), %rax
	leaq 8(%rsp), %rcx
	movq %rcx, 8(%rdx)
	movq %rbx, 16(%rdx)
	movq %rbp, 24(%rdx)
	movq %r12, 32(%rdx)
	movq %r13, 40(%rdx)
	movq %r14, 48(%rdx)
	movq %r15, 56(%rdx)
	pushfq
	popq 64(%rdx)
	movq %rax, (%rdx)
	leaq guard_trap(%rip), %rax
	movq %rax, panic_fence(%rip)
	xorl %eax, %eax
	ret

	/* Flags last, as one of them lets interrupts in: then the stack is the caller's. */
	.globl guard_fall
	.type guard_fall, @function
guard_fall:
	leaq guard_state(%rip), %rdx
	movq %rdi, %rax
	movq $0, panic_fence(%rip)
	movq (%rdx), %rcx
	movq 8(%rdx), %rsp
	movq 16(%rdx), %rbx
	movq 24(%rdx), %rbp
	movq 32(%rdx), %r12
	movq 40(%rdx), %r13
	movq 48(%rdx), %r14
	movq 56(%rdx), %r15
	pushq 64(%rdx)
	popfq
	jmp *%rcx

	.globl guard_down
	.type guard_down, @function
guard_down:
	movq $0, panic_fence(%rip)
	ret

	.section .note.GNU-stack, "", @progbits
