/*
 * The block class: checks requests, hands them to a queue of the device, and ends each once, on the CPU that submitted it.
 *
 * Most requests fit the device whole: they are checked in one pass over their segments, and posted as they are. The rest, and what
 * finds no room, goes the longer way of block_cut.c.
 *
 * Finished requests go to a list of their CPU's home, from which an event calls done(). So done() runs neither inside block_submit()
 * nor inside the driver's harvest, and may submit, or wait for, other requests: block_io() empties the list itself while it waits.
 * From CPU to CPU, both ways, requests go through lists that are pushed to with compare-and-swap and taken whole.
 */
#include "block_impl.h"

#include <errno.h>

#include <base/page.h>
#include <base/util.h>

/* ---- between CPUs ---- */

static void push(struct block_request **list, struct block_request *request)
{
	request->next = __atomic_load_n(list, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(list, &request->next, request, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/* All of it, the first pushed first. */
static struct block_request *take(struct block_request **list)
{
	struct block_request *latest = __atomic_exchange_n(list, NULL, __ATOMIC_ACQUIRE), *first = NULL;

	while (latest) {
		struct block_request *request = latest;

		latest = request->next;
		request->next = first;
		first = request;
	}
	return first;
}

/* ---- back to the program ---- */

void block_finish(struct block_request *request)
{
	struct block_home *home = request->home;

	if (likely(home->event.cpu == cpu_index())) {
		block_append(home, request);
		event_defer(&home->event);
	} else {
		push(&home->returned, request);
		event_mark(&home->event);
	}
}

/* Those that are finished now; what their done() finishes gets its own turn. Nothing touches the device after the last done(). */
static void deliver(struct block_home *home)
{
	struct block_request *list;

	if (unlikely(__atomic_load_n(&home->returned, __ATOMIC_RELAXED))) {
		for (list = take(&home->returned); list;) {
			struct block_request *request = list;

			list = request->next;
			block_append(home, request);
		}
	}
	list = home->finished;
	home->finished = NULL;
	home->finished_tail = &home->finished;
	while (list) {
		struct block_request *request = list;

		list = request->next;
		request->done(request);
	}
}

static void run_home(struct event *event) { deliver(container_of(event, struct block_home, event)); }

/* ---- from the program ---- */

/* 0, or why the request cannot be carried out. *whole: the device takes it as it is. */
static int check_transfer(const struct block_device *device, const struct block_request *request, uint64_t *bytes_out,
                          bool *whole)
{
	uint32_t longest = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < request->segment_count; i++) {
		uint32_t length = request->segments[i].len;

		if (!request->segments[i].addr || !length)
			return -EINVAL;
		bytes += length;
		longest = MAX(longest, length);
	}
	if (!bytes || ((bytes | request->sector * BLOCK_SECTOR) & (device->block_size - 1)))
		return -EINVAL;
	if (request->sector > device->capacity || bytes / BLOCK_SECTOR > device->capacity - request->sector)
		return -ERANGE;
	if (request->op == BLOCK_WRITE && device->read_only)
		return -EROFS;
	if (request->op == BLOCK_WRITE && device->zones.model &&
	    (bytes | request->sector * BLOCK_SECTOR) % device->zones.granularity)
		return -EINVAL;
	*bytes_out = bytes;
	*whole = !device->zones.model && request->segment_count <= device->whole_segments && longest <= device->whole_bytes &&
	         bytes <= PART_BYTES_MAX;
	return 0;
}

static int check_range(const struct block_device *device, const struct block_request *request)
{
	uint64_t block_sectors = device->block_size / BLOCK_SECTOR;

	if (!block_range_limits(device, request->op)->max_sectors)
		return -ENOTSUP;
	if (device->zones.model && request->op == BLOCK_SECURE_ERASE)
		block_sectors = device->zones.sectors;
	if (!request->sectors || request->sectors % block_sectors || request->sector % block_sectors || request->segment_count)
		return -EINVAL;
	if (request->sector > device->capacity || request->sectors > device->capacity - request->sector)
		return -ERANGE;
	return device->read_only ? -EROFS : 0;
}

/* "Block Device / Device Operation": zones are named by their first sector, data to append is whole units of what can be written. */
static int check_zone(const struct block_device *device, const struct block_request *request)
{
	const struct block_zones *zones = &device->zones;
	uint64_t bytes = 0;
	bool report = request->op == BLOCK_ZONE_REPORT, append = request->op == BLOCK_ZONE_APPEND;

	if (!zones->model || (append && !zones->append_sectors))
		return -ENOTSUP;
	for (unsigned i = 0; i < request->segment_count; i++) {
		bytes += request->segments[i].len;
		if (!request->segments[i].addr || !request->segments[i].len)
			return -EINVAL;
	}
	if ((report || append) != (bytes > 0) || (!report && request->sector % zones->sectors))
		return -EINVAL;
	if (append && (bytes % zones->granularity || bytes / BLOCK_SECTOR > zones->append_sectors))
		return -EINVAL;
	if (request->sector >= device->capacity)
		return -ERANGE;
	return device->read_only && !report ? -EROFS : 0;
}

static int check_other(const struct block_device *device, const struct block_request *request)
{
	/* "Block Device / Device Operation": the length of data MUST be 20 bytes; 24 are a lifetime */
	uint32_t bytes = request->op == BLOCK_GET_ID ? BLOCK_ID_BYTES : BLOCK_LIFETIME_BYTES;

	switch (request->op) {
	case BLOCK_FLUSH:
		return 0;
	case BLOCK_GET_LIFETIME:
		if (!device->has_lifetime)
			return -ENOTSUP;
		[[fallthrough]];
	case BLOCK_GET_ID:
		return request->segment_count == 1 && request->segments->addr && request->segments->len == bytes ? 0 : -EINVAL;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
	case BLOCK_SECURE_ERASE:
		return check_range(device, request);
	case BLOCK_ZONE_REPORT ... BLOCK_ZONE_RESET_ALL:
		return check_zone(device, request);
	default:
		return -EINVAL;
	}
}

static int check(const struct block_device *device, const struct block_request *request, uint64_t *bytes, bool *whole)
{
	if (READ_ONCE(device->gone))
		return -ENODEV;
	return request->op <= BLOCK_WRITE ? check_transfer(device, request, bytes, whole) : check_other(device, request);
}

static inline void prepare_whole(struct block_request *request)
{
	request->status = 0;
	request->parts = 1;
	request->whole = true;
	request->again = false;
}

[[gnu::noinline]] static void submit_slowly(struct block_queue *queue, struct block_request *request)
{
	const struct block_device *device = queue->device;
	bool was_idle = !queue->waiting, whole = false;
	uint64_t bytes = 0;
	int error = check(device, request, &bytes, &whole);

	if (!error && whole && was_idle) {
		prepare_whole(request);
		error = device->ops->post(queue, request, request->sector, request->segments, request->segment_count,
		                          (uint32_t)(bytes / BLOCK_SECTOR));
		if (!error)
			return;
		if (error == -ENOSPC)
			error = 0;
	}
	request->parts = 0;
	request->status = error;
	if (error || (request->op == BLOCK_FLUSH && !device->can_flush)) {
		block_finish(request);
		return;
	}
	block_wait(queue, request);
	if (was_idle && !whole) /* else the driver has no room, and pumps when it has */
		block_pump(queue);
}

/* How many of the first are what most are: a read or write of one piece of memory, which the device takes as it is. They are ready to be
 * posted then. The conditions are those of check(). */
static inline unsigned prepare_simple(const struct block_queue *queue, struct block_request *const requests[], unsigned count,
                                      struct block_home *home)
{
	const struct block_device *device = queue->device;
	unsigned i = 0;

	for (; i < count; i++) {
		struct block_request *request = requests[i];
		const struct dma_buf *piece = request->segments;
		const uint64_t sector = request->sector;

		if (unlikely(request->segment_count != 1 || request->op >= READ_ONCE(device->simple_ops) || !piece->addr ||
		             piece->len - 1 >= device->whole_bytes ||
		             ((piece->len | sector * BLOCK_SECTOR) & (device->block_size - 1)) || sector >= device->capacity ||
		             piece->len / BLOCK_SECTOR > device->capacity - sector))
			break;
		request->home = home;
		prepare_whole(request);
	}
	return i;
}

/* On the queue's CPU; all of one home. */
static inline void submit_here(struct block_queue *queue, struct block_request *const requests[], unsigned count,
                               struct block_home *home)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned simple = unlikely(queue->waiting) ? 0 : prepare_simple(queue, &requests[i], count - i, home);

		if (likely(simple))
			i += queue->device->ops->post_simple(queue, &requests[i], simple);
		if (likely(i == count))
			return;
		requests[i]->home = home; /* not simple, or no room */
		submit_slowly(queue, requests[i]);
	}
}

