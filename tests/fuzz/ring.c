/*
 * A virtqueue between a driver and a device that both do what the input says, step by step.
 *
 * The driver's steps are those of virtq.h. The device's are honest ones, made by the software device's ring engines with all their checks
 * of the driver, and lies: used entries that are made up, and bytes written anywhere into the queue's memory. From the first lie
 * on the device's own checks mean nothing, and its honest steps go on from whatever it finds there.
 *
 * What holds whatever the device does: a token comes back once and only while in flight, with no more bytes than were writable, and in
 * order with IN_ORDER; a broken queue stays so, with one log line; the room and the errors of virtq_add() are as promised; mappings are
 * undone. While the device is honest, also: buffers reach it as they were added and come back as it used them, and neither side
 * misses a notification. After a reset an honest round works.
 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/page.h>
#include <host.h>

#include "swdev_types.h"

#define DATA_BYTES (REQUESTS * STRIDE + 65536u)
#define STEPS_MAX 512u
#define ROUND 20u      /* requests in a round of honest work */
#define ROUNDS_MAX 64u /* of honest work, in all steps together */

/* The input's first byte: features by these bits, then options. */
static const uint8_t feature_bits[] = {VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA,
                                       VIRTIO_F_ORDER_PLATFORM};
enum { OPTION_MAPPED = 32, OPTION_LEGACY = 64, OPTION_SILENT = 128 };

static const uint16_t split_sizes[] = {1, 2, 4, 8, 16, 64, 256, 32}, packed_sizes[] = {1, 2, 3, 5, 8, 33, 256, 100};
#define SIZE_LARGEST_BITS 0xc7 /* of the input's second byte: the largest size that there is */
#define SIZE_LARGEST 32768u

struct ring r;

/* ---- after each step ---- */

/* A queue that broke says so once; an honest device breaks no queue, and its driver no rule. */
static void check_state(void)
{
	uint32_t length;

	if (r.vq->broken && !r.broken) {
		r.breaks++;
		fuzz_check(r.lied, "an honest device is complained of");
		fuzz_check(r.vdev.broken, "the queue is broken, and the device is not told");
	}
	fuzz_check(r.vq->broken || !r.broken, "a broken queue works again without a reset");
	r.broken = r.vq->broken;
	if (r.broken) {
		fuzz_check(r.vq->closed, "a broken queue takes requests");
		fuzz_check(!virtq_harvest(r.vq, &length), "a broken queue gives a request back");
		fuzz_check(!virtq_kick(r.vq) && !virtq_irq_enable(r.vq), "a broken queue talks to its device");
	}
	fuzz_check(r.lied || !r.dev->violations, "%s", r.dev->first_violation);
	fuzz_check(virtq_room(r.vq) == r.size - r.descriptors, "room for %u descriptors, %u of %u are in use", virtq_room(r.vq),
	           r.descriptors, r.size);
	fuzz_check(fuzz_log_lines() == r.breaks, "%u log lines, the queue broke %u times", fuzz_log_lines(), r.breaks);
}

/* ---- requests ---- */

static struct request *unused_request(void)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		if (!r.requests[i].in_flight)
			return &r.requests[i];
	return NULL;
}

static int expected_error(const struct request *request, uint64_t bytes)
{
	bool indirect = request->count > 1 && virtio_has(&r.vdev, VIRTIO_F_INDIRECT_DESC) && r.max_buffers > 1;

	if (r.vq->broken)
		return -EIO;
	if (!request->count || request->count > r.max_buffers || bytes > UINT32_MAX)
		return -EINVAL;
	return (indirect ? 1u : request->count) > r.size - r.descriptors ? -ENOSPC : 0;
}

static uint64_t prepare(struct request *request, uint16_t nreadable, uint16_t nwritable, bool huge)
{
	uint64_t bytes = 0;

	request->nreadable = nreadable;
	request->count = (uint16_t)(nreadable + nwritable);
	request->writable = 0;
	for (unsigned i = 0; i < request->count; i++) {
		struct virtq_buf *buf = &request->bufs[i];
		unsigned at = (unsigned)(request - r.requests) * STRIDE;

		buf->addr = r.data + at + (i ? fuzz_below(&r.in, 256) : 0);
		buf->len = huge ? UINT32_MAX - fuzz_u8(&r.in) : 1 + fuzz_below(&r.in, 32768);
		bytes += buf->len;
		request->writable += i >= nreadable ? buf->len : 0;
	}
	return bytes;
}

