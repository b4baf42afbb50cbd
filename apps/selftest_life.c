/*
 * The lives of a device: taken from its driver and given back again and again, and its queues reset one by one under load. Nothing
 * may leak, and no request may be lost or end twice.
 */
#include "selftest.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#define LOAD 32u        /* requests in flight under queue resets */
#define LOAD_BYTES 4096u

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
	if (!tap_ok(!error && done == times && page_count_free() == before, "%s works after each of %lu times of remove and probe",
	            info->name, times)) {
		tap_detail("times: %lu, error: %d, state: %s", done, error, info->state);
		tap_detail("free pages: %lu, before: %lu", page_count_free(), before);
	}
	net_pool_destroy(pool);
}

/* ---- queue resets ---- */

struct load {
	struct block_device *device;
	uint64_t submitted, finished, failed, wrong, stop_at;
	bool over;
};

struct load_slot {
	struct load *load;
	struct block_request request;
	struct block_segment segment;
	bool in_flight;
};

static void load_submit(struct load_slot *slot)
{
	struct load *load = slot->load;

	slot->in_flight = true;
	slot->request.sector = load->submitted % MIN(load->device->capacity / (LOAD_BYTES / BLOCK_SECTOR), 1024u) *
	                       (LOAD_BYTES / BLOCK_SECTOR);
	load->submitted++;
	block_submit(load->device, &slot->request);
}

static void load_done(struct block_request *request)
{
	struct load_slot *slot = request->context;
	struct load *load = slot->load;

	load->wrong += !slot->in_flight; /* ended twice */
	slot->in_flight = false;
	load->finished++;
	load->failed += request->status != 0;
	load->over = load->finished == load->submitted;
	if (load->submitted < load->stop_at) {
		load->over = false;
		load_submit(slot);
	}
}

void selftest_queue_resets(struct device_info *info, struct block_device *device, uint64_t times)
{
	static struct load_slot slots[LOAD];
	struct load load = {.device = device, .stop_at = UINT64_MAX};
	uint8_t *memory = page_alloc(LOAD * LOAD_BYTES, PAGE_SIZE);
	uint64_t resets = 0;
	int error = memory && device->capacity >= LOAD_BYTES / BLOCK_SECTOR ? 0 : -ENOMEM;

	for (unsigned i = 0; !error && i < LOAD; i++) {
		slots[i] = (struct load_slot){.load = &load, .segment = {memory + i * LOAD_BYTES, LOAD_BYTES}};
		slots[i].request = (struct block_request){
			.op = BLOCK_READ, .segments = &slots[i].segment, .segment_count = 1, .done = load_done, .context = &slots[i]};
		load_submit(&slots[i]);
	}
	while (!error && resets < times) {
		uint64_t enough = load.finished + 1 + resets % 64;

		while (load.finished < enough && loop_turn(true, LOOP_FOREVER))
			;
		error = info->reset_queue(info, 0);
		resets += !error;
	}
	load.stop_at = 0;
	if (!load.over && load.submitted)
		(void)loop_wait(&load.over, PATIENCE_NS);
	if (error == -ENOTSUP)
		tap_skip("it does not offer RING_RESET", "%s: queue resets under load", info->name);
	else if (!tap_ok(!error && load.finished == load.submitted && !load.wrong && block_io(device, BLOCK_READ, 0, memory, LOAD_BYTES) == 0,
	                 "%s: %lu queue resets under load lose and repeat no request", info->name, times))
		tap_detail("resets: %lu, error: %d, submitted: %lu, finished: %lu, twice: %lu", resets, error, load.submitted,
		           load.finished, load.wrong);
	if (load.finished == load.submitted)
		record("{\"event\":\"queue-resets\",\"device\":\"%s\",\"resets\":%lu,\"requests\":%lu,\"failed\":%lu}", info->name, resets,
		       load.finished, load.failed);
	if (load.over || !load.submitted) /* else the device keeps it */
		page_free(memory, LOAD * LOAD_BYTES);
}
