/*
 * The kernel command line: words separated by blanks, a value with blanks in double quotes. Parsed once into a private copy.
 */
#ifndef BASE_CMDLINE_H
#define BASE_CMDLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Copies; words beyond the limits (8 KiB, 256 words) are dropped with one warning. */
void cmdline_init(const char *text);

/* The value of the last word `key=value`; "" for a word `key`; NULL: not there. Marks the words known. */
const char *cmdline_get(const char *key);

/* Values of all words of that key, in order: start with *cursor = 0; NULL ends. Marks them known. */
const char *cmdline_next(const char *key, unsigned *cursor);

/* As cmdline_get("program.key"), as a number or `fallback`. Numbers take C's bases and the suffixes K, M, G; a bad one gets a line. */
uint64_t cmdline_number(const char *key, uint64_t fallback);

/* All words that begin "name." are known: a program's parameters. */
void cmdline_allow_prefix(const char *name);

/* One warning for each word that nobody asked for, Linux's own words passed over. Called after discovery. */
void cmdline_warn_unknown(void);

/* strtoull with suffixes K, M, G, T and end check: true when all of `text` up to one of `stops` (or its end) is a number that fits;
 * *end (unless NULL) is then the first character behind it. No sign, no blanks. *value is undefined on false. */
bool parse_size(const char *text, const char *stops, uint64_t *value, const char **end);

#endif
