/*
 * The software device's types for wires to chips, for clocks and for protected memory: what a test sees and sets of each.
 */
#ifndef SWDEV_WIRE_H
#define SWDEV_WIRE_H

#include "swdev.h"

/* ---- i2c: a memory chip at address 0x50 and one at 0x250 (10 bits); a write's first byte is where it starts ---- */
struct swdev_i2c_bus {
	uint8_t chips[2][256], at[2];
	bool failing; /* the rest of the group fails */
	unsigned requests, done;
};
static inline struct swdev_i2c_bus *swdev_i2c_bus(struct swdev *dev) { return dev->state; }

/* ---- spi: what comes in is what goes out, inverted; 0xa5 where nothing goes out ---- */
struct swdev_spi_bus {
	unsigned transfers;
	uint8_t result; /* of the next ones */
	uint32_t last_mode, last_hz;
};
static inline struct swdev_spi_bus *swdev_spi_bus(struct swdev *dev) { return dev->state; }

/* ---- gpio: GPIO_LINES lines; those of odd number are wired to the one before ---- */
enum { GPIO_F_IRQ = 0 };
#define SWDEV_LINES 12u
struct swdev_pins {
	uint8_t direction[SWDEV_LINES], value[SWDEV_LINES], trigger[SWDEV_LINES];
	bool latched[SWDEV_LINES];
	unsigned messages;
};
static inline struct swdev_pins *swdev_pins(struct swdev *dev) { return dev->state; }
void swdev_pin_drive(struct swdev *dev, unsigned line, bool high); /* from outside */

/* ---- rtc: UTC with an alarm, TAI, monotonic ---- */
enum { RTC_F_ALARM = 0 };
#define SWDEV_CLOCKS 3u
struct swdev_clocks {
	uint64_t alarm, past; /* `past`: the UTC clock when it was last looked at */
	bool enabled, expiring;
	unsigned requests, expirations;
};
static inline struct swdev_clocks *swdev_clocks(struct swdev *dev) { return dev->state; }
uint64_t swdev_clock(unsigned clock); /* what it shows now */

/* ---- can: a bus on which the device's frames come back ---- */
enum { CAN_F_CLASSIC, CAN_F_FD, CAN_F_RTR, CAN_F_LATE };
struct swdev_can_bus {
	bool started, refuses; /* to start */
	unsigned frames, lost; /* taken from the driver; that found no buffer of it */
};
static inline struct swdev_can_bus *swdev_can_bus(struct swdev *dev) { return dev->state; }
void swdev_can_bus_off(struct swdev *dev);

/* ---- rpmb: 128 KiB; its MAC is a sum, which is enough to see that frames come as they were sent ---- */
struct swdev_vault {
	uint8_t key[32], (*data)[256];
	bool has_key;
	uint32_t counter;
};
static inline struct swdev_vault *swdev_vault(struct swdev *dev) { return dev->state; }
void swdev_vault_sign(const uint8_t key[32], uint8_t *frames, unsigned count); /* the MAC into the last of them */

extern const struct swdev_type swdev_i2c, swdev_spi, swdev_gpio, swdev_rtc, swdev_can, swdev_rpmb;

#endif