static void run_inbox(struct event *event)
{
	struct block_queue *queue = container_of(event, struct block_queue, inbox_event);
	struct block_request *list = take(&queue->inbox);

	while (list) {
		struct block_request *request = list;

		list = request->next;
		submit_here(queue, &request, 1, request->home);
	}
}

/* To the queue's CPU. */
[[gnu::noinline]] static void send(struct block_queue *queue, struct block_request *const requests[], unsigned count,
                                   struct block_home *home)
{
	bool gone = __atomic_load_n(&queue->device->gone, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < count; i++) {
		requests[i]->home = home;
		if (gone) {
			requests[i]->status = -ENODEV;
			block_finish(requests[i]);
		} else {
			push(&queue->inbox, requests[i]);
		}
	}
	if (!gone)
		event_mark(&queue->inbox_event);
}

void block_submit_many(struct block_device *device, struct block_request *const requests[], unsigned count)
{
	struct block_home *home = &device->homes[cpu_index()];

	if (likely(home->own))
		submit_here(home->queue, requests, count, home);
	else
		send(home->queue, requests, count, home);
}

void block_submit(struct block_device *device, struct block_request *request) { block_submit_many(device, &request, 1); }

struct block_call {
	struct block_request request;
	bool over;
};

static void wake(struct block_request *request) { container_of(request, struct block_call, request)->over = true; }

