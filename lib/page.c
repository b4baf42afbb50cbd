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
 * A range also knows how much of it, from its base on, a hypervisor was told to be free (page_free_told()). What is freed is put behind
 * that or hides it; a hypervisor that hears of a page twice is none the worse. So this costs a word, and an idle machine tells nothing.
 *
 * page.poison=BYTE, for finding what writes to memory that it has freed: free pages are filled with it, and looked at when they are
 * taken.
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
#include <base/cmdline.h>
#include <base/log.h>
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
	uint64_t size, told;      /* bytes */
};

/* What was ever given to the allocator: page_free() checks against it. Reserved spans each split one range at most. */
#define RESERVED_MAX (2 + 2 * BOOT_MODULE_MAX)
static struct span managed[BOOT_MEMORY_MAX + RESERVED_MAX];
static unsigned managed_count;

static struct spinlock lock; /* for all that follows */
static struct free_range *highest;
static uint64_t free_bytes, total_bytes;
static uint64_t heap_start, heap_end;
static struct page_lender *lenders;

static int poison = -1; /* -1: none */

static struct free_range *range_at(uint64_t base) { return (struct free_range *)(uintptr_t)base; }

static uint64_t base_of(const struct free_range *range) { return (uintptr_t)range; }

static uint64_t end_of(const struct free_range *range) { return base_of(range) + range->size; }

static void fill_free(void *memory, uint64_t bytes)
{
	if (likely(poison < 0))
		return;
	memory_unpoison(memory, bytes);
	memset(memory, poison, bytes);
}

/* Put [base, end) on the list, merged with its neighbours. False: some of it is there already. */
static bool insert(uint64_t base, uint64_t end, bool is_told)
{
	struct free_range **at = &highest, **above = NULL;

	while (*at && base_of(*at) >= end) {
		above = at;
		at = &(*at)->lower;
	}

	struct free_range *below = *at, *range = range_at(base);
	uint64_t told = 0;

	if (below && end_of(below) > base)
		return false;
	free_bytes += end - base;
	fill_free(range, end - base);
	memory_poison(range, end - base);
	if (below && end_of(below) == base) {
		range = below;
		told = below->told;
		below = below->lower;
	}
	if (is_told && told == base - base_of(range))
		told += end - base;
	if (above && base_of(*above) == end) {
		if (told == end - base_of(range))
			told += (*above)->told;
		end = end_of(*above);
		fill_free(*above, sizeof(**above));
		memory_poison(*above, sizeof(**above));
		at = above;
	}
	memory_unpoison(range, sizeof(*range));
	*range = (struct free_range){.lower = below, .size = end - base_of(range), .told = told};
	*at = range;
	return true;
}

