/*
 * The drivers of I2C, SPI, GPIO, RTC, CAN and RPMB devices: what they say to the device, which checks it, and what they make of its answers.
 */
#include <errno.h>

#include "check_swdev.h"

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <class/can.h>
#include <class/rpmb.h>
#include <class/rtc.h>
#include <class/wire.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static uint8_t *memory; /* 64 KiB */

static struct swdev *plug(const struct swdev_type *type, uint64_t more, uint64_t less)
{
	struct swdev *dev = swdev_new(type);

	dev->offered = (dev->offered | more) & ~less;
	plug_in(dev, &swdev_direct);
	return dev;
}

static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED)};
#define FOR_EACH_LAYOUT(layout) for (const uint64_t *layout = layouts; layout < layouts + 2; layout++)

/* ---- i2c ---- */

static void i2c_data(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_i2c, *layout, 0);
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
	struct swdev *dev = plug(&swdev_i2c, 0, 0);
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
	leaving = plug(&swdev_i2c, 0, 0);
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
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_spi, *layout, 0);
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
	struct swdev *dev = plug(&swdev_spi, 0, 0);
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
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_gpio, *layout, 0);
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
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_gpio, *layout | FEATURE(F_RING_RESET), 0);
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
	struct swdev *dev = plug(&swdev_gpio, 0, FEATURE(GPIO_F_IRQ));

	(void)state;
	assert_int_equal(dev->vdev->queue_count, 1);
	assert_int_equal(gpio_watch(gpio_find(NULL), 1, GPIO_BOTH, &watch), -ENOTSUP);
	pull_out(dev);
}

/* ---- rtc ---- */

static unsigned expirations;

static void expired(struct rtc_device *device, unsigned clock)
{
	(void)device;
	assert_int_equal(clock, 0);
	expirations++;
}

static void rtc_clocks(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_rtc, *layout, 0);
		struct rtc_device *device = rtc_find(NULL);
		uint64_t ns = 0, cycles = 0;
		struct rtc_clock clock;
		unsigned count = 0;

		assert_int_equal(rtc_count(device, &count), 0);
		assert_int_equal(count, SWDEV_CLOCKS);
		for (unsigned i = 0; i < count; i++) {
			uint64_t before = swdev_clock(i);

			assert_int_equal(rtc_describe(device, i, &clock), 0);
			assert_int_equal(clock.type, i);
			assert_int_equal(clock.alarm, i == 0);
			assert_int_equal(rtc_read(device, i, &ns), 0);
			assert_true(ns >= before && ns <= swdev_clock(i));
		}
		assert_int_equal(rtc_read(device, count, &ns), -EINVAL);
		assert_int_equal(rtc_read(device, 65536, &ns), -EINVAL);
		assert_int_equal(rtc_read_cross(device, 0, RTC_COUNTER_X86_TSC, &ns, &cycles), 0);
		assert_true(cycles > 0);
		assert_int_equal(rtc_read_cross(device, 0, RTC_COUNTER_ARM_VCT, &ns, &cycles), -ENOTSUP);
		assert_int_equal(rtc_read_cross(device, 0, (enum rtc_counter)77, &ns, &cycles), -EINVAL);
		pull_out(dev);
	}
}

static void rtc_alarms(void **state)
{
	struct swdev *dev = plug(&swdev_rtc, 0, 0);
	struct rtc_device *device = rtc_find(NULL);
	uint64_t ns = 0, at = swdev_clock(0) + 5000000000;
	bool enabled = false;

	(void)state;
	expirations = 0;
	device->expired = expired;
	swdev_clocks(dev)->expiring = true; /* one that somebody set before us */
	settle();
	assert_int_equal(expirations, 0);
	assert_int_equal(rtc_set_alarm(device, 0, at, true), 0);
	assert_int_equal(rtc_get_alarm(device, 0, &ns, &enabled), 0);
	assert_true(ns == at && enabled);
	loop_sleep(4000000000);
	assert_int_equal(expirations, 0);
	loop_sleep(2000000000);
	settle();
	assert_int_equal(expirations, 1);
	assert_int_equal(rtc_enable_alarm(device, 0, false), 0);
	assert_int_equal(rtc_get_alarm(device, 0, &ns, &enabled), 0);
	assert_true(ns == at && !enabled);
	assert_int_equal(rtc_enable_alarm(device, 0, true), 0); /* not in the future: at once */
	settle();
	assert_int_equal(expirations, 2);
	assert_int_equal(rtc_set_alarm(device, 1, at, true), -EINVAL); /* the device: that clock has none */
	pull_out(dev);

	dev = plug(&swdev_rtc, 0, FEATURE(RTC_F_ALARM));
	assert_int_equal(dev->vdev->queue_count, 1);
	assert_int_equal(rtc_set_alarm(rtc_find(NULL), 0, at, true), -ENOTSUP);
	pull_out(dev);
}

