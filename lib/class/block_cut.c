/*
 * The block class: requests that do not fit the device whole, or find no room.
 *
 * They wait in one list of their queue, in order of submission. Only its head is ever being cut, so the place of the next part is a cursor
 * in that request, and room for one part of scratch in the queue is enough. A request leaves the list when it is cut to the end, or
 * when a part of it failed: what is still in flight then ends by itself, and the last part to end finishes the request.
 *
 * A block that lies in more pieces of memory than a part may have goes through a buffer of the queue's, one at a time and with no other
 * part of its request in flight.
 */
#include "block_impl.h"

#include <errno.h>
#include <string.h>

#include <base/page.h>
#include <base/util.h>

/* What is being laid out for the driver. */
struct part {
	const struct block_device *device;
	struct block_queue *queue;
	struct block_request *request;
	struct block_cursor cursor; /* behind it */
	uint32_t bytes;             /* in the queue's scratch */
	uint32_t sectors;
	unsigned segment_count;
	bool bounced;
};

static void waiting_pop(struct block_queue *queue)
{
	queue->waiting = queue->waiting->next;
	if (!queue->waiting)
		queue->waiting_tail = &queue->waiting;
}

/* Take the last `excess` bytes off the part; the cursor, at its end, goes back with it. */
static void trim(struct part *part, uint32_t excess)
{
	struct block_cursor *cursor = &part->cursor;

	part->bytes -= excess;
	while (excess) {
		struct dma_buf *last = &part->queue->scratch[part->segment_count - 1];
		uint32_t taken = MIN(excess, last->len);

		if (!cursor->offset)
			cursor->offset = part->request->segments[--cursor->segment].len;
		cursor->offset -= taken;
		last->len -= taken;
		excess -= taken;
		if (!last->len)
			part->segment_count--;
	}
}

static void advance(struct block_cursor *cursor, const struct dma_buf *segment, uint32_t bytes)
{
	cursor->offset += bytes;
	if (cursor->offset == segment->len) {
		cursor->segment++;
		cursor->offset = 0;
	}
}

/* Copy one block between the request's memory at the cursor and the bounce buffer, and move the cursor behind it. False: there is less
 * than a block left. */
static bool copy_block(struct block_queue *queue, const struct block_request *request, struct block_cursor *cursor,
                       bool to_memory)
{
	const uint32_t block_size = queue->device->block_size;

	for (uint32_t done = 0, length; done < block_size; done += length) {
		if (cursor->segment == request->segment_count)
			return false;

		const struct dma_buf *segment = &request->segments[cursor->segment];
		uint8_t *memory = (uint8_t *)segment->addr + cursor->offset;

		length = MIN(segment->len - cursor->offset, block_size - done);
		if (to_memory)
			memcpy(memory, queue->bounce + done, length);
		else
			memcpy(queue->bounce + done, memory, length);
		advance(cursor, segment, length);
	}
	return true;
}

static int cut_bounced(struct part *part)
{
	struct block_queue *queue = part->queue;
	const uint32_t block_size = part->device->block_size;

	if (queue->bounced || part->request->parts)
		return -ENOSPC; /* for now */
	if (queue->bounce_bytes < block_size) {
		if (queue->bounce)
			page_free(queue->bounce, queue->bounce_bytes);
		queue->bounce = page_alloc(block_size, PAGE_SIZE);
		queue->bounce_bytes = queue->bounce ? block_size : 0;
		if (!queue->bounce)
			return -EIO;
	}
	queue->bounce_cursor = part->cursor;
	/* The device may have come back from a reset with larger blocks than the request was made for. */
	if (!copy_block(queue, part->request, &part->cursor, false))
		return -EINVAL;
	for (uint32_t length; part->bytes < block_size; part->bytes += length) {
		length = MIN(part->device->whole_bytes, block_size - part->bytes);
		queue->scratch[part->segment_count++] = (struct dma_buf){queue->bounce + part->bytes, length};
	}
	part->bounced = true;
	return 0;
}

/* Bytes: a part is of one zone. */
static uint32_t part_limit(const struct part *part)
{
	const struct block_zones *zones = &part->device->zones;

	if (!zones->model)
		return PART_BYTES_MAX;
	return (uint32_t)MIN(PART_BYTES_MAX, (zones->sectors - part->cursor.sector % zones->sectors) * BLOCK_SECTOR);
}

/* Lay the pieces of memory from the cursor on into the part, as many as it may have. */
static void gather(struct part *part)
{
	const struct block_request *request = part->request;
	uint32_t pieces_max = part->device->whole_segments, limit = part_limit(part);
	struct block_cursor *cursor = &part->cursor;

	while (cursor->segment < request->segment_count && part->segment_count < pieces_max && part->bytes < limit) {
		const struct dma_buf *segment = &request->segments[cursor->segment];
		uint32_t length = MIN(MIN(segment->len - cursor->offset, part->device->whole_bytes), limit - part->bytes);

		part->queue->scratch[part->segment_count++] = (struct dma_buf){(char *)segment->addr + cursor->offset, length};
		part->bytes += length;
		advance(cursor, segment, length);
	}
}

