/*
 * What the boot protocols share. Their code runs on the boot stack with the first 4 GiB mapped, before anything is initialized;
 * log lines work.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <stdbool.h>

#include <base/boot_info.h>

/* Types of a memory range in the firmware's map, which PVH and the Linux protocol share. */
enum e820_type { E820_RAM = 1, E820_RESERVED, E820_ACPI, E820_NVS };

struct e820_entry {
	uint64_t base, size;
	uint32_t type;
};

/* The boot_info, empty but for its protocol and strings. */
struct boot_info *boot_begin(const char *protocol);

/* Fill boot->memory from a firmware's map, in any order, with overlaps or nonsense in it. `entry` gives the index-th. */
void boot_memory(struct boot_info *boot, const void *map, uint64_t count,
                 struct e820_entry (*entry)(const void *map, unsigned index));

/* For loaders that tell no map, only how much RAM there is from 0 and from 1 MiB on, in KiB. */
void boot_memory_sizes(struct boot_info *boot, uint64_t low_kib, uint64_t high_kib);

/* Whether [base, base + size) is mapped this early: not at 0, and below 4 GiB. */
bool boot_reachable(uint64_t base, uint64_t size);

/* The string at a physical address; "" and a warning where it is out of reach or does not end. 0 is no string, without a warning. */
const char *boot_text(uint64_t address, const char *what);

/* What follows the image's own name, which some loaders put in front of the command line. */
const char *boot_without_name(const char *cmdline);

/* One more module; one that cannot be is left out, with a warning. The memory map is known by then. */
void boot_module(struct boot_info *boot, uint64_t base, uint64_t size, const char *cmdline);

/* A device tree; it is a module, too, so that its memory is kept. 0 is none, without a warning. */
void boot_device_tree(struct boot_info *boot, uint64_t address);

#endif
