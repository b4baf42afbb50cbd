#ifndef IMPL_CLOCK_H
#define IMPL_CLOCK_H

#include <stdint.h>

uint64_t clock_ticks(void); /* nanoseconds */
uint64_t clock_armed(void);

#endif
