/*
 * A test picture that a host can make for itself, and a person can judge: colours run from black on the top left, red to the right, green
 * to the bottom, woven with blue; the seed shifts them.
 */
#ifndef APPS_PICTURE_H
#define APPS_PICTURE_H

#include <class/framebuffer.h>

static inline uint32_t picture_pixel(uint32_t seed, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	return ((255 * x / width + seed) & 255) << 16 | (255 * y / height & 255) << 8 | ((x ^ y) & 255);
}

static inline void picture_draw(struct framebuffer *framebuffer, uint32_t seed)
{
	uint32_t width = framebuffer->width, height = framebuffer->height;

	for (uint32_t y = 0; y < height; y++)
		for (uint32_t x = 0; x < width; x++)
			framebuffer->pixels[(size_t)y * width + x] = picture_pixel(seed, x, y, width, height);
	framebuffer_flush_all(framebuffer);
}

/* An arrow for a pointer: FRAMEBUFFER_CURSOR squared pixels. */
static inline void picture_pointer(uint32_t *image)
{
	for (uint32_t y = 0; y < FRAMEBUFFER_CURSOR; y++)
		for (uint32_t x = 0; x < FRAMEBUFFER_CURSOR; x++)
			image[y * FRAMEBUFFER_CURSOR + x] = x > y || x + y >= FRAMEBUFFER_CURSOR ? 0 : 0xff000000 | 0x40201 * y;
}

#endif
