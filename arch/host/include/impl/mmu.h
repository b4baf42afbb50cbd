/* One to one as well, with a hook for tests: see host.h. */
#ifndef IMPL_MMU_H
#define IMPL_MMU_H

#include <stdint.h>
#include <string.h>

uint64_t mmu_virt_to_phys(const void *virt);

static inline void mmu_clear_pages(void *pages, size_t bytes) { memset(pages, 0, bytes); }

#endif
