/*
 * A firmware's memory map made orderly: sorted, without overlaps, RAM in whole pages.
 *
 * Each range adds only what no earlier one covers, and RAM is added last: where a firmware claims a byte twice, RAM loses.
 */
#include "boot.h"

#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

static void insert(struct boot_info *boot, uint64_t base, uint64_t end, enum memory_kind kind)
{
	unsigned at = boot->memory_count;

	if (kind == MEMORY_RAM) {
		base = ALIGN_UP(base, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
	}
	if (base >= end)
		return;
	if (at == BOOT_MEMORY_MAX) {
		log_warn("memory map: more than %u ranges, 0x%llx-0x%llx left out", BOOT_MEMORY_MAX, (unsigned long long)base,
		         (unsigned long long)(end - 1));
		return;
	}
	for (; at > 0 && boot->memory[at - 1].base > base; at--)
		boot->memory[at] = boot->memory[at - 1];
	boot->memory[at] = (struct memory_range){.base = base, .size = end - base, .kind = kind};
	boot->memory_count++;
}

static void add(struct boot_info *boot, uint64_t base, uint64_t end, enum memory_kind kind)
{
	for (unsigned i = 0; i < boot->memory_count && base < end; i++) {
		uint64_t taken = boot->memory[i].base, taken_end = taken + boot->memory[i].size;

		if (taken >= end)
			break;
		if (taken_end <= base)
			continue;
		if (taken > base) {
			unsigned before = boot->memory_count;

			insert(boot, base, taken, kind);
			i += boot->memory_count - before; /* the taken one moved up */
		}
		base = taken_end;
	}
	if (base < end)
		insert(boot, base, end, kind);
}

void boot_memory(struct boot_info *boot, const void *map, unsigned count,
                 struct e820_entry (*entry)(const void *map, unsigned index))
{
	for (unsigned i = 0; i < count; i++) {
		struct e820_entry e = entry(map, i);

		if (e.base + e.size < e.base)
			log_warn("memory map: entry %u is bad (base 0x%llx, size 0x%llx), left out", i,
			         (unsigned long long)e.base, (unsigned long long)e.size);
		else if (e.type != E820_RAM)
			add(boot, e.base, e.base + e.size,
			    e.type == E820_ACPI || e.type == E820_NVS ? MEMORY_FIRMWARE : MEMORY_RESERVED);
	}
	for (unsigned i = 0; i < count; i++) {
		struct e820_entry e = entry(map, i);

		if (e.type == E820_RAM && e.base + e.size > e.base)
			add(boot, e.base, e.base + e.size, MEMORY_RAM);
	}
}
