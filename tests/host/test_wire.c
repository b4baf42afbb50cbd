/*
 * The drivers of I2C, SPI and GPIO devices: what they say to the device, which checks it, and what they make of its answers.
 */
#include <errno.h>

#include "check_swdev.h"

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <class/wire.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static uint8_t *memory; /* 64 KiB */

/* ---- i2c ---- */

static void i2c_data(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_i2c, *layout, 0);
		struct i2c_device *device = i2c_find(NULL);
		struct i2c_message messages[] = {{.address = 0x50, .memory = memory, .length = 9},
		                                 {.address = 0x50, .memory = memory, .length = 1},
		                                 {.address = 0x50, .memory = memory + 100, .length = 8, .read = true}};
		struct i2c_message ten = {.address = 0x250, .ten_bit = true, .memory = memory, .length = 2};
		struct i2c_message quick = {.address = 0x50}, quick_read = {.address = 0x50, .read = true};

		memcpy(memory, "\x20vireo-12", 9);
		assert_int_equal(i2c_transfer(device, messages, 3), 0); /* one transaction */
		assert_memory_equal(memory + 100, "vireo-12", 8);
		assert_memory_equal(&swdev_i2c_bus(dev)->chips[0][0x20], "vireo-12", 8);
		assert_int_equal(i2c_transfer(device, &ten, 1), 0);
		assert_int_equal(swdev_i2c_bus(dev)->chips[1][0x20], 'v');
		assert_int_equal(i2c_transfer(device, &quick, 1), 0); /* no data: no buffer, which the device sees to */
		assert_int_equal(i2c_transfer(device, &quick_read, 1), 0);
		pull_out(dev);
	}
}

/* "Device Operation": the first that failed and all behind it */
static void i2c_failures(void **state)
{
	struct swdev *dev = plug_new(&swdev_i2c, 0, 0);
	struct i2c_device *device = i2c_find(NULL);
	struct i2c_message messages[] = {{.address = 0x50, .memory = memory, .length = 2},
	                                 {.address = 0x51, .memory = memory, .length = 2},
	                                 {.address = 0x50, .memory = memory + 100, .length = 8, .read = true}};
	struct i2c_message wrong[] = {{.address = 0x80}, {.address = 0x400, .ten_bit = true}};

	(void)state;
	memset(memory, 7, 200);
	assert_int_equal(i2c_transfer(device, messages, 3), -EIO);
	assert_int_equal(swdev_i2c_bus(dev)->requests, 3);
	assert_int_equal(swdev_i2c_bus(dev)->done, 1);
	assert_int_equal(memory[100], 7);
	assert_int_equal(i2c_transfer(device, messages, 1), 0); /* the next group is another one */
	assert_int_equal(i2c_transfer(device, &wrong[0], 1), -EINVAL);
	assert_int_equal(i2c_transfer(device, &wrong[1], 1), -EINVAL);
	assert_int_equal(i2c_transfer(device, messages, 0), -EINVAL);
	dev->dead = true; /* it never answers: reset, which ends it */
	assert_int_equal(i2c_transfer(device, messages, 1), -EIO);
	assert_int_equal(count_in(host_console_text(), "works again"), 1);
	dev->dead = false;
	assert_int_equal(i2c_transfer(device, messages, 1), 0);
	pull_out(dev);
}

static struct swdev *leaving;

static void unplug_now(struct timer *timer)
{
	(void)timer;
	pull_out(leaving);
}

/* The device goes while a transaction waits: with all that it waits for. */
static void i2c_removed(void **state)
{
	struct i2c_message messages[] = {{.address = 0x50, .memory = memory, .length = 9},
	                                 {.address = 0x50, .memory = memory, .length = 1},
	                                 {.address = 0x50, .memory = memory + 100, .length = 8, .read = true}};
	struct timer timer = {0};

	(void)state;
	leaving = plug_new(&swdev_i2c, 0, 0);
	leaving->dead = true;
	timer_start(&timer, clock_ns() + 1000000, unplug_now);
	assert_int_equal(i2c_transfer(i2c_find(NULL), messages, 3), -EIO);
	assert_null(i2c_find(NULL));
}

