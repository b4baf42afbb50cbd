/*
 * The ring engines against the software device: both layouts, each with and without INDIRECT_DESC, EVENT_IDX and IN_ORDER, in every
 * size, order and wish for notifications. Each request is echoed, and checked for its bytes, its length and that it comes back once.
 */
#include "check_swdev.h"

#include <errno.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"

#define RING (FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX) | FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER))
#define REQUESTS_MAX 32768u
#define BUFFERS_MAX 6u
#define BYTES_MAX 64u

/* A request: at most BUFFERS_MAX buffers cut from its own memory. */
struct request {
	struct virtq_buf bufs[BUFFERS_MAX];
	uint16_t readable, writable;
	uint32_t readable_bytes, writable_bytes, seed;
	bool in_flight;
};

static struct request *requests;
static uint8_t *memory; /* BUFFERS_MAX * BYTES_MAX bytes for each */
static unsigned request_count;
static uint64_t done_count, unused_count;
static uint64_t random_state = 12345;

static uint32_t draw(void) { return (uint32_t)next_random(&random_state); }

static uint8_t pattern(uint32_t seed, uint32_t i) { return (uint8_t)((seed + i) * 0x9e3779b1u >> 24); }

/* Fresh bytes in the readable part, others in the writable one. */
static void prepare(struct request *r, unsigned buffers_max)
{
	uint8_t *at = memory + (size_t)(r - requests) * BUFFERS_MAX * BYTES_MAX;
	unsigned count = 1 + draw() % buffers_max;

	r->seed = draw();
	r->readable = (uint16_t)(draw() % (count + 1));
	r->writable = (uint16_t)(count - r->readable);
	r->readable_bytes = r->writable_bytes = 0;
	for (unsigned i = 0; i < count; i++, at += BYTES_MAX) {
		uint32_t length = 1 + draw() % BYTES_MAX;

		r->bufs[i] = (struct virtq_buf){at, length};
		memset(at, 0xee, BYTES_MAX);
		for (uint32_t k = 0; k < length && i < r->readable; k++)
			at[k] = pattern(r->seed, r->readable_bytes + k);
		if (i < r->readable)
			r->readable_bytes += length;
		else
			r->writable_bytes += length;
	}
}

/* What the echo device does: as many bytes as there are to read, or all, where there are none. */
static void check(struct request *r, uint32_t length)
{
	uint32_t expected = r->writable_bytes, position = 0;

	assert_true(r->in_flight);
	r->in_flight = false;
	if (r->readable_bytes && r->readable_bytes < expected)
		expected = r->readable_bytes;
	assert_int_equal(length, expected);
	for (unsigned i = r->readable; i < (unsigned)r->readable + r->writable; i++) {
		const uint8_t *bytes = r->bufs[i].addr;

		for (uint32_t k = 0; k < BYTES_MAX; k++) {
			uint8_t want = 0xee;

			if (k < r->bufs[i].len && position < expected)
				want = r->readable_bytes ? pattern(r->seed, position) : 0x5a;
			position += k < r->bufs[i].len;
			if (bytes[k] != want)
				fail_msg("byte %u of buffer %u is %#x instead of %#x", k, i, bytes[k], want);
		}
	}
	done_count++;
}

static void used(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq;
	check(token, length);
}

static void unused(struct virtq *vq, void *token)
{
	struct request *r = token;

	(void)vq;
	assert_true(r->in_flight);
	r->in_flight = false;
	unused_count++;
}

static void setup_requests(unsigned count)
{
	request_count = count;
	requests = calloc(count, sizeof(*requests));
	memory = page_alloc((size_t)count * BUFFERS_MAX * BYTES_MAX, PAGE_SIZE);
	assert_non_null(memory);
	done_count = unused_count = 0;
}

static void free_requests(void)
{
	free(requests);
	page_free(memory, (size_t)request_count * BUFFERS_MAX * BYTES_MAX);
}

/* Add whatever has room, starting at request *cursor; returns how many were added. */
static unsigned add_some(struct virtq *vq, unsigned *cursor, unsigned most, unsigned buffers_max)
{
	unsigned added = 0;

	while (added < most) {
		struct request *r = &requests[*cursor % request_count];
		int error;

		if (r->in_flight)
			break;
		prepare(r, buffers_max);
		error = virtq_add(vq, r->bufs, r->readable, r->writable, r);
		if (error == -ENOSPC)
			break;
		assert_int_equal(error, 0);
		r->in_flight = true;
		(*cursor)++;
		added++;
	}
	return added;
}

