#ifndef IMPL_CPU_H
#define IMPL_CPU_H

#define IMPL_RFLAGS_IF 0x200ul

static inline void cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }

static inline unsigned long cpu_irq_save(void)
{
	unsigned long flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags & IMPL_RFLAGS_IF;
}

static inline void cpu_irq_restore(unsigned long state)
{
	if (state)
		__asm__ volatile("sti" ::: "memory");
}

/* sti takes effect after the instruction behind it: nothing can come between it and hlt, so an interrupt that is already
 * pending ends the hlt at once. */
static inline void cpu_idle(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }

static inline unsigned cpu_index(void) { return 0; }
static inline unsigned cpu_count(void) { return 1; }
static inline void cpu_wake(unsigned cpu) { (void)cpu; }

#endif
