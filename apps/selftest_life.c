/*
 * The lives of a device: taken from its driver and given back again and again, and its queues reset one by one under load. Nothing
 * may leak, and no request may be lost or end twice.
 */
#include "selftest.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#define LOAD 32u /* requests in flight under queue resets */
#define LOAD_BYTES 4096u
#define LOAD_BLOCKS 256u

/* ---- rebind ---- */

static void frame_done(struct net_buf *buf)
{
	*(bool *)buf->context = true;
	net_buf_free(buf);
}

/* A broadcast frame of a local experimental type. */
static int send_frame(struct net_device *net, struct net_pool *pool)
{
	struct net_buf *buf = net_buf_alloc(pool);
	bool done = false;

	if (!buf)
		return -ENOMEM;
	memset(buf->data, 0, 60);
	memset(buf->data, 0xff, 6);
	memcpy(buf->data + 6, net->mac, 6);
	memcpy(buf->data + 12, "\x88\xb5", 2);
	buf->length = 60;
	buf->done = frame_done;
	buf->context = &done;
	if (net_tx_burst(net, &buf, 1) != 1) {
		net_buf_free(buf);
		return -ENOSPC;
	}
	return loop_wait(&done, PATIENCE_NS) ? 0 : -ETIMEDOUT;
}

/* One operation of the device's class. */
static int use(const char *name, struct net_pool *pool)
{
	static uint8_t memory[LOAD_BYTES];
	struct block_device *block = block_find(name);
	struct net_device *net = net_find(name);
	struct entropy_device *entropy = entropy_find(name);
	struct char_device *console = char_find(name);

	if (block)
		return block_io(block, BLOCK_READ, 0, memory, MIN(MAX(block->block_size, BLOCK_SECTOR), LOAD_BYTES));
	if (net)
		return send_frame(net, pool);
	if (entropy)
		return entropy_read(entropy, memory, 64);
	if (console)
		return char_write(console, "selftest.rebind\n", 16);
	return -ENODEV;
}

void selftest_rebind(struct device_info *info, uint64_t times)
{
	struct net_pool *pool = net_pool_create(4);
	uint64_t before = page_count_free(), done = 0;
	int error = pool && info->rebind ? 0 : -ENOTSUP;

	while (!error && done < times) {
		error = info->rebind(info);
		if (!error)
			error = use(info->name, pool);
		done++;
	}
	if (!tap_ok(!error && done == times && page_count_free() == before,
	            "%s works after each of %lu times of remove and probe", info->name, times)) {
		tap_detail("times: %lu, error: %d, state: %s", done, error, info->state);
		tap_detail("free pages: %lu, before: %lu", page_count_free(), before);
	}
	net_pool_destroy(pool);
}

/* ---- queue resets ---- */

struct load {
	struct block_device *device;
	enum block_op op;
	uint32_t bytes;    /* of a request */
	uint8_t *expected; /* what the blocks hold that are read over and over */
	uint64_t blocks, submitted, finished, failed, wrong, resets;
	bool ending, gone, over;
};

struct load_slot {
	struct load *load;
	struct block_request request;
	struct dma_buf segment;
	uint64_t block;
	bool in_flight;
};

static void load_submit(struct load_slot *slot)
{
	struct load *load = slot->load;

	slot->in_flight = true;
	slot->block = load->submitted++ % load->blocks;
	slot->request.sector = slot->block * (LOAD_BYTES / BLOCK_SECTOR);
	memset(slot->segment.addr, 0, load->bytes);
	block_submit(load->device, &slot->request);
}

static void load_done(struct block_request *request)
{
	struct load_slot *slot = request->context;
	struct load *load = slot->load;

	load->wrong += !slot->in_flight; /* ended twice */
	slot->in_flight = false;
	load->finished++;
	if (request->status)
		load->failed++;
	else if (memcmp(slot->segment.addr, load->expected + slot->block * LOAD_BYTES, load->bytes) != 0)
		load->wrong++;
	if (request->status == -ENODEV)
		load->gone = load->ending = true;
	if (!load->ending)
		load_submit(slot);
	load->over = load->finished == load->submitted;
}

