/*
 * lib/log.c and lib/tap.c: what reaches the console, byte by byte.
 */
#include "check.h"

#include <base/log.h>
#include <base/tap.h>

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	host_clock_set(UINT64_C(12345678901234));
	log_threshold = LOG_INFO;
	console_cr = false;
	return 0;
}

static void expect(const char *text)
{
	assert_string_equal(host_console_text(), text);
	host_console_capture(true);
}

static void test_line(void **state)
{
	(void)state;
	log_info("hello %d", 5);
	expect("[12345.678901] hello 5\n");
	host_clock_set(1234567);
	log_info("%s", "");
	expect("[   0.001234] \n");
	console_line("ok %u", 1u);
	expect("ok 1\n");
	record("{\"event\":\"x\",\"n\":%d}", 3);
	expect("@vireo {\"event\":\"x\",\"n\":3}\n");
	console_cr = true;
	console_line("a");
	expect("a\r\n");
}

static void test_levels(void **state)
{
	(void)state;
	host_clock_set(0);
	log_debug("d");
	expect("");
	assert_true(log_set_level("debug"));
	log_debug("d");
	expect("[   0.000000] d\n");
	assert_true(log_set_level("error"));
	log_warn("w");
	log_info("i");
	expect("");
	log_error("e");
	expect("[   0.000000] e\n");
	console_line("plain");
	expect("plain\n");
	assert_false(log_is_off());
	assert_true(log_set_level("off"));
	log_error("e");
	expect("");
	console_line("plain");
	expect("plain\n");
	assert_true(log_is_off());
	assert_true(log_set_level("error"));
	assert_false(log_set_level("errors"));
	assert_false(log_set_level(""));
	assert_false(log_set_level("Info"));
	assert_int_equal(log_threshold, LOG_ERROR);
	assert_true(log_set_level("warn"));
	assert_int_equal(log_threshold, LOG_WARN);
	assert_true(log_set_level("info"));
	assert_int_equal(log_threshold, LOG_INFO);
}

/* Text from outside can neither begin a line nor command a terminal. */
static void test_control_characters(void **state)
{
	(void)state;
	host_clock_set(0);
	log_info("id \"%s\"", "a\n@vireo {}\r\x1b[31m\x7f\x9b\xc3\xa4\tb");
	expect("[   0.000000] id \"a?@vireo {}??[31m????\tb\"\n");
	console_line("%s", "x\nok 1");
	expect("x?ok 1\n");
}

#define SAME(...)                                                                                                                \
	do {                                                                                                                     \
		char ours[80], theirs[80];                                                                                       \
                                                                                                                                 \
		assert_int_equal(format_text(ours, sizeof(ours), __VA_ARGS__), snprintf(theirs, sizeof(theirs), __VA_ARGS__));   \
		assert_string_equal(ours, theirs);                                                                               \
	} while (0)

/* As the C library has it. */
static void test_format(void **state)
{
	const int numbers[] = {0, 1, -1, 9, 10, 255, -4096, INT32_MAX, INT32_MIN};

	(void)state;
	SAME("%s", "");
	SAME("100%% %c%c", 'a', 'b');
	SAME("[%s|%5s|%-5s|%2s|%.2s|%-6.2s|%.*s]", "abc", "abc", "abc", "abc", "abc", "abc", 1, "abc");
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const int narrow = numbers[i];
		const long wide = narrow * 0x70000003l;

		SAME("%d %u %x %o %#x", narrow, (unsigned)narrow, (unsigned)narrow, (unsigned)narrow, (unsigned)narrow);
		SAME("%ld %lu %lx %llx %#llx %zu", wide, (unsigned long)wide, (unsigned long)wide, (unsigned long long)wide,
		     (unsigned long long)wide, (size_t)wide);
		SAME("%3d|%03d|%-3d|%12ld|%012ld|%-12ld", narrow, narrow, narrow, wide, wide, wide);
		SAME("%08x|%8x|%#010x|%016lx|%*u", (unsigned)narrow, (unsigned)narrow, (unsigned)narrow, (unsigned long)wide, 12,
		     (unsigned)narrow);
	}
	/* Arguments from registers and from the stack, in turn with narrow ones. */
	SAME("%u %lu %s %d %c %lx %d %ld", 1u, 2ul, "3", -4, '5', 6ul, -7, -8l);
	SAME("%p", (void *)numbers);
}

[[gnu::format(printf, 3, 0)]] static void format_with(char *text, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_format(text, size, format, args);
	va_end(args);
}

/* The length is that without a limit; what is no conversion ends the text. */
static void test_format_ends(void **state)
{
	static const char *const broken[] = {"ab%", "ab%y%s", "ab%-#5d", "ab%lll", "ab%5"};
	char text[8] = "1234567";

	(void)state;
	assert_int_equal(format_text(text, 5, "%s%u", "abc", 123u), 6);
	assert_string_equal(text, "abc1");
	assert_int_equal(text[5], '6');
	assert_int_equal(format_text(text, 1, "xyz"), 3);
	assert_string_equal(text, "");
	assert_int_equal(format_text(NULL, 0, "%s", "abc"), 3);
	format_text(text, sizeof(text), "%070u", 5u); /* more zeros than there may be: blanks before them */
	assert_string_equal(text, "      0");
	for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		format_with(text, sizeof(text), broken[i], "x");
		assert_string_equal(text, "ab");
	}
}

