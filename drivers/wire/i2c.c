/*
 * "I2C Adapter Device": a transaction is a group of requests, one for each segment, chained by FAIL_NEXT: when one fails, the device fails
 * those behind it. They go out together and come back in order.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/wire.h>
#include <virtio/ids.h>
#include <virtio/request.h>

enum { VIRTIO_I2C_F_ZERO_LENGTH_REQUEST = 0 };
enum { FLAG_FAIL_NEXT = 1, FLAG_M_RD = 2 };
enum { MSG_OK = 0, STATUS_NOT_WRITTEN = 255 };

/* "Device Operation: Request Queue" */
struct virtio_i2c_out_hdr {
	le16 addr, padding;
	le32 flags;
};
_Static_assert(sizeof(struct virtio_i2c_out_hdr) == 8, "virtio_i2c_out_hdr");

struct segment {
	struct virtio_request request;
	struct virtq_buf bufs[3];
	struct virtio_i2c_out_hdr header;
	uint8_t status;
};

struct i2c {
	struct i2c_device device;
	struct virtio_requestq queue;
};

static uint16_t wire_address(const struct i2c_message *message)
{
	if (!message->ten_bit)
		return (uint16_t)(message->address << 1);
	return (uint16_t)((message->address & 0xff) << 8 | 0xf0 | (message->address >> 8) << 1);
}

/* "Device Operation": a zero-length request has no buffer; M_RD goes with a device-writable one, and only with that. */
static void prepare(struct segment *segment, const struct i2c_message *message, bool last)
{
	uint32_t flags = (last ? 0u : FLAG_FAIL_NEXT) | (message->read ? FLAG_M_RD : 0u);
	unsigned n = 0;

	segment->header = (struct virtio_i2c_out_hdr){.addr = cpu_to_le16(wire_address(message)), .flags = cpu_to_le32(flags)};
	segment->status = STATUS_NOT_WRITTEN;
	segment->bufs[n++] = (struct virtq_buf){&segment->header, sizeof(segment->header)};
	if (message->length)
		segment->bufs[n++] = (struct virtq_buf){message->memory, message->length};
	segment->bufs[n++] = (struct virtq_buf){&segment->status, 1};
	segment->request = (struct virtio_request){.bufs = segment->bufs, .nreadable = message->length && !message->read ? 2 : 1};
	segment->request.nwritable = (uint16_t)(n - segment->request.nreadable);
}

/* "Device Operation": the first that failed, and all behind it, have failed. What the device did not say it wrote was not read. */
static bool failed(const struct segment *segment, const struct i2c_message *message)
{
	return READ_ONCE(segment->status) != MSG_OK || segment->request.written < (message->read ? message->length : 0) + 1;
}

static int transfer(struct i2c_device *device, const struct i2c_message *messages, unsigned count)
{
	struct i2c *i2c = container_of(device, struct i2c, device);
	struct segment *segments;
	int error = 0;

	if (!count || count > I2C_MESSAGES_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		if (messages[i].address >> (messages[i].ten_bit ? 10 : 7))
			return -EINVAL;
	segments = page_alloc(count * sizeof(*segments), PAGE_SIZE);
	if (!segments)
		return -ENOMEM;
	/* MUST queue the requests in order */
	for (unsigned i = 0; i < count; i++) {
		prepare(&segments[i], &messages[i], i == count - 1);
		virtio_request_submit(&i2c->queue, &segments[i].request);
	}
	for (unsigned i = 0; i < count; i++) {
		int own = virtio_request_wait(&i2c->queue, &segments[i].request, error ? 0 : VIRTIO_ANSWER_NS);

		if (!own && failed(&segments[i], &messages[i]))
			own = -EIO;
		error = error ? error : own;
	}
	page_free(segments, count * sizeof(*segments));
	return error;
}

static int probe(struct virtio_device *vdev)
{
	struct i2c *i2c = page_alloc(sizeof(*i2c), PAGE_SIZE);

	if (!i2c)
		return -ENOMEM;
	virtio_requestq_init(&i2c->queue);
	i2c->device.transfer = transfer;
	vdev->driver_data = i2c;
	vdev->node = &i2c->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct i2c *i2c = vdev->driver_data;
	struct virtq_spec spec = virtio_requestq_spec(&i2c->queue, "requestq", 3);

	return virtio_service_start(vdev, 1, &spec);
}

static void remove(struct virtio_device *vdev)
{
	struct i2c *i2c = vdev->driver_data;

	virtio_requestq_end(&i2c->queue);
	page_free(i2c, sizeof(*i2c));
}

static const struct virtio_driver i2c_driver = {
	.name = "virtio-i2c",
	.instance = "i2c",
	.type = VIRTIO_ID_I2C,
	.devices = &i2c_devices,
	/* "Device Operation": MUST abort negotiation with a device that does not offer it */
	.features = BIT64(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST),
	.required = BIT64(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST),
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(i2c_driver);
