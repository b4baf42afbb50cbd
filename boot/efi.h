/*
 * What the EFI stub hands over, and the memory map as EFI has it.
 */
#ifndef BOOT_EFI_H
#define BOOT_EFI_H

#include "boot.h"

/* A map of `size` bytes in descriptors of `stride` bytes each, as Multiboot2 hands it on, too. */
void boot_memory_efi(struct boot_info *boot, const void *map, uint64_t size, uint64_t stride);

struct efi_guid {
	uint32_t a;
	uint16_t b, c;
	uint8_t d[8];
};
#define EFI_ACPI1_GUID                                                                                                           \
	{                                                                                                                        \
		0xeb9d2d30, 0x2d88, 0x11d3, { 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d }                                      \
	}
#define EFI_ACPI2_GUID                                                                                                           \
	{                                                                                                                        \
		0x8868e871, 0xe4f1, 0x11d3, { 0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81 }                                      \
	}

/* The RSDP that an EFI system table tells of, for loaders that give only that; 0: none. */
uint64_t boot_efi_rsdp(uint64_t system_table);

/* Filled by boot/efi_stub.c; all in memory below 4 GiB. The rest of its page is boot/start.S's. */
struct efi_handoff {
	uint64_t map, map_size, map_stride;
	uint64_t cmdline, rsdp, dtb, epoch;
	uint64_t initrd, initrd_size;
};
#define EFI_HANDOFF_BYTES 4096u

#endif
