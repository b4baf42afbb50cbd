/*
 * The line editor (see shell_edit.h).
 *
 * What is typed at the end of the line is echoed as it is, so that a session by pipe reads like one by hand. Everything else
 * draws the line anew: return to its start, prompt, text, erase the rest, step back to the cursor. A line longer than the
 * terminal's row is shown in part, around the cursor, so that it never wraps; rows are taken to have 80 columns, since a serial
 * line does not tell.
 */
#include "shell_edit.h"

#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <base/util.h>

#define COLUMNS 80u
#define CONTROL(letter) ((letter)&0x1f)
#define ESCAPE 0x1b

static void put(const char *text) { arch_console_write(text, strlen(text)); }

static void new_row(void) { put(console_cr ? "\r\n" : "\n"); }

/* How much of the line fits in the row, the cursor behind it included. */
static unsigned room(const struct editor *editor) { return COLUMNS - 1 - (unsigned)strlen(editor->prompt); }

static void redraw(const struct editor *editor)
{
	unsigned start = editor->cursor > room(editor) ? editor->cursor - room(editor) : 0;
	unsigned shown = MIN(editor->length - start, room(editor)), back = start + shown - editor->cursor;
	char text[32 + EDIT_LINE_MAX];

	format_text(text, sizeof(text), "\r%s%.*s\x1b[K", editor->prompt, (int)shown, editor->line + start);
	put(text);
	if (back) {
		format_text(text, sizeof(text), "\x1b[%uD", back);
		put(text);
	}
}

static void insert(struct editor *editor, char c)
{
	if (editor->length == EDIT_LINE_MAX) {
		put("\a");
		return;
	}
	memmove(editor->line + editor->cursor + 1, editor->line + editor->cursor, editor->length - editor->cursor + 1);
	editor->line[editor->cursor++] = c;
	editor->length++;
	if (editor->cursor == editor->length && editor->length <= room(editor))
		arch_console_write(&c, 1);
	else
		redraw(editor);
}

/* Take out [from, to); the cursor is left there. */
static void cut(struct editor *editor, unsigned from, unsigned to)
{
	memmove(editor->line + from, editor->line + to, editor->length - to + 1);
	editor->length -= to - from;
	editor->cursor = from;
	redraw(editor);
}

static unsigned word_start(const struct editor *editor)
{
	unsigned at = editor->cursor;

	while (at && editor->line[at - 1] == ' ')
		at--;
	while (at && editor->line[at - 1] != ' ')
		at--;
	return at;
}

static void move(struct editor *editor, unsigned cursor)
{
	editor->cursor = MIN(cursor, editor->length);
	redraw(editor);
}

/* ---- history ---- */

static void replace(struct editor *editor, const char *text)
{
	editor->length = editor->cursor = (unsigned)strlen(text);
	memcpy(editor->line, text, editor->length + 1);
	redraw(editor);
}

static void older(struct editor *editor)
{
	if (editor->history_at == 0 || editor->history_count - editor->history_at >= EDIT_HISTORY)
		return;
	if (editor->history_at == editor->history_count)
		memcpy(editor->draft, editor->line, editor->length + 1);
	replace(editor, editor->history[--editor->history_at % EDIT_HISTORY]);
}

static void newer(struct editor *editor)
{
	if (editor->history_at == editor->history_count)
		return;
	if (++editor->history_at == editor->history_count)
		replace(editor, editor->draft);
	else
		replace(editor, editor->history[editor->history_at % EDIT_HISTORY]);
}

static void remember(struct editor *editor)
{
	const char *last = editor->history[(editor->history_count - 1) % EDIT_HISTORY];

	if (editor->length && (!editor->history_count || strcmp(last, editor->line)))
		memcpy(editor->history[editor->history_count++ % EDIT_HISTORY], editor->line, editor->length + 1);
}

/* ---- completion ---- */

static void complete(struct editor *editor)
{
	const char *first = editor->complete(editor->line, editor->length, 0), *more;
	unsigned from = editor->length;

	if (!first || editor->cursor < editor->length || strchr(editor->line, ' ')) {
		put("\a");
		return;
	}
	if (!editor->complete(editor->line, editor->length, 1)) {
		for (const char *c = first + from; *c; c++)
			insert(editor, *c);
		insert(editor, ' ');
		return;
	}
	new_row();
	for (unsigned i = 0; (more = editor->complete(editor->line, editor->length, i)); i++)
		console_line("  %s", more);
	redraw(editor);
}