static int call(struct block_device *device, struct block_call *call)
{
	struct block_home *home = &device->homes[cpu_index()];

	call->request.done = wake;
	block_submit(device, &call->request);
	/* Inside a done() the home's event does not run again, hence the delivery by hand. A device that goes away has ended the
	 * request before: it is not touched any more then. */
	while (!call->over) {
		deliver(home);
		if (!call->over)
			loop_turn(true, LOOP_FOREVER);
	}
	return call->request.status;
}

int block_io(struct block_device *device, enum block_op op, uint64_t sector, void *memory, uint32_t length)
{
	struct dma_buf segment = {memory, length};

	return call(device,
	            &(struct block_call){.request = {.op = op, .sector = sector, .segments = &segment, .segment_count = 1}});
}

int block_range(struct block_device *device, enum block_op op, uint64_t sector, uint64_t sectors)
{
	return call(device, &(struct block_call){.request = {.op = op, .sector = sector, .sectors = sectors}});
}

int block_zone_report(struct block_device *device, uint64_t sector, struct block_zone zones[], unsigned count)
{
	return device->zones.model && device->ops->zone_report ? device->ops->zone_report(device, sector, zones, count)
	                                                       : -ENOTSUP;
}

int block_zone_do(struct block_device *device, enum block_op op, uint64_t sector) { return block_range(device, op, sector, 0); }

