/*
 * "Input Device": what it is and can do is asked for once, by select and subsel; then it reports events on the eventq, and is told of LEDs
 * on the statusq. Events of types and codes that it never announced are ignored.
 *
 * A status is copied into a slot of ours and forgotten by the sender. What a reset finds under way goes out again: the last value wins.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/input.h>
#include <virtio/ids.h>
#include <virtio/request.h>

/* "Input Device / Device configuration layout" */
enum {
	CFG_ID_NAME = 0x01,
	CFG_ID_SERIAL = 0x02,
	CFG_ID_DEVIDS = 0x03,
	CFG_PROP_BITS = 0x10,
	CFG_EV_BITS = 0x11,
	CFG_ABS_INFO = 0x12,
};

struct virtio_input_absinfo {
	le32 min, max, fuzz, flat, res;
};
struct virtio_input_devids {
	le16 bustype, vendor, product, version;
};
struct virtio_input_config {
	uint8_t select, subsel, size, reserved[5];
	union {
		char string[128];
		uint8_t bitmap[128];
		struct virtio_input_absinfo abs;
		struct virtio_input_devids ids;
	} u;
};
_Static_assert(sizeof(struct virtio_input_config) == 136, "virtio_input_config");
_Static_assert(INPUT_TEXT_MAX == 128 && INPUT_BITMAP_BYTES == 128, "as much as the configuration gives");

/* "Input Device / Device Operation" */
struct virtio_input_event {
	le16 type, code;
	le32 value;
};
_Static_assert(sizeof(struct virtio_input_event) == 8, "virtio_input_event");

enum { EVENTQ, STATUSQ, QUEUES };

#define EVENTS 64u /* a device drops an update that finds too few buffers */
#define SLOTS 64u

struct slot {
	struct virtio_request request;
	struct virtq_buf buf;
	struct virtio_input_event event;
	bool taken;
};

struct input {
	struct input_device device;
	struct virtio_device *vdev;
	struct virtio_eventq events;
	struct virtio_requestq status;
	struct slot slots[SLOTS];
};

/* ---- what it is ---- */

/* Bytes of information that there are; 0: none.
 * "Device Initialization": MUST set both select and subsel; MUST NOT write to other fields; SHOULD check size */
static uint32_t select(struct virtio_device *vdev, uint8_t what, uint8_t sub)
{
	if (virtio_config_write(vdev, offsetof(struct virtio_input_config, select), &what, 1) ||
	    virtio_config_write(vdev, offsetof(struct virtio_input_config, subsel), &sub, 1))
		return 0;
	return MIN(virtio_config_u8(vdev, offsetof(struct virtio_input_config, size), 0), 128u);
}

static void bytes(struct virtio_device *vdev, uint8_t what, uint8_t sub, void *to)
{
	virtio_config_bytes(vdev, offsetof(struct virtio_input_config, u), to, select(vdev, what, sub));
}

#define FIELD(member) offsetof(struct virtio_input_config, u.member)

static void read_axis(struct virtio_device *vdev, uint8_t code, struct input_axis *axis)
{
	if (select(vdev, CFG_ABS_INFO, code) < sizeof(struct virtio_input_absinfo))
		return;
	axis->min = (int32_t)virtio_config_u32(vdev, FIELD(abs.min), 0);
	axis->max = (int32_t)virtio_config_u32(vdev, FIELD(abs.max), 0);
	axis->fuzz = (int32_t)virtio_config_u32(vdev, FIELD(abs.fuzz), 0);
	axis->flat = (int32_t)virtio_config_u32(vdev, FIELD(abs.flat), 0);
	axis->resolution = (int32_t)virtio_config_u32(vdev, FIELD(abs.res), 0);
}

static void read_identity(struct virtio_device *vdev, struct input_device *device)
{
	uint8_t properties[INPUT_BITMAP_BYTES] = {0};

	bytes(vdev, CFG_ID_NAME, 0, device->description);
	bytes(vdev, CFG_ID_SERIAL, 0, device->serial);
	bytes(vdev, CFG_PROP_BITS, 0, properties);
	for (unsigned i = 0; i < 4; i++)
		device->properties |= (uint32_t)properties[i] << 8 * i;
	if (select(vdev, CFG_ID_DEVIDS, 0) >= sizeof(struct virtio_input_devids)) {
		device->bus = virtio_config_u16(vdev, FIELD(ids.bustype), 0);
		device->vendor = virtio_config_u16(vdev, FIELD(ids.vendor), 0);
		device->product = virtio_config_u16(vdev, FIELD(ids.product), 0);
		device->version = virtio_config_u16(vdev, FIELD(ids.version), 0);
	}
	for (uint8_t type = 1; type < INPUT_TYPES; type++) {
		bytes(vdev, CFG_EV_BITS, type, device->codes[type]);
		for (unsigned i = 0; i < INPUT_BITMAP_BYTES; i++)
			device->types |= device->codes[type][i] ? 1u << type : 0;
	}
	for (uint8_t code = 0; code < INPUT_AXES; code++)
		if (input_has(device, INPUT_ABS, code))
			read_axis(vdev, code, &device->axes[code]);
}

