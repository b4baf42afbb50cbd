/* RAM is mapped one to one. */
#ifndef IMPL_MMU_H
#define IMPL_MMU_H

#include <stdint.h>

static inline uint64_t mmu_virt_to_phys(const void *virt) { return (uintptr_t)virt; }

#endif
