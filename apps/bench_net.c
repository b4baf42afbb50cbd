/*
 * bench of network cards.
 *
 *   net-tx     bench.len= (60) bytes, bench.burst= (32) frames a call, from a pool and back to it
 *   net-rx     frames that come from outside are freed; with a number in their bytes 14 to 17, little-endian and counting up, those lost
 *              on the way are told too. With bench.peer= they come from that other card of the guest's, which is on the same network: a
 *              burst is there before the looking for it begins
 *   net-echo   one frame after the other, each sent back from outside: the round trip
 *
 * `busy` is the part of `tsc` that is work: of each round in which frames moved or came back, all of it, kick and turn of the loop and interrupts
 * included; of each round in which none did, nothing, as there the program waits for the device, asleep or (mode=poll) looking again.
 */
#include "bench.h"

#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <base/util.h>
#include <class/net.h>

#define BURST_MAX 256u
#define FRAMES 256u /* no more than a ring: who has a burst of them may send it */

static struct net_bench {
	struct net_device *device, *peer; /* peer: NULL, or who sends */
	struct net_pool *pool;
	uint64_t length, burst, ops;
	bool poll;
	uint64_t left, busy;
	uint32_t number, numbered; /* of the last frame, and how many came from the first to it */
	bool first;
	bool feeding; /* what comes now is left for later */
	uint32_t fed;
} bench;

static uint64_t now(void) { return clock_ticks(); }

/* ---- frames ---- */

static bool open_bench(void)
{
	bench = (struct net_bench){.device = net_find(cmdline_get("bench.device"))};
	if (!bench.device) {
		log_error("bench: no such network card");
		return false;
	}
	if (cmdline_get("bench.peer"))
		bench.peer = net_find(cmdline_get("bench.peer"));
	if (!bench_parameter("bench.len", 60, 18, NET_FRAME_MAX, &bench.length) ||
	    !bench_parameter("bench.burst", 32, 1, BURST_MAX, &bench.burst) ||
	    !bench_parameter("bench.ops", 100000, 1, UINT32_MAX, &bench.ops) ||
	    !bench_choice("bench.mode", "irq", "poll", &bench.poll))
		return false;
	bench.pool = net_pool_create(FRAMES);
	if (!bench.pool)
		log_error("bench: no memory for %u frames", FRAMES);
	return bench.pool;
}

/* Broadcast frames of an experimental type. Bytes and length stay when they go back to the pool. */
static bool fill_frames(void)
{
	struct net_buf *bufs[FRAMES];

	if (net_bufs_alloc(bench.pool, bufs, FRAMES) < FRAMES)
		return false;
	for (unsigned i = 0; i < FRAMES; i++) {
		memset(bufs[i]->data, 0, bench.length);
		memset(bufs[i]->data, 0xff, 6);
		memcpy(bufs[i]->data + 6, bench.device->mac, 6);
		memcpy(bufs[i]->data + 12, "\x88\xb5", 2);
		bufs[i]->length = (uint32_t)bench.length;
	}
	net_bufs_free(bufs, FRAMES);
	return true;
}

static unsigned send(struct net_device *device, unsigned want)
{
	struct net_buf *bufs[BURST_MAX];
	unsigned count = net_bufs_alloc(bench.pool, bufs, want), taken;

	for (unsigned i = 0; unlikely(bench.peer) && i < count; i++, bench.fed++)
		memcpy(bufs[i]->data + 14, &bench.fed, sizeof(bench.fed));
	taken = net_tx_burst(device, bufs, count);
	if (unlikely(taken < count))
		net_bufs_free(bufs + taken, count - taken);
	return taken;
}

/* Take what is there; how many. */
static unsigned receive(void)
{
	struct net_buf *bufs[BURST_MAX];
	unsigned count = net_rx_burst(bench.device, bufs, (unsigned)bench.burst);

	if (!count)
		return 0;
	memcpy(&bench.number, bufs[count - 1]->data + 14, sizeof(bench.number));
	if (unlikely(bench.first)) {
		memcpy(&bench.numbered, bufs[0]->data + 14, sizeof(bench.numbered));
		bench.first = false;
	}
	net_bufs_free(bufs, count);
	bench.left -= MIN(count, bench.left);
	return count;
}