/* ---- bytes ---- */

static enum edit_event end_line(struct editor *editor)
{
	new_row();
	remember(editor);
	return EDIT_LINE;
}

/* The last byte of "ESC [ parameter final" or "ESC O final". */
static void escape(struct editor *editor, unsigned char final)
{
	switch (final) {
	case 'A':
		older(editor);
		break;
	case 'B':
		newer(editor);
		break;
	case 'C':
		move(editor, editor->cursor + 1);
		break;
	case 'D':
		move(editor, editor->cursor ? editor->cursor - 1 : 0);
		break;
	case 'H':
		move(editor, 0);
		break;
	case 'F':
		move(editor, editor->length);
		break;
	case '~':
		if (editor->parameter == 1 || editor->parameter == 7)
			move(editor, 0);
		else if (editor->parameter == 4 || editor->parameter == 8)
			move(editor, editor->length);
		else if (editor->parameter == 3 && editor->cursor < editor->length)
			cut(editor, editor->cursor, editor->cursor + 1);
		break;
	default:
		break; /* a key that means nothing here */
	}
}

static void in_escape(struct editor *editor, unsigned char byte)
{
	if (editor->state == EDIT_ESCAPE) {
		editor->state = byte == '[' || byte == 'O' ? EDIT_SEQUENCE : EDIT_PLAIN;
		editor->parameter = 0;
	} else if (byte >= '0' && byte <= '9') {
		editor->parameter = (editor->parameter * 10 + byte - '0') % 100;
	} else if (byte >= 0x40) {
		editor->state = EDIT_PLAIN;
		escape(editor, byte);
	}
}

/* Keys that move in the line or change it. */
static void edit_key(struct editor *editor, unsigned char byte)
{
	switch (byte) {
	case '\t':
		complete(editor);
		break;
	case CONTROL('A'):
		move(editor, 0);
		break;
	case CONTROL('B'):
		move(editor, editor->cursor ? editor->cursor - 1 : 0);
		break;
	case CONTROL('D'):
		if (editor->cursor < editor->length)
			cut(editor, editor->cursor, editor->cursor + 1);
		break;
	case CONTROL('E'):
		move(editor, editor->length);
		break;
	case CONTROL('F'):
		move(editor, editor->cursor + 1);
		break;
	case CONTROL('H'):
	case 0x7f:
		if (editor->cursor)
			cut(editor, editor->cursor - 1, editor->cursor);
		break;
	case CONTROL('K'):
		cut(editor, editor->cursor, editor->length);
		break;
	case CONTROL('N'):
		newer(editor);
		break;
	case CONTROL('P'):
		older(editor);
		break;
	case CONTROL('U'):
		cut(editor, 0, editor->cursor);
		break;
	case CONTROL('W'):
		cut(editor, word_start(editor), editor->cursor);
		break;
	default: /* a key that means nothing here */
		break;
	}
}

static enum edit_event control(struct editor *editor, unsigned char byte)
{
	switch (byte) {
	case '\r':
	case '\n':
		editor->after_cr = byte == '\r';
		return end_line(editor);
	case ESCAPE:
		editor->state = EDIT_ESCAPE;
		break;
	case CONTROL('C'):
		put("^C");
		new_row();
		edit_begin(editor);
		break;
	case CONTROL('L'):
		put("\x1b[H\x1b[2J");
		redraw(editor);
		break;
	case CONTROL('D'):
		if (!editor->length)
			return EDIT_END;
		[[fallthrough]];
	default:
		edit_key(editor, byte);
	}
	return EDIT_GOES_ON;
}

void edit_begin(struct editor *editor)
{
	editor->length = editor->cursor = 0;
	editor->line[0] = '\0';
	editor->history_at = editor->history_count;
	put(editor->prompt);
}

enum edit_event edit_byte(struct editor *editor, unsigned char byte)
{
	bool after_cr = editor->after_cr;

	editor->after_cr = false;
	if (after_cr && byte == '\n') /* CR LF is one end of line */
		return EDIT_GOES_ON;
	if (byte < ' ') /* a key of its own: the sequence before it was cut off */
		editor->state = EDIT_PLAIN;
	if (editor->state != EDIT_PLAIN)
		in_escape(editor, byte);
	else if (byte < ' ' || byte == 0x7f)
		return control(editor, byte);
	else if (byte < 0x7f)
		insert(editor, (char)byte);
	return EDIT_GOES_ON;
}