/* The same in one burst of single buffers, all of one direction. */
static unsigned add_burst(struct virtq *vq, unsigned *cursor, unsigned most)
{
	struct virtq_buf bufs[ECHO_BURST_MAX];
	void *tokens[ECHO_BURST_MAX];
	bool writable = draw() % 2;
	unsigned count = 0, added;

	for (; count < MIN(most, ECHO_BURST_MAX); count++) {
		struct request *r = &requests[(*cursor + count) % request_count];

		if (r->in_flight)
			break;
		do
			prepare(r, 1);
		while (r->writable != writable);
		bufs[count] = r->bufs[0];
		tokens[count] = r;
		r->in_flight = true;
	}
	added = virtq_add_burst(vq, tokens, bufs, count, writable);
	for (unsigned i = added; i < count; i++)
		((struct request *)tokens[i])->in_flight = false;
	*cursor += added;
	return added;
}

static bool in_flight(void)
{
	for (unsigned i = 0; i < request_count; i++)
		if (requests[i].in_flight)
			return true;
	return false;
}

/* `total` requests in bursts through queue 0; returns what must be true of the device: no violation. */
static void run_requests(struct swdev *dev, uint64_t total, unsigned burst)
{
	struct virtq *vq = dev->vdev->queues[0];
	unsigned buffers = echo_options.max_buffers ? echo_options.max_buffers : 1, cursor = 0, idle = 0;

	while (cursor < total) {
		uint64_t before = done_count;
		uint64_t left = total - cursor, most = 1 + draw() % burst;

		most = MIN(most, left);
		if (echo_options.burst && draw() % 4 ? add_burst(vq, &cursor, (unsigned)most)
		                                     : add_some(vq, &cursor, (unsigned)most, buffers))
			virtq_kick_later(vq);
		loop_turn(true, clock_ns() + 1000000);
		idle = done_count == before ? idle + 1 : 0;
		if (idle > 10000)
			fail_msg("nothing moves: %s", host_console_text());
	}
	for (unsigned i = 0; i < 100000 && done_count < total; i++)
		loop_turn(true, clock_ns() + 1000000);
	assert_int_equal(done_count, total);
	assert_false(in_flight());
	assert_int_equal(vq->harvested, total);
}

struct variant {
	uint64_t features;
	uint16_t size;
	enum swdev_order order;
	enum swdev_wish wish;
	bool batch;
	unsigned budget;
	unsigned bursts; /* driver's; 0: none */
	unsigned total, burst;
};

static void run_variant(const struct variant *v)
{
	uint64_t free_pages = page_count_free();
	struct swdev *dev = swdev_new(&swdev_echo);

	setup_requests(v->size);
	dev->offered = (dev->offered & ~RING) | v->features;
	dev->queues[0].max = v->size;
	dev->order = v->order;
	dev->wish = v->wish;
	dev->batch_used = v->batch;
	dev->budget = v->budget;
	echo_options = (struct echo_options){.used = used,
	                                     .unused = unused,
	                                     .burst = v->bursts,
	                                     .max_buffers = v->size < BUFFERS_MAX ? v->size : BUFFERS_MAX};
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_int_equal(dev->vdev->features & RING, v->features & RING);
	assert_int_equal(dev->queues[0].size, v->size);
	run_requests(dev, v->total, v->burst);
	assert_int_equal(dev->queues[0].buffers_taken, v->total);
	assert_int_equal(dev->queues[0].buffers_used, v->total);
	/* "Available Buffer Notification Suppression": what the device did not ask for, it should not get. */
	if (v->wish == SWDEV_WANT_NONE && v->total < 60000)
		assert_int_equal(dev->queues[0].notifications, 0);
	if (v->wish == SWDEV_WANT_EVERY_FOURTH && v->features & FEATURE(F_EVENT_IDX) && v->size >= 16)
		assert_true(dev->queues[0].notifications < v->total / 2);
	pull_out(dev);
	assert_int_equal(unused_count, 0);
	free_requests();
	assert_int_equal(page_count_free(), free_pages);
}

