/*
 * shell: a prompt on the serial console.
 *
 * It is one loop: take the bytes that have come, run a command when a line is complete, else let the event loop wait. While a
 * command runs, what is typed waits in the serial port. A line is words, separated by blanks; double quotes keep blanks in a
 * word. There is nothing to expand, and no command takes more than one line to say what it did not like.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <arch/clock.h>
#include <arch/platform.h>
#include <base/cmdline.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/program.h>
#include <class/device.h>

#include "feature_names.h"
#include "shell_edit.h"

static bool ended;
static int end_status;

/* ---- what all commands use ---- */

bool shell_number(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *value)
{
	const char *end;
	uint64_t number;

	if (!text)
		return true;
	if (!parse_size(text, "", &number, &end)) {
		console_line("%s: \"%s\" is no number", what, text);
		return false;
	}
	if (number < least || number > most) {
		console_line("%s: %lu is not in %lu to %lu", what, number, least, most);
		return false;
	}
	*value = number;
	return true;
}

void shell_error(const char *name, const char *what, int error)
{
	static const struct {
		int error;
		const char *text;
	} texts[] = {
		{EIO, "input/output error"},   {EINVAL, "not possible"},         {ERANGE, "past the end"},
		{EROFS, "read-only"},          {ENOENT, "no such file"},         {ENOTDIR, "no folder"},
		{EISDIR, "a folder"},          {ELOOP, "links without an end"},  {ENOTSUP, "not supported by the device"},
		{ENOTCONN, "nobody is there"}, {ENODEV, "no such device"},       {ENOMEM, "no memory"},
		{ENOSPC, "no room"},           {ETIMEDOUT, "no answer in time"}, {EHOSTUNREACH, "nobody there"},
	};
	const char *text = "failed";

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].error == -error)
			text = texts[i].text;
	}
	console_line("%s: %s: %s (%d)", name, what, text, error);
}

void shell_dump(uint64_t offset, const uint8_t *memory, size_t length)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t at = 0; at < length; at += 16) {
		char hex[3 * 16 + 1], text[16 + 1];
		unsigned count = (unsigned)MIN(length - at, 16u);

		memset(hex, ' ', sizeof(hex) - 1);
		hex[sizeof(hex) - 1] = '\0';
		for (unsigned i = 0; i < count; i++) {
			uint8_t byte = memory[at + i];

			hex[3 * i] = digits[byte >> 4];
			hex[3 * i + 1] = digits[byte & 15];
			text[i] = byte >= ' ' && byte <= '~' ? (char)byte : '.';
		}
		text[count] = '\0';
		console_line("%08lx  %s |%s|", offset + at, hex, text);
	}
}

/* ---- commands ---- */

static void list_devices(unsigned count, char **words)
{
	(void)count;
	(void)words;
	for (const struct device_info *info = device_first(); info; info = info->next) {
		console_line("%-9s %-15s %-8s%s %s, %s, irq %s, %u vectors, %u queues%s%s", info->name,
		             device_type_name(info->type), info->state, info->transport, info->address, info->revision, info->irq,
		             info->vectors, info->queue_count, *info->reason ? ": " : "", info->reason);
		for (unsigned i = 0; i < info->queue_count; i++) {
			struct device_queue queue = {0};

			info->queue(info, i, &queue);
			console_line("  queue %u: %s, size %u, %lu notifications, %lu buffers used", i,
			             queue.layout ? queue.layout : "none", queue.size, queue.notifications, queue.used);
		}
	}
	if (!device_first())
		console_line("no devices");
}

static void list_features(unsigned count, char **words)
{
	const struct device_info *info = device_find(words[1]);

	(void)count;
	if (!info) {
		shell_error(words[1], "features", -ENODEV);
		return;
	}
	console_line("offered 0x%016lx, negotiated 0x%016lx", info->offered, info->negotiated);
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = feature_name(info->type, bit);

		if (info->offered >> bit & 1)
			console_line("  %2u %-24s %s", bit, name ? name : "?",
			             info->negotiated >> bit & 1 ? "negotiated" : "offered");
	}
}

