/*
 * The block class: checks requests, cuts them into parts that the device takes, and ends each once.
 *
 * Requests wait in one list, in order of submission. Only its head is ever being cut, so the place of the next part is a cursor in
 * that request, and room for one part of scratch in the device is enough. A request leaves the list when it is cut to the end, or
 * when a part of it failed: what is still in flight then ends by itself, and the last part to end finishes the request.
 *
 * A block that lies in more pieces of memory than a part may have goes through a buffer of the device's, one at a time and with no other
 * part of its request in flight.
 *
 * Finished requests go to a second list, from which an event calls done(). So done() runs neither inside block_submit() nor inside
 * the driver's harvest, and may submit, or wait for, other requests: block_io() empties the list itself while it waits.
 */
#include <class/block.h>

#include <errno.h>
#include <string.h>

#include <base/page.h>
#include <base/util.h>

/* A part's bytes: far below the 2^32 of "Message Framing", so that sums need no thought. */
#define PART_BYTES_MAX (UINT32_C(1) << 30)

static struct class_list devices;

static void finish(struct block_request *request)
{
	struct block_device *device = request->device;

	request->next = NULL;
	*device->finished_tail = request;
	device->finished_tail = &request->next;
	event_mark(&device->finish_event);
}

/* Those that are finished now; what their done() finishes gets its own turn. Nothing touches the device after the last done(). */
static void deliver(struct block_device *device)
{
	struct block_request *list = device->finished;

	device->finished = NULL;
	device->finished_tail = &device->finished;
	while (list) {
		struct block_request *request = list;

		list = request->next;
		request->done(request);
	}
}

static void finish_run(struct event *event) { deliver(container_of(event, struct block_device, finish_event)); }

static void waiting_pop(struct block_device *device)
{
	device->waiting = device->waiting->next;
	if (!device->waiting)
		device->waiting_tail = &device->waiting;
}

/* 0, or why the request cannot be carried out. */
static int check_transfer(const struct block_device *device, const struct block_request *request)
{
	uint64_t bytes = 0;

	if (request->op == BLOCK_WRITE && device->read_only)
		return -EROFS;
	for (unsigned i = 0; i < request->segment_count; i++) {
		if (!request->segments[i].memory || !request->segments[i].length)
			return -EINVAL;
		bytes += request->segments[i].length;
	}
	if (!bytes || bytes % device->block_size || request->sector % (device->block_size / BLOCK_SECTOR))
		return -EINVAL;
	if (request->sector > device->capacity || bytes / BLOCK_SECTOR > device->capacity - request->sector)
		return -ERANGE;
	return 0;
}

static int check(const struct block_device *device, const struct block_request *request)
{
	if (device->gone)
		return -ENODEV;
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		return check_transfer(device, request);
	case BLOCK_GET_ID:
		/* "Block Device / Device Operation": the length of data MUST be 20 bytes */
		return request->segment_count == 1 && request->segments[0].length == BLOCK_ID_BYTES ? 0 : -EINVAL;
	case BLOCK_FLUSH:
		return 0;
	}
	return -EINVAL;
}

/* Take the last `excess` bytes off the part; the cursor, at its end, goes back with it. */
static void trim(struct block_part *part, struct block_cursor *cursor, uint32_t excess)
{
	part->bytes -= excess;
	while (excess) {
		struct block_segment *last = &part->segments[part->segment_count - 1];
		uint32_t taken = MIN(excess, last->length);

		if (!cursor->offset)
			cursor->offset = part->request->segments[--cursor->segment].length;
		cursor->offset -= taken;
		last->length -= taken;
		excess -= taken;
		if (!last->length)
			part->segment_count--;
	}
}

static void advance(struct block_cursor *cursor, const struct block_segment *segment, uint32_t bytes)
{
	cursor->offset += bytes;
	if (cursor->offset == segment->length) {
		cursor->segment++;
		cursor->offset = 0;
	}
}

/* Copy one block between the request's memory at the cursor and the bounce buffer, and move the cursor behind it. False: there is less
 * than a block left. */
