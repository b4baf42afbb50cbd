/*
 * A port of a "Console Device": bytes in by its receiveq, bytes out by its transmitq.
 *
 * In: CONSOLE_RX_BUFFERS small buffers are kept with the device. What it used waits in a list until the program reads, and only an emptied
 * buffer goes back: a program that does not read holds the sender back, and no byte is dropped. The list survives a reset.
 *
 * Out: a request is one device-readable buffer, many are in flight at once. One larger than PIECE_MAX goes piece by piece, and the
 * requests behind it wait meanwhile, so that bytes leave in the order of submission. To a port that is no console nothing goes while one
 * of its sides is closed: a device would drop it.
 *
 * A port that was removed keeps its place here. The device may still have buffers of it: those to read end when it uses them, those to
 * write are its next life's.
 */
#include <errno.h>
#include <string.h>

#include <base/page.h>
#include <base/util.h>
#include <virtio/virtio.h>

#include "console_impl.h"

#define EMPTY_TURNS_MAX 256u /* buffers that come back empty, in a row: else a device could keep the loop busy with nothing */
#define PIECE_MAX DMA_PIECE_MAX

/* ---- in ---- */

/* Give all buffers that are neither filled nor posted to the device, as many as it takes. */
static void rx_fill(struct console_port *port)
{
	for (unsigned i = 0; port->rx && port->state == PORT_PRESENT && i < CONSOLE_RX_BUFFERS; i++) {
		struct console_rx *buffer = &port->buffers[i];
		struct virtq_buf buf = {.addr = port->memory[i], .len = CONSOLE_RX_BYTES};

		if (buffer->posted || buffer->length)
			continue;
		/* "Device Operation": MUST NOT put a device-readable buffer in a receiveq */
		if (virtq_add(port->rx, &buf, 0, 1, buffer))
			return;
		buffer->posted = true;
		virtq_kick_later(port->rx);
	}
}

static void rx_harvest(struct console_port *port, struct virtq *vq)
{
	struct console_rx *buffer;
	uint32_t written;

	while ((buffer = virtq_harvest(vq, &written))) {
		buffer->posted = false;
		buffer->taken = 0;
		buffer->length = port->device.node.listed ? written : 0;
		port->empty_turns = written ? 0 : port->empty_turns + 1;
		if (port->empty_turns == EMPTY_TURNS_MAX)
			virtio_device_broken(vq->vdev, "receiveq: %u buffers in a row with nothing in them", EMPTY_TURNS_MAX);
		if (!buffer->length)
			continue;
		buffer->next = NULL;
		*port->filled_tail = buffer;
		port->filled_tail = &buffer->next;
	}
}

void console_port_received(struct virtq *vq)
{
	struct console_port *port = vq->context;

	rx_harvest(port, vq);
	rx_fill(port);
	if (port->filled && port->device.ready)
		port->device.ready(&port->device);
}

static void empty_first(struct console_port *port)
{
	port->filled->length = 0;
	port->filled = port->filled->next;
	if (!port->filled)
		port->filled_tail = &port->filled;
}

static uint32_t read(struct char_device *device, void *memory, uint32_t length)
{
	struct console_port *port = container_of(device, struct console_port, device);
	uint32_t done = 0;

	while (port->filled && done < length) {
		struct console_rx *buffer = port->filled;
		uint32_t count = MIN(length - done, buffer->length - buffer->taken);

		memcpy((char *)memory + done, port->memory[buffer - port->buffers] + buffer->taken, count);
		done += count;
		buffer->taken += count;
		if (buffer->taken == buffer->length)
			empty_first(port);
	}
	rx_fill(port);
	return done;
}

/* ---- out ---- */

static bool may_send(const struct console_port *port)
{
	const struct char_device *device = &port->device;

	return port->tx && port->ready && !port->cut && (device->console || (device->open && device->peer_open));
}

static void pump(struct console_port *port)
{
	while (port->waiting && may_send(port)) {
		struct char_request *request = port->waiting;
		struct virtq_buf buf = {
			.addr = (char *)(uintptr_t)request->memory + request->sent,
			.len = MIN(request->length - request->sent, PIECE_MAX),
		};

		/* "Device Operation": MUST NOT put a device-writable buffer in a transmitq */
		if (virtq_add(port->tx, &buf, 1, 0, request))
			return; /* no room, or broken: until some is used, or the restart */
		virtq_kick_later(port->tx);
		port->in_flight++;
		request->sent += buf.len;
		port->waiting = request->next;
		if (!port->waiting)
			port->waiting_tail = &port->waiting;
		if (request->sent < request->length)
			port->cut = request;
	}
}

