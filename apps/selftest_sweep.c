/*
 * The sweep (see selftest.h).
 *
 * The disk's front is cut into eight stretches, one for each queue depth. Within a stretch requests are taken from both ends
 * towards the middle, by chance, so that their order is not the disk's. A request's memory is cut into a scatter list whose
 * pieces have any length and lie in memory in reverse order, so that a device or driver that takes the pieces in another order,
 * or as one, is seen. Sizes are spread over all magnitudes. All choices come from the shape seed: a failure can be run again.
 */
#include "selftest.h"

#include <string.h>

#include <arch/clock.h>
#include <base/page.h>
#include <base/util.h>

#include "pattern.h"

#define DEPTHS 8u /* 1, 2, 4 ... 128 */
#define SLOTS (1u << (DEPTHS - 1))
#define SEGMENTS 24u
#define REQUEST_BYTES (1024u * 1024u)
#define POOL_BYTES (8u * REQUEST_BYTES)

struct sweep_slot {
	struct block_request request;
	struct sweep *sweep;
	struct sweep_slot *next;
	bool in_flight;
	uint8_t *memory;
	uint64_t offset;
	uint32_t bytes;
	struct dma_buf segments[SEGMENTS];
};

static uint64_t sweep_random(struct sweep *sweep) { return pattern_word(sweep->shape_seed, sweep->random_index++); }

/* Cut slot->bytes into 1 to SEGMENTS pieces, the first of which lies last in memory. */
static void slot_scatter(struct sweep_slot *slot)
{
	uint32_t left = slot->bytes;
	unsigned count = 1 + (unsigned)(sweep_random(slot->sweep) % SEGMENTS), used = 0;

	while (left) {
		uint32_t length = used + 1 == count ? left : 1 + (uint32_t)(sweep_random(slot->sweep) % left);

		left -= length;
		slot->segments[used++] = (struct dma_buf){slot->memory + left, length};
	}
	slot->request.segments = slot->segments;
	slot->request.segment_count = used;
	slot->sweep->segments += used;
}

static void slot_fill(const struct sweep_slot *slot)
{
	uint64_t offset = slot->offset;

	for (unsigned i = 0; i < slot->request.segment_count; i++) {
		pattern_fill(slot->sweep->data_seed, offset, slot->segments[i].addr, slot->segments[i].len);
		offset += slot->segments[i].len;
	}
}

static bool slot_is_right(const struct sweep_slot *slot)
{
	uint64_t offset = slot->offset;

	for (unsigned i = 0; i < slot->request.segment_count; i++) {
		const struct dma_buf *segment = &slot->segments[i];

		if (slot->sweep->reference
		            ? memcmp(segment->addr, slot->sweep->reference + offset, segment->len)
		            : pattern_check(slot->sweep->data_seed, offset, segment->addr, segment->len) < segment->len)
			return false;
		offset += segment->len;
	}
	return true;
}

static void slot_done(struct block_request *request)
{
	struct sweep_slot *slot = request->context;
	struct sweep *sweep = slot->sweep;
	bool wrong = false;

	if (!slot->in_flight) { /* a second time */
		sweep->wrong++;
		return;
	}
	slot->in_flight = false;
	sweep->done++;
	if (!request->status && request->op == BLOCK_READ)
		wrong = !slot_is_right(slot);
	if ((request->status || wrong) && !sweep->errors && !sweep->wrong) {
		sweep->first_error = request->status;
		sweep->first_bad = slot->offset;
	}
	sweep->errors += request->status != 0;
	sweep->wrong += wrong;
	slot->next = sweep->free;
	sweep->free = slot;
}

static void slot_submit(struct sweep_slot *slot, uint64_t offset, uint32_t bytes)
{
	struct sweep *sweep = slot->sweep;

	slot->offset = offset;
	slot->bytes = bytes;
	slot->request = (struct block_request){
		.op = sweep->op,
		.sector = offset / BLOCK_SECTOR,
		.done = slot_done,
		.context = slot,
	};
	slot_scatter(slot);
	if (sweep->op == BLOCK_WRITE)
		slot_fill(slot);
	else
		memset(slot->memory, 0xa5, bytes);
	slot->in_flight = true;
	sweep->requests++;
	block_submit(sweep->device, &slot->request);
}

/* Turns until another request is done. */
static bool sweep_progress(struct sweep *sweep)
{
	uint64_t before = sweep->done, deadline = clock_ns() + PATIENCE_NS;

	while (sweep->done == before && clock_ns() < deadline)
		loop_turn(true, deadline);
	return sweep->done != before;
}

/* Sizes of all magnitudes alike, and one in sixteen as large as can be. */
static uint32_t sweep_size(struct sweep *sweep, uint32_t block, uint32_t limit, uint64_t left)
{
	uint64_t random = sweep_random(sweep), magnitude = UINT64_C(1) << (random >> 8) % 12;
	uint64_t bytes = (random & 15) ? (1 + (random >> 16) % magnitude) * block : limit;

	return (uint32_t)MIN(MIN(bytes, limit), left);
}

static bool sweep_stretch(struct sweep *sweep, uint64_t start, uint64_t end, uint32_t limit)
{
	while (start < end) {
		uint32_t bytes = sweep_size(sweep, sweep->device->block_size, limit, end - start);
		struct sweep_slot *slot;

		if (!sweep->free && !sweep_progress(sweep))
			return false;
		slot = sweep->free;
		sweep->free = slot->next;
		if (sweep_random(sweep) & 1) {
			slot_submit(slot, start, bytes);
			start += bytes;
		} else {
			end -= bytes;
			slot_submit(slot, end, bytes);
		}
	}
	while (sweep->done < sweep->requests) {
		if (!sweep_progress(sweep))
			return false;
	}
	return true;
}

bool sweep_run(struct sweep *sweep)
{
	uint32_t block = sweep->device->block_size;
	uint64_t stretch = sweep->bytes / DEPTHS / block * block;
	struct sweep_slot *slots = page_alloc(SLOTS * sizeof(*slots), PAGE_SIZE);
	uint8_t *pool = page_alloc(POOL_BYTES, PAGE_SIZE);
	bool finished = slots && pool;

	for (unsigned i = 0; finished && i < DEPTHS; i++) {
		uint64_t start = i * stretch, end = i + 1 < DEPTHS ? start + stretch : sweep->bytes;
		uint32_t limit = MIN(REQUEST_BYTES, POOL_BYTES >> i) / block * block;

		sweep->free = NULL;
		for (unsigned k = 0; k < 1u << i; k++) {
			slots[k] = (struct sweep_slot){.sweep = sweep, .next = sweep->free, .memory = pool + k * limit};
			sweep->free = &slots[k];
		}
		finished = sweep_stretch(sweep, start, end, limit);
	}
	if (sweep->done < sweep->requests)
		return false; /* the device still has the memory */
	if (pool)
		page_free(pool, POOL_BYTES);
	if (slots)
		page_free(slots, SLOTS * sizeof(*slots));
	return finished;
}
