/* Between the files of arch/host. */
#ifndef HOST_LOCAL_H
#define HOST_LOCAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include <host.h>

extern atomic_bool host_irq_pending; /* something for host_irq_take() */

extern atomic_ulong host_strays;

bool host_overlaps_ram(uint64_t phys, uint64_t size);
void host_io_reset(void);
void host_irq_reset(void);
void host_irq_take(void);   /* on the CPU's thread, unmasked: mark the events of all that is pending */
void host_irq_raised(void); /* something became pending: take it now, or wake the CPU */
[[gnu::noreturn, gnu::format(printf, 1, 2)]] void host_fail(const char *format, ...); /* a test's mistake: abort */

#endif
