/*
 * The driver of the echo device: gives a test its queues, bare.
 */
#ifndef SWDEV_ECHO_H
#define SWDEV_ECHO_H

#include <virtio/virtio.h>
#include <virtio/virtq.h>

#define ECHO_BURST_MAX 64u

struct echo_options {
	uint16_t queues, max_size, max_buffers; /* as in struct virtq_spec; 0 queues: one */
	void (*used)(struct virtq *vq, void *token,
	             uint32_t length);                 /* for each used buffer; NULL: no interrupts, the test harvests */
	void (*unused)(struct virtq *vq, void *token); /* for each that a reset gave back */
	void (*config_changed)(struct virtio_device *vdev);
	void (*drained)(struct virtq *vq); /* on the queue's CPU, as unused(): the queue is about to go */
	unsigned cpu;                      /* of all its queues */
	unsigned burst;                    /* harvest in bursts of that; 0: one by one */
	bool in_turn;                      /* nothing but bursts */
	/* Framed requests: their head's and tail's bytes, and who is given each instead of used(). */
	uint16_t head, tail;
	void (*framed)(struct virtq *vq, const struct virtq_used_request *used);
	void *early;                /* 100 bytes of RAM, to be made available, and kicked, before DRIVER_OK */
	int fail_probe, fail_start; /* errors for probe() and start() to give */
};
extern struct echo_options echo_options; /* at the next probe */
extern unsigned echo_starts, echo_stops, echo_removes;

#endif
