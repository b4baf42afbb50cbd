/*
 * lib/acpi.c and lib/acpi_plain.c: tables that are right, and tables that say anything.
 *
 * Every table lies in malloc'ed memory of exactly its size, so that the address sanitizer sees each byte read beyond it.
 */
#include "check.h"

#include <base/acpi.h>

#define RSDP_AT 0x9fc10u
#define PIECES 16

static uint8_t *pieces[PIECES];
static unsigned piece_count;

static int tear_down(void **state)
{
	(void)state;
	while (piece_count)
		free(pieces[--piece_count]);
	return 0;
}

static int set_up(void **state)
{
	tear_down(state);
	host_boot(1 << 20);
	host_console_capture(true);
	return 0;
}

static uint8_t *new_piece(uint64_t phys, size_t size)
{
	uint8_t *piece = calloc(1, size);

	assert_true(piece && piece_count < PIECES);
	pieces[piece_count++] = piece;
	host_firmware_add(phys, piece, size);
	return piece;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static uint8_t *new_table(uint64_t phys, const char *signature, uint32_t size)
{
	uint8_t *table = new_piece(phys, size);

	memcpy(table, signature, 4);
	put(table + 4, size, 4);
	fix_sum(table, size, 9);
	return table;
}

static uint8_t *new_rsdp(uint64_t phys, uint32_t rsdt, uint64_t xsdt)
{
	uint8_t *rsdp = new_piece(phys, xsdt ? 36 : 20);

	memcpy(rsdp, "RSD PTR ", 8);
	put(rsdp + 16, rsdt, 4);
	if (xsdt) {
		rsdp[15] = 2;
		put(rsdp + 20, 36, 4);
		put(rsdp + 24, xsdt, 8);
	}
	fix_sum(rsdp, 20, 8);
	if (xsdt)
		fix_sum(rsdp, 36, 32);
	return rsdp;
}

/* A root table that lists `count` addresses of `width` bytes. */
static uint8_t *new_root(uint64_t phys, unsigned width, const uint64_t *addresses, unsigned count)
{
	uint8_t *root = new_table(phys, width == 8 ? "XSDT" : "RSDT", 36 + width * count);

	for (unsigned i = 0; i < count; i++)
		put(root + 36 + width * i, addresses[i], width);
	fix_sum(root, 36 + width * count, 9);
	return root;
}

static void expect_lines(unsigned count) { assert_int_equal(count_in(host_console_text(), "\n"), count); }

static const uint64_t usual[] = {0x10000, 0x11000, 0x12000};

static void test_revision_1(void **state)
{
	(void)state;
	new_rsdp(RSDP_AT, 0x5000, 0);
	new_root(0x5000, 4, usual, 3);
	new_table(0x10000, "APIC", 44);
	new_table(0x11000, "SSDT", 36);
	new_table(0x12000, "SSDT", 40);
	acpi_init(RSDP_AT);

	const struct acpi_header *first = acpi_table("SSDT", 0), *second = acpi_table("SSDT", 1);

	assert_non_null(acpi_table("APIC", 0));
	assert_int_equal(acpi_table("APIC", 0)->length, 44);
	assert_null(acpi_table("APIC", 1));
	assert_int_equal(first->length, 36);
	assert_int_equal(second->length, 40);
	assert_null(acpi_table("SSDT", 2));
	assert_null(acpi_table("MCFG", 0));
	expect_lines(0);
}

static void test_revision_2(void **state)
{
	uint64_t high[] = {UINT64_C(0x123456789000), 0x11000};
	uint8_t *fadt;

	(void)state;
	new_rsdp(RSDP_AT, 0xdead0000, 0x6003); /* at any byte */
	new_root(0x6003, 8, high, 2);
	new_table(high[0], "MCFG", 60);
	fadt = new_table(0x11000, "FACP", 244);
	put(fadt + 40, 0xbad000, 4);
	put(fadt + 140, 0x20000, 8);
	fix_sum(fadt, 244, 9);
	new_table(0x20000, "DSDT", 50);
	acpi_init(RSDP_AT);
	assert_non_null(acpi_table("MCFG", 0));
	assert_non_null(acpi_table("DSDT", 0));
	expect_lines(0);
}

static void test_found_by_scan(void **state)
{
	uint8_t *area = new_piece(0xe0000, 0x20000);

	(void)state;
	memcpy(area + 0x100, "RSD PTR ", 8); /* a wrong one first: its sum does not hold */
	area[0x108] = 77;
	memcpy(area + 0x1fff0, "RSD PTR ", 8); /* the last place: shorter than an RSDP */
	memcpy(area + 0x2000, "RSD PTR ", 8);
	put(area + 0x2010, 0x5000, 4);
	fix_sum(area + 0x2000, 20, 8);
	new_root(0x5000, 4, usual, 1);
	new_table(0x10000, "APIC", 44);
	acpi_init(0);
	assert_non_null(acpi_table("APIC", 0));
	expect_lines(0);
}

static void test_none(void **state)
{
	(void)state;
	acpi_init(0);
	assert_null(acpi_table("APIC", 0));
	expect_lines(0);
	acpi_init(0x1234);
	assert_null(acpi_table("APIC", 0));
	expect_lines(1);
}

/* A new start forgets what was found. */
static void test_again(void **state)
{
	test_revision_1(state);
	set_up(state);
	acpi_init(0);
	assert_null(acpi_table("APIC", 0));
}

static void test_bad_tables(void **state)
{
	const uint64_t list[] = {0x10000, 0x11000, 0x12000, 0x13000, 0x14000, 0, 0x16000};
	uint8_t *table;

	(void)state;
	new_rsdp(RSDP_AT, 0x5000, 0);
	new_root(0x5000, 4, list, 7);
	new_table(0x10000, "SUM_", 44)[20]++;
	table = new_table(0x11000, "LONG", 44);
	put(table + 4, 45, 4);
	fix_sum(table, 44, 9);
	table = new_table(0x12000, "SHRT", 44);
	put(table + 4, 35, 4);
	fix_sum(table, 35, 9);
	table = new_table(0x13000, "HUGE", 44);
	put(table + 4, UINT32_MAX, 4);
	fix_sum(table, 44, 9);
	/* 0x14000: nothing there; 0: passed over */
	new_table(0x16000, "GOOD", 36);
	acpi_init(RSDP_AT);
	assert_non_null(acpi_table("GOOD", 0));
	assert_null(acpi_table("SUM_", 0));
	assert_null(acpi_table("LONG", 0));
	assert_null(acpi_table("SHRT", 0));
	assert_null(acpi_table("HUGE", 0));
	expect_lines(5);
}

static void test_bad_roots(void **state)
{
	uint8_t *rsdp, *root;

	rsdp = new_rsdp(RSDP_AT, 0x5000, 0);
	root = new_root(0x5000, 4, usual, 1);
	new_table(0x10000, "APIC", 44);

	memcpy(root, "XXXX", 4);
	fix_sum(root, 40, 9);
	acpi_init(RSDP_AT);
	assert_null(acpi_table("APIC", 0));
	expect_lines(1);

	memcpy(root, "RSDT", 4);
	root[39]++;
	host_console_capture(true);
	acpi_init(RSDP_AT);
	assert_null(acpi_table("APIC", 0));
	expect_lines(1);

	rsdp[10]++;
	host_console_capture(true);
	acpi_init(RSDP_AT);
	assert_null(acpi_table("APIC", 0));
	expect_lines(1);

	/* Revision 2 with a length that lies. */
	set_up(state);
	rsdp = new_rsdp(RSDP_AT, 0, 0x6000);
	new_root(0x6000, 8, usual, 1);
	new_table(0x10000, "APIC", 44);
	for (unsigned i = 0; i < 4; i++) {
		static const uint32_t lengths[] = {0, 20, 37, UINT32_MAX};

		put(rsdp + 20, lengths[i], 4);
		fix_sum(rsdp, 36, 32);
		host_console_capture(true);
		acpi_init(RSDP_AT);
		assert_null(acpi_table("APIC", 0));
		expect_lines(1);
	}
}

/* A bad XSDT: the RSDT is good enough. */
static void test_fall_back_to_rsdt(void **state)
{
	(void)state;
	new_rsdp(RSDP_AT, 0x5000, 0x6000);
	new_root(0x5000, 4, usual, 1);
	new_root(0x6000, 8, usual, 1)[36]++;
	new_table(0x10000, "APIC", 44);
	acpi_init(RSDP_AT);
	assert_non_null(acpi_table("APIC", 0));
	expect_lines(1);
}

/* Tables of random bytes with sums that hold, and tables that list themselves: no byte outside is read, and it ends. */
static void test_random(void **state)
{
	uint64_t seed = 4711;

	for (unsigned round = 0; round < 3000; round++) {
		set_up(state);
		new_rsdp(RSDP_AT, 0x5000, round % 2 ? 0x6000 : 0);

		const uint64_t list[] = {0x10000, 0x11000, 0x5000, 0x6000};
		unsigned count = (unsigned)(next_random(&seed) % 5);
		uint8_t *roots[] = {new_root(0x5000, 4, list, count), new_root(0x6000, 8, list, count)};
		static const char signatures[][5] = {"FACP", "DSDT", "APIC", "XSDT", "FACP"};

		for (unsigned i = 0; i < 2; i++) {
			uint32_t size = 36 + (uint32_t)(next_random(&seed) % 220);
			uint8_t *table = new_table(0x10000 + 0x1000 * i, signatures[next_random(&seed) % 5], size);

			for (uint32_t at = 36; at < size; at++)
				table[at] = (uint8_t)(next_random(&seed) % 3 ? next_random(&seed) : 0);
			if (size > 148 && next_random(&seed) % 2)
				put(table + 140, list[next_random(&seed) % 4], 8);
			if (next_random(&seed) % 4 == 0)
				put(table + 4, size - 8 + (uint32_t)(next_random(&seed) % 16), 4);
			fix_sum(table, size, 9);
		}
		if (next_random(&seed) % 3 == 0) {
			uint8_t *root = roots[round % 2];

			root[4] = (uint8_t)(next_random(&seed) % 80);
			fix_sum(root, root[4] < 36 + 4 * count && root[4] > 9 ? root[4] : 36 + 4 * count, 9);
		}
		acpi_init(RSDP_AT);

		uint8_t type[2];

		acpi_soft_off(type);
		acpi_table("FACP", 0);
	}
}

/* ---- _S5_ ---- */

static bool soft_off(const uint8_t *aml, unsigned length, uint8_t type[2])
{
	static const uint64_t fadt_only[] = {0x10000};
	uint8_t *fadt, *dsdt;

	set_up(NULL);
	new_rsdp(RSDP_AT, 0x5000, 0);
	new_root(0x5000, 4, fadt_only, 1);
	fadt = new_table(0x10000, "FACP", 116);
	put(fadt + 40, 0x20000, 4);
	fix_sum(fadt, 116, 9);
	dsdt = new_table(0x20000, "DSDT", 36 + length);
	memcpy(dsdt + 36, aml, length);
	fix_sum(dsdt, 36 + length, 9);
	acpi_init(RSDP_AT);
	assert_non_null(acpi_table("DSDT", 0));
	return acpi_soft_off(type);
}

static void test_soft_off(void **state)
{
	static const uint8_t bytes[] = {0x10, 0x20, 0x08, '_',  'S',  '5',  '_',  0x12,
	                                0x08, 0x04, 0x0a, 0x05, 0x0a, 0x07, 0x00, 0x00};
	static const uint8_t rooted[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x01, 0x00, 0x00};
	static const uint8_t wide[] = {0x08, '_', 'S', '5', '_', 0x12, 0x47, 0x00, 0x04, 0x01, 0x00};
	static const uint8_t other[] = {0x08, '_', 'S', '4', '_', 0x12, 0x06, 0x04, 0x00, 0x01, 0x00, 0x00, 0x00};
	uint8_t type[2];

	(void)state;
	assert_true(soft_off(bytes, sizeof(bytes), type));
	assert_int_equal(type[0], 5);
	assert_int_equal(type[1], 7);
	assert_true(soft_off(rooted, sizeof(rooted), type));
	assert_int_equal(type[0], 0);
	assert_int_equal(type[1], 1);
	assert_true(soft_off(wide, sizeof(wide), type));
	assert_int_equal(type[0], 1);
	assert_int_equal(type[1], 0);
	assert_false(soft_off(other, sizeof(other), type));
	/* Cut anywhere: never a byte beyond. Before the first value it cannot be an answer. */
	for (unsigned length = 0; length < sizeof(bytes); length++) {
		bool found = soft_off(bytes, length, type);

		if (length < 12)
			assert_false(found);
	}
}

/* The DSDT does not say it, the second SSDT does. */
static void test_soft_off_elsewhere(void **state)
{
	static const uint64_t list[] = {0x10000, 0x30000, 0x40000};
	static const uint8_t bytes[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x03, 0x01, 0x00, 0x00};
	uint8_t *table, type[2];

	(void)state;
	new_rsdp(RSDP_AT, 0x5000, 0);
	new_root(0x5000, 4, list, 3);
	table = new_table(0x10000, "FACP", 116);
	put(table + 40, 0x20000, 4);
	fix_sum(table, 116, 9);
	new_table(0x20000, "DSDT", 48);
	new_table(0x30000, "SSDT", 40);
	table = new_table(0x40000, "SSDT", 36 + sizeof(bytes));
	memcpy(table + 36, bytes, sizeof(bytes));
	fix_sum(table, 36 + sizeof(bytes), 9);
	acpi_init(RSDP_AT);
	assert_true(acpi_soft_off(type));
	assert_int_equal(type[0], 3);
	assert_int_equal(type[1], 1);
}

/* ---- plain devices ---- */

/* QEMU's microvm: \_SB with a device of code, and one of two like this, whose parts lie at these bytes. */
static const uint8_t device[] = {0x5b, 0x82, 0x42, 0x04, 'V', 'R', '2',  '3',  8,    '_',  'H',  'I',  'D',  0x0d,
                                 'L',  'N',  'R',  'O',  '0', '0', '0',  '5',  0,    8,    '_',  'U',  'I',  'D',
                                 0x0a, 0x17, 8,    '_',  'C', 'C', 'A',  1,    8,    '_',  'C',  'R',  'S',  0x11,
                                 0x1a, 0x0a, 0x17, 0x86, 9,   0,   1,    0x00, 0x2e, 0xb0, 0xfe, 0x00, 0x02, 0,
                                 0,    0x89, 6,    0,    1,   1,   0x2f, 0,    0,    0,    0x79, 0};
enum {
	NAME_AT = 4,
	ID_AT = 14,
	UID_AT = 24,
	BUFFER_AT = 41,
	SIZE_AT = 43,
	TAG_AT = 45,
	FLAGS_AT = 60,
	COUNT_AT = 61,
	END_AT = 66
};
static const uint8_t code[] = {0x5b, 0x82, 0x0e, 'G', 'E', 'D', '_', 0x14, 8, '_', 'E', 'V', 'T', 1, 0x70, 0x60};
static const uint8_t soft[] = {0x10, 0x0e, '\\', 0, 8, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 5, 0};

static struct acpi_plain found[4];
static unsigned found_count;

static void on_plain(const struct acpi_plain *plain)
{
	assert_true(found_count < 4);
	found[found_count++] = *plain;
}

/* A DSDT of these bytes in \_SB, with a device of code before and soft-off behind it, and an SSDT of other bytes. */
static bool plain(const uint8_t *bytes, size_t size, const void *other, size_t other_size)
{
	static const uint64_t list[] = {0x10000, 0x30000};
	size_t inside = 2 + 4 + sizeof(code) + size, length = 36 + 1 + inside + sizeof(soft);
	uint8_t *table;

	tear_down(NULL);
	host_boot(1 << 20);
	found_count = 0;
	new_rsdp(RSDP_AT, 0x5000, 0);
	new_root(0x5000, 4, list, 2);
	table = new_table(0x10000, "FACP", 116);
	put(table + 40, 0x20000, 4);
	fix_sum(table, 116, 9);
	table = new_table(0x20000, "DSDT", (uint32_t)length);
	table[36] = 0x10;
	table[37] = (uint8_t)(0x40 | (inside & 15));
	table[38] = (uint8_t)(inside >> 4);
	memcpy(table + 39, "_SB_", 4);
	memcpy(table + 43, code, sizeof(code));
	memcpy(table + 43 + sizeof(code), bytes, size);
	memcpy(table + length - sizeof(soft), soft, sizeof(soft));
	fix_sum(table, length, 9);
	table = new_table(0x30000, "SSDT", (uint32_t)(36 + other_size));
	memcpy(table + 36, other, other_size);
	fix_sum(table, 36 + other_size, 9);
	acpi_init(RSDP_AT);
	return acpi_plain_devices("LNRO0005", on_plain);
}

static void test_plain(void **state)
{
	uint8_t two[2 * sizeof(device)];

	(void)state;
	memcpy(two, device, sizeof(device));
	memcpy(two + sizeof(device), device, sizeof(device));
	two[sizeof(device) + NAME_AT + 3] = '2';
	two[sizeof(device) + TAG_AT + 5] = 0x2c; /* the address */
	two[sizeof(device) + FLAGS_AT] = 7;
	assert_true(plain(two, sizeof(two), "", 0));
	assert_int_equal(found_count, 2);
	assert_int_equal(found[0].base, 0xfeb02e00);
	assert_int_equal(found[0].size, 0x200);
	assert_int_equal(found[0].gsi, 0x2f);
	assert_int_equal(found[0].trigger, IRQ_TRIGGER_LEVEL_HIGH);
	assert_int_equal(found[1].base, 0xfeb02c00);
	assert_int_equal(found[1].trigger, IRQ_TRIGGER_EDGE_LOW);
	/* In the root of another table, too. */
	assert_true(plain(two, sizeof(device), two + sizeof(device), sizeof(device)));
	assert_int_equal(found_count, 2);
	assert_false(plain(code, sizeof(code), "", 0)); /* there is none */
}

/* The interpreter's: what a name, a condition or code elsewhere may change, and what is not all constants. Nobody is told of any. */
static void test_not_plain(void **state)
{
	static const uint8_t hides[] = {0x10, 0x10, 'V', 'R', '2', '3', 0x14, 9, '_', 'S', 'T', 'A', 0, 0xa4, 0, 0};
	static const uint8_t condition[] = {0xa0, 2, 0};
	static const uint8_t string[] = {8, 'A', 'B', 'C', 'D', 0x0d, 'L', 'N', 'R', 'O', '0', '0', '0', '5', 0};
	static const struct {
		uint8_t at, value;
	} changes[] = {
		{NAME_AT, 0x2e},      {NAME_AT, '^'},    {ID_AT - 1, 0x0e}, {UID_AT - 4 + 3, 'X'},
		{UID_AT - 1, '_'},    {BUFFER_AT, 0x12}, {SIZE_AT, 0x0b},   {SIZE_AT + 1, 0x16},
		{TAG_AT, 0x85},       {TAG_AT + 1, 8},   {TAG_AT + 2, 1},   {COUNT_AT, 2},
		{COUNT_AT - 4, 0x86}, {END_AT, 0x78},    {2, 0x41},         {2, 0x43},
	};
	uint8_t bytes[sizeof(device) + sizeof(string)];

	(void)state;
	assert_true(plain(device, sizeof(device), "", 0));
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		memcpy(bytes, device, sizeof(device));
		bytes[changes[i].at] = changes[i].value;
		if (plain(bytes, sizeof(device), "", 0) || found_count)
			fail_msg("byte %u as %#x", changes[i].at, changes[i].value);
	}
	assert_false(plain(device, sizeof(device), hides, sizeof(hides)));
	assert_false(plain(device, sizeof(device), condition, sizeof(condition)));
	assert_false(plain(device, sizeof(device), string, sizeof(string)));
	assert_int_equal(found_count, 0);
	/* Cut anywhere: never a byte beyond. */
	for (unsigned length = 0; length < sizeof(device); length++)
		assert_false(plain(code, sizeof(code), device, length));
	assert_int_equal(found_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_revision_1, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_revision_2, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_found_by_scan, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_roots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fall_back_to_rsdt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_soft_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_soft_off_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_plain, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
