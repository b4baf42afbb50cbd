/*
 * Text on a display. A glyph is 5 by 8 dots, of which the last row is for descenders; each dot is as wide as a pixel and as high as
 * two, which makes the usual cell of 8 by 16. Dots are one number per glyph: row by row, the leftmost dot of the first row in bit 0.
 */
#include <class/framebuffer.h>

#include <string.h>

#include <base/util.h>

#define FIRST ' '
#define DOTS_WIDE 5u
#define DOTS_HIGH 8u

/* clang-format off */
static const uint64_t glyphs[] = {
	0x0000000000, 0x0100421084, 0x000000294a, 0x0295f57d4a, 0x011f4717c4, 0x0632222263, 0x0593511526, 0x0000001084,
	0x0208210888, 0x0088842082, 0x0009575480, 0x00084f9080, 0x1118000000, 0x00000f8000, 0x018c000000, 0x0042222210,
	0x03a33ae62e, 0x07c84214c4, 0x07c226422e, 0x03a304111f, 0x0211f4a988, 0x03a3083c3f, 0x03a317844c, 0x008442221f,
	0x03a317462e, 0x01910f462e, 0x000c6018c0, 0x00886018c0, 0x0208208888, 0x0001f07c00, 0x0088882082, 0x010046422e,
	0x0783daf62e, 0x0463f8c544, 0x03e317c62f, 0x03a210862e, 0x01d318c527, 0x07c217843f, 0x004217843f, 0x07a31e862e,
	0x04631fc631, 0x038842108e, 0x019284211c, 0x0452519531, 0x07c2108421, 0x04631ad771, 0x04631cd671, 0x03a318c62e,
	0x004217c62f, 0x059358c62e, 0x045257c62f, 0x03e107043e, 0x010842109f, 0x03a318c631, 0x0108a54631, 0x04775ac631,
	0x0454a22951, 0x0108422a31, 0x07c222221f, 0x038421084e, 0x0420820821, 0x039084210e, 0x0000004544, 0xf800000000,
	0x0000000082, 0x07a3e83800, 0x03e318bc21, 0x078210f800, 0x07a318fa10, 0x0783f8b800, 0x0084211c4c, 0x743d18f800,
	0x046318bc21, 0x0388421804, 0x3210843008, 0x024a32a421, 0x0388421086, 0x056b5aac00, 0x046318bc00, 0x03a318b800,
	0x085f18bc00, 0x843d18f800, 0x004211b400, 0x03e0e0f800, 0x0304211c42, 0x07a318c400, 0x0114a8c400, 0x02ab5ac400,
	0x0454454400, 0x743d18c400, 0x07c4447c00, 0x0608411098, 0x0108421084, 0x00c8441083, 0x00009ac800,
};
/* clang-format on */

void framebuffer_glyph(char character, uint8_t rows[FRAMEBUFFER_CELL_HEIGHT])
{
	unsigned index = (unsigned char)character - (unsigned)FIRST;
	uint64_t dots = glyphs[index < ARRAY_SIZE(glyphs) ? index : '?' - FIRST];

	for (unsigned y = 0; y < DOTS_HIGH; y++) {
		uint8_t row = 0;

		for (unsigned x = 0; x < DOTS_WIDE; x++)
			row |= (uint8_t)((dots >> (y * DOTS_WIDE + x) & 1)
			                 << (6 - x)); /* a column of room on the left, two on the right */
		rows[2 * y] = rows[2 * y + 1] = row;
	}
}

static void draw(struct framebuffer_text *text, char character)
{
	struct framebuffer *framebuffer = text->framebuffer;
	uint8_t rows[FRAMEBUFFER_CELL_HEIGHT];

	framebuffer_glyph(character, rows);
	for (uint32_t y = 0; y < FRAMEBUFFER_CELL_HEIGHT; y++) {
		size_t at = (size_t)(text->row * FRAMEBUFFER_CELL_HEIGHT + y) * framebuffer->width;

		for (uint32_t x = 0; x < FRAMEBUFFER_CELL_WIDTH; x++)
			framebuffer->pixels[at + text->column * FRAMEBUFFER_CELL_WIDTH + x] = rows[y] >> (7 - x) & 1
			                                                                              ? text->colour
			                                                                              : text->background;
	}
}

static void scroll(struct framebuffer_text *text)
{
	struct framebuffer *framebuffer = text->framebuffer;
	uint32_t *pixels = framebuffer->pixels;
	size_t line = (size_t)framebuffer->width * FRAMEBUFFER_CELL_HEIGHT;
	uint32_t last = framebuffer->height / FRAMEBUFFER_CELL_HEIGHT - 1;

	memmove(pixels, pixels + line, last * line * sizeof(*pixels));
	framebuffer_fill(framebuffer,
	                 (struct framebuffer_rect){.y = last * FRAMEBUFFER_CELL_HEIGHT,
	                                           .width = framebuffer->width,
	                                           .height = FRAMEBUFFER_CELL_HEIGHT},
	                 text->background);
	text->row = last;
	framebuffer_flush_all(framebuffer);
}

void framebuffer_write(struct framebuffer_text *text, const char *characters, size_t length)
{
	struct framebuffer *framebuffer = text->framebuffer;
	uint32_t columns = framebuffer->width / FRAMEBUFFER_CELL_WIDTH, rows = framebuffer->height / FRAMEBUFFER_CELL_HEIGHT;

	if (!columns || !rows)
		return;
	for (size_t i = 0; i < length; i++) {
		if (characters[i] == '\n' || text->column >= columns) {
			text->column = 0;
			text->row++;
		}
		if (text->row >= rows)
			scroll(text);
		if (characters[i] == '\n')
			continue;
		draw(text, characters[i]);
		framebuffer_flush(framebuffer, (struct framebuffer_rect){text->column * FRAMEBUFFER_CELL_WIDTH,
		                                                         text->row * FRAMEBUFFER_CELL_HEIGHT,
		                                                         FRAMEBUFFER_CELL_WIDTH, FRAMEBUFFER_CELL_HEIGHT});
		text->column++;
	}
}
