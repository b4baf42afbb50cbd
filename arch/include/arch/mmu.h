/*
 * Address translation. virt-to-phys is in this seam and nowhere else.
 */
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <stdint.h>

#include <impl/mmu.h>

/* Map device registers, uncached. Any alignment; mapping the same range again gives the same address. The mapping lasts.
 * NULL where the range cannot be reached (zero size, wraps, beyond what the CPU addresses, or overlaps RAM). */
volatile void *mmu_map_device(uint64_t phys, uint64_t size);

/* Map memory that a device has, cached and one to one, for mmu_virt_to_phys() to know. NULL as above. */
void *mmu_map_memory(uint64_t phys, uint64_t size);

/* Map firmware tables, cached and read-only. NULL as above; RAM is allowed. */
const void *mmu_map_firmware(uint64_t phys, uint64_t size);

/* uint64_t mmu_virt_to_phys(const void *virt), in <impl/mmu.h>: the physical address of RAM that the kernel owns: image, pages, stacks,
 * heap; physically contiguous over all of one object.
 *
 * void mmu_clear_pages(void *pages, size_t bytes), there as well: whole pages of RAM to zeros, as fast as it goes. */

#endif
