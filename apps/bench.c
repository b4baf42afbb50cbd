/*
 * bench: how fast a device moves data, and how often it was told and told back.
 *
 *   bench.name=blk-read|blk-write   bench.device= bench.bs= (4096) bench.qd= (32) bench.ops= (100000) bench.mode=irq|poll
 *                                   bench.pattern=sequential|random bench.cpus= (1), see bench_cpus.c
 *   bench.name=net-tx|net-rx|net-echo    see bench_net.c
 *   bench.name=boot                 the time from power-on (tsc) and from the kernel's start (ns) to here, and how many devices work
 *   bench.name=ready                how many devices work, and nothing that takes time to know: for who takes the time outside
 *
 * Under QEMU's -icount the time stamps count instructions, the bench's own among them: so a run is made of prepared requests
 * only, and its loops neither allocate nor print nor divide. A run of a tenth precedes the one that is measured. With mode=poll
 * the loop never sleeps, and a disk's queue wants no interrupts. blk-write destroys what is on the disk.
 */
#include "bench.h"

#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <base/page.h>
#include <base/program.h>
#include <class/block.h>

#define DEPTH_MAX 1024u
#define BLOCK_BYTES_MAX (1024u * 1024u)
#define SECOND_NS UINT64_C(1000000000)
#define PATIENCE_NS (20 * SECOND_NS)

struct sample take_sample(const char *device)
{
	const struct device_info *info = device_find(device);
	struct sample sample = {0};

	for (unsigned i = 0; info && i < info->queue_count; i++) {
		struct device_queue queue = {0};

		info->queue(info, i, &queue);
		sample.kicks += queue.notifications;
	}
	sample.irqs = info ? info->interrupts(info) : 0;
	sample.ns = clock_ns();
	sample.ticks = clock_ticks();
	cpu_mark();
	return sample;
}

void bench_report(const char *name, const char *device, const char *parameters, bool poll, uint64_t ops, uint64_t errors,
                  const struct sample *start, const struct sample *end)
{
	record("{\"event\":\"bench\",\"name\":\"%s\",\"device\":\"%s\",%s\"mode\":\"%s\",\"ops\":%lu,\"ns\":%lu,\"tsc\":%lu,"
	       "\"kicks\":%lu,\"irqs\":%lu,\"errors\":%lu}",
	       name, device, parameters, poll ? "poll" : "irq", ops, end->ns - start->ns, end->ticks - start->ticks,
	       end->kicks - start->kicks, end->irqs - start->irqs, errors);
}

bool bench_parameter(const char *key, uint64_t fallback, uint64_t least, uint64_t most, uint64_t *value)
{
	*value = cmdline_number(key, fallback);
	if (*value >= least && *value <= most)
		return true;
	log_error("bench: %s=%lu is not in %lu to %lu", key, *value, least, most);
	return false;
}

bool bench_choice(const char *key, const char *usual, const char *other, bool *is_other)
{
	const char *value = cmdline_get(key);

	*is_other = value && !strcmp(value, other);
	if (!value || *is_other || !strcmp(value, usual))
		return true;
	log_error("bench: %s=%s is neither %s nor %s", key, value, usual, other);
	return false;
}

struct watchdog watchdog;

static void watchdog_look(struct timer *timer)
{
	watchdog.stuck = watchdog.seen == *watchdog.left;
	watchdog.seen = *watchdog.left;
	if (!watchdog.stuck)
		timer_start(timer, clock_ns() + PATIENCE_NS, watchdog_look);
}

void watchdog_start(const uint64_t *left)
{
	watchdog.left = left;
	watchdog.seen = *left;
	watchdog.stuck = false;
	timer_start(&watchdog.timer, clock_ns() + PATIENCE_NS, watchdog_look);
}

bool watchdog_stop(const char *device)
{
	timer_stop(&watchdog.timer);
	if (watchdog.stuck)
		log_error("bench: %s stopped answering", device);
	return !watchdog.stuck;
}

/* ---- blk-read, blk-write ---- */

struct block_bench {
	struct block_device *device;
	uint64_t left, to_submit, errors; /* of the run's requests: not done, not submitted, failed */
	uint32_t sectors_per_op;
	uint64_t ops_on_disk;             /* places for a request, */
	uint64_t next_sector, end_sector; /* the next in sequence, the end of the last */
	uint64_t random;
	bool is_random;
	unsigned ready_count; /* to be submitted again, after the turn */
	struct block_request *ready[DEPTH_MAX];
};

