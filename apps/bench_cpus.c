/*
 * blk-read and blk-write from several CPUs at once (bench.cpus=): each keeps bench.qd= requests in flight in a part of the disk of its
 * own, which go through a queue of its own where the device has as many. What came back in a turn of a CPU's loop is submitted again
 * in its next one, together.
 */
#include "bench.h"

#include <arch/cpu.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

#define PATIENCE_NS UINT64_C(20000000000)

/* One CPU's. */
static struct lane {
	struct cpu_call call;
	struct event again; /* this CPU's */
	struct event ended; /* the first CPU's */
	struct block_device *device;
	uint64_t left, to_submit, errors; /* of the run's requests: not done, not submitted, failed */
	uint64_t sector, first_sector, end_sector;
	uint32_t sectors_per_op;
	unsigned depth, ready_count;
	struct block_request **ready;
	struct lane_slot {
		struct block_request request;
		struct dma_buf segment;
	} * slots;
} * lanes;

static unsigned lanes_running;
static bool all_ended;

static void lane_ended(struct event *event)
{
	(void)event;
	all_ended = --lanes_running == 0;
}

static void lane_again(struct event *event)
{
	struct lane *lane = container_of(event, struct lane, again);
	unsigned count = lane->ready_count;

	lane->ready_count = 0;
	block_submit_many(lane->device, lane->ready, count);
}

static void lane_next(struct lane *lane, struct block_request *request)
{
	request->sector = lane->sector;
	lane->sector += lane->sectors_per_op;
	if (lane->sector == lane->end_sector)
		lane->sector = lane->first_sector;
	lane->to_submit--;
	lane->ready[lane->ready_count++] = request;
}

static void lane_done(struct block_request *request)
{
	struct lane *lane = request->context;

	lane->errors += request->status != 0;
	if (lane->to_submit) {
		lane_next(lane, request);
		event_mark(&lane->again);
	}
	if (--lane->left == 0)
		event_mark(&lane->ended);
}

static void lane_start(void *arg)
{
	struct lane *lane = arg;

	event_init(&lane->again, lane_again);
	for (unsigned i = 0; i < lane->depth && lane->to_submit; i++)
		lane_next(lane, &lane->slots[i].request);
	event_mark(&lane->again);
}

static uint64_t all_left(unsigned cpus)
{
	uint64_t left = 0;

	for (unsigned i = 0; i < cpus; i++)
		left += __atomic_load_n(&lanes[i].left, __ATOMIC_RELAXED);
	return left;
}

/* `ops` on each CPU. False: nothing comes back any more. */
static bool run_lanes(unsigned cpus, uint64_t ops)
{
	uint64_t left;

	lanes_running = cpus;
	all_ended = false;
	for (unsigned i = 0; i < cpus; i++) {
		lanes[i].left = lanes[i].to_submit = ops;
		lanes[i].errors = lanes[i].ready_count = 0;
		event_init(&lanes[i].ended, lane_ended);
		cpu_call(&lanes[i].call, i, lane_start, &lanes[i], NULL);
	}
	do
		left = all_left(cpus);
	while (!loop_wait(&all_ended, PATIENCE_NS) && all_left(cpus) != left);
	if (!all_ended)
		log_error("bench: %s stopped answering", lanes[0].device->node.name);
	return all_ended;
}

static bool lane_prepare(struct lane *lane, unsigned index, enum block_op op, const struct block_plan *plan)
{
	uint64_t places = lane->device->capacity / lane->sectors_per_op / plan->cpus;
	uint8_t *memory = page_alloc(plan->depth * plan->bytes, PAGE_SIZE);

	lane->slots = page_alloc(plan->depth * sizeof(*lane->slots), PAGE_SIZE);
	lane->ready = page_alloc(plan->depth * sizeof(struct block_request *), PAGE_SIZE);
	if (!places || !memory || !lane->slots || !lane->ready)
		return false;
	lane->sector = lane->first_sector = index * places * lane->sectors_per_op;
	lane->end_sector = (index + 1) * places * lane->sectors_per_op;
	lane->depth = (unsigned)plan->depth;
	for (unsigned i = 0; i < lane->depth; i++) {
		lane->slots[i].segment = (struct dma_buf){memory + i * plan->bytes, (uint32_t)plan->bytes};
		lane->slots[i].request = (struct block_request){
			.op = op,
			.segments = &lane->slots[i].segment,
			.segment_count = 1,
			.done = lane_done,
			.context = lane,
		};
	}
	return true;
}

/* The image ends with the bench: what it takes it keeps. */
int bench_block_cpus(struct block_device *device, enum block_op op, const char *name, const struct block_plan *plan)
{
	unsigned cpus = (unsigned)plan->cpus;
	uint64_t each = MAX(plan->ops / cpus, UINT64_C(1)), errors = 0;
	struct sample start, end;
	char parameters[64];

	lanes = page_alloc(cpus * sizeof(*lanes), PAGE_SIZE);
	for (unsigned i = 0; lanes && i < cpus; i++) {
		lanes[i].device = device;
		lanes[i].sectors_per_op = (uint32_t)(plan->bytes / BLOCK_SECTOR);
		if (!lane_prepare(&lanes[i], i, op, plan))
			lanes = NULL;
	}
	if (!lanes) {
		log_error("bench: no memory, or no room on the disk, for %u CPUs", cpus);
		return 1;
	}
	if (!run_lanes(cpus, MIN(each / 10 + 1, WARM_UP_MAX)))
		return 1;
	start = take_sample(device->node.name);
	if (!run_lanes(cpus, each))
		return 1;
	end = take_sample(device->node.name);
	for (unsigned i = 0; i < cpus; i++)
		errors += lanes[i].errors;
	format_text(parameters, sizeof(parameters), "\"bs\":%lu,\"qd\":%lu,\"cpus\":%u,", plan->bytes, plan->depth, cpus);
	bench_report(name, device->node.name, parameters, false, each * cpus, errors, &start, &end);
	return errors ? 1 : 0;
}
