/*
 * lib/main.c: a boot from end to end: its records, the order of discoveries, the choice of the program, the status.
 */
#include "check.h"

#include <base/boot_info.h>
#include <base/event.h>
#include <base/log.h>
#include <base/program.h>
#include <base/tap.h>

static struct boot_info boot;
static char order[8];
static struct tap_counts before; /* counts run on from test to test */

static void note(const char *what) { strncat(order, what, sizeof(order) - strlen(order) - 1); }

static void scan_first(void) { note("1"); }

static void scan_second(void) { note("2"); }

static int succeed(void)
{
	note("p");
	return 0;
}

static int fail_with_five(void) { return 5; }

static int fail_a_test(void)
{
	tap_ok(true, "one");
	tap_ok(false, "two");
	tap_skip("why", "three");
	tap_plan();
	return 0;
}

/* The later one first in the section. */
DISCOVERY(test_second, 99, scan_second);
DISCOVERY(test_first, 98, scan_first);
PROGRAM(test_ok, "Succeeds.", succeed);
PROGRAM(test_five, "Fails.", fail_with_five);
PROGRAM(test_tap, "Fails a test.", fail_a_test);

static int set_up(void **state)
{
	(void)state;
	boot = *host_boot(8 << 20);
	host_console_capture(true);
	host_clock_set(0);
	order[0] = '\0';
	log_threshold = LOG_INFO;
	before = tap_counts();
	return 0;
}

static void start(void) { kernel_main(&boot); }

static int boot_with(const char *cmdline)
{
	boot.cmdline = cmdline;
	host_console_capture(true);
	assert_int_equal(host_run(start), HOST_ENDED);
	return host_end_status;
}

static void test_boot(void **state)
{
	(void)state;
	boot.protocol = "test";
	boot.memory[boot.memory_count++] = (struct memory_range){0, 0x1000, MEMORY_RESERVED};
	assert_int_equal(boot_with("app=test_ok test_ok.level=9"), 0);
	assert_string_equal(order, "12p");

	const char *text = host_console_text();
	char end[100];

	assert_int_equal(count_in(text,
	                          "@vireo {\"event\":\"boot\",\"version\":\"0.1.0\",\"arch\":\"host\",\"protocol\":\"test\","
	                          "\"cpus\":1,\"memory\":8388608}\n"),
	                 1);
	snprintf(end, sizeof(end), "@vireo {\"event\":\"end\",\"status\":0,\"ok\":%u,\"failed\":%u,\"skipped\":%u}\n", before.ok,
	         before.failed, before.skipped);
	assert_string_equal(text + strlen(text) - strlen(end), end);
	assert_int_equal(count_in(text, "cmdline"), 0);
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(boot_with("app=test_five"), 5);
	assert_int_equal(count_in(host_console_text(), "\"event\":\"end\",\"status\":5,"), 1);
}

static void test_no_such_program(void **state)
{
	(void)state;
	assert_int_equal(boot_with("app=nonsense"), 1);

	const char *line = strstr(host_console_text(), "no program \"nonsense\"; there are:");

	assert_non_null(line);
	assert_non_null(strstr(line, " test_ok"));
	assert_non_null(strstr(line, " test_five"));
	assert_int_equal(count_in(host_console_text(), "\"event\":\"end\",\"status\":1,"), 1);
	assert_int_equal(boot_with(""), 1); /* there is no selftest here */
	assert_int_equal(count_in(host_console_text(), "no program \"selftest\""), 1);
}

static void test_log_level(void **state)
{
	(void)state;
	boot_with("app=test_ok log=debug");
	assert_int_equal(log_threshold, LOG_DEBUG);
	log_threshold = LOG_INFO;
	boot_with("app=test_ok log=loud");
	assert_int_equal(log_threshold, LOG_INFO);
	assert_int_equal(count_in(host_console_text(), "log=loud"), 1);
}

static void test_unknown_word(void **state)
{
	(void)state;
	boot_with("app=test_ok typo=1 console=ttyS0 test_five.x=1");
	assert_int_equal(count_in(host_console_text(), "cmdline"), 1);
	assert_int_equal(count_in(host_console_text(), "\"typo=1\""), 1);
}

/* A failed test fails the boot, whatever the program returns. */
static void test_failed_test(void **state)
{
	char end[100];

	(void)state;
	assert_int_equal(boot_with("app=test_tap"), 1);
	snprintf(end, sizeof(end), "\"status\":1,\"ok\":%u,\"failed\":%u,\"skipped\":%u}", before.ok + 1, before.failed + 1,
	         before.skipped + 1);
	assert_int_equal(count_in(host_console_text(), end), 1);
}

static void test_no_memory(void **state)
{
	(void)state;
	boot.memory_count = 0;
	assert_int_equal(boot_with("app=test_ok"), 0);
	assert_int_equal(count_in(host_console_text(), "\"memory\":0}"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_boot, set_up),
		cmocka_unit_test_setup(test_status, set_up),
		cmocka_unit_test_setup(test_no_such_program, set_up),
		cmocka_unit_test_setup(test_log_level, set_up),
		cmocka_unit_test_setup(test_unknown_word, set_up),
		cmocka_unit_test_setup(test_no_memory, set_up),
		cmocka_unit_test_setup(test_failed_test, set_up), /* last: a failure stays counted */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