static void received(struct net_device *device)
{
	uint64_t start = now();
	bool any = false;

	(void)device;
	while (!bench.feeding && receive())
		any = true;
	if (any && !bench.poll)
		bench.busy += now() - start;
}

/* ---- runs ---- */

static bool run_tx(uint64_t ops)
{
	bench.left = ops;
	bench.busy = 0;
	watchdog_start(&bench.left);
	while (bench.left && !watchdog.stuck) {
		uint64_t start = now();
		unsigned want = (unsigned)MIN(bench.burst, bench.left), free = net_pool_free_count(bench.pool);
		unsigned taken = send(bench.device, free < want ? 0 : want);

		loop_turn(!bench.poll && !taken, LOOP_FOREVER);
		bench.left -= taken;
		if (taken || net_pool_free_count(bench.pool) > free)
			bench.busy += now() - start;
	}
	return watchdog_stop(bench.device->node.name);
}

/* A burst from the peer, until it is through. */
static void feed(void)
{
	bench.feeding = true;
	(void)send(bench.peer, (unsigned)bench.burst);
	do {
		loop_turn(false, 0);
		(void)net_tx_burst(bench.peer, NULL, 0);
	} while (net_pool_free_count(bench.pool) < FRAMES && !watchdog.stuck);
	bench.feeding = false;
}

static bool run_rx(uint64_t ops)
{
	bench.left = ops;
	bench.busy = 0;
	bench.first = true;
	watchdog_start(&bench.left);
	while (bench.left && !watchdog.stuck) {
		uint64_t start, before;

		if (bench.peer)
			feed();
		start = now();
		before = bench.left;
		if (bench.poll)
			(void)receive();
		loop_turn(!bench.poll, LOOP_FOREVER);
		if (bench.poll && bench.left != before)
			bench.busy += now() - start;
	}
	return watchdog_stop(bench.device->node.name);
}

static bool run_echo(uint64_t ops)
{
	bench.left = ops;
	bench.busy = 0;
	watchdog_start(&bench.left);
	while (bench.left && !watchdog.stuck) {
		uint64_t before = bench.left;

		while (!send(bench.device, 1) && !watchdog.stuck)
			loop_turn(true, LOOP_FOREVER);
		while (bench.left == before && !watchdog.stuck) {
			if (!bench.poll || !receive())
				loop_turn(!bench.poll, LOOP_FOREVER);
		}
	}
	return watchdog_stop(bench.device->node.name);
}

/* Warm up, measure, tell. A device that stopped answering keeps the frames that it has. */
static int measure(const char *name, bool (*run)(uint64_t ops))
{
	const char *device = bench.device->node.name;
	struct net_counters before, after;
	struct sample start, end;
	char parameters[128];

	if (!run(MIN(bench.ops / 10 + 1, WARM_UP_MAX)))
		return 1;
	before = net_count(bench.device);
	start = take_sample(device);
	if (!run(bench.ops))
		return 1;
	end = take_sample(device);
	after = net_count(bench.device);
	after.tx_errors += after.rx_errors - before.tx_errors - before.rx_errors;
	format_text(parameters, sizeof(parameters), "\"len\":%lu,\"burst\":%lu,\"busy\":%lu,\"lost\":%lu,", bench.length,
	            bench.burst, bench.busy,
	            run == run_rx ? bench.number - bench.numbered + 1 - (uint32_t)(after.rx_frames - before.rx_frames) : 0ul);
	bench_report(name, device, parameters, bench.poll, bench.ops, after.tx_errors, &start, &end);
	return after.tx_errors ? 1 : 0;
}

/* With a pool that comes back whole, if it does within a second. */
static int run_bench(const char *name, bool (*run)(uint64_t ops), bool listens)
{
	int status = 1;

	if (!open_bench())
		return 1;
	if (listens)
		net_listen(bench.device, received);
	net_poll(bench.device, bench.poll);
	if (fill_frames())
		status = measure(name, run);
	net_poll(bench.device, false);
	net_listen(bench.device, NULL);
	net_pool_destroy(bench.pool);
	return status;
}

int bench_net_tx(void) { return run_bench("net-tx", run_tx, false); }

int bench_net_rx(void) { return run_bench("net-rx", run_rx, true); }

int bench_net_echo(void) { return run_bench("net-echo", run_echo, true); }
