/*
 * The console and entropy drivers.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/char.h>
#include <class/entropy.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

#define MEMORY (4u << 20)
static uint8_t *memory;

static void plug(struct swdev *dev) { plug_in(dev, &swdev_direct); }

static void pattern(size_t length)
{
	for (size_t i = 0; i < length; i++)
		memory[i] = (uint8_t)(i * 0x9e3779b1u >> 21);
}

/* ---- console ---- */

static struct char_device *tty_of(const struct swdev *dev)
{
	struct char_device *device = char_find(dev->vdev->name);

	assert_non_null(device);
	return device;
}

static void bytes_out(void **state)
{
	static const uint32_t lengths[] = {1, 2, 80, 4096, 4097, 1u << 20, (1u << 20) + 1, 3500000};

	(void)state;
	pattern(MEMORY);
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_console);
		size_t at = 0;

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		plug(dev);
		for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
			assert_int_equal(char_write(tty_of(dev), memory, lengths[i]), 0);
			assert_int_equal(swdev_port(dev, 0)->printed_length, at + lengths[i]);
			assert_memory_equal(swdev_port(dev, 0)->printed + at, memory, lengths[i]);
			at += lengths[i];
		}
		pull_out(dev);
	}
}

static size_t got;

static void ready(struct char_device *device)
{
	uint8_t bytes[77];
	uint32_t count;

	while ((count = char_read(device, bytes, sizeof(bytes)))) {
		assert_memory_equal(bytes, memory + got, count);
		got += count;
	}
}

static void bytes_in(void **state)
{
	(void)state;
	pattern(MEMORY);
	for (uint32_t most = 0; most < 3; most++) {
		struct swdev *dev = swdev_new(&swdev_console);

		plug(dev);
		got = 0;
		swdev_tty(dev)->most = most * 7;
		swdev_tty_type(dev, 0, memory, 20000);
		loop_sleep(50000000); /* nobody reads: the device keeps what does not fit its buffers */
		assert_int_equal(got, 0);
		assert_true(most == 0 || swdev_port(dev, 0)->typed_done < 20000);
		tty_of(dev)->ready = ready;
		ready(tty_of(dev));
		loop_sleep(500000000);
		assert_int_equal(got, 20000);
		swdev_tty_type(dev, 0, memory + 20000, 100000);
		loop_sleep(2000000000);
		assert_int_equal(got, 120000);
		pull_out(dev);
	}
}

static unsigned resizes;

static void resized(struct char_device *device)
{
	(void)device;
	resizes++;
}

static void size_of_console(void **state)
{
	struct swdev *dev = swdev_new(&swdev_console);

	(void)state;
	plug(dev);
	resizes = 0;
	assert_int_equal(tty_of(dev)->columns, 80);
	assert_int_equal(tty_of(dev)->rows, 25);
	tty_of(dev)->resized = resized;
	put16(dev->config, 132);
	swdev_config_changed(dev);
	loop_sleep(1000000);
	assert_int_equal(tty_of(dev)->columns, 132);
	assert_int_equal(resizes, 1);
	pull_out(dev);

	dev = swdev_new(&swdev_console);
	dev->offered &= ~FEATURE(CONSOLE_F_SIZE); /* then the fields may not be read */
	plug(dev);
	assert_int_equal(tty_of(dev)->columns, 0);
	swdev_config_changed(dev);
	loop_sleep(1000000);
	pull_out(dev);
}

static void emergency_write(void **state)
{
	struct swdev *dev = swdev_new(&swdev_console);

	(void)state;
	plug(dev);
	dev->dead = true; /* the rings do not matter for it */
	assert_non_null(tty_of(dev)->emergency);
	tty_of(dev)->emergency(tty_of(dev), 'P');
	tty_of(dev)->emergency(tty_of(dev), 0xff & '!');
	assert_int_equal(swdev_tty(dev)->emergency, 2);
	assert_memory_equal(swdev_port(dev, 0)->printed, "P!", 2);
	pull_out(dev);

	dev = swdev_new(&swdev_console);
	dev->offered &= ~FEATURE(CONSOLE_F_EMERG_WRITE);
	plug(dev);
	assert_null(tty_of(dev)->emergency);
	pull_out(dev);
}

static unsigned written;

static void write_done(struct char_request *request)
{
	assert_int_equal(request->status, (long)(intptr_t)request->context);
	written++;
}

static void writes_in_order(void **state)
{
	struct swdev *dev = swdev_new(&swdev_console);
	struct char_request requests[400];

	(void)state;
	pattern(MEMORY);
	dev->queues[1].max = 8;
	dev->budget = 1;
	plug(dev);
	written = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i] = (struct char_request){.memory = memory + i * 100, .length = 100, .done = write_done};
		char_submit(tty_of(dev), &requests[i]);
	}
	loop_sleep(100000000);
	assert_int_equal(written, ARRAY_SIZE(requests));
	assert_memory_equal(swdev_port(dev, 0)->printed, memory, 40000);

	dev->dead = true; /* what is under way when it goes ends with an error */
	written = 0;
	for (unsigned i = 0; i < 20; i++) {
		requests[i] = (struct char_request){.memory = memory,
		                                    .length = 100,
		                                    .done = write_done,
		                                    .context = (void *)(intptr_t)(i < 8 ? -EIO : -ENODEV)};
		char_submit(tty_of(dev), &requests[i]);
	}
	loop_sleep(1000000);
	pull_out(dev);
	assert_int_equal(written, 20);
}

/* ---- entropy ---- */

static void random_bytes(void **state)
{
	static const uint32_t lengths[] = {1, 2, 16, 4096, 65536, 65537, 1u << 20};

	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = swdev_new(&swdev_entropy);
		uint64_t total = 0;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		swdev_rng(dev)->most = variant & 2 ? 4000 : 0; /* it MAY use less than the entire buffer */
		plug(dev);
		for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
			unsigned counts[256] = {0};

			memset(memory, 0, lengths[i] + 1);
			assert_int_equal(entropy_read(entropy_find(dev->vdev->name), memory, lengths[i]), 0);
			for (uint32_t k = 0; k < lengths[i]; k++)
				counts[memory[k]]++;
			for (unsigned k = 0; k < 256 && lengths[i] >= 65536; k++)
				assert_true(counts[k] > lengths[i] / 512 && counts[k] < lengths[i] / 128);
			assert_int_equal(memory[lengths[i]], 0);
			total += lengths[i];
		}
		assert_int_equal(swdev_rng(dev)->bytes, total); /* none was asked for in vain */
		pull_out(dev);
	}
}

/* "Device Operation": one byte or more each time. A device that gives none gets no peace from us for ever. */
static void no_random_bytes(void **state)
{
	struct swdev *dev = swdev_new(&swdev_entropy);

	(void)state;
	swdev_rng(dev)->empty = true;
	plug(dev);
	assert_int_equal(entropy_read(entropy_find(dev->vdev->name), memory, 100), -EIO);
	assert_true(dev->queues[0].buffers_used < 100);
	swdev_rng(dev)->empty = false;
	assert_int_equal(entropy_read(entropy_find(dev->vdev->name), memory, 100), 0);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_out),       cmocka_unit_test(bytes_in),        cmocka_unit_test(size_of_console),
		cmocka_unit_test(emergency_write), cmocka_unit_test(writes_in_order), cmocka_unit_test(random_bytes),
		cmocka_unit_test(no_random_bytes),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
