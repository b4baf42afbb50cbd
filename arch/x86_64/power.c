/*
 * The power button, where it is fixed hardware: a bit of ACPI's PM1 event registers, and the SCI, the interrupt of those.
 *
 * Registers and interrupt are ACPI's only once it was enabled, if need be through the firmware. The SCI is level-triggered and may have
 * sources that firmware left on: when it comes again and again for none of ours it is given up, and the button with it.
 */
#include <arch/platform.h>

#include <arch/irq.h>
#include <arch/mmio.h>
#include <base/event.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define PM1_BUTTON BIT64(8)
#define PM1_SCI_ENABLE 1u
#define POLLS_MAX 10000u /* for the firmware to enable ACPI */
#define STRANGERS_MAX 100u

static struct irq sci;
static unsigned strangers;

/* The enable register is the second half of the event registers. */
static struct fadt_register enable_of(const struct fadt_register *status)
{
	struct fadt_register enable = *status;

	if (enable.memory)
		enable.memory = (volatile uint8_t *)enable.memory + fadt.pm1_event_length / 2;
	else
		enable.port = (uint16_t)(enable.port + fadt.pm1_event_length / 2);
	return enable;
}

static bool enable_acpi(void)
{
	if (fadt_read(&fadt.pm1a_control) & PM1_SCI_ENABLE)
		return true;
	if (!fadt.smi_command || !fadt.acpi_enable)
		return false;
	pio_write8(fadt.smi_command, fadt.acpi_enable);
	for (unsigned i = 0; i < POLLS_MAX; i++)
		if (fadt_read(&fadt.pm1a_control) & PM1_SCI_ENABLE)
			return true;
	return false;
}

bool arch_power_attach(struct event *event)
{
	const struct fadt_register *blocks[] = {&fadt.pm1a_event, &fadt.pm1b_event};

	if (!fadt.power_button || fadt.pm1_event_length < 4 || !enable_acpi() ||
	    irq_attach_line(&sci, fadt.sci, IRQ_TRIGGER_ISA, event) != 0)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
		struct fadt_register enable = enable_of(blocks[i]);

		fadt_write(blocks[i], PM1_BUTTON); /* a one clears it */
		fadt_write(&enable, PM1_BUTTON);
	}
	return true;
}

bool arch_power_pressed(void)
{
	bool pressed = (fadt_read(&fadt.pm1a_event) | fadt_read(&fadt.pm1b_event)) & PM1_BUTTON;

	fadt_write(&fadt.pm1a_event, PM1_BUTTON);
	fadt_write(&fadt.pm1b_event, PM1_BUTTON);
	if (pressed || ++strangers < STRANGERS_MAX) {
		irq_rearm(&sci);
		return pressed;
	}
	log_warn("power: the SCI does not stop, the power button is given up");
	irq_detach(&sci);
	return false;
}