static void i2c_refused(void **state)
{
	struct swdev *dev = swdev_new(&swdev_i2c);

	(void)state;
	host_console_capture(true);
	dev->offered &= ~FEATURE(0); /* ZERO_LENGTH_REQUEST */
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_null(i2c_find(NULL));
	pull_out(dev);
}

/* ---- spi ---- */

static void spi_data(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_spi, *layout, 0);
		struct spi_device *device = spi_find(NULL);
		struct spi_transfer transfer = {.out = memory,
		                                .in = memory + 1000,
		                                .length = 1000,
		                                .bits_per_word = 8,
		                                .chip_select = 1,
		                                .out_lanes = 4,
		                                .in_lanes = 2,
		                                .deselect = true,
		                                .mode = SPI_CPHA | SPI_LSB_FIRST,
		                                .hz = 1000000,
		                                .word_delay_ns = 100};

		for (unsigned i = 0; i < 1000; i++)
			memory[i] = (uint8_t)(i * 31);
		assert_int_equal(spi_transfer(device, &transfer), 0);
		for (unsigned i = 0; i < 1000; i++)
			assert_int_equal(memory[1000 + i] ^ memory[i], 0xff);
		assert_int_equal(swdev_spi_bus(dev)->last_mode, SPI_CPHA | SPI_LSB_FIRST);
		assert_int_equal(swdev_spi_bus(dev)->last_hz, 1000000);
		transfer.in = NULL; /* half duplex, each way */
		assert_int_equal(spi_transfer(device, &transfer), 0);
		transfer.in = memory;
		transfer.out = NULL;
		assert_int_equal(spi_transfer(device, &transfer), 0);
		assert_int_equal(memory[999], 0xa5);
		assert_int_equal(swdev_spi_bus(dev)->transfers, 3);
		pull_out(dev);
	}
}

/* What the configuration does not offer does not reach the device, which would call it a violation. */
static void spi_not_offered(void **state)
{
	struct swdev *dev = plug_new(&swdev_spi, 0, 0);
	struct spi_device *device = spi_find(NULL);
	const struct spi_transfer good = {.out = memory, .length = 4, .bits_per_word = 8};
	struct spi_transfer bad[12];

	(void)state;
	for (unsigned i = 0; i < 12; i++)
		bad[i] = good;
	bad[0].chip_select = 2;
	bad[1].bits_per_word = 9;
	bad[2].bits_per_word = 0;
	bad[3].out_lanes = 2;
	bad[4].in_lanes = 8;
	bad[5].mode = SPI_CPOL;
	bad[6].mode = SPI_CS_HIGH;
	bad[7].mode = 32;
	bad[8].hz = 1000001;
	bad[9].setup_ns = 1;
	bad[10].length = 0;
	bad[11].out = NULL;
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(spi_transfer(device, &bad[i]), -EINVAL);
	assert_int_equal(swdev_spi_bus(dev)->transfers, 0);
	for (uint8_t result = 0; result < 4; result++) {
		static const int errors[] = {0, -EINVAL, -EIO, -EIO};

		swdev_spi_bus(dev)->result = result;
		assert_int_equal(spi_transfer(device, &good), errors[result]);
	}
	pull_out(dev);
}

/* ---- gpio ---- */

static unsigned changes[SWDEV_LINES];

static void changed(struct gpio_watch *watch, unsigned line)
{
	(void)watch;
	changes[line]++;
}

static struct gpio_watch watch = {.changed = changed};

static void settle(void) { loop_sleep(1000000); }

