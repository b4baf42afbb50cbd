/*
 * "Entropy Device": each request is one device-writable buffer on the requestq, and is made available again for its rest for as long as
 * the device fills less than all of it. Requests that find no room wait, in order.
 *
 * The device must give at least one byte each time; one that gives none again and again fails the request instead of
 * keeping the loop busy for ever.
 */
#include <errno.h>

#include <base/page.h>
#include <class/entropy.h>
#include <virtio/ids.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#define PIECE_MAX DMA_PIECE_MAX
#define QUEUE_MAX 64u
#define EMPTY_TURNS_MAX 16u

struct entropy {
	struct entropy_device device;
	struct virtq *vq; /* NULL while stopped */
	struct entropy_request *waiting, **waiting_tail;
};

static struct entropy_request *pop(struct entropy *entropy)
{
	struct entropy_request *request = entropy->waiting;

	entropy->waiting = request->next;
	if (!entropy->waiting)
		entropy->waiting_tail = &entropy->waiting;
	return request;
}

static void push(struct entropy *entropy, struct entropy_request *request)
{
	request->next = NULL;
	*entropy->waiting_tail = request;
	entropy->waiting_tail = &request->next;
}

static void pump(struct entropy *entropy)
{
	while (entropy->vq && entropy->waiting) {
		struct entropy_request *request = entropy->waiting;
		struct virtq_buf buf = {
			.addr = (char *)request->memory + request->filled,
			.len = MIN(request->length - request->filled, PIECE_MAX),
		};

		/* "Device Operation": MUST NOT place device-readable buffers into the queue */
		if (virtq_add(entropy->vq, &buf, 0, 1, request))
			return; /* no room, or broken: until some is used, or the restart */
		pop(entropy);
		virtq_kick_later(entropy->vq);
	}
}

static void submit(struct entropy_device *device, struct entropy_request *request)
{
	struct entropy *entropy = container_of(device, struct entropy, device);

	request->status = 0;
	request->filled = 0;
	request->empty_turns = 0;
	push(entropy, request);
	pump(entropy);
}

static void end(struct entropy_request *request, int status)
{
	request->status = status;
	request->done(request);
}

static void harvest(struct entropy *entropy, struct virtq *vq)
{
	struct entropy_request *request;
	uint32_t written;

	/* "Device Operation": MUST examine the length written; the core keeps it within the buffer */
	while ((request = virtq_harvest(vq, &written))) {
		request->filled += written;
		request->empty_turns = written ? 0 : request->empty_turns + 1;
		if (request->filled == request->length)
			end(request, 0);
		else if (request->empty_turns == EMPTY_TURNS_MAX)
			end(request, -EIO);
		else
			push(entropy, request);
	}
}

static void used(struct virtq *vq)
{
	harvest(vq->context, vq);
	pump(vq->context);
}

static const struct entropy_ops ops = {.submit = submit};

static int probe(struct virtio_device *vdev)
{
	struct entropy *entropy = page_alloc(sizeof(*entropy), PAGE_SIZE);

	if (!entropy)
		return -ENOMEM;
	entropy->device.ops = &ops;
	entropy->waiting_tail = &entropy->waiting;
	vdev->driver_data = entropy;
	vdev->node = &entropy->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct entropy *entropy = vdev->driver_data;
	struct virtq_spec spec = {.name = "requestq",
	                          .callback = used,
	                          .max_size = QUEUE_MAX,
	                          .max_buffers = 1,
	                          .context = entropy};
	int error = virtio_queues_create(vdev, 1, &spec);

	if (error)
		return error;
	entropy->vq = vdev->queues[0];
	virtio_driver_ok(vdev);
	pump(entropy);
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct entropy *entropy = vdev->driver_data;
	struct virtq *vq = entropy->vq;
	struct entropy_request *request;

	entropy->vq = NULL; /* what waits goes on waiting */
	while (vq && (request = virtq_detach_unused(vq)))
		end(request, -EIO);
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	struct entropy *entropy = vdev->driver_data;
	struct entropy_request *request;

	entropy->vq = NULL;
	harvest(entropy, vq);
	while ((request = virtq_detach_unused(vq)))
		push(entropy, request);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct entropy *entropy = vdev->driver_data;

	entropy->vq = vq;
	pump(entropy);
}

static void remove(struct virtio_device *vdev)
{
	struct entropy *entropy = vdev->driver_data;

	while (entropy->waiting)
		end(pop(entropy), -ENODEV);
	page_free(entropy, sizeof(*entropy));
}

static const struct virtio_driver entropy_driver = {
	.name = "virtio-rng",
	.instance = "rng",
	.type = VIRTIO_ID_ENTROPY,
	.devices = &entropy_devices,
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
};
VIRTIO_DRIVER(entropy_driver);
