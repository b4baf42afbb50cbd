/*
 * "Console Device": one port or, with MULTIPORT, as many as there are queues for, that come and go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { RECEIVEQ, TRANSMITQ, CONTROL_RECEIVEQ, CONTROL_TRANSMITQ };
enum { MAX_NR_PORTS = 4, EMERG_WR = 8 };
#define CONTROL_BYTES 8u

/* "Console Device / Device configuration layout" */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 2, .count = 2, .feature = CONSOLE_F_SIZE},                 /* cols, rows */
	{.offset = MAX_NR_PORTS, .width = 4, .count = 1, .feature = CONSOLE_F_MULTIPORT}, /* max_nr_ports */
	{.offset = EMERG_WR, .width = 4, .count = 1, .feature = CONSOLE_F_EMERG_WRITE, .writable = true, .any_time = true},
	{.width = 0},
};

struct swdev_message {
	struct swdev_message *next;
	size_t length;
	uint8_t bytes[];
};

static bool multiport(const struct swdev *dev) { return swdev_has(dev, CONSOLE_F_MULTIPORT); }

static void init(struct swdev *dev)
{
	unsigned ports = (dev->type->queues - 2u) / 2;

	dev->state = calloc(1, sizeof(struct swdev_tty));
	put16(dev->config, 80);
	put16(dev->config + 2, 25);
	put32(dev->config + MAX_NR_PORTS, ports < SWDEV_PORTS ? ports : SWDEV_PORTS);
	for (unsigned i = 0; i < dev->queue_count && dev->offered & FEATURE(CONSOLE_F_MULTIPORT); i++)
		dev->queues[i].max = 32; /* many queues are small ones */
	swdev_port_add(dev, 0, "", true);
	swdev_port_add(dev, 1, "one", false);
	swdev_port_peer(dev, 1, true);
}

static void forget_messages(struct swdev_tty *tty)
{
	while (tty->outbox) {
		struct swdev_message *message = tty->outbox;

		tty->outbox = message->next;
		free(message);
	}
}

static void release(struct swdev *dev)
{
	for (unsigned i = 0; i < SWDEV_PORTS; i++) {
		free(swdev_port(dev, i)->typed);
		free(swdev_port(dev, i)->printed);
	}
	forget_messages(dev->state);
	free(dev->state);
}

static void reset(struct swdev *dev)
{
	struct swdev_tty *tty = swdev_tty(dev);

	tty->ready = false;
	forget_messages(tty);
	for (unsigned i = 0; i < SWDEV_PORTS; i++)
		tty->ports[i].ready = tty->ports[i].open = tty->ports[i].open_owed = false;
}

static void append(uint8_t **to, size_t *length, const void *bytes, size_t count)
{
	if (!count)
		return;
	*to = realloc(*to, *length + count);
	memcpy(*to + *length, bytes, count);
	*length += count;
}

void swdev_tty_type(struct swdev *dev, unsigned port, const void *bytes, size_t length)
{
	append(&swdev_port(dev, port)->typed, &swdev_port(dev, port)->typed_length, bytes, length);
}

/* ---- what the device says ---- */

void swdev_port_say(struct swdev *dev, uint32_t port, uint16_t event, uint16_t value, const void *more, size_t length)
{
	struct swdev_tty *tty = swdev_tty(dev);
	struct swdev_message *message = calloc(1, sizeof(*message) + CONTROL_BYTES + length), **at = &tty->outbox;

	put32(message->bytes, port);
	put16(message->bytes + 4, event);
	put16(message->bytes + 6, value);
	if (length)
		memcpy(message->bytes + CONTROL_BYTES, more, length);
	message->length = CONTROL_BYTES + length;
	if (tty->drops && !dev->queues[CONTROL_RECEIVEQ].held && !dev->queues[CONTROL_RECEIVEQ].ready) {
		tty->dropped++;
		free(message);
		return;
	}
	while (*at)
		at = &(*at)->next;
	*at = message;
}

