/* This CPU's data is behind GS: struct cpu of arch/x86_64/local.h, which checks these offsets. */
#ifndef IMPL_CPU_H
#define IMPL_CPU_H

#define IMPL_CPU_INDEX 8
#define IMPL_CPU_TSC_OFFSET 16
#define IMPL_CPU_ARMED_NS 56

#define IMPL_RFLAGS_IF 0x200ul

#define IMPL_STRING(x) #x
#define IMPL_GS(offset) "%%gs:" IMPL_STRING(offset)

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

/* Not volatile: no code moves from one CPU to another. */
static inline unsigned cpu_index(void)
{
	unsigned index;

	__asm__("movl " IMPL_GS(IMPL_CPU_INDEX) ", %0" : "=r"(index));
	return index;
}

extern unsigned impl_cpu_count;
static inline unsigned cpu_count(void) { return impl_cpu_count; }

void cpu_wake(unsigned cpu);

/* nopl 0x45524956(%rax): "VIRE" */
static inline void cpu_mark(void) { __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .ascii \"VIRE\"" ::: "memory"); }

#endif
