/*
 * lib/cmdline.c: words, quotes, limits, numbers, and the warning for words that nobody knows.
 */
#include "check.h"

#include <base/cmdline.h>

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	return 0;
}

static void test_words(void **state)
{
	(void)state;
	cmdline_init("  a=1 \t b c= a=2\nquoted=\"x y\" \"whole word=v w\" mid=\"p\"q\"r s\" =nokey e=f=g");
	assert_string_equal(cmdline_get("a"), "2");
	assert_string_equal(cmdline_get("b"), "");
	assert_string_equal(cmdline_get("c"), "");
	assert_string_equal(cmdline_get("quoted"), "x y");
	assert_string_equal(cmdline_get("whole word"), "v w");
	assert_string_equal(cmdline_get("mid"), "pqr s");
	assert_string_equal(cmdline_get("e"), "f=g");
	assert_null(cmdline_get("d"));
	assert_null(cmdline_get("A"));

	unsigned cursor = 0;

	assert_string_equal(cmdline_next("a", &cursor), "1");
	assert_string_equal(cmdline_next("a", &cursor), "2");
	assert_null(cmdline_next("a", &cursor));
	assert_null(cmdline_next("a", &cursor));
	assert_string_equal(host_console_text(), "");
}

static void test_empty(void **state)
{
	static const char *const empty[] = {"", " ", "\t\n \r", "\"\""};

	(void)state;
	for (unsigned i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		cmdline_init(empty[i]);
		assert_null(cmdline_get("a"));
	}
}

static void test_text_is_copied(void **state)
{
	char text[] = "key=value";

	(void)state;
	cmdline_init(text);
	memset(text, 'z', sizeof(text) - 1);
	assert_string_equal(cmdline_get("key"), "value");
}

