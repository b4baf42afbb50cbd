/*
 * drivers/bus/pci_host.c: which way into configuration space is taken, when ACPI tells the truth and when it does not.
 */
#include "check.h"

#include <base/acpi.h>
#include <base/cmdline.h>

#include "pci_model.h"

static void expect_lines(unsigned count, const char *fragment)
{
	if (count_in(host_console_text(), "\n") != count)
		fail_msg("%u lines expected:\n%s", count, host_console_text());
	if (count)
		assert_int_equal(count_in(host_console_text(), fragment), count);
}

#define ECAM_AT UINT64_C(0xb0000000)

static uint8_t mcfg[36 + 8 + 2 * 16], xsdt[36 + 8], rsdp[36], fadt[244], dsdt[128];
static uint8_t ecam_space[4096];
static unsigned ecam_accesses;

static uint64_t read_ecam(void *context, uint64_t offset, unsigned width)
{
	uint64_t value = 0;

	(void)context;
	ecam_accesses++;
	if (offset >> 12 != 4 << 3)
		return UINT64_MAX;
	memcpy(&value, ecam_space + (offset & 4095), width);
	return value;
}

static struct host_region ecam_region = {.base = ECAM_AT, .size = 2 << 20, .read = read_ecam};

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* The machine has this one table. */
static void give_table(uint8_t *table, const char *signature, uint32_t length)
{
	memcpy(table, signature, 4);
	put(table + 4, length, 4);
	fix_sum(table, length, 9);
	memset(xsdt, 0, sizeof(xsdt));
	memcpy(xsdt, "XSDT", 4);
	put(xsdt + 4, sizeof(xsdt), 4);
	put(xsdt + 36, 0x7000, 8);
	fix_sum(xsdt, sizeof(xsdt), 9);
	memset(rsdp, 0, sizeof(rsdp));
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[15] = 2;
	put(rsdp + 20, sizeof(rsdp), 4);
	put(rsdp + 24, 0x6000, 8);
	fix_sum(rsdp, 20, 8);
	fix_sum(rsdp, sizeof(rsdp), 32);
	host_firmware_add(0x7000, table, length);
	host_firmware_add(0x6000, xsdt, sizeof(xsdt));
	host_firmware_add(0x5000, rsdp, sizeof(rsdp));
	acpi_init(0x5000);
	host_console_capture(true);
}

static void give_mcfg(uint64_t base, uint8_t bus_first, uint8_t bus_last, bool twice)
{
	memset(mcfg, 0, sizeof(mcfg));
	put(mcfg + 44, base, 8);
	mcfg[54] = bus_first;
	mcfg[55] = bus_last;
	memcpy(mcfg + 60, mcfg + 44, 16);
	give_table(mcfg, "MCFG", twice ? sizeof(mcfg) : sizeof(mcfg) - 16);
}

static void give_dsdt(const uint8_t *aml, size_t length)
{
	memset(fadt, 0, sizeof(fadt));
	put(fadt + 140, 0x8000, 8);
	memset(dsdt, 0, sizeof(dsdt));
	memcpy(dsdt, "DSDT", 4);
	memcpy(dsdt + 36, aml, length);
	put(dsdt + 4, 36 + length, 4);
	fix_sum(dsdt, 36 + length, 9);
	host_firmware_add(0x8000, dsdt, 36 + length);
	give_table(fadt, "FACP", sizeof(fadt));
}

static void start(void)
{
	host_boot(4 << 20);
	acpi_init(0);
	host_console_capture(true);
	model_start();
	ecam_accesses = 0;
	memset(ecam_space, 0, sizeof(ecam_space));
	put(ecam_space, 0x00021234, 4);
	put(ecam_space + 0xffc, 0x13579bdf, 4);
	host_mmio_add(&ecam_region);
}

static void test_ecam(void **state)
{
	struct pci_function *function;

	(void)state;
	start(); /* ports are there, and nothing at 0:0.0 by either way */
	give_mcfg(ECAM_AT, 0, 1, false);
	model_scan();
	assert_int_equal(model_found_count(), 1);
	function = model_found("0000:00:04.0");
	assert_non_null(function);
	assert_int_equal(function->device, 2);
	assert_int_equal(pci_read32(function, 0xffc), 0x13579bdf);
	assert_int_equal(pci_read32(function, 0x1000), UINT32_MAX);
	assert_true(ecam_accesses <= 3 + 32 + 3);
	expect_lines(0, NULL);
}