static bool copy_block(struct block_device *device, const struct block_request *request, struct block_cursor *cursor,
                       bool to_memory)
{
	for (uint32_t done = 0, length; done < device->block_size; done += length) {
		if (cursor->segment == request->segment_count)
			return false;

		const struct block_segment *segment = &request->segments[cursor->segment];
		uint8_t *memory = (uint8_t *)segment->memory + cursor->offset;

		length = MIN(segment->length - cursor->offset, device->block_size - done);
		if (to_memory)
			memcpy(memory, device->bounce + done, length);
		else
			memcpy(device->bounce + done, memory, length);
		advance(cursor, segment, length);
	}
	return true;
}

static uint32_t piece_max(const struct block_device *device)
{
	return device->limits.max_segment_bytes ? MIN(device->limits.max_segment_bytes, PART_BYTES_MAX) : PART_BYTES_MAX;
}

static int cut_bounced(struct block_device *device, struct block_request *request, struct block_cursor *cursor)
{
	struct block_part *part = &device->scratch;

	if (device->bounced || request->parts)
		return -ENOSPC; /* for now */
	if (device->bounce_bytes < device->block_size) {
		if (device->bounce)
			page_free(device->bounce, device->bounce_bytes);
		device->bounce = page_alloc(device->block_size, PAGE_SIZE);
		device->bounce_bytes = device->bounce ? device->block_size : 0;
		if (!device->bounce)
			return -EIO;
	}
	device->bounce_cursor = *cursor;
	/* The device may have come back from a reset with larger blocks than the request was made for. */
	if (!copy_block(device, request, cursor, false))
		return -EINVAL;
	for (uint32_t length; part->bytes < device->block_size; part->bytes += length) {
		length = MIN(piece_max(device), device->block_size - part->bytes);
		part->segments[part->segment_count++] = (struct block_segment){device->bounce + part->bytes, length};
	}
	part->bounced = true;
	return 0;
}

/* Lay the pieces of memory from the cursor on into the part, as many as it may have. */
static void gather(struct block_device *device, struct block_request *request, struct block_cursor *cursor)
{
	struct block_part *part = &device->scratch;
	uint32_t pieces_max = device->limits.max_segments ? MIN(device->limits.max_segments, BLOCK_PART_SEGMENTS)
	                                                  : BLOCK_PART_SEGMENTS;

	while (cursor->segment < request->segment_count && part->segment_count < pieces_max && part->bytes < PART_BYTES_MAX) {
		const struct block_segment *segment = &request->segments[cursor->segment];
		uint32_t length = MIN(MIN(segment->length - cursor->offset, piece_max(device)), PART_BYTES_MAX - part->bytes);

		part->segments[part->segment_count++] = (struct block_segment){(char *)segment->memory + cursor->offset, length};
		part->bytes += length;
		advance(cursor, segment, length);
	}
}

/* Fill the device's scratch with the largest part that starts at the cursor, and move the cursor behind it. */
static int cut(struct block_device *device, struct block_request *request, struct block_cursor *cursor)
{
	struct block_part *part = &device->scratch;
	int error = 0;

	part->request = request;
	part->sector = cursor->sector;
	part->bytes = 0;
	part->segment_count = 0;
	part->bounced = false;
	if (request->op == BLOCK_FLUSH)
		return 0;
	if (device->bounced == request)
		return -ENOSPC; /* for now */
	gather(device, request, cursor);
	if (request->op == BLOCK_GET_ID)
		return 0;

	/* Whole blocks only: what the limits let us take of the next block waits for the next part. */
	trim(part, cursor, part->bytes % device->block_size);
	if (!part->bytes)
		error = cut_bounced(device, request, cursor);
	cursor->sector += part->bytes / BLOCK_SECTOR;
	/* "Block Device / Device Operation": MUST NOT submit a request beyond capacity, which may have shrunk since the submission. */
	return error || cursor->sector <= device->capacity ? error : -ERANGE;
}

