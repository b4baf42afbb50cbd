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
};

struct char_device {
	struct class_node node;
	const struct char_ops *ops;
	uint16_t columns, rows; /* 0: not told */
	/* Put one character out at once, past the queue of writes and even when that is stuck. NULL: the device cannot. */
	void (*emergency)(struct char_device *device, char character);

	/* The program's. */
	void (*ready)(struct char_device
	                      *device); /* bytes arrived: char_read() until 0. NULL: they wait, and the sender is held back */
	void (*resized)(struct char_device *device);
	void *context;
};

CLASS(struct char_device, char)

static inline void char_submit(struct char_device *device, struct char_request *request) { device->ops->submit(device, request); }

/* Bytes that have arrived, at most `length`; 0: none now. */
static inline uint32_t char_read(struct char_device *device, void *memory, uint32_t length)
{
	return device->ops->read(device, memory, length);
}

/* Write and wait. Not from a done() of the same device. */
[[nodiscard]] int char_write(struct char_device *device, const void *memory, uint32_t length);

#endif
