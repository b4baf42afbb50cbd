/*
 * Clocks that a device keeps: what time it is elsewhere. All functions wait, in loop context, not in a callback; 0 or a negative errno: -EIO when
 * the device fails or is reset meanwhile, -EINVAL: no such clock, -ENOTSUP: that clock cannot.
 */
#ifndef CLASS_RTC_H
#define CLASS_RTC_H

#include <class/device.h>

/* The numbers are those of "RTC Device / Common Definitions"; there may be others. */
enum rtc_type { RTC_UTC, RTC_TAI, RTC_MONOTONIC, RTC_UTC_SMEARED, RTC_UTC_MAYBE_SMEARED };
enum rtc_counter { RTC_COUNTER_ARM_VCT = 0, RTC_COUNTER_X86_TSC = 1 };

struct rtc_clock {
	uint8_t type, smearing;
	bool alarm;
};

struct rtc_device {
	struct class_node node;
	const struct rtc_ops *ops;
	/* The alarm of a clock has expired: read the clock. In the loop; does not wait. May be NULL. */
	void (*expired)(struct rtc_device *device, unsigned clock);
	void *context;
};

struct rtc_ops {
	int (*count)(struct rtc_device *device, unsigned *clocks);
	int (*describe)(struct rtc_device *device, unsigned clock, struct rtc_clock *what);
	int (*read)(struct rtc_device *device, unsigned clock, uint64_t *ns);
	int (*read_cross)(struct rtc_device *device, unsigned clock, enum rtc_counter counter, uint64_t *ns, uint64_t *cycles);
	int (*set_alarm)(struct rtc_device *device, unsigned clock, uint64_t ns, bool enabled);
	int (*enable_alarm)(struct rtc_device *device, unsigned clock, bool enabled);
	int (*get_alarm)(struct rtc_device *device, unsigned clock, uint64_t *ns, bool *enabled);
};

/* Clocks are 0 .. *clocks - 1. */
[[nodiscard]] static inline int rtc_count(struct rtc_device *device, unsigned *clocks)
{
	return device->ops->count(device, clocks);
}
[[nodiscard]] static inline int rtc_describe(struct rtc_device *device, unsigned clock, struct rtc_clock *what)
{
	return device->ops->describe(device, clock, what);
}
/* Nanoseconds since the clock's epoch. */
[[nodiscard]] static inline int rtc_read(struct rtc_device *device, unsigned clock, uint64_t *ns)
{
	return device->ops->read(device, clock, ns);
}
/* And what the CPU's counter showed at that instant. */
[[nodiscard]] static inline int rtc_read_cross(struct rtc_device *device, unsigned clock, enum rtc_counter counter, uint64_t *ns,
                                               uint64_t *cycles)
{
	return device->ops->read_cross(device, clock, counter, ns, cycles);
}
/* A device may keep an alarm, or not, when it is reset. */
[[nodiscard]] static inline int rtc_set_alarm(struct rtc_device *device, unsigned clock, uint64_t ns, bool enabled)
{
	return device->ops->set_alarm(device, clock, ns, enabled);
}
[[nodiscard]] static inline int rtc_enable_alarm(struct rtc_device *device, unsigned clock, bool enabled)
{
	return device->ops->enable_alarm(device, clock, enabled);
}
[[nodiscard]] static inline int rtc_get_alarm(struct rtc_device *device, unsigned clock, uint64_t *ns, bool *enabled)
{
	return device->ops->get_alarm(device, clock, ns, enabled);
}

CLASS(struct rtc_device, rtc)

#endif
