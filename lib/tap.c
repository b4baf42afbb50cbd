/*
 * TAP 14 on the console.
 *
 * Results are numbered within a plan; tap_plan() ends a document, and the next result starts another, so that a shell can run
 * the tests twice. The counts run on: they are for the image's "end" record.
 */
#include <base/tap.h>

#include <stdarg.h>

#include <base/log.h>

#define NAME_LENGTH 200u /* longer ones are cut */

static struct tap_counts counts;
static unsigned number; /* of the last result in this document */
static bool in_detail;  /* between the marks of a YAML block */

static void end_detail(void)
{
	if (in_detail)
		console_line("  ...");
	in_detail = false;
}

/* A description in which neither '#' starts a directive nor '\' an escape ("Escaping" of TAP 14). Returns out. */
[[gnu::format(printf, 2, 0)]] static const char *describe(char out[2 * NAME_LENGTH], const char *format, va_list args)
{
	char plain[NAME_LENGTH];
	size_t length = 0;

	log_format(plain, sizeof(plain), format, args);
	for (const char *c = plain; *c; c++) {
		if (*c == '#' || *c == '\\')
			out[length++] = '\\';
		out[length++] = *c;
	}
	out[length] = '\0';
	return out;
}

static void begin_result(void)
{
	end_detail();
	if (number++ == 0)
		console_line("TAP version 14");
}

bool tap_ok(bool ok, const char *name, ...)
{
	char text[2 * NAME_LENGTH];
	va_list args;

	begin_result();
	va_start(args, name);
	console_line("%s %u - %s", ok ? "ok" : "not ok", number, describe(text, name, args));
	va_end(args);
	if (ok)
		counts.ok++;
	else
		counts.failed++;
	return ok;
}

void tap_skip(const char *why, const char *name, ...)
{
	char text[2 * NAME_LENGTH];
	va_list args;

	begin_result();
	va_start(args, name);
	console_line("ok %u - %s # SKIP %s", number, describe(text, name, args), why);
	va_end(args);
	counts.skipped++;
}

void tap_detail(const char *format, ...)
{
	char text[2 * NAME_LENGTH];
	va_list args;

	if (!in_detail)
		console_line("  ---");
	in_detail = true;
	va_start(args, format);
	log_format(text, sizeof(text), format, args);
	va_end(args);
	console_line("  %s", text);
}

void tap_plan(void)
{
	end_detail();
	console_line("1..%u", number);
	number = 0;
}

struct tap_counts tap_counts(void) { return counts; }
