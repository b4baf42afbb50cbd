/*
 * Sources of random bytes. Loop context.
 */
#ifndef CLASS_ENTROPY_H
#define CLASS_ENTROPY_H

#include <class/device.h>

struct entropy_device;

/* The caller owns it and its memory until done(), once, in the loop, never from inside entropy_submit().
 * done() does not wait (loop_wait() and what uses it): its device may go meanwhile. */
struct entropy_request {
	void *memory;
	uint32_t length; /* bytes wanted, not 0; all of them are delivered, or status tells why not */
	void (*done)(struct entropy_request *request);
	void *context;
	int status; /* 0, -EIO, -ENODEV (gone: submit no more) */
	struct entropy_request *next;
	uint32_t filled;      /* the driver's: bytes so far, */
	unsigned empty_turns; /* and how often in a row the device gave none */
};

struct entropy_ops {
	void (*submit)(struct entropy_device *device, struct entropy_request *request);
};

struct entropy_device {
	struct class_node node;
	const struct entropy_ops *ops;
};

CLASS(struct entropy_device, entropy)
static inline void entropy_submit(struct entropy_device *device, struct entropy_request *request)
{
	device->ops->submit(device, request);
}
[[nodiscard]] int entropy_read(struct entropy_device *device, void *memory, uint32_t length); /* and wait; not from a done() */

#endif
