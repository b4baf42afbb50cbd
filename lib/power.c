/*
 * The power button of the machine ends the program, as exit(0) does.
 *
 * Nobody waits for it at boot: a little later the loop looks for one, in the fixed hardware, or behind a Generic Event Device, which takes the
 * interpreter of ACPI's tables.
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

static void listen(struct timer *due)
{
	(void)due;
	event_init(&event, on_event);
	if (arch_power_attach(&event)) {
		log_debug("power button: fixed hardware");
	} else if (acpi_mentions(EVENT_DEVICE) && aml_start()) {
		aml_listen(pressed);
		log_debug("power button: event device");
	}
}

static void later(struct event *marked)
{
	(void)marked;
	timer_start(&timer, clock_ns() + LATER_NS, listen);
}

/* A program that never waits needs no clock for this. */
void power_init(void)
{
	event_init(&event, later);
	event_mark(&event);
}
