/*
 * "Socket Device": its queues. The sockets are in vsock_socket.c, what packets say in vsock_packet.c.
 *
 * A packet is one buffer, header and data. Received ones are handled at once, and their buffers go back. What has to be answered is noted
 * with its socket, or among the strays where there is none, so that the rx virtqueue is processed though the tx virtqueue is full; only
 * when there is no place for another stray it rests, until some are sent.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "vsock_impl.h"

/* "Socket Device / Feature bits" */
enum { VIRTIO_VSOCK_F_STREAM = 0, VIRTIO_VSOCK_F_SEQPACKET = 1, VIRTIO_VSOCK_F_NO_IMPLIED_STREAM = 2 };

struct virtio_vsock_config {
	le64 guest_cid;
};
struct virtio_vsock_event {
	le32 id;
};
enum { TRANSPORT_RESET };

enum { RXQ, TXQ, EVENTQ, QUEUES };
#define EVENTS 8u
#define ALL_IDLE ((UINT64_C(1) << VSOCK_PACKETS) - 1)

void vsock_complain(struct vsock *vsock, const char *what)
{
	if (!vsock->complained)
		log_warn("%s: %s: ignored, like all that follow", vsock->vdev->name, what);
	vsock->complained = true;
}

/* ---- in ---- */

static void post(struct vsock *vsock)
{
	for (unsigned i = 0; vsock->rx && vsock->rx_idle && i < VSOCK_PACKETS; i++) {
		struct virtq_buf buf = {&vsock->packets[i], VSOCK_PACKET_BYTES};

		if (!(vsock->rx_idle & BIT64(i)))
			continue;
		if (virtq_add(vsock->rx, &buf, 0, 1, &vsock->packets[i]))
			return;
		vsock->rx_idle &= ~BIT64(i);
		virtq_kick_later(vsock->rx);
	}
}

/* "Virtqueue Flow Control": MUST be processed even when the tx virtqueue is full, as long as there is a place for what is to be said */
static void receive(struct vsock *vsock, struct virtq *vq)
{
	struct vsock_packet *packet;
	uint32_t written;

	for (unsigned left = VSOCK_PACKETS; left && vsock->stray_count < VSOCK_STRAYS; left--) {
		struct virtio_vsock_hdr header;

		packet = virtq_harvest(vq, &written);
		if (!packet)
			break;
		memcpy(&header, &packet->header, sizeof(header)); /* once: what is checked is what is used */
		if (written < sizeof(header) || le32_to_cpu(header.len) > written - sizeof(header))
			vsock_complain(vsock, "a packet cut off");
		else
			vsock_take(vsock, &header, packet->data, le32_to_cpu(header.len));
		vsock->rx_idle |= BIT64((unsigned)(packet - vsock->packets));
	}
	post(vsock);
	if (vsock->rx && !vsock->resting && vsock->stray_count == VSOCK_STRAYS) {
		vsock->resting = true;
		virtq_set_quiet(vsock->rx, true);
	}
}

static void rx_used(struct virtq *vq) { receive(vq->context, vq); }

/* ---- out ---- */

bool vsock_transmit(struct vsock *vsock, const struct virtio_vsock_hdr *header, const void *data, uint32_t length)
{
	struct vsock_packet *packet;
	struct virtq_buf buf;
	unsigned slot;

	if (!vsock->tx || !vsock->tx_idle)
		return false;
	slot = (unsigned)__builtin_ctzll(vsock->tx_idle);
	packet = &vsock->packets[VSOCK_PACKETS + slot];
	packet->header = *header;
	if (length)
		memcpy(packet->data, data, length);
	buf = (struct virtq_buf){packet, (uint32_t)sizeof(*header) + length};
	if (virtq_add(vsock->tx, &buf, 1, 0, packet))
		return false;
	vsock->tx_idle &= ~BIT64(slot);
	virtq_kick_later(vsock->tx);
	return true;
}

static void tx_harvest(struct vsock *vsock, struct virtq *vq)
{
	struct vsock_packet *packet;
	uint32_t written;

	while ((packet = virtq_harvest(vq, &written)))
		vsock->tx_idle |= BIT64((unsigned)(packet - vsock->packets) - VSOCK_PACKETS);
}

static void tx_used(struct virtq *vq)
{
	struct vsock *vsock = vq->context;

	tx_harvest(vsock, vq);
	vsock_room(vsock);
	if (vsock->rx && vsock->resting && vsock->stray_count < VSOCK_STRAYS) {
		vsock->resting = false;
		virtq_set_quiet(vsock->rx, false);
	}
}

/* ---- life ---- */

/* "Device configuration layout": the reserved ones */
static int read_cid(struct vsock *vsock)
{
	uint64_t cid = virtio_config_u64(vsock->vdev, offsetof(struct virtio_vsock_config, guest_cid), 0);

	if (cid <= SOCKET_HOST || cid >= UINT32_MAX)
		return virtio_refuse(vsock->vdev, -EINVAL, "guest_cid %llu", (unsigned long long)cid);
	vsock->device.cid = cid;
	return 0;
}

