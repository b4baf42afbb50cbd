/*
 * Entries for loaders that know no Xen note: the image's first bytes, which a bzImage and a flat binary are entered at, and the
 * entry of the ELF. Loaders come in 32-bit protected mode or in long mode; each entry takes both. All go on in 32-bit protected
 * mode without paging, at boot_long_mode, since what a loader has set up (page tables of 4 or 5 levels, descriptors) is not ours.
 *
 * A bzImage is linked to run at 1 MiB and says so; loaders that put it elsewhere all the same (crosvm: 2 MiB, StratoVirt with a
 * flat binary: 16 MiB) find that it moves itself. ELF loaders put it where it belongs and clear its zeros; others do not.
 *
 * Until boot_long_mode the only memory that is known to be free is a part of the loader's page: of boot_params the buffer for
 * EDD, which nothing here reads. The stack is there, and code that moves the rest.
 */
#include "../arch/x86_64/x86.h"

#define SCRATCH 0xd00 /* in boot_params: eddbuf, up to 0xeec */
#define SCRATCH_END 0xee8
#define SETUP_REAL_MODE 0x3631 /* ebx, from boot/bzimage/setup.S: "16" */

#define MULTIBOOT1_MAGIC 0x1badb002
#define MULTIBOOT2_MAGIC 0xe85250d6
#define MULTIBOOT1_ENTRY_MAGIC 0x2badb002
#define MULTIBOOT2_ENTRY_MAGIC 0x36d76289

/* Jump in long mode, go on in protected mode: the same bytes are "inc ecx; nop" here and "xchg r8, rax" there. */
.macro if_long_mode target
	xorl %ecx, %ecx
	.byte 0x41, 0x90
	testl %ecx, %ecx
	jz \target
.endm

	.section .boot.start, "ax"
	.code32
flat:
/* Offset 0: Linux/x86's 32-bit entry, and the entry of a flat binary. esi = boot_params. */
	if_long_mode flat64
	cld
	movl $linux32_start, %ebp
	cmpl $SETUP_REAL_MODE, %ebx
	jne flat_protected
	movl $linux16_start, %ebp

/* esi: the loader's page, ebp: the C function. Move the image to where it is linked, clear its zeros. */
flat_protected:
	leal SCRATCH_END(%esi), %esp
	movl %esi, %edx
	call 1f
1:	popl %ebx
	subl $(1b - flat), %ebx
	cmpl $image_start, %ebx
	je moved
	leal (mover - flat)(%ebx), %esi
	leal SCRATCH(%edx), %edi
	movl %edi, %eax
	movl $(mover_end - mover), %ecx
	rep movsb
	movl %ebx, %esi
	movl $image_start, %edi
	movl $image_data_words, %ecx
	jmp *%eax
mover:
	rep movsl
	movl $moved, %eax
	jmp *%eax
mover_end:
moved:
	movl $image_data_end, %edi
	movl $image_bss_words, %ecx
	xorl %eax, %eax
	rep stosl
	movl %edx, %ebx
	jmp boot_long_mode

/* The entry of the ELF: Multiboot, or Linux's protocols. */
	.globl elf_entry
elf_entry:
	if_long_mode elf64
	cmpl $MULTIBOOT1_ENTRY_MAGIC, %eax
	movl $multiboot1_start, %ebp
	je boot_long_mode
	cmpl $MULTIBOOT2_ENTRY_MAGIC, %eax
	movl $multiboot2_start, %ebp
	je boot_long_mode
	movl $linux32_start, %ebp
elf_protected:
	movl %esi, %ebx
	jmp boot_long_mode

	.code64
elf64:
	movl $linux_elf64_start, %ebp
	leaq elf_protected(%rip), %rdi
	jmp leave_long_mode

/* Offset 200h: Linux/x86's 64-bit entry. rsi = boot_params. */
	.org 0x200
flat64:
	movl $linux64_start, %ebp
	jmp 1f
/* From boot/efi_stub.c. rsi = struct efi_handoff. */
	.globl efi_entry
efi_entry:
	movl $efi_start, %ebp
1:	leaq flat_protected(%rip), %rdi

/* To 32-bit protected mode without paging, at edi; esi and ebp are kept. Addresses are physical ones below 4 GiB. */
leave_long_mode:
	cli
	cld
	leaq SCRATCH_END(%rsi), %rsp
	movq %cr4, %rax
	andl $(CR4_PAE | CR4_LA57), %eax /* PCIDE, CET and others depend on what goes now */
	movq %rax, %cr4
	leaq boot_gdt(%rip), %rax
	pushq %rax
	pushw $(BOOT_GDT_BYTES - 1)
	lgdt (%rsp)
	leaq 1f(%rip), %rax
	pushq $SELECTOR_CODE32
	pushq %rax
	lretq
	.code32
1:	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $(CR0_NE | CR0_PE), %eax
	movl %eax, %cr0
	movl $MSR_EFER, %ecx
	rdmsr
	andl $~EFER_LME, %eax
	wrmsr
	xorl %eax, %eax
	movl %eax, %cr4
	jmp *%edi

/* What a bzImage of protocol 2.15 tells of itself beyond its setup header. */
	.balign 4
	.globl kernel_info
kernel_info:
	.ascii "LToP"
	.long 16, 16, 2 /* its size, with what it leads to; the last type of setup_data that is understood */

/* Multiboot2's header: 8-aligned in the first 32 KiB of the ELF. No address, no entry: the ELF's own. */
	.balign 8
multiboot2_header:
	.long MULTIBOOT2_MAGIC, 0, 2f - multiboot2_header, -(MULTIBOOT2_MAGIC + (2f - multiboot2_header))
	.long 0, 8 /* the end tag */
2:

/*
 * Multiboot's header has to lie in the first 8 KiB of the ELF, and QEMU must not see it: it tries Multiboot before PVH, and refuses
 * 64-bit ELF files for that. QEMU's search stops at 8144, so the linker script puts this at the very end.
 */
	.section .multiboot1, "a"
	.balign 4
	.long MULTIBOOT1_MAGIC, 3, -(MULTIBOOT1_MAGIC + 3) /* modules on pages, a memory map */

	.section .note.GNU-stack, "", @progbits