static void test_cut(void **state)
{
	static char text[5000];

	(void)state;
	host_clock_set(0);
	for (size_t length = 980; length < 1010; length++) {
		memset(text, 'x', length);
		text[length] = '\0';
		log_info("%s", text);
		assert_int_equal(strlen(host_console_text()), (length + 14 < 1000 ? length + 14 : 1000) + 1);
		host_console_capture(true);
		console_cr = true;
		console_line("%s", text);
		console_cr = false;
		assert_int_equal(strlen(host_console_text()), (length < 1000 ? length : 1000) + 2);
		assert_string_equal(host_console_text() + strlen(host_console_text()) - 2, "\r\n");
		host_console_capture(true);
	}
	memset(text, 'x', sizeof(text) - 1);
	log_info("%s", text);
	assert_int_equal(strlen(host_console_text()), 1001);
}

static void test_record_is_whole_or_absent(void **state)
{
	static char text[9000];
	unsigned printed = 0, refused = 0;

	(void)state;
	host_clock_set(0);
	for (size_t length = 7980; length < 8000; length++) {
		memset(text, 'x', length);
		text[length] = '\0';
		record("{\"%s\"}", text);

		const char *out = host_console_text();

		if (strncmp(out, "@vireo {\"x", 10) == 0) {
			printed++;
			assert_int_equal(strlen(out), length + 12);
			assert_string_equal(out + strlen(out) - 3, "\"}\n");
		} else {
			refused++;
			assert_int_equal(count_in(out, "record of"), 1);
			assert_int_equal(count_in(out, "\n"), 1);
		}
		host_console_capture(true);
	}
	assert_int_equal(printed, 10);
	assert_int_equal(refused, 10);
}

static void test_json_string(void **state)
{
	char out[64];

	(void)state;
	assert_string_equal(json_string(out, sizeof(out), "a\"b\\c"), "a\\\"b\\\\c");
	assert_string_equal(json_string(out, sizeof(out), "\n\x1f\x7f\xff"), "\\u000a\\u001f\\u007f\\u00ff");
	assert_string_equal(json_string(out, sizeof(out), ""), "");
	/* Never half an escape, never past the end. */
	for (size_t size = 0; size < 40; size++) {
		char *small = malloc(size ? size : 1);

		json_string(small, size, "\x01\x02\"\"\\\x03");
		if (size) {
			size_t length = strlen(small);

			assert_true(length < size);
			assert_int_equal(strncmp(small, "\\u0001\\u0002\\\"\\\"\\\\\\u0003", length), 0);
			assert_true(length == 0 || length == 6 || length == 12 || length == 14 || length == 16 || length == 18 ||
			            length == 24);
		}
		free(small);
	}
}

static void test_tap(void **state)
{
	struct tap_counts before = tap_counts();

	(void)state;
	assert_true(tap_ok(true, "first %d", 1));
	assert_false(tap_ok(false, "second"));
	tap_detail("got: %d", 4);
	tap_detail("wanted: %s", "5\nok 3");
	tap_skip("no disk", "third");
	assert_false(tap_ok(false, "a # SKIP b\\"));
	tap_plan();
	expect("TAP version 14\n"
	       "ok 1 - first 1\n"
	       "not ok 2 - second\n"
	       "  ---\n"
	       "  got: 4\n"
	       "  wanted: 5?ok 3\n"
	       "  ...\n"
	       "ok 3 - third # SKIP no disk\n"
	       "not ok 4 - a \\# SKIP b\\\\\n"
	       "1..4\n");

	struct tap_counts counts = tap_counts();

	assert_int_equal(counts.ok - before.ok, 1);
	assert_int_equal(counts.failed - before.failed, 2);
	assert_int_equal(counts.skipped - before.skipped, 1);

	tap_ok(false, "again");
	tap_detail("why: x");
	tap_plan();
	expect("TAP version 14\nnot ok 1 - again\n  ---\n  why: x\n  ...\n1..1\n");
	tap_plan();
	expect("1..0\n");
}

static void test_tap_long_name(void **state)
{
	static char name[2000];

	(void)state;
	memset(name, '#', sizeof(name) - 1);
	tap_ok(true, "%s", name);
	tap_plan();
	assert_int_equal(count_in(host_console_text(), "\n"), 3);
	assert_int_equal(count_in(host_console_text(), "##"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_line, set_up),
		cmocka_unit_test_setup(test_levels, set_up),
		cmocka_unit_test_setup(test_control_characters, set_up),
		cmocka_unit_test_setup(test_format, set_up),
		cmocka_unit_test_setup(test_format_ends, set_up),
		cmocka_unit_test_setup(test_cut, set_up),
		cmocka_unit_test_setup(test_record_is_whole_or_absent, set_up),
		cmocka_unit_test_setup(test_json_string, set_up),
		cmocka_unit_test_setup(test_tap, set_up),
		cmocka_unit_test_setup(test_tap_long_name, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
