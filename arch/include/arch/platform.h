/*
 * The rest of what a platform provides: start, the console, PCI configuration ports, the end.
 */
#ifndef ARCH_PLATFORM_H
#define ARCH_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct boot_info;

extern const char arch_name[]; /* "x86_64" */

/* First: page tables for all of RAM, after what is out of reach is dropped (before page_init()). Second: interrupts, clocks (after
 * page_init() and acpi_init()). Third: what is better done when devices are found and time has passed. */
void arch_init_memory(struct boot_info *boot);
void arch_init(const struct boot_info *boot);
void arch_init_late(void);

/* For page_init(): the physical range that the image takes, with the page tables that arch_init_memory() put behind it. */
void arch_image_range(uint64_t *start, uint64_t *end);

/* The serial console. Polled output that never waits for a missing or stuck port. */
void arch_console_write(const char *text, size_t length);
int arch_console_read(void);                   /* a byte, or -1 */
void arch_console_attach(struct event *event); /* marked when bytes arrive; without an interrupt the loop polls it */

/* PCI configuration by ports CF8/CFC. width 1, 2 or 4, naturally aligned; offset < 256; bdf is bus << 8 | device << 3 | function. */
bool arch_pci_ports_present(void);
uint32_t arch_pci_ports_read(uint16_t bdf, uint16_t offset, unsigned width);
void arch_pci_ports_write(uint16_t bdf, uint16_t offset, unsigned width, uint32_t value);
/* Where functions that no firmware placed may decode: memory below 4 GiB, or I/O ports. RAM may reach into it; end == base: nowhere. */
void arch_pci_window(bool ports, uint64_t *base, uint64_t *end);

/* A power button that needs no AML: `event` is marked when it is pressed, or when something else shares its interrupt. False: there is none.
 * Then ask whether it was, which also acknowledges it. */
bool arch_power_attach(struct event *event);
bool arch_power_pressed(void);

/* The end (CONTRACT "Ending"): tells the VMM, powers off, resets, halts. status 0 is success. */
[[gnu::noreturn]] void arch_end(int status);

/* The end by a bug of ours: prints the message, registers and a backtrace. */
[[gnu::noreturn, gnu::format(printf, 1, 2)]] void panic(const char *format, ...);

#endif
