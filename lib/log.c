/*
 * Log lines, plain lines and records on the serial console.
 *
 * A line is formatted in full, cleaned, and handed to the console in one call, so that lines never mix. Cleaning leaves only
 * printable ASCII and tabs: a line may carry text that a device or a VMM gave us, and that text must neither start a line of its
 * own (a forged record or test result) nor command a terminal. Log lines and plain lines are cut when too long; a record is
 * whole or it is not there, since half a JSON object helps nobody.
 */
#include <base/log.h>

#include <string.h>

#include <arch/clock.h>
#include <arch/platform.h>
#include <base/spinlock.h>
#include <base/util.h>

#define LINE_LENGTH 1000u
#define RECORD_LENGTH 8000u
#define LINE_END 3u /* CR, LF, and a NUL */

enum log_level log_threshold = LOG_INFO;
bool console_cr;

bool log_set_level(const char *name)
{
	static const char *const names[] = {"off", "error", "warn", "info", "debug"}; /* in the order of enum log_level */

	for (unsigned level = 0; level < ARRAY_SIZE(names); level++) {
		if (strcmp(name, names[level]) == 0) {
			log_threshold = (enum log_level)level;
			return true;
		}
	}
	return false;
}

bool log_is_off(void) { return log_threshold == LOG_OFF; }

/* `line` has room for LINE_END more bytes. */
static void write_line(char *line, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((line[i] < ' ' && line[i] != '\t') || line[i] > '~')
			line[i] = '?';
	}
	if (console_cr)
		line[length++] = '\r';
	line[length++] = '\n';
	arch_console_write(line, length);
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[LINE_LENGTH + LINE_END];
	va_list args;

	if (level > log_threshold)
		return;
	uint64_t us = clock_ns() / 1000;
	size_t length = format_text(line, sizeof(line), "[%4lu.%06lu] ", us / 1000000, us % 1000000);
	va_start(args, format);
	length += log_format(line + length, LINE_LENGTH + 1 - length, format, args);
	va_end(args);
	write_line(line, MIN(length, LINE_LENGTH));
}

void console_line(const char *format, ...)
{
	char line[LINE_LENGTH + LINE_END];
	va_list args;

	va_start(args, format);
	size_t length = log_format(line, LINE_LENGTH + 1, format, args);
	va_end(args);
	write_line(line, MIN(length, LINE_LENGTH));
}

void record(const char *format, ...)
{
	static const char prefix[] = "@vireo ";
	static struct spinlock lock;
	static char line[RECORD_LENGTH + LINE_END];
	size_t length = sizeof(prefix) - 1;
	va_list args;

	spin_lock(&lock);
	memcpy(line, prefix, sizeof(prefix));
	va_start(args, format);
	length += log_format(line + length, RECORD_LENGTH + 1 - length, format, args);
	va_end(args);
	if (length > RECORD_LENGTH)
		log_error("record of %zu bytes left out: the limit is %u", length, RECORD_LENGTH);
	else
		write_line(line, length);
	spin_unlock(&lock);
}

const char *json_string(char *out, size_t size, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = 0;

	/* 7: the longest escape, and the NUL. */
	for (; *text && length + 7 <= size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c > '~') {
			memcpy(out + length, "\\u00", 4);
			out[length + 4] = digits[c >> 4];
			out[length + 5] = digits[c & 15];
			length += 6;
		} else {
			if (c == '"' || c == '\\')
				out[length++] = '\\';
			out[length++] = (char)c;
		}
	}
	if (size)
		out[length] = '\0';
	return out;
}
