/*
 * drivers/bus/pci*.c: finding functions in trees that are right and in trees that are not; numbering and placing what no firmware
 * did; BARs, capability lists and MSI-X tables that say anything.
 */
#include "check.h"

#include <arch/irq.h>
#include <base/acpi.h>
#include <base/event.h>

#include "pci_model.h"

#define ID_VENDOR 0xabcd /* claimed by this test */
#define WINDOW 0xc0000000u

static unsigned claimed;
static const char *claim_order[MODEL_MAX];

static bool claim(struct pci_function *function)
{
	if (function->vendor != ID_VENDOR)
		return false;
	pci_open(function);
	pci_open_ports(function);
	pci_enable(function);
	claim_order[claimed++] = function->name;
	return true;
}

static const struct pci_driver test_driver = {.name = "test", .claim = claim};
PCI_DRIVER(test_driver);

static int set_up(void **state)
{
	(void)state;
	host_boot(4 << 20);
	acpi_init(0);
	host_console_capture(true);
	host_pci_window_set(false, WINDOW, WINDOW + 0x10000000);
	host_pci_window_set(true, 0xc000, 0x10000);
	model_start();
	claimed = 0;
	return 0;
}

static void expect_lines(unsigned count, const char *fragment)
{
	assert_int_equal(count_in(host_console_text(), "\n"), count);
	if (count)
		assert_int_equal(count_in(host_console_text(), fragment), count);
}

/* ---- finding ---- */

static void test_functions(void **state)
{
	struct model_function *multi;

	(void)state;
	model_add(NULL, 0, 0, 0x8086, 1);
	multi = model_add(NULL, 3, 0, ID_VENDOR, 2);
	multi->space[0x0e] = 0x80;
	model_add(NULL, 3, 5, ID_VENDOR, 3);
	model_add(NULL, 4, 0, 0, 4);         /* no vendor */
	model_add(NULL, 5, 0, ID_VENDOR, 5); /* no further functions, it says: */
	model_add(NULL, 5, 1, ID_VENDOR, 6);
	model_add(NULL, 31, 0, ID_VENDOR, 7);
	model_scan();
	assert_int_equal(model_found_count(), 5);
	assert_int_equal(claimed, 4);
	assert_string_equal(claim_order[0], "0000:00:03.0");
	assert_string_equal(claim_order[1], "0000:00:03.5");
	assert_string_equal(claim_order[2], "0000:00:05.0");
	assert_string_equal(claim_order[3], "0000:00:1f.0");
	expect_lines(0, NULL);
}

static void test_no_ports(void **state)
{
	(void)state;
	host_pci_ports_set(NULL, NULL, NULL);
	model_scan();
	assert_null(pci_first());
}

static void test_reads_are_few(void **state)
{
	(void)state;
	model_scan();
	assert_true(model_accesses <= 32); /* an empty bus: one read for each device */
	model_start();
	model_add(NULL, 0, 0, 0x8086, 1);
	model_add(NULL, 1, 0, 0x8086, 2);
	model_scan();
	assert_true(model_accesses <= 32 + 2 * 2);
}

static void make_root_port(struct model_function *bridge)
{
	static const uint8_t body[] = {0x42, 0}; /* version 2, root port */

	model_capability(bridge, 0x01, body, 2);
	model_capability(bridge, 0x10, body, 2);
}

static void test_bridges(void **state)
{
	struct model_function *outer, *inner, *port;

	(void)state;
	outer = model_add_bridge(NULL, 1, 2, 5);
	inner = model_add_bridge(outer, 7, 5, 5);
	port = model_add_bridge(NULL, 2, 9, 9);
	make_root_port(port);
	model_add(outer, 31, 0, ID_VENDOR, 1);
	model_add(inner, 4, 0, ID_VENDOR, 2);
	model_add(port, 0, 0, ID_VENDOR, 3);
	model_add(port, 1, 0, ID_VENDOR, 4); /* a root port has one device */
	model_scan();
	assert_non_null(model_found("0000:02:1f.0"));
	assert_non_null(model_found("0000:05:04.0"));
	assert_non_null(model_found("0000:09:00.0"));
	assert_null(model_found("0000:09:01.0"));
	assert_int_equal(claimed, 3);
	assert_ptr_equal(pci_bridge_to(model_found("0000:05:04.0")), model_found("0000:02:07.0"));
	assert_null(pci_bridge_to(model_found("0000:00:01.0")));
	/* Whoever drives a function gets the bridges on the way forwarding its accesses. */
	assert_int_equal(model_get(outer, 4, 2) & 4, 4);
	assert_int_equal(model_get(inner, 4, 2) & 4, 4);
	expect_lines(0, NULL);
}