/* "Device Events": connections MUST be shut down, listening sockets remain, and guest_cid MUST be fetched */
static void reported(struct virtio_eventq *queue, void *event, uint32_t written)
{
	struct vsock *vsock = container_of(queue, struct vsock, events);
	const struct virtio_vsock_event *told = event;

	if (written < sizeof(*told) || le32_to_cpu(told->id) != TRANSPORT_RESET) {
		vsock_complain(vsock, "an unknown event");
		return;
	}
	vsock_end_all(vsock, -ECONNRESET);
	if (read_cid(vsock))
		virtio_device_broken(vsock->vdev, "%s", "it has no guest_cid any more");
}

static int probe(struct virtio_device *vdev)
{
	struct vsock *vsock = page_alloc(sizeof(*vsock), PAGE_SIZE);

	if (!vsock)
		return -ENOMEM;
	vsock->packets = page_alloc(2 * VSOCK_PACKETS * sizeof(*vsock->packets), PAGE_SIZE);
	if (!vsock->packets || virtio_eventq_init(&vsock->events, sizeof(struct virtio_vsock_event), EVENTS, reported)) {
		page_free(vsock->packets, 2 * VSOCK_PACKETS * sizeof(*vsock->packets));
		page_free(vsock, sizeof(*vsock));
		return -ENOMEM;
	}
	vsock->vdev = vdev;
	vsock->rx_idle = vsock->tx_idle = ALL_IDLE;
	vsock->device.ops = &vsock_socket_ops;
	/* "Feature bits": streams are implied, unless the device says otherwise */
	vsock->device.stream = virtio_has(vdev, VIRTIO_VSOCK_F_STREAM) || !virtio_has(vdev, VIRTIO_VSOCK_F_NO_IMPLIED_STREAM);
	vsock->device.seqpacket = virtio_has(vdev, VIRTIO_VSOCK_F_SEQPACKET);
	vdev->driver_data = vsock;
	vdev->node = &vsock->device.node;
	return 0;
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct vsock *vsock = vdev->driver_data;

	if (vq->index == EVENTQ) {
		virtio_eventq_start(&vsock->events, vq);
	} else if (vq->index == RXQ) {
		vsock->rx = vq;
		if (vsock->resting)
			virtq_set_quiet(vq, false);
		vsock->resting = false;
		post(vsock);
	} else {
		vsock->tx = vq;
		vsock_room(vsock);
	}
}

static int start(struct virtio_device *vdev)
{
	struct vsock *vsock = vdev->driver_data;
	const struct virtq_spec specs[QUEUES] = {
		[RXQ] = {.name = "rx", .callback = rx_used, .max_size = VSOCK_PACKETS, .max_buffers = 1, .context = vsock},
		[TXQ] = {.name = "tx", .callback = tx_used, .max_size = VSOCK_PACKETS, .max_buffers = 1, .context = vsock},
		[EVENTQ] = virtio_eventq_spec(&vsock->events, "event"),
	};
	int error = read_cid(vsock);

	if (!error)
		error = virtio_queues_create(vdev, QUEUES, specs);
	if (error)
		return error;
	vsock->complained = false;
	for (unsigned i = 0; i < QUEUES; i++)
		queue_refill(vdev, vdev->queues[i]);
	virtio_driver_ok(vdev);
	return 0;
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	struct vsock *vsock = vdev->driver_data;
	struct vsock_packet *packet;

	if (vq->index == EVENTQ) {
		virtio_eventq_drain(&vsock->events);
	} else if (vq->index == RXQ) {
		vsock->rx = NULL;
		receive(vsock, vq);
		while ((packet = virtq_detach_unused(vq)))
			vsock->rx_idle |= BIT64((unsigned)(packet - vsock->packets));
	} else {
		vsock->tx = NULL;
		tx_harvest(vsock, vq);
		/* It may have been taken or not: no connection goes on with a hole in it, or with something twice. */
		while ((packet = virtq_detach_unused(vq))) {
			vsock->tx_idle |= BIT64((unsigned)(packet - vsock->packets) - VSOCK_PACKETS);
			vsock_lost(vsock, &packet->header);
		}
	}
}

static void stop(struct virtio_device *vdev)
{
	struct vsock *vsock = vdev->driver_data;

	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			queue_drain(vdev, vdev->queues[i]);
	vsock->rx_idle = ALL_IDLE;
	vsock_end_all(vsock, -ECONNRESET);
}

static void remove(struct virtio_device *vdev)
{
	struct vsock *vsock = vdev->driver_data;

	vsock_end_all(vsock, -ENODEV);
	timer_stop(&vsock->timer);
	virtio_eventq_free(&vsock->events);
	page_free(vsock->packets, 2 * VSOCK_PACKETS * sizeof(*vsock->packets));
	page_free(vsock, sizeof(*vsock));
}

static const struct virtio_driver vsock_driver = {
	.name = "virtio-vsock",
	.instance = "vsock",
	.type = VIRTIO_ID_SOCKET,
	.devices = &socket_devices,
	.features = BIT64(VIRTIO_VSOCK_F_STREAM) | BIT64(VIRTIO_VSOCK_F_SEQPACKET) | BIT64(VIRTIO_VSOCK_F_NO_IMPLIED_STREAM),
	.config_size = sizeof(struct virtio_vsock_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
};
VIRTIO_DRIVER(vsock_driver);