/* ---- events ---- */

static void report(struct virtio_eventq *queue, void *memory, uint32_t written)
{
	struct input *input = container_of(queue, struct input, events);
	const struct virtio_input_event *wire = memory;
	struct input_event event = {le16_to_cpu(wire->type), le16_to_cpu(wire->code), (int32_t)le32_to_cpu(wire->value)};

	if (written < sizeof(*wire)) {
		virtio_device_broken(input->vdev, "eventq: an event of %u bytes", written);
		return;
	}
	/* "Device Operation": SHOULD ignore events that it does not recognize */
	if (event.type != INPUT_SYN && !input_has(&input->device, event.type, event.code))
		return;
	if (input->device.event)
		input->device.event(&input->device, &event);
}

static void sent(struct virtio_request *request) { container_of(request, struct slot, request)->taken = false; }

static int send(struct input_device *device, const struct input_event *event)
{
	struct input *input = container_of(device, struct input, device);
	struct slot *slot = input->slots;

	while (slot < input->slots + SLOTS && slot->taken)
		slot++;
	if (slot == input->slots + SLOTS)
		return -EAGAIN;
	slot->event = (struct virtio_input_event){cpu_to_le16(event->type), cpu_to_le16(event->code),
	                                          cpu_to_le32((uint32_t)event->value)};
	/* "Device Operation": MUST be at least the size of struct virtio_input_event */
	slot->buf = (struct virtq_buf){&slot->event, sizeof(slot->event)};
	slot->request = (struct virtio_request){.bufs = &slot->buf, .nreadable = 1, .done = sent};
	slot->taken = true;
	virtio_request_submit(&input->status, &slot->request);
	return 0;
}

static const struct input_ops ops = {.send = send};

/* ---- life ---- */

static int probe(struct virtio_device *vdev)
{
	struct input *input;
	uint8_t size;

	if (virtio_config_read(vdev, offsetof(struct virtio_input_config, size), &size, sizeof(size)))
		return virtio_refuse(vdev, -EINVAL, "its configuration cannot be read");
	input = page_alloc(sizeof(*input), PAGE_SIZE);
	if (!input)
		return -ENOMEM;
	if (virtio_eventq_init(&input->events, sizeof(struct virtio_input_event), EVENTS, report)) {
		page_free(input, sizeof(*input));
		return -ENOMEM;
	}
	virtio_requestq_init(&input->status);
	input->status.again = true;
	input->vdev = vdev;
	input->device.ops = &ops;
	read_identity(vdev, &input->device);
	vdev->driver_data = input;
	vdev->node = &input->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct input *input = vdev->driver_data;
	struct virtq_spec specs[QUEUES] = {
		[EVENTQ] = virtio_eventq_spec(&input->events, "eventq"),
		[STATUSQ] = virtio_requestq_spec(&input->status, "statusq", 1),
	};

	specs[STATUSQ].loose_lengths = true; /* QEMU's device puts the bytes there that it read */
	return virtio_service_start(vdev, QUEUES, specs);
}

/* What was on its way to the device goes out again behind the reset. */
static void stop(struct virtio_device *vdev)
{
	struct input *input = vdev->driver_data;

	virtio_eventq_drain(&input->events);
	virtio_requestq_drain(&input->status, true);
}

static void remove(struct virtio_device *vdev)
{
	struct input *input = vdev->driver_data;

	virtio_requestq_end(&input->status);
	virtio_eventq_free(&input->events);
	page_free(input, sizeof(*input));
}

static const struct virtio_driver input_driver = {
	.name = "virtio-input",
	.instance = "input",
	.type = VIRTIO_ID_INPUT,
	.devices = &input_devices,
	.config_size = sizeof(struct virtio_input_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(input_driver);
