/*
 * The PVH entry: a Xen note names the address; the loader jumps there in 32-bit protected mode with ebx = hvm_start_info.
 */
	.section .note.Xen, "a", @note
	.balign 4
	.long 2f - 1f
	.long 4f - 3f
	.long 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
1:	.asciz "Xen"
2:	.balign 4
3:	.quad pvh_entry
4:	.balign 4

	.section .boot, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	movl $pvh_start, %ebp
	jmp boot_long_mode

	.section .note.GNU-stack, "", @progbits
