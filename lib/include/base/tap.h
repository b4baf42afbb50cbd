/*
 * TAP 14 on the console, and the count behind the "end" record.
 */
#ifndef BASE_TAP_H
#define BASE_TAP_H

#include <stdbool.h>

[[gnu::format(printf, 2, 3)]] bool tap_ok(bool ok, const char *name, ...); /* returns ok */
[[gnu::format(printf, 2, 3)]] void tap_skip(const char *why, const char *name, ...);
[[gnu::format(printf, 1, 2)]] void tap_detail(const char *format, ...); /* a line of the YAML after the last failure */
void tap_plan(void);                                                    /* "1..N", at the end */

struct tap_counts {
	unsigned ok, failed, skipped;
};
struct tap_counts tap_counts(void);

#endif
