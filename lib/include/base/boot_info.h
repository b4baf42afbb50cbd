/*
 * What every boot protocol ends in. The files of boot/ fill it, before any memory is mapped anew; it lives in the image's own
 * data, and strings and modules that it points to stay where the loader put them (their pages are kept from the allocator).
 */
#ifndef BASE_BOOT_INFO_H
#define BASE_BOOT_INFO_H

#include <stdint.h>

enum memory_kind {
	MEMORY_RAM,      /* usable */
	MEMORY_RESERVED, /* present, not ours */
	MEMORY_FIRMWARE, /* ACPI tables and NVS */
};

struct memory_range {
	uint64_t base, size; /* bytes */
	enum memory_kind kind;
};

struct boot_module {
	uint64_t base, size; /* bytes, physical */
	const char *cmdline; /* never NULL; by Multiboot's habit its first word is the module's name */
};

#define BOOT_MEMORY_MAX 128
#define BOOT_MODULE_MAX 8

struct boot_info {
	const char *protocol; /* "pvh", ...: docs/building.md has all */
	const char *cmdline;  /* never NULL */
	uint64_t rsdp;        /* physical, 0: none told */
	uint64_t dtb;         /* a device tree: physical, 0: none told */
	uint64_t epoch;       /* the firmware's time at boot: seconds since 1970, UTC; 0: none told */
	unsigned memory_count, module_count;
	struct memory_range memory[BOOT_MEMORY_MAX]; /* sorted by base, without overlaps */
	struct boot_module module[BOOT_MODULE_MAX];
};

#endif
