/*
 * The CPUs: interrupt masking, sleep and waking each other.
 *
 * Each architecture gives in <impl/cpu.h>:
 *
 *   void cpu_relax(void);                       a hint in a spin loop
 *   unsigned long cpu_irq_save(void);           mask interrupts on this CPU, return the former state
 *   void cpu_irq_restore(unsigned long state);
 *   void cpu_idle(void);                        call with interrupts masked: unmasks and sleeps in one step, so that an
 *                                               interrupt that arrived since the mask still wakes it; masked on return
 *   unsigned cpu_index(void);                   this CPU: 0 (the one that booted) .. cpu_count() - 1
 *   unsigned cpu_count(void);                   how many run their loops; fixed once arch_init() has returned
 *   void cpu_wake(unsigned cpu);                interrupt that other CPU: ends its cpu_idle(), does nothing else; ordered after all earlier
 *                                               stores. Any context
 *   void cpu_mark(void);                        does nothing, but whoever counts instructions from outside sees it: tests/bench/count.c
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#define CPU_MAX 64

#include <impl/cpu.h>

#endif