/* As far as the limit lets it go; up to an aligned place, where it does not go to the end. */
static void cut_range(struct part *part)
{
	const struct block_range_limits *limits = block_range_limits(part->device, part->request->op);
	uint64_t at = part->cursor.sector, left = part->request->sector + part->request->sectors - at, end;

	part->sectors = (uint32_t)MIN(left, limits->max_sectors);
	if (part->sectors < left && limits->alignment) {
		end = (at + part->sectors) / limits->alignment * limits->alignment;
		if (end > at)
			part->sectors = (uint32_t)(end - at);
	}
}

/* Lay out the largest part that starts at the cursor, and move the cursor behind it. */
static int cut(struct part *part)
{
	const struct block_device *device = part->device;
	const struct block_request *request = part->request;
	bool zoned_write = device->zones.model && request->op == BLOCK_WRITE;
	uint32_t unit = zoned_write ? device->zones.granularity : device->block_size;
	int error = 0;

	if (request->op == BLOCK_FLUSH)
		return 0;
	if (zoned_write && request->parts)
		return -ENOSPC; /* for now: each where the one before has ended */
	if (block_has_range(request->op)) {
		cut_range(part);
	} else {
		if (part->queue->bounced == request)
			return -ENOSPC; /* for now */
		gather(part);
		if (request->op > BLOCK_WRITE)
			return part->cursor.segment < request->segment_count ? -EINVAL : 0;
		/* Whole blocks only: what the limits let us take of the next block waits for the next part. */
		trim(part, part->bytes % unit);
		if (!part->bytes)
			error = unit == device->block_size ? cut_bounced(part) : -EINVAL;
		part->sectors = part->bytes / BLOCK_SECTOR;
	}
	part->cursor.sector += part->sectors;
	/* "Block Device / Device Operation": MUST NOT submit a request beyond capacity, which may have shrunk since the submission. */
	return error || part->cursor.sector <= device->capacity ? error : -ERANGE;
}

static bool is_cut(const struct part *part)
{
	const struct block_request *request = part->request;

	if (block_has_range(request->op))
		return part->cursor.sector == request->sector + request->sectors;
	return request->op == BLOCK_FLUSH || part->cursor.segment == request->segment_count;
}

/* Cut and post one part of the head of the waiting list. */
static int post_next(struct block_queue *queue, struct block_request *request)
{
	struct part part = {.device = queue->device, .queue = queue, .request = request, .cursor = request->cut};
	int error = cut(&part);

	if (!error)
		error = queue->device->ops->post(queue, request, request->cut.sector, queue->scratch, part.segment_count,
		                                 part.sectors);
	if (error)
		return error;
	if (part.bounced)
		queue->bounced = request;
	request->parts++;
	request->cut = part.cursor;
	request->all_cut = is_cut(&part);
	return 0;
}

void block_pump(struct block_queue *queue)
{
	while (queue->waiting) {
		struct block_request *request = queue->waiting;
		int error = post_next(queue, request);

		if (error == -ENOSPC)
			return;
		if (error) {
			request->status = error;
			request->all_cut = true;
		}
		if (request->all_cut) {
			waiting_pop(queue);
			if (!request->parts)
				block_finish(request);
		}
	}
}

void block_wait(struct block_queue *queue, struct block_request *request)
{
	request->next = NULL;
	request->cut = (struct block_cursor){.sector = request->sector};
	request->again = request->all_cut = request->whole = false;
	*queue->waiting_tail = request;
	queue->waiting_tail = &request->next;
}

void block_part_ended(struct block_queue *queue, struct block_request *request, int status)
{
	request->parts--;
	request->all_cut |= request->whole;
	if (unlikely(queue->bounced == request)) {
		if (request->op == BLOCK_READ && !status)
			copy_block(queue, request, &queue->bounce_cursor, true);
		queue->bounced = NULL;
	}
	if (status) {
		if (status == -EAGAIN && request->op == BLOCK_ZONE_APPEND)
			status = -EIO; /* once more would be twice */
		if (status == -EAGAIN)
			request->again = true;
		else if (!request->status)
			request->status = status;
		if (!request->all_cut) { /* so it is the head */
			request->all_cut = true;
			waiting_pop(queue);
		}
	}
	if (!request->all_cut || request->parts)
		return;
	if (request->again && !request->status)
		block_wait(queue, request);
	else
		block_finish(request);
}

void block_queue_end(struct block_queue *queue)
{
	while (queue->waiting) {
		struct block_request *request = queue->waiting;

		waiting_pop(queue);
		request->status = -ENODEV;
		block_finish(request);
	}
	if (queue->bounce)
		page_free(queue->bounce, queue->bounce_bytes);
	queue->bounce = NULL;
}