static void deliver(struct swdev *dev)
{
	struct swdev_tty *tty = swdev_tty(dev);

	while (tty->outbox && dev->queues[CONTROL_RECEIVEQ].held) {
		struct swdev_chain *chain = swdev_take_held(&dev->queues[CONTROL_RECEIVEQ]);
		struct swdev_message *message = tty->outbox;

		tty->outbox = message->next;
		swdev_chain_write(chain, 0, message->bytes, message->length);
		swdev_complete(chain, (uint32_t)message->length); /* as QEMU has it: even where that did not fit */
		free(message);
	}
}

/* The driver hears of it at once when it listens already, with all the others when it begins to. */
static void say(struct swdev *dev, unsigned port, uint16_t event, uint16_t value, const void *more, size_t length)
{
	if (!swdev_tty(dev)->ready || swdev_tty(dev)->mute)
		return;
	swdev_port_say(dev, port, event, value, more, length);
	if (swdev_tty(dev)->drops)
		deliver(dev);
}

void swdev_port_add(struct swdev *dev, unsigned port, const char *name, bool console)
{
	struct swdev_port *p = swdev_port(dev, port);

	p->there = true;
	p->console = console;
	p->ready = p->open = p->peer_open = false;
	snprintf(p->name, sizeof(p->name), "%s", name);
	say(dev, port, PORT_ADD, 0, NULL, 0);
}

void swdev_port_remove(struct swdev *dev, unsigned port)
{
	swdev_port(dev, port)->there = swdev_port(dev, port)->open_owed = false;
	say(dev, port, PORT_REMOVE, 0, NULL, 0);
}

void swdev_port_peer(struct swdev *dev, unsigned port, bool open)
{
	swdev_port(dev, port)->peer_open = open;
	say(dev, port, PORT_OPEN, open, NULL, 0);
}

static unsigned port_count(const struct swdev *dev)
{
	uint32_t told = get32(dev->config + MAX_NR_PORTS), queues = (dev->queue_count - 2u) / 2;

	return told < queues ? told : queues;
}

/* ---- what the driver says ---- */

static void port_is_ready(struct swdev *dev, unsigned port)
{
	struct swdev_port *p = swdev_port(dev, port);

	p->ready = true;
	if (p->console) {
		p->open_owed = true;
		say(dev, port, PORT_CONSOLE, 1, NULL, 0);
	}
	if (p->name[0])
		say(dev, port, PORT_NAME, 1, p->name, strlen(p->name) + 1);
	if (p->peer_open)
		say(dev, port, PORT_OPEN, 1, NULL, 0);
}

/* "Multiport Device Operation" */
static void hear(struct swdev *dev, struct swdev_chain *chain)
{
	struct swdev_tty *tty = swdev_tty(dev);
	uint8_t bytes[CONTROL_BYTES] __attribute__((aligned(8))) = {0};
	uint32_t id;
	uint16_t event, value;

	swdev_chain_read(chain, 0, bytes, sizeof(bytes));
	id = get32(bytes);
	event = get16(bytes + 4);
	value = get16(bytes + 6);
	if (chain->writable || chain->readable_bytes != CONTROL_BYTES)
		swdev_violation(dev, "a control message of %u bytes", (unsigned)chain->readable_bytes);
	if (event == PORT_DEVICE_READY) {
		if (tty->ready || value != 1)
			swdev_violation(dev, "DEVICE_READY with value %u%s", value, tty->ready ? " once more" : "");
		tty->ready = true;
		for (unsigned i = 0; i < port_count(dev); i++)
			if (tty->ports[i].there)
				say(dev, i, PORT_ADD, 0, NULL, 0);
	} else if (!tty->ready || id >= port_count(dev) || (event != PORT_READY && event != PORT_OPEN)) {
		swdev_violation(dev, "control message %u for port %u%s", event, id, tty->ready ? "" : " before DEVICE_READY");
	} else if (event == PORT_READY && value == 1) {
		port_is_ready(dev, id);
	} else if (event == PORT_READY) {
		tty->failed++;
	} else {
		struct swdev_port *port = &tty->ports[id];

		if (port->there && !port->ready)
			swdev_violation(dev, "port %u is opened before it is ready", id);
		if (port->open_owed && !value)
			swdev_violation(dev, "console port %u is closed", id);
		port->open = value;
		port->open_owed = false;
		*(value ? &port->opens : &port->closes) += 1;
	}
}

