/*
 * Between the parts of the console driver: console.c is the device with its control virtqueues, console_port.c its ports. Loop context.
 */
#ifndef DRIVERS_CHAR_CONSOLE_IMPL_H
#define DRIVERS_CHAR_CONSOLE_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include <class/char.h>
#include <virtio/virtq.h>

#define CONSOLE_RX_BUFFERS 32u
#define CONSOLE_RX_BYTES 1024u

struct console;

struct console_rx {
	struct console_rx *next; /* filled ones */
	uint32_t length, taken;  /* bytes that came, bytes that were read */
	bool posted;
};

enum console_port_state {
	PORT_ABSENT,
	PORT_AWAITED,   /* the device was reset: it has to announce the port again */
	PORT_RETURNING, /* announced again, while writes to its predecessor are still with the device */
	PORT_PRESENT,
};

struct console_port {
	struct char_device device;
	struct console *console;
	unsigned id;
	enum console_port_state state;
	char name[24], tag[64];
	struct virtq *rx, *tx; /* NULL while stopped */

	bool ready_due, open_due; /* control messages: PORT_READY, PORT_OPEN */
	bool ready;               /* the device has read the first: output may follow */

	unsigned empty_turns;
	struct console_rx *filled, **filled_tail;
	char (*memory)[CONSOLE_RX_BYTES]; /* CONSOLE_RX_BUFFERS of them; NULL: it has never been there */
	struct console_rx buffers[CONSOLE_RX_BUFFERS];

	unsigned in_flight; /* writes */
	struct char_request *waiting, **waiting_tail;
	struct char_request *cut; /* a piece of it is in flight, more is to follow: all others wait */
};

/* ---- console_port.c ---- */
void console_port_init(struct console_port *port);
void console_port_free(struct console_port *port); /* stopped, and gone */
/* The device has it, perhaps again; PORT_READY is due then. */
void console_port_add(struct console_port *port);
void console_port_gone(struct console_port *port); /* all that waits ends with -ENODEV */
void console_port_go_on(struct console_port *port);
/* Its queues: a callback each, and taking back what the device has. */
void console_port_received(struct virtq *vq);
void console_port_sent(struct virtq *vq);
void console_port_drain_receiveq(struct console_port *port, struct virtq *vq);
void console_port_drain_transmitq(struct console_port *port, struct virtq *vq);

/* ---- console.c ---- */
/* Have the control messages that are due sent. */
void console_tell(struct console *console);

#endif
