/*
 * Accesses to device registers and to I/O ports.
 *
 * Each access is exactly one bus access of the named width, in program order with the other accesses of this file, and it
 * is ordered after all earlier stores to RAM. Values are in the CPU's byte order: callers convert (see <base/endian.h>).
 * `reg` comes from mmu_map_device(). Ports exist on x86 only: elsewhere pio_present() is false and the rest is not called.
 * Each architecture gives them in <impl/mmio.h>:
 *
 *   uint8_t  mmio_read8 (const volatile void *reg);     void mmio_write8 (volatile void *reg, uint8_t value);
 *   uint16_t mmio_read16(const volatile void *reg);     void mmio_write16(volatile void *reg, uint16_t value);
 *   uint32_t mmio_read32(const volatile void *reg);     void mmio_write32(volatile void *reg, uint32_t value);
 *   bool     pio_present(void);
 *   uint8_t  pio_read8 (uint16_t port);                 void pio_write8 (uint16_t port, uint8_t value);
 *   uint16_t pio_read16(uint16_t port);                 void pio_write16(uint16_t port, uint16_t value);
 *   uint32_t pio_read32(uint16_t port);                 void pio_write32(uint16_t port, uint32_t value);
 */
#ifndef ARCH_MMIO_H
#define ARCH_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#include <impl/mmio.h>

#endif
