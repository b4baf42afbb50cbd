#ifndef IMPL_CPU_H
#define IMPL_CPU_H

void cpu_relax(void);
unsigned long cpu_irq_save(void);
void cpu_irq_restore(unsigned long state);
void cpu_idle(void);
static inline unsigned cpu_index(void) { return 0; }
static inline unsigned cpu_count(void) { return 1; }
static inline void cpu_mark(void) {}
static inline void cpu_wake(unsigned cpu) { (void)cpu; }

#endif
