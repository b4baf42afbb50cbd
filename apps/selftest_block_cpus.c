/*
 * A disk under load from all CPUs at once: each keeps requests in flight in a region of its own, and each completion has to come back to
 * the CPU that asked. What it wrote is read by its neighbour; in the end the disk holds what it held before.
 */
#include "selftest.h"

#include <string.h>

#include <arch/cpu.h>
#include <base/event.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#define DEPTH 16u
#define PART_BYTES 4096u
#define REGION_BYTES (64 * PART_BYTES)

/* What a CPU does with one region. */
static struct lane {
	struct cpu_call call;
	struct event done; /* the first CPU's */
	struct block_device *device;
	enum block_op op;
	uint8_t *memory;
	uint64_t sector;
	uint32_t bytes, part, next, ended;
	unsigned cpu, wrong;
	struct lane_request {
		struct block_request request;
		struct dma_buf segment;
	} requests[DEPTH];
} * lanes;

static unsigned lanes_ended;
static bool all_ended;

static void lane_ended(struct event *event)
{
	(void)event;
	all_ended = ++lanes_ended == cpu_count();
}

static void part_done(struct block_request *request);

static void submit_next(struct lane *lane, struct lane_request *place)
{
	if (lane->next == lane->bytes)
		return;
	place->segment = (struct dma_buf){lane->memory + lane->next, lane->part};
	place->request = (struct block_request){.op = lane->op,
	                                        .sector = lane->sector + lane->next / BLOCK_SECTOR,
	                                        .segments = &place->segment,
	                                        .segment_count = 1,
	                                        .done = part_done,
	                                        .context = lane};
	lane->next += lane->part;
	block_submit(lane->device, &place->request);
}

static void part_done(struct block_request *request)
{
	struct lane *lane = request->context;

	lane->wrong += request->status != 0 || cpu_index() != lane->cpu;
	lane->ended += lane->part;
	if (lane->ended == lane->bytes)
		event_mark(&lane->done);
	else
		submit_next(lane, container_of(request, struct lane_request, request));
}

static void lane_start(void *arg)
{
	struct lane *lane = arg;

	for (unsigned i = 0; i < DEPTH; i++)
		submit_next(lane, &lane->requests[i]);
}

/* All CPUs at once, each with the region of the CPU that is `shift` further. */
static bool run_all(enum block_op op, unsigned shift, uint8_t *memory)
{
	unsigned wrong = 0;

	lanes_ended = 0;
	all_ended = false;
	for (unsigned i = 0; i < cpu_count(); i++) {
		struct lane *lane = &lanes[i];
		unsigned region = (i + shift) % cpu_count();

		lane->op = op;
		lane->cpu = i;
		lane->memory = memory + (size_t)region * lane->bytes;
		lane->sector = (uint64_t)region * lane->bytes / BLOCK_SECTOR;
		lane->next = lane->ended = lane->wrong = 0;
		event_init(&lane->done, lane_ended);
		cpu_call(&lane->call, i, lane_start, lane, NULL);
	}
	if (!loop_wait(&all_ended, PATIENCE_NS))
		return false;
	for (unsigned i = 0; i < cpu_count(); i++)
		wrong += lanes[i].wrong;
	return !wrong;
}

static bool read_as(unsigned shift, uint8_t *data, const uint8_t *expected, size_t bytes)
{
	memset(data, 0xa5, bytes);
	return run_all(BLOCK_READ, shift, data) && !memcmp(data, expected, bytes);
}

/* `disk`: what it holds; the other two: room for as much. */
static void test_load(const char *name, const uint8_t *disk, uint8_t *data, uint8_t *other, size_t bytes, bool write)
{
	bool ok = read_as(0, data, disk, bytes);

	tap_ok(ok, "%s reads for %u CPUs at once", name, cpu_count());
	if (!write || !ok)
		return;
	for (size_t i = 0; i < bytes; i++)
		other[i] = (uint8_t)(disk[i] ^ (i >> 12) ^ 0x5a);
	ok = run_all(BLOCK_WRITE, 0, other) && read_as(1, data, other, bytes);
	/* Back: by the next but one. */
	memcpy(other, disk, bytes);
	ok = run_all(BLOCK_WRITE, 2, other) && read_as(3, data, disk, bytes) && ok;
	tap_ok(ok, "%s writes for %u CPUs at once, and others read it", name, cpu_count());
}

static void test_block_cpus(const char *name)
{
	struct block_device *device = block_find(name);
	uint32_t part = device ? MAX(device->block_size, PART_BYTES) : 0;
	size_t lanes_bytes = sizeof(*lanes) * cpu_count(), bytes;
	uint64_t most;
	uint8_t *memory;

	if (!device || selftest_option("errors", 0)) /* a disk that is meant to fail */
		return;
	most = device->capacity * BLOCK_SECTOR / cpu_count() / part * part;
	bytes = (size_t)MIN(most, (uint64_t)REGION_BYTES / part * part) * cpu_count();
	lanes = page_alloc(lanes_bytes, PAGE_SIZE);
	memory = page_alloc(3 * bytes, PAGE_SIZE);
	if (!bytes || !lanes || !memory) {
		tap_skip(bytes ? "no memory" : "too small", "%s for all CPUs at once", name);
	} else {
		for (unsigned i = 0; i < cpu_count(); i++) {
			lanes[i].device = device;
			lanes[i].part = part;
			lanes[i].bytes = (uint32_t)(bytes / cpu_count());
		}
		if (block_io(device, BLOCK_READ, 0, memory, (uint32_t)bytes))
			tap_ok(false, "%s for all CPUs at once", name);
		else
			test_load(name, memory, memory + bytes, memory + 2 * bytes, bytes,
			          selftest_option("write", 0) && !device->read_only);
	}
	page_free(memory, 3 * bytes);
	page_free(lanes, lanes_bytes);
}

SELFTEST(block_cpus, test_block_cpus);