static void added(struct request *request, unsigned descriptors)
{
	request->in_flight = true;
	request->sequence = r.sequence++;
	request->descriptors = (uint16_t)descriptors;
	r.descriptors += descriptors;
	r.in_flight++;
}

static void add(struct request *request, uint16_t nreadable, uint16_t nwritable, bool huge)
{
	unsigned room = virtq_room(r.vq), refused = r.maps_refused;
	uint64_t bytes = prepare(request, nreadable, nwritable, huge);
	int expected = expected_error(request, bytes), error;

	if (!expected && r.mapped && refused && refused <= request->count)
		expected = -ENOSPC;
	if (huge && expected != -EINVAL && expected != -EIO) /* a buffer that is not RAM is not for the device */
		return;
	error = virtq_add(r.vq, request->bufs, nreadable, nwritable, request);
	fuzz_check(error == expected, "virtq_add() gives %d for %u + %u buffers, %d is right", error, nreadable, nwritable,
	           expected);
	if (!error)
		added(request, (unsigned)room - virtq_room(r.vq));
}

static void add_burst(unsigned want, bool writable)
{
	struct virtq_buf bufs[BURST];
	void *tokens[BURST];
	unsigned count = 0, room = r.broken ? 0 : r.size - r.descriptors, done;
	bool refused = r.mapped && r.maps_refused;

	for (unsigned i = 0; i < REQUESTS && count < want; i++) {
		if (r.requests[i].in_flight)
			continue;
		(void)prepare(&r.requests[i], !writable, writable, false);
		bufs[count] = r.requests[i].bufs[0];
		tokens[count++] = &r.requests[i];
	}
	done = virtq_add_burst(r.vq, tokens, bufs, count, writable);
	fuzz_check(done == MIN(count, room) || (refused && done < MIN(count, room)),
	           "a burst of %u, of which %u are taken with room for %u", count, done, room);
	for (unsigned i = 0; i < done; i++)
		added(tokens[i], 1);
}

/* A token came back. */
static struct request *check_token(void *token)
{
	struct request *request = token;
	ptrdiff_t i = request - r.requests;

	fuzz_check(i >= 0 && i < (ptrdiff_t)REQUESTS && request == &r.requests[i], "%p is no token of ours", token);
	fuzz_check(request->in_flight, "request %td came back twice", i);
	request->in_flight = false;
	r.in_flight--;
	r.descriptors -= request->descriptors;
	return request;
}

static void harvested(void *token, uint32_t written)
{
	const struct request *request = check_token(token);

	r.awaited = 0;
	fuzz_check(written <= request->writable, "%u bytes written, %u were writable", written, request->writable);
	for (unsigned i = 0; virtio_has(&r.vdev, VIRTIO_F_IN_ORDER) && i < REQUESTS; i++)
		fuzz_check(!r.requests[i].in_flight || r.requests[i].sequence > request->sequence, "out of order");
	if (r.lied)
		return;
	fuzz_check(r.used_count && r.used[0].request == (unsigned)(request - r.requests), "not the one that the device used");
	fuzz_check(r.used[0].written == written, "%u bytes written, says the driver's side, %u the device", written,
	           r.used[0].written);
	memmove(r.used, r.used + 1, --r.used_count * sizeof(r.used[0]));
}

static bool harvest(void)
{
	uint32_t written = 0;
	void *token = virtq_harvest(r.vq, &written);

	if (token)
		harvested(token, written);
	else
		fuzz_check(r.lied || !r.used_count, "%u used buffers are not seen", r.used_count);
	return token;
}

static bool harvest_burst(unsigned want)
{
	uint32_t lens[BURST];
	void *tokens[BURST];
	unsigned count = virtq_harvest_burst(r.vq, tokens, lens, want);

	fuzz_check(count <= want && (count || r.lied || !r.used_count), "%u of %u used buffers are seen", count, r.used_count);
	for (unsigned i = 0; i < count; i++)
		harvested(tokens[i], lens[i]);
	return count;
}

static void ask_for_interrupt(uint16_t count)
{
	bool again;

	count = (uint16_t)MIN(count, MAX(r.in_flight, 1u));
	again = virtq_irq_enable_after(r.vq, count);
	fuzz_check(r.lied || again || r.used_count < count, "%u buffers are used, and nobody is told", r.used_count);
	r.awaited = again || r.lied ? 0 : count - r.used_count;
}

