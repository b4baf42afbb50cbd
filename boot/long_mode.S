/*
 * From 32-bit protected mode to C in long mode, for every boot protocol that enters there. Jumped to, not called, with
 *
 *   ebx  the protocol's argument, handed to the C function
 *   ebp  the 64-bit C function, which does not return
 *
 * and flat segments, interrupts off, paging off. The first 4 GiB are mapped one to one, writable and executable, with pages of
 * 2 MiB: whatever a loader left is in reach. arch_init_memory() replaces that map by one that has W^X and guard pages.
 */
#include "../arch/x86_64/x86.h"

#define BOOT_STACK_SIZE (128 * 1024)
#define STACK_GUARD 4096
#define PAGE_TABLE 0x03 /* present, writable */
#define PAGE_2M 0x83    /* and large */

	.section .boot, "ax"
	.code32
	.globl boot_long_mode
boot_long_mode:
	cld
	rdtsc
	movl %eax, boot_ticks
	movl %edx, boot_ticks + 4
	movl $boot_stack_top, %esp

	/* Four page directories, 2048 pages. */
	movl $boot_pd, %edi
	movl $PAGE_2M, %eax
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b

	movl $boot_pd + PAGE_TABLE, %eax
	movl $boot_pdpt, %edi
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 1b
	movl $boot_pdpt + PAGE_TABLE, boot_pml4

	/* Programs and newlib use SSE. */
	movl %cr4, %eax
	orl $(CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl $(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
	movl %eax, %cr0
	lgdt boot_gdt_register
	ljmp $SELECTOR_CODE, $2f

	.code64
2:	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	/* What a CPU has of its own is behind GS. */
	movl $MSR_GS_BASE, %ecx
	movl $boot_cpu, %eax
	xorl %edx, %edx
	wrmsr
	fninit
	movl %ebx, %edi
	movl %ebp, %eax
	/* A backtrace ends at a zero frame pointer. */
	xorl %ebp, %ebp
	call *%rax
	ud2

	.section .rodata.boot, "a"
	.balign 8
	.globl boot_gdt
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff /* 64-bit code */
	.quad 0x00cf92000000ffff /* data */
	.quad 0x00cf9a000000ffff /* 32-bit code */
boot_gdt_register:
	.word BOOT_GDT_BYTES - 1
	.quad boot_gdt

	.section .bss.boot, "aw", @nobits
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
	.globl boot_ticks
boot_ticks:
	.skip 8

	.section .bss.stack, "aw", @nobits
	.balign 4096
	.globl boot_stack, boot_stack_top
boot_stack:
	.skip STACK_GUARD + BOOT_STACK_SIZE
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
