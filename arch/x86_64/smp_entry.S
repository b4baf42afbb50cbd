/*
 * The first instructions of a CPU but the first: from real mode to long mode in one step, with the page tables and control registers of the
 * CPU that started it, then to the stack of its own, which its APIC id finds.
 *
 * The part from trampoline to trampoline_end is copied to a page below 1 MiB and runs there, with cs = its address / 16; smp.c has filled in the
 * data. The descriptors are marked as accessed: the CPU cannot write them, the page is read-only.
 */
#include "x86.h"

	.section .rodata.trampoline, "a"
	.balign 16
	.globl trampoline, trampoline_end, trampoline_data, trampoline_gdt
	.code16
trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl trampoline_data - trampoline + 16
	movl trampoline_data - trampoline + 8, %eax
	movl %eax, %cr4
	movl trampoline_data - trampoline + 4, %eax
	movl %eax, %cr3
	movl trampoline_data - trampoline + 12, %eax
	xorl %edx, %edx
	movl $MSR_EFER, %ecx
	wrmsr
	movl trampoline_data - trampoline, %eax
	movl %eax, %cr0
	ljmpl *(trampoline_data - trampoline + 22)

	.balign 8
trampoline_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* SELECTOR_CODE: 64-bit code */
	.quad 0x00cf93000000ffff /* SELECTOR_DATA */
trampoline_data: /* struct trampoline_data */
	.skip 28
trampoline_end:

	.text
	.code64
	.globl smp_entry
smp_entry:
	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	fninit

	/* The APIC id, from the leaf that has all bits of it, else from the old one. */
	cpuid
	cmpl $0xb, %eax
	jb 1f
	movl $0xb, %eax
	xorl %ecx, %ecx
	cpuid
	testl %ebx, %ebx
	jnz 2f
1:	movl $1, %eax
	cpuid
	movl %ebx, %edx
	shrl $24, %edx

	/* Whose it is: cpu_slots[] ends with a null pointer, or at its end. */
2:	xorl %ecx, %ecx
3:	movq cpu_slots(, %rcx, 8), %rdi
	testq %rdi, %rdi
	jz 4f
	cmpl %edx, CPU_APIC_ID(%rdi)
	je 5f
	incl %ecx
	cmpl $CPU_LIMIT, %ecx
	jb 3b
4:	cli
	hlt
	jmp 4b

5:	movq CPU_ENTRY_STACK(%rdi), %rsp
	/* A backtrace ends at a zero frame pointer. */
	xorl %ebp, %ebp
	call smp_main
	ud2

	.section .note.GNU-stack, "", @progbits
