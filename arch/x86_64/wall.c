/*
 * The time of day, as it was at boot: what the firmware told (EFI), kvm-clock, or the real-time clock of a PC. A machine may have none of
 * them. It is read when somebody first asks, and the TSC counts from there.
 */
#include <arch/clock.h>

#include <string.h>

#include <arch/mmio.h>
#include <base/acpi.h>
#include <base/boot_info.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define NS_PER_S UINT64_C(1000000000)
#define DAY UINT64_C(86400)

/* ---- the real-time clock ---- */

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
enum { RTC_SECONDS = 0, RTC_MINUTES = 2, RTC_HOURS = 4, RTC_DAY = 7, RTC_MONTH = 8, RTC_YEAR = 9, RTC_A = 10, RTC_B = 11 };
#define A_UPDATING 0x80
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define HOUR_PM 0x80
#define UPDATES_MAX 10000u /* looks at an update, of which each leaves the guest: some milliseconds */
#define FADT_CENTURY 108

struct date {
	uint8_t second, minute, hour, day, month, year, century;
};

static uint8_t rtc_get(uint8_t reg)
{
	pio_write8(RTC_INDEX, reg);
	return pio_read8(RTC_DATA);
}

/* Where the century is; 0: nowhere. */
static uint8_t century_register(void)
{
	const struct acpi_header *fadt_table = acpi_table("FACP", 0);

	return fadt_table && fadt_table->length > FADT_CENTURY ? ((const uint8_t *)fadt_table)[FADT_CENTURY] : 0;
}

static struct date rtc_date(uint8_t century)
{
	return (struct date){rtc_get(RTC_SECONDS),
	                     rtc_get(RTC_MINUTES),
	                     rtc_get(RTC_HOURS),
	                     rtc_get(RTC_DAY),
	                     rtc_get(RTC_MONTH),
	                     rtc_get(RTC_YEAR),
	                     century ? rtc_get(century) : 0};
}

static unsigned plain(uint8_t value, uint8_t mode) { return mode & B_BINARY ? value : (value >> 4) * 10u + (value & 15u); }

/* Days since 1970, by a calendar whose years begin in March: the leap day is their last one. */
static uint64_t days(unsigned year, unsigned month, unsigned day)
{
	unsigned y = month < 3 ? year - 1 : year, m = (month + 9) % 12;

	return y * UINT64_C(365) + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

static uint64_t seconds(const struct date *date, uint8_t mode)
{
	unsigned second = plain(date->second, mode), minute = plain(date->minute, mode), day = plain(date->day, mode);
	unsigned hour = plain(mode & B_24_HOURS ? date->hour : date->hour & (uint8_t)~HOUR_PM, mode);
	unsigned month = plain(date->month, mode), year = plain(date->year, mode), century = plain(date->century, mode);

	if (!(mode & B_24_HOURS))
		hour = hour % 12 + (date->hour & HOUR_PM ? 12 : 0);
	if (second > 59 || minute > 59 || hour > 23 || !day || day > 31 || !month || month > 12 || year > 99)
		return 0;
	year += century >= 19 && century <= 99 ? century * 100 : year < 70 ? 2000 : 1900;
	return year < 1970 ? 0 : days(year, month, day) * DAY + hour * 3600u + minute * 60u + second;
}

/* Seconds since 1970, now; 0: there is no such clock. */
static uint64_t rtc_now(void)
{
	uint8_t century = century_register(), mode = rtc_get(RTC_B);
	struct date date = rtc_date(century), again;

	/* A date is read between two updates when it reads the same twice, and none is under way. */
	for (unsigned tries = 0; tries < UPDATES_MAX; tries++) {
		uint8_t state = rtc_get(RTC_A);

		if (state == UINT8_MAX)
			return 0;
		if (state & A_UPDATING)
			continue;
		again = rtc_date(century);
		if (memcmp(&date, &again, sizeof(date)) == 0)
			return seconds(&date, mode);
		date = again;
	}
	return 0;
}

/* ---- kvm-clock ---- */

#define MSR_KVM_WALL_CLOCK 0x4b564d00

/* pvclock_wall_clock: when kvm-clock's time was zero. */
struct kvm_wall_clock {
	uint32_t version, seconds, nanoseconds;
};

/* Nanoseconds since 1970, at boot; 0: it is not offered. */
static uint64_t kvm_boot(void)
{
	static volatile struct kvm_wall_clock wall __attribute__((aligned(16)));
	uint64_t since, uptime = rates_kvm_time(), now = clock_ns();

	if (!uptime)
		return 0;
	wrmsr(MSR_KVM_WALL_CLOCK, (uintptr_t)&wall);
	since = wall.seconds * NS_PER_S + wall.nanoseconds;
	return wall.seconds && since + uptime > now ? since + uptime - now : 0;
}

/* ---- */

static uint64_t told; /* by the firmware: seconds since 1970, at boot */

void wall_init(const struct boot_info *boot) { told = boot->epoch; }

uint64_t clock_epoch_ns(void)
{
	static uint64_t epoch, asked;
	uint64_t now;

	if (asked)
		return epoch;
	asked = true;
	epoch = told ? told * NS_PER_S : kvm_boot();
	if (!epoch && (now = rtc_now()) != 0)
		epoch = now * NS_PER_S - clock_ns();
	return epoch;
}
