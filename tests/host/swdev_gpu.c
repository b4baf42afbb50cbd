/*
 * "GPU Device" in 2D mode, with EDID and guest blobs. It keeps resources of its own, copies on transfers, and shows a scanout as it was at
 * the last flush. A command that the spec does not allow is a violation and gets an error.
 */
#include <stdlib.h>
#include <string.h>

#include <class/framebuffer.h>
#include <virtio/virtio.h>

#include "swdev_gpu.h"
#include "swdev_impl.h"
#include "swdev_work_impl.h"

enum { EVENTS_READ = 0, EVENTS_CLEAR = 4, NUM_SCANOUTS = 8, BLOB_ALIGNMENT = 16 };
enum { CONTROLQ, CURSORQ };
enum { OK_NODATA = 0x1100, OK_DISPLAY_INFO = 0x1101, OK_EDID = 0x1104, ERR_UNSPEC = 0x1200, ERR_RESOURCE = 0x1203 };

static const struct swdev_field fields[] = {
	{.offset = EVENTS_READ, .width = 4, .count = 1, .feature = -1},
	{.offset = EVENTS_CLEAR, .width = 4, .count = 1, .feature = -1, .writable = true},
	{.offset = NUM_SCANOUTS, .width = 4, .count = 2, .feature = -1},
	{.offset = BLOB_ALIGNMENT, .width = 4, .count = 1, .feature = GPU_F_BLOB_ALIGNMENT},
	{.width = 0},
};
static const struct swdev_rule rules[] = {{GPU_F_BLOB_ALIGNMENT, FEATURE(GPU_F_RESOURCE_BLOB)}, {0, 0}};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_gpu));
	swdev_gpu_state(dev)->displays[0].width = 320;
	swdev_gpu_state(dev)->displays[0].height = 200;
	put32(dev->config + NUM_SCANOUTS, SWDEV_DISPLAYS);
	put32(dev->config + BLOB_ALIGNMENT, 65536);
}

static void forget(struct swdev *dev)
{
	struct swdev_gpu *gpu = swdev_gpu_state(dev);

	for (unsigned i = 0; i < SWDEV_RESOURCES; i++) {
		free(gpu->resources[i].pixels);
		gpu->resources[i] = (struct swdev_resource){0};
	}
	for (unsigned i = 0; i < SWDEV_DISPLAYS; i++) {
		free(gpu->displays[i].shown);
		gpu->displays[i].shown = NULL;
		gpu->displays[i].resource = 0;
	}
	gpu->cursor_resource = 0;
}

static void reset(struct swdev *dev)
{
	if (dev->state)
		forget(dev);
}

static void release(struct swdev *dev)
{
	forget(dev);
	free(dev->state);
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	if (offset != EVENTS_CLEAR)
		return;
	put32(dev->config + EVENTS_READ, get32(dev->config + EVENTS_READ) & ~get32(dev->config + EVENTS_CLEAR));
	put32(dev->config + EVENTS_CLEAR, 0);
}

void swdev_gpu_display(struct swdev *dev, unsigned display, uint32_t width, uint32_t height)
{
	swdev_gpu_state(dev)->displays[display].width = width;
	swdev_gpu_state(dev)->displays[display].height = height;
	put32(dev->config + EVENTS_READ, 1);
	swdev_config_changed(dev);
}

/* ---- commands: each gives the type of its answer ---- */

static struct swdev_resource *resource_of(struct swdev *dev, uint32_t id)
{
	struct swdev_gpu *gpu = swdev_gpu_state(dev);

	if (id && id < SWDEV_RESOURCES && gpu->resources[id].exists)
		return &gpu->resources[id];
	swdev_violation(dev, "a command for resource %u, which is not there", id);
	return NULL;
}

static uint32_t display_info(struct swdev *dev, uint8_t *answer)
{
	for (unsigned i = 0; i < SWDEV_DISPLAYS; i++) {
		const struct swdev_display *display = &swdev_gpu_state(dev)->displays[i];

		put32(answer + 24 + 24 * i + 8, display->width);
		put32(answer + 24 + 24 * i + 12, display->height);
		put32(answer + 24 + 24 * i + 16, display->width != 0);
	}
	return OK_DISPLAY_INFO;
}

