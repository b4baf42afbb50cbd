/*
 * "Socket Device" of the tests: its host listens at ECHO_PORT, and gives back what comes there, and at SINK_PORT, where it reads only
 * what swdev_vsock_drain() says.
 */
#ifndef SWDEV_VSOCK_H
#define SWDEV_VSOCK_H

#include "swdev.h"

enum { VSOCK_F_STREAM = 0, VSOCK_F_SEQPACKET = 1, VSOCK_F_NO_IMPLIED_STREAM = 2 };
enum { VSOCK_REQUEST = 1, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN, VSOCK_RW, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST };
enum { VSOCK_ECHO_PORT = 7, VSOCK_SINK_PORT = 9, VSOCK_CID = 42 };

extern const struct swdev_type swdev_vsock;

struct swdev_flow {
	struct swdev_flow *next;
	unsigned type;
	uint32_t port, driver_port;
	bool connected;
	uint32_t driver_space, driver_forwarded, sent; /* as the driver says; bytes to it */
	uint32_t received, forwarded, told;
	uint8_t *bytes; /* received, and not given back yet: */
	uint32_t length, *ends;
	uint8_t *end_flags;
	unsigned end_count, shut; /* ends of messages, of all that was received */
};

struct swdev_vsock {
	struct swdev_flow *flows;
	struct swdev_packet *outbox;
	uint32_t space;                                                        /* of each flow */
	bool silent;                                                           /* confirms no shutdown, answers no request */
	bool hoards;                                                           /* gives no buffer of the tx virtqueue back */
	unsigned resets, requests, shutdowns, credit_requests, credit_updates; /* packets from the driver */
};
static inline struct swdev_vsock *swdev_vsock_state(struct swdev *dev) { return dev->state; }

/* The host calls: a connection from its `port` to the driver's. */
void swdev_vsock_call(struct swdev *dev, unsigned type, uint32_t port, uint32_t driver_port);
struct swdev_flow *swdev_vsock_flow(struct swdev *dev, uint32_t port, uint32_t driver_port); /* driver_port 0: any. NULL: none */
void swdev_vsock_say(struct swdev *dev, struct swdev_flow *flow, unsigned op, uint32_t flags, const void *bytes, uint32_t length);
void swdev_vsock_drain(struct swdev *dev, struct swdev_flow *flow, uint32_t bytes);
/* Any header. */
void swdev_vsock_raw(struct swdev *dev, uint64_t from, uint64_t to, uint32_t port, uint32_t driver_port, unsigned type,
                     unsigned op, uint32_t length);
void swdev_vsock_move(struct swdev *dev, uint64_t cid); /* transport reset: another machine */

#endif