struct block_slot {
	struct block_request request;
	struct dma_buf segment;
};

static inline uint64_t next_sector(struct block_bench *bench)
{
	uint64_t sector = bench->next_sector;

	if (unlikely(bench->is_random)) {
		uint64_t op;

		/* xorshift64; its upper half scaled to the range by a multiplication */
		bench->random ^= bench->random << 13;
		bench->random ^= bench->random >> 7;
		bench->random ^= bench->random << 17;
		op = (bench->random >> 32) * bench->ops_on_disk >> 32;
		return op * bench->sectors_per_op;
	}
	bench->next_sector = sector + bench->sectors_per_op;
	if (unlikely(bench->next_sector == bench->end_sector))
		bench->next_sector = 0;
	return sector;
}

static void block_bench_done(struct block_request *request)
{
	struct block_bench *bench = request->context;

	bench->left--;
	bench->errors += request->status != 0;
	if (likely(bench->to_submit)) {
		bench->to_submit--;
		request->sector = next_sector(bench);
		bench->ready[bench->ready_count++] = request;
	}
}

static bool block_bench_run(struct block_bench *bench, struct block_slot *slots, uint64_t depth, uint64_t ops, bool poll)
{
	bench->left = ops;
	bench->to_submit = ops - MIN(depth, ops);
	bench->errors = 0;
	bench->ready_count = 0;
	watchdog_start(&bench->left);
	for (uint64_t i = 0; i < MIN(depth, ops); i++) {
		slots[i].request.sector = next_sector(bench);
		bench->ready[bench->ready_count++] = &slots[i].request;
	}
	while (bench->left && !watchdog.stuck) {
		unsigned count = bench->ready_count;

		bench->ready_count = 0;
		if (count)
			block_submit_many(bench->device, bench->ready, count);
		loop_turn(!poll, LOOP_FOREVER);
	}
	return watchdog_stop(bench->device->node.name);
}

static void prepare_slots(struct block_bench *bench, struct block_slot *slots, enum block_op op, uint64_t depth, uint32_t bytes,
                          uint8_t *memory)
{
	for (uint64_t i = 0; i < depth; i++) {
		slots[i].segment = (struct dma_buf){memory + i * bytes, bytes};
		slots[i].request = (struct block_request){
			.op = op,
			.segments = &slots[i].segment,
			.segment_count = 1,
			.done = block_bench_done,
			.context = bench,
		};
	}
}

/* Warm up, measure, tell. False: the device stopped answering, and still has the memory. */
static bool block_bench_measure(struct block_bench *bench, struct block_slot *slots, const struct block_plan *plan,
                                const char *name)
{
	const char *device = bench->device->node.name;
	struct sample start, end;
	char parameters[64];

	if (block_poll(bench->device, plan->poll))
		log_warn("bench: %s polls as it likes", device);
	if (!block_bench_run(bench, slots, plan->depth, MIN(plan->ops / 10 + 1, WARM_UP_MAX), plan->poll))
		return false;
	start = take_sample(device);
	if (!block_bench_run(bench, slots, plan->depth, plan->ops, plan->poll))
		return false;
	end = take_sample(device);
	format_text(parameters, sizeof(parameters), "\"bs\":%lu,\"qd\":%lu,\"cpus\":1,\"pattern\":\"%s\",", plan->bytes,
	            plan->depth, bench->is_random ? "random" : "sequential");
	bench_report(name, device, parameters, plan->poll, plan->ops, bench->errors, &start, &end);
	return true;
}

