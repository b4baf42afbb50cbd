/*
 * A firmware's memory map made orderly: sorted, without overlaps, RAM in whole pages, neighbours of one kind in one piece.
 *
 * From one address where anything begins or ends to the next one all is of one kind. Where a firmware claims a byte twice, RAM loses.
 */
#include "boot.h"

#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

/* A map that is longer than any firmware's is none: to sort it would take for ever. */
#define ENTRIES_MAX 1024u

#define NOTHING (-1) /* else an enum memory_kind */

static int kind_of(uint32_t type)
{
	return type == E820_RAM ? MEMORY_RAM : type == E820_ACPI || type == E820_NVS ? MEMORY_FIRMWARE : MEMORY_RESERVED;
}

static bool wraps(const struct e820_entry *e) { return e->base + e->size < e->base; }

/* What there is at an address; and up to where that may be. */
static int kind_at(const void *map, unsigned count, struct e820_entry (*entry)(const void *map, unsigned index), uint64_t at,
                   uint64_t *end)
{
	int kind = NOTHING;

	*end = UINT64_MAX;
	for (unsigned i = 0; i < count; i++) {
		struct e820_entry e = entry(map, i);

		if (wraps(&e) || e.base + e.size <= at)
			continue;
		*end = MIN(*end, e.base > at ? e.base : e.base + e.size);
		if (e.base <= at && (kind == NOTHING || kind == MEMORY_RAM))
			kind = kind_of(e.type);
	}
	return kind;
}

/* The next one in order. False: there is no room. */
static bool append(struct boot_info *boot, uint64_t base, uint64_t end, int kind)
{
	if (kind == MEMORY_RAM) {
		end = ALIGN_DOWN(end, PAGE_SIZE);
		base = ALIGN_UP(MIN(base, end), PAGE_SIZE); /* not what is in the last page of all: there is no next one */
	}
	if (kind == NOTHING || base >= end)
		return true;
	if (boot->memory_count == BOOT_MEMORY_MAX)
		return false;
	boot->memory[boot->memory_count++] = (struct memory_range){.base = base,
	                                                           .size = end - base,
	                                                           .kind = (enum memory_kind)kind};
	return true;
}

void boot_memory(struct boot_info *boot, const void *map, uint64_t count,
                 struct e820_entry (*entry)(const void *map, unsigned index))
{
	unsigned entries = (unsigned)MIN(count, ENTRIES_MAX), bad = 0, first_bad = 0, lost = 0;
	uint64_t base = 0, at = 0, end;
	int kind = NOTHING, next;

	do {
		next = kind_at(map, entries, entry, at, &end);
		if (next != kind) {
			lost += !append(boot, base, at, kind);
			base = at;
			kind = next;
		}
		at = end;
	} while (at != UINT64_MAX);
	lost += !append(boot, base, at, kind);

	for (unsigned i = entries; i-- > 0;) {
		struct e820_entry e = entry(map, i);

		if (wraps(&e)) {
			first_bad = i;
			bad++;
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
	append(boot, 0, MIN(low_kib, 640u) << 10, MEMORY_RAM);
	append(boot, 1 << 20, (1 << 20) + (MIN(high_kib, 4095u << 10) << 10), MEMORY_RAM);
}
