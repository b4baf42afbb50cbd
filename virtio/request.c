/*
 * Request queues and event queues: what their drivers share.
 *
 * Requests go out in order. One that finds no room waits, and those behind it with it, until the device has used some. An event queue
 * gives each buffer back at once; in one run of its callback it takes no more reports than it has buffers, so that a device that never
 * stops reporting leaves the loop to others.
 */
#include <virtio/request.h>

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/page.h>

/* ---- request queues ---- */

static void end(struct virtio_request *request, int status)
{
	request->status = status;
	request->over = true;
	if (request->done)
		request->done(request);
}

static void push(struct virtio_requestq *queue, struct virtio_request *request)
{
	request->next = NULL;
	*queue->tail = request;
	queue->tail = &request->next;
}

static struct virtio_request *pop(struct virtio_requestq *queue)
{
	struct virtio_request *request = queue->waiting;

	queue->waiting = request->next;
	if (!queue->waiting)
		queue->tail = &queue->waiting;
	return request;
}

/* The queue gives them back in no order: each to its place by number. */
static void put_back(struct virtio_requestq *queue, struct virtio_request *request)
{
	struct virtio_request **at = &queue->waiting;

	while (*at && (int32_t)((*at)->number - request->number) < 0)
		at = &(*at)->next;
	request->next = *at;
	*at = request;
	if (!request->next)
		queue->tail = &request->next;
}

/* False: it is not among those that wait. */
static bool withdraw(struct virtio_requestq *queue, const struct virtio_request *request)
{
	struct virtio_request **at = &queue->waiting;

	while (*at && *at != request)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = request->next;
	if (!*at)
		queue->tail = at;
	return true;
}

static void pump(struct virtio_requestq *queue)
{
	while (queue->vq && !queue->held && queue->waiting) {
		struct virtio_request *request = queue->waiting;
		int error = virtq_add(queue->vq, request->bufs, request->nreadable, request->nwritable, request);

		if (error == -ENOSPC || error == -EIO)
			return; /* until some are used, or until the restart */
		pop(queue);
		if (error)
			end(request, -EIO);
		else
			virtq_kick_later(queue->vq);
	}
}

/* At most as many as fit in, for done() may submit what a fast device uses at once: the rest has the next turn. */
static void harvest(struct virtq *vq)
{
	struct virtio_request *request;
	uint32_t written;

	for (unsigned left = vq->size; left && (request = virtq_harvest(vq, &written)); left--) {
		request->written = written;
		end(request, 0);
	}
}

static void requests_used(struct virtq *vq)
{
	harvest(vq);
	pump(vq->context);
}

void virtio_requestq_init(struct virtio_requestq *queue) { *queue = (struct virtio_requestq){.tail = &queue->waiting}; }

struct virtq_spec virtio_requestq_spec(struct virtio_requestq *queue, const char *name, uint16_t max_buffers)
{
	return (struct virtq_spec){.name = name, .callback = requests_used, .max_buffers = max_buffers, .context = queue};
}

void virtio_requestq_start(struct virtio_requestq *queue, struct virtq *vq)
{
	queue->vq = vq;
	pump(queue);
}

void virtio_requestq_hold(struct virtio_requestq *queue, bool held)
{
	queue->held = held;
	pump(queue);
}

void virtio_requestq_drain(struct virtio_requestq *queue, bool again)
{
	struct virtq *vq = queue->vq;
	struct virtio_request *request;

	if (!vq)
		return;
	queue->vq = NULL;
	harvest(vq);
	while ((request = virtq_detach_unused(vq))) {
		if (again && !request->given_up)
			put_back(queue, request);
		else
			end(request, -EIO);
	}
}

void virtio_requestq_end(struct virtio_requestq *queue)
{
	while (queue->waiting)
		end(pop(queue), -ENODEV);
}

void virtio_request_submit(struct virtio_requestq *queue, struct virtio_request *request)
{
	request->number = queue->submitted++;
	request->over = request->given_up = false;
	request->status = 0;
	request->written = 0;
	push(queue, request);
	pump(queue);
}

void virtio_request_cancel(struct virtio_requestq *queue, struct virtio_request *request)
{
	if (withdraw(queue, request))
		end(request, -EIO);
}

static bool starting(const struct virtio_requestq *queue) { return queue->vq && queue->vq->vdev->state != VIRTIO_RUNNING; }

/* A device that breaks while it is being brought up is not recovered before that is over: no answer comes. */
static bool hopeless(const struct virtio_requestq *queue) { return starting(queue) && queue->vq->vdev->broken; }

int virtio_request_wait(struct virtio_requestq *queue, struct virtio_request *request, uint64_t timeout_ns)
{
	uint64_t until_ns;

	if (request->over) /* and the queue, perhaps, gone */
		return request->status;
	until_ns = clock_ns() + (starting(queue) ? MIN(timeout_ns, VIRTIO_START_NS) : timeout_ns);
	while (!request->over && !hopeless(queue) && clock_ns() < until_ns)
		loop_turn(true, until_ns);
	if (loop_wait(&request->over, 0)) /* what came while a long callback ran is in time */
		return request->status;
	if (withdraw(queue, request))
		return -EIO;
	request->given_up = true;
	if (queue->vq)
		virtio_device_broken(queue->vq->vdev, "%s: no answer", queue->vq->name);
	return !hopeless(queue) && loop_wait(&request->over, VIRTIO_TAKE_DOWN_NS) ? request->status : -ETIMEDOUT;
}

