/*
 * "CAN Device": frames out by the Txq, frames in by the Rxq, and the controller started and stopped by the Controlq.
 *
 * The controller is in bus-off when the configuration says so: it has then stopped by itself. After a reset of the device it is started
 * again if the program had it started, by a request that nobody waits for.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <class/can.h>
#include <virtio/call.h>
#include <virtio/ids.h>

enum { VIRTIO_CAN_F_CAN_CLASSIC, VIRTIO_CAN_F_CAN_FD, VIRTIO_CAN_F_RTR_FRAMES, VIRTIO_CAN_F_LATE_TX_ACK };
enum { CAN_TX = 0x0001, CAN_RX = 0x0101, SET_CTRL_MODE_START = 0x0201, SET_CTRL_MODE_STOP = 0x0202 };
enum { RESULT_OK = 0, RESULT_NOT_WRITTEN = 255, S_CTRL_BUSOFF = 1 };

/* "CAN Message Transmission", "CAN Message Reception": struct virtio_can_tx_out is the same */
struct virtio_can_rx {
	le16 msg_type, length;
	uint8_t reserved_classic_dlc, padding;
	le16 reserved_xl_priority;
	le32 flags, can_id;
	uint8_t sdu[CAN_DATA_MAX];
};
#define HEAD 16u
_Static_assert(offsetof(struct virtio_can_rx, sdu) == HEAD, "virtio_can_rx");

#define RX_BUFFERS 64u
#define SLOTS 64u

struct slot {
	struct virtio_request request;
	struct virtq_buf bufs[2];
	struct virtio_can_rx out;
	uint8_t result;
	struct can_request *user;
	struct slot *next; /* free ones */
};

struct can {
	struct can_device device;
	struct virtio_device *vdev;
	struct virtio_requestq tx, control;
	struct virtio_eventq rx;
	struct slot *free;
	bool wanted; /* started, as far as the program is concerned */

	struct virtio_request again; /* after a reset: the start, anew */
	struct virtq_buf again_bufs[2];
	le16 again_out;
	uint8_t again_result;
	bool starting;
	struct slot slots[SLOTS];
};

/* ---- out ---- */

static bool possible(const struct can_device *device, const struct can_frame *frame)
{
	bool fd = frame->flags & CAN_FD, rtr = frame->flags & CAN_RTR;

	return !(frame->flags & ~(uint32_t)(CAN_RTR | CAN_FD | CAN_EXTENDED)) && (fd ? device->fd : device->classic) &&
	       (!rtr || (device->rtr && !fd)) && frame->length <= (fd ? CAN_DATA_MAX : 8) &&
	       !(frame->id >> (frame->flags & CAN_EXTENDED ? 29 : 11));
}

static void sent(struct virtio_request *request)
{
	struct slot *slot = container_of(request, struct slot, request);
	struct can *can = request->context;
	struct can_request *user = slot->user;

	user->status = request->status;
	/* "Device Operation": other values are to be treated like NOT_OK */
	if (!user->status && (!request->written || READ_ONCE(slot->result) != RESULT_OK))
		user->status = -EIO;
	slot->next = can->free;
	can->free = slot;
	user->done(user);
}

static int send(struct can_device *device, struct can_request *user)
{
	struct can *can = container_of(device, struct can, device);
	const struct can_frame *frame = &user->frame;
	struct slot *slot = can->free;

	if (!possible(device, frame))
		return -EINVAL;
	if (!slot)
		return -ENOBUFS;
	can->free = slot->next;
	slot->user = user;
	slot->result = RESULT_NOT_WRITTEN;
	slot->out = (struct virtio_can_rx){.msg_type = cpu_to_le16(CAN_TX),
	                                   .length = cpu_to_le16(frame->length),
	                                   .flags = cpu_to_le32(frame->flags),
	                                   .can_id = cpu_to_le32(frame->id)};
	memcpy(slot->out.sdu, frame->data, frame->length);
	slot->bufs[0] = (struct virtq_buf){&slot->out, HEAD + frame->length};
	slot->bufs[1] = (struct virtq_buf){&slot->result, 1};
	slot->request = (struct virtio_request){.bufs = slot->bufs, .nreadable = 1, .nwritable = 1, .done = sent, .context = can};
	virtio_request_submit(&can->tx, &slot->request);
	return 0;
}

/* ---- in ---- */

static void came(struct virtio_eventq *queue, void *event, uint32_t written)
{
	struct can *can = container_of(queue, struct can, rx);
	struct virtio_can_rx in;
	struct can_frame frame = {};

	memcpy(&in, event, sizeof(in)); /* once: the device may still change it */
	frame.id = le32_to_cpu(in.can_id);
	frame.flags = le32_to_cpu(in.flags);
	frame.length = le16_to_cpu(in.length);
	if (written < HEAD || le16_to_cpu(in.msg_type) != CAN_RX || written < HEAD + frame.length ||
	    !possible(&(struct can_device){.classic = true, .fd = can->device.fd, .rtr = true}, &frame))
		return; /* no frame */
	memcpy(frame.data, in.sdu, frame.length);
	if (can->device.received)
		can->device.received(&can->device, &frame);
}

