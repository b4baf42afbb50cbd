/*
 * What osl.c does for aml.c, besides what ACPICA's headers declare.
 */
#ifndef ACPI_OSL_H
#define ACPI_OSL_H

#include <stdbool.h>

/* Lay out the root table that acpi_os_get_root_pointer() gives. False: no memory. */
bool osl_make_root(void);

/* How many loops of AML were ended because they took too long. */
#define OSL_LOOPS_MAX 3
extern unsigned osl_loops;

#endif
