/*
 * The class of displays: gathering what has changed, waiting until it is shown, and plain drawing.
 */
#include <class/framebuffer.h>

#include <errno.h>

#include <base/event.h>
#include <base/util.h>

static struct framebuffer_rect cut(const struct framebuffer *framebuffer, struct framebuffer_rect rect)
{
	rect.x = MIN(rect.x, framebuffer->width);
	rect.y = MIN(rect.y, framebuffer->height);
	rect.width = MIN(rect.width, framebuffer->width - rect.x);
	rect.height = MIN(rect.height, framebuffer->height - rect.y);
	return rect;
}

/* The smallest rectangle around both. */
static void grow(struct framebuffer_rect *rect, struct framebuffer_rect other)
{
	uint32_t right = MAX(rect->x + rect->width, other.x + other.width);
	uint32_t bottom = MAX(rect->y + rect->height, other.y + other.height);

	if (!rect->width) {
		*rect = other;
		return;
	}
	rect->x = MIN(rect->x, other.x);
	rect->y = MIN(rect->y, other.y);
	rect->width = right - rect->x;
	rect->height = bottom - rect->y;
}

void framebuffer_flush(struct framebuffer *framebuffer, struct framebuffer_rect rect)
{
	rect = cut(framebuffer, rect);
	if (!framebuffer->node.listed || !rect.width || !rect.height)
		return;
	grow(&framebuffer->dirty, rect);
	framebuffer->ops->changed(framebuffer);
}

void framebuffer_flush_all(struct framebuffer *framebuffer)
{
	framebuffer_flush(framebuffer, (struct framebuffer_rect){.width = UINT32_MAX, .height = UINT32_MAX});
}

static void end_waits(struct framebuffer *framebuffer, int status)
{
	while (framebuffer->waits) {
		struct framebuffer_wait *wait = framebuffer->waits;

		framebuffer->waits = wait->next;
		wait->status = status;
		wait->over = true;
	}
}

static void push(struct framebuffer *framebuffer, struct framebuffer_wait *wait)
{
	wait->next = framebuffer->waits;
	framebuffer->waits = wait;
}

int framebuffer_wait(struct framebuffer *framebuffer)
{
	struct framebuffer_wait wait = {.over = false};

	if (!framebuffer->node.listed)
		return -ENODEV;
	if (!framebuffer->width)
		return -ENXIO;
	if (framebuffer->busy || framebuffer->dirty.width) {
		push(framebuffer, &wait);
		loop_wait(&wait.over, LOOP_FOREVER); /* the display may be gone behind it */
		return wait.status;
	}
	wait.status = framebuffer->status;
	framebuffer->status = 0;
	return wait.status;
}

int framebuffer_cursor(struct framebuffer *framebuffer, const uint32_t *image, uint32_t hot_x, uint32_t hot_y)
{
	return framebuffer->node.listed ? framebuffer->ops->cursor(framebuffer, image, hot_x, hot_y) : -ENODEV;
}

void framebuffer_move(struct framebuffer *framebuffer, uint32_t x, uint32_t y)
{
	if (framebuffer->node.listed)
		framebuffer->ops->move(framebuffer, x, y);
}

void framebuffer_fill(struct framebuffer *framebuffer, struct framebuffer_rect rect, uint32_t colour)
{
	rect = cut(framebuffer, rect);
	for (uint32_t y = rect.y; y < rect.y + rect.height; y++)
		for (uint32_t x = rect.x; x < rect.x + rect.width; x++)
			framebuffer->pixels[(size_t)y * framebuffer->width + x] = colour;
}

/* ---- for drivers ---- */

void framebuffer_register(struct framebuffer *framebuffer) { class_add(&framebuffer_devices, &framebuffer->node); }

void framebuffer_unregister(struct framebuffer *framebuffer)
{
	class_remove(&framebuffer_devices, &framebuffer->node);
	end_waits(framebuffer, -ENODEV);
}

bool framebuffer_take(struct framebuffer *framebuffer, struct framebuffer_rect *rect)
{
	if (!framebuffer->dirty.width)
		return false;
	*rect = framebuffer->dirty;
	framebuffer->dirty.width = 0;
	framebuffer->busy = true;
	return true;
}

void framebuffer_shown(struct framebuffer *framebuffer, int status)
{
	framebuffer->busy = false;
	if (status)
		framebuffer->status = status;
	if (framebuffer->dirty.width || !framebuffer->waits)
		return;
	status = framebuffer->status;
	framebuffer->status = 0;
	end_waits(framebuffer, status);
}

void framebuffer_resize(struct framebuffer *framebuffer, uint32_t width, uint32_t height, uint32_t *pixels)
{
	bool same = pixels == framebuffer->pixels && width == framebuffer->width && height == framebuffer->height;

	framebuffer->width = width;
	framebuffer->height = height;
	framebuffer->pixels = pixels;
	framebuffer->busy = false;
	framebuffer->dirty = (struct framebuffer_rect){.width = width, .height = height};
	if (!width)
		end_waits(framebuffer, -ENXIO);
	if (framebuffer->resized && !same)
		framebuffer->resized(framebuffer);
}
