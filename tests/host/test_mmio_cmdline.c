/*
 * drivers/bus/mmio_cmdline.c, mmio.c and the claim of virtio/transport_mmio.c: words that are right in every form, words that are not, and
 * what is found at the addresses.
 *
 * Ranges that were taken once stay taken for the whole process, as in one boot: each test has addresses of its own.
 */
#include "check.h"

#include <arch/mmio.h>
#include <base/boot_info.h>
#include <base/cmdline.h>
#include <base/program.h>
#include <drivers/bus/mmio.h>
#include <virtio/virtio.h>

#define TEST_MAGIC 0x12345678u /* at offset 0 of a device that the test's own driver takes */
#define SLOTS_MAX 300

static struct mmio_slot taken[SLOTS_MAX];
static unsigned taken_count;

static uint64_t read_bank(void *context, uint64_t offset, unsigned width)
{
	const uint32_t *registers = context;

	return width == 4 && offset < 16 ? registers[offset / 4] : UINT64_MAX;
}

static bool claim(const struct mmio_slot *slot)
{
	if (mmio_read32(slot->registers) != TEST_MAGIC)
		return false;
	assert_true(taken_count < SLOTS_MAX);
	taken[taken_count++] = *slot;
	return true;
}

static const struct mmio_driver a_test_driver = {.name = "test", .claim = claim};
MMIO_DRIVER(a_test_driver);

static uint64_t read_magic(void *context, uint64_t offset, unsigned width)
{
	(void)context;
	(void)offset;
	return width == 4 ? TEST_MAGIC : 0;
}

/* Wherever the words point, below the 48 bits and outside of RAM, there is a device for the test's driver. */
static struct host_region everywhere[2];

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	everywhere[0] = (struct host_region){.base = 0xc0000000, .size = 0x3e000000, .read = read_magic};
	everywhere[1] = (struct host_region){.base = UINT64_C(0x4000000000), .size = UINT64_C(0x1000000000), .read = read_magic};
	host_mmio_add(&everywhere[0]);
	host_mmio_add(&everywhere[1]);
	taken_count = 0;
	return 0;
}

static void scan(const char *cmdline)
{
	cmdline_init(cmdline);
	LINKER_FOR_EACH (vireo_discoveries, discovery)
		if (strcmp((*discovery)->name, "mmio_cmdline") == 0)
			(*discovery)->scan();
}

static void expect_lines(unsigned count, const char *fragment)
{
	if (count_in(host_console_text(), "\n") != count)
		fail_msg("%u lines expected:\n%s", count, host_console_text());
	if (count)
		assert_int_equal(count_in(host_console_text(), fragment), count);
}

static void test_forms(void **state)
{
	static const struct {
		const char *word;
		uint64_t size, base;
		unsigned gsi;
	} forms[] = {
		{"512@0xf0100000:5", 512, 0xf0100000, 5}, /* StratoVirt writes it so */
		{"4K@0xd0000000:6", 4096, 0xd0000000, 6}, /* Firecracker so */
		{"0x200@0xd0001000:7:3", 512, 0xd0001000, 7},       {"4k@3489669120:010", 4096, 0xd0002000, 8},
		{"1M@0xD0100000:0xb:0", 1 << 20, 0xd0100000, 11},   {"01000@032001000000:9", 512, 0xd0040000, 9},
		{"16M@0xd4000000:12:-1", 16 << 20, 0xd4000000, 12}, {"0x1000@0x4000000000:13", 4096, UINT64_C(0x4000000000), 13},
		{"256@0xd0050000:63", 256, 0xd0050000, 63},
	};
	char text[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		set_up(state);
		snprintf(text, sizeof(text), "virtio_mmio.device=%s", forms[i].word);
		scan(text);
		expect_lines(0, NULL);
		assert_int_equal(taken_count, 1);
		assert_int_equal(taken[0].size, forms[i].size);
		assert_int_equal(taken[0].base, forms[i].base);
		assert_int_equal(taken[0].gsi, forms[i].gsi);
		assert_int_equal(taken[0].trigger, IRQ_TRIGGER_ISA);
	}
}

static void test_many_in_their_order(void **state)
{
	(void)state;
	scan("console=ttyS0 virtio_mmio.device=512@0xc0000e00:12 a virtio_mmio.device=512@0xc0000a00:10 "
	     "virtio_mmio.device=512@0xc0000c00:11");
	assert_int_equal(taken_count, 3);
	assert_int_equal(taken[0].base, 0xc0000e00);
	assert_int_equal(taken[1].base, 0xc0000a00);
	assert_int_equal(taken[2].base, 0xc0000c00);
	expect_lines(0, NULL);
}