static uint32_t edid(struct swdev *dev, const uint8_t *command, uint8_t *answer)
{
	if (!swdev_has(dev, GPU_F_EDID) || get32(command + 24) >= SWDEV_DISPLAYS)
		swdev_violation(dev, "GET_EDID of %u", get32(command + 24));
	put32(answer + 24, 256);
	for (unsigned i = 0; i < 256; i++)
		answer[32 + i] = (uint8_t)(i + get32(command + 24));
	return OK_EDID;
}

static uint32_t create(struct swdev *dev, const uint8_t *command, bool blob)
{
	uint32_t id = get32(command + 24), format = get32(command + 28), width = get32(command + 32),
		 height = get32(command + 36);
	struct swdev_resource *resource = &swdev_gpu_state(dev)->resources[id % SWDEV_RESOURCES];

	if (!id || id >= SWDEV_RESOURCES || resource->exists) {
		swdev_violation(dev, "resource %u created again", id);
		return ERR_RESOURCE;
	}
	if (blob) {
		*resource = (struct swdev_resource){.exists = true,
		                                    .blob_bytes = get64(command + 48),
		                                    .backing = get64(command + 56),
		                                    .backing_bytes = get32(command + 64)};
		if (!swdev_has(dev, GPU_F_RESOURCE_BLOB) || format != 1 || height != 1 ||
		    resource->blob_bytes % (swdev_has(dev, GPU_F_BLOB_ALIGNMENT) ? 65536 : 1) ||
		    resource->backing_bytes != resource->blob_bytes)
			swdev_violation(dev, "CREATE_BLOB: memory %u, %u entries, %llu bytes", format, height,
			                (unsigned long long)resource->blob_bytes);
		return OK_NODATA;
	}
	if (!width || !height || width > 16384 || height > 16384 || format > 2)
		swdev_violation(dev, "CREATE_2D of %u x %u pixels, format %u", width, height, format);
	*resource = (struct swdev_resource){.exists = true, .format = format, .width = width, .height = height};
	resource->pixels = calloc((size_t)width * height, 4);
	return OK_NODATA;
}

static bool inside(uint32_t at, uint32_t length, uint32_t whole) { return at <= whole && length <= whole - at; }

static uint32_t transfer(struct swdev *dev, const uint8_t *command)
{
	uint32_t x = get32(command + 24), y = get32(command + 28), width = get32(command + 32), height = get32(command + 36);
	struct swdev_resource *resource = resource_of(dev, get32(command + 48));
	uint64_t offset = get64(command + 40);
	const uint8_t *memory;

	if (!resource || !resource->pixels || !inside(x, width, resource->width) || !inside(y, height, resource->height) ||
	    offset + 4ull * ((uint64_t)(height - 1) * resource->width + width) > resource->backing_bytes) {
		swdev_violation(dev, "TRANSFER of %u x %u pixels at %u, %u", width, height, x, y);
		return ERR_UNSPEC;
	}
	memory = swdev_memory(dev, resource->backing, resource->backing_bytes, "backing");
	for (uint32_t row = 0; memory && row < height; row++)
		memcpy(resource->pixels + (size_t)(y + row) * resource->width + x, memory + offset + 4ull * row * resource->width,
		       4ull * width);
	swdev_gpu_state(dev)->transfers++;
	swdev_gpu_state(dev)->transferred += (uint64_t)width * height;
	return OK_NODATA;
}

static uint32_t set_scanout(struct swdev *dev, const uint8_t *command)
{
	uint32_t scanout = get32(command + 40), id = get32(command + 44), width = get32(command + 32),
		 height = get32(command + 36);
	const struct swdev_resource *resource = id ? resource_of(dev, id) : NULL;

	if (scanout >= SWDEV_DISPLAYS || (id && !resource)) {
		swdev_violation(dev, "SET_SCANOUT %u to resource %u", scanout, id);
		return ERR_UNSPEC;
	}
	/* "Scanout rectangles must be completely covered by the underlying resource" */
	if (resource && resource->pixels && (width > resource->width || height > resource->height))
		swdev_violation(dev, "SET_SCANOUT beyond its resource");
	if (resource && resource->blob_bytes && 4ull * width * height > resource->blob_bytes)
		swdev_violation(dev, "SET_SCANOUT_BLOB beyond its resource");
	swdev_gpu_state(dev)->displays[scanout].resource = id;
	swdev_gpu_state(dev)->displays[scanout].shown_width = width;
	swdev_gpu_state(dev)->displays[scanout].shown_height = height;
	return OK_NODATA;
}

