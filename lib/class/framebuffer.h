/*
 * Displays: memory that a program draws in, and a device that shows what it is told has changed. Loop context.
 *
 * A flush never waits: what is told while the device is busy gathers, and goes out as one rectangle when it is not. What a display showed is
 * shown again after a reset. Size and memory change when the display does: read them anew in each turn of the loop.
 */
#ifndef CLASS_FRAMEBUFFER_H
#define CLASS_FRAMEBUFFER_H

#include <stddef.h>

#include <class/device.h>

#define FRAMEBUFFER_CURSOR 64u /* pixels, width and height */
#define FRAMEBUFFER_EDID_MAX 1024u

struct framebuffer_rect {
	uint32_t x, y, width, height; /* pixels, from the top left; width 0: nothing */
};

struct framebuffer;

struct framebuffer_wait {
	struct framebuffer_wait *next;
	bool over;
	int status;
};

struct framebuffer_ops {
	void (*changed)(struct framebuffer *framebuffer); /* `dirty` has grown */
	/* FRAMEBUFFER_CURSOR squared pixels 0xAARRGGBB, copied; NULL: none. */
	int (*cursor)(struct framebuffer *framebuffer, const uint32_t *image, uint32_t hot_x, uint32_t hot_y);
	void (*move)(struct framebuffer *framebuffer, uint32_t x, uint32_t y);
};

struct framebuffer {
	struct class_node node; /* "gpu0"; a device's further displays: "gpu0.1", ... */
	const struct framebuffer_ops *ops;
	uint32_t width, height; /* pixels; 0: off, and `pixels` is NULL */
	uint32_t *pixels;       /* rows of `width` words 0x00RRGGBB */
	uint8_t edid[FRAMEBUFFER_EDID_MAX];
	uint32_t edid_bytes; /* 0: not told */

	struct framebuffer_rect dirty; /* told of, not on its way */
	bool busy;                     /* some is on its way */
	int status;                    /* of what was shown since the last wait */
	struct framebuffer_wait *waits;

	/* The program's: the size is another one, or the display went off or on; what it shows is black. Does not wait. */
	void (*resized)(struct framebuffer *framebuffer);
	void *context;
};

/* ---- for programs ---- */
CLASS(struct framebuffer, framebuffer)

void framebuffer_flush(struct framebuffer *framebuffer, struct framebuffer_rect rect); /* cut to the display */
void framebuffer_flush_all(struct framebuffer *framebuffer);
/* Until all that was flushed is shown. -EIO: the device would not; -ENXIO: it is off; -ENODEV: it is gone. Not from resized(). */
[[nodiscard]] int framebuffer_wait(struct framebuffer *framebuffer);
/* The pointer's shape, the same for all displays of a device, and place. -ENOMEM. */
[[nodiscard]] int framebuffer_cursor(struct framebuffer *framebuffer, const uint32_t *image, uint32_t hot_x, uint32_t hot_y);
void framebuffer_move(struct framebuffer *framebuffer, uint32_t x, uint32_t y);

void framebuffer_fill(struct framebuffer *framebuffer, struct framebuffer_rect rect, uint32_t colour);

/* ---- text ---- */
#define FRAMEBUFFER_CELL_WIDTH 8u
#define FRAMEBUFFER_CELL_HEIGHT 16u

/* A page of text on all of a display; '\n' ends a line, and behind the last one all scroll up. Zero but for these: */
struct framebuffer_text {
	struct framebuffer *framebuffer;
	uint32_t colour, background;
	uint32_t column, row; /* of the next character */
};
void framebuffer_write(struct framebuffer_text *text, const char *characters, size_t length); /* and flush */

/* The glyph of an ASCII character, FRAMEBUFFER_CELL_HEIGHT rows, the leftmost pixel in the highest bit. */
void framebuffer_glyph(char character, uint8_t rows[FRAMEBUFFER_CELL_HEIGHT]);

/* ---- for drivers ---- */
void framebuffer_register(struct framebuffer *framebuffer);
void framebuffer_unregister(struct framebuffer *framebuffer);
/* Take what is dirty, to show it: `busy` until framebuffer_shown(). False: nothing is. */
bool framebuffer_take(struct framebuffer *framebuffer, struct framebuffer_rect *rect);
void framebuffer_shown(struct framebuffer *framebuffer, int status);
/* Another size and memory, NULL: off; or the same as before, of which the device knows nothing any more. All of it is dirty then. */
void framebuffer_resize(struct framebuffer *framebuffer, uint32_t width, uint32_t height, uint32_t *pixels);

#endif
