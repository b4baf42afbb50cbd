/* RAM is mapped one to one. */
#ifndef IMPL_MMU_H
#define IMPL_MMU_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t mmu_virt_to_phys(const void *virt) { return (uintptr_t)virt; }

/* Eight bytes at a time, the last ones too: with -Os a compiler would take bytes, which emulations do one at a time. */
static inline void mmu_clear_pages(void *pages, size_t bytes)
{
	size_t count = (bytes + 7) / 8;

	__asm__ volatile("rep stosq" : "+D"(pages), "+c"(count) : "a"(0) : "memory");
}

#endif
