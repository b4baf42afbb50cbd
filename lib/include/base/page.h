/*
 * Physical pages. RAM is mapped one to one; page_alloc() hands out contiguous pages from the top, the newlib heap grows from the
 * bottom of the largest range, and they meet when memory is full. Loop context, any CPU.
 */
#ifndef BASE_PAGE_H
#define BASE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

uint64_t page_count_free(void); /* pages, heap growth space included */
uint64_t page_count_total(void);

#endif
