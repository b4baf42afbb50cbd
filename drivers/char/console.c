/*
 * "Console Device": its ports are in console_port.c. Without MULTIPORT there is port 0 alone, a console.
 *
 * With MULTIPORT the device announces ports by control messages, and takes them away. What is to be answered is noted with the port, not in
 * a list of messages, so that no device can make it grow; and one message is under way at a time, so that the answers to it find
 * buffers: QEMU's device drops what finds none. The bring-up waits until the device has announced what it has.
 *
 * Ports outlive a reset: the device announces them again, and one that it does not is taken away. Their queues are made for all
 * that there may be (but PORTS_MAX), for a queue cannot come later.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>
#include <virtio/request.h>
#include <virtio/virtio.h>

#include "console_impl.h"

/* "Console Device / Feature bits" */
enum { VIRTIO_CONSOLE_F_SIZE = 0, VIRTIO_CONSOLE_F_MULTIPORT = 1, VIRTIO_CONSOLE_F_EMERG_WRITE = 2 };

/* "Console Device / Device configuration layout" */
struct virtio_console_config {
	le16 cols, rows;
	le32 max_nr_ports, emerg_wr;
};
_Static_assert(sizeof(struct virtio_console_config) == 12, "virtio_console_config");

/* "Multiport Device Operation" */
enum { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

struct virtio_console_control {
	le32 id;
	le16 event, value;
};
_Static_assert(sizeof(struct virtio_console_control) == 8, "virtio_console_control");

struct virtio_console_resize {
	le16 cols, rows;
};

/* What the device sends: a message, and what follows some. */
struct message {
	struct virtio_console_control control;
	union {
		struct virtio_console_resize resize;
		char name[248];
	} more;
};

enum { RECEIVEQ, TRANSMITQ, CONTROL_RECEIVEQ, CONTROL_TRANSMITQ }; /* then two for each port from 1 on */

#define PORTS_MAX 64u
#define TX_QUEUE_MAX 128u
#define CONTROL_BUFFERS 32u
#define ANNOUNCE_NS UINT64_C(2000000000) /* what a bring-up waits at most for the ports to be announced */
#define SETTLE_NS UINT64_C(5000000000)   /* those that are not announced again by then are gone */

struct console {
	struct virtio_device *vdev;
	bool multiport, complained;
	struct virtio_eventq reports;
	struct virtio_requestq orders;
	struct virtio_request order; /* one at a time: */
	struct virtq_buf order_buf;
	struct virtio_console_control order_message;
	bool sending, device_ready_due, settled;
	struct console_port *readied; /* whose PORT_READY is under way, or NULL */
	struct event tell;
	struct timer tidy;
	unsigned port_count;
	struct console_port ports[];
};

static size_t bytes_of(unsigned ports) { return sizeof(struct console) + ports * sizeof(struct console_port); }

/* ---- what the driver says ---- */

static void send(struct console *console, unsigned id, uint16_t event, bool value)
{
	console->sending = true;
	console->order_message = (struct virtio_console_control){cpu_to_le32(id), cpu_to_le16(event), cpu_to_le16(value)};
	virtio_request_submit(&console->orders, &console->order);
}

static void run_tell(struct event *event)
{
	struct console *console = container_of(event, struct console, tell);

	if (console->sending || !console->orders.vq)
		return;
	if (console->device_ready_due) {
		console->device_ready_due = false;
		send(console, 0, DEVICE_READY, true);
		return;
	}
	for (struct console_port *port = console->ports; port < console->ports + console->port_count; port++) {
		if (port->ready_due) {
			port->ready_due = false;
			console->readied = port;
			send(console, port->id, PORT_READY, port->state == PORT_PRESENT);
			return;
		}
		if (port->open_due) {
			port->open_due = false;
			send(console, port->id, PORT_OPEN, port->device.open);
			return;
		}
	}
	console->settled = true;
}

void console_tell(struct console *console) { event_mark(&console->tell); }

/* Before the next message there is a look at what the device said to this one: events run in the order of their marks. */
static void sent(struct virtio_request *order)
{
	struct console *console = order->context;
	struct console_port *port = console->readied;

	console->sending = false;
	console->readied = NULL;
	if (!console->reports.vq)
		return;
	/* Not when it went meanwhile, or came back: there is another PORT_READY then. */
	if (port && port->state == PORT_PRESENT && !port->ready_due) {
		port->ready = true;
		console_port_go_on(port);
	}
	event_mark(&console->reports.vq->event);
	console_tell(console);
}

/* ---- what the device says ---- */

static void complain(struct console *console, const char *what, unsigned id)
{
	if (!console->complained)
		log_warn("%s: %s, port %u: ignored, like all that follow", console->vdev->name, what, id);
	console->complained = true;
}

static void remove_port(struct console *console, struct console_port *port)
{
	console_port_gone(port);
	if (port->in_flight)
		timer_start(&console->tidy, clock_ns() + SETTLE_NS, console->tidy.run);
}

static void set_size(struct char_device *device, uint16_t columns, uint16_t rows)
{
	bool changed = columns != device->columns || rows != device->rows;

	device->columns = columns;
	device->rows = rows;
	if (changed && device->resized)
		device->resized(device);
}

static void nominate(struct console_port *port)
{
	/* "Multiport Device Operation": MUST respond with PORT_OPEN, value 1 */
	port->device.console = port->device.open = port->open_due = true;
	console_tell(port->console);
	console_port_go_on(port);
}

static void set_peer(struct console_port *port, bool is_open)
{
	port->device.peer_open = is_open;
	console_port_go_on(port);
	if (port->device.peer_changed)
		port->device.peer_changed(&port->device);
}

static void reported(struct virtio_eventq *queue, void *event, uint32_t written)
{
	struct console *console = container_of(queue, struct console, reports);
	const struct message *message = event;
	const struct virtio_console_control control = message->control;
	unsigned id = le32_to_cpu(control.id), what = le16_to_cpu(control.event);
	struct console_port *port = &console->ports[id < console->port_count ? id : 0];

	if (written < sizeof(control) || id >= console->port_count) {
		complain(console, "a control message for no port", id);
	} else if (what == DEVICE_ADD) {
		console_port_add(port);
	} else if (port->state == PORT_ABSENT) {
		if (what != PORT_OPEN || control.value) /* QEMU's device closes a port behind its removal */
			complain(console, "a control message for a port that is not there", id);
	} else if (what == DEVICE_REMOVE) {
		remove_port(console, port);
	} else if (what == CONSOLE_PORT) {
		nominate(port);
	} else if (what == PORT_OPEN) {
		set_peer(port, le16_to_cpu(control.value));
	} else if (what == PORT_NAME) {
		memcpy(port->tag, message->more.name, sizeof(port->tag) - 1);
	} else if (what == RESIZE && written >= sizeof(control) + sizeof(message->more.resize)) {
		set_size(&port->device, le16_to_cpu(message->more.resize.cols), le16_to_cpu(message->more.resize.rows));
	} else {
		complain(console, "an unknown control message", id);
	}
}

/* The device had its time. */
static void tidy(struct timer *timer)
{
	struct console *console = container_of(timer, struct console, tidy);

	for (struct console_port *port = console->ports; port < console->ports + console->port_count; port++) {
		if (port->state == PORT_AWAITED)
			console_port_gone(port);
		else if (!port->device.node.listed && port->in_flight)
			virtio_device_broken(console->vdev, "port %u: it is removed, and its output is not given back", port->id);
	}
}

/* ---- life ---- */

/* emerg_wr can be written at any time, whether or not the feature was accepted ("Device Initialization"). */
static void emergency(struct char_device *device, char character)
{
	struct console *console = container_of(device, struct console_port, device)->console;
	le32 value = cpu_to_le32((uint8_t)character);

	/* The last resort: nobody is there to be told of an error. */
	[[maybe_unused]] int error = virtio_config_write(console->vdev, offsetof(struct virtio_console_config, emerg_wr), &value,
	                                                 sizeof(value));
}

static void config_changed(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;

	if (virtio_has(vdev, VIRTIO_CONSOLE_F_SIZE))
		set_size(&console->ports[0].device, virtio_config_u16(vdev, offsetof(struct virtio_console_config, cols), 0),
		         virtio_config_u16(vdev, offsetof(struct virtio_console_config, rows), 0));
}

static int probe(struct virtio_device *vdev)
{
	bool multiport = virtio_has(vdev, VIRTIO_CONSOLE_F_MULTIPORT);
	unsigned count = multiport ? virtio_config_u32(vdev, offsetof(struct virtio_console_config, max_nr_ports), 0) : 1;
	struct console *console;

	if (!count)
		return virtio_refuse(vdev, -EINVAL, "max_nr_ports 0");
	count = MIN(count, PORTS_MAX);
	console = page_alloc(bytes_of(count), PAGE_SIZE);
	if (!console)
		return -ENOMEM;
	if (multiport && virtio_eventq_init(&console->reports, sizeof(struct message), CONTROL_BUFFERS, reported)) {
		page_free(console, bytes_of(count));
		return -ENOMEM;
	}
	console->vdev = vdev;
	console->multiport = multiport;
	console->port_count = count;
	virtio_requestq_init(&console->orders);
	console->order_buf = (struct virtq_buf){&console->order_message, sizeof(console->order_message)};
	console->order = (struct virtio_request){.bufs = &console->order_buf, .nreadable = 1, .done = sent, .context = console};
	event_init(&console->tell, run_tell);
	console->tidy.run = tidy;
	for (unsigned i = 0; i < count; i++) {
		struct console_port *port = &console->ports[i];

		port->console = console;
		port->id = i;
		format_text(port->name, sizeof(port->name), i ? "%s.%u" : "%s", vdev->name, i);
		console_port_init(port);
	}
	if (vdev->offered & BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE))
		console->ports[0].device.emergency = emergency;
	vdev->driver_data = console;
	return 0;
}

