/*
 * Time. The counter is monotonic, the same on all CPUs, and its rate was measured or told at boot.
 *
 *   uint64_t clock_ticks(void);    the raw counter (x86: TSC), cheap; in <impl/clock.h>
 *   uint64_t clock_armed(void);    what clock_arm() was given, until it has come; UINT64_MAX: nothing. Interrupts are masked; there, too
 */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <stdint.h>

#include <impl/clock.h>

uint64_t clock_hz(void); /* ticks per second */
uint64_t clock_ns(void); /* nanoseconds since boot */

/* When clock_ns() was 0: nanoseconds since 1970, UTC. 0: nothing in the machine knows. The first call may take milliseconds. */
uint64_t clock_epoch_ns(void);

/* Interrupt this CPU once at `deadline_ns` (clock_ns() time) or soon after, never before; it only ends a cpu_idle(). A new call
 * replaces the former deadline; UINT64_MAX disarms. */
void clock_arm(uint64_t deadline_ns);

#endif
