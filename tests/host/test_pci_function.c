/*
 * drivers/bus/pci_config.c and pci_msix.c: one function whose configuration space says anything.
 */
#include "check.h"

#include <errno.h>

#include <arch/irq.h>
#include <base/acpi.h>
#include <base/event.h>

#include "pci_model.h"

#define BAR_AT UINT64_C(0xe0000000)
#define TABLE_BYTES 0x1000u

static struct model_function *device;

static void expect_lines(unsigned count, const char *fragment)
{
	assert_int_equal(count_in(host_console_text(), "\n"), count);
	if (count)
		assert_int_equal(count_in(host_console_text(), fragment), count);
}

static int set_up(void **state)
{
	(void)state;
	host_boot(4 << 20);
	acpi_init(0);
	host_console_capture(true);
	model_start();
	device = model_add(NULL, 4, 0, 0x1234, 1);
	return 0;
}

static struct pci_function *open_it(void)
{
	struct pci_function *function;

	model_scan();
	function = model_found("0000:00:04.0");
	assert_non_null(function);
	pci_open(function);
	pci_open_ports(function);
	assert_int_equal(model_live_bar_writes, 0);
	return function;
}

/* ---- BARs ---- */

static void test_bars(void **state)
{
	struct pci_function *function;
	uint16_t port;

	(void)state;
	device->space[4] = 7;
	model_bar(device, 0, 0x20, 1, 0xc100);
	model_bar(device, 1, 0x1000, 0, BAR_AT);
	model_bar(device, 2, UINT64_C(1) << 33, 4 | 8, UINT64_C(3) << 33);
	model_bar(device, 4, 0x100000, 8, BAR_AT + 0x100000);
	function = open_it();
	assert_int_equal(function->bars[0].kind, PCI_BAR_IO);
	assert_int_equal(function->bars[0].base, 0xc100);
	assert_int_equal(function->bars[0].size, 0x20);
	assert_int_equal(function->bars[1].kind, PCI_BAR_MEM);
	assert_int_equal(function->bars[1].base, BAR_AT);
	assert_int_equal(function->bars[1].size, 0x1000);
	assert_false(function->bars[1].is_64);
	assert_true(function->bars[2].is_64);
	assert_int_equal(function->bars[2].base, UINT64_C(3) << 33);
	assert_int_equal(function->bars[2].size, UINT64_C(1) << 33);
	assert_int_equal(function->bars[3].kind, PCI_BAR_NONE);
	assert_int_equal(function->bars[4].size, 0x100000);
	assert_int_equal(function->bars[5].kind, PCI_BAR_NONE);
	assert_int_equal(device->space[4] & 7, 7);            /* and all decodes again */
	assert_int_equal(model_get(device, 0x14, 4), BAR_AT); /* sizing put it back */
	pci_enable(function);
	assert_int_equal(device->space[4] & 7, 7);
	pci_disable(function);
	assert_int_equal(device->space[4] & 7, 0);
	expect_lines(0, NULL);

	assert_non_null(pci_bar_map(function, 1, 0, 0x1000));
	assert_non_null(pci_bar_map(function, 1, 0xffc, 4));
	assert_int_equal(pci_bar_port(function, 0, 0x1c, 4, &port), 0);
	assert_int_equal(port, 0xc11c);
	expect_lines(0, NULL);
}

/* What firmware has placed and enabled costs a VMM's memory map two changes, and ports none. */
static void test_decoding(void **state)
{
	struct pci_function *function;

	(void)state;
	device->space[4] = 7;
	model_bar(device, 0, 0x20, 1, 0xc100);
	model_bar(device, 1, 0x1000, 0, BAR_AT);
	model_scan();
	function = model_found("0000:00:04.0");
	model_command_changes = 0;
	pci_open(function);
	pci_enable(function);
	assert_int_equal(model_command_changes, 2);
	assert_int_equal(function->bars[0].kind, PCI_BAR_IO);
	assert_null(pci_bar_map(function, 0, 0, 4));
	expect_lines(1, "holds no memory");
	pci_open_ports(function);
	pci_open_ports(function);
	pci_enable(function);
	assert_int_equal(model_command_changes, 4);
	assert_int_equal(function->bars[0].size, 0x20);

	/* What does not decode stays so until it is enabled; then what was opened does. */
	set_up(NULL);
	model_bar(device, 0, 0x20, 1, 0xc100);
	model_bar(device, 1, 0x1000, 0, BAR_AT);
	model_scan();
	function = model_found("0000:00:04.0");
	pci_open(function);
	assert_int_equal(model_command_changes, 0);
	pci_enable(function);
	assert_int_equal(device->space[4], 6);
	pci_open_ports(function);
	pci_enable(function);
	assert_int_equal(device->space[4], 7);
	assert_int_equal(model_command_changes, 2);
}

