/*
 * The GPU driver and the class of displays, against the software device.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/util.h>
#include <class/framebuffer.h>
#include <virtio/virtio.h>

#include "swdev_gpu.h"
#include "swdev_impl.h"
#include "swdev_work.h"

static struct framebuffer *plug(struct swdev *dev)
{
	struct framebuffer *framebuffer;

	plug_in(dev, &swdev_direct);
	framebuffer = framebuffer_find(dev->vdev->name);
	assert_non_null(framebuffer);
	return framebuffer;
}

static void paint(struct framebuffer *framebuffer, uint32_t seed)
{
	for (uint32_t i = 0; i < framebuffer->width * framebuffer->height; i++)
		framebuffer->pixels[i] = (i * 2654435761u + seed) >> 8;
}

static bool shown(struct swdev *dev, unsigned display, const struct framebuffer *framebuffer)
{
	const struct swdev_display *is = &swdev_gpu_state(dev)->displays[display];

	return is->shown && is->shown_width == framebuffer->width && is->shown_height == framebuffer->height &&
	       !memcmp(is->shown, framebuffer->pixels, 4ull * framebuffer->width * framebuffer->height);
}

static void pictures(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 4; variant++) {
		struct swdev *dev = swdev_new(&swdev_gpu);
		struct swdev_gpu *gpu = swdev_gpu_state(dev);
		struct framebuffer *framebuffer;
		bool blob = variant & 2;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered |= blob ? FEATURE(GPU_F_RESOURCE_BLOB) | FEATURE(GPU_F_BLOB_ALIGNMENT) : 0;
		gpu->displays[1].width = 64, gpu->displays[1].height = 48;
		framebuffer = plug(dev);
		assert_int_equal(framebuffer->width, 320);
		assert_int_equal(framebuffer->height, 200);
		assert_int_equal(framebuffer->edid_bytes, 256);
		assert_int_equal(framebuffer->edid[5], 5);
		paint(framebuffer, variant);
		framebuffer_flush_all(framebuffer);
		assert_false(shown(dev, 0, framebuffer));
		assert_int_equal(framebuffer_wait(framebuffer), 0);
		assert_true(shown(dev, 0, framebuffer));
		assert_int_equal(gpu->resources[1].blob_bytes, blob ? ALIGN_UP(320u * 200 * 4, 65536u) : 0);

		/* A part: no more than that is moved. What is told meanwhile goes out as one. */
		gpu->transferred = gpu->transfers = gpu->flushes = 0;
		for (uint32_t i = 0; i < 10; i++) {
			framebuffer_fill(framebuffer, (struct framebuffer_rect){i, 5, 1, 20}, i);
			framebuffer_flush(framebuffer, (struct framebuffer_rect){i, 5, 1, 20});
		}
		assert_int_equal(framebuffer_wait(framebuffer), 0);
		assert_true(shown(dev, 0, framebuffer));
		assert_int_equal(gpu->flushes, 2);
		assert_int_equal(gpu->transferred, blob ? 0 : 10 * 20);
		framebuffer_flush(framebuffer, (struct framebuffer_rect){320, 0, 1, 1}); /* outside: nothing */
		assert_int_equal(framebuffer_wait(framebuffer), 0);
		assert_int_equal(gpu->flushes, 2);

		framebuffer = framebuffer_next(framebuffer);
		assert_int_equal(framebuffer->width, 64);
		assert_int_equal(framebuffer->edid[5], 6);
		paint(framebuffer, 9);
		framebuffer_flush_all(framebuffer);
		assert_int_equal(framebuffer_wait(framebuffer), 0);
		assert_true(shown(dev, 1, framebuffer));
		framebuffer = framebuffer_next(framebuffer);
		assert_int_equal(framebuffer->width, 0);
		assert_int_equal(framebuffer_wait(framebuffer), -ENXIO);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

static unsigned resizes;
static void resized(struct framebuffer *framebuffer)
{
	(void)framebuffer;
	resizes++;
}