static int bench_block(enum block_op op, const char *name)
{
	static struct block_bench bench;
	struct block_device *device = block_find(cmdline_get("bench.device"));
	struct block_plan plan;
	struct block_slot *slots;
	uint8_t *memory;
	int status = 1;

	if (!device) {
		log_error("bench: no such disk");
		return 1;
	}
	bench = (struct block_bench){.device = device, .random = UINT64_C(0x9e3779b97f4a7c15)};
	if (!bench_parameter("bench.cpus", 1, 1, cpu_count(), &plan.cpus) ||
	    !bench_parameter("bench.bs", 4096, device->block_size, BLOCK_BYTES_MAX, &plan.bytes) ||
	    !bench_parameter("bench.qd", 32, 1, DEPTH_MAX, &plan.depth) ||
	    !bench_parameter("bench.ops", 100000, 1, UINT32_MAX, &plan.ops) ||
	    !bench_choice("bench.mode", "irq", "poll", &plan.poll) ||
	    !bench_choice("bench.pattern", "sequential", "random", &bench.is_random))
		return 1;
	plan.bytes -= plan.bytes % device->block_size;
	if (plan.cpus > 1 && (plan.poll || bench.is_random)) {
		log_error("bench: several CPUs only with mode=irq and pattern=sequential");
		return 1;
	}
	if (plan.cpus > 1)
		return bench_block_cpus(device, op, name, &plan);
	bench.sectors_per_op = (uint32_t)(plan.bytes / BLOCK_SECTOR);
	bench.ops_on_disk = MIN(device->capacity / bench.sectors_per_op, UINT32_MAX);
	bench.end_sector = bench.ops_on_disk * bench.sectors_per_op;
	if (!bench.ops_on_disk) {
		log_error("bench: %s is too small", device->node.name);
		return 1;
	}
	slots = page_alloc(plan.depth * sizeof(*slots), PAGE_SIZE);
	memory = page_alloc(plan.depth * plan.bytes, PAGE_SIZE);
	if (slots && memory) {
		prepare_slots(&bench, slots, op, plan.depth, (uint32_t)plan.bytes, memory);
		if (!block_bench_measure(&bench, slots, &plan, name))
			return 1;
		status = bench.errors ? 1 : 0;
	} else {
		log_error("bench: no memory for %lu requests of %lu bytes", plan.depth, plan.bytes);
	}
	if (memory)
		page_free(memory, plan.depth * plan.bytes);
	if (slots)
		page_free(slots, plan.depth * sizeof(*slots));
	return status;
}

static int bench_blk_read(void) { return bench_block(BLOCK_READ, "blk-read"); }

static int bench_blk_write(void) { return bench_block(BLOCK_WRITE, "blk-write"); }

/* ---- boot ---- */

static unsigned devices_ok(void)
{
	unsigned devices = 0;

	for (const struct device_info *info = device_first(); info; info = info->next)
		devices += !strcmp(info->state, "ok");
	return devices;
}

static int bench_boot(void)
{
	record("{\"event\":\"bench\",\"name\":\"boot\",\"devices\":%u,\"ns\":%lu,\"tsc\":%lu,\"hz\":%lu,\"errors\":0}",
	       devices_ok(), clock_ns(), clock_ticks(), clock_hz());
	return 0;
}

/* Nothing in it takes time to know: not even the clock's rate. */
static int bench_ready(void)
{
	record("{\"event\":\"bench\",\"name\":\"ready\",\"devices\":%u,\"errors\":0}", devices_ok());
	return 0;
}

static const struct {
	const char *name, *summary;
	int (*run)(void);
} benches[] = {
	{"blk-read", "bench.device= bench.bs= bench.qd= bench.ops= bench.pattern= bench.mode= bench.cpus=", bench_blk_read},
	{"blk-write", "the same; what is on the disk is lost", bench_blk_write},
	{"net-tx", "bench.device= bench.len= bench.burst= bench.ops= bench.mode=", bench_net_tx},
	{"net-rx", "the same; frames come from outside", bench_net_rx},
	{"net-echo", "bench.device= bench.len= bench.ops=; frames come back from outside", bench_net_echo},
	{"boot", "the time to here", bench_boot},
	{"ready", "only that it is here, for who takes the time outside", bench_ready},
};

static int bench_main(void)
{
	const char *name = cmdline_get("bench.name");

	for (unsigned i = 0; name && i < ARRAY_SIZE(benches); i++) {
		if (!strcmp(benches[i].name, name))
			return benches[i].run();
	}
	if (name)
		log_error("bench: no bench \"%s\"", name);
	for (unsigned i = 0; i < ARRAY_SIZE(benches); i++)
		console_line("bench.name=%-10s %s", benches[i].name, benches[i].summary);
	return 1;
}

PROGRAM(bench, "measure a device: bench.name=", bench_main);