bool virtio_start_wait(struct virtio_device *vdev, const bool *over)
{
	uint64_t until_ns = clock_ns() + VIRTIO_START_NS;

	while (!READ_ONCE(*over) && !vdev->broken && clock_ns() < until_ns)
		loop_turn(true, until_ns);
	return loop_wait(over, 0);
}

bool virtio_requestq_poll(struct virtio_requestq *queue, const bool *over, uint64_t timeout_ns)
{
	uint64_t until_ns = clock_ns() + timeout_ns;
	struct virtio_request *request;
	uint32_t written;

	while (!*over && queue->vq && (request = virtq_await(queue->vq, &written, until_ns))) {
		request->written = written;
		end(request, 0);
		pump(queue);
	}
	return *over;
}

int virtio_request_call(struct virtio_requestq *queue, struct virtio_request *request, uint64_t timeout_ns)
{
	request->done = NULL;
	virtio_request_submit(queue, request);
	return virtio_request_wait(queue, request, timeout_ns);
}

/* ---- event queues ---- */

static void post(struct virtio_eventq *queue, unsigned i)
{
	struct virtq_buf buf = {queue->memory + (size_t)i * queue->size, queue->size};

	/* No room: the queue is shorter than that, or the DMA seam has none now. A broken queue gets them all again from the restart. */
	if (virtq_add(queue->vq, &buf, 0, 1, buf.addr)) {
		queue->idle |= BIT64(i);
	} else {
		queue->idle &= ~BIT64(i);
		virtq_kick_later(queue->vq);
	}
}

static void post_idle(struct virtio_eventq *queue)
{
	for (unsigned i = 0; queue->vq && queue->idle && i < queue->count; i++)
		if (queue->idle & BIT64(i))
			post(queue, i);
}

static void take(struct virtio_eventq *queue, struct virtq *vq)
{
	for (unsigned i = 0; i < queue->count; i++) {
		uint32_t written;
		uint8_t *event = virtq_harvest(vq, &written);

		if (!event)
			return;
		memset(event + written, 0, queue->size - written);
		queue->report(queue, event, written);
		if (queue->vq)
			post(queue, (unsigned)((size_t)(event - queue->memory) / queue->size));
	}
}

static void reported(struct virtq *vq)
{
	take(vq->context, vq);
	post_idle(vq->context);
}

int virtio_eventq_init(struct virtio_eventq *queue, uint32_t size, uint16_t count,
                       void (*report)(struct virtio_eventq *queue, void *event, uint32_t written))
{
	*queue = (struct virtio_eventq){.events = true, .report = report, .size = size, .count = count};
	queue->memory = page_alloc((size_t)size * count, PAGE_SIZE);
	return queue->memory ? 0 : -ENOMEM;
}

struct virtq_spec virtio_eventq_spec(struct virtio_eventq *queue, const char *name)
{
	return (struct virtq_spec){.name = name,
	                           .callback = reported,
	                           .max_size = queue->count,
	                           .max_buffers = 1,
	                           .context = queue};
}

void virtio_eventq_start(struct virtio_eventq *queue, struct virtq *vq)
{
	queue->vq = vq;
	queue->idle = 0;
	for (unsigned i = 0; i < queue->count; i++)
		post(queue, i);
}

void virtio_eventq_drain(struct virtio_eventq *queue)
{
	struct virtq *vq = queue->vq;

	if (!vq)
		return;
	queue->vq = NULL;
	queue->leak = vq->vdev->stuck;
	take(queue, vq);
	while (virtq_detach_unused(vq))
		;
}

void virtio_eventq_free(struct virtio_eventq *queue)
{
	if (!queue->leak)
		page_free(queue->memory, (size_t)queue->size * queue->count);
	queue->memory = NULL;
}

/* ---- both ---- */

/* The first member of each kind. */
static bool has_events(const struct virtq *vq) { return *(const bool *)vq->context; }

/* Those of one kind; queues that are left out are of none. */
static void start_all(struct virtio_device *vdev, bool events)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i] && has_events(vdev->queues[i]) == events)
			virtio_service_refill(vdev, vdev->queues[i]);
}

static void drain(struct virtq *vq, bool gone)
{
	struct virtio_requestq *requests = vq->context;

	if (has_events(vq))
		virtio_eventq_drain(vq->context);
	else
		virtio_requestq_drain(requests, requests->again && !gone);
}

int virtio_service_start(struct virtio_device *vdev, uint16_t count, const struct virtq_spec *specs)
{
	int error = virtio_queues_create(vdev, count, specs);

	if (error)
		return error;
	start_all(vdev, true);
	virtio_driver_ok(vdev);
	start_all(vdev, false);
	return 0;
}

void virtio_service_stop(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			drain(vdev->queues[i], true);
}

void virtio_service_drain(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	drain(vq, false);
}

void virtio_service_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	if (has_events(vq))
		virtio_eventq_start(vq->context, vq);
	else
		virtio_requestq_start(vq->context, vq);
}
