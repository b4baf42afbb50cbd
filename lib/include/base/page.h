/*
 * Physical pages. RAM is mapped one to one; page_alloc() hands out contiguous pages from the top, the newlib heap grows from the
 * bottom of the largest range, and they meet when memory is full. Loop context, any CPU.
 */
#ifndef BASE_PAGE_H
#define BASE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/event.h>

#define PAGE_SIZE 4096u

struct boot_info;

void page_init(const struct boot_info *boot, uint64_t image_start, uint64_t image_end); /* physical */

/* `bytes` rounded up to pages, aligned to `alignment` (a power of two, at least a page), zeroed. NULL: none that large. */
[[gnu::warn_unused_result]] void *page_alloc(size_t bytes, size_t alignment);
/* The same, but holding whatever it holds: for much memory that is written before it is read. Clearing it would be most of the boot. */
[[gnu::warn_unused_result]] void *page_alloc_uncleared(size_t bytes, size_t alignment);
void page_free(void *pages, size_t bytes); /* all or a part of what these gave; NULL is nothing */

/* The heap: move its end by `delta` bytes, new ones zeroed; the former end, or NULL when the way is blocked. */
void *page_heap_grow(intptr_t delta);

/* ---- for those who lend free memory to a hypervisor ---- */

/* As page_alloc(), but as it is, not zeroed, and nobody is asked to give memory back for it. */
[[gnu::warn_unused_result]] void *page_take(size_t bytes);

/* Free memory, from `least` to `most` bytes (both whole pages), of which the hypervisor does not know that it is free: it was freed by
 * page_free() or never used. As it is; NULL: there is none. */
[[gnu::warn_unused_result]] void *page_take_untold(size_t least, size_t most, size_t *bytes);
void page_free_told(void *pages, size_t bytes); /* and now it knows */

struct page_lender {
	struct page_lender *next;
	struct event freed; /* marked when pages are freed that nobody was told of */
	/* Somebody on this CPU needs `bytes` that are not there: free some of what was lent, without turns of the loop. True: some is free. */
	bool (*reclaim)(struct page_lender *lender, size_t bytes);
};
void page_lender_add(struct page_lender *lender);
void page_lender_remove(struct page_lender *lender);

/* Memory that comes, mapped, in whole pages. False: there is no place to note it. */
[[nodiscard]] bool page_add(void *pages, size_t bytes);
/* And goes, if nobody uses any of it. False: somebody does. */
[[nodiscard]] bool page_remove(void *pages, size_t bytes);

int page_poison(void); /* page.poison=: the byte that fills free pages; -1: none */

uint64_t page_count_free(void); /* pages, heap growth space included */
uint64_t page_count_total(void);

#endif
