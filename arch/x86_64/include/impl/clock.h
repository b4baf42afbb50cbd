#ifndef IMPL_CLOCK_H
#define IMPL_CLOCK_H

#include <stdint.h>

static inline uint64_t clock_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

#endif
