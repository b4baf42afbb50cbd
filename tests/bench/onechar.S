/*
 * The least that a kernel can do: PVH entry, one character to COM1, the end. What of a boot's time is QEMU's and the firmware's is
 * measured with it.
 */
#define COM1 0x3f8
#define DEBUG_EXIT 0xf4 /* isa-debug-exit; 10h is success, as Vireo says it */

	.section .note.Xen, "a", @note
	.balign 4
	.long 4 /* of the name */
	.long 4 /* of the address */
	.long 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
	movw $COM1, %dx
	movb $'1', %al
	outb %al, %dx
	movw $DEBUG_EXIT, %dx
	movl $0x10, %eax
	outb %al, %dx
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