static void test_bad_words(void **state)
{
	static const char *const words[] = {
		"",
		"512",
		"512@",
		"512@0xc1000000",
		"512@0xc1000000:",
		"512@0xc1000000:x",
		"512@0xc1000000:5:",
		"512@0xc1000000:5:y",
		"512@0xc1000000:5:1:2",
		"512@0xc1000000:5 ",
		"512@0xc1000000:5,",
		"@0xc1000000:5",
		"5i2@0xc1000000:5",
		"512@zero:5",
		"512@0xc1000000:0",
		"512@0xc1000000:-5",
		"-512@0xc1000000:5",
		"512@0xc1000000:4294967295",
		"512@0xc1000000:99999999999999999999",
		"512@0x1ffffffffffffffff:5",
		"512:0xc1000000@5",
		"99999999999999999999999@0xc1000000:5",
	};
	char text[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		set_up(state);
		/* The bad one is between two good ones, which are not its concern. */
		snprintf(text, sizeof(text),
		         "virtio_mmio.device=4K@0xc2%02x0000:5 \"virtio_mmio.device=%s\" virtio_mmio.device=4K@0xc2%02x1000:6", i,
		         words[i], i);
		scan(text);
		expect_lines(1, "not <size>@<base>:<irq>[:<id>]");
		assert_int_equal(taken_count, 2);
	}
}

static void test_bad_places(void **state)
{
	const struct boot_info *boot;
	char text[256];

	(void)state;
	set_up(state);
	scan("virtio_mmio.device=255@0xc3000000:5 virtio_mmio.device=0@0xc3000000:5 virtio_mmio.device=1T@0xc3000000:5 "
	     "virtio_mmio.device=4K@0xfffffffffffff800:5 virtio_mmio.device=512@0xc3000002:5");
	expect_lines(5, "cannot be there");
	assert_int_equal(taken_count, 0);

	set_up(state);
	scan("virtio_mmio.device=512@0xc3001000:5 virtio_mmio.device=512@0xc3001000:6 virtio_mmio.device=512@0xc3000f00:6 "
	     "virtio_mmio.device=512@0xc3001100:6 virtio_mmio.device=1M@0xc3000000:6 virtio_mmio.device=512@0xc3001200:7 "
	     "virtio_mmio.device=512@0xc3000e00:8");
	expect_lines(4, "overlaps");
	assert_int_equal(taken_count, 3);

	boot = host_boot(1 << 20);
	host_console_capture(true);
	snprintf(text, sizeof(text), "virtio_mmio.device=512@%#llx:5", (unsigned long long)boot->memory[0].base);
	scan(text);
	expect_lines(1, "over RAM");
}

static void test_no_such_line(void **state)
{
	(void)state;
	scan("virtio_mmio.device=512@0xc4000000:64 virtio_mmio.device=512@0xc4001000:1000000 "
	     "virtio_mmio.device=512@0xc4002000:5");
	expect_lines(2, "line");
	assert_int_equal(taken_count, 1);
	assert_int_equal(host_irq_attached(), 0);
}

/* `count` devices of a page from `base` on. */
static void scan_many(unsigned count, uint32_t base)
{
	static char text[8192];
	size_t length = 0;

	for (unsigned i = 0; i < count; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "virtio_mmio.device=4K@%#x:5 ",
		                           base + 0x1000 * i);
	scan(text);
}

static void test_more_than_fit(void **state)
{
	scan_many(150, 0xc5000000);
	set_up(state);
	scan_many(150, 0xc6000000);
	assert_true(taken_count < 150);
	expect_lines(150 - taken_count, "more than");
}

/* ---- what is there ---- */

static void expect_bank(const uint32_t *registers, unsigned lines, const char *fragment)
{
	static unsigned place;
	struct host_region bank = {.base = 0xb0000000 + 0x1000 * place++,
	                           .size = 512,
	                           .read = read_bank,
	                           .context = (void *)(uintptr_t)registers};
	char text[64];

	set_up(NULL);
	host_mmio_add(&bank);
	snprintf(text, sizeof(text), "virtio_mmio.device=512@%#llx:5", (unsigned long long)bank.base);
	scan(text);
	expect_lines(lines, fragment);
	assert_null(virtio_device_first());
	host_mmio_remove(&bank);
}

static void test_what_is_there(void **state)
{
	(void)state;
	expect_bank((const uint32_t[]){0, 0, 0, 0}, 1, "no device there");
	expect_bank((const uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, 1, "no device there");
	expect_bank((const uint32_t[]){0x74726977, 2, 2, 0}, 1, "no device there");
	expect_bank((const uint32_t[]){0x74726976, 0, 2, 0}, 1, "version 0 is not known");
	expect_bank((const uint32_t[]){0x74726976, 3, 2, 0}, 1, "version 3 is not known");
	expect_bank((const uint32_t[]){0x74726976, 2, 0x10000, 0}, 1, "no device type");
	expect_bank((const uint32_t[]){0x74726976, 2, 0, 0}, 0, NULL); /* a placeholder: in silence */
	expect_bank((const uint32_t[]){0x74726976, 1, 0, 0}, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_forms, set_up),         cmocka_unit_test_setup(test_many_in_their_order, set_up),
		cmocka_unit_test_setup(test_bad_words, set_up),     cmocka_unit_test_setup(test_bad_places, set_up),
		cmocka_unit_test_setup(test_no_such_line, set_up),  cmocka_unit_test_setup(test_what_is_there, set_up),
		cmocka_unit_test_setup(test_more_than_fit, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