/* NULL: a control virtqueue. */
static struct console_port *port_of(struct console *console, unsigned index)
{
	if (index == CONTROL_RECEIVEQ || index == CONTROL_TRANSMITQ)
		return NULL;
	return &console->ports[index < CONTROL_RECEIVEQ ? 0 : (index - CONTROL_RECEIVEQ) / 2];
}

static int create_queues(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;
	unsigned count = console->multiport ? 2 + 2 * console->port_count : 2;
	struct virtq_spec *specs = page_alloc(count * sizeof(*specs), PAGE_SIZE);
	int error;

	if (!specs)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		struct console_port *port = port_of(console, i);
		bool in = i % 2 == RECEIVEQ;

		if (port)
			specs[i] = (struct virtq_spec){.name = in ? "receiveq" : "transmitq",
			                               .callback = in ? console_port_received : console_port_sent,
			                               .max_size = in ? CONSOLE_RX_BUFFERS : TX_QUEUE_MAX,
			                               .max_buffers = 1,
			                               .context = port};
		else
			specs[i] = in ? virtio_eventq_spec(&console->reports, "control receiveq")
			              : virtio_requestq_spec(&console->orders, "control transmitq", 1);
		if (i == CONTROL_RECEIVEQ)
			specs[i].loose_lengths = true; /* QEMU's device gives the length of a name, be it longer than the buffer */
		if (i == CONTROL_TRANSMITQ)
			specs[i].max_size = CONTROL_BUFFERS;
	}
	error = virtio_queues_create(vdev, (uint16_t)count, specs);
	page_free(specs, count * sizeof(*specs));
	return error;
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct console *console = vdev->driver_data;
	struct console_port *port = port_of(console, vq->index);

	if (vq->index == CONTROL_RECEIVEQ) {
		virtio_eventq_start(&console->reports, vq);
	} else if (vq->index == CONTROL_TRANSMITQ) {
		virtio_requestq_start(&console->orders, vq);
		console_tell(console);
	} else {
		*(vq->index % 2 == RECEIVEQ ? &port->rx : &port->tx) = vq;
		console_port_go_on(port);
	}
}

