/*
 * lib/cmdline.c and drivers/bus/mmio_cmdline.c with any text at all: no word, number or quote reads or writes out of place, what is said of
 * a number is true, and the log cannot be forged.
 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <base/cmdline.h>
#include <base/program.h>
#include <drivers/bus/mmio.h>
#include <host.h>

/* A range that was told once is taken for good, which is no thing to do 10,000 times a second: the scan is ours, and ends here. */
static void take_slot(const struct mmio_slot *slot, const char *origin)
{
	assert(strlen(origin) > 4 && strchr(origin, '@'));
	assert(slot->gsi && slot->gsi != IRQ_NO_GSI && !slot->registers);
}
#define mmio_slot_add take_slot
#undef DISCOVERY
#define DISCOVERY(id, rank, function) static void (*const scan_words)(void) = function
#include "../../drivers/bus/mmio_cmdline.c"

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

static void run(const uint8_t *data, size_t size)
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
	scan_words();
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
	cmdline_init("");
	host_console_capture(true);
}

static void seeds(void)
{
	static const char *const texts[] = {
		"app=selftest log=debug",
		"a=0x10 a=010 a=10K a=18446744073709551615 a=18446744073709551616 a=1T",
		"bench.ops=1M bench=1 unknown=1 \"quoted word\" q=\"a b\" open=\"never closed",
		"virtio_mmio.device=512@0xfeb00000:5 virtio_mmio.device=4K@0xfeb00200:12:1 virtio_mmio.device=1M@0xd0000000:3:-1",
		"virtio_mmio.device=512@0xfeb00000 virtio_mmio.device=@:5 virtio_mmio.device=512@1:0 virtio_mmio.device=0x@5:5",
		"virtio.without=1,2,63 virtio.queue=packed virtio.irq=poll virtio.transport=mmio",
		"console=ttyS0 root=/dev/vda ro panic=-1 \x01\x7f\xff=\x02",
		"= == a== \" \"\" =a",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		static char name[] = "text-0";

		name[5] = (char)('0' + i);
		fuzz_put_all(texts[i], strlen(texts[i]));
		fuzz_seed(name);
	}
	for (unsigned i = 0; i < 300; i++)
		fuzz_put_all("a=1 b ", 6);
	fuzz_seed("many-words");
	for (unsigned i = 0; i < 500; i++)
		fuzz_put_all("12345678", 8);
	fuzz_seed("long-word");
}

FUZZ_TARGET(cmdline);
