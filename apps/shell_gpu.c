/*
 * The shell's `gpu`: displays by hand.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <class/framebuffer.h>

#include "picture.h"

static void list(void)
{
	struct framebuffer *framebuffer = framebuffer_find(NULL);

	if (!framebuffer)
		console_line("no displays");
	for (; framebuffer; framebuffer = framebuffer_next(framebuffer))
		console_line("%-8s %u x %u, %u bytes of EDID", framebuffer->node.name, framebuffer->width, framebuffer->height,
		             framebuffer->edid_bytes);
}

/* The words on lines of their own, on an empty page. */
static void page(struct framebuffer *framebuffer, unsigned count, char **words)
{
	struct framebuffer_text text = {.framebuffer = framebuffer, .colour = 0xe0e0e0, .background = 0x000040};

	framebuffer_fill(framebuffer, (struct framebuffer_rect){.width = framebuffer->width, .height = framebuffer->height},
	                 text.background);
	framebuffer_flush_all(framebuffer);
	for (unsigned i = 0; i < count; i++) {
		framebuffer_write(&text, words[i], strlen(words[i]));
		framebuffer_write(&text, "\n", 1);
	}
}

/* words: gpu pointer NAME X Y, or gpu pointer NAME off */
static bool pointer(struct framebuffer *framebuffer, unsigned count, char **words)
{
	static uint32_t image[FRAMEBUFFER_CURSOR * FRAMEBUFFER_CURSOR];
	uint64_t x = 0, y = 0;
	int error;

	if (count == 5 && (!shell_number(words[3], "x", 0, UINT32_MAX, &x) || !shell_number(words[4], "y", 0, UINT32_MAX, &y)))
		return true;
	if (count != 5 && (count != 4 || strcmp(words[3], "off") != 0))
		return false;
	picture_pointer(image);
	framebuffer_move(framebuffer, (uint32_t)x, (uint32_t)y);
	error = framebuffer_cursor(framebuffer, count == 5 ? image : NULL, 1, 2);
	if (error)
		shell_error(words[2], "pointer", error);
	return true;
}

static void shell_gpu(unsigned count, char **words)
{
	struct framebuffer *framebuffer = framebuffer_find(words[1] ? words[2] : NULL);
	uint64_t seed = 0;
	int error;

	if (count == 1 || (count == 2 && !strcmp(words[1], "list"))) {
		list();
		return;
	}
	if (count > 2 && !framebuffer) {
		shell_error(words[2], words[1], -ENODEV);
		return;
	}
	if (count > 2 && !strcmp(words[1], "text")) {
		page(framebuffer, count - 3, words + 3);
	} else if ((count == 3 || count == 4) && !strcmp(words[1], "picture")) {
		if (!shell_number(words[3], "seed", 0, 255, &seed))
			return;
		picture_draw(framebuffer, (uint32_t)seed);
	} else if (count < 3 || strcmp(words[1], "pointer") != 0 || !pointer(framebuffer, count, words)) {
		shell_usage(words);
		return;
	}
	error = framebuffer_wait(framebuffer);
	if (error)
		shell_error(words[2], words[1], error);
	else
		console_line("%s: shown", words[2]);
}

SHELL_COMMAND(gpu, "gpu list | picture NAME [SEED] | text NAME LINE... | pointer NAME X Y | pointer NAME off", "displays",
              shell_gpu, 0, SHELL_WORDS_MAX);
