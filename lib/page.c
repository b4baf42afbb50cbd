/*
 * Physical pages.
 *
 * Free memory is a list of ranges, highest first. The node of a range lies in its own first bytes, so the list needs no memory
 * and boot touches one page per range, however much RAM there is. page_alloc() cuts from the top of the first range that fits,
 * which leaves the node where it is; page_free() merges with both neighbours, so lists stay short.
 *
 * The heap is the bottom of the largest range: it grows by taking the pages right above it while they are free, and shrinks by
 * giving them back. Neither side reserves anything, so one can have what the other does not use.
 *
 * On the host the address sanitizer is told what is free, and where within its last page an allocation ends.
 *
 * The first MiB (firmware's and boot's leftovers), the image, the modules and the strings of the boot loader are never free.
 */
#include <base/page.h>

#include <string.h>

#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/boot_info.h>
#include <base/poison.h>
#include <base/spinlock.h>
#include <base/util.h>

#define LOW_MEMORY UINT64_C(0x100000)

/* A range of bytes, whole pages; end is exclusive. */
struct span {
	uint64_t base, end;
};

struct free_range {
	struct free_range *lower; /* the next one down */
	uint64_t size;            /* bytes */
};

/* What was ever given to the allocator: page_free() checks against it. Reserved spans each split one range at most. */
#define RESERVED_MAX (2 + 2 * BOOT_MODULE_MAX)
static struct span managed[BOOT_MEMORY_MAX + RESERVED_MAX];
static unsigned managed_count;

static struct spinlock lock; /* for all that follows */
static struct free_range *highest;
static uint64_t free_bytes, total_bytes;
static uint64_t heap_start, heap_end;

static struct free_range *range_at(uint64_t base) { return (struct free_range *)(uintptr_t)base; }

static uint64_t base_of(const struct free_range *range) { return (uintptr_t)range; }

static uint64_t end_of(const struct free_range *range) { return base_of(range) + range->size; }

/* Put [base, end) on the list, merged with its neighbours. False: some of it is there already. */
static bool insert(uint64_t base, uint64_t end)
{
	struct free_range **at = &highest, **above = NULL;

	while (*at && base_of(*at) >= end) {
		above = at;
		at = &(*at)->lower;
	}

	struct free_range *below = *at, *range = range_at(base);

	if (below && end_of(below) > base)
		return false;
	free_bytes += end - base;
	memory_poison(range, end - base);
	if (above && base_of(*above) == end) {
		end = end_of(*above);
		memory_poison(*above, sizeof(**above));
		at = above;
	}
	if (below && end_of(below) == base) {
		below->size += end - base;
		*at = below;
	} else {
		memory_unpoison(range, sizeof(*range));
		*range = (struct free_range){.lower = below, .size = end - base};
		*at = range;
	}
	return true;
}

/* Take [base, end) off the range that *at links. */
static void take(struct free_range **at, uint64_t base, uint64_t end)
{
	struct free_range *range = *at;

	memory_unpoison(range_at(base), end - base);
	if (end < end_of(range)) {
		struct free_range *rest = range_at(end);

		memory_unpoison(rest, sizeof(*rest));
		*rest = (struct free_range){.lower = range, .size = end_of(range) - end};
		*at = rest;
		at = &rest->lower;
	}
	if (base > base_of(range))
		range->size = base - base_of(range);
	else
		*at = range->lower;
	free_bytes -= end - base;
}

/* Give the allocator what of [base, end) none of the `count` reserved spans covers. */
static void manage(uint64_t base, uint64_t end, const struct span *reserved, unsigned count)
{
	for (; count && base < end; reserved++, count--) {
		if (reserved->base >= end || reserved->end <= base)
			continue;
		if (reserved->base > base)
			manage(base, reserved->base, reserved + 1, count - 1);
		base = reserved->end;
	}
	if (base >= end)
		return;
	if (!insert(base, end))
		panic("page_init: memory ranges overlap at %#llx", (unsigned long long)base);
	managed[managed_count++] = (struct span){base, end};
	total_bytes += end - base;
}

static struct span span_of(uint64_t base, uint64_t size)
{
	return (struct span){ALIGN_DOWN(base, PAGE_SIZE), ALIGN_UP(base + size, PAGE_SIZE)};
}

static struct span span_of_string(const char *string) { return span_of(mmu_virt_to_phys(string), strlen(string) + 1); }

