/*
 * "Console Device", port 0: bytes in by the receiveq, bytes out by the transmitq.
 *
 * In: RX_BUFFERS small buffers are kept with the device. What it used waits in a list until the program reads, and only an emptied buffer
 * goes back: a program that does not read holds the sender back, and no byte is dropped. The list survives a reset.
 *
 * Out: a request is one device-readable buffer, many are in flight at once. One larger than PIECE_MAX goes piece by piece, and the
 * requests behind it wait meanwhile, so that bytes leave in the order of submission.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/char.h>
#include <virtio/ids.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* "Console Device / Feature bits" */
enum { VIRTIO_CONSOLE_F_SIZE = 0, VIRTIO_CONSOLE_F_EMERG_WRITE = 2 };

/* "Console Device / Device configuration layout" */
struct virtio_console_config {
	le16 cols, rows;
	le32 max_nr_ports, emerg_wr;
};
_Static_assert(sizeof(struct virtio_console_config) == 12, "virtio_console_config");

enum { RECEIVEQ, TRANSMITQ, QUEUES };

#define RX_BUFFERS 32u
#define RX_BYTES 1024u
#define EMPTY_TURNS_MAX 256u /* buffers that come back empty, in a row: else a device could keep the loop busy with nothing */
#define TX_QUEUE_MAX 128u
#define PIECE_MAX DMA_PIECE_MAX

struct console_rx {
	struct console_rx *next; /* filled ones */
	uint32_t length, taken;  /* bytes that came, bytes that were read */
	bool posted;
};

struct console {
	struct char_device device;
	struct virtio_device *vdev;
	struct virtq *rx, *tx; /* NULL while stopped */

	unsigned empty_turns;
	struct console_rx *filled, **filled_tail;
	char (*memory)[RX_BYTES]; /* RX_BUFFERS of them */
	struct console_rx buffers[RX_BUFFERS];

	struct char_request *waiting, **waiting_tail;
	struct char_request *cut; /* a piece of it is in flight, more is to follow: all others wait */
};

/* ---- in ---- */

/* Give all buffers that are neither filled nor posted to the device, as many as it takes. */
static void rx_fill(struct console *console)
{
	for (unsigned i = 0; console->rx && i < RX_BUFFERS; i++) {
		struct console_rx *buffer = &console->buffers[i];
		struct virtq_buf buf = {.addr = console->memory[i], .len = RX_BYTES};

		if (buffer->posted || buffer->length)
			continue;
		/* "Device Operation": MUST NOT put a device-readable buffer in a receiveq */
		if (virtq_add(console->rx, &buf, 0, 1, buffer))
			return;
		buffer->posted = true;
		virtq_kick_later(console->rx);
	}
}

static void rx_harvest(struct console *console, struct virtq *vq)
{
	struct console_rx *buffer;
	uint32_t written;

	while ((buffer = virtq_harvest(vq, &written))) {
		buffer->posted = false;
		buffer->taken = 0;
		buffer->length = written;
		console->empty_turns = written ? 0 : console->empty_turns + 1;
		if (console->empty_turns == EMPTY_TURNS_MAX)
			virtio_device_broken(console->vdev, "receiveq: %u buffers in a row with nothing in them",
			                     EMPTY_TURNS_MAX);
		if (!written)
			continue;
		buffer->next = NULL;
		*console->filled_tail = buffer;
		console->filled_tail = &buffer->next;
	}
}

static void rx_used(struct virtq *vq)
{
	struct console *console = vq->context;

	rx_harvest(console, vq);
	rx_fill(console);
	if (console->filled && console->device.ready)
		console->device.ready(&console->device);
}

static uint32_t read(struct char_device *device, void *memory, uint32_t length)
{
	struct console *console = container_of(device, struct console, device);
	uint32_t done = 0;

	while (console->filled && done < length) {
		struct console_rx *buffer = console->filled;
		uint32_t count = MIN(length - done, buffer->length - buffer->taken);

		memcpy((char *)memory + done, console->memory[buffer - console->buffers] + buffer->taken, count);
		done += count;
		buffer->taken += count;
		if (buffer->taken < buffer->length)
			break;
		buffer->length = 0;
		console->filled = buffer->next;
		if (!console->filled)
			console->filled_tail = &console->filled;
	}
	rx_fill(console);
	return done;
}

/* ---- out ---- */

static void pump(struct console *console)
{
	while (console->tx && console->waiting && !console->cut) {
		struct char_request *request = console->waiting;
		struct virtq_buf buf = {
			.addr = (char *)(uintptr_t)request->memory + request->sent,
			.len = MIN(request->length - request->sent, PIECE_MAX),
		};

		/* "Device Operation": MUST NOT put a device-writable buffer in a transmitq */
		if (virtq_add(console->tx, &buf, 1, 0, request))
			return; /* no room, or broken: until some is used, or the restart */
		virtq_kick_later(console->tx);
		request->sent += buf.len;
		console->waiting = request->next;
		if (!console->waiting)
			console->waiting_tail = &console->waiting;
		if (request->sent < request->length)
			console->cut = request;
	}
}

