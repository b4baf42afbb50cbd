/*
 * Byte streams: consoles and ports. Loop context.
 */
#ifndef CLASS_CHAR_H
#define CLASS_CHAR_H

#include <class/device.h>

struct char_device;

/* A write: the caller owns it and its memory until done(), once, in the loop, never from inside char_submit(). In order of submission.
 * done() does not wait (loop_wait() and what uses it): its device may go meanwhile. */
struct char_request {
	const void *memory;
	uint32_t length; /* bytes, not 0 */
	void (*done)(struct char_request *request);
	void *context;
	int status; /* 0, -EIO, -ENODEV (gone: submit no more) */
	struct char_request *next;
	uint32_t sent; /* the driver's: bytes given to the device so far */
};

struct char_ops {
	void (*submit)(struct char_device *device, struct char_request *request);
	uint32_t (*read)(struct char_device *device, void *memory, uint32_t length);
	void (*open)(struct char_device *device, bool open);
};

struct char_device {
	struct class_node node;
	const struct char_ops *ops;
	const char *tag;        /* what the host calls it; "": nothing */
	bool console;           /* for text and people; always open. Else a port: */
	bool open, peer_open;   /* this side, by char_open(); the other side. Writes wait for both */
	uint16_t columns, rows; /* 0: not told */
	/* Put one character out at once, past the queue of writes and even when that is stuck. NULL: the device cannot. */
	void (*emergency)(struct char_device *device, char character);

	/* The program's; any may be NULL. */
	void (*ready)(struct char_device
	                      *device); /* bytes arrived: char_read() until 0. NULL: they wait, and the sender is held back */
	void (*resized)(struct char_device *device);
	void (*peer_changed)(struct char_device *device); /* peer_open */
	void *context;
};

extern struct class_list char_devices;
struct char_device *char_find(const char *name);           /* or the tag; NULL: the first console */
bool char_has(const struct char_device *device);           /* it may be gone: only compared */
struct char_device *char_next(struct char_device *device); /* NULL: the first of all; behind one that is gone: none */

/* A program is there, or no more. The same for each writer and reader of the port: it does not count them. */
static inline void char_open(struct char_device *device, bool open) { device->ops->open(device, open); }

static inline void char_submit(struct char_device *device, struct char_request *request) { device->ops->submit(device, request); }

/* Bytes that have arrived, at most `length`; 0: none now. */
static inline uint32_t char_read(struct char_device *device, void *memory, uint32_t length)
{
	return device->ops->read(device, memory, length);
}

/* Write and wait. Not from a done() of the same device. -ENOTCONN: this side is not open. */
[[nodiscard]] int char_write(struct char_device *device, const void *memory, uint32_t length);

#endif
