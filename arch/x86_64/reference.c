/*
 * Counters of known rate that a PC may have, as references to measure others by: the ACPI power-management timer, the 8254 PIT and
 * the real-time clock. A microvm may lack each of them, so start() looks whether it is there. Nothing here waits.
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

/* ---- RTC: its periodic flag, 8192 times a second, counted by whoever reads often enough ---- */

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_A 0x0a
#define RTC_B 0x0b
#define RTC_C 0x0c
#define A_DIVIDER 0x70
#define A_32768_HZ 0x20
#define A_RATE_8192 0x03
#define B_PERIODIC 0x40
#define C_PERIODIC 0x40

static uint8_t rtc_a, rtc_b;
static uint32_t rtc_count;

static uint8_t rtc_get(uint8_t reg)
{
	pio_write8(RTC_INDEX, reg);
	return pio_read8(RTC_DATA);
}

static void rtc_set(uint8_t reg, uint8_t value)
{
	pio_write8(RTC_INDEX, reg);
	pio_write8(RTC_DATA, value);
}

static bool rtc_start(void)
{
	rtc_a = rtc_get(RTC_A);
	rtc_b = rtc_get(RTC_B);
	/* A missing one reads as all ones. */
	if ((rtc_a & A_DIVIDER) != A_32768_HZ)
		return false;
	rtc_set(RTC_A, A_32768_HZ | A_RATE_8192);
	rtc_set(RTC_B, rtc_b | B_PERIODIC); /* emulations count only then; its line is masked */
	rtc_get(RTC_C);
	return true;
}

static uint32_t rtc_read(void)
{
	if (rtc_get(RTC_C) & C_PERIODIC)
		rtc_count++;
	return rtc_count;
}

static void rtc_stop(void)
{
	rtc_set(RTC_B, rtc_b);
	rtc_set(RTC_A, rtc_a);
	rtc_get(RTC_C);
}

const struct reference references[] = {
	{"ACPI PM timer", 3579545, 0xffffff, pm_start, pm_read, nothing},
	{"PIT", 1193182, 0xffff, pit_start, pit_read, pit_stop},
	{"RTC", 8192, UINT32_MAX, rtc_start, rtc_read, rtc_stop},
};
const unsigned reference_count = ARRAY_SIZE(references);