static void test_impossible_bridges(void **state)
{
	struct model_function *good;

	(void)state;
	good = model_add_bridge(NULL, 1, 1, 4);
	model_add_bridge(NULL, 2, 1, 1); /* the same bus again */
	model_add_bridge(NULL, 3, 6, 5); /* ends before it begins */
	model_add_bridge(NULL, 4, 0, 7); /* the bus that it is on */
	model_add_bridge(good, 5, 1, 4); /* the bus that it is on, behind a bridge */
	model_add_bridge(good, 6, 0, 4); /* back to the root: a loop */
	model_add(good, 8, 0, ID_VENDOR, 1);
	model_scan();
	assert_int_equal(claimed, 1);
	expect_lines(5, "bus numbers");
}

static void test_more_root_buses(void **state)
{
	struct model_function *expander;

	(void)state;
	/* A second host bridge: bus 40h is a root of its own, to which no bridge leads. (To the model it is behind that function.) */
	expander = model_add_bridge(NULL, 1, 0x40, 0x40);
	expander->space[0x0e] = 0;
	model_put(expander, 0x08, 0x06000000, 4);
	model_add(expander, 3, 0, ID_VENDOR, 1);
	model_scan();
	assert_int_equal(claimed, 1);
	assert_non_null(model_found("0000:40:03.0"));
	expect_lines(0, NULL);
}

static uint32_t read_everywhere(void *context, uint16_t bdf, uint16_t offset, unsigned width)
{
	uint64_t *seed = context;

	(void)bdf;
	model_accesses++;
	if (offset == 0)
		return 0x00018086;
	return (uint32_t)(next_random(seed) >> (64 - 8 * width));
}

static void test_configuration_space_of_noise(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 50; i++) {
		uint64_t seed = i * 0x9e3779b97f4a7c15u;

		set_up(NULL);
		host_pci_ports_set(read_everywhere, NULL, &seed);
		model_scan();
		assert_true(model_found_count() <= 1024);
	}
}

/* ---- what no firmware did ---- */

static void test_bus_numbers(void **state)
{
	struct model_function *first, *nested, *second;

	(void)state;
	first = model_add_bridge(NULL, 1, 0, 0);
	second = model_add_bridge(NULL, 2, 0, 0);
	nested = model_add_bridge(first, 1, 0, 0);
	model_add(first, 3, 0, ID_VENDOR, 1);
	model_add(nested, 4, 0, ID_VENDOR, 2);
	model_add(second, 5, 0, ID_VENDOR, 3);
	model_scan();
	assert_int_equal(claimed, 3);
	assert_int_equal(model_get(first, 0x18, 4) & 0xffffff, 0x020100);
	assert_int_equal(model_get(nested, 0x18, 4) & 0xffffff, 0x020201);
	assert_int_equal(model_get(second, 0x18, 4) & 0xffffff, 0x030300);
	expect_lines(0, NULL);
}

static void test_bus_numbers_beside_firmware(void **state)
{
	struct model_function *set, *full, *none;

	(void)state;
	none = model_add_bridge(NULL, 1, 0, 0);
	set = model_add_bridge(NULL, 2, 0x10, 0x20);
	full = model_add_bridge(set, 1, 0, 0);
	model_add(none, 1, 0, ID_VENDOR, 1);
	model_add(set, 2, 0, ID_VENDOR, 2);
	model_add(full, 3, 0, ID_VENDOR, 3);
	model_scan();
	assert_int_equal(model_get(none, 0x18, 4) & 0xffffff, 0x212100);
	assert_int_equal(model_get(set, 0x18, 4) & 0xffffff, 0x201000); /* as it was */
	assert_int_equal(claimed, 2);
	expect_lines(1, "no bus number left");
}

static void test_bridges_without_end(void **state)
{
	struct model_function *bridge = NULL;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		bridge = model_add_bridge(bridge, 1, 0, 0);
	model_scan();
	expect_lines(1, "no bus number left");
}