static void test_open_quote(void **state)
{
	(void)state;
	cmdline_init("a=1 b=\"x y");
	assert_string_equal(cmdline_get("a"), "1");
	assert_string_equal(cmdline_get("b"), "x y");
	assert_int_equal(count_in(host_console_text(), "never closed"), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
}

static void test_unknown_words(void **state)
{
	(void)state;
	cmdline_init("app=x typo=5 selftest.write=1 selftestwrite=1 bare virtio_mmio.device=a virtio_mmio.device=b "
	             "evil=\"\x1b[2J\x01\"");
	cmdline_get("app");
	cmdline_get("virtio_mmio.device");
	cmdline_allow_prefix("selftest");
	cmdline_warn_unknown();

	const char *log = host_console_text();

	assert_int_equal(count_in(log, "\"typo=5\""), 1);
	assert_int_equal(count_in(log, "\"selftestwrite=1\""), 1);
	assert_int_equal(count_in(log, "\"bare\""), 1);
	assert_int_equal(count_in(log, "\"evil=?[2J?\""), 1);
	assert_int_equal(count_in(log, "\n"), 4);
}

static void test_linux_words_pass(void **state)
{
	(void)state;
	/* What Firecracker, QEMU, Cloud Hypervisor, crosvm, StratoVirt and Kata add. */
	cmdline_init("reboot=k panic=1 pci=off nomodules 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd "
	             "root=/dev/vda ro rw console=ttyS0 console=hvc0 earlyprintk=serial earlycon=uart8250,io,0x3f8 quiet "
	             "random.trust_cpu=on no_timer_check noreplace-smp swiotlb=force mitigations=off tsc=reliable loglevel=3 "
	             "printk.time=1 rcupdate.rcu_expedited=1 cryptomgr.notests net.ifnames=0 nr_cpus=4 systemd.unit=kata.target "
	             "systemd_x agent.log=debug scsi_mod.scan=none rootfstype=ext4 rootflags=data=ordered init=/sbin/init "
	             "acpi=off noapic selinux=0 ipv6.disable=1 initrd=x BOOT_IMAGE=/boot/x -- word_of_init consol acpix");
	cmdline_warn_unknown();
	assert_int_equal(count_in(host_console_text(), "\n"), 3);
	assert_int_equal(count_in(host_console_text(), "\"word_of_init\""), 1);
	assert_int_equal(count_in(host_console_text(), "\"consol\""), 1);
	assert_int_equal(count_in(host_console_text(), "\"acpix\""), 1);
}

static void test_too_many_words(void **state)
{
	static char text[257 * 5 + 1];
	char *at = text;

	(void)state;
	for (unsigned i = 0; i < 257; i++)
		at += sprintf(at, "k%03u ", i);
	cmdline_init(text);
	assert_non_null(cmdline_get("k255"));
	assert_null(cmdline_get("k256"));
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
	assert_int_equal(count_in(host_console_text(), "\"k256"), 1);
}

/* The word that does not fit is dropped whole, and so is the rest. */
static void test_too_long(void **state)
{
	static char text[3 * 8192];

	(void)state;
	for (unsigned length = 8180; length < 8200; length++) {
		memset(text, 'x', sizeof(text));
		memcpy(text, "a=1 ", 4);
		memcpy(text + length, " b=2", 5);
		host_console_capture(true);
		cmdline_init(text);
		assert_string_equal(cmdline_get("a"), "1");

		/* "a=1" and its NUL take 4 bytes, the long word length - 4 and its NUL, "b=2" and its NUL 4. */
		bool all = length + 1 + 4 <= 8192;

		assert_int_equal(cmdline_get("b") != NULL, all);
		assert_int_equal(count_in(host_console_text(), "ignored from"), !all);
	}
	/* Full to the last byte, and then an empty word, which still needs its NUL. */
	memset(text, 'x', sizeof(text));
	strcpy(text + 8191, " \"\"");
	host_console_capture(true);
	cmdline_init(text);
	assert_null(cmdline_get(""));
	assert_int_equal(count_in(host_console_text(), "ignored from"), 1);
	text[8191] = '\0';
	assert_string_equal(cmdline_get(text), "");

	memset(text, 'y', sizeof(text) - 1);
	cmdline_init(text);
	assert_null(cmdline_get("y"));
}

static void check_size(const char *text, const char *stops, bool good, uint64_t wanted, const char *rest)
{
	uint64_t value = 0;
	const char *end = "unset";

	if (parse_size(text, stops, &value, &end) != good)
		fail_msg("parse_size(\"%s\", \"%s\"): %s", text, stops, good ? "refused" : "accepted");
	if (good) {
		assert_int_equal(value, wanted);
		assert_string_equal(end, rest);
	}
}

static void test_parse_size(void **state)
{
	(void)state;
	check_size("0", "", true, 0, "");
	check_size("42", "", true, 42, "");
	check_size("0x2a", "", true, 42, "");
	check_size("0XfF", "", true, 255, "");
	check_size("052", "", true, 42, "");
	check_size("4K", "", true, 4096, "");
	check_size("4k@0xd0000000:5", "@", true, 4096, "@0xd0000000:5");
	check_size("0xd0000000:5", ":", true, 0xd0000000, ":5");
	check_size("1M", "", true, 1 << 20, "");
	check_size("3G", "", true, UINT64_C(3) << 30, "");
	check_size("1t", "", true, UINT64_C(1) << 40, "");
	check_size("18446744073709551615", "", true, UINT64_MAX, "");
	check_size("0xffffffffffffffff", "", true, UINT64_MAX, "");
	check_size("01777777777777777777777", "", true, UINT64_MAX, "");
	check_size("16777215T", "", true, UINT64_C(16777215) << 40, "");

	static const char *const bad[] = {"",
	                                  " 1",
	                                  "1 ",
	                                  "-1",
	                                  "+1",
	                                  "0x",
	                                  "0xK",
	                                  "K",
	                                  "08",
	                                  "0x1g2",
	                                  "12a",
	                                  "4KB",
	                                  "4KK",
	                                  "1.5",
	                                  "1:2",
	                                  "18446744073709551616",
	                                  "0x10000000000000000",
	                                  "02000000000000000000000",
	                                  "16777216T",
	                                  "18014398509481984K",
	                                  "99999999999999999999999999999999"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_size(bad[i], "@", false, 0, NULL);

	uint64_t value;

	assert_true(parse_size("7", "", &value, NULL));
}

static void test_numbers(void **state)
{
	(void)state;
	cmdline_init("bench.bs=4K bench.qd=0x20 bench.ops=many bench.len= bench.len=\"9\nfake\"");
	assert_int_equal(cmdline_number("bench.bs", 1), 4096);
	assert_int_equal(cmdline_number("bench.qd", 1), 32);
	assert_int_equal(cmdline_number("bench.none", 77), 77);
	assert_string_equal(host_console_text(), "");
	assert_int_equal(cmdline_number("bench.ops", 5), 5);
	assert_int_equal(count_in(host_console_text(), "bench.ops=many"), 1);
	assert_int_equal(cmdline_number("bench.len", 6), 6);
	assert_int_equal(count_in(host_console_text(), "\n"), 2);
}

/* Any bytes at all: no access out of bounds (the sanitizers watch), every answer a string inside the copy. */
static void test_random_text(void **state)
{
	static const char alphabet[] = "ab=.\"\" \t\n,K0x1@:\x7f\x80\xff\x01-";
	static char text[10000];
	uint64_t random = 88172645463325252u;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		size_t length = next_random(&random) % (round % 20 == 0 ? sizeof(text) - 1 : 200);

		for (size_t i = 0; i < length; i++)
			text[i] = alphabet[next_random(&random) % (sizeof(alphabet) - 1)];
		text[length] = '\0';
		host_console_capture(true);
		cmdline_init(text);

		const char *value = cmdline_get("a");

		if (value)
			assert_true(strlen(value) <= length);
		cmdline_number("b", 0);
		cmdline_allow_prefix("a");
		cmdline_warn_unknown();

		uint64_t number;
		const char *end = text;

		if (parse_size(text, "@: ", &number, &end))
			assert_true(end > text && end <= text + length);
		for (const char *c = host_console_text(); *c; c++)
			assert_true(*c == '\n' || *c == '\t' || (*c >= ' ' && *c <= '~'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_words, set_up),          cmocka_unit_test_setup(test_empty, set_up),
		cmocka_unit_test_setup(test_text_is_copied, set_up), cmocka_unit_test_setup(test_open_quote, set_up),
		cmocka_unit_test_setup(test_unknown_words, set_up),  cmocka_unit_test_setup(test_linux_words_pass, set_up),
		cmocka_unit_test_setup(test_too_many_words, set_up), cmocka_unit_test_setup(test_too_long, set_up),
		cmocka_unit_test_setup(test_parse_size, set_up),     cmocka_unit_test_setup(test_numbers, set_up),
		cmocka_unit_test_setup(test_random_text, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