static void submit(struct char_device *device, struct char_request *request)
{
	struct console *console = container_of(device, struct console, device);

	request->status = 0;
	request->sent = 0;
	request->next = NULL;
	*console->waiting_tail = request;
	console->waiting_tail = &request->next;
	pump(console);
}

static void end(struct char_request *request, int status)
{
	request->status = status;
	request->done(request);
}

static void tx_harvest(struct console *console, struct virtq *vq)
{
	struct char_request *request;
	uint32_t written; /* "Legacy Interface: Device Operation": to be ignored for transmit queues */

	while ((request = virtq_harvest(vq, &written))) {
		if (request != console->cut) {
			end(request, 0);
			continue;
		}
		console->cut = NULL;
		request->next = console->waiting;
		console->waiting = request;
		if (!request->next)
			console->waiting_tail = &request->next;
	}
}

static void tx_used(struct virtq *vq)
{
	tx_harvest(vq->context, vq);
	pump(vq->context);
}

/* emerg_wr can be written at any time, whether or not the feature was accepted ("Device Initialization"). */
static void emergency(struct char_device *device, char character)
{
	struct console *console = container_of(device, struct console, device);
	le32 value = cpu_to_le32((uint8_t)character);

	/* The last resort: nobody is there to be told of an error. */
	[[maybe_unused]] int error = virtio_config_write(console->vdev, offsetof(struct virtio_console_config, emerg_wr), &value,
	                                                 sizeof(value));
}

static const struct char_ops ops = {.submit = submit, .read = read};

/* ---- life ---- */

/* True: the size is another one. */
static bool read_size(struct console *console)
{
	uint16_t columns = console->device.columns, rows = console->device.rows;

	if (!virtio_has(console->vdev, VIRTIO_CONSOLE_F_SIZE))
		return false;
	console->device.columns = virtio_config_u16(console->vdev, offsetof(struct virtio_console_config, cols), 0);
	console->device.rows = virtio_config_u16(console->vdev, offsetof(struct virtio_console_config, rows), 0);
	return columns != console->device.columns || rows != console->device.rows;
}

static void config_changed(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;

	if (read_size(console) && console->device.resized)
		console->device.resized(&console->device);
}

static int probe(struct virtio_device *vdev)
{
	struct console *console = page_alloc(sizeof(*console), PAGE_SIZE);

	if (!console)
		return -ENOMEM;
	console->memory = page_alloc(sizeof(*console->memory) * RX_BUFFERS, PAGE_SIZE);
	if (!console->memory) {
		page_free(console, sizeof(*console));
		return -ENOMEM;
	}
	console->filled_tail = &console->filled;
	console->waiting_tail = &console->waiting;
	console->vdev = vdev;
	console->device.ops = &ops;
	if (vdev->offered & BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE))
		console->device.emergency = emergency;
	vdev->driver_data = console;
	vdev->node = &console->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;
	const struct virtq_spec specs[QUEUES] = {
		[RECEIVEQ] =
			{.name = "receiveq", .callback = rx_used, .max_size = RX_BUFFERS, .max_buffers = 1, .context = console},
		[TRANSMITQ] = {.name = "transmitq",
	                       .callback = tx_used,
	                       .max_size = TX_QUEUE_MAX,
	                       .max_buffers = 1,
	                       .context = console},
	};
	int error = virtio_queues_create(vdev, QUEUES, specs);

	if (error)
		return error;
	console->empty_turns = 0;
	read_size(console);
	console->rx = vdev->queues[RECEIVEQ];
	console->tx = vdev->queues[TRANSMITQ];
	rx_fill(console);
	virtio_driver_ok(vdev);
	pump(console);
	return 0;
}

/* Take back what the device has of one queue; what waits goes on waiting. A piece of output that it did not say it used may be out
 * or not: that is for the program to judge. */
static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	struct console *console = vdev->driver_data;
	struct console_rx *buffer;
	struct char_request *request;

	if (vq->index == RECEIVEQ) {
		console->rx = NULL;
		rx_harvest(console, vq);
		while ((buffer = virtq_detach_unused(vq)))
			buffer->posted = false;
	} else {
		console->tx = NULL;
		tx_harvest(console, vq);
		console->cut = NULL;
		while ((request = virtq_detach_unused(vq)))
			end(request, -EIO);
	}
}

static void stop(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			queue_drain(vdev, vdev->queues[i]);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct console *console = vdev->driver_data;

	if (vq->index == RECEIVEQ)
		console->rx = vq;
	else
		console->tx = vq;
	rx_fill(console);
	pump(console);
}

static void remove(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;

	while (console->waiting) {
		struct char_request *request = console->waiting;

		console->waiting = request->next;
		if (!console->waiting)
			console->waiting_tail = &console->waiting;
		end(request, -ENODEV);
	}
	page_free(console->memory, sizeof(*console->memory) * RX_BUFFERS);
	page_free(console, sizeof(*console));
}

static const struct virtio_driver console_driver = {
	.name = "virtio-console",
	.instance = "console",
	.type = VIRTIO_ID_CONSOLE,
	.devices = &char_devices,
	.features = BIT64(VIRTIO_CONSOLE_F_SIZE) | BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE),
	.config_size = sizeof(struct virtio_console_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(console_driver);
