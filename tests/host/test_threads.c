/*
 * The ring engines against a device on another thread (threaded.h), as a VMM's is: every buffer back, once, with the right answer, and no
 * wake-up lost, in both layouts, with EVENT_IDX and without.
 *
 * In the thread sanitizer's build (make tsan) this finds each access of virtio/ to memory shared with the device that no barrier or
 * index orders against the device's own, whatever this machine's CPU would have made of it. What it cannot find:
 *  - a full barrier missing between a store and a later load (kick, interrupt re-arming). No access lacks an order then, a wake-up
 *    gets lost: the test would stop and end by the 20 s that an idle CPU of arch/host waits, if this CPU reorders the two at the right
 *    moment. The models of virtio/model/ cover that part.
 *  - one missing between two values of the driver's that the device reads each by itself (a packed ring's event: where, then whether).
 *  - a barrier missing where only an interrupt told of the buffer: the interrupt itself orders (arch/host takes a lock for it). Most
 *    buffers here are found without one.
 *  - races that this run did not come across: hence many buffers.
 * That missing barriers are found is tried out first: the program runs itself with each of them disabled, and wants a report.
 *
 * Requests are of three kinds, since the engines have loops of their own for each: of one or two buffers, one by one and in bursts; bursts
 * that are used in turn, added anew or again; framed ones. RING_BUFFERS=n is how many each variant moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/event.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_echo.h"
#include "threaded.h"

#define REQUESTS 256u
#define BUFFERS 100000u

struct request {
	struct threaded_request *wire;
	uint64_t expected;
	uint16_t readable, writable;
	bool in_flight;
};

static struct request requests[REQUESTS];
static struct request *idle[REQUESTS];
static unsigned idle_count;
static uint64_t done_count, again_count; /* again: by virtq_add_again() */

static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void used(struct virtq *vq, void *token, uint32_t length)
{
	struct request *request = token;

	(void)vq;
	if (!request->in_flight || length != 8u * request->writable)
		fail_msg("buffer %llu: in flight %d, %u bytes written", (unsigned long long)done_count, request->in_flight,
		         length);
	if (request->writable && request->wire->answer != request->expected)
		fail_msg("buffer %llu: a wrong answer", (unsigned long long)done_count);
	request->in_flight = false;
	idle[idle_count++] = request;
	done_count++;
}

static void framed_used(struct virtq *vq, const struct virtq_used_request *done)
{
	const struct threaded_request *frame = (const void *)done->frame;
	struct request *request = done->token;

	if (frame->answer != request->expected || done->missing)
		fail_msg("framed request %llu: a wrong answer in its tail, or %u bytes too few", (unsigned long long)done_count,
		         done->missing);
	used(vq, request, 8u * request->writable);
}

static void prepare(struct request *request, uint64_t random, bool readable, bool writable)
{
	request->readable = readable;
	request->writable = writable;
	request->wire->number = random;
	request->wire->answer = 0;
	request->expected = readable ? threaded_answer(random) : THREADED_UNASKED;
}

/* Add up to `most`. */
static void add_some(struct virtq *vq, uint64_t most)
{
	while (most-- && idle_count) {
		struct request *request = idle[idle_count - 1];
		uint64_t random = next_random();
		bool readable = random % 8 != 0;
		struct virtq_buf bufs[2];
		unsigned count = 0;

		prepare(request, random, readable, !readable || random % 3 != 0);
		if (request->readable)
			bufs[count++] = (struct virtq_buf){&request->wire->number, 8};
		if (request->writable)
			bufs[count++] = (struct virtq_buf){&request->wire->answer, 8};
		if (virtq_add(vq, bufs, request->readable, request->writable, request))
			break; /* no room: some come back first */
		request->in_flight = true;
		idle_count--;
		virtq_kick_later(vq);
	}
}

/* Of a head with a number, one buffer with another one or for the answer, and a tail for the answer. */
static void add_framed(struct virtq *vq, uint64_t most)
{
	for (unsigned room = virtq_frame_room(vq); most && room && idle_count; most--, room--) {
		struct request *request = idle[--idle_count];
		struct threaded_request *frame = virtq_next_frame(vq);
		bool writable = next_random() % 2;

		prepare(request, next_random(), !writable, writable);
		frame->number = next_random();
		frame->answer = 0;
		request->expected = threaded_answer(frame->number + (writable ? 0 : request->wire->number));
		request->in_flight = true;
		assert_int_equal(virtq_add_frame_and_one(vq,
		                                         &(struct virtq_buf){writable ? &request->wire->answer
		                                                                      : &request->wire->number,
		                                                             8},
		                                         writable, request),
		                 0);
		virtq_kick_later(vq);
	}
}

