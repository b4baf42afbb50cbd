/*
 * Counters of known rate that a PC may have, as references to measure others by: the ACPI power-management timer and the 8254 PIT.
 * A microvm may lack both, so start() looks whether it is there. Nothing here waits. The real-time clock's ticks are too coarse for a
 * boot that takes milliseconds.
 */
#include <arch/mmio.h>
#include <base/util.h>

#include "local.h"

/* ---- ACPI PM timer: 24 bits at least, free-running ---- */

static bool pm_start(void) { return fadt.pm_timer.width == 4 && fadt_read(&fadt.pm_timer) != UINT32_MAX; }

static uint32_t pm_read(void) { return fadt_read(&fadt.pm_timer); }

static void nothing(void) {}

/* ---- PIT: channel 2, whose gate is a bit of port 61h, counting down from 65536 ---- */

#define PIT_CHANNEL_2 0x42
#define PIT_COMMAND 0x43
#define PIT_CONTROL 0x61
#define CONTROL_GATE 0x01
#define CONTROL_SPEAKER 0x02
#define COMMAND_RATE 0xb4   /* channel 2, both bytes, mode 2 (rate generator), binary */
#define COMMAND_LATCH 0x80  /* channel 2 */
#define COMMAND_STATUS 0xe8 /* read back the status of channel 2 */
#define STATUS_MODE 0x3f    /* access, mode and binary bits, as in the command */

static uint8_t pit_control;

static bool pit_start(void)
{
	pit_control = pio_read8(PIT_CONTROL);
	pio_write8(PIT_CONTROL, (uint8_t)((pit_control & ~CONTROL_SPEAKER) | CONTROL_GATE));
	pio_write8(PIT_COMMAND, COMMAND_RATE);
	pio_write8(PIT_CHANNEL_2, 0);
	pio_write8(PIT_CHANNEL_2, 0);
	pio_write8(PIT_COMMAND, COMMAND_STATUS);
	return (pio_read8(PIT_CHANNEL_2) & STATUS_MODE) == (COMMAND_RATE & STATUS_MODE);
}

static uint32_t pit_read(void)
{
	uint32_t low;

	pio_write8(PIT_COMMAND, COMMAND_LATCH);
	low = pio_read8(PIT_CHANNEL_2);
	return 0u - (low | (uint32_t)pio_read8(PIT_CHANNEL_2) << 8);
}

static void pit_stop(void) { pio_write8(PIT_CONTROL, (uint8_t)(pit_control & ~(CONTROL_SPEAKER | CONTROL_GATE))); }

const struct reference references[] = {
	{"ACPI PM timer", 3579545, 0xffffff, pm_start, pm_read, nothing},
	{"PIT", 1193182, 0xffff, pit_start, pit_read, pit_stop},
};
const unsigned reference_count = ARRAY_SIZE(references);