static int start(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;
	uint64_t deadline_ns = clock_ns() + ANNOUNCE_NS;
	int error = create_queues(vdev);

	if (error)
		return error;
	console->complained = console->settled = false;
	config_changed(vdev);
	/* "Multiport Device Operation": MUST send DEVICE_READY */
	console->device_ready_due = true;
	for (unsigned i = 0; i < vdev->queue_count; i++)
		queue_refill(vdev, vdev->queues[i]);
	if (!console->multiport) {
		console->ports[0].device.console = console->ports[0].device.open = console->ports[0].ready = true;
		console_port_add(&console->ports[0]);
	}
	virtio_driver_ok(vdev);
	while (console->multiport && !console->settled && !vdev->broken && clock_ns() < deadline_ns)
		loop_turn(true, deadline_ns);
	if (console->multiport)
		timer_start(&console->tidy, clock_ns() + SETTLE_NS, tidy);
	return 0;
}

static void drain(struct virtio_device *vdev, struct virtq *vq, bool again)
{
	struct console *console = vdev->driver_data;
	struct console_port *port = port_of(console, vq->index);

	if (vq->index == CONTROL_RECEIVEQ)
		virtio_eventq_drain(&console->reports);
	else if (vq->index == CONTROL_TRANSMITQ)
		virtio_requestq_drain(&console->orders, again);
	else if (vq->index % 2 == RECEIVEQ)
		console_port_drain_receiveq(port, vq);
	else
		console_port_drain_transmitq(port, vq);
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq) { drain(vdev, vq, true); }

static void stop(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;

	timer_stop(&console->tidy);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			drain(vdev, vdev->queues[i], false);
	for (unsigned i = 0; i < console->port_count; i++) {
		struct console_port *port = &console->ports[i];

		port->state = port->device.node.listed ? PORT_AWAITED : PORT_ABSENT;
		port->device.peer_open = port->ready = port->ready_due = port->open_due = false;
	}
}

static void remove(struct virtio_device *vdev)
{
	struct console *console = vdev->driver_data;

	event_cancel(&console->tell);
	for (unsigned i = 0; i < console->port_count; i++) {
		console_port_gone(&console->ports[i]);
		console_port_free(&console->ports[i]);
	}
	if (console->multiport)
		virtio_eventq_free(&console->reports);
	page_free(console, bytes_of(console->port_count));
}

static const struct virtio_driver console_driver = {
	.name = "virtio-console",
	.instance = "console",
	.type = VIRTIO_ID_CONSOLE,
	.features = BIT64(VIRTIO_CONSOLE_F_SIZE) | BIT64(VIRTIO_CONSOLE_F_MULTIPORT) | BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE),
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
