/*
 * Register addresses are not memory: their upper 16 bits are a mark and the rest is the physical address, so that a plain
 * dereference faults. Any other address is memory and is accessed as such.
 */
#ifndef IMPL_MMIO_H
#define IMPL_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#define HOST_MMIO_MARK UINT64_C(0x7eed)

uint64_t host_mmio_read(uint64_t phys, unsigned width);
void host_mmio_write(uint64_t phys, unsigned width, uint64_t value);
uint64_t host_pio_read(uint16_t port, unsigned width);
void host_pio_write(uint16_t port, unsigned width, uint64_t value);
bool pio_present(void);

static inline bool host_is_mmio(const volatile void *reg) { return (uintptr_t)reg >> 48 == HOST_MMIO_MARK; }
static inline uint64_t host_mmio_phys(const volatile void *reg) { return (uintptr_t)reg & ((UINT64_C(1) << 48) - 1); }

#define HOST_ACCESSORS(bits)                                                                                                     \
	static inline uint##bits##_t mmio_read##bits(const volatile void *reg)                                                   \
	{                                                                                                                        \
		if (host_is_mmio(reg))                                                                                           \
			return (uint##bits##_t)host_mmio_read(host_mmio_phys(reg), bits / 8);                                    \
		return *(const volatile uint##bits##_t *)reg;                                                                    \
	}                                                                                                                        \
	static inline void mmio_write##bits(volatile void *reg, uint##bits##_t value)                                            \
	{                                                                                                                        \
		if (host_is_mmio(reg))                                                                                           \
			host_mmio_write(host_mmio_phys(reg), bits / 8, value);                                                   \
		else                                                                                                             \
			*(volatile uint##bits##_t *)reg = value;                                                                 \
	}                                                                                                                        \
	static inline uint##bits##_t pio_read##bits(uint16_t port) { return (uint##bits##_t)host_pio_read(port, bits / 8); }     \
	static inline void pio_write##bits(uint16_t port, uint##bits##_t value) { host_pio_write(port, bits / 8, value); }

HOST_ACCESSORS(8)
HOST_ACCESSORS(16)
HOST_ACCESSORS(32)

#endif