static void every_feature(void **state)
{
	static const uint16_t sizes[] = {1, 2, 4, 16, 256};

	(void)state;
	for (unsigned mask = 0; mask < 16; mask++) {
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
			struct variant v = {.size = sizes[s], .total = 1000, .burst = 1 + 2u * sizes[s]};

			v.features |= mask & 1 ? FEATURE(F_RING_PACKED) : 0;
			v.features |= mask & 2 ? FEATURE(F_INDIRECT_DESC) : 0;
			v.features |= mask & 4 ? FEATURE(F_EVENT_IDX) : 0;
			v.features |= mask & 8 ? FEATURE(F_IN_ORDER) : 0;
			for (v.wish = SWDEV_WANT_ALL; v.wish <= SWDEV_WANT_EVERY_FOURTH; v.wish++) {
				v.order = (enum swdev_order)((mask + s + v.wish) % 3);
				v.batch = s % 2;
				v.budget = v.wish == SWDEV_WANT_NONE ? 3 : 0;
				v.bursts = s % 2 ? 0 : 7;
				run_variant(&v);
				v.bursts = 7 - v.bursts;
				run_variant(&v);
			}
		}
	}
}

static void index_wraparound(void **state)
{
	static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED)};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		run_variant(&(struct variant){.size = 256,
		                              .total = 150000,
		                              .burst = 64,
		                              .features = layouts[i] | FEATURE(F_EVENT_IDX) | FEATURE(F_INDIRECT_DESC),
		                              .bursts = ECHO_BURST_MAX,
		                              .order = SWDEV_RANDOM});
		run_variant(&(struct variant){.size = 256,
		                              .total = 150000,
		                              .burst = 64,
		                              .features = layouts[i] | FEATURE(F_EVENT_IDX),
		                              .order = SWDEV_RANDOM});
		run_variant(&(struct variant){.size = 64,
		                              .total = 70000,
		                              .burst = 64,
		                              .features = layouts[i] | FEATURE(F_IN_ORDER) | FEATURE(F_INDIRECT_DESC),
		                              .batch = true});
	}
}

static void large_queues(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		uint64_t layout = packed ? FEATURE(F_RING_PACKED) : 0;

		run_variant(&(struct variant){.size = 1024,
		                              .total = 5000,
		                              .burst = 2000,
		                              .features = layout | FEATURE(F_INDIRECT_DESC)});
		run_variant(&(
			struct variant){.size = 32768, .total = 70000, .burst = 32768, .features = layout | FEATURE(F_EVENT_IDX)});
	}
}

static void packed_sizes_that_are_no_power_of_two(void **state)
{
	static const uint16_t sizes[] = {3, 5, 7, 100, 257, 1000, 32767};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned event = 0; event < 2; event++)
			run_variant(&(struct variant){.size = sizes[i],
			                              .total = 3u * sizes[i] + 1000,
			                              .burst = sizes[i],
			                              .order = SWDEV_RANDOM,
			                              .bursts = i % 2 ? 0 : 32,
			                              .wish = event ? SWDEV_WANT_EVERY_FOURTH : SWDEV_WANT_ALL,
			                              .features = FEATURE(F_RING_PACKED) | FEATURE(F_INDIRECT_DESC) |
			                                          (event ? FEATURE(F_EVENT_IDX) : 0)});
}

/* ---- buffers that go where they were ---- */

static struct request *back[ECHO_BURST_MAX];
static unsigned back_count;

static void come_back(struct virtq *vq, void *token, uint32_t length)
{
	used(vq, token, length);
	back[back_count++ % ECHO_BURST_MAX] = token;
}

/* Buffers that come back in their order are added again where they were; two that changed places end it, and are at home there the next time
 * round. */
