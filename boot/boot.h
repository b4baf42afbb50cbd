/*
 * What the boot protocols share. Their code runs on the boot stack with the first 4 GiB mapped, before anything is initialized;
 * log lines work.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <base/boot_info.h>

/* Types of a memory range in the firmware's map, which PVH and the Linux protocol share. */
enum e820_type { E820_RAM = 1, E820_RESERVED, E820_ACPI, E820_NVS };

struct e820_entry {
	uint64_t base, size;
	uint32_t type;
};

/* Fill boot->memory from a firmware's map, in any order, with overlaps or nonsense in it. `entry` gives the index-th. */
void boot_memory(struct boot_info *boot, const void *map, unsigned count,
                 struct e820_entry (*entry)(const void *map, unsigned index));

#endif