static uint32_t flush(struct swdev *dev, const uint8_t *command)
{
	uint32_t id = get32(command + 40);
	const struct swdev_resource *resource = resource_of(dev, id);

	for (unsigned i = 0; resource && i < SWDEV_DISPLAYS; i++) {
		struct swdev_display *display = &swdev_gpu_state(dev)->displays[i];
		size_t bytes = 4ull * display->shown_width * display->shown_height;
		const void *pixels;

		if (display->resource != id)
			continue;
		pixels = resource->pixels ? resource->pixels : swdev_memory(dev, resource->backing, bytes, "blob");
		if (!pixels)
			continue;
		display->shown = realloc(display->shown, bytes);
		memcpy(display->shown, pixels, bytes);
	}
	swdev_gpu_state(dev)->flushes++;
	return resource ? OK_NODATA : ERR_RESOURCE;
}

static uint32_t attach(struct swdev *dev, const uint8_t *command)
{
	struct swdev_resource *resource = resource_of(dev, get32(command + 24));

	if (!resource || resource->backing || get32(command + 28) != 1) {
		swdev_violation(dev, "ATTACH_BACKING of %u entries", get32(command + 28));
		return ERR_UNSPEC;
	}
	resource->backing = get64(command + 32);
	resource->backing_bytes = get32(command + 40);
	return OK_NODATA;
}

static uint32_t unref(struct swdev *dev, const uint8_t *command)
{
	struct swdev_resource *resource = resource_of(dev, get32(command + 24));

	if (!resource)
		return ERR_RESOURCE;
	free(resource->pixels);
	*resource = (struct swdev_resource){0};
	return OK_NODATA;
}

static uint32_t update_cursor(struct swdev *dev, const uint8_t *command, bool image)
{
	struct swdev_gpu *gpu = swdev_gpu_state(dev);
	uint32_t id = get32(command + 40);
	const struct swdev_resource *resource = image && id ? resource_of(dev, id) : NULL;

	gpu->cursor_scanout = get32(command + 24);
	gpu->cursor_x = get32(command + 28);
	gpu->cursor_y = get32(command + 32);
	if (!image)
		return OK_NODATA;
	gpu->cursor_resource = id;
	gpu->cursor_hot_x = get32(command + 44);
	gpu->cursor_hot_y = get32(command + 48);
	/* "Configure mouse cursor": it must be 64x64 */
	if (resource && (!resource->pixels || resource->width != 64 || resource->height != 64 || resource->format != 1))
		swdev_violation(dev, "a cursor of %u x %u pixels", resource->width, resource->height);
	else if (resource)
		memcpy(gpu->cursor, resource->pixels, sizeof(gpu->cursor));
	return OK_NODATA;
}

static uint32_t obey(struct swdev *dev, uint16_t queue, const uint8_t *command, uint32_t length, uint8_t *answer)
{
	static const struct {
		uint16_t type, length;
	} commands[] = {{0x100, 24}, {0x101, 40}, {0x102, 32}, {0x103, 48}, {0x104, 48}, {0x105, 56},
	                {0x106, 48}, {0x10a, 32}, {0x10c, 72}, {0x10d, 96}, {0x300, 56}, {0x301, 56}};
	uint32_t type = get32(command);
	unsigned known = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		known += commands[i].type == type && commands[i].length == length;
	if (!known || (type >= 0x300) != (queue == CURSORQ)) {
		swdev_violation(dev, "command %#x of %u bytes on queue %u", type, length, queue);
		return ERR_UNSPEC;
	}
	swdev_gpu_state(dev)->commands[type]++;
	if (swdev_gpu_state(dev)->fails == type || swdev_gpu_state(dev)->fails == UINT32_MAX)
		return ERR_UNSPEC;
	switch (type) {
	case 0x100:
		return display_info(dev, answer);
	case 0x101:
		return create(dev, command, false);
	case 0x102:
		return unref(dev, command);
	case 0x103:
	case 0x10d:
		return set_scanout(dev, command);
	case 0x104:
		return flush(dev, command);
	case 0x105:
		return transfer(dev, command);
	case 0x106:
		return attach(dev, command);
	case 0x10a:
		return edid(dev, command, answer);
	case 0x10c:
		return create(dev, command, true);
	default:
		return update_cursor(dev, command, type == 0x300);
	}
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev_gpu *gpu = swdev_gpu_state(queue->dev);
	uint8_t command[128] = {0}, answer[1056] = {0};
	uint32_t length = (uint32_t)swdev_chain_read(chain, 0, command, sizeof(command)), type;

	type = obey(queue->dev, queue->index, command, length, answer);
	put32(answer, type);
	memcpy(answer + 4, command + 4, 12); /* the fence */
	length = type == OK_DISPLAY_INFO ? 408 : type == OK_EDID ? 1056 : 24;
	if (gpu->short_answer)
		length = gpu->short_answer;
	*written = (uint32_t)swdev_chain_write(chain, 0, answer, length);
	if (*written < length && queue->index == CONTROLQ)
		swdev_violation(queue->dev, "only %u bytes for an answer", *written);
	return true;
}