static void test_bounds(void **state)
{
	struct pci_function *function;
	uint16_t port;

	(void)state;
	model_bar(device, 0, 0x20, 1, 0xc100);
	model_bar(device, 1, 0x1000, 0, BAR_AT);
	model_bar(device, 2, 0x1000, 0, 0); /* nobody placed it, and there is no window */
	function = open_it();
	expect_lines(1, "no room for BAR 2");
	host_console_capture(true);
	assert_null(pci_bar_map(function, 1, 0, 0x1001));
	assert_null(pci_bar_map(function, 1, 0x1000, 1));
	assert_null(pci_bar_map(function, 1, 0, 0));
	assert_null(pci_bar_map(function, 1, UINT64_MAX, 2));
	assert_null(pci_bar_map(function, 1, 2, UINT64_MAX));
	assert_null(pci_bar_map(function, 0, 0, 4)); /* ports */
	assert_null(pci_bar_map(function, 2, 0, 4));
	assert_null(pci_bar_map(function, 3, 0, 4)); /* none */
	assert_null(pci_bar_map(function, 6, 0, 4));
	assert_int_equal(pci_bar_port(function, 0, 0x1e, 4, &port), -ENOENT);
	assert_int_equal(pci_bar_port(function, 1, 0, 4, &port), -ENOENT);
	expect_lines(11, " holds no ");
}

static void test_bar_out_of_reach(void **state)
{
	struct pci_function *function;

	(void)state;
	model_bar(device, 0, 0x1000, 4, UINT64_C(1) << 52); /* beyond what the CPU addresses */
	function = open_it();
	assert_null(pci_bar_map(function, 0, 0, 4));
	expect_lines(1, "cannot be reached");
}

static void test_impossible_bars(void **state)
{
	struct pci_function *function;

	(void)state;
	model_bar(device, 0, 0x1000, 2, BAR_AT); /* below 1 MiB, long reserved */
	model_bar(device, 1, 0x1000, 6, BAR_AT); /* reserved */
	model_bar(device, 2, 0x1000, 0, BAR_AT);
	memset(device->writable + 0x18, 0xff, 4);
	device->writable[0x19] = 0xaf; /* holes in the mask */
	device->writable[0x18] = 0;
	model_bar(device, 5, 0x1000, 0, BAR_AT);
	device->space[0x24] |= 4; /* 64 bits, and there is no sixth half */
	function = open_it();
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
		assert_int_equal(function->bars[i].kind, PCI_BAR_NONE);
	expect_lines(4, "makes no sense");
}

/* ---- capabilities ---- */

static unsigned list_length(const struct pci_function *function, uint8_t id)
{
	unsigned count = 0;

	for (uint8_t at = 0; (at = pci_capability_next(function, id, at));)
		count++;
	return count;
}

static void test_capabilities(void **state)
{
	static const uint8_t body[14];
	struct pci_function *function;
	unsigned first, second;

	(void)state;
	first = model_capability(device, 9, body, 14);
	model_capability(device, 5, body, 6);
	second = model_capability(device, 9, body, 2);
	function = open_it();
	assert_int_equal(pci_capability_next(function, 9, 0), first);
	assert_int_equal(pci_capability_next(function, 9, (uint8_t)first), second);
	assert_int_equal(pci_capability_next(function, 9, (uint8_t)second), 0);
	assert_int_equal(pci_capability_next(function, 0x11, 0), 0);
	assert_int_equal(pci_capability_next(function, 9, 0x77), 0); /* no such position: nothing comes after it */
	expect_lines(0, NULL);
}

static void test_capability_loops(void **state)
{
	static const uint8_t body[2];
	struct pci_function *function;
	unsigned first, second;

	(void)state;
	first = model_capability(device, 9, body, 2);
	second = model_capability(device, 9, body, 2);
	device->space[second + 1] = (uint8_t)first;
	function = open_it();
	assert_int_equal(list_length(function, 9), 2);
	expect_lines(1, "loop");
}

