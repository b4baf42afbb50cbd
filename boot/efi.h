/*
 * What the EFI stub hands over, and the memory map as EFI has it.
 */
#ifndef BOOT_EFI_H
#define BOOT_EFI_H

#include "boot.h"

/* A map of `size` bytes in descriptors of `stride` bytes each, as Multiboot2 hands it on, too. */
void boot_memory_efi(struct boot_info *boot, const void *map, uint64_t size, uint64_t stride);

/* Filled by boot/efi_stub.c; all in memory below 4 GiB. The rest of its page is boot/start.S's. */
struct efi_handoff {
	uint64_t map, map_size, map_stride;
	uint64_t cmdline, rsdp, dtb, epoch;
	uint64_t initrd, initrd_size;
};
#define EFI_HANDOFF_BYTES 4096u

#endif
