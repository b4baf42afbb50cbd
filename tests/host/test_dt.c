/*
 * lib/fdt/dt.c, drivers/bus/fdt.c and what pci_firmware.c takes from a device tree: a tree that is right, one cut short, ones that say anything.
 */
#include "check.h"

#include <errno.h>

#include <arch/mmio.h>
#include <base/cmdline.h>
#include <base/dt.h>
#include <base/program.h>
#include <drivers/bus/mmio.h>
#include <drivers/bus/pci.h>

#include "trees.h"

#define TREE_AT 0x5000000u
#define MAGIC 0x12345678u

static struct mmio_slot taken[16];
static unsigned taken_count;

static uint64_t read_magic(void *context, uint64_t offset, unsigned width)
{
	(void)context;
	(void)offset;
	return width == 4 ? MAGIC : 0;
}

static struct host_region everywhere = {.base = 0xc0000000, .size = 0x3ec00000, .read = read_magic};

static bool claim(const struct mmio_slot *slot)
{
	if (mmio_read32(slot->registers) != MAGIC)
		return false;
	assert_true(taken_count < 16);
	taken[taken_count++] = *slot;
	return true;
}

static const struct mmio_driver a_tree_driver = {.name = "test", .claim = claim};
MMIO_DRIVER(a_tree_driver);

static uint8_t *tree;

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	host_pio_present = false;
	host_mmio_add(&everywhere);
	cmdline_init("");
	free(tree);
	tree = malloc(TREE_MAX);
	taken_count = 0;
	return 0;
}

static void expect_lines(unsigned count)
{
	if (count_in(host_console_text(), "\n") != count)
		fail_msg("%u lines expected:\n%s", count, host_console_text());
}

/* Each tree has a place of its own: one that was looked at is not looked at again. */
static uint64_t next_place = TREE_AT;

static void scan(const void *blob, size_t size)
{
	dt_told = next_place += 0x10000;
	host_firmware_add(dt_told, blob, size);
	LINKER_FOR_EACH (vireo_discoveries, discovery)
		if (strcmp((*discovery)->name, "fdt") == 0)
			(*discovery)->scan();
}

static void test_devices_and_hosts(void **state)
{
	struct pci_host hosts[2];
	struct pci_window windows[4];
	struct pci_function function = {.host = &hosts[0]};

	(void)state;
	scan(tree, tree_make(tree));
	assert_int_equal(taken_count, 3);
	assert_int_equal(taken[0].base, TREE_MMIO_1);
	assert_int_equal(taken[0].size, 0x200);
	assert_int_equal(taken[0].gsi, 5);
	assert_int_equal(taken[0].trigger, IRQ_TRIGGER_EDGE);
	assert_int_equal(taken[1].base, TREE_MMIO_2);
	assert_int_equal(taken[1].gsi, 6);
	assert_int_equal(taken[1].trigger, IRQ_TRIGGER_LEVEL_HIGH);
	assert_int_equal(taken[2].base, TREE_MMIO_3);
	assert_int_equal(taken[2].gsi, 7);
	/* Without a line, without registers, outside of its bus. */
	expect_lines(3);
	assert_int_equal(count_in(host_console_text(), "no registers or no interrupt"), 3);

	assert_int_equal(pci_firmware_hosts(hosts, 2), 1);
	assert_int_equal(hosts[0].segment, 1);
	assert_int_equal(hosts[0].bus_first, 2);
	assert_int_equal(hosts[0].bus_last, 17);
	assert_int_equal(hosts[0].ecam, TREE_ECAM - 0x200000);
	assert_int_equal(pci_firmware_windows(&function, windows, 4), 1);
	assert_false(windows[0].ports);
	assert_int_equal(windows[0].base, 0xc0000000);
	assert_int_equal(windows[0].end, 0xd0000000);
}

/* INTx by the host's interrupt-map: the pin is turned by each bridge on the way up, and the root bus is the map's. */
static void test_interrupt_map(void **state)
{
	static const struct {
		uint16_t bdf;
		uint8_t pin;
		unsigned gsi; /* 0: none */
		enum irq_trigger trigger;
	} cases[] = {
		{0x208, 1, 20, IRQ_TRIGGER_LEVEL},      /* 02:01.0, INTA */
		{0x208, 2, 21, IRQ_TRIGGER_LEVEL_HIGH}, /* of a controller whose entries are longer */
		{0x210, 1, 22, IRQ_TRIGGER_LEVEL},
		{0x229, 1, 20, IRQ_TRIGGER_LEVEL}, /* 02:05.1: masked */
		{0x208, 3, 0, 0},
		{0x218, 1, 0, 0},
	};
	struct pci_host host;
	enum irq_trigger trigger;
	unsigned gsi;

	(void)state;
	scan(tree, tree_make(tree));
	assert_int_equal(pci_firmware_hosts(&host, 1), 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pci_function function = {.host = &host, .bdf = cases[i].bdf, .irq_pin = cases[i].pin};

		assert_int_equal(pci_firmware_intx(&function, &gsi, &trigger), cases[i].gsi ? 0 : -ENOENT);
		if (cases[i].gsi) {
			assert_int_equal(gsi, cases[i].gsi);
			assert_int_equal(trigger, cases[i].trigger);
		}
	}
}

/* Whatever is missing of it: one line, and nothing is found. The memory behind is not touched: each piece is of exactly its size. */
static void test_cut_short(void **state)
{
	size_t size = tree_make(tree);

	(void)state;
	for (size_t length = 0; length < size; length += length < 64 ? 1 : 61) {
		uint8_t *piece = malloc(length ? length : 1);

		host_console_capture(true);
		memcpy(piece, tree, length);
		assert_false(dt_open(piece, length));
		expect_lines(1);
		free(piece);
	}
	assert_int_equal(taken_count, 0);
}

/* One byte after the other says something else: nothing is read outside of the tree, no line is forged, and each walk ends. */
static void test_any_byte(void **state)
{
	static const uint8_t others[] = {0x00, 0x01, 0x7f, 0xff};
	size_t size = tree_make(tree);

	for (size_t at = 0; at < size; at++) {
		for (unsigned i = 0; i < sizeof(others); i++) {
			struct pci_host hosts[4];
			uint8_t *copy = malloc(size), old = tree[at];

			(void)state;
			host_console_capture(true);
			memcpy(copy, tree, size);
			copy[at] = others[i];
			if (dt_open(copy, size)) {
				for (int node = DT_START; (node = dt_find(node, "virtio,mmio")) != DT_NONE;) {
					struct dt_interrupt interrupt;
					uint64_t base, length;

					dt_reg(node, 0, &base, &length);
					dt_interrupt(node, &interrupt);
					assert_non_null(dt_name(node));
				}
				pci_firmware_hosts(hosts, 4);
			}
			assert_true(count_in(host_console_text(), "\n") <= 4);
			assert_int_equal(tree[at], old);
			free(copy);
		}
	}
	assert_true(dt_open(tree, size)); /* what was freed is forgotten */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_devices_and_hosts, set_up),
		cmocka_unit_test_setup(test_interrupt_map, set_up),
		cmocka_unit_test_setup(test_cut_short, set_up),
		cmocka_unit_test_setup(test_any_byte, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
