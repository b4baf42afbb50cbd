/*
 * CPUs as threads: marks, calls and what else crosses between event loops, and a queue of another CPU than the one that resets its device.
 *
 * In the thread sanitizer's build each plain counter here is the test: whoever reads it must have been told of it by a mark.
 * That no wake-up is lost shows as an end of the test; the order of flag and list that it stands on is lib/model/post.pml's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/irq.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev_echo.h"
#include "threaded.h"

#define CPUS 4u
#define BOUNCES 20000u
#define MARKS 20000u
#define PATIENCE_NS UINT64_C(60000000000)

static int boot(void **state)
{
	(void)state;
	host_boot(16u << 20);
	host_console_capture(true);
	host_cpus_start(CPUS);
	return 0;
}

static int halt(void **state)
{
	(void)state;
	host_cpus_stop();
	host_console_capture(false);
	return 0;
}

/* ---- calls ---- */

static void note_index(void *arg) { *(unsigned *)arg = cpu_index(); }

static void calls_run_where_they_are_sent(void **state)
{
	(void)state;
	assert_int_equal(cpu_count(), CPUS);
	for (unsigned i = 0; i < CPUS; i++) {
		unsigned ran_on = CPUS;

		cpu_run(i, note_index, &ran_on);
		assert_int_equal(ran_on, i);
	}
}

/* From CPU to CPU, each waiting for the next: the loops go on meanwhile, so that two may call each other. */
static void call_next(void *arg)
{
	unsigned *depth = arg;

	if (++*depth < 3 * CPUS)
		cpu_run((cpu_index() + 1) % CPUS, call_next, depth);
}

static void calls_nest_round_the_cpus(void **state)
{
	unsigned depth = 0;

	(void)state;
	cpu_run(1, call_next, &depth);
	assert_int_equal(depth, 3 * CPUS);
}

/* A call that frees itself. */
struct free_call {
	struct cpu_call call;
	unsigned *left; /* atomic */
};

static void free_call(void *arg)
{
	struct free_call *call = arg;
	unsigned *left = call->left;

	free(call);
	__atomic_fetch_sub(left, 1, __ATOMIC_RELEASE);
}

static void a_call_is_free_when_it_runs(void **state)
{
	unsigned left = 1000;

	(void)state;
	for (unsigned i = left; i; i--) {
		struct free_call *call = calloc(1, sizeof(*call));

		call->left = &left;
		cpu_call(&call->call, i % CPUS, free_call, call, NULL);
	}
	while (__atomic_load_n(&left, __ATOMIC_ACQUIRE))
		loop_turn(false, LOOP_FOREVER);
}

/* ---- marks ---- */

static struct event ring[CPUS];
static struct event ring_end;
static unsigned bounces;
static bool ended;

static void end(struct event *event)
{
	(void)event;
	ended = true;
}

static void bounce(struct event *event)
{
	unsigned here = cpu_index();

	if (event != &ring[here])
		abort();
	event_mark(++bounces < BOUNCES ? &ring[(here + 1) % CPUS] : &ring_end);
}

static void a_mark_goes_round(void **state)
{
	(void)state;
	ended = false;
	bounces = 0;
	event_init(&ring_end, end);
	for (unsigned i = 0; i < CPUS; i++)
		event_init_on(&ring[i], i, bounce);
	event_mark(&ring[1]);
	assert_true(loop_wait(&ended, PATIENCE_NS));
	assert_int_equal(bounces, BOUNCES);
}

/* Many mark one event, again and again; after the last mark there is a run that sees the last number of each. */
static struct event sink;
static uint64_t sent[CPUS], received[CPUS]; /* sent: atomic */
static unsigned runs;

static void receive(struct event *event)
{
	bool all = true;

	(void)event;
	runs++;
	for (unsigned i = 1; i < CPUS; i++) {
		received[i] = __atomic_load_n(&sent[i], __ATOMIC_RELAXED);
		all = all && received[i] == MARKS;
	}
	ended = all;
}

static void send_marks(void *arg)
{
	for (uint64_t i = 1; i <= MARKS; i++) {
		__atomic_store_n((uint64_t *)arg, i, __ATOMIC_RELAXED);
		event_mark(&sink);
	}
}

static void no_mark_is_lost(void **state)
{
	static struct cpu_call calls[CPUS];

	(void)state;
	ended = false;
	runs = 0;
	memset(sent, 0, sizeof(sent));
	event_init(&sink, receive);
	for (unsigned i = 1; i < CPUS; i++)
		cpu_call(&calls[i], i, send_marks, &sent[i], NULL);
	assert_true(loop_wait(&ended, PATIENCE_NS));
	assert_in_range(runs, 1, 3 * MARKS);
	/* Nobody marks any more: it may go. */
	for (unsigned i = 1; i < CPUS; i++)
		cpu_run(i, note_index, &(unsigned){0});
	event_cancel(&sink);
}

static void must_not_run(struct event *event)
{
	(void)event;
	abort();
}

