/*
 * The commands for a display: up from nothing to a resource with our memory behind it that is scanned out, down again when the size is
 * another one, and what has changed in between.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>

#include "gpu_impl.h"

#define SIDE_MAX 16384u

static struct virtio_gpu_rect wire_rect(uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	return (struct virtio_gpu_rect){cpu_to_le32(x), cpu_to_le32(y), cpu_to_le32(width), cpu_to_le32(height)};
}

/* ---- surfaces ---- */

void surface_free(struct gpu *gpu, struct surface *surface)
{
	if (surface->pixels)
		dma_free(virtio_dma(gpu->vdev), surface->pixels, surface->bytes, surface->address);
	surface->pixels = NULL;
	surface->width = surface->height = 0;
}

bool surface_alloc(struct gpu *gpu, struct surface *surface, uint32_t width, uint32_t height)
{
	/* "Device Operation: controlq": size MUST be aligned to blob_alignment */
	size_t alignment = MAX(gpu->blob_alignment, PAGE_SIZE), bytes = ALIGN_UP((size_t)width * height * 4, alignment);

	if (width > SIDE_MAX || height > SIDE_MAX || bytes > UINT32_MAX)
		return false;
	surface->pixels = dma_alloc(virtio_dma(gpu->vdev), bytes, PAGE_SIZE, &surface->address);
	surface->bytes = bytes;
	surface->width = width;
	surface->height = height;
	return surface->pixels;
}

static struct virtio_gpu_mem_entry entry_of(const struct surface *surface)
{
	return (struct virtio_gpu_mem_entry){cpu_to_le64(surface->address), cpu_to_le32((uint32_t)surface->bytes), 0};
}

/* The next command on the way up to a backed resource. */
void surface_back(struct gpu *gpu, const struct surface *surface, uint32_t format, bool blob)
{
	union command *command = &gpu->control.command;

	if (blob) {
		command->blob = (struct virtio_gpu_resource_create_blob){.resource_id = cpu_to_le32(surface->id),
		                                                         .blob_mem = cpu_to_le32(BLOB_MEM_GUEST),
		                                                         .blob_flags = cpu_to_le32(BLOB_FLAG_USE_MAPPABLE),
		                                                         .nr_entries = cpu_to_le32(1),
		                                                         .size = cpu_to_le64(surface->bytes),
		                                                         .entry = entry_of(surface)};
		gpu_control(gpu, CMD_RESOURCE_CREATE_BLOB, sizeof(command->blob));
	} else if (surface->stage == NONE) {
		command->create = (struct virtio_gpu_resource_create_2d){.resource_id = cpu_to_le32(surface->id),
		                                                         .format = cpu_to_le32(format),
		                                                         .width = cpu_to_le32(surface->width),
		                                                         .height = cpu_to_le32(surface->height)};
		gpu_control(gpu, CMD_RESOURCE_CREATE_2D, sizeof(command->create));
	} else {
		command->attach = (struct virtio_gpu_resource_attach_backing){.resource_id = cpu_to_le32(surface->id),
		                                                              .nr_entries = cpu_to_le32(1),
		                                                              .entry = entry_of(surface)};
		gpu_control(gpu, CMD_RESOURCE_ATTACH_BACKING, sizeof(command->attach));
	}
}

void surface_transfer(struct gpu *gpu, const struct surface *surface, struct framebuffer_rect rect)
{
	union command *command = &gpu->control.command;
	uint64_t first = (uint64_t)rect.y * surface->width + rect.x;

	command->transfer = (struct virtio_gpu_transfer_to_host_2d){.r = wire_rect(rect.x, rect.y, rect.width, rect.height),
	                                                            .offset = cpu_to_le64(4 * first),
	                                                            .resource_id = cpu_to_le32(surface->id)};
	gpu_control(gpu, CMD_TRANSFER_TO_HOST_2D, sizeof(command->transfer));
}

/* ---- displays ---- */

static void set_scanout(struct gpu *gpu, const struct display *display, uint32_t resource)
{
	const struct surface *surface = &display->surface;
	union command *command = &gpu->control.command;
	struct virtio_gpu_rect rect = wire_rect(0, 0, surface->width, surface->height);
	uint32_t scanout = (uint32_t)(display - gpu->displays);

	if (gpu->blob_alignment && resource) {
		command->scanout_blob = (struct virtio_gpu_set_scanout_blob){.r = rect,
		                                                             .scanout_id = cpu_to_le32(scanout),
		                                                             .resource_id = cpu_to_le32(resource),
		                                                             .width = rect.width,
		                                                             .height = rect.height,
		                                                             .format = cpu_to_le32(FORMAT_B8G8R8X8),
		                                                             .strides = {cpu_to_le32(4 * surface->width)}};
		gpu_control(gpu, CMD_SET_SCANOUT_BLOB, sizeof(command->scanout_blob));
	} else {
		command->scanout = (struct virtio_gpu_set_scanout){.r = rect,
		                                                   .scanout_id = cpu_to_le32(scanout),
		                                                   .resource_id = cpu_to_le32(resource)};
		gpu_control(gpu, CMD_SET_SCANOUT, sizeof(command->scanout));
	}
}

