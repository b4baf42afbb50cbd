/*
 * What goes over a GPU device's queues in 2D mode: "GPU Device / Device Operation".
 */
#ifndef DRIVERS_GPU_GPU_WIRE_H
#define DRIVERS_GPU_GPU_WIRE_H

#include <base/endian.h>

enum {
	CMD_GET_DISPLAY_INFO = 0x0100,
	CMD_RESOURCE_CREATE_2D,
	CMD_RESOURCE_UNREF,
	CMD_SET_SCANOUT,
	CMD_RESOURCE_FLUSH,
	CMD_TRANSFER_TO_HOST_2D,
	CMD_RESOURCE_ATTACH_BACKING,
	CMD_GET_EDID = 0x010a,
	CMD_RESOURCE_CREATE_BLOB = 0x010c,
	CMD_SET_SCANOUT_BLOB,
	CMD_UPDATE_CURSOR = 0x0300,
	CMD_MOVE_CURSOR,
	RESP_OK_NODATA = 0x1100,
	RESP_OK_DISPLAY_INFO,
	RESP_OK_EDID = 0x1104,
};
enum { FLAG_FENCE = 1, EVENT_DISPLAY = 1, BLOB_MEM_GUEST = 1, BLOB_FLAG_USE_MAPPABLE = 1 };
enum { FORMAT_B8G8R8A8 = 1, FORMAT_B8G8R8X8 = 2 };
#define SCANOUTS_MAX 16u

struct virtio_gpu_config {
	le32 events_read, events_clear, num_scanouts, num_capsets, blob_alignment;
};
struct virtio_gpu_ctrl_hdr {
	le32 type, flags;
	le64 fence_id;
	le32 ctx_id;
	uint8_t ring_idx, padding[3];
};
struct virtio_gpu_rect {
	le32 x, y, width, height;
};
struct virtio_gpu_resp_display_info {
	struct virtio_gpu_ctrl_hdr hdr;
	struct {
		struct virtio_gpu_rect r;
		le32 enabled, flags;
	} pmodes[SCANOUTS_MAX];
};
struct virtio_gpu_get_edid {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 scanout, padding;
};
struct virtio_gpu_resp_edid {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 size, padding;
	uint8_t edid[1024];
};
struct virtio_gpu_resource_create_2d {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 resource_id, format, width, height;
};
struct virtio_gpu_resource_unref {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 resource_id, padding;
};
struct virtio_gpu_set_scanout {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_rect r;
	le32 scanout_id, resource_id;
};
struct virtio_gpu_resource_flush {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_rect r;
	le32 resource_id, padding;
};
struct virtio_gpu_transfer_to_host_2d {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_rect r;
	le64 offset;
	le32 resource_id, padding;
};
struct virtio_gpu_mem_entry {
	le64 addr;
	le32 length, padding;
};
struct virtio_gpu_resource_attach_backing {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 resource_id, nr_entries;
	struct virtio_gpu_mem_entry entry;
};
struct virtio_gpu_resource_create_blob {
	struct virtio_gpu_ctrl_hdr hdr;
	le32 resource_id, blob_mem, blob_flags, nr_entries;
	le64 blob_id, size;
	struct virtio_gpu_mem_entry entry;
};
struct virtio_gpu_set_scanout_blob {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_rect r;
	le32 scanout_id, resource_id, width, height, format, padding, strides[4], offsets[4];
};
struct virtio_gpu_update_cursor {
	struct virtio_gpu_ctrl_hdr hdr;
	struct {
		le32 scanout_id, x, y, padding;
	} pos;
	le32 resource_id, hot_x, hot_y, padding;
};

_Static_assert(sizeof(struct virtio_gpu_config) == 20, "virtio_gpu_config");
_Static_assert(sizeof(struct virtio_gpu_ctrl_hdr) == 24, "virtio_gpu_ctrl_hdr");
_Static_assert(sizeof(struct virtio_gpu_resp_display_info) == 408, "virtio_gpu_resp_display_info");
_Static_assert(sizeof(struct virtio_gpu_resp_edid) == 1056, "virtio_gpu_resp_edid");
_Static_assert(sizeof(struct virtio_gpu_resource_create_2d) == 40, "virtio_gpu_resource_create_2d");
_Static_assert(sizeof(struct virtio_gpu_set_scanout) == 48, "virtio_gpu_set_scanout");
_Static_assert(sizeof(struct virtio_gpu_resource_flush) == 48, "virtio_gpu_resource_flush");
_Static_assert(sizeof(struct virtio_gpu_transfer_to_host_2d) == 56, "virtio_gpu_transfer_to_host_2d");
_Static_assert(sizeof(struct virtio_gpu_resource_attach_backing) == 48, "virtio_gpu_resource_attach_backing");
_Static_assert(sizeof(struct virtio_gpu_resource_create_blob) == 72, "virtio_gpu_resource_create_blob");
_Static_assert(sizeof(struct virtio_gpu_set_scanout_blob) == 96, "virtio_gpu_set_scanout_blob");
_Static_assert(sizeof(struct virtio_gpu_update_cursor) == 56, "virtio_gpu_update_cursor");

#endif
