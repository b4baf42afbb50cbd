/*
 * What stands in front of the image in a bzImage, 4 KiB: the setup header of the Linux/x86 boot protocol 2.15, the headers of a
 * PE/COFF image for EFI firmware, and the real-mode code for loaders that start a kernel in real mode (BIOS: QEMU, GRUB's linux16).
 *
 * The real-mode code asks the BIOS for the memory map, fills boot_params, and goes on at the kernel's 32-bit entry. For PE all of
 * this is "headers", so that the image's offset in memory is the one in the file.
 */
#define SETUP_BYTES 0x1000
#define KERNEL 0x100000 /* where the image is linked */
#define SETUP_REAL_MODE 0x3631 /* ebx for boot/start.S */
#define CMDLINE_MAX 8191

/* The rest of the 64 KiB segment is ours, too. */
#define PARAMS 0x2000
#define PARAMS_ALT_MEM_K (PARAMS + 0x1e0)
#define PARAMS_E820_ENTRIES (PARAMS + 0x1e8)
#define PARAMS_HEADER (PARAMS + 0x1f1)
#define PARAMS_E820_TABLE (PARAMS + 0x2d0)
#define E820_ENTRY 20
#define E820_MAX 128
#define SMAP 0x534d4150

#define BOOT_CS 0x10
#define BOOT_DS 0x18

#define RVA(symbol) symbol - KERNEL + SETUP_BYTES

	.section .setup, "awx"
	.code16
	.globl setup
setup:
	.ascii "MZ"
	.org 0x3c
	.long pe_header

pe_header:
	.ascii "PE\0\0"
	.word 0x8664 /* x86-64 */
	.word 3      /* sections */
	.long 0, 0, 0
	.word section_table - optional_header
	.word 0x22e  /* executable, no line numbers, no symbols, any address, large addresses */
optional_header:
	.word 0x20b  /* PE32+ */
	.byte 0, 0
	.long pe_text_size, pe_data_size, pe_bss_size
	.long RVA(efi_stub), SETUP_BYTES
	.quad 0      /* image base: any */
	.long 0x1000, 0x200 /* alignment in memory, in the file */
	.word 0, 0, 0, 0, 0, 0
	.long 0
	.long pe_image_size, SETUP_BYTES
	.long 0
	.word 10     /* EFI application */
	.word 0x100  /* works without execution of data */
	.quad 0, 0, 0, 0
	.long 0
	.long 6      /* data directories, all empty: code that runs anywhere needs no relocations */
	.fill 6, 8, 0

section_table:
	.ascii ".text\0\0\0"
	.long pe_text_size, SETUP_BYTES, pe_text_size, SETUP_BYTES, 0, 0, 0
	.long 0x60000020
	.ascii ".rodata\0"
	.long pe_rodata_size, RVA(image_text_end), pe_rodata_size, RVA(image_text_end), 0, 0, 0
	.long 0x40000040
	.ascii ".data\0\0\0"
	.long pe_data_memory, RVA(image_rodata_end), pe_data_size, RVA(image_rodata_end), 0, 0, 0
	.long 0xc0000040

/* ---- the setup header, named as in the protocol ---- */
	.org 0x1f1
header:
setup_sects:	.byte SETUP_BYTES / 512 - 1
root_flags:	.word 0
syssize:	.long flat_paragraphs
ram_size:	.word 0
vid_mode:	.word 0xffff
root_dev:	.word 0
boot_flag:	.word 0xaa55
jump:		.byte 0xeb, start - header_magic
header_magic:	.ascii "HdrS"
version:	.word 0x020f
realmode_swtch:	.long 0
start_sys_seg:	.word 0x1000
kernel_version:	.word version_text - 0x200
type_of_loader:	.byte 0
loadflags:	.byte 1 /* loaded high */
setup_move_size: .word 0x8000
code32_start:	.long KERNEL
ramdisk_image:	.long 0
ramdisk_size:	.long 0
bootsect_kludge: .long 0
heap_end_ptr:	.word 0
ext_loader:	.byte 0, 0
cmd_line_ptr:	.long 0
initrd_addr_max: .long 0x7fffffff
kernel_alignment: .long KERNEL
relocatable_kernel: .byte 0
min_alignment:	.byte 20
xloadflags:	.word 0x21 /* a 64-bit entry, also from 5-level paging */
cmdline_size:	.long CMDLINE_MAX
hardware_subarch: .long 0
hardware_subarch_data: .quad 0
payload_offset:	.long 0
payload_length:	.long 0
setup_data:	.quad 0
pref_address:	.quad KERNEL
init_size:	.long flat_init_size
handover_offset: .long 0
kernel_info_offset: .long kernel_info - KERNEL
header_end:

/* ---- real mode: cs is 20h paragraphs behind the segment that the setup was loaded to ---- */
start:
	movw %cs, %ax
	subw $0x20, %ax
	movw %ax, %ds
	movw %ax, %es
	pushw %ax
	pushw $1f
	lretw
1:	cld
	xorl %eax, %eax
	movw $PARAMS, %di
	movw $1024, %cx
	rep stosl
	movw $header, %si
	movw $PARAMS_HEADER, %di
	movw $(header_end - header), %cx
	rep movsb

	/* The memory map: INT 15h, E820h. */
	movw $PARAMS_E820_TABLE, %di
	xorl %ebx, %ebx
1:	movl $0xe820, %eax
	movl $SMAP, %edx
	movl $E820_ENTRY, %ecx
	int $0x15
	jc 2f
	cmpl $SMAP, %eax
	jne 2f
	incb PARAMS_E820_ENTRIES
	addw $E820_ENTRY, %di
	cmpb $E820_MAX, PARAMS_E820_ENTRIES
	je 2f
	testl %ebx, %ebx
	jnz 1b

	/* Without one, the size above 1 MiB: E801h, in KiB up to 16 MiB, and in 64 KiB from there. */
2:	cmpb $0, PARAMS_E820_ENTRIES
	jne 3f
	xorl %ecx, %ecx
	xorl %edx, %edx
	movw $0xe801, %ax
	int $0x15
	jc 3f
	movw %cx, %si
	orw %dx, %si
	jnz 2f
	movw %ax, %cx
	movw %bx, %dx
2:	movzwl %cx, %ecx
	movzwl %dx, %edx
	shll $6, %edx
	addl %edx, %ecx
	movl %ecx, PARAMS_ALT_MEM_K

	/* Address line 20, by the BIOS and by the chipset. */
3:	movw $0x2401, %ax
	int $0x15
	cli
	inb $0x92, %al
	orb $0x02, %al
	andb $0xfe, %al
	outb %al, $0x92

	xorl %esi, %esi
	movw %ds, %si
	shll $4, %esi
	leal gdt(%esi), %eax
	movl %eax, gdt_register + 2
	lgdtl gdt_register
	leal protected(%esi), %eax
	pushl $BOOT_CS
	pushl %eax
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	lretl

	.code32
protected:
	movl $BOOT_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss
	movl code32_start(%esi), %eax
	addl $PARAMS, %esi
	movl $SETUP_REAL_MODE, %ebx
	xorl %ebp, %ebp
	xorl %edi, %edi
	jmp *%eax

	.balign 8
gdt:
	.quad 0, 0
	.quad 0x00cf9a000000ffff
	.quad 0x00cf92000000ffff
gdt_register:
	.word 31
	.long 0

version_text:
	.asciz "Vireo"

	.org SETUP_BYTES
	.section .note.GNU-stack, "", @progbits