static void test_capability_pointers(void **state)
{
	struct pci_function *function;

	(void)state;
	device->space[6] = 0x10;
	device->space[0x34] = 0x43; /* the lowest bits do not count */
	device->space[0x40] = 9;
	device->space[0x41] = 0x3c; /* into the header */
	function = open_it();
	assert_int_equal(list_length(function, 9), 1);
	expect_lines(1, "bad pointer");
}

static void test_as_many_capabilities_as_fit(void **state)
{
	struct pci_function *function;

	(void)state;
	device->space[6] = 0x10;
	device->space[0x34] = 0xfc;
	for (unsigned at = 0x40; at < 256; at += 4) {
		device->space[at] = 9;
		device->space[at + 1] = (uint8_t)(at == 0x40 ? 0 : at - 4);
	}
	function = open_it();
	assert_int_equal(list_length(function, 9), PCI_CAPABILITY_MAX);
	expect_lines(0, NULL);
}

static void test_no_list_without_its_bit(void **state)
{
	static const uint8_t body[2];
	struct pci_function *function;

	(void)state;
	model_capability(device, 9, body, 2);
	device->space[6] = 0;
	function = open_it();
	assert_int_equal(list_length(function, 9), 0);
}

/* ---- MSI-X ---- */

static uint8_t table[TABLE_BYTES];
static bool table_deaf;
static unsigned unmasked_changes;

static uint64_t read_table(void *context, uint64_t offset, unsigned width)
{
	uint64_t value = 0;

	(void)context;
	memcpy(&value, table + offset, width);
	return table_deaf ? UINT64_MAX : value;
}

static void write_table(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	(void)context;
	assert_int_equal(width, 4);
	if (offset % 16 != 12 && !(table[offset / 16 * 16 + 12] & 1))
		unmasked_changes++;
	memcpy(table + offset, &value, width);
}

static struct host_region table_region = {.base = BAR_AT, .size = TABLE_BYTES, .read = read_table, .write = write_table};

/* MSI-X with `size` entries, its table at `where` (offset and BAR). */
static unsigned add_msix(unsigned size, uint32_t where)
{
	uint8_t body[10] = {(uint8_t)(size - 1), (uint8_t)((size - 1) >> 8)};
	unsigned position;

	memcpy(body + 2, &where, 4);
	position = model_capability(device, 0x11, body, 10);
	device->writable[position + 3] = 0xc0;
	return position;
}

static unsigned runs;

static void count_run(struct event *event)
{
	(void)event;
	runs++;
}

static void test_msix(void **state)
{
	struct pci_function *function;
	struct pci_msix msix;
	struct event event;
	struct irq irq;
	unsigned position;
	uint32_t address, data;

	(void)state;
	for (unsigned i = 0; i < TABLE_BYTES; i++)
		table[i] = i % 16 == 12;
	table_deaf = false;
	unmasked_changes = runs = 0;
	host_mmio_add(&table_region);
	model_bar(device, 1, TABLE_BYTES, 0, BAR_AT);
	position = add_msix(3, 0x100 | 1);
	function = open_it();
	pci_enable(function);
	assert_int_equal(pci_msix_enable(&msix, function), 0);
	assert_int_equal(msix.size, 3);
	assert_int_equal(model_get(device, position + 2, 2) & 0xc000, 0x8000);
	assert_int_equal(model_get(device, 4, 2) & 0x400, 0x400);

	event_init(&event, count_run);
	assert_int_equal(pci_msix_attach(&msix, 3, &irq, &event), -EINVAL);
	assert_int_equal(pci_msix_attach(&msix, 2, &irq, &event), 0);
	assert_int_equal(table[0x100 + 2 * 16 + 12] & 1, 0);
	assert_int_equal(table[0x100 + 12] & 1, 1);
	memcpy(&address, table + 0x120, 4);
	memcpy(&data, table + 0x128, 4);
	assert_true(host_irq_raise_message(address, data));
	loop_turn(false, 0);
	assert_int_equal(runs, 1);
	assert_int_equal(irq.count, 1);

	pci_msix_detach(&msix, 2, &irq);
	assert_int_equal(table[0x100 + 2 * 16 + 12] & 1, 1);
	assert_int_equal(host_irq_attached(), 0);
	pci_msix_disable(&msix);
	assert_int_equal(model_get(device, position + 2, 2) & 0xc000, 0);
	assert_int_equal(model_get(device, 4, 2) & 0x400, 0);
	assert_int_equal(unmasked_changes, 0);
	expect_lines(0, NULL);
}

