/*
 * The parts of the shell.
 */
#ifndef APPS_SHELL_H
#define APPS_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/util.h>

#define SHELL_WORDS_MAX 32u

/* A command; the file that has it is all it takes. words[0] is the command itself, words[count] is NULL. What goes wrong is told in
 * one line. */
struct shell_command {
	const char *name, *usage, *summary;
	void (*run)(unsigned count, char **words);
	unsigned least, most; /* words behind its name */
};
LINKER_SET(shell_commands, const struct shell_command);
#define SHELL_COMMAND(id, how, what, function, fewest, many)                                                                     \
	static const struct shell_command id##_command =                                                                         \
		{.name = #id, .usage = how, .summary = what, .run = function, .least = fewest, .most = many};                    \
	LINKER_ENTRY(shell_commands, id##_command)

/* `text` as a number of [least, most], with C's bases and the suffixes K, M, G; NULL: `*value` stays. False: it is none, and a
 * line said so. */
bool shell_number(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *value);

/* The usage of the command in words[0]. */
void shell_usage(char **words);

/* "net0: send: no such device" */
void shell_error(const char *name, const char *what, int error);

void shell_dump(uint64_t offset, const uint8_t *memory, size_t length);

#endif
