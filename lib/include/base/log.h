/*
 * Log lines and records on the serial console. Any context but an interrupt, any CPU. One call is one line; the newline is added.
 * A line is cut at 1,000 characters. What comes from outside (device strings, command line) is printed with control
 * characters replaced by '?' (and all that is not ASCII), so that nothing can forge a line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* LOG_OFF is a threshold only: no log lines, and no records of the boot and the devices; what is printed is the program's. A panic's lines
 * come all the same. */
enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern enum log_level log_threshold;

[[gnu::format(printf, 2, 3)]] void log_line(enum log_level level, const char *format, ...);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* vsnprintf() as far as lines need it (lib/format.c says how far): text cut to size, always terminated; the length without that limit. */
[[gnu::format(printf, 3, 0)]] unsigned long log_format(char *out, unsigned long size, const char *format, va_list args);

[[gnu::format(printf, 3, 4)]] unsigned long format_text(char *out, unsigned long size, const char *format, ...);

/* "off", "error", "warn", "info", "debug" -> log_threshold. False: no such level. */
bool log_set_level(const char *name);

/* LOG_OFF: who tells of the boot or of devices need not begin. */
bool log_is_off(void);

/* A plain line on the console: no time stamp, no threshold. TAP and shells. */
[[gnu::format(printf, 1, 2)]] void console_line(const char *format, ...);

/* End lines in CR LF instead of LF: for whoever put a terminal into raw mode. */
extern bool console_cr;

/* A "@vireo {...}" line; the format gives the JSON object with its braces. Strings in it must be safe or pass json_string().
 * Never cut: one of more than 8,000 characters is left out, and a log line says so. */
[[gnu::format(printf, 1, 2)]] void record(const char *format, ...);

/* Copy text into out (size bytes) escaped for a JSON string, in ASCII, cut where it does not fit; returns out. */
const char *json_string(char *out, size_t size, const char *text);

#endif