/* A word says where configuration space is, before any table. */
static void test_words(void **state)
{
	static const struct {
		const char *word;
		bool good;
		unsigned lines;
	} words[] = {
		{"2M@0xb0000000", true, 0},
		{"2M@0xb0000000:0-1", true, 0},
		{"2M@0xb0000000:0-0", true, 0},
		{"16M@0xb0000000:0", true, 0},
		{"", false, 1},
		{"2M", false, 1},
		{"2M@", false, 1},
		{"512K@0xb0000000", false, 1},
		{"257M@0xb0000000", false, 1},
		{"2M@0xb0000000:", false, 1},
		{"2M@0xb0000000:0-2", false, 1},
		{"2M@0xb0000000:1-0", false, 1},
		{"2M@0xb0000000:255", false, 1},
		{"2M@0xb0000000:0-1-2", false, 1},
		{"2M@0xb0000800", false, 1}, /* no function would be aligned */
		{"2M@0x100000:2", false, 1}, /* bus 0 would be below 0 */
	};
	char text[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct pci_function *function;

		start();
		snprintf(text, sizeof(text), "pci.ecam=%s", words[i].word);
		cmdline_init(text);
		model_scan();
		function = model_found("0000:00:04.0");
		assert_int_equal(function && function->config, words[i].good);
		expect_lines(words[i].lines, "ignored");
	}
	cmdline_init("");
}

/* A table that is wrong gives way to the ports, after one line. */
static void expect_ports(uint64_t base, uint8_t first, uint8_t last)
{
	start();
	give_mcfg(base, first, last, false);
	model_add(NULL, 0, 0, 0x8086, 1); /* ECAM knows nothing of these */
	model_add(NULL, 4, 0, 0x1234, 1);
	model_scan();
	assert_non_null(model_found("0000:00:04.0"));
	assert_int_equal(model_found("0000:00:04.0")->device, 1);
	expect_lines(1, "not to be believed");
}

static void test_wrong_mcfg(void **state)
{
	(void)state;
	expect_ports(0, 0, 255);
	expect_ports(ECAM_AT, 5, 4);
	expect_ports(ECAM_AT, 0, 1);
	expect_ports(UINT64_MAX << 20, 0, 255);
}

static void test_mcfg_twice(void **state)
{
	(void)state;
	start();
	give_mcfg(ECAM_AT, 0, 1, true);
	model_scan();
	assert_int_equal(model_found_count(), 1);
	expect_lines(1, "twice");
}

/* ---- _CBA, where there is neither MCFG nor ports ---- */

static unsigned found_by(const uint8_t *aml, size_t length)
{
	start();
	host_pci_ports_set(NULL, NULL, NULL);
	give_dsdt(aml, length);
	model_scan();
	return model_found_count();
}

#define FILLER 0x10, 0x20, 0x5b, 0x82
#define ADDRESS 0x00, 0x00, 0x00, 0xb0

static void test_cba(void **state)
{
	static const uint8_t method[] = {FILLER, '_', 'C', 'B', 'A', 0, 0xa4, 0x0c, ADDRESS, FILLER, FILLER};
	static const uint8_t name[] = {FILLER, '_', 'C', 'B', 'A', 0x0e, ADDRESS, 0, 0, 0, 0, FILLER, FILLER};
	static const uint8_t computed[] = {FILLER, '_', 'C', 'B', 'A', 0, 0x70, 0x0c, ADDRESS, FILLER, FILLER};
	static const uint8_t zero[] = {FILLER, '_', 'C', 'B', 'A', 0x0c, 0, 0, 0, 0, FILLER, FILLER, FILLER};
	static const uint8_t unreachable[] = {FILLER, '_', 'C', 'B', 'A', 0x0e, ADDRESS, 0, 0, 0, 0xff, FILLER, FILLER};
	static const uint8_t cut_off[] = {FILLER, FILLER, FILLER, '_', 'C', 'B', 'A', 0x0e, ADDRESS};
	static const uint8_t none[] = {FILLER};

	(void)state;
	assert_int_equal(found_by(method, sizeof(method)), 1);
	assert_int_equal(found_by(name, sizeof(name)), 1);
	assert_int_equal(found_by(computed, sizeof(computed)), 0);
	assert_int_equal(found_by(zero, sizeof(zero)), 0);
	assert_int_equal(found_by(unreachable, sizeof(unreachable)), 0);
	assert_int_equal(found_by(cut_off, sizeof(cut_off)), 0);
	assert_int_equal(found_by(none, sizeof(none)), 0);
	expect_lines(0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ecam),       cmocka_unit_test(test_words), cmocka_unit_test(test_wrong_mcfg),
		cmocka_unit_test(test_mcfg_twice), cmocka_unit_test(test_cba),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
