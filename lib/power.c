/*
 * The power button of the machine ends the program, as exit(0) does.
 *
 * Nobody waits for it at boot: in its first turn the loop looks for one in the fixed hardware; for one behind a Generic Event Device a little
 * later.
 */
#include <base/power.h>

#include <stdlib.h>

#include <arch/clock.h>
#include <arch/platform.h>
#include <base/acpi.h>
#include <base/aml.h>
#include <base/event.h>
#include <base/log.h>

#define LATER_NS 100000000
#define EVENT_DEVICE "ACPI0013"

static struct timer timer;
static struct event event;

static void pressed(void)
{
	log_info("power button: the program ends");
	exit(0);
}

static void on_event(struct event *marked)
{
	(void)marked;
	if (arch_power_pressed())
		pressed();
}

/* Takes the interpreter of ACPI's tables. */
static void look_for_device(struct timer *due)
{
	(void)due;
	if (aml_start()) {
		aml_listen(pressed);
		log_debug("power button: event device");
	}
}

static void listen(struct event *marked)
{
	event_init(marked, on_event);
	if (arch_power_attach(marked))
		log_debug("power button: fixed hardware");
	else if (acpi_mentions(EVENT_DEVICE))
		timer_start(&timer, clock_ns() + LATER_NS, look_for_device);
}

void power_init(void)
{
	event_init(&event, listen);
	event_mark(&event);
}
