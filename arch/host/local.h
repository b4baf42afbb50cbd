/* Between the files of arch/host. */
#ifndef HOST_LOCAL_H
#define HOST_LOCAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include <host.h>

extern atomic_ulong host_strays;

bool host_overlaps_ram(uint64_t phys, uint64_t size);
void host_io_reset(void);
void host_irq_reset(void);
void host_irq_take(unsigned cpu);   /* on that CPU's thread, unmasked: mark the events of all that is pending there */
void host_irq_raised(unsigned cpu); /* something became pending there: take it now, or wake the CPU */
[[gnu::noreturn, gnu::format(printf, 1, 2)]] void host_fail(const char *format, ...); /* a test's mistake: abort */

#endif
