/*
 * The pointer: a resource of its own, filled over the controlq, and then shown and moved by commands on the cursorq, which overtake what
 * the controlq has to do; they bring no answer, since QEMU's device gives none. Moves gather while one is on its way.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>

#include "gpu_impl.h"

#define CURSOR_BYTES (FRAMEBUFFER_CURSOR * FRAMEBUFFER_CURSOR * 4)

/* The image on its way to the device, by the controlq. False: it is there, or none is wanted. */
bool cursor_step(struct gpu *gpu)
{
	gpu->display = NULL;
	if (!gpu->cursor_visible || (gpu->cursor.stage == BACKED && !gpu->cursor_dirty))
		return false;
	if (gpu->cursor.stage < BACKED) {
		surface_back(gpu, &gpu->cursor, FORMAT_B8G8R8A8, false);
	} else {
		gpu->cursor_dirty = false;
		surface_transfer(gpu, &gpu->cursor,
		                 (struct framebuffer_rect){.width = FRAMEBUFFER_CURSOR, .height = FRAMEBUFFER_CURSOR});
	}
	return true;
}

void cursor_done(struct gpu *gpu, uint32_t type, bool good)
{
	if (!good) {
		log_warn("%s: no pointer: command 0x%x failed: 0x%x", gpu->vdev->name, type,
		         le32_to_cpu(gpu->control.answer.hdr.type));
		gpu->cursor_visible = false;
	} else if (type == CMD_TRANSFER_TO_HOST_2D) {
		gpu->cursor_ready = !gpu->cursor_dirty;
	} else {
		gpu->cursor.stage++;
	}
}

static void pointer_done(struct virtio_request *request)
{
	struct gpu *gpu = container_of(request, struct gpu, pointer.request);

	gpu->pointer.busy = false;
	if (!request->status)
		gpu_pump(gpu);
}

/* "Device Operation: Configure mouse cursor": MUST make sure that the commands that fill the image are completed */
void pointer_step(struct gpu *gpu)
{
	bool set = gpu->cursor_set && (!gpu->cursor_visible || gpu->cursor_ready);

	if (gpu->pointer.busy || !gpu->pointer.queue.vq || (!set && !gpu->cursor_moved))
		return;
	gpu->pointer.command.cursor = (struct virtio_gpu_update_cursor){
		.pos = {.scanout_id = cpu_to_le32(gpu->scanout), .x = cpu_to_le32(gpu->x), .y = cpu_to_le32(gpu->y)},
		.resource_id = cpu_to_le32(gpu->cursor_visible ? gpu->cursor.id : 0),
		.hot_x = cpu_to_le32(gpu->hot_x),
		.hot_y = cpu_to_le32(gpu->hot_y),
	};
	gpu->cursor_moved = false;
	gpu->cursor_set = gpu->cursor_set && !set;
	gpu_send(gpu, &gpu->pointer, set ? CMD_UPDATE_CURSOR : CMD_MOVE_CURSOR, sizeof(gpu->pointer.command.cursor),
	         pointer_done);
}

int pointer_set(struct framebuffer *framebuffer, const uint32_t *image, uint32_t hot_x, uint32_t hot_y)
{
	struct gpu *gpu = display_of(framebuffer)->gpu;

	if (image && !gpu->cursor.pixels && !surface_alloc(gpu, &gpu->cursor, FRAMEBUFFER_CURSOR, FRAMEBUFFER_CURSOR))
		return -ENOMEM;
	if (image)
		memcpy(gpu->cursor.pixels, image, CURSOR_BYTES);
	gpu->scanout = (uint32_t)(display_of(framebuffer) - gpu->displays);
	gpu->hot_x = hot_x;
	gpu->hot_y = hot_y;
	gpu->cursor_visible = gpu->cursor_dirty = image;
	gpu->cursor_ready = false;
	gpu->cursor_set = true;
	gpu_pump(gpu);
	return 0;
}

void pointer_move(struct framebuffer *framebuffer, uint32_t x, uint32_t y)
{
	struct gpu *gpu = display_of(framebuffer)->gpu;

	gpu->scanout = (uint32_t)(display_of(framebuffer) - gpu->displays);
	gpu->x = x;
	gpu->y = y;
	gpu->cursor_moved = true;
	gpu_pump(gpu);
}
