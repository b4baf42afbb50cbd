#ifndef IMPL_CPU_H
#define IMPL_CPU_H

static inline void cpu_relax(void) { __asm__ volatile("" ::: "memory"); }
static inline unsigned cpu_index(void) { return 0; }
static inline unsigned cpu_count(void) { return 1; }

#endif
