/*
 * The parts of the shell.
 */
#ifndef APPS_SHELL_H
#define APPS_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* words[0] is the command itself; words[count] is NULL. What goes wrong is told in one line. */
void shell_block(unsigned count, char **words);
void shell_net(unsigned count, char **words);
void shell_rng(unsigned count, char **words);
void shell_console(unsigned count, char **words);

/* `text` as a number of [least, most], with C's bases and the suffixes K, M, G; NULL: `*value` stays. False: it is none, and a
 * line said so. */
bool shell_number(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *value);

/* The usage of the command in words[0]. */
void shell_usage(char **words);

/* "net0: send: no such device" */
void shell_error(const char *name, const char *what, int error);

void shell_dump(uint64_t offset, const uint8_t *memory, size_t length);

#endif
