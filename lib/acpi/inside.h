/*
 * The one way into ACPICA. The boot CPU's loop only.
 */
#ifndef ACPI_INSIDE_H
#define ACPI_INSIDE_H

#include <stdbool.h>

#include <acpi/acpi.h>

#include <arch/guard.h>

#include "osl.h"

/* A request has one line about what fails in it, and begins here. */
void next_request(void);
extern bool reported;                                                      /* it had its line */
acpi_status report(acpi_status status, const char *what, unsigned length); /* passes `status` on */
void report_first(void);                                                   /* what ACPICA told of, if anything */
acpi_status inside_exception(acpi_status status, acpi_name name, uint16_t opcode, uint32_t offset, void *context);

/* AML broke the interpreter, which is entered no more: what it gave is gone. */
extern bool given_up;
void give_up(const char *why);

/* The status of a call of ACPICA's, which is made inside the fence, if at all. */
#define INSIDE(call)                                                                                                             \
	({                                                                                                                       \
		volatile acpi_status result_ = AE_AML_INTERNAL;                                                                  \
		const char *why_;                                                                                                \
                                                                                                                                 \
		if (!given_up) {                                                                                                 \
			why_ = guard_up();                                                                                       \
			if (why_) {                                                                                              \
				give_up(why_);                                                                                   \
			} else {                                                                                                 \
				osl_begin();                                                                                     \
				result_ = (call);                                                                                \
				guard_down();                                                                                    \
				report_first();                                                                                  \
			}                                                                                                        \
		}                                                                                                                \
		result_;                                                                                                         \
	})

#endif