/* The same, of one buffer each, in one call: those first that came back first. In a ring of REQUESTS used in turn each finds the place that it
 * had a lap before. */
static void add_burst_of(struct virtq *vq, uint64_t most, bool writable)
{
	struct virtq_buf bufs[ECHO_BURST_MAX] = {};
	void *tokens[ECHO_BURST_MAX] = {};
	unsigned count = 0, added;

	for (; count < MIN(most, MIN(idle_count, ECHO_BURST_MAX)); count++) {
		struct request *request = idle[count];

		prepare(request, next_random(), !writable, writable);
		bufs[count] = (struct virtq_buf){writable ? &request->wire->answer : &request->wire->number, 8};
		tokens[count] = request;
		request->in_flight = true;
	}
	added = writable ? virtq_add_again(vq, tokens, count) : 0;
	again_count += added;
	added += virtq_add_burst(vq, tokens + added, bufs + added, count - added, writable);
	for (unsigned i = added; i < count; i++)
		((struct request *)tokens[i])->in_flight = false;
	idle_count -= added;
	memmove(idle, idle + added, idle_count * sizeof(idle[0]));
	virtq_kick_later(vq);
}

static void add_any(struct virtq *vq, uint64_t most)
{
	if (next_random() % 2)
		add_some(vq, most);
	else
		add_burst_of(vq, most, next_random() % 2);
}

static void add_writable(struct virtq *vq, uint64_t most) { add_burst_of(vq, most, true); }

static void add_readable(struct virtq *vq, uint64_t most) { add_burst_of(vq, most, false); }

static const struct kind {
	const char *name;
	void (*add)(struct virtq *vq, uint64_t most);
	struct echo_options options;
} kinds[] = {
	{"any", add_any, {.used = used, .max_buffers = 2, .burst = 16}},
	{"in-turn-writable", add_writable, {.used = used, .max_buffers = 1, .burst = 16, .in_turn = true}},
	{"in-turn-readable", add_readable, {.used = used, .max_buffers = 1, .burst = 16, .in_turn = true}},
	{"framed", add_framed, {.framed = framed_used, .max_buffers = 3, .burst = 16, .head = 8, .tail = 8}},
};
enum { ANY, IN_TURN_WRITABLE, IN_TURN_READABLE, FRAMED, KINDS };

static void run(unsigned kind, uint64_t features, uint16_t size, uint64_t total)
{
	struct threaded *device;
	struct virtq *vq;
	struct timespec start, end;
	uint64_t added, kicks, suppressed;
	struct threaded_counts counts;

	echo_options = kinds[kind].options;
	clock_gettime(CLOCK_MONOTONIC, &start);
	device = threaded_plug(features, size);
	assert_non_null(device);
	vq = threaded_vdev(device)->queues[0];
	done_count = again_count = 0;
	for (added = 0; added < total; added = done_count + REQUESTS - idle_count) {
		uint64_t most = 1 + next_random() % (next_random() % 4 ? 4 : 64);

		kinds[kind].add(vq, most < total - added ? most : total - added);
		loop_turn(idle_count == 0 || !virtq_room(vq), LOOP_FOREVER);
	}
	while (done_count < total)
		loop_turn(true, LOOP_FOREVER);
	assert_int_equal(done_count, total);
	assert_int_equal(idle_count, REQUESTS);
	assert_false(vq->broken);
	clock_gettime(CLOCK_MONOTONIC, &end);
	kicks = vq->kicks;
	suppressed = vq->suppressed;
	counts = threaded_unplug(device);
	assert_int_equal(counts.served, total);
	printf("# %s, %s%s%s: %llu buffers, %llu kicks, %llu not needed; %llu interrupts, %llu sleeps of the device; %.1f s\n",
	       kinds[kind].name, features & BIT64(VIRTIO_F_RING_PACKED) ? "packed" : "split",
	       features & BIT64(VIRTIO_F_EVENT_IDX) ? ", EVENT_IDX" : "",
	       features & BIT64(VIRTIO_F_INDIRECT_DESC) ? ", indirect" : "", (unsigned long long)total, (unsigned long long)kicks,
	       (unsigned long long)suppressed, (unsigned long long)counts.interrupts, (unsigned long long)counts.sleeps,
	       (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
}

static uint64_t buffers(void)
{
	const char *word = getenv("RING_BUFFERS");

	return word ? strtoull(word, NULL, 0) : BUFFERS;
}

static void split_with_flags(void **state)
{
	(void)state;
	run(ANY, BIT64(VIRTIO_F_INDIRECT_DESC), 256, buffers());
}

static void split_with_event_index(void **state)
{
	(void)state;
	run(ANY, BIT64(VIRTIO_F_EVENT_IDX), 64, buffers());
}

static void packed_with_flags(void **state)
{
	(void)state;
	run(ANY, BIT64(VIRTIO_F_RING_PACKED), 100, buffers());
}

static void packed_with_event_index(void **state)
{
	(void)state;
	run(ANY, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX), 256, buffers());
}

static void split_in_turn(void **state)
{
	(void)state;
	run(IN_TURN_WRITABLE, BIT64(VIRTIO_F_EVENT_IDX), 64, buffers());
	run(IN_TURN_READABLE, 0, 256, buffers());
	run(IN_TURN_WRITABLE, 0, REQUESTS, buffers());
	assert_true(again_count > buffers() / 2);
}

static void packed_in_turn(void **state)
{
	(void)state;
	run(IN_TURN_WRITABLE, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX), 100, buffers());
	run(IN_TURN_READABLE, BIT64(VIRTIO_F_RING_PACKED), 256, buffers());
	run(IN_TURN_WRITABLE, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_EVENT_IDX), REQUESTS, buffers());
	assert_true(again_count > buffers() / 2);
}