static void harvest_all(struct virtq *vq)
{
	(void)vq;
	while (r.sequence & 1 ? harvest() : harvest_burst(1 + r.sequence % BURST))
		;
}

/* ---- life ---- */

static void recover(struct event *event) { (void)event; }

static void create(void)
{
	int error;

	r.dev->status = ST_ACKNOWLEDGE | ST_DRIVER | ST_FEATURES_OK;
	r.dev->violations = 0;
	r.vq = virtq_create(&r.vdev, 0, r.size, &r.spec);
	fuzz_check(r.vq, "no queue");
	error = virtq_enable(r.vq);
	fuzz_check(!error && r.queue->enabled, "the queue is not enabled: %s", r.dev->first_violation);
	r.dev->status |= ST_DRIVER_OK;
	r.lied = r.broken = r.vdev.broken = false;
	check_state();
}

/* Split: as if the indices had come that far. */
static void wind_on(uint16_t start)
{
	struct virtq_ring *q = virtq_ring_of(r.vq);

	q->split.avail_idx = q->split.last_used = q->split.used_idx = start;
	q->split.avail->idx = q->split.used->idx = start;
	r.queue->taken = r.queue->used = r.queue->avail_seen = start;
	r.queue->signalled = start;
	ring_engine()->ask(r.queue, SWDEV_WANT_ALL);
}

static void take_back(void)
{
	void *token;

	while ((token = virtq_detach_unused(r.vq)))
		(void)check_token(token);
	fuzz_check(!r.in_flight, "%u requests were not given back", r.in_flight);
	fuzz_check(!r.live_maps, "%u buffers are still mapped", r.live_maps);
	r.used_count = r.awaited = 0;
}

static void reset_device(void)
{
	ring_forget_taken();
	swdev_queue_disable(r.queue);
	r.vq->broken = r.vq->closed = true;
	take_back();
	virtq_destroy(r.vq);
	create();
}

static void reset_queue(void)
{
	int error = virtq_reset(r.vq);

	fuzz_check(!error, "the queue is not reset: %d", error);
	harvest_all(r.vq); /* what was used counts */
	if (r.vq->broken) {
		check_state();
		reset_device();
		return;
	}
	take_back();
	r.dev->violations = 0;
	error = virtq_restart(r.vq);
	fuzz_check(!error && r.queue->enabled, "the queue is not enabled again: %s", r.dev->first_violation);
	r.lied = r.broken = r.vdev.broken = false;
	check_state();
}

/* As much as fits, at most ROUND of them, there and back. */
static void honest_round(void)
{
	struct request *request;

	harvest_all(r.vq);
	while (r.in_flight < ROUND && (request = unused_request()) && virtq_room(r.vq) >= r.max_buffers) {
		unsigned count = 1 + r.in_flight % r.max_buffers;

		add(request, (uint16_t)(count / 2), (uint16_t)(count - count / 2), false);
		if (!request->in_flight)
			break; /* the DMA seam */
	}
	virtq_kick(r.vq);
	fuzz_check(r.queue->notified || !ring_engine()->kick_is_due(r.queue), "a notification is missing");
	while (!virtq_irq_enable(r.vq) && r.in_flight) {
		r.awaited = 1;
		ring_look((enum swdev_wish)(r.sequence % 3));
		fuzz_check(r.taken_count, "%u in flight, and none of them available", r.in_flight);
		ring_use(r.taken_count - 1, 77);
		harvest_all(r.vq);
	}
	harvest_all(r.vq);
	fuzz_check(!r.in_flight, "%u requests did not come back", r.in_flight);
	check_state();
}

/* ---- steps ---- */

