/*
 * Devices that have to do with memory: what the allocator gives while they are at work is whole, cleared, and keeps what is written.
 */
#include "selftest.h"

#include <string.h>

#include <base/page.h>
#include <base/tap.h>

#include "pattern.h"

#define PIECE_BYTES (4096u * 1024u)

/* A quarter of what is free, twice, the second time where the first was. */
static void test_balloon(const char *name)
{
	uint64_t wrong = 0, dirty = 0, pieces = page_count_free() * PAGE_SIZE / 4 / PIECE_BYTES;

	if (strncmp(name, "balloon", 7) && strncmp(name, "mem", 3))
		return;
	pieces = pieces > 16 ? 16 : pieces;
	for (unsigned turn = 0; turn < 2; turn++) {
		uint8_t *held[16] = {0};

		for (uint64_t i = 0; i < pieces; i++) {
			held[i] = page_alloc(PIECE_BYTES, PAGE_SIZE);
			for (uint32_t at = 0; held[i] && at < PIECE_BYTES; at += 64)
				dirty += held[i][at] != 0;
			if (held[i])
				pattern_fill(i, 0, held[i], PIECE_BYTES);
		}
		for (uint64_t i = 0; i < pieces; i++) {
			wrong += !held[i] || pattern_check(i, 0, held[i], PIECE_BYTES) != PIECE_BYTES;
			page_free(held[i], PIECE_BYTES);
		}
	}
	if (!tap_ok(!wrong && !dirty, "%s leaves alone what is not its own", name))
		tap_detail("pieces: %lu, wrong: %lu, not cleared: %lu", 2 * pieces, wrong, dirty);
}

SELFTEST(balloon, test_balloon);