static void reset_device(unsigned count, char **words)
{
	struct device_info *info = device_find(words[1]);
	int error = !info ? -ENODEV : info->reset ? info->reset(info) : -ENOTSUP;

	(void)count;
	if (error)
		shell_error(words[1], "reset", error);
	else
		console_line("%s: %s", info->name, info->state);
}

static void set_log(unsigned count, char **words)
{
	(void)count;
	if (!log_set_level(words[1]))
		console_line("log: \"%s\" is none of error, warn, info, debug", words[1]);
}

static void show_memory(unsigned count, char **words)
{
	uint64_t total = page_count_total(), unused = page_count_free();

	(void)count;
	(void)words;
	console_line("%lu KiB, %lu KiB free", total * (PAGE_SIZE / 1024), unused * (PAGE_SIZE / 1024));
}

static void show_uptime(unsigned count, char **words)
{
	uint64_t ms = clock_ns() / 1000000;

	(void)count;
	(void)words;
	console_line("%lu.%03lu s", ms / 1000, ms % 1000);
}

static void show_time(unsigned count, char **words)
{
	(void)count;
	(void)words;
	console_line("%lld", (long long)time(NULL));
}

static void echo(unsigned count, char **words)
{
	char text[EDIT_LINE_MAX + 1] = "";

	for (unsigned i = 1; i < count; i++) {
		if (i > 1)
			strcat(text, " ");
		strcat(text, words[i]);
	}
	console_line("%s", text);
}

static void run_program(unsigned count, char **words)
{
	const struct program *program = program_find(words[1]);

	(void)count;
	if (!program || !strcmp(program->name, "shell"))
		console_line("run: no program \"%s\"", words[1]);
	else
		console_line("%s ended with %d", program->name, program->run());
}

static void power_off(unsigned count, char **words)
{
	uint64_t status = 0;

	(void)count;
	if (!shell_number(words[1], "poweroff", 0, 255, &status))
		return;
	ended = true;
	end_status = (int)status;
}

/* ---- crash ---- */

static uint8_t *volatile nowhere; /* NULL, which the compiler must not know */

static uint64_t fill_stack(uint64_t depth)
{
	volatile uint8_t frame[256];

	frame[depth % sizeof(frame)] = (uint8_t)depth;
	if (depth == UINT64_MAX)
		return 0;
	return fill_stack(depth + 1) + frame[depth % sizeof(frame)];
}

static void crash_here(void *kind)
{
	if (!strcmp(kind, "pf"))
		*(volatile uint8_t *)nowhere = 1;
	else if (!strcmp(kind, "read"))
		console_line("%u", *(volatile uint8_t *)nowhere);
	else if (!strcmp(kind, "ud"))
		__builtin_trap();
	else
		console_line("%lu", fill_stack(0));
}

static void crash(unsigned count, char **words)
{
	static struct cpu_call calls[CPU_MAX];
	bool all = count > 2 && !strcmp(words[2], "all");
	uint64_t cpu = 0;

	if (strcmp(words[1], "pf") != 0 && strcmp(words[1], "read") != 0 && strcmp(words[1], "ud") != 0 &&
	    strcmp(words[1], "stack") != 0) {
		shell_usage(words);
		return;
	}
	if (count > 2 && !all && !shell_number(words[2], words[0], 0, cpu_count() - 1, &cpu))
		return;
	for (unsigned i = 1; all && i < cpu_count(); i++)
		cpu_call(&calls[i], i, crash_here, words[1], NULL);
	cpu_run((unsigned)cpu, crash_here, words[1]);
}

/* ---- the commands ---- */

static const struct shell_command *find_command(const char *name)
{
	LINKER_FOR_EACH (shell_commands, command) {
		if (!strcmp((*command)->name, name))
			return *command;
	}
	return NULL;
}

/* The first behind `name` in alphabetical order; NULL: none. */
static const struct shell_command *next_command(const char *name)
{
	const struct shell_command *next = NULL;

	LINKER_FOR_EACH (shell_commands, command) {
		if (strcmp((*command)->name, name) > 0 && (!next || strcmp((*command)->name, next->name) < 0))
			next = *command;
	}
	return next;
}

void shell_usage(char **words) { console_line("usage: %s", find_command(words[0])->usage); }

