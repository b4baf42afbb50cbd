#ifndef IMPL_CPU_H
#define IMPL_CPU_H

static inline void cpu_relax(void) { __asm__ volatile("" ::: "memory"); }

#endif