/* ---- can ---- */

static unsigned sent, failed, received, departures;
static struct can_frame last;

static void frame_done(struct can_request *request)
{
	sent += !request->status;
	failed += request->status != 0;
}

static void frame_came(struct can_device *device, const struct can_frame *frame)
{
	(void)device;
	last = *frame;
	received++;
}

static void bus_left(struct can_device *device)
{
	(void)device;
	departures++;
}

static int send(struct can_device *device, uint32_t id, uint32_t flags, uint16_t length)
{
	static struct can_request requests[64];
	static unsigned next;
	struct can_request *request = &requests[next++ % 64];

	*request = (struct can_request){.frame = {.id = id, .flags = flags, .length = length}, .done = frame_done};
	memset(request->frame.data, 0x42, length > CAN_DATA_MAX ? CAN_DATA_MAX : length);
	return can_send(device, request);
}

static struct can_device *can_plug(struct swdev **dev, uint64_t more, uint64_t less)
{
	struct can_device *device;

	*dev = plug(&swdev_can, more, less);
	device = can_find(NULL);
	device->received = frame_came;
	device->left = bus_left;
	sent = failed = received = departures = 0;
	return device;
}

static void can_frames(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev;
		struct can_device *device = can_plug(&dev, *layout, 0);

		assert_int_equal(send(device, 0x123, 0, 8), 0); /* stopped, initially */
		settle();
		assert_int_equal(failed, 1);
		assert_int_equal(can_start(device), 0);
		assert_int_equal(send(device, 0x123, 0, 8), 0);
		settle();
		assert_int_equal(received, 1);
		assert_int_equal(last.id, 0x123);
		assert_int_equal(last.length, 8);
		assert_int_equal(last.data[7], 0x42);
		assert_int_equal(send(device, 0x1fffffff, CAN_FD | CAN_EXTENDED, 64), 0);
		settle();
		assert_int_equal(last.length, 64);
		assert_int_equal(last.flags, CAN_FD | CAN_EXTENDED);
		assert_int_equal(last.data[63], 0x42);
		assert_int_equal(send(device, 1, CAN_RTR, 0), 0);
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(send(device, i, 0, 3), 0);
		settle();
		assert_int_equal(sent, 43);
		assert_int_equal(received, 43);
		assert_int_equal(can_stop(device), 0);
		assert_int_equal(send(device, 1, 0, 0), 0);
		settle();
		assert_int_equal(failed, 2);
		pull_out(dev);
	}
}

static void can_frames_that_cannot_be(void **state)
{
	struct swdev *dev;
	struct can_device *device = can_plug(&dev, 0, 0);

	(void)state;
	assert_int_equal(send(device, 0x800, 0, 8), -EINVAL);
	assert_int_equal(send(device, 0x20000000, CAN_EXTENDED, 8), -EINVAL);
	assert_int_equal(send(device, 1, 0, 9), -EINVAL);
	assert_int_equal(send(device, 1, CAN_FD, 65), -EINVAL);
	assert_int_equal(send(device, 1, CAN_FD | CAN_RTR, 0), -EINVAL);
	assert_int_equal(send(device, 1, 1, 0), -EINVAL);
	pull_out(dev);

	device = can_plug(&dev, 0, FEATURE(CAN_F_FD) | FEATURE(CAN_F_RTR));
	assert_int_equal(send(device, 1, CAN_FD, 8), -EINVAL);
	assert_int_equal(send(device, 1, CAN_RTR, 0), -EINVAL);
	pull_out(dev);

	dev = swdev_new(&swdev_can); /* neither kind of frames */
	dev->offered &= ~(FEATURE(CAN_F_FD) | FEATURE(CAN_F_CLASSIC) | FEATURE(CAN_F_RTR));
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	pull_out(dev);
}

static void can_bus_off(void **state)
{
	struct swdev *dev;
	struct can_device *device = can_plug(&dev, 0, 0);

	(void)state;
	assert_int_equal(can_start(device), 0);
	swdev_needs_reset(dev); /* a reset of the device: started again, and nobody notices */
	settle();
	assert_true(device->started && swdev_can_bus(dev)->started);
	assert_int_equal(send(device, 5, 0, 1), 0);
	settle();
	assert_int_equal(received, 1);
	swdev_can_bus_off(dev);
	settle();
	assert_int_equal(departures, 1);
	assert_true(device->bus_off && !device->started);
	assert_int_equal(can_start(device), 0);
	assert_true(device->started && !device->bus_off);
	swdev_can_bus(dev)->refuses = true;
	assert_int_equal(can_stop(device), -EIO);
	pull_out(dev);
}

