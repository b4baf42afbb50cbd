/* This kernel and its devices share one thread: the compiler is all that could reorder. */
#ifndef IMPL_BARRIER_H
#define IMPL_BARRIER_H

static inline void barrier_compiler(void) { __asm__ volatile("" ::: "memory"); }
static inline void virt_mb(void) { barrier_compiler(); }
static inline void virt_rmb(void) { barrier_compiler(); }
static inline void virt_wmb(void) { barrier_compiler(); }
static inline void io_mb(void) { barrier_compiler(); }
static inline void io_rmb(void) { barrier_compiler(); }
static inline void io_wmb(void) { barrier_compiler(); }

#endif
