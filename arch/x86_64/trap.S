/*
 * Entries of exceptions and interrupts. Each pushes what the CPU did not, so that all leave the same struct trap_frame
 * (local.h), and calls C with it. General registers only: kernel code uses no others.
 */
#include "x86.h"

	.text
	.balign 16
	.globl trap_exceptions
trap_exceptions:
	.set vector, 0
	.rept 32
	.balign 16
	/* These push an error code themselves. */
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq $0
	.endif
	pushq $vector
	jmp trap_exception
	.set vector, vector + 1
	.endr

	/* An error code and a vector in one: the push extends the sign, so vectors from 80h on need no longer instruction. */
	.balign 8
	.globl trap_interrupts
trap_interrupts:
	.set vector, 32
	.rept 256 - 32
	.balign 8
	.if vector < 128
	pushq $vector
	.else
	pushq $(vector - 256)
	.endif
	jmp trap_interrupt
	.set vector, vector + 1
	.endr

	.macro push_registers
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	.endm

	.globl trap_exception
	.type trap_exception, @function
trap_exception:
	push_registers
	movq %rsp, %rdi
	call panic_trap /* does not return */
	ud2

	/* Only what a C function may change is saved. Eight words under the CPU's five, and one more: rsp is a multiple of 16. */
	.globl trap_interrupt
	.type trap_interrupt, @function
trap_interrupt:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	cld
	movzbl 72(%rsp), %edi
	subq $8, %rsp
	call irq_dispatch
	addq $8, %rsp
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rax
	addq $8, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