static void run_again(uint64_t features, uint16_t size)
{
	struct swdev *dev = swdev_new(&swdev_echo);
	struct virtq_buf bufs[ECHO_BURST_MAX];
	struct virtq *vq;
	uint64_t sum = 0;

	setup_requests(size);
	dev->offered = (dev->offered & ~RING) | features;
	dev->queues[0].max = size;
	echo_options = (struct echo_options){.used = come_back, .unused = unused, .in_turn = true, .burst = 5};
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	vq = dev->vdev->queues[0];
	back_count = size;
	for (unsigned i = 0; i < size; i++) {
		back[i] = &requests[i];
		do
			prepare(back[i], 1);
		while (!back[i]->writable);
	}
	for (unsigned round = 0; round < 400; round++) {
		unsigned count = 1 + draw() % size, swapped = round % 7 || count < 2 ? count : draw() % (count - 1), again;
		void *tokens[ECHO_BURST_MAX];

		if (swapped < count) {
			struct request *first = back[swapped];

			back[swapped] = back[swapped + 1];
			back[swapped + 1] = first;
		}
		for (unsigned i = 0; i < count; i++) {
			tokens[i] = back[i];
			bufs[i] = back[i]->bufs[0];
			memset(bufs[i].addr, 0xee, BYTES_MAX);
			back[i]->in_flight = true;
		}
		memmove(back, back + count, (size - count) * sizeof(back[0]));
		back_count = size - count;
		again = virtq_add_again(vq, tokens, count);
		assert_int_equal(again, sum < size ? MIN(again, count) : swapped);
		assert_int_equal(virtq_add_burst(vq, tokens + again, bufs + again, count - again, true), count - again);
		virtq_kick_later(vq);
		sum += count;
		for (unsigned i = 0; i < 1000 && done_count < sum; i++)
			loop_turn(true, clock_ns() + 1000000);
		assert_int_equal(done_count, sum);
	}
	pull_out(dev);
	free_requests();
}

static void added_again_where_they_were(void **state)
{
	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		uint64_t features = event ? FEATURE(F_EVENT_IDX) : 0;

		run_again(features, 1);
		run_again(features, 8);
		run_again(features, 64);
		run_again(features | FEATURE(F_RING_PACKED), 1);
		run_again(features | FEATURE(F_RING_PACKED), 7);
		run_again(features | FEATURE(F_RING_PACKED), 64);
	}
}

/* Framed requests of one number, which comes back in the tail: some more are added, and stay out of the ring until the next kick, while
 * others are taken back. */
static void run_staged(uint64_t features, uint16_t size)
{
	struct swdev *dev = swdev_new(&swdev_echo);
	uint64_t added = 0, done = 0;
	struct virtq *vq;

	dev->offered = (dev->offered & ~RING) | features;
	dev->queues[0].max = size;
	echo_options = (struct echo_options){.head = 8, .tail = 8, .max_buffers = 2};
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	vq = dev->vdev->queues[0];
	for (unsigned round = 0; round < 1000 || done < added; round++) {
		unsigned more = round < 1000 ? draw() % (size + 1u) : 0;
		struct virtq_used_request taken[4];
		unsigned count;

		for (uint64_t *frame; more && (frame = virtq_frame(vq)); more--) {
			int error;

			frame[0] = added + 1;
			frame[1] = 0;
			error = virtq_add_framed(vq, NULL, 0, 0, (void *)(uintptr_t)frame[0]);
			if (error == -ENOSPC && !(features & FEATURE(F_INDIRECT_DESC)))
				break; /* a request takes two */
			assert_int_equal(error, 0);
			added++;
		}
		if (draw() % 2 || round >= 1000) {
			virtq_kick(vq);
			loop_turn(true, clock_ns() + 1000000);
		}
		count = virtq_harvest_framed(vq, taken, 1 + draw() % ARRAY_SIZE(taken));
		for (unsigned i = 0; i < count; i++) {
			const uint64_t *frame = (const void *)taken[i].frame;

			assert_int_equal((uintptr_t)taken[i].token, ++done);
			assert_int_equal(frame[0], done);
			assert_int_equal(frame[1], done);
			assert_int_equal(taken[i].missing, 0);
		}
		assert_true(round < 10000 && !vq->broken);
	}
	assert_true(added > 1000);
	pull_out(dev);
}

static void staged_while_others_come_back(void **state)
{
	static const uint64_t layouts[] = {0, FEATURE(F_INDIRECT_DESC), FEATURE(F_EVENT_IDX) | FEATURE(F_INDIRECT_DESC)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
		run_staged(layouts[i], 8);
		run_staged(layouts[i] | FEATURE(F_RING_PACKED), 7);
		run_staged(layouts[i] | FEATURE(F_RING_PACKED), 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_feature),
		cmocka_unit_test(index_wraparound),
		cmocka_unit_test(large_queues),
		cmocka_unit_test(packed_sizes_that_are_no_power_of_two),
		cmocka_unit_test(added_again_where_they_were),
		cmocka_unit_test(staged_while_others_come_back),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
