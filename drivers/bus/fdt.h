/*
 * The machine's device tree.
 */
#ifndef DRIVERS_BUS_FDT_H
#define DRIVERS_BUS_FDT_H

#include <stdbool.h>

/* Find and open it, once. False: there is none. */
bool fdt_start(void);

#endif
