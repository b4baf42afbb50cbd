/*
 * The Multiboot protocol, version 0.6.96: the loader puts a pointer to its information into ebx. Fields count where their flag is
 * set. It tells nothing of ACPI: the tables are searched for where PC firmware leaves them.
 */
#include "boot.h"

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>
#include <base/util.h>

#define HAS_MEMORY BIT64(0)
#define HAS_CMDLINE BIT64(2)
#define HAS_MODULES BIT64(3)
#define HAS_MAP BIT64(6)

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
} __attribute__((packed)); /* this and what it leads to: loaders may align it to nothing */

struct multiboot_module {
	uint32_t start, end, string, reserved;
} __attribute__((packed));

/* `size` is that of what follows it, and leads to the next one. */
struct multiboot_mmap {
	uint32_t size;
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));
#define MMAP_SIZE_LEAST (sizeof(struct multiboot_mmap) - sizeof(uint32_t))

void multiboot1_start(const struct multiboot_info *info);

static const struct multiboot_mmap *mmap_at(const uint8_t *at) { return (const struct multiboot_mmap *)at; }

static const uint8_t *mmap_next(const uint8_t *at) { return at + mmap_at(at)->size + sizeof(uint32_t); }

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const uint8_t *at = map;

	while (index--) /* entries may differ in size */
		at = mmap_next(at);
	return (struct e820_entry){.base = mmap_at(at)->base, .size = mmap_at(at)->length, .type = mmap_at(at)->type};
}

static void take_map(struct boot_info *boot, const struct multiboot_info *info)
{
	const uint8_t *start = (const uint8_t *)(uintptr_t)info->mmap_addr, *at = start;
	uint32_t left = info->mmap_length;
	unsigned count = 0;

	while (left >= sizeof(struct multiboot_mmap) && mmap_at(at)->size >= MMAP_SIZE_LEAST &&
	       mmap_at(at)->size <= left - sizeof(uint32_t)) {
		left -= mmap_at(at)->size + (uint32_t)sizeof(uint32_t);
		at = mmap_next(at);
		count++;
	}
	if (left)
		log_warn("multiboot1: %u bytes at the end of the memory map make no entry", left);
	boot_memory(boot, start, count, memory_entry);
}

static void take_memory(struct boot_info *boot, const struct multiboot_info *info)
{
	bool has_map = info->flags & HAS_MAP && info->mmap_length;

	if (has_map && boot_reachable(info->mmap_addr, info->mmap_length))
		take_map(boot, info);
	else if (has_map)
		log_warn("multiboot1: the memory map is out of reach (%u bytes at 0x%x)", info->mmap_length, info->mmap_addr);
	if (boot->memory_count)
		return;
	if (!(info->flags & HAS_MEMORY))
		panic("multiboot1: the loader tells of no memory");
	boot_memory_sizes(boot, info->mem_lower, info->mem_upper);
}

static void take_modules(struct boot_info *boot, const struct multiboot_info *info)
{
	const struct multiboot_module *module = (const struct multiboot_module *)(uintptr_t)info->mods_addr;

	if (!(info->flags & HAS_MODULES) || !info->mods_count)
		return;
	if (!boot_reachable(info->mods_addr, (uint64_t)info->mods_count * sizeof(*module))) {
		log_warn("multiboot1: the list of %u modules is out of reach", info->mods_count);
		return;
	}
	for (uint32_t i = 0; i < info->mods_count && i <= BOOT_MODULE_MAX; i++)
		boot_module(boot, module[i].start, (uint64_t)module[i].end - module[i].start,
		            boot_text(module[i].string, "module's command line"));
}

void multiboot1_start(const struct multiboot_info *info)
{
	struct boot_info *boot = boot_begin("multiboot1");

	if (!boot_reachable((uintptr_t)info, sizeof(*info)))
		panic("multiboot1: no information at 0x%llx", (unsigned long long)(uintptr_t)info);
	boot->cmdline = boot_without_name(boot_text(info->flags & HAS_CMDLINE ? info->cmdline : 0, "command line"));
	take_memory(boot, info);
	take_modules(boot, info);
	kernel_main(boot);
}
