/* Physical addresses are those of RAM's pages, counted from RAM_BASE: no pointer is one by accident. */
#ifndef IMPL_MMU_H
#define IMPL_MMU_H

#include <stdint.h>

#define RAM_BASE UINT64_C(0x80000000)

extern uint8_t *ram;

static inline uint64_t mmu_virt_to_phys(const void *virt) { return (uint64_t)((const uint8_t *)virt - ram) + RAM_BASE; }

#endif
