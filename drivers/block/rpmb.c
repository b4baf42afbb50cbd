/*
 * "RPMB Device": frames of 512 bytes, each in a buffer of its own ("Device Operation": MUST NOT be packed), the program's first and behind them
 * room for the device's.
 */
#include <errno.h>

#include <base/page.h>
#include <class/rpmb.h>
#include <virtio/ids.h>
#include <virtio/request.h>

/* "RPMB Device / Device configuration layout" */
struct virtio_rpmb_config {
	uint8_t capacity, max_wr_cnt, max_rd_cnt;
};
#define CAPACITY_MAX 0x80
#define CAPACITY_UNIT (128u << 10)

struct rpmb {
	struct rpmb_device device;
	struct virtio_requestq queue;
};

static unsigned be16(const uint8_t bytes[2]) { return (unsigned)bytes[0] << 8 | bytes[1]; }

/* What goes with each other in "Device Operation": frames out, frames in. */
static bool possible(const struct rpmb_device *device, const struct rpmb_frame *requests, unsigned nrequests, unsigned nresponses)
{
	unsigned blocks = nrequests ? be16(requests[0].block_count) : 0, type = nrequests ? be16(requests[0].req_resp) : 0;
	bool result = nrequests > 1 && be16(requests[nrequests - 1].req_resp) == RPMB_RESULT_READ;

	if (!nrequests || nrequests + nresponses > RPMB_FRAMES_MAX)
		return false;
	switch (type) {
	case RPMB_PROGRAM_KEY:
		return nrequests == 1u + result && nresponses == result;
	case RPMB_GET_WRITE_COUNTER:
		return nrequests == 1 && nresponses == 1;
	case RPMB_DATA_WRITE:
		return nrequests == blocks + result && blocks && nresponses == result &&
		       (!device->write_blocks_max || blocks <= device->write_blocks_max);
	case RPMB_DATA_READ:
		return nrequests == 1 && nresponses == blocks && blocks &&
		       (!device->read_blocks_max || blocks <= device->read_blocks_max);
	default:
		return false;
	}
}

static int exchange(struct rpmb_device *device, const struct rpmb_frame *requests, unsigned nrequests,
                    struct rpmb_frame *responses, unsigned nresponses)
{
	struct rpmb *rpmb = container_of(device, struct rpmb, device);
	struct virtq_buf bufs[RPMB_FRAMES_MAX];
	struct virtio_request request = {.bufs = bufs, .nreadable = (uint16_t)nrequests, .nwritable = (uint16_t)nresponses};
	int error;

	if (!possible(device, requests, nrequests, nresponses))
		return -EINVAL;
	for (unsigned i = 0; i < nrequests; i++)
		bufs[i] = (struct virtq_buf){(void *)(uintptr_t)&requests[i], sizeof(requests[i])};
	for (unsigned i = 0; i < nresponses; i++)
		bufs[nrequests + i] = (struct virtq_buf){&responses[i], sizeof(responses[i])};
	error = virtio_request_call(&rpmb->queue, &request, VIRTIO_ANSWER_NS);
	return !error && request.written < nresponses * sizeof(*responses) ? -EIO : error;
}

static int probe(struct virtio_device *vdev)
{
	struct virtio_rpmb_config config;
	struct rpmb *rpmb;
	int error = virtio_config_read(vdev, 0, &config, sizeof(config));

	if (error || config.capacity > CAPACITY_MAX)
		return virtio_refuse(vdev, -EINVAL, "a capacity that cannot be");
	rpmb = page_alloc(sizeof(*rpmb), PAGE_SIZE);
	if (!rpmb)
		return -ENOMEM;
	virtio_requestq_init(&rpmb->queue);
	rpmb->device = (struct rpmb_device){.bytes = (uint64_t)config.capacity * CAPACITY_UNIT,
	                                    .write_blocks_max = config.max_wr_cnt,
	                                    .read_blocks_max = config.max_rd_cnt,
	                                    .exchange = exchange};
	vdev->driver_data = rpmb;
	vdev->node = &rpmb->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct rpmb *rpmb = vdev->driver_data;
	struct virtq_spec spec = virtio_requestq_spec(&rpmb->queue, "requestq", RPMB_FRAMES_MAX);

	return virtio_service_start(vdev, 1, &spec);
}

static void remove(struct virtio_device *vdev)
{
	struct rpmb *rpmb = vdev->driver_data;

	virtio_requestq_end(&rpmb->queue);
	page_free(rpmb, sizeof(*rpmb));
}

static const struct virtio_driver rpmb_driver = {
	.name = "virtio-rpmb",
	.instance = "rpmb",
	.type = VIRTIO_ID_RPMB,
	.devices = &rpmb_devices,
	.config_size = sizeof(struct virtio_rpmb_config),
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(rpmb_driver);
