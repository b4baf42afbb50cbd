/*
 * arch/x86_64's readers of the MADT and the MP table: how many CPUs there are, which of them are kept, and what broken entries cost.
 */
#include "check.h"

#include <base/acpi.h>
#include <base/util.h>

#include "forged.h"

#define sums_to_zero sums_to_zero_of_mptable
#define parse parse_mptable
#include "../../arch/x86_64/mptable.c"
#undef parse
#define parse parse_madt
#include "../../arch/x86_64/madt.c"

#define PLACE 0x20000u
#define EBDA 0x9fc00u

static uint8_t table[32768], rsdp[36], root[40], floating[1024];
static size_t length;

static void put(const void *bytes, size_t count)
{
	assert_true(length + count <= sizeof(table));
	memcpy(table + length, bytes, count);
	length += count;
}

#define entry(...) put((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void cpu(uint32_t id, bool x2apic, bool enabled)
{
	if (x2apic)
		entry(9, 16, 0, 0, (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24), enabled, 0, 0, 0, 0,
		      0, 0, 0);
	else
		entry(0, 8, 0, (uint8_t)id, enabled, 0, 0, 0);
}

static int set_up(void **state)
{
	(void)state;
	host_boot(64 << 10);
	host_console_capture(true);
	memset(&madt, 0, sizeof(madt));
	memset(table, 0, sizeof(table));
	memset(floating, 0, sizeof(floating));
	ebda = 0;
	length = 44;
	return 0;
}

static void read_madt(void)
{
	memcpy(table, "APIC", 4);
	table[4] = (uint8_t)length;
	table[5] = (uint8_t)(length >> 8);
	fix_sum(table, length, 9);
	memcpy(root, "RSDT", 4);
	root[4] = sizeof(root);
	root[37] = (PLACE + 0x1000) >> 8 & 255;
	root[38] = (PLACE + 0x1000) >> 16;
	fix_sum(root, sizeof(root), 9);
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[18] = PLACE >> 16;
	fix_sum(rsdp, 20, 8);
	host_firmware_add(EBDA, rsdp, sizeof(rsdp));
	host_firmware_add(PLACE, root, sizeof(root));
	host_firmware_add(PLACE + 0x1000, table, length);
	acpi_init(EBDA);
	madt_init();
}

static void expect_lines(const char *line)
{
	if (count_in(host_console_text(), "\n") != (line ? 1 : 0) || (line && count_in(host_console_text(), line) != 1))
		fail_msg("not \"%s\" in:\n%s", line ? line : "", host_console_text());
}

/* 600 CPUs, of which those that have no place are counted: smp.c says how many. */
static void test_many_cpus(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 600; id++)
		cpu(id, id >= 255, true);
	read_madt();
	assert_int_equal(madt.cpu_count, 600);
	for (unsigned i = 0; i < CPU_MAX; i++)
		assert_int_equal(madt.apic_ids[i], i);
	expect_lines(NULL);
}

/* Wide ids; sockets that are empty; CPUs that are told of in both ways. */
static void test_ids(void **state)
{
	(void)state;
	cpu(3, false, true);
	cpu(0xffffffff, false, true); /* as a byte: no id */
	cpu(4, false, false);
	cpu(3, true, true);
	cpu(0x12345678, true, true);
	cpu(77, true, false);
	read_madt();
	assert_int_equal(madt.cpu_count, 2);
	assert_int_equal(madt.apic_ids[0], 3);
	assert_int_equal(madt.apic_ids[1], 0x12345678);
	expect_lines(NULL);
}

static void test_broken_entries(void **state)
{
	(void)state;
	cpu(1, false, true);
	entry(0, 4, 0, 9);         /* too short for what it is */
	entry(200, 6, 1, 2, 3, 4); /* of a kind that nobody knows */
	cpu(2, false, true);
	entry(0, 0, 0, 3); /* no length: it would never end */
	cpu(3, false, true);
	read_madt();
	assert_int_equal(madt.cpu_count, 2);
	expect_lines("madt: entry of type 0 with length 0, the rest is left out");
}

static void test_too_many_parts(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 30; i++)
		entry(1, 12, 0, 0, 0, 0, 0xc0, 0xfe, i, 0, 0, 0);
	for (uint8_t i = 0; i < 30; i++)
		entry(2, 10, 0, 50, i, 0, 0, 0, 0, 0);
	read_madt();
	assert_int_equal(madt.ioapic_count, MADT_IOAPIC_MAX);
	expect_lines("madt: 52 entries are left out");
}

/* ---- the MP table ---- */

static void read_mptable(uint32_t place)
{
	memcpy(table, "PCMP", 4);
	table[4] = (uint8_t)length;
	table[5] = (uint8_t)(length >> 8);
	fix_sum(table, length, 7);
	memcpy(floating, "_MP_", 4);
	memcpy(floating + 4, &place, sizeof(place));
	fix_sum(floating, 16, 10);
	ebda = EBDA;
	host_firmware_add(EBDA, floating, sizeof(floating));
	host_firmware_add(PLACE, table, length);
	acpi_init(0);
	madt_init();
}

static void mp_cpu(uint8_t id, bool enabled) { entry(0, id, 20, enabled, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0); }

static void test_mptable(void **state)
{
	(void)state;
	mp_cpu(0, true);
	mp_cpu(1, false);
	mp_cpu(2, true);
	entry(2, 1, 0, 0, 0, 0, 0xc0, 0xfe);
	read_mptable(PLACE);
	assert_int_equal(madt.cpu_count, 2);
	assert_int_equal(madt.apic_ids[1], 2);
	assert_int_equal(madt.ioapic_count, 1);
	expect_lines(NULL);
}

static void test_mptable_cut(void **state)
{
	(void)state;
	mp_cpu(0, true);
	entry(0, 1, 20, 1);
	read_mptable(PLACE);
	assert_int_equal(madt.cpu_count, 1);
	expect_lines("the rest is left out");
}

static void test_mptable_elsewhere(void **state)
{
	(void)state;
	mp_cpu(0, true);
	read_mptable(0x70000000);
	assert_int_equal(madt.cpu_count, 0);
	expect_lines("mp table: at 0x70000000 there is none that holds");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_many_cpus, set_up),         cmocka_unit_test_setup(test_ids, set_up),
		cmocka_unit_test_setup(test_broken_entries, set_up),    cmocka_unit_test_setup(test_too_many_parts, set_up),
		cmocka_unit_test_setup(test_mptable, set_up),           cmocka_unit_test_setup(test_mptable_cut, set_up),
		cmocka_unit_test_setup(test_mptable_elsewhere, set_up),
	};

	return cmocka_run_group_tests_name("x86_64: the firmware's tables of CPUs", tests, NULL, NULL);
}
