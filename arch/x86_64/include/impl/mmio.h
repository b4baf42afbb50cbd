/*
 * Register accesses as single instructions. Device memory is mapped uncached, so the CPU makes them in program order and after
 * the stores before them; the "memory" clobber holds the compiler to the same.
 */
#ifndef IMPL_MMIO_H
#define IMPL_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#define IMPL_ACCESSORS(bits, type, suffix, constraint)                                                                           \
	static inline type mmio_read##bits(const volatile void *reg)                                                             \
	{                                                                                                                        \
		type value;                                                                                                      \
		__asm__ volatile("mov" suffix " %1, %0" : constraint(value) : "m"(*(const volatile type *)reg) : "memory");      \
		return value;                                                                                                    \
	}                                                                                                                        \
	static inline void mmio_write##bits(volatile void *reg, type value)                                                      \
	{                                                                                                                        \
		__asm__ volatile("mov" suffix " %1, %0" : "=m"(*(volatile type *)reg) : "r"(value) : "memory");                  \
	}                                                                                                                        \
	static inline type pio_read##bits(uint16_t port)                                                                         \
	{                                                                                                                        \
		type value;                                                                                                      \
		__asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"(port) : "memory");                                   \
		return value;                                                                                                    \
	}                                                                                                                        \
	static inline void pio_write##bits(uint16_t port, type value)                                                            \
	{                                                                                                                        \
		__asm__ volatile("out" suffix " %0, %1" : : "a"(value), "Nd"(port) : "memory");                                  \
	}

IMPL_ACCESSORS(8, uint8_t, "b", "=q")
IMPL_ACCESSORS(16, uint16_t, "w", "=r")
IMPL_ACCESSORS(32, uint32_t, "l", "=r")
#undef IMPL_ACCESSORS

static inline bool pio_present(void) { return true; }

#endif