/* Down: the size is another one. */
static void display_lower(struct gpu *gpu, struct display *display)
{
	struct surface *surface = &display->surface;
	union command *command = &gpu->control.command;

	if (surface->stage == SHOWN) {
		set_scanout(gpu, display, 0);
		return;
	}
	command->unref = (struct virtio_gpu_resource_unref){.resource_id = cpu_to_le32(surface->id)};
	gpu_control(gpu, CMD_RESOURCE_UNREF, sizeof(command->unref));
}

/* The next command for a display. False: it is as it should be. */
bool display_step(struct gpu *gpu, struct display *display)
{
	struct surface *surface = &display->surface;
	bool wrong = surface->width != display->wanted_width || surface->height != display->wanted_height;
	union command *command = &gpu->control.command;
	struct framebuffer_rect rect = display->on_its_way;

	gpu->display = display;
	if (wrong && display->framebuffer.width)
		framebuffer_resize(&display->framebuffer, 0, 0, NULL);
	if (wrong && surface->stage != NONE) {
		display_lower(gpu, display);
		return true;
	}
	if (wrong) {
		surface_free(gpu, surface);
		if (display->wanted_width && !surface_alloc(gpu, surface, display->wanted_width, display->wanted_height)) {
			log_warn("%s: no memory for %u x %u pixels", display->name, display->wanted_width,
			         display->wanted_height);
			surface->width = surface->height = display->wanted_width = display->wanted_height = 0;
		}
	}
	if (display->ask_edid) {
		display->ask_edid = false;
		command->edid = (struct virtio_gpu_get_edid){.scanout = cpu_to_le32((uint32_t)(display - gpu->displays))};
		gpu_control(gpu, CMD_GET_EDID, sizeof(command->edid));
		return true;
	}
	if (!surface->width)
		return false;
	if (surface->stage < BACKED) {
		surface_back(gpu, surface, FORMAT_B8G8R8X8, gpu->blob_alignment);
	} else if (surface->stage == BACKED) {
		set_scanout(gpu, display, surface->id);
	} else if (rect.width || (gpu->blob_alignment && framebuffer_take(&display->framebuffer, &rect))) {
		display->on_its_way = rect;
		command->flush = (struct virtio_gpu_resource_flush){.r = wire_rect(rect.x, rect.y, rect.width, rect.height),
		                                                    .resource_id = cpu_to_le32(surface->id)};
		gpu_control(gpu, CMD_RESOURCE_FLUSH, sizeof(command->flush));
	} else if (framebuffer_take(&display->framebuffer, &rect)) {
		display->on_its_way = rect;
		surface_transfer(gpu, surface, rect);
	} else {
		return false;
	}
	return true;
}

/* A command for a display has ended. */
void display_done(struct gpu *gpu, struct display *display, uint32_t type, bool good)
{
	struct surface *surface = &display->surface;
	const struct virtio_gpu_resp_edid *edid = &gpu->control.answer.edid;
	bool down = surface->width != display->wanted_width || surface->height != display->wanted_height;

	switch (type) {
	case CMD_GET_EDID:
		display->framebuffer.edid_bytes = good ? MIN(le32_to_cpu(edid->size), FRAMEBUFFER_EDID_MAX) : 0;
		memcpy(display->framebuffer.edid, edid->edid, sizeof(edid->edid));
		return;
	case CMD_TRANSFER_TO_HOST_2D:
		if (good)
			return;
		break;
	case CMD_RESOURCE_FLUSH:
		break;
	case CMD_RESOURCE_UNREF: /* what it makes of that is its own affair */
		surface->stage = NONE;
		return;
	default:
		if (!good && !down) {
			log_warn("%s: off: command 0x%x failed: 0x%x", display->name, type,
			         le32_to_cpu(gpu->control.answer.hdr.type));
			display->wanted_width = display->wanted_height = 0;
		} else if (surface->stage == SHOWN) {
			surface->stage = BACKED; /* its scanout is off */
		} else {
			surface->stage = type == CMD_RESOURCE_CREATE_BLOB ? BACKED : surface->stage + 1;
			if (surface->stage == SHOWN)
				framebuffer_resize(&display->framebuffer, surface->width, surface->height, surface->pixels);
		}
		return;
	}
	display->on_its_way.width = 0;
	framebuffer_shown(&display->framebuffer, good ? 0 : -EIO);
}
