#ifndef IMPL_CPU_H
#define IMPL_CPU_H

void cpu_relax(void);
unsigned long cpu_irq_save(void);
void cpu_irq_restore(unsigned long state);
void cpu_idle(void);
unsigned cpu_index(void);
unsigned cpu_count(void);
static inline void cpu_mark(void) {}
void cpu_wake(unsigned cpu);

#endif
