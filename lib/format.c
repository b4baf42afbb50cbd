/*
 * Text from a format: as much of printf() as the kernel's own lines use. Conversions d, u, x, o, p, c, s and %; a flag '-' or '#' (0x), then
 * '0'; a width; a precision of strings; lengths l, ll and z. What else stands behind a '%' ends the text, since its argument is unknown.
 *
 * The C library's is for programs: it is several times the code, allocates, and takes a page of stack.
 */
#include <base/log.h>

#include <stdint.h>
#include <string.h>

#include <base/util.h>

_Static_assert(sizeof(long) == 8 && sizeof(long long) == 8 && sizeof(size_t) == 8, "one kind of wide argument");

#define NUMBER_MAX 64u /* characters of a number, zeros in front of it too */

struct text {
	char *out;
	size_t size, length; /* length: without a limit */
	va_list args;
};

static void put(struct text *text, char c)
{
	if (text->length + 1 < text->size)
		text->out[text->length] = c;
	text->length++;
}

/* The next argument. Each has 64 bits of a register or of the stack; of a narrower one the upper half may be anything. */
static uint64_t take(struct text *text) { return va_arg(text->args, uint64_t); }

/* In the format, or an argument in its place. */
static unsigned take_number(struct text *text, const char **at)
{
	unsigned number = 0;

	if (**at == '*') {
		(*at)++;
		return (unsigned)take(text);
	}
	for (; **at >= '0' && **at <= '9'; (*at)++)
		number = 10 * number + (unsigned)(**at - '0');
	return number;
}

static unsigned base_of(char kind)
{
	return kind == 'd' || kind == 'u' ? 10 : kind == 'x' || kind == 'p' ? 16 : kind == 'o' ? 8 : 0;
}

/* Up to `end`, before which NUMBER_MAX characters are free and a sign or a prefix. Returns the first. */
static char *write_number(char *end, uint64_t value, unsigned base, bool minus, bool prefix, unsigned width)
{
	unsigned least = MIN(width, NUMBER_MAX);
	char *at = end;

	do {
		*--at = "0123456789abcdef"[value % base];
		value /= base;
	} while (value || (size_t)(end - at) + minus + 2 * prefix < least);
	if (prefix) {
		*--at = 'x';
		*--at = '0';
	}
	if (minus)
		*--at = '-';
	return at;
}

/* What stands behind a '%'. Returns what follows it; NULL: it is no conversion. */
static const char *convert(struct text *text, const char *at)
{
	bool left = *at == '-', prefix = *at == '#', zeros, minus;
	char buffer[NUMBER_MAX + 3], *const end = buffer + sizeof(buffer);
	unsigned width, precision = UINT32_MAX, unused = 32, base;
	const char *piece = buffer;
	size_t length = 1;
	uint64_t value;

	at += left | prefix;
	zeros = *at == '0';
	width = take_number(text, &at);
	if (*at == '.') {
		at++;
		precision = take_number(text, &at);
	}
	for (; *at == 'l' || *at == 'z'; at++)
		unused = 0;

	value = take(text);
	base = base_of(*at);
	if (*at == 'p') {
		prefix = true;
		unused = 0;
	}
	if (base) {
		value <<= unused; /* sign and size by shifts */
		minus = *at == 'd' && value >> 63;
		value = (minus ? -value : value) >> unused;
		piece = write_number(end, value, base, minus, prefix && value, zeros ? width : 0);
		length = (size_t)(end - piece);
	} else if (*at == 's') {
		piece = value ? (const char *)(uintptr_t)value : "(null)";
		length = strnlen(piece, precision);
	} else if (*at == 'c') {
		*buffer = (char)value;
	} else {
		return NULL;
	}
	for (; !left && width > length; width--)
		put(text, ' ');
	for (size_t i = 0; i < length; i++)
		put(text, piece[i]);
	for (; width > length; width--)
		put(text, ' ');
	return at + 1;
}

unsigned long log_format(char *out, unsigned long size, const char *format, va_list args)
{
	struct text text;

	text.out = out;
	text.size = size;
	text.length = 0;
	va_copy(text.args, args);
	while (format && *format) {
		if (*format != '%' || *++format == '%')
			put(&text, *format++);
		else
			format = convert(&text, format);
	}
	va_end(text.args);
	if (size)
		out[MIN(text.length, size - 1)] = '\0';
	return text.length;
}

unsigned long format_text(char *out, unsigned long size, const char *format, ...)
{
	unsigned long length;
	va_list args;

	va_start(args, format);
	length = log_format(out, size, format, args);
	va_end(args);
	return length;
}
