/*
 * The PVH boot protocol (Xen's "x86/HVM direct boot ABI"): the loader hands over a struct hvm_start_info, which points to the
 * memory map, the command line and the modules. QEMU, Cloud Hypervisor, Firecracker and others speak it. */
#include "boot.h"

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>

#define START_MAGIC 0x336ec578

struct hvm_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp;
	uint64_t memory_map; /* this and the rest since version 1 */
	uint32_t memory_count, reserved;
} __attribute__((packed)); /* this and what it leads to: loaders may align it to nothing */
_Static_assert(sizeof(struct hvm_start_info) == 56, "hvm_start_info, version 1");

struct hvm_module {
	uint64_t base, size, cmdline, reserved;
} __attribute__((packed));

struct hvm_memory {
	uint64_t base, size;
	uint32_t type, reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct hvm_memory) == 24, "hvm_memmap_table_entry");

void pvh_start(const struct hvm_start_info *start);

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const struct hvm_memory *m = (const struct hvm_memory *)map + index;

	return (struct e820_entry){.base = m->base, .size = m->size, .type = m->type};
}

static void take_memory(struct boot_info *boot, const struct hvm_start_info *start)
{
	if (start->version == 0 || start->memory_count == 0)
		panic("PVH: the loader gave no memory map (hvm_start_info version %u)", start->version);
	if (!boot_reachable(start->memory_map, (uint64_t)start->memory_count * sizeof(struct hvm_memory)))
		panic("PVH: the memory map is out of reach (at 0x%llx, %u entries)", (unsigned long long)start->memory_map,
		      start->memory_count);
	boot_memory(boot, (const void *)start->memory_map, start->memory_count, memory_entry);
}

static void take_modules(struct boot_info *boot, const struct hvm_start_info *start)
{
	const struct hvm_module *module = (const struct hvm_module *)start->modules;
	uint32_t count = start->module_count;

	if (count && !boot_reachable(start->modules, (uint64_t)count * sizeof(*module))) {
		log_warn("PVH: the module list is out of reach, %u modules left out", count);
		return;
	}
	for (uint32_t i = 0; i < count && i <= BOOT_MODULE_MAX; i++)
		boot_module(boot, module[i].base, module[i].size, boot_text(module[i].cmdline, "module's command line"));
}

void pvh_start(const struct hvm_start_info *start)
{
	struct boot_info *boot = boot_begin("pvh");

	if (start->magic != START_MAGIC)
		panic("PVH: no hvm_start_info at 0x%llx (magic 0x%x)", (unsigned long long)(uintptr_t)start, start->magic);
	boot->cmdline = boot_text(start->cmdline, "command line");
	boot->rsdp = start->rsdp;
	take_memory(boot, start);
	take_modules(boot, start);
	kernel_main(boot);
}
