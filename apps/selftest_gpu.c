/*
 * Displays: drawn on, told to show it, their EDID. Whether it is to be seen is for the host to judge.
 */
#include "selftest.h"

#include <string.h>

#include <base/log.h>
#include <base/tap.h>
#include <class/framebuffer.h>

#include "picture.h"

static bool edid_right(const struct framebuffer *framebuffer)
{
	static const uint8_t magic[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};

	if (framebuffer->edid_bytes < 128 || memcmp(framebuffer->edid, magic, sizeof(magic)))
		return false;
	for (uint32_t at = 0; at + 128 <= framebuffer->edid_bytes; at += 128) {
		uint8_t sum = 0;

		for (uint32_t i = 0; i < 128; i++)
			sum = (uint8_t)(sum + framebuffer->edid[at + i]);
		if (sum)
			return false;
	}
	return true;
}

static void test_display(struct framebuffer *framebuffer)
{
	static uint32_t image[FRAMEBUFFER_CURSOR * FRAMEBUFFER_CURSOR];
	const char *name = framebuffer->node.name;
	struct framebuffer_text text = {.framebuffer = framebuffer, .colour = 0xffffff};
	int error;

	record("{\"event\":\"display\",\"device\":\"%s\",\"width\":%u,\"height\":%u,\"edid\":%u}", name, framebuffer->width,
	       framebuffer->height, framebuffer->edid_bytes);
	if (!framebuffer->width) {
		tap_skip("off", "%s shows a picture", name);
		return;
	}
	picture_draw(framebuffer, 0);
	error = framebuffer_wait(framebuffer);
	if (!tap_ok(!error, "%s shows a picture", name))
		tap_detail("error: %d", error);
	framebuffer_write(&text, "Vireo\n", 6);
	error = framebuffer_wait(framebuffer);
	picture_pointer(image);
	error = error ? error : framebuffer_cursor(framebuffer, image, 0, 0);
	framebuffer_move(framebuffer, framebuffer->width / 2, framebuffer->height / 2);
	if (!tap_ok(!error, "%s shows text and a pointer", name))
		tap_detail("error: %d", error);
	if (framebuffer->edid_bytes)
		tap_ok(edid_right(framebuffer), "%s has an EDID that adds up", name);
}

static void test_gpu(const char *name)
{
	size_t length = strlen(name);

	for (struct framebuffer *framebuffer = framebuffer_find(NULL); framebuffer; framebuffer = framebuffer_next(framebuffer)) {
		const char *own = framebuffer->node.name;

		if (!strncmp(own, name, length) && (!own[length] || own[length] == '.'))
			test_display(framebuffer);
	}
}

SELFTEST(gpu, test_gpu);
