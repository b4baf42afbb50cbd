/*
 * The two kinds of virtqueues that most device types have: a request queue, where the driver asks and the device answers, and an event
 * queue, where the driver keeps buffers with the device and it reports in them. Loop context, the queue's CPU.
 */
#ifndef VIRTIO_REQUEST_H
#define VIRTIO_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* The submitter owns it, `bufs` and what they point to; all stay in place until done(), which comes once, from the loop (a request that
 * cannot be at all ends inside the submission), and may submit again but not wait. */
struct virtio_request {
	const struct virtq_buf *bufs; /* the device-readable ones first */
	uint16_t nreadable, nwritable;
	void (*done)(struct virtio_request *request); /* may be NULL */
	void *context;
	bool over;  /* it has ended */
	int status; /* 0: used; -EIO: it cannot be, or the device was reset and may have acted on it or not; -ENODEV: gone */
	uint32_t written; /* bytes that the device says it wrote; at most the device-writable ones */
	/* The queue's. */
	struct virtio_request *next;
	uint32_t number; /* in order of submission */
	bool given_up;   /* nobody waits any more: it is not to go out again */
};

struct virtio_requestq {
	bool events;                            /* false */
	bool again;                             /* the requests may be acted on twice: a queue reset lets them go out once more */
	struct virtq *vq;                       /* NULL while stopped: requests wait */
	bool held;                              /* none goes out */
	struct virtio_request *waiting, **tail; /* for room or for the start, in order */
	uint32_t submitted;
};

void virtio_requestq_init(struct virtio_requestq *queue);
/* For virtio_queues_create(). `max_buffers`: of one request. */
struct virtq_spec virtio_requestq_spec(struct virtio_requestq *queue, const char *name, uint16_t max_buffers);
/* In start() and queue_refill(): requests go out from now on. */
void virtio_requestq_start(struct virtio_requestq *queue, struct virtq *vq);
/* Keep requests from going out, or let them again; those that the device has stay with it. */
void virtio_requestq_hold(struct virtio_requestq *queue, bool held);
/* In stop() and queue_drain(): end what was used; what was not ends with -EIO or, when `again`, goes out again with the next start. */
void virtio_requestq_drain(struct virtio_requestq *queue, bool again);
/* In remove(): all that waits ends with -ENODEV. */
void virtio_requestq_end(struct virtio_requestq *queue);

void virtio_request_submit(struct virtio_requestq *queue, struct virtio_request *request);
/* And wait; its done() is not used. Gives its status. After `timeout_ns` without an answer (in start() VIRTIO_START_NS at most) it ends with
 * -EIO: if the device has it, by a reset of the device. In start() nobody else resets it: there, -ETIMEDOUT says that the request is still out; start() has to fail, and stop()
 * ends it, so that its storage must not be on the stack. */
[[nodiscard]] int virtio_request_call(struct virtio_requestq *queue, struct virtio_request *request, uint64_t timeout_ns);
/* The second half: for what virtio_request_submit() sent without a done(). */
[[nodiscard]] int virtio_request_wait(struct virtio_requestq *queue, struct virtio_request *request, uint64_t timeout_ns);
/* End it with -EIO, unless the device has it. */
void virtio_request_cancel(struct virtio_requestq *queue, struct virtio_request *request);

#define VIRTIO_ANSWER_NS UINT64_C(10000000000)   /* then it is none */
#define VIRTIO_START_NS UINT64_C(5000000000)     /* the same in start(), for which all other devices wait */
#define VIRTIO_TAKE_DOWN_NS UINT64_C(5000000000) /* longer than the bounded reset that follows virtio_device_broken() */

/* In start(): wait until *over, VIRTIO_START_NS at most, and no longer for a device that has broken: it is not recovered before start() is
 * over. Gives *over. */
[[nodiscard]] bool virtio_start_wait(struct virtio_device *vdev, const bool *over);

/* Serve the queue until *over, without turns of the loop: for one who is asked in the middle of another's work. Gives *over. */
bool virtio_requestq_poll(struct virtio_requestq *queue, const bool *over, uint64_t timeout_ns);

/* `count` buffers of `size` bytes for the device to report in; at most 64. */
struct virtio_eventq {
	bool events;      /* true */
	struct virtq *vq; /* NULL while stopped */
	/* A buffer came back with `written` bytes (zeroed behind them); it is made available again when this returns. */
	void (*report)(struct virtio_eventq *queue, void *event, uint32_t written);
	uint8_t *memory;
	uint32_t size;
	uint16_t count;
	uint64_t idle; /* buffers that found no room: a bit each */
	bool leak;     /* the device may write to them for ever */
};

/* In probe(): takes memory. -ENOMEM. */
[[nodiscard]] int virtio_eventq_init(struct virtio_eventq *queue, uint32_t size, uint16_t count,
                                     void (*report)(struct virtio_eventq *queue, void *event, uint32_t written));
struct virtq_spec virtio_eventq_spec(struct virtio_eventq *queue, const char *name);
/* In start(), before virtio_driver_ok(), and in queue_refill(). */
void virtio_eventq_start(struct virtio_eventq *queue, struct virtq *vq);
/* In stop() and queue_drain(). Reports what is there yet. */
void virtio_eventq_drain(struct virtio_eventq *queue);
/* In remove(), and when probe() fails behind the init. */
void virtio_eventq_free(struct virtio_eventq *queue);

/*
 * A device that has queues of these kinds only: its driver's start(), stop(), queue_drain() and queue_refill(). `specs` are what
 * virtio_requestq_spec() and virtio_eventq_spec() gave.
 */

/* Create the queues, give the device its event buffers, set DRIVER_OK, let requests out. */
[[nodiscard]] int virtio_service_start(struct virtio_device *vdev, uint16_t count, const struct virtq_spec *specs);
void virtio_service_stop(struct virtio_device *vdev);
void virtio_service_drain(struct virtio_device *vdev, struct virtq *vq);
void virtio_service_refill(struct virtio_device *vdev, struct virtq *vq);

#endif
