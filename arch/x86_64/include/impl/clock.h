#ifndef IMPL_CLOCK_H
#define IMPL_CLOCK_H

#include <stdint.h>

#include <impl/cpu.h>

/* The TSC, and by how much this CPU's is behind the first one's: 0 on all machines that keep them together. */
static inline uint64_t clock_ticks(void)
{
	uint32_t low, high;
	uint64_t ticks, offset;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	ticks = (uint64_t)high << 32 | low;
	__asm__("movq " IMPL_GS(IMPL_CPU_TSC_OFFSET) ", %0" : "=r"(offset));
	return ticks + offset;
}

static inline uint64_t clock_armed(void)
{
	uint64_t deadline_ns;

	__asm__ volatile("movq " IMPL_GS(IMPL_CPU_ARMED_NS) ", %0" : "=r"(deadline_ns));
	return deadline_ns;
}

#endif