/* ---- rpmb ---- */

static void put(uint8_t at[2], unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned get(const uint8_t at[2]) { return (unsigned)at[0] << 8 | at[1]; }

static const uint8_t key[32] = "the key that nobody else knows";

static struct rpmb_frame *new_frames(unsigned count, unsigned type)
{
	struct rpmb_frame *frames = (struct rpmb_frame *)memory;

	memset(memory, 0, 65536);
	for (unsigned i = 0; i < count; i++) {
		put(frames[i].req_resp, type);
		put(frames[i].block_count, count);
	}
	return frames;
}

static void rpmb_frames(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = plug(&swdev_rpmb, *layout, 0);
		struct rpmb_device *device = rpmb_find(NULL);
		struct rpmb_frame *frames = new_frames(1, RPMB_GET_WRITE_COUNTER), *back = frames + 32;

		assert_int_equal(device->bytes, 128u << 10);
		assert_int_equal(rpmb_exchange(device, frames, 1, back, 1), 0);
		assert_int_equal(get(back[0].result), 7); /* no key yet */
		frames = new_frames(2, RPMB_PROGRAM_KEY);
		put(frames[0].block_count, 1);
		put(frames[1].req_resp, RPMB_RESULT_READ);
		memcpy(frames[0].key_mac, key, 32);
		assert_int_equal(rpmb_exchange(device, frames, 2, back, 1), 0);
		assert_int_equal(get(back[0].result), 0);

		frames = new_frames(4, RPMB_DATA_WRITE);
		for (unsigned i = 0; i < 4; i++) {
			memset(frames[i].data, (int)i + 1, 256);
			put(frames[i].address, 10);
		}
		swdev_vault_sign(key, memory, 4);
		put(frames[4].req_resp, RPMB_RESULT_READ);
		put(frames[4].block_count, 1);
		assert_int_equal(rpmb_exchange(device, frames, 5, back, 1), 0);
		assert_int_equal(get(back[0].result), 0);
		assert_int_equal(get(back[0].write_counter + 2), 1);
		assert_int_equal(rpmb_exchange(device, frames, 4, NULL, 0),
		                 0); /* the same again, and no result asked for: replayed */
		assert_int_equal(swdev_vault(dev)->counter, 1);

		frames = new_frames(1, RPMB_DATA_READ);
		put(frames[0].block_count, 5);
		put(frames[0].address, 10);
		assert_int_equal(rpmb_exchange(device, frames, 1, back, 5), 0);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(back[i].data[255], i < 4 ? i + 1 : 0);
		pull_out(dev);
	}
}

static void rpmb_frames_that_cannot_be(void **state)
{
	struct swdev *dev = plug(&swdev_rpmb, 0, 0);
	struct rpmb_device *device = rpmb_find(NULL);
	struct rpmb_frame *frames = new_frames(5, RPMB_DATA_WRITE), *back = frames + 32;

	(void)state;
	assert_int_equal(rpmb_exchange(device, frames, 5, NULL, 0), -EINVAL); /* max_wr_cnt is 4 */
	assert_int_equal(rpmb_exchange(device, frames, 4, NULL, 0), -EINVAL); /* says 5 */
	assert_int_equal(rpmb_exchange(device, frames, 0, NULL, 0), -EINVAL);
	frames = new_frames(1, RPMB_DATA_READ);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 2), -EINVAL);
	put(frames[0].block_count, 9);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 9), -EINVAL); /* max_rd_cnt is 8 */
	put(frames[0].req_resp, 6);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 1), -EINVAL);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i2c_data),
		cmocka_unit_test(i2c_failures),
		cmocka_unit_test(i2c_removed),
		cmocka_unit_test(i2c_refused),
		cmocka_unit_test(spi_data),
		cmocka_unit_test(spi_not_offered),
		cmocka_unit_test(gpio_lines),
		cmocka_unit_test(gpio_interrupts),
		cmocka_unit_test(gpio_no_interrupts),
		cmocka_unit_test(rtc_clocks),
		cmocka_unit_test(rtc_alarms),
		cmocka_unit_test(can_frames),
		cmocka_unit_test(can_frames_that_cannot_be),
		cmocka_unit_test(can_bus_off),
		cmocka_unit_test(rpmb_frames),
		cmocka_unit_test(rpmb_frames_that_cannot_be),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(65536, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
