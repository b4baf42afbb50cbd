/*
 * arch/host itself: the rules of the seam, as a machine keeps them, hold for the machine that tests run on.
 */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/irq.h>
#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/boot_info.h>
#include <base/event.h>
#include <base/page.h>

static const struct boot_info *boot;
static unsigned runs;

static int set_up(void **state)
{
	(void)state;
	boot = host_boot(1 << 20);
	host_clock_set(0);
	host_console_capture(true);
	runs = 0;
	return 0;
}

static void count_run(struct event *event)
{
	(void)event;
	runs++;
}

static void turn_expect(unsigned wanted)
{
	runs = 0;
	loop_turn(false, LOOP_FOREVER);
	assert_int_equal(runs, wanted);
}

/* What aborts is checked in a child. */
static void expect_abort(void (*function)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		freopen("/dev/null", "w", stderr);
		signal(SIGABRT, SIG_DFL);
		function();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- messages and lines ---- */

static void test_messages(void **state)
{
	struct irq irqs[3];
	struct irq_message messages[3];
	struct event events[3];

	(void)state;
	host_message_limit = 2;
	for (unsigned i = 0; i < 3; i++) {
		event_init(&events[i], count_run);
		assert_int_equal(irq_attach_message(&irqs[i], &events[i], &messages[i]), i < 2 ? 0 : -ENOSPC);
	}
	assert_true(messages[0].address != messages[1].address && messages[0].data != messages[1].data);
	assert_int_equal(irqs[0].gsi, IRQ_NO_GSI);
	assert_true(host_irq_raise_message(messages[1].address, messages[1].data));
	assert_true(host_irq_raise_message(messages[1].address, messages[1].data));
	assert_int_equal(irqs[1].count, 2);
	assert_int_equal(irqs[0].count, 0);
	turn_expect(1);

	/* A message that nobody has, in address or data. */
	assert_false(host_irq_raise_message(messages[0].address, messages[1].data));
	assert_false(host_irq_raise_message(0, 0));
	assert_false(host_irq_raise_message(UINT64_MAX, UINT32_MAX));
	assert_int_equal(host_stray_count(), 3);
	turn_expect(0);

	irq_detach(&irqs[0]);
	assert_false(host_irq_raise_message(messages[0].address, messages[0].data));
	assert_int_equal(host_irq_attached(), 1);
	assert_int_equal(irq_attach_message(&irqs[2], &events[2], &messages[2]), 0);
	irq_rearm(&irqs[2]);
	irq_detach(&irqs[1]);
	irq_detach(&irqs[2]);
	assert_int_equal(host_irq_attached(), 0);
	host_message_limit = 0;
	assert_int_equal(irq_attach_message(&irqs[0], &events[0], &messages[0]), -ENODEV);
}

/* What is raised while interrupts are masked is taken when they are not, once, however often it was raised. */
static void test_masked_message(void **state)
{
	struct irq irq;
	struct irq_message message;
	struct event event;

	(void)state;
	event_init(&event, count_run);
	assert_int_equal(irq_attach_message(&irq, &event, &message), 0);

	unsigned long outer = cpu_irq_save(), inner = cpu_irq_save();

	host_irq_raise_message(message.address, message.data);
	host_irq_raise_message(message.address, message.data);
	cpu_irq_restore(inner);
	assert_false(event.marked);
	cpu_irq_restore(outer);
	assert_true(event.marked);
	assert_int_equal(irq.count, 1);
	turn_expect(1);

	/* Detached before it was taken: it is gone. */
	outer = cpu_irq_save();
	host_irq_raise_message(message.address, message.data);
	irq_detach(&irq);
	cpu_irq_restore(outer);
	turn_expect(0);
}

static void test_edge_line(void **state)
{
	struct irq irq;
	struct event event;

	(void)state;
	event_init(&event, count_run);
	assert_int_equal(irq_attach_line(&irq, HOST_LINES, IRQ_TRIGGER_ISA, &event), -EINVAL);
	assert_int_equal(irq_attach_line(&irq, UINT32_MAX, IRQ_TRIGGER_ISA, &event), -EINVAL);
	assert_int_equal(count_in(host_console_text(), "\n"), 2);
	assert_int_equal(irq_attach_line(&irq, 4, IRQ_TRIGGER_ISA, &event), 0);
	host_irq_set_line(4, true);
	turn_expect(1);
	host_irq_set_line(4, true); /* no edge */
	turn_expect(0);
	host_irq_set_line(4, false);
	host_irq_set_line(4, true);
	turn_expect(1);
	assert_false(host_irq_line_masked(4));
	irq_rearm(&irq);
	turn_expect(0);
	irq_detach(&irq);
}

/* A shared level line: masked until each source that was marked has rearmed; still asserted then, it fires again. */
static void test_level_line(void **state)
{
	struct irq x, y;
	struct event event_x, event_y;

	(void)state;
	event_init(&event_x, count_run);
	event_init(&event_y, count_run);
	assert_int_equal(irq_attach_line(&x, 11, IRQ_TRIGGER_LEVEL, &event_x), 0);
	assert_int_equal(irq_attach_line(&y, 11, IRQ_TRIGGER_LEVEL, &event_y), 0);
	host_irq_set_line(11, true);
	assert_true(host_irq_line_masked(11));
	turn_expect(2);
	irq_rearm(&x);
	turn_expect(0);
	assert_true(host_irq_line_masked(11));
	irq_rearm(&y);
	assert_true(host_irq_line_masked(11)); /* fired again: still asserted */
	turn_expect(2);
	assert_int_equal(x.count, 2);
	host_irq_set_line(11, false);
	irq_rearm(&x);
	irq_rearm(&y);
	assert_false(host_irq_line_masked(11));
	turn_expect(0);

	/* One goes while it holds the mask. */
	host_irq_set_line(11, true);
	turn_expect(2);
	irq_rearm(&x);
	irq_detach(&y);
	turn_expect(1);
	irq_detach(&x);
	assert_int_equal(host_irq_attached(), 0);

	/* One comes to a line that is asserted. */
	assert_int_equal(irq_attach_line(&x, 11, IRQ_TRIGGER_LEVEL, &event_x), 0);
	turn_expect(1);
	irq_detach(&x);
}

/* ---- registers ---- */

struct registers {
	uint64_t offset, value;
	unsigned width, reads, writes;
};

static uint64_t read_register(void *context, uint64_t offset, unsigned width)
{
	struct registers *registers = context;

	registers->reads++;
	registers->offset = offset;
	registers->width = width;
	return UINT64_C(0x8877665544332211);
}

static void write_register(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	struct registers *registers = context;

	registers->writes++;
	registers->offset = offset;
	registers->width = width;
	registers->value = value;
}

static void test_registers(void **state)
{
	struct registers log = {0};
	struct host_region region = {.base = 0xd0000200,
	                             .size = 0x200,
	                             .read = read_register,
	                             .write = write_register,
	                             .context = &log};

	(void)state;
	host_mmio_add(&region);

	volatile char *reg = mmu_map_device(0xd0000200, 0x200);

	assert_non_null(reg);
	assert_ptr_equal(reg, mmu_map_device(0xd0000200, 0x200));
	assert_ptr_equal(reg + 0x10, mmu_map_device(0xd0000210, 4));
	assert_int_equal(mmio_read32(reg + 0x1fc), 0x44332211);
	assert_true(log.offset == 0x1fc && log.width == 4 && log.reads == 1);
	assert_int_equal(mmio_read16(reg + 2), 0x2211);
	assert_int_equal(mmio_read8(reg + 1), 0x11);
	assert_true(log.offset == 1 && log.width == 1 && log.reads == 3);
	mmio_write32(reg + 4, 0xdeadbeef);
	assert_true(log.value == 0xdeadbeef && log.width == 4 && log.writes == 1);
	mmio_write16(reg, 0xfeed);
	assert_true(log.value == 0xfeed && log.width == 2);
	mmio_write8(reg + 3, 0xab);
	assert_true(log.value == 0xab && log.offset == 3 && log.width == 1);

	/* Nothing there: all ones. */
	assert_int_equal(mmio_read32(reg + 0x200), 0xffffffff);
	mmio_write8(reg - 1, 1);
	assert_int_equal(log.writes, 3);
	assert_int_equal(host_stray_count(), 2);
	host_mmio_remove(&region);
	assert_int_equal(mmio_read8(reg), 0xff);
	assert_int_equal(host_stray_count(), 3);

	/* Memory is memory. */
	uint32_t word = 5;

	mmio_write32(&word, 6);
	assert_int_equal(word, 6);
	assert_int_equal(mmio_read16(&word), 6);
	assert_int_equal(host_stray_count(), 3);
}

static void test_what_cannot_be_mapped(void **state)
{
	uint64_t ram = boot->memory[0].base;

	(void)state;
	assert_null(mmu_map_device(0xd0000000, 0));
	assert_null(mmu_map_device(UINT64_MAX - 10, 100));
	assert_null(mmu_map_device(UINT64_C(1) << 60, 4096));
	assert_null(mmu_map_device(ram, 4096));
	assert_null(mmu_map_device(ram - 4096, UINT64_C(1) << 30));
	assert_null(mmu_map_device(ram + boot->memory[0].size - 1, 8));
	assert_non_null(mmu_map_device(ram + boot->memory[0].size, 8));
	assert_non_null(mmu_map_device(0, 8));
}

static void misalign(void) { mmio_read32((volatile char *)mmu_map_device(0xd0000000, 8) + 2); }

static void overlap(void)
{
	static struct host_region first = {.base = 0x1000, .size = 0x100}, second = {.base = 0x10ff, .size = 1};

	host_mmio_add(&first);
	host_mmio_add(&second);
}

static void test_ports(void **state)
{
	struct registers log = {0};
	struct host_region region = {.base = 0xc000,
	                             .size = 0x20,
	                             .read = read_register,
	                             .write = write_register,
	                             .context = &log};

	(void)state;
	assert_true(pio_present());
	host_pio_add(&region);
	assert_int_equal(pio_read32(0xc010), 0x44332211);
	assert_true(log.offset == 0x10 && log.width == 4);
	pio_write16(0xc01e, 77);
	assert_true(log.offset == 0x1e && log.value == 77);
	assert_int_equal(pio_read16(0xc01f), 0xffff); /* over the end */
	assert_int_equal(pio_read8(0xc020), 0xff);
	host_pio_remove(&region);
	assert_int_equal(pio_read8(0xc000), 0xff);
	assert_int_equal(host_stray_count(), 3);
	expect_abort(misalign);
	expect_abort(overlap);
}

static uint32_t read_config(void *context, uint16_t bdf, uint16_t offset, unsigned width)
{
	*(unsigned *)context += width;
	return (uint32_t)bdf << 16 | offset;
}

static void read_config_too_far(void) { arch_pci_ports_read(0, 256, 4); }

static void test_pci_ports(void **state)
{
	unsigned width = 0;

	(void)state;
	assert_false(arch_pci_ports_present());
	host_pci_ports_set(read_config, NULL, &width);
	assert_true(arch_pci_ports_present());
	assert_int_equal(arch_pci_ports_read(0x20, 0x3c, 4), 0x20003c);
	assert_int_equal(width, 4);
	arch_pci_ports_write(0x20, 0x3c, 1, 5);
	expect_abort(read_config_too_far);
}

static uint64_t shifted(const void *virt) { return (uintptr_t)virt + 16; }

static void test_memory(void **state)
{
	char *page = page_alloc(1, PAGE_SIZE), table[64];

	(void)state;
	assert_true(host_is_ram(mmu_virt_to_phys(page), PAGE_SIZE));
	assert_false(host_is_ram((uintptr_t)table, 1));
	assert_false(host_is_ram(boot->memory[0].base, boot->memory[0].size + 1));
	assert_int_equal(mmu_virt_to_phys(page), (uintptr_t)page);
	host_virt_to_phys_hook = shifted;
	assert_int_equal(mmu_virt_to_phys(page), (uintptr_t)page + 16);

	assert_ptr_equal(mmu_map_firmware((uintptr_t)page, 100), page);
	assert_null(mmu_map_firmware((uintptr_t)page, 0));
	assert_null(mmu_map_firmware(0xe0000, 16));
	host_firmware_add(0xe0000, table, sizeof(table));
	assert_ptr_equal(mmu_map_firmware(0xe0010, sizeof(table) - 16), table + 16);
	assert_null(mmu_map_firmware(0xe0010, sizeof(table) - 15));
	assert_null(mmu_map_firmware(0xe0000, UINT64_MAX));
}

/* ---- mask, clock, console, end ---- */

static void restore_out_of_order(void)
{
	unsigned long outer = cpu_irq_save();

	cpu_irq_save();
	cpu_irq_restore(outer);
}

static void idle_unmasked(void)
{
	clock_arm(0);
	cpu_idle();
}

static void test_mask(void **state)
{
	(void)state;
	expect_abort(restore_out_of_order);
	expect_abort(idle_unmasked);
}

static void test_clock(void **state)
{
	unsigned long masked;

	(void)state;
	assert_int_equal(clock_ns(), 0);
	host_clock_advance(500);
	assert_int_equal(clock_ns(), 500);
	assert_int_equal(clock_ticks(), 500 * clock_hz() / 1000000000);
	cpu_relax();
	assert_int_equal(clock_ns(), 1500);
	clock_arm(9999);
	masked = cpu_irq_save();
	cpu_idle();
	assert_int_equal(clock_ns(), 9999);
	clock_arm(5); /* in the past: at once */
	cpu_idle();
	cpu_irq_restore(masked);
	assert_int_equal(clock_ns(), 9999);
}

static void test_console(void **state)
{
	struct event event;

	(void)state;
	event_init(&event, count_run);
	assert_int_equal(arch_console_read(), -1);
	arch_console_attach(&event);
	host_console_input("a\xff", 2);
	turn_expect(1);
	assert_int_equal(arch_console_read(), 'a');
	assert_int_equal(arch_console_read(), 0xff);
	assert_int_equal(arch_console_read(), -1);
	arch_console_write("ab", 2);
	arch_console_write("c\n", 2);
	assert_string_equal(host_console_text(), "abc\n");
}

static void end_with_three(void)
{
	cpu_irq_save();
	arch_end(3);
}

static void end_by_panic(void) { panic("code %d", 7); }

static void test_end(void **state)
{
	(void)state;
	assert_int_equal(host_run(end_with_three), HOST_ENDED);
	assert_int_equal(host_end_status, 3);
	assert_int_equal(host_run(end_by_panic), HOST_PANICKED);
	assert_string_equal(host_panic_text, "code 7");
	assert_int_equal(host_run(cpu_relax), HOST_RETURNED);
	cpu_irq_restore(cpu_irq_save()); /* the mask is as it was */
	expect_abort(end_by_panic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_messages, set_up),  cmocka_unit_test_setup(test_masked_message, set_up),
		cmocka_unit_test_setup(test_edge_line, set_up), cmocka_unit_test_setup(test_level_line, set_up),
		cmocka_unit_test_setup(test_registers, set_up), cmocka_unit_test_setup(test_what_cannot_be_mapped, set_up),
		cmocka_unit_test_setup(test_ports, set_up),     cmocka_unit_test_setup(test_pci_ports, set_up),
		cmocka_unit_test_setup(test_memory, set_up),    cmocka_unit_test_setup(test_mask, set_up),
		cmocka_unit_test_setup(test_clock, set_up),     cmocka_unit_test_setup(test_console, set_up),
		cmocka_unit_test_setup(test_end, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
