/*
 * What osl.c does for aml.c, besides what ACPICA's headers declare.
 */
#ifndef ACPI_OSL_H
#define ACPI_OSL_H

#include <stdbool.h>

/* Lay out the root table that acpi_os_get_root_pointer() gives. False: no memory. */
bool osl_make_root(void);

/* A loop may take so long, and what osl.c counts for each turn; how many were ended because they took longer. */
#define OSL_LOOP_SECONDS 30
#define OSL_LOOPS_MAX 3
extern unsigned osl_loops;

#endif