static void test_bars_are_placed(void **state)
{
	struct model_function *a, *b, *fixed;

	(void)state;
	fixed = model_add(NULL, 1, 0, 0x8086, 1);
	model_bar(fixed, 0, 0x1000, 2, WINDOW + 0x1000); /* of a reserved type, and in nobody's way */
	model_bar(fixed, 1, 0x1000, 0, WINDOW + 0x4000);
	model_bar(fixed, 2, 0x40, 1, 0xc000);
	fixed->space[4] = 3;
	a = model_add(NULL, 2, 0, ID_VENDOR, 2);
	model_bar(a, 0, 0x4000, 4, 0);
	model_bar(a, 2, 0x1000, 0, 0xe0000000);
	model_bar(a, 3, 0x20, 1, 0);
	b = model_add(NULL, 3, 0, ID_VENDOR, 3);
	model_bar(b, 0, 0x1000, 0, 0);
	model_bar(b, 1, UINT64_C(1) << 40, 4, 0); /* too large for the hole */
	model_scan();
	assert_int_equal(model_get(fixed, 0x14, 4), WINDOW + 0x4000);
	assert_int_equal(model_get(fixed, 4, 2), 3);
	assert_int_equal(model_get(a, 0x10, 4), WINDOW | 4);
	assert_int_equal(model_get(a, 0x18, 4), 0xe0000000);
	assert_int_equal(model_get(a, 0x1c, 4), 0xc040 | 1);
	assert_int_equal(model_get(b, 0x10, 4), WINDOW + 0x5000);
	assert_int_equal(model_get(b, 0x14, 4), 4);
	assert_int_equal(model_get(a, 4, 2) & 7, 7);
	assert_int_equal(model_get(b, 4, 2) & 7, 6);
	assert_int_equal(model_live_bar_writes, 0);
	assert_int_equal(count_in(host_console_text(), "BAR 0 makes no sense"), 1);
	assert_int_equal(count_in(host_console_text(), "no room for BAR 1"), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 2);
}

static void test_no_room(void **state)
{
	struct model_function *a;

	(void)state;
	host_pci_window_set(false, WINDOW, WINDOW + 0x1000);
	a = model_add(NULL, 1, 0, ID_VENDOR, 1);
	model_bar(a, 0, 0x2000, 0, 0);
	model_scan();
	expect_lines(1, "no room for BAR 0");
	assert_null(pci_bar_map(model_found("0000:00:01.0"), 0, 0, 4));
}

static void test_windows_are_placed(void **state)
{
	struct model_function *outer, *inner, *beside, *device;

	(void)state;
	outer = model_add_bridge(NULL, 1, 1, 2);
	inner = model_add_bridge(outer, 1, 2, 2);
	beside = model_add(outer, 2, 0, ID_VENDOR, 1);
	model_bar(beside, 0, 0x1000, 0, 0);
	device = model_add(inner, 1, 0, ID_VENDOR, 2);
	model_bar(device, 0, 0x200000, 4, 0);
	model_scan();
	assert_int_equal(model_get(inner, 0x20, 4), 0xc010c000 | 0x00100000);
	assert_int_equal(model_get(device, 0x10, 4), WINDOW | 4);
	assert_int_equal(model_get(beside, 0x10, 4), WINDOW + 0x200000);
	assert_int_equal(model_get(outer, 0x20, 4) & 0xfff0, 0xc000);
	assert_true((model_get(outer, 0x20, 4) >> 16) >= 0xc020);
	/* What is not assigned is closed. */
	assert_int_equal(model_get(outer, 0x24, 4), 0x0000fff0);
	assert_int_equal(model_get(outer, 0x1c, 2), 0x00f0);
	assert_int_equal(model_get(outer, 4, 2) & 6, 6);
	assert_int_equal(model_get(inner, 4, 2) & 6, 6);
	expect_lines(0, NULL);
}

static void make_wide(struct model_function *bridge)
{
	model_put(bridge, 0x24, 0x00010001, 4);
	memset(bridge->writable + 0x28, 0xff, 8);
}