static void help(unsigned count, char **words)
{
	const struct shell_command *command = count > 1 ? find_command(words[1]) : NULL;

	if (command)
		console_line("usage: %s", command->usage);
	else if (count > 1)
		console_line("help: no command \"%s\"", words[1]);
	for (command = next_command(""); count == 1 && command; command = next_command(command->name))
		console_line("  %-9s %s", command->name, command->summary);
}

static const char *complete(const char *prefix, unsigned length, unsigned index)
{
	for (const struct shell_command *command = next_command(""); command; command = next_command(command->name)) {
		if (!strncmp(command->name, prefix, length) && index-- == 0)
			return command->name;
	}
	return NULL;
}

SHELL_COMMAND(crash, "crash pf|read|ud|stack [CPU|all]", "a deliberate fault", crash, 1, 2);
SHELL_COMMAND(devices, "devices", "what was found", list_devices, 0, 0);
SHELL_COMMAND(echo, "echo WORD...", "print words", echo, 0, SHELL_WORDS_MAX);
SHELL_COMMAND(features, "features NAME", "feature bits, offered and negotiated", list_features, 1, 1);
SHELL_COMMAND(help, "help [COMMAND]", "this", help, 0, 1);
SHELL_COMMAND(log, "log error|warn|info|debug", "what is logged from now on", set_log, 1, 1);
SHELL_COMMAND(mem, "mem", "memory", show_memory, 0, 0);
SHELL_COMMAND(poweroff, "poweroff [STATUS]", "the end", power_off, 0, 1);
SHELL_COMMAND(reset, "reset NAME", "reset a device and bring it up again", reset_device, 1, 1);
SHELL_COMMAND(run, "run PROGRAM", "another program, with the parameters of the command line", run_program, 1, 1);
SHELL_COMMAND(time, "time", "seconds since 1970, UTC", show_time, 0, 0);
SHELL_COMMAND(uptime, "uptime", "time since boot", show_uptime, 0, 0);

/* ---- lines ---- */

/* Cut the line into words, in place. False: a quote is not closed, or there are too many; a line said so. */
static bool split(char *line, unsigned *count, char **words)
{
	char *in = line, *out = line;

	for (*count = 0;; (*count)++) {
		bool quoted = false;

		while (*in == ' ')
			in++;
		if (!*in)
			break;
		if (*count == SHELL_WORDS_MAX) {
			console_line("more than %u words", SHELL_WORDS_MAX);
			return false;
		}
		words[*count] = out;
		while (*in && (quoted || *in != ' ')) {
			if (*in == '"')
				quoted = !quoted;
			else
				*out++ = *in;
			in++;
		}
		if (quoted) {
			console_line("a quote is not closed");
			return false;
		}
		in += *in != '\0';
		*out++ = '\0';
	}
	words[*count] = NULL;
	return true;
}

static void run_line(char *line)
{
	char *words[SHELL_WORDS_MAX + 3] = {NULL};
	const struct shell_command *command;
	unsigned count;

	if (!split(line, &count, words) || !count)
		return;
	command = find_command(words[0]);
	if (!command)
		console_line("no command \"%s\"; help lists what there is", words[0]);
	else if (count - 1 < command->least || count - 1 > command->most)
		shell_usage(words);
	else
		command->run(count, words);
}

static void wake(struct event *event) { (void)event; /* that the loop turned is all it takes */ }

static int shell(void)
{
	static struct editor editor = {.prompt = "vireo> ", .complete = complete};
	static struct event arrived;

	ended = false;
	end_status = 0;
	console_cr = true;
	event_init(&arrived, wake);
	arch_console_attach(&arrived);
	edit_begin(&editor);
	while (!ended) {
		int byte = arch_console_read();
		enum edit_event event = EDIT_GOES_ON;

		if (byte < 0)
			loop_turn(true, LOOP_FOREVER);
		else
			event = edit_byte(&editor, (unsigned char)byte);
		if (event == EDIT_LINE)
			run_line(editor.line);
		if (event == EDIT_END) {
			console_line("poweroff");
			ended = true;
		}
		if (event == EDIT_LINE && !ended)
			edit_begin(&editor);
	}
	console_cr = false;
	return end_status;
}

PROGRAM(shell, "a prompt on the serial console", shell);
