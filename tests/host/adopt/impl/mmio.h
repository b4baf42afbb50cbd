/* Registers are reached through their device, see devices.c. There are no ports. */
#ifndef IMPL_MMIO_H
#define IMPL_MMIO_H

#include <stdbool.h>
#include <stdint.h>

uint32_t device_register_read(const volatile void *reg, unsigned width);
void device_register_write(volatile void *reg, unsigned width, uint32_t value);

static inline uint8_t mmio_read8(const volatile void *reg) { return (uint8_t)device_register_read(reg, 1); }
static inline uint16_t mmio_read16(const volatile void *reg) { return (uint16_t)device_register_read(reg, 2); }
static inline uint32_t mmio_read32(const volatile void *reg) { return device_register_read(reg, 4); }
static inline void mmio_write8(volatile void *reg, uint8_t value) { device_register_write(reg, 1, value); }
static inline void mmio_write16(volatile void *reg, uint16_t value) { device_register_write(reg, 2, value); }
static inline void mmio_write32(volatile void *reg, uint32_t value) { device_register_write(reg, 4, value); }

static inline bool pio_present(void) { return false; }
static inline uint8_t pio_read8(uint16_t port) { return (void)port, UINT8_MAX; }
static inline uint16_t pio_read16(uint16_t port) { return (void)port, UINT16_MAX; }
static inline uint32_t pio_read32(uint16_t port) { return (void)port, UINT32_MAX; }
static inline void pio_write8(uint16_t port, uint8_t value) { (void)port, (void)value; }
static inline void pio_write16(uint16_t port, uint16_t value) { (void)port, (void)value; }
static inline void pio_write32(uint16_t port, uint32_t value) { (void)port, (void)value; }

#endif