static void cancel_and_free(void *event)
{
	event_cancel(event);
	free(event);
}

static void mark_then_cancel(void *arg)
{
	struct event *event = calloc(1, sizeof(*event));

	event_init_on(event, (cpu_index() + 1) % CPUS, must_not_run);
	/* The callee takes this call and the mark behind it in one turn or two. */
	(void)arg;
	cpu_run(event->cpu, cancel_and_free, event);
}

static void mark_self_posted(void *arg)
{
	struct event *event = arg;

	event_cancel(event); /* posted by CPU 0 before the call was, and not run yet, or run */
}

static void count_run(struct event *event)
{
	(void)event;
	runs++;
}

static void a_posted_event_can_be_cancelled(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct event *event = calloc(1, sizeof(*event));

		event_init_on(event, 1 + i % (CPUS - 1), count_run);
		event_mark(event);
		cpu_run(event->cpu, mark_self_posted, event);
		assert_false(event->marked || event->posted);
		free(event);
		cpu_run(i % CPUS, mark_then_cancel, NULL);
	}
}

static void deferring_another_cpus_event_marks_it(void **state)
{
	(void)state;
	bounces = BOUNCES;
	ended = false;
	event_init(&ring_end, end);
	event_init_on(&ring[2], 2, bounce);
	event_defer(&ring[2]);
	assert_true(loop_wait(&ended, PATIENCE_NS));
}

/* ---- timers ---- */

struct lap {
	struct timer timer;
	struct event over;
	uint64_t deadline_ns, ran_ns;
	unsigned ran_on;
};

static void lap_ran(struct timer *timer)
{
	struct lap *lap = container_of(timer, struct lap, timer);

	lap->ran_ns = clock_ns();
	lap->ran_on = cpu_index();
	event_mark(&lap->over);
}

static void start_lap(void *arg)
{
	struct lap *lap = arg;

	lap->deadline_ns = clock_ns() + 2000000;
	timer_start(&lap->timer, lap->deadline_ns, lap_ran);
}

static void each_cpu_has_timers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CPUS; i++) {
		struct lap lap = {.ran_on = CPUS};

		ended = false;
		event_init(&lap.over, end);
		cpu_run(i, start_lap, &lap);
		assert_true(loop_wait(&ended, PATIENCE_NS));
		assert_int_equal(lap.ran_on, i);
		assert_true(lap.ran_ns >= lap.deadline_ns);
	}
}

/* ---- what all share ---- */

static void everywhere(void (*run)(void *arg))
{
	static struct cpu_call calls[CPUS];
	static unsigned left;

	left = CPUS;
	for (unsigned i = 1; i < CPUS; i++)
		cpu_call(&calls[i], i, run, &left, NULL);
	run(&left);
	while (__atomic_load_n(&left, __ATOMIC_ACQUIRE))
		loop_turn(false, LOOP_FOREVER);
}

static void use_pages(void *left)
{
	for (unsigned i = 0; i < 500; i++) {
		size_t bytes = (1 + (i * 7 + cpu_index()) % 5) * PAGE_SIZE;
		unsigned char *pages = page_alloc(bytes, PAGE_SIZE);

		if (!pages || pages[0] || pages[bytes - 1])
			abort();
		memset(pages, (int)cpu_index() + 1, bytes);
		for (size_t at = 0; at < bytes; at += 64) {
			if (pages[at] != cpu_index() + 1)
				abort();
		}
		page_free(pages, bytes);
	}
	__atomic_fetch_sub((unsigned *)left, 1, __ATOMIC_RELEASE);
}

static void pages_are_for_all(void **state)
{
	uint64_t before = page_count_free();

	(void)state;
	everywhere(use_pages);
	assert_int_equal(page_count_free(), before);
}

static void write_lines(void *left)
{
	for (unsigned i = 0; i < 200; i++)
		record("{\"cpu\":%u,\"line\":%u}", cpu_index(), i);
	__atomic_fetch_sub((unsigned *)left, 1, __ATOMIC_RELEASE);
}

static void records_stay_whole(void **state)
{
	unsigned next[CPUS] = {0}, lines = 0;

	(void)state;
	host_console_capture(true);
	everywhere(write_lines);
	for (const char *line = host_console_text(); *line; line = strchr(line, '\n') + 1, lines++) {
		unsigned cpu = CPUS, number = 0;
		char close = 0;

		assert_int_equal(sscanf(line, "@vireo {\"cpu\":%u,\"line\":%u%c\n", &cpu, &number, &close), 3);
		assert_int_equal(close, '}');
		assert_in_range(cpu, 0, CPUS - 1);
		assert_int_equal(number, next[cpu]++);
	}
	assert_int_equal(lines, CPUS * 200);
}

/* ---- interrupts and queues ---- */

static unsigned interrupted_on;

static void interrupted(struct event *event)
{
	(void)event;
	interrupted_on = cpu_index();
	event_mark(&ring_end);
}