/* ---- the controller ---- */

static int mode(struct can_device *device, bool start)
{
	struct can *can = container_of(device, struct can, device);
	le16 out = cpu_to_le16(start ? SET_CTRL_MODE_START : SET_CTRL_MODE_STOP);
	uint8_t result;
	int error = virtio_ask(&can->control, &out, sizeof(out), &result, 1);

	if (!error && result != RESULT_OK)
		error = -EIO;
	if (!error && !class_has(&can_devices, &device->node))
		error = -ENODEV; /* it went while its answer was on its way to us */
	if (error)
		return error;
	device->started = can->wanted = start;
	if (start)
		device->bus_off = false;
	return 0;
}

static void started_again(struct virtio_request *request)
{
	struct can *can = request->context;

	can->starting = false;
	if (!request->status && request->written && READ_ONCE(can->again_result) == RESULT_OK)
		can->device.started = can->wanted;
	else if (!request->status)
		log_warn("%s: it does not start again", can->vdev->name);
}

static void start_again(struct can *can)
{
	if (!can->wanted || can->starting)
		return;
	can->starting = true;
	can->again_out = cpu_to_le16(SET_CTRL_MODE_START);
	can->again_result = RESULT_NOT_WRITTEN;
	can->again_bufs[0] = (struct virtq_buf){&can->again_out, sizeof(can->again_out)};
	can->again_bufs[1] = (struct virtq_buf){&can->again_result, 1};
	can->again = (struct virtio_request){.bufs = can->again_bufs,
	                                     .nreadable = 1,
	                                     .nwritable = 1,
	                                     .done = started_again,
	                                     .context = can};
	virtio_request_submit(&can->control, &can->again);
}

/* "BusOff Indication" */
static void config_changed(struct virtio_device *vdev)
{
	struct can *can = vdev->driver_data;

	if (!can->device.started || !(virtio_config_u16(vdev, 0, 0) & S_CTRL_BUSOFF))
		return;
	can->device.started = can->wanted = false;
	can->device.bus_off = true;
	if (can->device.left)
		can->device.left(&can->device);
}

/* ---- life ---- */

static const struct can_ops ops = {.mode = mode, .send = send};

static int probe(struct virtio_device *vdev)
{
	struct can *can;

	/* "Feature bit requirements" */
	if (!virtio_has(vdev, VIRTIO_CAN_F_CAN_CLASSIC) && !virtio_has(vdev, VIRTIO_CAN_F_CAN_FD))
		return virtio_refuse(vdev, -ENOTSUP, "neither classic CAN nor CAN FD");
	can = page_alloc(sizeof(*can), PAGE_SIZE);
	if (!can)
		return -ENOMEM;
	if (virtio_eventq_init(&can->rx, sizeof(struct virtio_can_rx), RX_BUFFERS, came)) {
		page_free(can, sizeof(*can));
		return -ENOMEM;
	}
	virtio_requestq_init(&can->tx);
	virtio_requestq_init(&can->control);
	can->control.again = true;
	for (unsigned i = 0; i < SLOTS; i++) {
		can->slots[i].next = can->free;
		can->free = &can->slots[i];
	}
	can->vdev = vdev;
	can->device.ops = &ops;
	can->device.classic = virtio_has(vdev, VIRTIO_CAN_F_CAN_CLASSIC);
	can->device.fd = virtio_has(vdev, VIRTIO_CAN_F_CAN_FD);
	can->device.rtr = virtio_has(vdev, VIRTIO_CAN_F_RTR_FRAMES);
	can->device.late = virtio_has(vdev, VIRTIO_CAN_F_LATE_TX_ACK);
	vdev->driver_data = can;
	vdev->node = &can->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct can *can = vdev->driver_data;
	const struct virtq_spec specs[] = {virtio_requestq_spec(&can->tx, "Txq", 2), virtio_eventq_spec(&can->rx, "Rxq"),
	                                   virtio_requestq_spec(&can->control, "Controlq", 2)};
	int error = virtio_service_start(vdev, ARRAY_SIZE(specs), specs);

	if (error)
		return error;
	can->device.started = false; /* "Controller Mode": initially */
	start_again(can);
	return 0;
}

static void remove(struct virtio_device *vdev)
{
	struct can *can = vdev->driver_data;

	virtio_requestq_end(&can->tx);
	virtio_requestq_end(&can->control);
	virtio_eventq_free(&can->rx);
	page_free(can, sizeof(*can));
}

static const struct virtio_feature_rule rules[] = {
	{VIRTIO_CAN_F_RTR_FRAMES, BIT64(VIRTIO_CAN_F_CAN_CLASSIC)},
	{},
};

static const struct virtio_driver can_driver = {
	.name = "virtio-can",
	.instance = "can",
	.type = VIRTIO_ID_CAN,
	.devices = &can_devices,
	.features = BIT64(VIRTIO_CAN_F_CAN_CLASSIC) | BIT64(VIRTIO_CAN_F_CAN_FD) | BIT64(VIRTIO_CAN_F_RTR_FRAMES) |
                    BIT64(VIRTIO_CAN_F_LATE_TX_ACK),
	.rules = rules,
	.config_size = 2,
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(can_driver);
