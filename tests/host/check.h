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

/* A generator of its own (xorshift), so that a seed gives the same test everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
