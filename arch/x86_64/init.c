/*
 * The platform's start, once there is memory and ACPI's tables are known.
 */
#include <arch/cpu.h>
#include <arch/mmio.h>
#include <arch/platform.h>

#include "local.h"

#define PIC_MASTER_DATA 0x21
#define PIC_SLAVE_DATA 0xa1
#define PIC_MASK_ALL 0xff

const char arch_name[] = "x86_64";

void arch_init(const struct boot_info *boot)
{
	wall_init(boot);
	/* The 8259s are not used. Where there are none, nothing hears this. */
	pio_write8(PIC_MASTER_DATA, PIC_MASK_ALL);
	pio_write8(PIC_SLAVE_DATA, PIC_MASK_ALL);
	fadt_init();
	madt_init();
	lapic_init();
	smp_start();
	ioapic_init();
	clock_init();
	smp_join();
	cpu_irq_restore(IMPL_RFLAGS_IF);
}

void arch_init_late(void) { clock_refine(); }
