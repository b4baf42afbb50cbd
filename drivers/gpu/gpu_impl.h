/*
 * Inside the GPU driver: gpu.c is its life and what comes next on the controlq, gpu_display.c the commands for displays, gpu_pointer.c the
 * pointer.
 */
#ifndef DRIVERS_GPU_GPU_IMPL_H
#define DRIVERS_GPU_GPU_IMPL_H

#include <class/framebuffer.h>
#include <virtio/request.h>

#include "gpu_wire.h"

/* A resource, as far as the device has it. */
enum stage { NONE, CREATED, BACKED, SHOWN };

struct surface {
	enum stage stage;
	uint32_t id, width, height;
	uint32_t *pixels;
	dma_addr_t address;
	size_t bytes;
};

struct display {
	struct framebuffer framebuffer;
	struct gpu *gpu;
	char name[24];
	uint32_t wanted_width, wanted_height; /* 0: off */
	bool ask_edid;
	struct surface surface;
	struct framebuffer_rect on_its_way; /* transferred, to be flushed */
};

union command {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_get_edid edid;
	struct virtio_gpu_resource_create_2d create;
	struct virtio_gpu_resource_unref unref;
	struct virtio_gpu_set_scanout scanout;
	struct virtio_gpu_resource_flush flush;
	struct virtio_gpu_transfer_to_host_2d transfer;
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_resource_create_blob blob;
	struct virtio_gpu_set_scanout_blob scanout_blob;
	struct virtio_gpu_update_cursor cursor;
};

/* A queue with one command on it at a time. */
struct lane {
	struct virtio_requestq queue;
	struct virtio_request request;
	struct virtq_buf bufs[2];
	union command command;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resp_display_info info;
		struct virtio_gpu_resp_edid edid;
	} answer;
	bool busy;
};

struct gpu {
	struct virtio_device *vdev;
	struct lane control, pointer;
	struct display *display; /* whom the command on the controlq is for; NULL: the pointer or all */
	uint64_t fence;
	uint32_t blob_alignment; /* 0: no blobs */
	bool ask_info, settled;

	struct surface cursor;
	bool cursor_visible, cursor_dirty, cursor_ready; /* has an image; not transferred yet; transferred */
	bool cursor_set, cursor_moved;                   /* UPDATE_CURSOR, MOVE_CURSOR are due */
	uint32_t hot_x, hot_y, x, y, scanout;

	uint32_t count;
	struct display displays[SCANOUTS_MAX];
};

/* gpu.c: send what is in lane->command, with an answer on the controlq only; the next command. */
void gpu_send(struct gpu *gpu, struct lane *lane, uint32_t type, size_t size, void (*done)(struct virtio_request *));
void gpu_control(struct gpu *gpu, uint32_t type, size_t size);
void gpu_pump(struct gpu *gpu);

/* gpu_display.c: memory of a surface; the next command on its way up to a backed resource; a transfer. */
bool surface_alloc(struct gpu *gpu, struct surface *surface, uint32_t width, uint32_t height);
void surface_free(struct gpu *gpu, struct surface *surface);
void surface_back(struct gpu *gpu, const struct surface *surface, uint32_t format, bool blob);
void surface_transfer(struct gpu *gpu, const struct surface *surface, struct framebuffer_rect rect);
/* The next command for a display, false: it is as it should be; and when one has ended. */
bool display_step(struct gpu *gpu, struct display *display);
void display_done(struct gpu *gpu, struct display *display, uint32_t type, bool good);

/* gpu_pointer.c: the same for the pointer's image, and its commands on the cursorq. */
bool cursor_step(struct gpu *gpu);
void cursor_done(struct gpu *gpu, uint32_t type, bool good);
void pointer_step(struct gpu *gpu);
int pointer_set(struct framebuffer *framebuffer, const uint32_t *image, uint32_t hot_x, uint32_t hot_y);
void pointer_move(struct framebuffer *framebuffer, uint32_t x, uint32_t y);

static inline struct display *display_of(struct framebuffer *framebuffer)
{
	return container_of(framebuffer, struct display, framebuffer);
}

#endif