static void split_framed(void **state)
{
	(void)state;
	run(FRAMED, BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX), 64, buffers());
}

static void packed_framed(void **state)
{
	(void)state;
	run(FRAMED, BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX), 100, buffers());
}

/* ---- what the sanitizer would see ---- */

#ifdef HOST_TSAN
#define REPORTED 66 /* ThreadSanitizer's exit status */

static char *program;

static int run_without(const char *what, const char *kind, const char *layout)
{
	pid_t child = fork();
	int status;

	if (!child) {
		setenv("TSAN_OPTIONS", "halt_on_error=1", 1);
		if (freopen("/dev/null", "w", stderr))
			execl(program, program, what, kind, layout, (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The sanitizer sees a race when the threads meet in it, which on a busy machine they may not do in one run. */
static bool seen_without(const char *what, const char *kind, const char *layout)
{
	for (unsigned i = 0; i < 10; i++) {
		int status = run_without(what, kind, layout);

		if (status)
			return status == REPORTED;
	}
	return false;
}

static void missing_barriers_are_seen(void **state)
{
	(void)state;
	for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
		const char *layouts[] = {"split", "packed"};

		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(run_without("nothing", kind->name, layouts[i]), 0);
			/* Nothing is read of a buffer that was only read: no need for the barrier there. */
			if (kind != &kinds[IN_TURN_READABLE])
				assert_true(seen_without("rmb", kind->name, layouts[i]));
			assert_true(seen_without("wmb", kind->name, layouts[i]));
		}
	}
}

static int run_child(char **argv)
{
	host_tsan_no_rmb = strcmp(argv[1], "rmb") == 0;
	host_tsan_no_wmb = strcmp(argv[1], "wmb") == 0;
	for (unsigned kind = 0; kind < KINDS; kind++)
		if (!strcmp(argv[2], kinds[kind].name))
			run(kind,
			    (strcmp(argv[3], "packed") ? 0 : BIT64(VIRTIO_F_RING_PACKED)) |
			            (kind == FRAMED ? BIT64(VIRTIO_F_INDIRECT_DESC) : 0),
			    64, 20000);
	return 0;
}
#endif

static void start(void)
{
	struct threaded_request *wires;

	host_boot(4u << 20);
	host_threads = true;
	host_console_capture(true);
	wires = page_alloc(sizeof(*wires) * REQUESTS, PAGE_SIZE);
	for (unsigned i = 0; i < REQUESTS; i++) {
		requests[i].wire = &wires[i];
		idle[idle_count++] = &requests[i];
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#ifdef HOST_TSAN
		cmocka_unit_test(missing_barriers_are_seen),
#endif
		cmocka_unit_test(split_with_flags),
		cmocka_unit_test(split_with_event_index),
		cmocka_unit_test(packed_with_flags),
		cmocka_unit_test(packed_with_event_index),
		cmocka_unit_test(split_in_turn),
		cmocka_unit_test(packed_in_turn),
		cmocka_unit_test(split_framed),
		cmocka_unit_test(packed_framed),
	};

	(void)argc, (void)argv;
	start();
#ifdef HOST_TSAN
	program = argv[0];
	if (argc == 4)
		return run_child(argv);
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
