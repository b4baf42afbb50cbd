/*
 * A line editor for a terminal at the other end of the serial console.
 *
 * Backspace, arrows, Home, End, Delete, ctrl-A/B/D/E/F/H/K/L/N/P/U/W, history, tab completion of the first word. It is given
 * bytes one by one and never waits.
 */
#ifndef APPS_SHELL_EDIT_H
#define APPS_SHELL_EDIT_H

#include <stdbool.h>

#define EDIT_LINE_MAX 240u
#define EDIT_HISTORY 16u

struct editor {
	const char *prompt;
	/* The `index`th word that begins with the first `length` bytes of `prefix`; NULL: no more. */
	const char *(*complete)(const char *prefix, unsigned length, unsigned index);

	char line[EDIT_LINE_MAX + 1];
	unsigned length, cursor;
	enum { EDIT_PLAIN, EDIT_ESCAPE, EDIT_SEQUENCE } state;
	unsigned parameter; /* of an escape sequence */
	bool after_cr;
	char history[EDIT_HISTORY][EDIT_LINE_MAX + 1], draft[EDIT_LINE_MAX + 1];
	unsigned history_count, history_at; /* lines ever; the one that is shown */
};

enum edit_event { EDIT_GOES_ON, EDIT_LINE, EDIT_END };

void edit_begin(struct editor *editor); /* an empty line behind a prompt */

/* EDIT_LINE: editor->line is complete, call edit_begin() for the next. EDIT_END: ctrl-D on an empty line. */
enum edit_event edit_byte(struct editor *editor, unsigned char byte);

#endif
