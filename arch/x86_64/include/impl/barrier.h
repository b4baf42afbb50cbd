/*
 * x86 keeps loads in order with loads and stores in order with stores on write-back memory; only a store and a later load may
 * pass each other, which a locked instruction ends.
 */
#ifndef IMPL_BARRIER_H
#define IMPL_BARRIER_H

static inline void barrier_compiler(void) { __asm__ volatile("" ::: "memory"); }

static inline void virt_mb(void) { __asm__ volatile("lock addl $0, -4(%%rsp)" ::: "memory", "cc"); }
static inline void virt_rmb(void) { barrier_compiler(); }
static inline void virt_wmb(void) { barrier_compiler(); }

/* Hardware may also watch write-combining memory and non-temporal stores, which only the fences order. */
static inline void io_mb(void) { __asm__ volatile("mfence" ::: "memory"); }
static inline void io_rmb(void) { __asm__ volatile("lfence" ::: "memory"); }
static inline void io_wmb(void) { __asm__ volatile("sfence" ::: "memory"); }

#endif