static void gpio_lines(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_gpio, *layout, 0);
		struct gpio_device *device = gpio_find(NULL);
		enum gpio_direction direction = GPIO_NONE;
		bool high = false;

		assert_int_equal(device->lines, SWDEV_LINES);
		assert_string_equal(gpio_name(device, 0), "first");
		assert_string_equal(gpio_name(device, 1), "");
		assert_string_equal(gpio_name(device, 3), "Red LED");
		assert_string_equal(gpio_name(device, 11), "last");
		assert_string_equal(gpio_name(device, 12), "");
		assert_int_equal(gpio_set(device, 4, true), 0);
		assert_int_equal(gpio_set_direction(device, 4, GPIO_OUT), 0);
		assert_int_equal(gpio_get_direction(device, 4, &direction), 0);
		assert_int_equal(direction, GPIO_OUT);
		assert_int_equal(gpio_get(device, 5, &high), 0);
		assert_true(high);
		assert_int_equal(gpio_get(device, SWDEV_LINES, &high), -EINVAL);
		assert_int_equal(gpio_set_direction(device, 4, (enum gpio_direction)3), -EINVAL);
		pull_out(dev);
	}
}

static void gpio_interrupts(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_gpio, *layout | FEATURE(F_RING_RESET), 0);
		struct gpio_device *device = gpio_find(NULL);

		memset(changes, 0, sizeof(changes));
		assert_int_equal(gpio_set_direction(device, 0, GPIO_OUT), 0);
		assert_int_equal(gpio_watch(device, 0, GPIO_BOTH, &watch), -EINVAL); /* an output */
		assert_int_equal(gpio_watch(device, 1, (enum gpio_trigger)5, &watch), -EINVAL);
		assert_int_equal(gpio_watch(device, 1, GPIO_RISING, &watch), 0);
		assert_int_equal(gpio_watch(device, 3, GPIO_BOTH, &watch), 0);
		assert_int_equal(gpio_watch(device, 1, GPIO_FALLING, &watch), -EBUSY); /* by way of NEVER */
		assert_int_equal(gpio_set_direction(device, 1, GPIO_OUT), -EINVAL);
		for (unsigned i = 0; i < 10; i++) {
			swdev_pin_drive(dev, 1, !(i & 1));
			swdev_pin_drive(dev, 3, !(i & 1));
			settle();
		}
		assert_int_equal(changes[1], 5);
		assert_int_equal(changes[3], 10);

		/* A queue reset loses no interrupt, a reset of the device keeps the watches. */
		assert_int_equal(virtio_queue_reset(dev->vdev, 1), 0);
		settle();
		swdev_pin_drive(dev, 1, true);
		settle();
		assert_int_equal(changes[1], 6);
		swdev_needs_reset(dev);
		settle();
		assert_true(count_in(host_console_text(), "works again") == 1);
		swdev_pin_drive(dev, 1, true);
		settle();
		assert_int_equal(changes[1], 7);

		/* Let go, and taken again otherwise. */
		assert_int_equal(gpio_watch(device, 1, GPIO_NEVER, NULL), 0);
		swdev_pin_drive(dev, 1, false);
		swdev_pin_drive(dev, 1, true);
		settle();
		assert_int_equal(changes[1], 7);
		assert_int_equal(gpio_watch(device, 1, GPIO_FALLING, &watch), 0);
		swdev_pin_drive(dev, 1, false);
		settle();
		assert_int_equal(changes[1], 8);
		pull_out(dev);
	}
}

static void gpio_no_interrupts(void **state)
{
	struct swdev *dev = plug_new(&swdev_gpio, 0, FEATURE(GPIO_F_IRQ));

	(void)state;
	assert_int_equal(dev->vdev->queue_count, 1);
	assert_int_equal(gpio_watch(gpio_find(NULL), 1, GPIO_BOTH, &watch), -ENOTSUP);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i2c_data),    cmocka_unit_test(i2c_failures),    cmocka_unit_test(i2c_removed),
		cmocka_unit_test(i2c_refused), cmocka_unit_test(spi_data),        cmocka_unit_test(spi_not_offered),
		cmocka_unit_test(gpio_lines),  cmocka_unit_test(gpio_interrupts), cmocka_unit_test(gpio_no_interrupts),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(65536, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