static void step_driver(unsigned step, bool burst)
{
	struct request *request = unused_request();
	uint16_t nreadable, nwritable;

	switch (step) {
	case 0:
	case 1:
		if (burst) {
			add_burst(1 + fuzz_below(&r.in, BURST), step);
			break;
		}
		nreadable = (uint16_t)fuzz_below(&r.in, BUFFERS + 1);
		nwritable = (uint16_t)fuzz_below(&r.in, BUFFERS + 1u - nreadable);
		if (request)
			add(request, nreadable, nwritable, step);
		break;
	case 2:
		virtq_kick(r.vq);
		fuzz_check(r.lied || r.queue->notified || !ring_engine()->kick_is_due(r.queue), "a notification is missing");
		break;
	case 3:
		for (unsigned n = 1 + fuzz_below(&r.in, 8); n && (burst ? harvest_burst(n) : harvest()); n--)
			;
		break;
	case 4:
		ask_for_interrupt((uint16_t)(1 + fuzz_below(&r.in, 8)));
		break;
	case 5:
		virtq_irq_disable(r.vq);
		r.awaited = 0;
		break;
	case 6:
		virtq_kick_later(r.vq);
		event_mark(&r.vq->event);
		loop_turn(false, 0);
		r.awaited = 0;
		break;
	case 7:
		if (r.broken || fuzz_u8(&r.in) & 1)
			reset_device();
		else
			reset_queue();
		break;
	}
}

static void step_device(unsigned step)
{
	switch (step) {
	case 0:
	case 1:
		ring_look(fuzz_below(&r.in, 3));
		break;
	case 2:
	case 3: {
		unsigned which = fuzz_u8(&r.in);
		uint32_t length = fuzz_u16(&r.in);

		if (r.taken_count && r.used_count + which % r.taken_count < REQUESTS)
			ring_use(which % r.taken_count, length);
		break;
	}
	case 4:
		ring_invent_used();
		break;
	case 5:
		ring_scribble();
		break;
	case 6:
		r.maps_refused = fuzz_u8(&r.in);
		break;
	case 7:
		for (unsigned n = 1 + fuzz_below(&r.in, ROUNDS_MAX); n && !r.lied && r.rounds < ROUNDS_MAX; n--, r.rounds++)
			honest_round();
		break;
	}
}

static void set_up(bool packed)
{
	uint8_t options = fuzz_u8(&r.in), sizes = fuzz_u8(&r.in);
	uint64_t features = packed ? BIT64(VIRTIO_F_RING_PACKED) : 0;

	r.packed = packed;
	r.mapped = options & OPTION_MAPPED;
	r.size = (sizes & SIZE_LARGEST_BITS) == SIZE_LARGEST_BITS ? SIZE_LARGEST
	                                                          : (packed ? packed_sizes : split_sizes)[sizes & 7];
	r.spec = (struct virtq_spec){.name = "fuzz", .max_buffers = (uint16_t)(1 + (sizes >> 3) % BUFFERS)};
	r.spec.callback = options & OPTION_SILENT ? NULL : harvest_all;
	r.max_buffers = MIN(r.spec.max_buffers, r.size);
	r.start = fuzz_u16(&r.in);
	for (unsigned i = 0; i < ARRAY_SIZE(feature_bits); i++)
		features |= options & 1u << i ? BIT64(feature_bits[i]) : 0;
	features |= r.mapped ? BIT64(VIRTIO_F_ACCESS_PLATFORM) : 0;
	features |= BIT64(VIRTIO_F_RING_RESET) | (options & OPTION_LEGACY ? 0 : BIT64(VIRTIO_F_VERSION_1));

	fuzz_machine(r.size > 256 ? 32u << 20 : 1u << 20);
	r.data = page_alloc(DATA_BYTES, PAGE_SIZE);
	r.dev = swdev_new(&swdev_echo);
	r.dev->quiet = true;
	r.dev->accepted = features;
	r.dev->features_ok_seen = true;
	r.dev->translate = r.mapped ? ring_translate : NULL;
	r.queue = &r.dev->queues[0];
	r.queue->max = r.size;
	r.vdev = (struct virtio_device){.ops = &ring_ops, .name = "fuzz0", .features = features, .driver_ok = true};
	r.vdev.legacy = options & OPTION_LEGACY;
	r.vdev.dma.ops = r.mapped ? &ring_dma : NULL;
	event_init(&r.vdev.recover_event, recover);
	create();
	if (!packed)
		wind_on(r.start);
}