/* Take [base, end) off the range that *at links. */
static void take(struct free_range **at, uint64_t base, uint64_t end)
{
	struct free_range *range = *at, former = *range;

	memory_unpoison(range_at(base), end - base);
	if (end < end_of(range)) {
		struct free_range *rest = range_at(end);
		uint64_t before = end - base_of(range);

		memory_unpoison(rest, sizeof(*rest));
		*rest = (struct free_range){.lower = range,
		                            .size = former.size - before,
		                            .told = former.told - MIN(former.told, before)};
		*at = rest;
		at = &rest->lower;
	}
	if (base > base_of(range)) {
		range->size = base - base_of(range);
		range->told = MIN(former.told, range->size);
	} else {
		*at = former.lower;
		fill_free(range, sizeof(*range));
	}
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
	if (!insert(base, end, false))
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
	lenders = NULL;
	poison = (int)MIN(cmdline_number("page.poison", UINT64_MAX), 256u);
	if (poison == 256)
		poison = -1;
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

static void check_free(const uint8_t *pages, size_t size)
{
	size_t i = 0;

	while (i < size && pages[i] == poison)
		i++;
	if (i < size)
		log_error("page: %p was written to while it was free", (const void *)(pages + i));
}

/* Somebody of this CPU gives back what was lent. */
static bool reclaim(size_t bytes)
{
	bool freed = false;

	spin_lock(&lock);
	for (struct page_lender *lender = lenders; lender && !freed; lender = lender->next) {
		if (lender->freed.cpu != cpu_index())
			continue;
		spin_unlock(&lock);
		freed = lender->reclaim(lender, bytes);
		spin_lock(&lock);
	}
	spin_unlock(&lock);
	return freed;
}

static void *try_take(size_t size, size_t alignment)
{
	void *pages;

	spin_lock(&lock);
	pages = take_pages(size, alignment);
	spin_unlock(&lock);
	return pages;
}

void *page_alloc_uncleared(size_t bytes, size_t alignment)
{
	size_t size = ALIGN_UP(bytes, PAGE_SIZE);
	void *pages;

	if (alignment < PAGE_SIZE || (alignment & (alignment - 1)))
		panic("page_alloc: alignment %zu", alignment);
	if (size == 0) /* nothing, or so much that it wrapped */
		return NULL;
	do
		pages = try_take(size, alignment);
	while (unlikely(!pages) && reclaim(size));
	if (pages && unlikely(poison >= 0))
		check_free(pages, size);
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

static void give_back(void *pages, size_t bytes, bool is_told)
{
	uint64_t base = (uintptr_t)pages, end = base + ALIGN_UP(bytes, PAGE_SIZE);
	bool freed;

	if (!pages)
		return;
	spin_lock(&lock);
	freed = may_be_freed(base, end) && insert(base, end, is_told);
	for (struct page_lender *lender = lenders; lender && !is_told; lender = lender->next)
		event_mark(&lender->freed);
	spin_unlock(&lock);
	if (!freed)
		panic("page_free: %zu bytes at %p are not allocated", bytes, pages);
}

void page_free(void *pages, size_t bytes) { give_back(pages, bytes, false); }

/* ---- lent to a hypervisor ---- */

void *page_take(size_t bytes) { return try_take(ALIGN_UP(bytes, PAGE_SIZE), PAGE_SIZE); }

void *page_take_untold(size_t least, size_t most, size_t *bytes)
{
	struct free_range **at = &highest;
	uint64_t base = 0;

	spin_lock(&lock);
	while (*at && (*at)->size - (*at)->told < least)
		at = &(*at)->lower;
	if (*at) {
		base = base_of(*at) + (*at)->told;
		*bytes = MIN(most, (*at)->size - (*at)->told);
		take(at, base, base + *bytes);
	}
	spin_unlock(&lock);
	return (void *)(uintptr_t)base;
}

void page_free_told(void *pages, size_t bytes) { give_back(pages, bytes, true); }

int page_poison(void) { return poison; }

void page_lender_add(struct page_lender *lender)
{
	spin_lock(&lock);
	lender->next = lenders;
	lenders = lender;
	spin_unlock(&lock);
}

void page_lender_remove(struct page_lender *lender)
{
	struct page_lender **at = &lenders;

	spin_lock(&lock);
	while (*at && *at != lender)
		at = &(*at)->next;
	if (*at)
		*at = lender->next;
	spin_unlock(&lock);
}

/* ---- memory that comes and goes ---- */

/* `managed` only grows: a span that is there already, or that one of them goes on in, needs no place. */
static bool add_managed(uint64_t base, uint64_t end)
{
	for (unsigned i = 0; i < managed_count; i++) {
		if (base >= managed[i].base && base <= managed[i].end) {
			managed[i].end = MAX(managed[i].end, end);
			return true;
		}
	}
	if (managed_count == sizeof(managed) / sizeof(managed[0]))
		return false;
	managed[managed_count++] = (struct span){base, end};
	return true;
}

bool page_add(void *pages, size_t bytes)
{
	uint64_t base = (uintptr_t)pages;
	bool added;

	spin_lock(&lock);
	added = add_managed(base, base + bytes) && insert(base, base + bytes, false);
	total_bytes += added ? bytes : 0;
	spin_unlock(&lock);
	return added;
}

bool page_remove(void *pages, size_t bytes)
{
	uint64_t base = (uintptr_t)pages;
	struct free_range **at = &highest;
	bool is_free;

	spin_lock(&lock);
	while (*at && base_of(*at) > base)
		at = &(*at)->lower;
	is_free = *at && end_of(*at) >= base + bytes;
	if (is_free) {
		take(at, base, base + bytes);
		total_bytes -= bytes;
	}
	spin_unlock(&lock);
	return is_free;
}

/* ---- the heap ---- */

/* The pages between the old end of the heap and the new one. False: they are not free. */
static bool move_heap_end(uint64_t former, uint64_t wanted)
{
	uint64_t former_page = ALIGN_UP(former, PAGE_SIZE), wanted_page = ALIGN_UP(wanted, PAGE_SIZE);

	if (wanted_page < former_page) {
		insert(wanted_page, former_page, false);
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

	do {
		spin_lock(&lock);
		former = heap_end;
		wanted = former + (uint64_t)delta;
		moved = (delta >= 0 || (wanted <= former && wanted >= heap_start)) && move_heap_end(former, wanted);
		spin_unlock(&lock);
	} while (!moved && delta > 0 && reclaim((size_t)delta));
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
