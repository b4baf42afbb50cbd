/*
 * The block class between CPUs, as threads: four that submit, a made-up device whose two queues belong to two of them. The data have no lock
 * and no atomic, so that the thread sanitizer's build shows whether requests carry the order from CPU to CPU and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include <arch/cpu.h>
#include <base/event.h>
#include <base/util.h>
#include <class/block.h>
#include <host.h>

#define CPUS 4u
#define QUEUES 2u
#define HELD 8u
#define DEPTH 16u
#define REQUESTS 3000u
#define PATIENCE_NS UINT64_C(60000000000)

/* ---- the device: a disk in memory; parts end at the end of the turn ---- */

static uint64_t disk[CPUS * DEPTH][BLOCK_SECTOR / 8];

static struct fake_queue {
	struct block_queue queue;
	struct event event;
	struct {
		struct block_request *request;
		uint64_t sector;
		void *memory;
	} held[HELD];
	unsigned count;
	uint64_t posted;
} queues[QUEUES];

static int post(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
                unsigned segment_count, uint32_t sectors)
{
	struct fake_queue *fake = container_of(queue, struct fake_queue, queue);

	if (cpu_index() != queue->cpu || segment_count != 1 || sectors != 1)
		abort();
	if (fake->count == HELD)
		return -ENOSPC;
	fake->held[fake->count].request = request;
	fake->held[fake->count].sector = sector;
	fake->held[fake->count++].memory = segments[0].addr;
	fake->posted++;
	event_defer(&fake->event);
	return 0;
}

static void carry_out(struct event *event)
{
	struct fake_queue *fake = container_of(event, struct fake_queue, event);

	for (unsigned i = 0; i < fake->count; i++) {
		struct block_request *request = fake->held[i].request;

		if (request->op == BLOCK_READ)
			memcpy(fake->held[i].memory, disk[fake->held[i].sector], BLOCK_SECTOR);
		else
			memcpy(disk[fake->held[i].sector], fake->held[i].memory, BLOCK_SECTOR);
		block_part_done(&fake->queue, request, 0);
	}
	fake->count = 0;
	block_pump(&fake->queue);
}

static const struct block_ops ops = {.post = post};
static struct block_device device;

/* ---- the load: each CPU writes and reads back its own sectors ---- */

static struct load {
	struct cpu_call call;
	struct event ended; /* the first CPU's */
	struct place {
		struct block_request request;
		struct dma_buf segment;
		uint64_t data[BLOCK_SECTOR / 8], number, sector;
	} places[DEPTH];
	unsigned cpu, in_flight;
	uint64_t submitted, limit, gone;
} loads[CPUS];
static unsigned loads_ended;
static bool all_ended;

static void load_ended(struct event *event)
{
	(void)event;
	all_ended = ++loads_ended == CPUS;
}

static void done(struct block_request *request);

static void submit(struct load *load, struct place *place, enum block_op op)
{
	if (op == BLOCK_WRITE) {
		place->number = ++load->submitted;
		for (unsigned i = 0; i < ARRAY_SIZE(place->data); i++)
			place->data[i] = place->number << 32 | load->cpu << 16 | i;
	} else {
		memset(place->data, 0, sizeof(place->data));
	}
	place->segment = (struct dma_buf){place->data, BLOCK_SECTOR};
	place->request = (struct block_request){.op = op,
	                                        .sector = place->sector,
	                                        .segments = &place->segment,
	                                        .segment_count = 1,
	                                        .done = done,
	                                        .context = load};
	load->in_flight++;
	block_submit(&device, &place->request);
}

static void done(struct block_request *request)
{
	struct load *load = request->context;
	struct place *place = container_of(request, struct place, request);
	bool gone = request->status == -ENODEV;

	if (cpu_index() != load->cpu || (request->status && !gone))
		abort();
	load->in_flight--;
	load->gone += gone;
	for (unsigned i = 0; !gone && i < ARRAY_SIZE(place->data); i++) {
		if (place->data[i] != (place->number << 32 | load->cpu << 16 | i))
			abort();
	}
	if (!gone && request->op == BLOCK_WRITE)
		submit(load, place, BLOCK_READ);
	else if (!gone && load->submitted < load->limit)
		submit(load, place, BLOCK_WRITE);
	else if (!load->in_flight)
		event_mark(&load->ended);
}

static void load_start(void *arg)
{
	struct load *load = arg;

	for (unsigned i = 0; i < DEPTH; i++)
		submit(load, &load->places[i], BLOCK_WRITE);
}

static void start(uint64_t limit)
{
	static struct block_queue *const list[QUEUES] = {&queues[0].queue, &queues[1].queue};

	host_boot(16u << 20);
	host_cpus_start(CPUS);
	memset(queues, 0, sizeof(queues));
	for (unsigned i = 0; i < QUEUES; i++) {
		queues[i].queue.cpu = 1 + i;
		event_init_on(&queues[i].event, 1 + i, carry_out);
	}
	device = (struct block_device){.node.name = "disk", .ops = &ops, .capacity = ARRAY_SIZE(disk), .block_size = BLOCK_SECTOR};
	assert_int_equal(block_register(&device, (struct block_queue **)list, QUEUES), 0);
	loads_ended = 0;
	all_ended = false;
	for (unsigned i = 0; i < CPUS; i++) {
		memset(&loads[i], 0, sizeof(loads[i]));
		loads[i].cpu = i;
		loads[i].limit = limit;
		for (unsigned k = 0; k < DEPTH; k++)
			loads[i].places[k].sector = i * DEPTH + k;
		event_init(&loads[i].ended, load_ended);
		cpu_call(&loads[i].call, i, load_start, &loads[i], NULL);
	}
}

static void requests_of_all_cpus_come_back_to_them(void **state)
{
	uint64_t posted = 0;

	(void)state;
	start(REQUESTS);
	assert_true(loop_wait(&all_ended, PATIENCE_NS));
	block_unregister(&device);
	host_cpus_stop();
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_true(queues[i].posted > 0);
		posted += queues[i].posted;
	}
	assert_int_equal(posted, CPUS * REQUESTS * 2);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(loads[i].gone, 0);
}

static void put_away(void *arg)
{
	struct fake_queue *fake = arg;

	/* As a driver does before it unregisters: what was posted ends, and no more is. */
	event_cancel(&fake->event);
	for (unsigned i = 0; i < fake->count; i++)
		block_part_done(&fake->queue, fake->held[i].request, -ENODEV);
	fake->count = HELD;
}

static void a_removal_ends_all_requests_once(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		start(UINT64_MAX);
		for (unsigned turns = 0; turns < 50; turns++)
			loop_turn(false, LOOP_FOREVER);
		for (unsigned i = 0; i < QUEUES; i++)
			cpu_run(queues[i].queue.cpu, put_away, &queues[i]);
		block_unregister(&device);
		assert_true(loop_wait(&all_ended, PATIENCE_NS));
		host_cpus_stop();
		for (unsigned i = 0; i < CPUS; i++) {
			assert_int_equal(loads[i].in_flight, 0);
			assert_int_equal(loads[i].gone, DEPTH);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_of_all_cpus_come_back_to_them),
		cmocka_unit_test(a_removal_ends_all_requests_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