static void submit(struct char_device *device, struct char_request *request)
{
	struct console_port *port = container_of(device, struct console_port, device);

	request->status = 0;
	request->sent = 0;
	request->next = NULL;
	*port->waiting_tail = request;
	port->waiting_tail = &request->next;
	pump(port);
}

static void end(struct char_request *request, int status)
{
	request->status = status;
	request->done(request);
}

static void tx_harvest(struct console_port *port, struct virtq *vq)
{
	struct char_request *request;
	uint32_t written; /* "Legacy Interface: Device Operation": to be ignored for transmit queues */

	while ((request = virtq_harvest(vq, &written))) {
		port->in_flight--;
		if (request != port->cut) {
			end(request, port->device.node.listed ? 0 : -ENODEV);
			continue;
		}
		port->cut = NULL;
		if (!port->device.node.listed) {
			end(request, -ENODEV);
			continue;
		}
		request->next = port->waiting;
		port->waiting = request;
		if (!request->next)
			port->waiting_tail = &request->next;
	}
}

void console_port_sent(struct virtq *vq)
{
	struct console_port *port = vq->context;

	tx_harvest(port, vq);
	if (port->state == PORT_RETURNING)
		console_port_add(port);
	pump(port);
}

static void open(struct char_device *device, bool is_open)
{
	struct console_port *port = container_of(device, struct console_port, device);

	/* A console stays open: "Multiport Device Operation" */
	if (device->console || device->open == is_open)
		return;
	device->open = is_open;
	port->open_due = true;
	console_tell(port->console);
	pump(port);
}

static const struct char_ops ops = {.submit = submit, .read = read, .open = open};

/* ---- life ---- */

void console_port_init(struct console_port *port)
{
	port->filled_tail = &port->filled;
	port->waiting_tail = &port->waiting;
	port->device.ops = &ops;
	port->device.node.name = port->name;
	port->device.tag = port->tag;
}

void console_port_free(struct console_port *port) { page_free(port->memory, sizeof(*port->memory) * CONSOLE_RX_BUFFERS); }

void console_port_add(struct console_port *port)
{
	if (port->state != PORT_PRESENT && port->in_flight) {
		port->state = PORT_RETURNING;
		return;
	}
	if (!port->memory)
		port->memory = page_alloc(sizeof(*port->memory) * CONSOLE_RX_BUFFERS, PAGE_SIZE);
	if (port->memory && port->state != PORT_PRESENT) {
		port->state = PORT_PRESENT;
		port->empty_turns = 0;
		class_add(&char_devices, &port->device.node);
		console_port_go_on(port);
	}
	port->ready_due = true;
	port->open_due = port->device.open;
	console_tell(port->console);
}

void console_port_go_on(struct console_port *port)
{
	rx_fill(port);
	pump(port);
}

void console_port_gone(struct console_port *port)
{
	struct char_device *device = &port->device;

	port->state = PORT_ABSENT;
	port->ready = port->ready_due = port->open_due = false;
	class_remove(&char_devices, &device->node);
	device->open = device->peer_open = device->console = false;
	device->columns = device->rows = 0;
	port->tag[0] = '\0';
	if (port->rx)
		rx_harvest(port, port->rx);
	while (port->filled)
		empty_first(port);
	while (port->waiting) {
		struct char_request *request = port->waiting;

		port->waiting = request->next;
		if (!port->waiting)
			port->waiting_tail = &port->waiting;
		end(request, -ENODEV);
	}
}

void console_port_drain_receiveq(struct console_port *port, struct virtq *vq)
{
	struct console_rx *buffer;

	port->rx = NULL;
	rx_harvest(port, vq);
	while ((buffer = virtq_detach_unused(vq)))
		buffer->posted = false;
}

/* A piece of output that the device did not say it used may be out or not: that is for the program to judge. */
void console_port_drain_transmitq(struct console_port *port, struct virtq *vq)
{
	struct char_request *request;

	port->tx = NULL;
	tx_harvest(port, vq);
	port->cut = NULL;
	port->in_flight = 0;
	while ((request = virtq_detach_unused(vq)))
		end(request, port->device.node.listed ? -EIO : -ENODEV);
}
