/*
 * Wires to chips: I2C adapters, SPI controllers, GPIO lines. All functions wait, in loop context, not in a callback; 0 or a negative errno:
 * -EIO when the device reports an error or is reset meanwhile, -EINVAL for what it cannot do.
 */
#ifndef CLASS_WIRE_H
#define CLASS_WIRE_H

#include <base/util.h>
#include <class/device.h>

/* ---- I2C ---- */

/* A segment of a transaction. length 0: no data, as in SMBus' quick command. */
struct i2c_message {
	uint16_t address; /* 7 bits, or 10 */
	bool ten_bit, read;
	void *memory;
	uint32_t length;
};

struct i2c_device {
	struct class_node node;
	int (*transfer)(struct i2c_device *device, const struct i2c_message *messages, unsigned count);
};

#define I2C_MESSAGES_MAX 16u

/* The messages in order, as one transaction: after one that fails none is carried out, and nothing that was read is to be used. */
[[nodiscard]] static inline int i2c_transfer(struct i2c_device *device, const struct i2c_message *messages, unsigned count)
{
	return device->transfer(device, messages, count);
}

/* ---- SPI ---- */

enum { SPI_CPHA = 1, SPI_CPOL = 2, SPI_CS_HIGH = 4, SPI_LSB_FIRST = 8, SPI_LOOP = 16 };

/* `out` or `in` may be NULL; with both, `length` bytes go each way at once. */
struct spi_transfer {
	const void *out;
	void *in;
	uint32_t length;
	uint8_t chip_select, bits_per_word;
	bool deselect;               /* behind it */
	uint8_t out_lanes, in_lanes; /* 1, 2, 4, 8; 0 is 1 */
	uint32_t mode, hz;           /* SPI_* bits; 0 Hz: as the device likes */
	uint32_t word_delay_ns, setup_ns, hold_ns, inactive_ns;
};

struct spi_device {
	struct class_node node;
	unsigned chip_selects;
	int (*transfer)(struct spi_device *device, const struct spi_transfer *transfer);
};

[[nodiscard]] static inline int spi_transfer(struct spi_device *device, const struct spi_transfer *transfer)
{
	return device->transfer(device, transfer);
}

/* ---- GPIO ---- */

enum gpio_direction { GPIO_NONE, GPIO_OUT, GPIO_IN };
enum gpio_trigger { GPIO_NEVER = 0, GPIO_RISING = 1, GPIO_FALLING = 2, GPIO_BOTH = 3, GPIO_HIGH = 4, GPIO_LOW = 8 };

struct gpio_device {
	struct class_node node;
	unsigned lines;
	bool interrupts; /* gpio_watch() works */
	const struct gpio_ops *ops;
};

struct gpio_watch {
	void (*changed)(struct gpio_watch *watch, unsigned line); /* in the loop; does not wait */
	void *context;
};

struct gpio_ops {
	const char *(*name)(struct gpio_device *device, unsigned line);
	int (*direction)(struct gpio_device *device, unsigned line, enum gpio_direction *direction, bool set);
	int (*value)(struct gpio_device *device, unsigned line, bool *high, bool set);
	int (*watch)(struct gpio_device *device, unsigned line, enum gpio_trigger trigger, struct gpio_watch *watch);
};

/* "" where a line has none. */
static inline const char *gpio_name(struct gpio_device *device, unsigned line) { return device->ops->name(device, line); }
[[nodiscard]] static inline int gpio_get_direction(struct gpio_device *device, unsigned line, enum gpio_direction *direction)
{
	return device->ops->direction(device, line, direction, false);
}
/* Set an output's value first. */
[[nodiscard]] static inline int gpio_set_direction(struct gpio_device *device, unsigned line, enum gpio_direction direction)
{
	return device->ops->direction(device, line, &direction, true);
}
[[nodiscard]] static inline int gpio_get(struct gpio_device *device, unsigned line, bool *high)
{
	return device->ops->value(device, line, high, false);
}
[[nodiscard]] static inline int gpio_set(struct gpio_device *device, unsigned line, bool high)
{
	return device->ops->value(device, line, &high, true);
}
/* `watch` is the caller's and stays in place until GPIO_NEVER was set, with which it may be NULL. A watch outlives resets of the device.
 * -ENOTSUP: no interrupts; -EBUSY: watched already. */
[[nodiscard]] static inline int gpio_watch(struct gpio_device *device, unsigned line, enum gpio_trigger trigger,
                                           struct gpio_watch *watch)
{
	return device->ops->watch(device, line, trigger, watch);
}

CLASS(struct i2c_device, i2c)
CLASS(struct spi_device, spi)
CLASS(struct gpio_device, gpio)

#endif