/* ---- bytes ---- */

static unsigned port_of(const struct swdev_queue *queue) { return queue->index < 2 ? 0 : (queue->index - 2u) / 2; }

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_port *port = swdev_port(dev, port_of(queue));
	uint8_t *bytes;

	*written = 0;
	/* "Device Operation": no readable buffer in a receiveq, no writable one in a transmitq. */
	if (queue->index % 2 == RECEIVEQ) {
		if (chain->readable)
			swdev_violation(dev, "a device-readable element in receiveq %u", queue->index);
		return false;
	}
	if (queue->index == CONTROL_TRANSMITQ) {
		hear(dev, chain);
		return true;
	}
	if (chain->writable)
		swdev_violation(dev, "a device-writable element in transmitq %u", queue->index);
	if (multiport(dev) && port->there && !port->ready)
		swdev_violation(dev, "output to port %u before it is ready", port_of(queue));
	if (swdev_tty(dev)->keeps_output && port_of(queue) == 1)
		return false;
	if (multiport(dev) && (!port->there || (!port->console && !port->peer_open)))
		return true; /* lost, as at QEMU's */
	bytes = malloc(chain->readable_bytes + 1);
	append(&port->printed, &port->printed_length, bytes, swdev_chain_read(chain, 0, bytes, chain->readable_bytes));
	free(bytes);
	return true;
}

static void type_in(struct swdev *dev, struct swdev_port *port, struct swdev_queue *queue)
{
	uint32_t most = swdev_tty(dev)->most;

	while (port->typed_done < port->typed_length && queue->held) {
		struct swdev_chain *chain = swdev_take_held(queue);
		size_t bytes = port->typed_length - port->typed_done;

		if (most && bytes > most)
			bytes = most;
		bytes = swdev_chain_write(chain, 0, port->typed + port->typed_done, bytes);
		port->typed_done += bytes;
		swdev_complete(chain, (uint32_t)bytes);
	}
}

static void produce(struct swdev *dev)
{
	struct swdev_tty *tty = swdev_tty(dev);

	if (!multiport(dev)) {
		type_in(dev, &tty->ports[0], &dev->queues[RECEIVEQ]);
		return;
	}
	deliver(dev);
	for (unsigned i = 0; i < port_count(dev); i++)
		if (tty->ports[i].there && tty->ports[i].open)
			type_in(dev, &tty->ports[i], &dev->queues[i ? 2 + 2 * i : RECEIVEQ]);
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	if (offset != EMERG_WR)
		return;
	swdev_tty(dev)->emergency++;
	append(&swdev_port(dev, 0)->printed, &swdev_port(dev, 0)->printed_length, dev->config + EMERG_WR, 1);
}

#define TYPE(type_name, type_queues, more)                                                                                       \
	{                                                                                                                        \
		.id = 3, .name = type_name, .queues = type_queues,                                                               \
		.features = FEATURE(CONSOLE_F_SIZE) | FEATURE(CONSOLE_F_EMERG_WRITE) | (more), .fields = fields,                 \
		.config_size = 12, .init = init, .free = release, .reset = reset, .serve = serve, .produce = produce,            \
		.config_written = config_written,                                                                                \
	}
const struct swdev_type swdev_console = TYPE("console", 6, 0),
			swdev_ports = TYPE("console with ports", 8, FEATURE(CONSOLE_F_MULTIPORT));

/* ---- lies ---- */

