/*
 * lib/cmdline.c with any text at all: no word, number or quote reads or writes out of place, and what it says of a number is true.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <base/cmdline.h>
#include <host.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The oracle: a number's digits and suffix lie before `end`, and `end` is at a stop. */
static void check_number(const char *text, const char *stops)
{
	const char *end = NULL;
	uint64_t value = 0;

	if (!parse_size(text, stops, &value, &end))
		return;
	assert(end > text && end <= text + strlen(text));
	assert(!*end || strchr(stops, *end));
	assert(text[0] >= '0' && text[0] <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	unsigned cursor = 0;

	memcpy(text, data, size);
	text[size] = '\0';
	host_console_capture(true);

	cmdline_init(text);
	check_number(text, "");
	check_number(text, "@:");
	free(text); /* it was copied */

	for (const char *value; (value = cmdline_next("a", &cursor));)
		check_number(value, "@:,");
	cmdline_number("a", 1);
	cmdline_number("bench.ops", 2);
	cmdline_get("");
	cmdline_allow_prefix("bench");
	cmdline_warn_unknown();

	/* Nothing that was given forges a line of its own. */
	for (const char *line = host_console_text(); *line; line = strchr(line, '\n') + 1) {
		assert(*line == '[');
		assert(strchr(line, '\n'));
	}
	return 0;
}