int block_zone_append(struct block_device *device, uint64_t *sector, void *memory, uint32_t length)
{
	struct dma_buf segment = {memory, length};
	struct block_call append = {
		.request = {.op = BLOCK_ZONE_APPEND, .sector = *sector, .segments = &segment, .segment_count = 1}};
	int error = call(device, &append);

	*sector = append.request.sector;
	return error;
}

int block_poll(struct block_device *device, bool on)
{
	struct block_home *home = &device->homes[cpu_index()];

	if (!device->ops->poll || !home->own)
		return -ENOTSUP;
	device->ops->poll(home->queue, on);
	return 0;
}

int block_set_writeback(struct block_device *device, bool on)
{
	return device->ops->set_writeback ? device->ops->set_writeback(device, on) : -ENOTSUP;
}

/* ---- devices ---- */

void block_update(struct block_device *device)
{
	const struct block_limits *limits = &device->limits;

	device->whole_bytes = limits->max_segment_bytes ? MIN(limits->max_segment_bytes, PART_BYTES_MAX) : PART_BYTES_MAX;
	device->whole_segments = limits->max_segments ? MIN(limits->max_segments, BLOCK_PART_SEGMENTS) : BLOCK_PART_SEGMENTS;
	device->simple_ops = device->gone || !device->ops->post_simple || device->zones.model ? 0
	                     : device->read_only                                              ? BLOCK_READ + 1
	                                                                                      : BLOCK_WRITE + 1;
}

int block_register(struct block_device *device, struct block_queue **queues, unsigned count)
{
	device->gone = false;
	block_update(device);
	if (device->node.listed)
		return 0;
	device->queues = queues;
	device->queue_count = count;
	device->homes = page_alloc(sizeof(device->homes[0]) * cpu_count(), PAGE_SIZE);
	if (!device->homes)
		return -ENOMEM;
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct block_home *home = &device->homes[cpu];

		home->queue = queues[cpu % count]; /* another CPU's, unless it has one of its own */
		home->finished_tail = &home->finished;
		event_init_on(&home->event, cpu, run_home);
	}
	for (unsigned i = 0; i < count; i++) {
		struct block_queue *queue = queues[i];

		*queue = (struct block_queue){.cpu = queue->cpu, .device = device, .home = &device->homes[queue->cpu]};
		queue->home->queue = queue;
		queue->home->own = true;
		queue->waiting_tail = &queue->waiting;
		event_init_on(&queue->inbox_event, queue->cpu, run_inbox);
	}
	class_add(&block_devices, &device->node);
	return 0;
}

static void nothing(void *arg) { (void)arg; }

static void end_queue(void *arg)
{
	struct block_queue *queue = arg;

	run_inbox(&queue->inbox_event);
	event_cancel(&queue->inbox_event);
	block_queue_end(queue);
}

/* The device's memory goes next. */
static void end_home(void *arg)
{
	struct block_home *home = arg;

	while (home->finished || __atomic_load_n(&home->returned, __ATOMIC_RELAXED))
		deliver(home);
	event_cancel(&home->event);
}

void block_unregister(struct block_device *device)
{
	if (!device->node.listed)
		return;
	__atomic_store_n(&device->gone, true, __ATOMIC_RELEASE);
	WRITE_ONCE(device->simple_ops, 0); /* the queues' CPUs read both, until they have taken the calls below */
	class_remove(&block_devices, &device->node);
	/* A CPU that takes a call is not inside block_submit(): from here on nothing comes into the inboxes. */
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		cpu_run(cpu, nothing, NULL);
	for (unsigned i = 0; i < device->queue_count; i++)
		cpu_run(device->queues[i]->cpu, end_queue, device->queues[i]);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		cpu_run(cpu, end_home, &device->homes[cpu]);
	page_free(device->homes, sizeof(device->homes[0]) * cpu_count());
}