static void a_message_interrupts_the_events_cpu(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CPUS; i++) {
		struct irq_message message;
		struct event event;
		struct irq irq;

		ended = false;
		event_init(&ring_end, end);
		event_init_on(&event, i, interrupted);
		assert_int_equal(irq_attach_message(&irq, &event, &message), 0);
		assert_int_equal(irq.cpu, i);
		assert_true(host_irq_raise_message(message.address, message.data));
		assert_true(loop_wait(&ended, PATIENCE_NS));
		assert_int_equal(interrupted_on, i);
		irq_detach(&irq);
	}
}

/* A load on a queue of CPU 2, by that CPU, while CPU 0 resets the device again and again. */
#define LOAD 64u
#define LOAD_CPU 2u
static struct load {
	struct virtq *vq;
	struct event feed;
	struct threaded_request *wires;
	struct threaded_request *idle[LOAD];
	unsigned idle_count;
	uint64_t done, unused, number;
} load;

static void load_feed(struct event *event)
{
	(void)event;
	while (load.vq && load.idle_count) {
		struct threaded_request *wire = load.idle[load.idle_count - 1];
		const struct virtq_buf bufs[] = {{&wire->number, 8}, {&wire->answer, 8}};

		wire->number = ++load.number;
		wire->answer = 0;
		if (virtq_add(load.vq, bufs, 1, 1, wire))
			return;
		load.idle_count--;
		virtq_kick_later(load.vq);
	}
}

static void load_used(struct virtq *vq, void *token, uint32_t length)
{
	struct threaded_request *wire = token;

	if (cpu_index() != LOAD_CPU || virtq_cpu(vq) != LOAD_CPU || length != 8 || wire->answer != threaded_answer(wire->number))
		abort();
	load.idle[load.idle_count++] = wire;
	load.done++;
	event_mark(&load.feed);
}

static void load_unused(struct virtq *vq, void *token)
{
	if (cpu_index() != LOAD_CPU || virtq_cpu(vq) != LOAD_CPU)
		abort();
	load.idle[load.idle_count++] = token;
	load.unused++;
}

static void load_drained(struct virtq *vq)
{
	(void)vq;
	load.vq = NULL;
}

static void load_start(void *vq)
{
	load.vq = vq;
	event_mark(&load.feed);
}

static void load_stop(void *arg)
{
	(void)arg;
	load.vq = NULL;
	event_cancel(&load.feed);
}

static void load_done(void *done) { *(uint64_t *)done = load.done; }

static void a_reset_waits_for_the_queues_cpu(void **state)
{
	struct threaded *device;
	struct virtio_device *vdev;
	uint64_t done, goal = 0;

	(void)state;
	echo_options = (struct echo_options){.used = load_used,
	                                     .unused = load_unused,
	                                     .drained = load_drained,
	                                     .max_buffers = 2,
	                                     .cpu = LOAD_CPU};
	load = (struct load){.wires = page_alloc(sizeof(*load.wires) * LOAD, PAGE_SIZE), .idle_count = LOAD};
	for (unsigned i = 0; i < LOAD; i++)
		load.idle[i] = &load.wires[i];
	event_init_on(&load.feed, LOAD_CPU, load_feed);
	device = threaded_plug(BIT64(VIRTIO_F_EVENT_IDX), 64);
	assert_non_null(device);
	vdev = threaded_vdev(device);
	for (unsigned i = 0; i < 20; i++) {
		cpu_run(LOAD_CPU, load_start, vdev->queues[0]);
		goal += 500;
		for (done = 0; done < goal; loop_turn(false, LOOP_FOREVER))
			cpu_run(LOAD_CPU, load_done, &done);
		goal = done;
		assert_int_equal(vdev->info.reset(&vdev->info), 0);
		assert_int_equal(vdev->state, VIRTIO_RUNNING);
	}
	cpu_run(LOAD_CPU, load_stop, NULL);
	(void)threaded_unplug(device);
	assert_int_equal(load.idle_count, LOAD);
	assert_true(load.done >= 20 * 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_run_where_they_are_sent, boot, halt),
		cmocka_unit_test_setup_teardown(calls_nest_round_the_cpus, boot, halt),
		cmocka_unit_test_setup_teardown(a_call_is_free_when_it_runs, boot, halt),
		cmocka_unit_test_setup_teardown(a_mark_goes_round, boot, halt),
		cmocka_unit_test_setup_teardown(no_mark_is_lost, boot, halt),
		cmocka_unit_test_setup_teardown(a_posted_event_can_be_cancelled, boot, halt),
		cmocka_unit_test_setup_teardown(deferring_another_cpus_event_marks_it, boot, halt),
		cmocka_unit_test_setup_teardown(each_cpu_has_timers, boot, halt),
		cmocka_unit_test_setup_teardown(pages_are_for_all, boot, halt),
		cmocka_unit_test_setup_teardown(records_stay_whole, boot, halt),
		cmocka_unit_test_setup_teardown(a_message_interrupts_the_events_cpu, boot, halt),
		cmocka_unit_test_setup_teardown(a_reset_waits_for_the_queues_cpu, boot, halt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
