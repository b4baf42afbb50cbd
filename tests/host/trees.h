/*
 * Device trees for tests, made by libfdt.
 */
#ifndef TREES_H
#define TREES_H

#include <stddef.h>
#include <stdint.h>

#define TREE_MAX 4096u

/* One with an interrupt controller, virtio-mmio devices in the ways that a tree can say it, and a PCI host. Its size. */
size_t tree_make(void *blob);

#define TREE_MMIO_1 UINT64_C(0xfeb00000) /* by interrupt-parent of the root; line 5 */
#define TREE_MMIO_2 UINT64_C(0xfeb00200) /* by interrupts-extended; line 6, level, active high */
#define TREE_MMIO_3 UINT64_C(0xd0001000) /* on a bus that moves 1000h to here; line 7 */
#define TREE_ECAM UINT64_C(0xe0000000)   /* buses 2 to 17 of segment 1 */

#endif
