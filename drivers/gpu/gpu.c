/*
 * "GPU Device", 2D mode: each display has one resource, backed by memory that programs draw in.
 *
 * What a display should be (wanted size, dirty rectangle) and what the device has of it (stage) are kept apart. One command at a time is
 * on the controlq: the next step from what is to what should be, chosen anew each time one has ended. So start, hot-resize and the way back
 * after a reset are the same thing, and nothing here ever waits but start() for the displays to be up. Commands carry a fence: an
 * answer says that the device is through with it.
 *
 * With blob resources a display is scanned out from our memory, and there is no transfer.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "gpu_impl.h"

enum { VIRTIO_GPU_F_EDID = 1, VIRTIO_GPU_F_RESOURCE_BLOB = 3, VIRTIO_GPU_F_BLOB_ALIGNMENT = 5 };
enum { CONTROLQ, CURSORQ, QUEUES };

#define FALLBACK_WIDTH 1024u /* "Device Initialization": MAY, if no information is available */
#define FALLBACK_HEIGHT 768u

/* ---- commands ---- */

void gpu_send(struct gpu *gpu, struct lane *lane, uint32_t type, size_t size, void (*done)(struct virtio_request *))
{
	lane->command.hdr = (struct virtio_gpu_ctrl_hdr){.type = cpu_to_le32(type),
	                                                 .flags = cpu_to_le32(FLAG_FENCE),
	                                                 .fence_id = cpu_to_le64(++gpu->fence)};
	lane->bufs[0] = (struct virtq_buf){&lane->command, (uint32_t)size};
	lane->bufs[1] = (struct virtq_buf){&lane->answer, sizeof(lane->answer)};
	lane->request =
		(struct virtio_request){.bufs = lane->bufs, .nreadable = 1, .nwritable = lane == &gpu->control, .done = done};
	lane->busy = true;
	virtio_request_submit(&lane->queue, &lane->request);
}

/* What the device says of the command; 0: nothing, since it was reset or broke the rules. */
static uint32_t answer_of(struct gpu *gpu)
{
	struct lane *lane = &gpu->control;

	lane->busy = false;
	if (lane->request.status)
		return 0;
	if (lane->request.written < sizeof(lane->answer.hdr)) {
		virtio_device_broken(gpu->vdev, "controlq: an answer of %u bytes", lane->request.written);
		return 0;
	}
	memset((char *)&lane->answer + lane->request.written, 0, sizeof(lane->answer) - lane->request.written);
	return le32_to_cpu(lane->answer.hdr.type);
}

static void control_done(struct virtio_request *request);

void gpu_control(struct gpu *gpu, uint32_t type, size_t size) { gpu_send(gpu, &gpu->control, type, size, control_done); }

/* ---- the next command, and what came of it ---- */

void gpu_pump(struct gpu *gpu)
{
	pointer_step(gpu);
	if (gpu->control.busy || !gpu->control.queue.vq)
		return;
	if (gpu->ask_info) {
		gpu->ask_info = false;
		gpu_control(gpu, CMD_GET_DISPLAY_INFO, sizeof(struct virtio_gpu_ctrl_hdr));
		return;
	}
	for (uint32_t i = 0; i < gpu->count; i++)
		if (display_step(gpu, &gpu->displays[i]))
			return;
	gpu->settled = true;
	cursor_step(gpu);
}

static void info_done(struct gpu *gpu, bool good)
{
	const struct virtio_gpu_resp_display_info *info = &gpu->control.answer.info;
	bool any = false;

	for (uint32_t i = 0; i < gpu->count; i++) {
		struct display *display = &gpu->displays[i];
		uint32_t width = le32_to_cpu(info->pmodes[i].r.width), height = le32_to_cpu(info->pmodes[i].r.height);
		bool on = good && info->pmodes[i].enabled && width && height;

		display->wanted_width = on ? width : 0;
		display->wanted_height = on ? height : 0;
		display->ask_edid = on && virtio_has(gpu->vdev, VIRTIO_GPU_F_EDID);
		any |= on;
	}
	if (!any) {
		gpu->displays[0].wanted_width = FALLBACK_WIDTH;
		gpu->displays[0].wanted_height = FALLBACK_HEIGHT;
	}
}

static void control_done(struct virtio_request *request)
{
	struct gpu *gpu = container_of(request, struct gpu, control.request);
	uint32_t type = le32_to_cpu(gpu->control.command.hdr.type), said = answer_of(gpu);

	if (!said)
		return;
	if (type == CMD_GET_DISPLAY_INFO)
		info_done(gpu, said == RESP_OK_DISPLAY_INFO);
	else if (gpu->display)
		display_done(gpu, gpu->display, type, said == (type == CMD_GET_EDID ? RESP_OK_EDID : RESP_OK_NODATA));
	else
		cursor_done(gpu, type, said == RESP_OK_NODATA);
	gpu_pump(gpu);
}

static void changed(struct framebuffer *framebuffer) { gpu_pump(display_of(framebuffer)->gpu); }

static const struct framebuffer_ops ops = {.changed = changed, .cursor = pointer_set, .move = pointer_move};

/* ---- life ---- */