static void load_start(struct load *load, uint8_t *memory)
{
	static struct load_slot slots[LOAD];

	for (unsigned i = 0; i < LOAD; i++) {
		slots[i] = (struct load_slot){.load = load, .segment = {memory + i * LOAD_BYTES, load->bytes}};
		slots[i].request = (struct block_request){.op = load->op,
		                                          .segments = &slots[i].segment,
		                                          .segment_count = 1,
		                                          .done = load_done,
		                                          .context = &slots[i]};
		load_submit(&slots[i]);
	}
}

/* Each reset comes when another number of requests has ended since the one before. Then the load ends. */
static int reset_under_load(struct load *load, struct device_info *info, uint64_t times)
{
	int error = 0;

	while (!error && load->resets < times) {
		uint64_t enough = load->finished + 1 + load->resets % 64, deadline = clock_ns() + PATIENCE_NS;

		while (load->finished < enough && !load->gone && clock_ns() < deadline)
			loop_turn(true, deadline);
		if (load->gone)
			break;
		error = load->finished < enough ? -ETIMEDOUT : info->reset_queue(info, 0);
		load->resets += !error;
	}
	load->ending = true;
	if (!loop_wait(&load->over, PATIENCE_NS))
		return -ETIMEDOUT;
	return load->gone ? -ENODEV : error;
}

static void report_load(const struct load *load, const struct device_info *info, int error)
{
	bool all = load->finished == load->submitted;

	if (error == -ENOTSUP)
		tap_skip("it does not offer RING_RESET", "%s: queue resets under load", info->name);
	else if (!tap_ok(!error && all && !load->wrong, "%s: %lu queue resets under load lose and repeat no request", info->name,
	                 load->resets))
		tap_detail("error: %d, submitted: %lu, finished: %lu, wrong or twice: %lu", error, load->submitted,
		           load->finished, load->wrong);
	if (all)
		record("{\"event\":\"queue-resets\",\"device\":\"%s\",\"resets\":%lu,\"requests\":%lu,\"failed\":%lu}",
		       info->name, load->resets, load->finished, load->failed);
}

/* What all requests of the load should give. */
static int load_prepare(struct load *load, uint8_t *expected)
{
	const char *what = cmdline_get("selftest.queue_load");
	uint64_t blocks = load->device->capacity / (LOAD_BYTES / BLOCK_SECTOR);

	load->expected = expected;
	load->op = BLOCK_READ;
	load->bytes = LOAD_BYTES;
	load->blocks = MIN(blocks, LOAD_BLOCKS);
	if (what && strcmp(what, "id") == 0) {
		load->op = BLOCK_GET_ID;
		load->bytes = BLOCK_ID_BYTES;
		load->blocks = 1;
		return block_io(load->device, BLOCK_GET_ID, 0, expected, BLOCK_ID_BYTES);
	}
	return load->blocks ? block_io(load->device, BLOCK_READ, 0, expected, (uint32_t)load->blocks * LOAD_BYTES) : -ENOSPC;
}

void selftest_queue_resets(struct device_info *info, struct block_device *device, uint64_t times)
{
	struct load load = {.device = device};
	uint8_t *memory = page_alloc((LOAD + LOAD_BLOCKS) * LOAD_BYTES, PAGE_SIZE);
	int error = memory ? load_prepare(&load, memory + LOAD * LOAD_BYTES) : -ENOMEM;

	if (!error) {
		load_start(&load, memory);
		error = reset_under_load(&load, info, times);
	}
	if (!error) /* and it works on */
		error = block_io(device, load.op, 0, memory, load.bytes);
	report_load(&load, info, error);
	if (memory && load.finished == load.submitted) /* else the device keeps it */
		page_free(memory, (LOAD + LOAD_BLOCKS) * LOAD_BYTES);
}
