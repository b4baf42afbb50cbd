/*
 * What osl.c does for aml.c, besides what ACPICA's headers declare.
 */
#ifndef ACPI_OSL_H
#define ACPI_OSL_H

#include <stdbool.h>

#include <base/event.h>

/* Lay out the root table that acpi_os_get_root_pointer() gives. False: no memory. */
bool osl_make_root(void);

/* Before ACPICA is entered: what it may use up begins anew. Inside, for osl.c and memory.c: one of the turns that are counted is taken; nothing
 * should nest deeper. */
void osl_begin(void);
void osl_turn(void);
bool osl_stack_is_low(void);

/* All memory that ACPICA has, when it is entered no more. */
void osl_free_all(void);

/* Marked when AML left something to be done after it; what does that, inside. */
extern struct event osl_later;
void osl_run_later(void);

/* What ACPICA is told that a loop may take, in the seconds of acpi_os_get_timer(); how many were ended because they took longer. */
#define OSL_LOOP_SECONDS 1
#define OSL_LOOPS_MAX 3
extern unsigned osl_loops;

#endif
