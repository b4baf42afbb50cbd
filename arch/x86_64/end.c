/*
 * The end of the image: the status for the VMM at the debug-exit port, then power-off by ACPI, then a reset by whatever can do
 * it, and at last a halt. Each step is for machines on which the ones before it do nothing.
 */
#include <arch/platform.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/mmio.h>
#include <base/acpi.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define DEBUG_EXIT_PORT 0xf4
#define DEBUG_EXIT_SUCCESS 0x10
#define DEBUG_EXIT_FAILURE 0x11

#define PM1_SLEEP_TYPE(type) ((uint32_t)(type) << 10)
#define PM1_SLEEP_ENABLE BIT64(13)
#define PM1_SCI_ENABLE BIT64(0)
#define SLEEP_CONTROL_TYPE(type) ((uint32_t)(type) << 2)
#define SLEEP_CONTROL_ENABLE BIT64(5)

#define RESET_CONTROL_PORT 0xcf9
#define RESET_HARD 0x02
#define RESET_NOW 0x04
#define I8042_COMMAND_PORT 0x64
#define I8042_PULSE_RESET 0xfe

#define POWER_OFF_NS 200000000 /* a VMM may take its time to notice */
#define RESET_NS 20000000

static void wait(uint64_t ns)
{
	uint64_t start = clock_ns();

	while (clock_hz() && clock_ns() - start < ns)
		cpu_relax();
}

/* The end may be a panic's: the tables that name the sleep type were mapped at the start, for reading only. */
static void power_off(void)
{
	uint8_t sleep_type[2];

	if (!(fadt.pm1a_control.width || fadt.sleep_control.width) || !acpi_soft_off(sleep_type))
		return;
	if (fadt.sleep_control.width) {
		fadt_write(&fadt.sleep_control, SLEEP_CONTROL_TYPE(sleep_type[0]) | SLEEP_CONTROL_ENABLE);
	} else {
		fadt_write(&fadt.pm1a_control, PM1_SCI_ENABLE | PM1_SLEEP_TYPE(sleep_type[0]) | PM1_SLEEP_ENABLE);
		fadt_write(&fadt.pm1b_control, PM1_SCI_ENABLE | PM1_SLEEP_TYPE(sleep_type[1]) | PM1_SLEEP_ENABLE);
	}
	wait(POWER_OFF_NS);
}

static void reset(void)
{
	const struct descriptor_register no_idt = {0};

	fadt_write(&fadt.reset, fadt.reset_value);
	wait(RESET_NS);
	pio_write8(RESET_CONTROL_PORT, RESET_HARD);
	pio_write8(RESET_CONTROL_PORT, RESET_HARD | RESET_NOW);
	wait(RESET_NS);
	pio_write8(I8042_COMMAND_PORT, I8042_PULSE_RESET);
	wait(RESET_NS);
	/* A trap without a gate for it shuts the CPU down, which machines take for a reset. */
	__asm__ volatile("lidt %0; int3" : : "m"(no_idt));
}

void arch_end(int status)
{
	cpu_irq_save();
	smp_stop();
	serial_drain();
	pio_write8(DEBUG_EXIT_PORT, status == 0 ? DEBUG_EXIT_SUCCESS : DEBUG_EXIT_FAILURE);
	power_off();
	reset();
	for (;;)
		__asm__ volatile("hlt");
}