static void lie(struct swdev *dev, uint32_t port, uint16_t event, uint16_t value, const void *more, size_t length)
{
	if (!swdev_tty(dev)->ready || dev->looks % 2 || dev->lies_told > 100)
		return;
	dev->lies_told++;
	swdev_port_say(dev, port, event, value, more, length);
}

static void adds_twice(struct swdev *dev) { lie(dev, 1, PORT_ADD, 0, NULL, 0); }
static void adds_too_high(struct swdev *dev) { lie(dev, 3, PORT_ADD, 0, NULL, 0); }
static void adds_far_too_high(struct swdev *dev) { lie(dev, UINT32_MAX, PORT_ADD, 0, NULL, 0); }
static void removes_absent(struct swdev *dev) { lie(dev, 2, PORT_REMOVE, 0, NULL, 0); }
static void names_absent(struct swdev *dev) { lie(dev, 2, PORT_NAME, 0, "ghost", 5); }
static void unknown_event(struct swdev *dev) { lie(dev, 0, 0x7777, 0, NULL, 0); }
static void half_a_size(struct swdev *dev) { lie(dev, 0, PORT_RESIZE, 0, "\x50", 2); }
static void opens_with_junk(struct swdev *dev) { lie(dev, 1, PORT_OPEN, (uint16_t)dev->looks, NULL, 0); }
static void nominates_all(struct swdev *dev) { lie(dev, dev->looks / 2 % 2, PORT_CONSOLE, 0, NULL, 0); }

static void name_too_long(struct swdev *dev)
{
	uint8_t name[2000];

	memset(name, 0xff, sizeof(name));
	lie(dev, 1, PORT_NAME, 1, name, sizeof(name));
}

static void port_0_comes_and_goes(struct swdev *dev)
{
	if (!swdev_tty(dev)->ready || dev->looks % 3 || dev->looks > 60)
		return;
	dev->lies_told++;
	if (swdev_port(dev, 0)->there)
		swdev_port_remove(dev, 0);
	else
		swdev_port_add(dev, 0, "", true);
}

static void says_nothing(struct swdev *dev)
{
	swdev_tty(dev)->mute = true;
	dev->lies_told++;
}

#define PORTS(text, ...)                                                                                                         \
	{                                                                                                                        \
		text, FRONT_DIRECT | FRONT_PCI, .type = &swdev_ports, __VA_ARGS__                                                \
	}
static const struct swdev_lie lies[] = {
	PORTS("max_nr_ports 0", .reg = REG_CONFIG, .index = MAX_NR_PORTS, .op = OP_SET, .value = 0, .says = "max_nr_ports 0"),
	PORTS("max_nr_ports without end", .reg = REG_CONFIG, .index = MAX_NR_PORTS, .op = OP_SET, .value = UINT32_MAX,
              .says = "is not there"),
	PORTS("a port is added twice", .at_look = adds_twice, .harmless = true, .works = true),
	PORTS("a port is added beyond max_nr_ports", .at_look = adds_too_high, .works = true, .says = "no port"),
	PORTS("a port is added beyond all", .at_look = adds_far_too_high, .works = true, .says = "no port"),
	PORTS("a port is removed that is not there", .at_look = removes_absent, .works = true, .says = "not there"),
	PORTS("a port is named that is not there", .at_look = names_absent, .works = true, .says = "not there"),
	PORTS("an unknown control message", .at_look = unknown_event, .works = true, .says = "unknown"),
	PORTS("a control message cut off", .at_look = half_a_size, .works = true, .says = "unknown"),
	PORTS("a port is opened again and again", .at_look = opens_with_junk, .harmless = true, .works = true),
	PORTS("every port is a console, again and again", .at_look = nominates_all, .harmless = true, .works = true),
	PORTS("a name longer than its buffer", .at_look = name_too_long, .harmless = true, .works = true),
	PORTS("the console comes and goes", .at_look = port_0_comes_and_goes, .harmless = true),
	PORTS("no port is announced", .setup = says_nothing, .harmless = true),
	{},
};
SWDEV_LIES(lies);