void page_init(const struct boot_info *boot, uint64_t image_start, uint64_t image_end)
{
	struct span reserved[RESERVED_MAX];
	unsigned count = 0;

	reserved[count++] = span_of(image_start, image_end - image_start);
	reserved[count++] = span_of_string(boot->cmdline);
	for (unsigned i = 0; i < boot->module_count; i++) {
		reserved[count++] = span_of(boot->module[i].base, boot->module[i].size);
		reserved[count++] = span_of_string(boot->module[i].cmdline);
	}

	lock = (struct spinlock){0};
	highest = NULL;
	managed_count = 0;
	free_bytes = total_bytes = 0;
	for (unsigned i = 0; i < boot->memory_count; i++) {
		const struct memory_range *range = &boot->memory[i];

		if (range->kind == MEMORY_RAM)
			manage(ALIGN_UP(MAX(range->base, LOW_MEMORY), PAGE_SIZE),
			       ALIGN_DOWN(range->base + range->size, PAGE_SIZE), reserved, count);
	}

	const struct free_range *largest = highest;

	for (const struct free_range *range = highest; range; range = range->lower) {
		if (range->size > largest->size)
			largest = range;
	}
	heap_start = heap_end = largest ? base_of(largest) : 0;
}

static void *take_pages(size_t size, size_t alignment)
{
	for (struct free_range **at = &highest; *at; at = &(*at)->lower) {
		if ((*at)->size < size)
			continue;

		uint64_t base = ALIGN_DOWN(end_of(*at) - size, alignment);

		if (base < base_of(*at))
			continue;
		take(at, base, base + size);
		return range_at(base);
	}
	return NULL;
}

void *page_alloc_uncleared(size_t bytes, size_t alignment)
{
	size_t size = ALIGN_UP(bytes, PAGE_SIZE);
	void *pages;

	if (alignment < PAGE_SIZE || (alignment & (alignment - 1)))
		panic("page_alloc: alignment %zu", alignment);
	if (size == 0) /* nothing, or so much that it wrapped */
		return NULL;
	spin_lock(&lock);
	pages = take_pages(size, alignment);
	spin_unlock(&lock);
	if (pages)
		memory_poison((char *)pages + bytes, size - bytes);
	return pages;
}

void *page_alloc(size_t bytes, size_t alignment)
{
	void *pages = page_alloc_uncleared(bytes, alignment);

	if (pages)
		mmu_clear_pages(pages, bytes);
	return pages;
}

static bool may_be_freed(uint64_t base, uint64_t end)
{
	if (base % PAGE_SIZE || end <= base || (base < heap_end && end > heap_start))
		return false;
	for (unsigned i = 0; i < managed_count; i++) {
		if (base >= managed[i].base && end <= managed[i].end)
			return true;
	}
	return false;
}

void page_free(void *pages, size_t bytes)
{
	uint64_t base = (uintptr_t)pages, end = base + ALIGN_UP(bytes, PAGE_SIZE);
	bool freed;

	if (!pages)
		return;
	spin_lock(&lock);
	freed = may_be_freed(base, end) && insert(base, end);
	spin_unlock(&lock);
	if (!freed)
		panic("page_free: %zu bytes at %p are not allocated", bytes, pages);
}

/* The pages between the old end of the heap and the new one. False: they are not free. */
static bool move_heap_end(uint64_t former, uint64_t wanted)
{
	uint64_t former_page = ALIGN_UP(former, PAGE_SIZE), wanted_page = ALIGN_UP(wanted, PAGE_SIZE);

	if (wanted_page < former_page) {
		insert(wanted_page, former_page);
	} else if (wanted_page > former_page) {
		struct free_range **at = &highest;

		while (*at && base_of(*at) > former_page)
			at = &(*at)->lower;
		if (!*at || base_of(*at) != former_page || (*at)->size < wanted_page - former_page)
			return false;
		take(at, former_page, wanted_page);
	}
	heap_end = wanted;
	return true;
}

void *page_heap_grow(intptr_t delta)
{
	uint64_t former, wanted;
	bool moved;

	spin_lock(&lock);
	former = heap_end;
	wanted = former + (uint64_t)delta;
	moved = (delta >= 0 || (wanted <= former && wanted >= heap_start)) && move_heap_end(former, wanted);
	spin_unlock(&lock);
	if (!moved)
		return NULL;
	/* All of what is new is zero, the rest of a page that was the heap's before as well: calloc() counts on it. */
	if (delta > 0)
		memset((void *)(uintptr_t)former, 0, (size_t)delta);
	return (void *)(uintptr_t)former;
}

uint64_t page_count_free(void)
{
	uint64_t count;

	spin_lock(&lock);
	count = free_bytes / PAGE_SIZE;
	spin_unlock(&lock);
	return count;
}

uint64_t page_count_total(void) { return total_bytes / PAGE_SIZE; }