void ring_run(const uint8_t *data, size_t size, bool packed)
{
	memset(&r, 0, sizeof(r));
	r.in = (struct fuzz_input){data, size};
	set_up(packed);
	for (unsigned i = 0; i < STEPS_MAX && r.in.left; i++) {
		uint8_t step = fuzz_u8(&r.in);

		if (step & 8)
			step_device(step & 7);
		else
			step_driver(step & 7, step & 16);
		check_state();
	}
	r.in.left = 0;
	r.maps_refused = 0;
	reset_device();
	for (unsigned i = 0; i < 2; i++)
		honest_round();
	ring_forget_taken();
	swdev_queue_disable(r.queue);
	take_back();
	virtq_destroy(r.vq);
	r.dev->type->free(r.dev);
	free(r.dev->queues);
	free(r.dev);
	page_free(r.data, DATA_BYTES);
	event_cancel(&r.vdev.recover_event);
	fuzz_machine_end(false, UINT32_MAX);
}

/* ---- seeds ---- */

static void seed(const char *name, uint8_t options, uint8_t sizes, uint16_t start, const uint8_t *steps, size_t count)
{
	fuzz_put8(options, sizes);
	fuzz_put(start, 2);
	fuzz_put_all(steps, count);
	fuzz_seed(name);
}

void ring_seeds(bool packed)
{
	/* Two requests, kicked, looked at, used last first, harvested; then interrupts on, and a turn of the loop. */
	static const uint8_t honest[] = {0, 2, 1, 9, 0, 9,  9, 0, 9, 9,  0, 0, 0, 1, 9, 0,
	                                 2, 8, 0, 4, 0, 10, 1, 5, 0, 10, 0, 5, 0, 3, 7, 6};
	static const uint8_t rounds[] = {15, 40, 7, 1, 15, 3, 7, 0, 15, 2};
	static const uint8_t invented[] = {0, 0, 1, 9,  0, 0, 0, 1, 9, 0, 2, 12, 0,  1, 8,
	                                   0, 3, 0, 12, 0, 1, 8, 0, 3, 0, 7, 1,  15, 1};
	static const uint8_t jump[] = {0, 0, 1, 9, 0, 2, 12, 4, 0, 8, 0, 255, 255, 3, 1, 7, 0, 15, 1};
	static const uint8_t long_used[] = {0, 0, 1, 9, 0, 2, 12, 2, 0, 255, 255, 255, 255, 3, 1};
	static const uint8_t long_written[] = {0, 0, 1, 9, 0, 2, 12, 10, 0, 255, 255, 255, 255, 3, 1};
	static const uint8_t events[] = {13, 0xf0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 1, 9, 0, 2, 4, 0, 6};
	static const uint8_t unmappable[] = {14, 2, 0, 2, 1, 9, 0, 9, 9, 0,  9, 9, 0, 0, 1,
	                                     1,  9, 0, 9, 9, 0, 2, 8, 0, 10, 0, 9, 0, 3, 2};
	static const uint8_t huge[] = {1, 1, 1, 9, 9, 9, 1, 0, 1, 9, 1, 8, 0, 0};

	for (unsigned options = 0; options < 32; options++) {
		static char name[] = "honest-00";

		name[7] = (char)('0' + options / 10);
		name[8] = (char)('0' + options % 10);
		seed(name, (uint8_t)options, 0x1b, 0xfffe, honest, sizeof(honest));
	}
	for (unsigned size = 0; size < 8; size++) {
		static char name[] = "rounds-0";

		name[7] = (char)('0' + size);
		seed(name, (uint8_t)(size * 5 % 32), (uint8_t)(0x20 | size), (uint16_t)(packed ? 0 : 0xfff0), rounds,
		     sizeof(rounds));
	}
	seed("rounds-largest", 3, 0xff, 0, rounds, sizeof(rounds));
	seed("invented", 0, 3, 0, invented, sizeof(invented));
	seed("invented-in-order", 4, 3, 0, invented, sizeof(invented));
	seed("jump", 0, 3, 0, jump, sizeof(jump));
	seed("jump-in-order", 4, 3, 0, jump, sizeof(jump));
	seed("long", 0, 3, 0, long_used, sizeof(long_used));
	seed("long-written", 0, 3, 0, long_written, sizeof(long_written));
	seed("long-legacy", OPTION_LEGACY, 3, 0, long_used, sizeof(long_used));
	seed("events", 2, 3, 0, events, sizeof(events));
	seed("mapped", OPTION_MAPPED | 1, 0x3b, 0, honest, sizeof(honest));
	seed("unmappable", OPTION_MAPPED, 0x3b, 0, unmappable, sizeof(unmappable));
	seed("huge", 1, 0x3b, 0, huge, sizeof(huge));
}