static void hot_resize(void **state)
{
	struct swdev *dev = swdev_new(&swdev_gpu);
	struct framebuffer *framebuffer = plug(dev), *second;

	(void)state;
	resizes = 0;
	framebuffer->resized = resized;
	paint(framebuffer, 1);
	framebuffer_flush_all(framebuffer);
	swdev_gpu_display(dev, 0, 400, 300); /* with a transfer under way */
	loop_sleep(10000000);
	assert_int_equal(framebuffer->width, 400);
	assert_int_equal(framebuffer->height, 300);
	assert_int_equal(resizes, 2); /* off, and on again */
	assert_int_equal(get32(dev->config), 0);
	paint(framebuffer, 2);
	framebuffer_flush_all(framebuffer);
	assert_int_equal(framebuffer_wait(framebuffer), 0);
	assert_true(shown(dev, 0, framebuffer));

	swdev_gpu_display(dev, 1, 100, 100); /* another is switched on, this one stays */
	loop_sleep(10000000);
	assert_int_equal(resizes, 2);
	second = framebuffer_next(framebuffer);
	assert_int_equal(second->width, 100);
	swdev_gpu_display(dev, 0, 0, 0);
	loop_sleep(10000000);
	assert_int_equal(framebuffer->width, 0);
	assert_null(framebuffer->pixels);
	assert_int_equal(swdev_gpu_state(dev)->displays[0].resource, 0);
	assert_false(swdev_gpu_state(dev)->resources[1].exists);
	swdev_gpu_display(dev, 1, 0, 0); /* none is left: a fallback */
	loop_sleep(10000000);
	assert_int_equal(second->width, 0);
	assert_int_equal(framebuffer->width, 1024);
	assert_int_equal(framebuffer->height, 768);
	assert_int_equal(swdev_unplug(dev), 0);
}

static uint32_t image[64 * 64];