static void test_msix_refusals(void **state)
{
	struct pci_function *function;
	struct pci_msix msix;
	struct event event;
	struct irq irq;

	(void)state;
	model_bar(device, 1, TABLE_BYTES, 0, BAR_AT);
	add_msix(1, 1);
	host_mmio_add(&table_region);
	function = open_it();
	event_init(&event, count_run);
	assert_int_equal(pci_msix_enable(&msix, function), 0);
	host_message_limit = 0;
	assert_int_equal(pci_msix_attach(&msix, 0, &irq, &event), -ENODEV);
	host_message_limit = 1024;
	table_deaf = true;
	assert_int_equal(pci_msix_attach(&msix, 0, &irq, &event), -EIO);
	assert_int_equal(host_irq_attached(), 0);
	table_deaf = false;
	expect_lines(1, "does not keep");
}

static void expect_msix(int result, unsigned size, uint32_t where)
{
	struct pci_function *function;
	struct pci_msix msix;

	set_up(NULL);
	model_bar(device, 0, 0x20, 1, 0xc100);
	model_bar(device, 1, TABLE_BYTES, 0, BAR_AT);
	add_msix(size, where);
	function = open_it();
	assert_int_equal(pci_msix_enable(&msix, function), result);
	assert_int_equal(model_get(device, 0x42, 2) & 0x8000, result ? 0 : 0x8000);
	expect_lines(result ? 1 : 0, "holds no memory");
}

static void test_msix_tables(void **state)
{
	struct pci_msix msix;

	(void)state;
	assert_int_equal(pci_msix_enable(&msix, open_it()), -ENODEV);
	expect_msix(0, 256, 1);
	expect_msix(0, 1, 0xff0 | 1);
	expect_msix(-EIO, 257, 1);
	expect_msix(-EIO, 2, 0xff0 | 1);
	expect_msix(-EIO, 2048, 0xfffffff8 | 1);
	expect_msix(-EIO, 1, 0); /* ports */
	expect_msix(-EIO, 1, 2); /* no BAR */
	expect_msix(-EIO, 1, 7);
}

static void test_msix_cut_off(void **state)
{
	struct pci_msix msix;

	(void)state;
	device->space[6] = 0x10;
	device->space[0x34] = 0xf8;
	device->space[0xf8] = 0x11;
	assert_int_equal(pci_msix_enable(&msix, open_it()), -EIO);
	expect_lines(1, "does not fit");
}

/* ---- lines ---- */

static void test_lines(void **state)
{
	static const struct {
		uint8_t line, pin;
		int result;
	} cases[] = {{10, 1, 0}, {10, 0, -ENOENT}, {0, 1, -ENOENT}, {0xff, 1, -ENOENT}, {23, 4, 0}};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum irq_trigger trigger = IRQ_TRIGGER_EDGE;
		unsigned gsi = 0;

		set_up(state);
		device->space[0x3c] = cases[i].line;
		device->space[0x3d] = cases[i].pin;
		assert_int_equal(pci_intx_line(open_it(), &gsi, &trigger), cases[i].result);
		assert_int_equal(trigger, cases[i].result ? IRQ_TRIGGER_EDGE : IRQ_TRIGGER_LEVEL);
		assert_int_equal(gsi, cases[i].result ? 0 : cases[i].line);
	}
}

static void test_ports_reach_256_bytes(void **state)
{
	(void)state;
	assert_int_equal(pci_read32(open_it(), 0x100), UINT32_MAX);
	assert_int_equal(pci_read16(open_it(), 0xfe), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bars, set_up),
		cmocka_unit_test_setup(test_decoding, set_up),
		cmocka_unit_test_setup(test_bounds, set_up),
		cmocka_unit_test_setup(test_bar_out_of_reach, set_up),
		cmocka_unit_test_setup(test_impossible_bars, set_up),
		cmocka_unit_test_setup(test_capabilities, set_up),
		cmocka_unit_test_setup(test_capability_loops, set_up),
		cmocka_unit_test_setup(test_capability_pointers, set_up),
		cmocka_unit_test_setup(test_as_many_capabilities_as_fit, set_up),
		cmocka_unit_test_setup(test_no_list_without_its_bit, set_up),
		cmocka_unit_test_setup(test_msix, set_up),
		cmocka_unit_test_setup(test_msix_refusals, set_up),
		cmocka_unit_test_setup(test_msix_tables, set_up),
		cmocka_unit_test_setup(test_msix_cut_off, set_up),
		cmocka_unit_test_setup(test_lines, set_up),
		cmocka_unit_test_setup(test_ports_reach_256_bytes, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