const struct swdev_type swdev_gpu = {
	.id = 16,
	.name = "gpu",
	.queues = 2,
	.features = FEATURE(GPU_F_EDID),
	.fields = fields,
	.rules = rules,
	.config_size = 20,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.config_written = config_written,
};

/* ---- its lies ---- */

static void short_answers(struct swdev *dev) { swdev_gpu_state(dev)->short_answer = 23, dev->lies_told++; }
static void nothing_works(struct swdev *dev) { swdev_gpu_state(dev)->fails = UINT32_MAX, dev->lies_told++; }

static void huge_display(struct swdev *dev)
{
	swdev_gpu_state(dev)->displays[0].width = swdev_gpu_state(dev)->displays[0].height = UINT32_MAX;
	dev->lies_told++;
}

static void large_display(struct swdev *dev)
{
	swdev_gpu_state(dev)->displays[0].width = swdev_gpu_state(dev)->displays[0].height = 16384;
	dev->lies_told++;
}

static void restless_display(struct swdev *dev)
{
	if (dev->looks % 4 || dev->lies_told > 50)
		return;
	swdev_gpu_display(dev, 0, 100 + dev->looks % 50, 100 + dev->looks % 70);
	dev->lies_told++;
}

static const struct swdev_lie lies[] = {
	{.name = "GPU answers of 23 bytes", .type = &swdev_gpu, .setup = short_answers, .says = "an answer of 23 bytes"},
	{.name = "no GPU command works", .type = &swdev_gpu, .setup = nothing_works, .says = "failed: 0x1200"},
	{.name = "display of 2^64 pixels", .type = &swdev_gpu, .setup = huge_display, .says = "no memory for"},
	{.name = "display of 2^28 pixels", .type = &swdev_gpu, .setup = large_display, .says = "no memory for"},
	{.name = "display of another size all the time", .type = &swdev_gpu, .at_look = restless_display, .harmless = true},
	{.name = "no displays",
         .type = &swdev_gpu,
         .reg = REG_CONFIG,
         .index = NUM_SCANOUTS,
         .op = OP_SET,
         .says = "num_scanouts 0"},
	{.name = "17 displays",
         .type = &swdev_gpu,
         .reg = REG_CONFIG,
         .index = NUM_SCANOUTS,
         .op = OP_SET,
         .value = 17,
         .says = "num_scanouts 17"},
	{},
};
SWDEV_LIES(lies);

/* ---- work: squares, which end up on the device's side ---- */

static bool begin(struct swdev_work *work)
{
	struct framebuffer *framebuffer = framebuffer_find(work->dev->vdev->name);

	if (!framebuffer || !framebuffer->width)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		struct framebuffer_rect rect = {7 * i, 5 * i, 16, 16};

		framebuffer_fill(framebuffer, rect, 0x123456 * (i + 1) & 0xffffff);
		framebuffer_flush(framebuffer, rect);
	}
	return true;
}

static bool complete(const struct swdev_work *work)
{
	const struct framebuffer *framebuffer = framebuffer_find(work->dev->vdev->name);

	return framebuffer && framebuffer->width && !framebuffer->busy && !framebuffer->dirty.width;
}

static bool check(struct swdev_work *work)
{
	const struct framebuffer *framebuffer = framebuffer_find(work->dev->vdev->name);
	const struct swdev_display *display = &swdev_gpu_state(work->dev)->displays[0];

	return framebuffer && display->shown && display->shown_width == framebuffer->width &&
	       display->shown_height == framebuffer->height &&
	       !memcmp(display->shown, framebuffer->pixels, 4ull * framebuffer->width * framebuffer->height);
}

static const struct swdev_workload gpu_load = {.type = &swdev_gpu,
                                               .begin = begin,
                                               .complete = complete,
                                               .check = check,
                                               .frames = true};
LINKER_ENTRY(swdev_workloads, gpu_load);
