/*
 * A firmware's memory map made orderly: sorted, without overlaps, RAM in whole pages, neighbours of one kind in one piece.
 *
 * Each range adds only what no earlier one covers, and RAM is added last: where a firmware claims a byte twice, RAM loses.
 */
#include "boot.h"

#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

/* A map that is longer than any firmware's is none: to sort it would take for ever. */
#define ENTRIES_MAX 4096u

static uint64_t end_of(const struct memory_range *range) { return range->base + range->size; }

static void close_gap(struct boot_info *boot, unsigned at)
{
	boot->memory_count--;
	memmove(&boot->memory[at], &boot->memory[at + 1], (boot->memory_count - at) * sizeof(boot->memory[0]));
}

/* Put a range that overlaps none in its place, behind `at` others. False: there is no room. */
static bool insert(struct boot_info *boot, unsigned at, uint64_t base, uint64_t end, enum memory_kind kind)
{
	struct memory_range *range = boot->memory;

	if (kind == MEMORY_RAM) {
		end = ALIGN_DOWN(end, PAGE_SIZE);
		base = ALIGN_UP(MIN(base, end), PAGE_SIZE); /* not what is in the last page of all: there is no next one */
	}
	if (base >= end)
		return true;
	if (at > 0 && range[at - 1].kind == kind && end_of(&range[at - 1]) == base) {
		base = range[--at].base;
		close_gap(boot, at);
	}
	if (at < boot->memory_count && range[at].kind == kind && range[at].base == end) {
		end = end_of(&range[at]);
		close_gap(boot, at);
	}
	if (boot->memory_count == BOOT_MEMORY_MAX)
		return false;
	memmove(&range[at + 1], &range[at], (boot->memory_count - at) * sizeof(*range));
	range[at] = (struct memory_range){.base = base, .size = end - base, .kind = kind};
	boot->memory_count++;
	return true;
}

/* Put what of [base, end) no range covers yet. */
static bool add(struct boot_info *boot, uint64_t base, uint64_t end, enum memory_kind kind)
{
	const struct memory_range *range = boot->memory;
	bool room = true;

	while (base < end) {
		unsigned at = 0;

		while (at < boot->memory_count && end_of(&range[at]) <= base)
			at++;

		uint64_t stop = at < boot->memory_count ? MIN(range[at].base, end) : end;
		uint64_t resume = at < boot->memory_count ? end_of(&range[at]) : end;

		if (stop > base)
			room &= insert(boot, at, base, stop, kind);
		base = MAX(stop, resume);
	}
	return room;
}

static enum memory_kind kind_of(uint32_t type)
{
	return type == E820_RAM ? MEMORY_RAM : type == E820_ACPI || type == E820_NVS ? MEMORY_FIRMWARE : MEMORY_RESERVED;
}

void boot_memory(struct boot_info *boot, const void *map, uint64_t count,
                 struct e820_entry (*entry)(const void *map, unsigned index))
{
	unsigned entries = (unsigned)MIN(count, ENTRIES_MAX), bad = 0, first_bad = 0, lost = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < entries; i++) {
			struct e820_entry e = entry(map, i);

			if ((e.type == E820_RAM) != (pass == 1))
				continue;
			if (e.base + e.size < e.base) {
				first_bad = bad ? first_bad : i;
				bad++;
			} else if (!add(boot, e.base, e.base + e.size, kind_of(e.type))) {
				lost++;
			}
		}
	}
	if (bad) {
		struct e820_entry e = entry(map, first_bad);

		log_warn("memory map: %u of %u entries are bad, left out (entry %u: base 0x%llx, size 0x%llx)", bad, entries,
		         first_bad, (unsigned long long)e.base, (unsigned long long)e.size);
	}
	if (lost || count > entries)
		log_warn("memory map: too long (%llu entries), %llu left out", (unsigned long long)count,
		         (unsigned long long)(lost + count - entries));
}

void boot_memory_sizes(struct boot_info *boot, uint64_t low_kib, uint64_t high_kib)
{
	log_warn("memory map: none told, only sizes: %llu KiB, and %llu KiB from 1 MiB on", (unsigned long long)low_kib,
	         (unsigned long long)high_kib);
	add(boot, 0, MIN(low_kib, 640u) << 10, MEMORY_RAM);
	add(boot, 1 << 20, (1 << 20) + (MIN(high_kib, 4095u << 10) << 10), MEMORY_RAM);
}