/* Large prefetchable BARs behind bridges are above 4 GiB, in the bridges' other window, and small ones in the usual one. */
static void test_large_windows(void **state)
{
	struct model_function *outer, *inner, *device, *first;

	(void)state;
	host_pci_window_set(false, WINDOW, UINT64_C(0x2000000000));
	outer = model_add_bridge(NULL, 1, 1, 2);
	inner = model_add_bridge(outer, 1, 2, 2);
	make_wide(outer);
	make_wide(inner);
	first = model_add(outer, 3, 0, ID_VENDOR, 1);
	model_bar(first, 0, 0x100000000, 0xc, 0);
	device = model_add(inner, 1, 0, ID_VENDOR, 2);
	model_bar(device, 0, 0x80000000, 0xc, 0);
	model_bar(device, 2, 0x1000, 0, 0);
	model_scan();
	assert_int_equal(model_get(device, 0x10, 4), 0xc);
	assert_int_equal(model_get(device, 0x14, 4), 1);
	assert_int_equal(model_get(device, 0x18, 4), WINDOW);
	assert_int_equal(model_get(first, 0x10, 4), 0xc);
	assert_int_equal(model_get(first, 0x14, 4), 2);
	assert_int_equal(model_get(inner, 0x24, 4), 0x7ff10001); /* 100000000h to 17fffffffh */
	assert_int_equal(model_get(inner, 0x28, 4), 1);
	assert_int_equal(model_get(inner, 0x2c, 4), 1);
	assert_int_equal(model_get(outer, 0x24, 4), 0xfff10001); /* and to 2ffffffffh */
	assert_int_equal(model_get(outer, 0x28, 4), 1);
	assert_int_equal(model_get(outer, 0x2c, 4), 2);
	assert_int_equal(model_get(outer, 0x20, 4), 0xc000c000);
	expect_lines(0, NULL);
}

/* A bridge whose other window has 32 bits: what does not fit says so, and what does has its place. */
static void test_large_without_window(void **state)
{
	struct model_function *bridge, *device;

	(void)state;
	host_pci_window_set(false, WINDOW, UINT64_C(0x2000000000));
	bridge = model_add_bridge(NULL, 1, 1, 1);
	device = model_add(bridge, 1, 0, ID_VENDOR, 2);
	model_bar(device, 0, 0x80000000, 0xc, 0);
	model_bar(device, 2, 0x1000, 0, 0);
	model_scan();
	assert_int_equal(model_get(device, 0x10, 4), 0xc);
	assert_int_equal(model_get(device, 0x14, 4), 0);
	assert_int_equal(model_get(device, 0x18, 4), WINDOW);
	assert_int_equal(model_get(bridge, 0x24, 4), 0x0000fff0);
	expect_lines(1, "no room for BAR 0");
}

static void test_windows_of_firmware_stay(void **state)
{
	struct model_function *bridge, *set, *none;

	(void)state;
	bridge = model_add_bridge(NULL, 1, 1, 1);
	model_put(bridge, 0x20, 0xd010d000, 4); /* D0000000 to D01FFFFF */
	set = model_add(bridge, 1, 0, ID_VENDOR, 1);
	model_bar(set, 0, 0x1000, 0, 0xd0000000);
	none = model_add(bridge, 2, 0, ID_VENDOR, 2);
	model_bar(none, 0, 0x1000, 0, 0);
	model_scan();
	assert_int_equal(model_get(bridge, 0x20, 4), 0xd010d000);
	assert_int_equal(model_get(set, 0x10, 4), 0xd0000000);
	assert_int_equal(model_get(none, 0x10, 4), 0xd0001000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_functions, set_up),
		cmocka_unit_test_setup(test_no_ports, set_up),
		cmocka_unit_test_setup(test_reads_are_few, set_up),
		cmocka_unit_test_setup(test_bridges, set_up),
		cmocka_unit_test_setup(test_impossible_bridges, set_up),
		cmocka_unit_test_setup(test_more_root_buses, set_up),
		cmocka_unit_test_setup(test_configuration_space_of_noise, set_up),
		cmocka_unit_test_setup(test_bus_numbers, set_up),
		cmocka_unit_test_setup(test_bus_numbers_beside_firmware, set_up),
		cmocka_unit_test_setup(test_bridges_without_end, set_up),
		cmocka_unit_test_setup(test_bars_are_placed, set_up),
		cmocka_unit_test_setup(test_no_room, set_up),
		cmocka_unit_test_setup(test_windows_are_placed, set_up),
		cmocka_unit_test_setup(test_large_windows, set_up),
		cmocka_unit_test_setup(test_large_without_window, set_up),
		cmocka_unit_test_setup(test_windows_of_firmware_stay, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