static void pointer(void **state)
{
	struct swdev *dev = swdev_new(&swdev_gpu);
	struct swdev_gpu *gpu = swdev_gpu_state(dev);
	struct framebuffer *framebuffer = plug(dev);

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(image); i++)
		image[i] = 0x80000000 + i;
	framebuffer_move(framebuffer, 10, 20);
	assert_int_equal(framebuffer_cursor(framebuffer, image, 3, 4), 0);
	loop_sleep(10000000);
	assert_int_not_equal(gpu->cursor_resource, 0);
	assert_memory_equal(gpu->cursor, image, sizeof(image));
	assert_int_equal(gpu->cursor_hot_x, 3);
	assert_int_equal(gpu->cursor_hot_y, 4);
	assert_int_equal(gpu->cursor_x, 10);
	assert_int_equal(gpu->cursor_y, 20);
	gpu->commands[0x301] = 0;
	for (uint32_t i = 0; i <= 100; i++)
		framebuffer_move(framebuffer, i, 2 * i);
	loop_sleep(10000000);
	assert_int_equal(gpu->cursor_x, 100);
	assert_int_equal(gpu->cursor_y, 200);
	assert_int_equal(gpu->commands[0x301], 2); /* those in between were not worth it */

	/* Two images at once: the last is shown. After a reset as well. */
	assert_int_equal(framebuffer_cursor(framebuffer, image, 0, 0), 0);
	image[7]++;
	assert_int_equal(framebuffer_cursor(framebuffer, image, 5, 6), 0);
	loop_sleep(10000000);
	assert_memory_equal(gpu->cursor, image, sizeof(image));
	memset(gpu->cursor, 0, sizeof(gpu->cursor));
	swdev_needs_reset(dev);
	loop_sleep(100000000);
	assert_memory_equal(gpu->cursor, image, sizeof(image));
	assert_int_equal(gpu->cursor_x, 100);
	assert_int_equal(framebuffer_cursor(framebuffer, NULL, 0, 0), 0);
	loop_sleep(10000000);
	assert_int_equal(gpu->cursor_resource, 0);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void resets(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		struct swdev *dev = swdev_new(&swdev_gpu);
		struct framebuffer *framebuffer;

		dev->offered |= FEATURE(F_RING_RESET);
		framebuffer = plug(dev);
		resizes = 0;
		framebuffer->resized = resized;
		dev->dead = true;
		paint(framebuffer, 3);
		framebuffer_flush_all(framebuffer);
		loop_sleep(1000000);
		dev->dead = false;
		if (way)
			assert_int_equal(virtio_queue_reset(dev->vdev, 0) | virtio_queue_reset(dev->vdev, 1), 0);
		else
			swdev_needs_reset(dev);
		assert_int_equal(framebuffer_wait(framebuffer), 0);
		assert_true(shown(dev, 0, framebuffer));
		assert_int_equal(resizes, 0); /* the program need not know */
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

static struct swdev *leaving;
static void leave(struct timer *timer)
{
	(void)timer;
	assert_int_equal(swdev_unplug(leaving), 0);
}

static void removal_while_waiting(void **state)
{
	struct framebuffer *framebuffer;
	struct timer timer = {0};

	(void)state;
	leaving = swdev_new(&swdev_gpu);
	framebuffer = plug(leaving);
	leaving->dead = true;
	framebuffer_flush_all(framebuffer);
	timer_start(&timer, 1000000, leave);
	assert_int_equal(framebuffer_wait(framebuffer), -ENODEV);
}

static void failures(void **state)
{
	struct swdev *dev = swdev_new(&swdev_gpu);
	struct framebuffer *framebuffer = plug(dev);
	uint64_t free_before;

	(void)state;
	for (uint32_t command = 0x104; command <= 0x105; command++) { /* flush, transfer */
		swdev_gpu_state(dev)->fails = command;
		framebuffer_flush_all(framebuffer);
		assert_int_equal(framebuffer_wait(framebuffer), -EIO);
		swdev_gpu_state(dev)->fails = 0;
		framebuffer_flush_all(framebuffer);
		assert_int_equal(framebuffer_wait(framebuffer), 0);
	}
	swdev_gpu_state(dev)->fails = 0x106; /* no backing for the new size: off, and one line */
	free_before = count_in(host_console_text(), "off: command 0x106 failed");
	swdev_gpu_display(dev, 0, 300, 300);
	loop_sleep(10000000);
	assert_int_equal(framebuffer->width, 0);
	assert_int_equal(count_in(host_console_text(), "off: command 0x106 failed"), free_before + 1);
	swdev_gpu_state(dev)->fails = 0;
	swdev_gpu_display(dev, 0, 300, 300);
	loop_sleep(10000000);
	assert_int_equal(framebuffer->width, 300);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void refusals(void **state)
{
	static const uint32_t alignments[] = {0, 3, 65537};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(alignments); i++) {
		struct swdev *dev = swdev_new(&swdev_gpu);

		dev->offered |= FEATURE(GPU_F_RESOURCE_BLOB) | FEATURE(GPU_F_BLOB_ALIGNMENT);
		put32(dev->config + 16, alignments[i]);
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, &swdev_direct), -EINVAL);
		assert_int_equal(swdev_unplug(dev), 0);
	}

	struct swdev *dev = swdev_new(&swdev_gpu);

	plug_breaking(dev);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void text(void **state)
{
	struct swdev *dev = swdev_new(&swdev_gpu);
	struct framebuffer *framebuffer = plug(dev);
	struct framebuffer_text page = {.framebuffer = framebuffer, .colour = 0xffffff, .background = 0x10};
	uint8_t rows[FRAMEBUFFER_CELL_HEIGHT];

	(void)state;
	framebuffer_write(&page, "ab", 2);
	for (unsigned letter = 0; letter < 2; letter++) {
		framebuffer_glyph("ab"[letter], rows);
		for (uint32_t y = 0; y < 16; y++)
			for (uint32_t x = 0; x < 8; x++)
				assert_int_equal(framebuffer->pixels[y * 320 + letter * 8 + x],
				                 rows[y] >> (7 - x) & 1 ? 0xffffff : 0x10);
	}
	for (unsigned line = 0; line < 30; line++) /* 12 lines are all that fit */
		framebuffer_write(&page, "\nx", 2);
	assert_int_equal(page.row, 11);
	framebuffer_glyph('x', rows);
	assert_int_equal(framebuffer->pixels[(11 * 16 + 4) * 320 + 1], rows[4] >> 6 & 1 ? 0xffffff : 0x10);
	for (unsigned i = 0; i < 100; i++)
		framebuffer_write(&page, "0", 1); /* a line has 40 */
	assert_int_equal(page.column, 21);
	assert_int_equal(framebuffer_wait(framebuffer), 0);
	assert_true(shown(dev, 0, framebuffer));
	assert_int_equal(swdev_unplug(dev), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pictures), cmocka_unit_test(hot_resize), cmocka_unit_test(pointer),
		cmocka_unit_test(resets),   cmocka_unit_test(failures),   cmocka_unit_test(removal_while_waiting),
		cmocka_unit_test(refusals), cmocka_unit_test(text),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
