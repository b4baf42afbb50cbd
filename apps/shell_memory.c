/*
 * The shell's `memory`: how much there is, and somebody who uses it.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>

#include "pattern.h"

#define PIECE_BYTES (1024u * 1024u)

/* What `memory take` holds: pieces, each with the one before it in its first word. */
static uint8_t *taken;
static uint64_t taken_count;

static void take(uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += PIECE_BYTES) {
		uint8_t *piece = page_alloc(PIECE_BYTES, PAGE_SIZE);

		if (!piece) {
			shell_error("memory", "take", -ENOMEM);
			break;
		}
		pattern_fill(taken_count, 0, piece, PIECE_BYTES); /* so that each page is like no other */
		memcpy(piece, &taken, sizeof(taken));
		taken = piece;
		taken_count++;
	}
}

static void give_back(void)
{
	while (taken) {
		uint8_t *piece = taken;

		taken_count--;
		if (pattern_check(taken_count, sizeof(taken), piece + sizeof(taken), PIECE_BYTES - sizeof(taken)) !=
		    PIECE_BYTES - sizeof(taken))
			console_line("memory: MiB %lu is not what was written", taken_count);
		memcpy(&taken, piece, sizeof(taken));
		page_free(piece, PIECE_BYTES);
	}
}

static void shell_memory(unsigned count, char **words)
{
	uint64_t bytes = 0;

	if (count == 3 && !strcmp(words[1], "take")) {
		if (shell_number(words[2], "bytes", 1, UINT64_MAX / 2, &bytes))
			take(bytes);
	} else if (count == 2 && !strcmp(words[1], "free")) {
		give_back();
	} else if (count != 1) {
		shell_usage(words);
		return;
	}
	console_line("memory: %lu KiB of %lu KiB free, %lu KiB taken", page_count_free() * (PAGE_SIZE / 1024),
	             page_count_total() * (PAGE_SIZE / 1024), taken_count * (PIECE_BYTES / 1024));
}

SHELL_COMMAND(memory, "memory [take BYTES | free]", "how much is free; use some", shell_memory, 0, 2);
