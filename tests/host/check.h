/*
 * What every host test includes: cmocka, and the host machine.
 */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <host.h>

/* `text` has this line fragment exactly `count` times. */
static inline unsigned count_in(const char *text, const char *fragment)
{
	unsigned count = 0;

	for (const char *at = strstr(text, fragment); at; at = strstr(at + 1, fragment))
		count++;
	return count;
}

/* Of a table of firmware's: the byte at `at` is what makes the sum of all of them 0. */
static inline void fix_sum(uint8_t *table, size_t length, size_t at)
{
	uint8_t sum = 0;

	table[at] = 0;
	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + table[i]);
	table[at] = (uint8_t)-sum;
}

/* A generator of its own (xorshift), so that a seed gives the same test everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
