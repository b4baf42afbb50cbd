/*
 * A VMM in 64 KiB: what stands in the firmware's place when a test hands the image over by itself. QEMU has put everything into
 * memory, this only makes the CPU's state, from a block of parameters at 6000h, and jumps.
 *
 * The code for that is copied to 5000h first: the page tables of a VMM map low memory only.
 */
#define PARAMETERS 0x6000
#define COPY 0x5000

/* Offsets of the parameters: 32 bits each. tests/system/direct.py has the other end. */
#define P_LONG_MODE 0
#define P_ENTRY 4
#define P_EAX 8
#define P_EBX 12
#define P_ESI 16
#define P_ESP 20
#define P_CR3 24
#define P_CR4 28

	.code32
	.globl start
start:
	.code16
	cli
	lgdtl %cs:(rom_gdt_register - start)
	movl $1, %eax
	movl %eax, %cr0
	ljmpl $0x08, $protected
	.code32
protected:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $copy, %esi
	movl $COPY, %edi
	movl $(copy_end - copy), %ecx
	cld
	rep movsb
	movl $COPY, %eax
	jmp *%eax

/* From here on at COPY. */
copy:
	lgdt COPY + gdt_register - copy
	movl PARAMETERS + P_CR4, %eax
	movl %eax, %cr4
	movl PARAMETERS + P_ESP, %esp
	cmpl $0, PARAMETERS + P_LONG_MODE
	je 1f
	movl PARAMETERS + P_CR3, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80000001, %eax
	movl %eax, %cr0
	ljmp $0x18, $(COPY + 1f - copy)
1:	/* In both modes these mean the same; a 64-bit CPU clears the upper halves. */
	movl $PARAMETERS, %edi
	movl P_EAX(%edi), %eax
	movl P_EBX(%edi), %ebx
	movl P_ESI(%edi), %esi
	movl P_ENTRY(%edi), %edx
	jmp *%edx
	.balign 8
gdt:	.quad 0
	.quad 0x00cf9a000000ffff
	.quad 0x00cf92000000ffff
	.quad 0x00af9a000000ffff
gdt_register:
	.word 31
	.long COPY + gdt - copy

copy_end:

rom_gdt_register:
	.word 31
	.long gdt


	.org 0xfff0
	.code16
	jmp start
	.balign 16, 0
	.section .note.GNU-stack, "", @progbits