/* Cut and post one part of the head of the waiting list. */
static int post_next(struct block_device *device, struct block_request *request)
{
	struct block_cursor cursor = request->cut;
	int error = cut(device, request, &cursor);

	if (!error)
		error = device->ops->post(device, &device->scratch);
	if (error)
		return error;
	if (device->scratch.bounced)
		device->bounced = request;
	request->parts++;
	request->cut = cursor;
	request->all_cut = request->op == BLOCK_FLUSH || cursor.segment == request->segment_count;
	return 0;
}

void block_pump(struct block_device *device)
{
	while (device->waiting) {
		struct block_request *request = device->waiting;
		int error = post_next(device, request);

		if (error == -ENOSPC)
			return;
		if (error) {
			request->status = error;
			request->all_cut = true;
		}
		if (request->all_cut) {
			waiting_pop(device);
			if (!request->parts)
				finish(request);
		}
	}
}

static void wait_for_room(struct block_device *device, struct block_request *request)
{
	request->next = NULL;
	request->cut = (struct block_cursor){.sector = request->sector};
	request->again = request->all_cut = false;
	*device->waiting_tail = request;
	device->waiting_tail = &request->next;
}

void block_part_done(struct block_device *device, struct block_request *request, int status)
{
	request->parts--;
	if (unlikely(device->bounced == request)) {
		if (request->op == BLOCK_READ && !status)
			copy_block(device, request, &device->bounce_cursor, true);
		device->bounced = NULL;
	}
	if (status) {
		if (status == -EAGAIN)
			request->again = true;
		else if (!request->status)
			request->status = status;
		if (!request->all_cut) { /* so it is the head */
			request->all_cut = true;
			waiting_pop(device);
		}
	}
	if (!request->all_cut || request->parts)
		return;
	if (request->again && !request->status)
		wait_for_room(device, request);
	else
		finish(request);
}

void block_submit(struct block_device *device, struct block_request *request)
{
	bool was_idle = !device->waiting;

	request->device = device;
	request->parts = 0;
	request->status = check(device, request);
	if (request->status || (request->op == BLOCK_FLUSH && !device->can_flush)) {
		finish(request);
		return;
	}
	wait_for_room(device, request);
	if (was_idle) /* else the driver has no room, and pumps when it has */
		block_pump(device);
}

struct block_wait {
	struct block_request request;
	bool over;
};

static void wake(struct block_request *request) { container_of(request, struct block_wait, request)->over = true; }

int block_io(struct block_device *device, enum block_op op, uint64_t sector, void *memory, uint32_t length)
{
	struct block_segment segment = {.memory = memory, .length = length};
	struct block_wait wait = {
		.request = {.op = op, .sector = sector, .segments = &segment, .segment_count = 1, .done = wake},
	};

	block_submit(device, &wait.request);
	/* Inside a done() the finish event does not run again, hence the delivery by hand. A device that goes away has ended the
	 * request before: it is not touched any more then. */
	while (!wait.over) {
		deliver(device);
		if (!wait.over)
			loop_turn(true, LOOP_FOREVER);
	}
	return wait.request.status;
}

struct block_device *block_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct block_device, node) : NULL;
}

struct block_device *block_next(struct block_device *device)
{
	return device->node.next ? container_of(device->node.next, struct block_device, node) : NULL;
}

void block_register(struct block_device *device)
{
	device->gone = false;
	device->waiting = device->finished = device->bounced = NULL;
	device->bounce = NULL;
	device->bounce_bytes = 0;
	device->waiting_tail = &device->waiting;
	device->finished_tail = &device->finished;
	event_init(&device->finish_event, finish_run);
	class_add(&devices, &device->node);
}

void block_unregister(struct block_device *device)
{
	device->gone = true;
	class_remove(&devices, &device->node);
	while (device->waiting) {
		struct block_request *request = device->waiting;

		waiting_pop(device);
		request->status = -ENODEV;
		finish(request);
	}
	/* The device's memory goes next. */
	while (device->finished)
		deliver(device);
	event_cancel(&device->finish_event);
	if (device->bounce)
		page_free(device->bounce, device->bounce_bytes);
}