#define CONFIG(member) offsetof(struct virtio_gpu_config, member)

static int probe(struct virtio_device *vdev)
{
	uint32_t count = virtio_config_u32(vdev, CONFIG(num_scanouts), 0), alignment = 0;
	struct gpu *gpu;

	if (!count || count > SCANOUTS_MAX)
		return virtio_refuse(vdev, -EINVAL, "num_scanouts %u", count);
	if (virtio_has(vdev, VIRTIO_GPU_F_RESOURCE_BLOB))
		alignment = virtio_has(vdev, VIRTIO_GPU_F_BLOB_ALIGNMENT) ? virtio_config_u32(vdev, CONFIG(blob_alignment), 0)
		                                                          : PAGE_SIZE;
	if (virtio_has(vdev, VIRTIO_GPU_F_RESOURCE_BLOB) && (!alignment || alignment & (alignment - 1)))
		return virtio_refuse(vdev, -EINVAL, "blob_alignment %u", alignment);
	gpu = page_alloc(sizeof(*gpu), PAGE_SIZE);
	if (!gpu)
		return -ENOMEM;
	gpu->vdev = vdev;
	gpu->blob_alignment = alignment;
	gpu->count = count;
	gpu->cursor.id = SCANOUTS_MAX + 1;
	virtio_requestq_init(&gpu->control.queue);
	virtio_requestq_init(&gpu->pointer.queue);
	gpu->control.queue.again = gpu->pointer.queue.again = true; /* each command says what shall be, so twice is as once */
	for (uint32_t i = 0; i < count; i++) {
		struct display *display = &gpu->displays[i];

		display->gpu = gpu;
		display->surface.id = i + 1;
		display->framebuffer.ops = &ops;
		display->framebuffer.node.name = display->name;
		format_text(display->name, sizeof(display->name), i ? "%s.%u" : "%s", vdev->name, i);
	}
	vdev->driver_data = gpu;
	return 0;
}

/* The device has nothing yet, or no longer. */
static void forget(struct gpu *gpu)
{
	gpu->cursor.stage = NONE;
	gpu->cursor_dirty = gpu->cursor_visible;
	gpu->cursor_set |= gpu->cursor_visible;
	gpu->cursor_ready = gpu->settled = false;
	gpu->ask_info = true;
	for (uint32_t i = 0; i < gpu->count; i++) {
		gpu->displays[i].surface.stage = NONE;
		gpu->displays[i].on_its_way.width = 0;
	}
}

static int start(struct virtio_device *vdev)
{
	struct gpu *gpu = vdev->driver_data;
	const struct virtq_spec specs[QUEUES] = {
		[CONTROLQ] = virtio_requestq_spec(&gpu->control.queue, "controlq", 2),
		[CURSORQ] = virtio_requestq_spec(&gpu->pointer.queue, "cursorq", 2),
	};
	int error = virtio_service_start(vdev, QUEUES, specs);

	if (error)
		return error;
	forget(gpu);
	gpu_pump(gpu);
	if (!virtio_start_wait(vdev, &gpu->settled))
		return virtio_refuse(vdev, -ETIMEDOUT, "its displays do not come up");
	for (uint32_t i = 0; i < gpu->count; i++)
		framebuffer_register(&gpu->displays[i].framebuffer);
	return 0;
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct gpu *gpu = vdev->driver_data;

	virtio_service_refill(vdev, vq);
	gpu_pump(gpu);
}

static void remove(struct virtio_device *vdev)
{
	struct gpu *gpu = vdev->driver_data;

	for (uint32_t i = 0; i < gpu->count; i++) {
		framebuffer_unregister(&gpu->displays[i].framebuffer);
		surface_free(gpu, &gpu->displays[i].surface);
	}
	virtio_requestq_end(&gpu->control.queue);
	virtio_requestq_end(&gpu->pointer.queue);
	surface_free(gpu, &gpu->cursor);
	page_free(gpu, sizeof(*gpu));
}

static void config_changed(struct virtio_device *vdev)
{
	struct gpu *gpu = vdev->driver_data;
	uint32_t events = virtio_config_u32(vdev, CONFIG(events_read), 0) & EVENT_DISPLAY;
	le32 clear = cpu_to_le32(events);

	if (!events || virtio_config_write(vdev, CONFIG(events_clear), &clear, sizeof(clear)))
		return;
	gpu->ask_info = true;
	gpu_pump(gpu);
}

static const struct virtio_feature_rule rules[] = {
	{VIRTIO_GPU_F_BLOB_ALIGNMENT, BIT64(VIRTIO_GPU_F_RESOURCE_BLOB)},
	{0, 0},
};

static const struct virtio_driver gpu_driver = {
	.name = "virtio-gpu",
	.instance = "gpu",
	.type = VIRTIO_ID_GPU,
	.features = BIT64(VIRTIO_GPU_F_EDID) | BIT64(VIRTIO_GPU_F_RESOURCE_BLOB) | BIT64(VIRTIO_GPU_F_BLOB_ALIGNMENT),
	.rules = rules,
	.config_size = sizeof(struct virtio_gpu_config),
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = queue_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(gpu_driver);
