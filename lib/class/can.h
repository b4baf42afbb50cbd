/*
 * CAN controllers. Loop context. can_start() and can_stop() wait, not in a callback.
 */
#ifndef CLASS_CAN_H
#define CLASS_CAN_H

#include <class/device.h>

#define CAN_DATA_MAX 64u /* CAN FD; classic CAN: 8 */

enum { CAN_RTR = 0x2000, CAN_FD = 0x4000, CAN_EXTENDED = 0x8000 };

struct can_frame {
	uint32_t id;    /* 11 bits, or 29 with CAN_EXTENDED */
	uint32_t flags; /* CAN_* */
	uint16_t length;
	uint8_t data[CAN_DATA_MAX];
};

/* The caller's until done(), once, in the loop, which does not wait. */
struct can_request {
	struct can_frame frame;
	void (*done)(struct can_request *request);
	void *context;
	int status; /* 0; -EIO: not sent, or nobody knows; -ENODEV: gone */
};

struct can_device {
	struct class_node node;
	const struct can_ops *ops;
	bool classic, fd, rtr; /* what may be sent */
	bool late;             /* done() comes when the frame was on the bus, not earlier */
	bool started, bus_off;
	/* In the loop; may be NULL; do not wait. A frame came; the controller has left the bus, and is stopped. */
	void (*received)(struct can_device *device, const struct can_frame *frame);
	void (*left)(struct can_device *device);
	void *context;
};

struct can_ops {
	int (*mode)(struct can_device *device, bool start);
	int (*send)(struct can_device *device, struct can_request *request);
};

/* Take part in the bus, or no longer: what was not sent by then ends with -EIO. A reset of the device starts it again. -EIO: it would not. */
[[nodiscard]] static inline int can_start(struct can_device *device) { return device->ops->mode(device, true); }
[[nodiscard]] static inline int can_stop(struct can_device *device) { return device->ops->mode(device, false); }
/* -EINVAL: no such frame, or not one that the device takes; -ENOBUFS: too many on the way; done() does not come then. */
[[nodiscard]] static inline int can_send(struct can_device *device, struct can_request *request)
{
	return device->ops->send(device, request);
}

CLASS(struct can_device, can)

#endif
