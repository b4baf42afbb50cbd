/*
 * The PVH boot protocol (Xen's "x86/HVM direct boot ABI"): the loader hands over a struct hvm_start_info, which points to the
 * memory map, the command line and the modules. QEMU, Cloud Hypervisor, Firecracker and others speak it.
 *
 * The loader is trusted as far as it must be, it placed this code. Counts are bounded all the same, and what lies beyond the
 * 4 GiB that are mapped this early is taken as not given.
 */
#include "boot.h"

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>
#include <base/util.h>

#define START_MAGIC 0x336ec578
#define REACH BIT64(32)

struct hvm_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp;
	uint64_t memory_map; /* this and the rest since version 1 */
	uint32_t memory_count, reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "hvm_start_info, version 1");

struct hvm_module {
	uint64_t base, size, cmdline, reserved;
};

struct hvm_memory {
	uint64_t base, size;
	uint32_t type, reserved;
};
_Static_assert(sizeof(struct hvm_memory) == 24, "hvm_memmap_table_entry");

void pvh_start(const struct hvm_start_info *start);

static bool reachable(uint64_t base, uint64_t size) { return base != 0 && base < REACH && size <= REACH - base; }

static const char *text(uint64_t address) { return reachable(address, 1) ? (const char *)address : ""; }

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const struct hvm_memory *m = (const struct hvm_memory *)map + index;

	return (struct e820_entry){.base = m->base, .size = m->size, .type = m->type};
}

static void take_memory(struct boot_info *boot, const struct hvm_start_info *start)
{
	if (start->version == 0 || start->memory_count == 0)
		panic("PVH: the loader gave no memory map (hvm_start_info version %u)", start->version);
	if (!reachable(start->memory_map, (uint64_t)start->memory_count * sizeof(struct hvm_memory)))
		panic("PVH: the memory map is out of reach (at 0x%llx, %u entries)", (unsigned long long)start->memory_map,
		      start->memory_count);
	boot_memory(boot, (const void *)start->memory_map, start->memory_count, memory_entry);
}

static void take_modules(struct boot_info *boot, const struct hvm_start_info *start)
{
	const struct hvm_module *module = (const struct hvm_module *)start->modules;
	uint32_t count = start->module_count;

	if (count && !reachable(start->modules, (uint64_t)count * sizeof(*module))) {
		log_warn("PVH: the module list is out of reach, %u modules left out", count);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (boot->module_count == BOOT_MODULE_MAX || module[i].base + module[i].size < module[i].base) {
			log_warn("PVH: module %u left out (%s)", i,
			         boot->module_count == BOOT_MODULE_MAX ? "too many" : "it wraps around");
			continue;
		}
		boot->module[boot->module_count++] = (struct boot_module){.base = module[i].base,
		                                                          .size = module[i].size,
		                                                          .cmdline = text(module[i].cmdline)};
	}
}

void pvh_start(const struct hvm_start_info *start)
{
	static struct boot_info boot;

	if (start->magic != START_MAGIC)
		panic("PVH: no hvm_start_info at 0x%llx (magic 0x%x)", (unsigned long long)(uintptr_t)start, start->magic);
	boot.protocol = "pvh";
	boot.cmdline = text(start->cmdline);
	boot.rsdp = start->rsdp;
	take_memory(&boot, start);
	take_modules(&boot, start);
	kernel_main(&boot);
}
