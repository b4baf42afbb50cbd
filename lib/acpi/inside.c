/*
 * What becomes of ACPICA's errors, and of ACPICA.
 *
 * It says nothing by itself: for each request that fails, however deep in the firmware's calls, there is one line here. Loops are ended
 * after some thousand turns, and after a few of those nothing more is waited for.
 *
 * AML that is noise leads ACPICA to null pointers, to freed memory, on and on: it runs inside a fence (<arch/guard.h>). Once it
 * fell it has its memory taken away and is entered no more; all requests fail from then on, as they do without tables.
 */
#include "inside.h"

#include <base/log.h>

bool given_up;
bool reported;

acpi_status report(acpi_status status, const char *what, unsigned length)
{
	if (!reported && !given_up)
		log_warn("acpi: AML, %.*s: %s", (int)length, what, acpi_format_exception(status));
	reported = true;
	return status;
}

/* What failed first in the request that runs. It waits for the request's end: if the fence falls there is another line. */
static acpi_status first;
static acpi_name first_name;

/* ACPICA calls it for each method that an error goes through, the innermost first. */
acpi_status inside_exception(acpi_status status, acpi_name name, uint16_t opcode, uint32_t offset, void *context)
{
	(void)opcode;
	(void)offset;
	(void)context;
	if (!first && !reported) {
		first = status;
		first_name = name;
		osl_loops += status == AE_AML_LOOP_TIMEOUT;
	}
	return status;
}

void report_first(void)
{
	if (first && first_name)
		report(first, (const char *)&first_name, sizeof(first_name));
	else if (first)
		report(first, "at its load", UINT8_MAX);
	first = AE_OK;
}

void next_request(void)
{
	report_first();
	reported = false;
}

void give_up(const char *why)
{
	log_warn("acpi: AML breaks its interpreter (%s), no more of it is run", why);
	given_up = true;
	osl_free_all();
}
