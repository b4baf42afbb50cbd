/*
 * EFI: what the stub has gathered before it left the firmware's services, made a boot_info.
 */
#include "efi.h"

#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>
#include <base/util.h>

#define EFI_PAGE_SHIFT 12
#define CONFIGURATION_MAX 4096u /* more tables than any firmware has */

/* EFI_MEMORY_TYPE: what is the loader's and the boot services' is free once those have ended. */
enum {
	EFI_LOADER_CODE = 1,
	EFI_LOADER_DATA,
	EFI_BOOT_CODE,
	EFI_BOOT_DATA,
	EFI_CONVENTIONAL = 7,
	EFI_ACPI_RECLAIM = 9,
	EFI_ACPI_NVS,
};

struct efi_descriptor {
	uint32_t type, pad;
	uint64_t physical, virtual, pages, attributes;
} __attribute__((packed));
_Static_assert(sizeof(struct efi_descriptor) == 40, "EFI_MEMORY_DESCRIPTOR");

void efi_start(const struct efi_handoff *handoff);

struct map {
	const uint8_t *first;
	uint64_t stride;
};

static uint32_t type_of(uint32_t type)
{
	switch (type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BOOT_CODE:
	case EFI_BOOT_DATA:
	case EFI_CONVENTIONAL:
		return E820_RAM;
	case EFI_ACPI_RECLAIM:
		return E820_ACPI;
	case EFI_ACPI_NVS:
		return E820_NVS;
	default:
		return E820_RESERVED;
	}
}

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const struct map *m = map;
	const struct efi_descriptor *d = (const struct efi_descriptor *)(m->first + index * m->stride);
	uint64_t size = d->pages > UINT64_MAX >> EFI_PAGE_SHIFT ? UINT64_MAX : d->pages << EFI_PAGE_SHIFT;

	return (struct e820_entry){.base = d->physical, .size = size, .type = type_of(d->type)};
}

void boot_memory_efi(struct boot_info *boot, const void *first, uint64_t size, uint64_t stride)
{
	struct map map = {.first = first, .stride = stride};

	if (stride < sizeof(struct efi_descriptor) || stride % sizeof(uint64_t))
		log_warn("efi: memory map with descriptors of %llu bytes", (unsigned long long)stride);
	else
		boot_memory(boot, &map, size / stride, memory_entry);
}

/* The parts of EFI_SYSTEM_TABLE that lead to its list of tables. */
struct system_table {
	char signature[8];
	uint8_t pad[104 - 8];
	uint64_t count, tables;
} __attribute__((packed));

struct configuration {
	struct efi_guid guid;
	uint64_t table;
} __attribute__((packed));

uint64_t boot_efi_rsdp(uint64_t address)
{
	static const struct efi_guid acpi1 = EFI_ACPI1_GUID, acpi2 = EFI_ACPI2_GUID;
	const struct system_table *system = (const struct system_table *)(uintptr_t)address;
	const struct configuration *list;
	uint64_t rsdp = 0;

	if (!boot_reachable(address, sizeof(*system)) || memcmp(system->signature, "IBI SYST", 8) != 0)
		return 0;
	list = (const struct configuration *)(uintptr_t)system->tables;
	if (system->count > CONFIGURATION_MAX || !boot_reachable(system->tables, system->count * sizeof(*list)))
		return 0;
	for (uint64_t i = 0; i < system->count; i++) {
		if (memcmp(&list[i].guid, &acpi2, sizeof(acpi2)) == 0)
			return list[i].table;
		if (memcmp(&list[i].guid, &acpi1, sizeof(acpi1)) == 0)
			rsdp = list[i].table;
	}
	return rsdp;
}

void efi_start(const struct efi_handoff *handoff)
{
	struct boot_info *boot = boot_begin("efi");

	boot->cmdline = boot_without_name(boot_text(handoff->cmdline, "command line"));
	boot->rsdp = handoff->rsdp;
	boot->epoch = handoff->epoch;
	if (boot_reachable(handoff->map, handoff->map_size))
		boot_memory_efi(boot, (const void *)(uintptr_t)handoff->map, handoff->map_size, handoff->map_stride);
	if (!boot->memory_count)
		panic("efi: the firmware tells of no memory");
	if (handoff->initrd_size)
		boot_module(boot, handoff->initrd, handoff->initrd_size, "");
	boot_device_tree(boot, handoff->dtb);
	kernel_main(boot);
}
