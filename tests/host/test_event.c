/*
 * lib/event.c: order, fairness, nesting, timers, and sleep without lost wake-ups.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/irq.h>
#include <base/event.h>
#include <base/util.h>

/* What ran, in order, as letters. */
static char trace[256];

static void note(char letter)
{
	size_t length = strlen(trace);

	assert_true(length + 1 < sizeof(trace));
	trace[length] = letter;
	trace[length + 1] = '\0';
}

static void expect(const char *wanted)
{
	assert_string_equal(trace, wanted);
	trace[0] = '\0';
}

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_clock_set(1000);
	trace[0] = '\0';
	return 0;
}

static bool turn(void) { return loop_turn(false, LOOP_FOREVER); }

struct letter {
	struct event event;
	char name;
	void (*then)(struct letter *letter);
	struct letter *other;
};

static void run_letter(struct event *event)
{
	struct letter *letter = container_of(event, struct letter, event);

	note(letter->name);
	if (letter->then)
		letter->then(letter);
}

static struct letter a, b, c;

static void init_letters(void)
{
	struct letter *all[] = {&a, &b, &c};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i] = (struct letter){.name = (char)('a' + i)};
		event_init(&all[i]->event, run_letter);
	}
}

static void mark_other(struct letter *letter) { event_mark(&letter->other->event); }

static void cancel_other(struct letter *letter) { event_cancel(&letter->other->event); }

static void defer_other(struct letter *letter) { event_defer(&letter->other->event); }

static void test_marks(void **state)
{
	(void)state;
	init_letters();
	assert_false(turn());
	event_mark(&b.event);
	event_mark(&a.event);
	event_mark(&b.event);
	expect("");
	assert_true(turn());
	expect("ba");
	assert_false(turn());
	expect("");
	event_mark(&b.event);
	turn();
	expect("b");
}

/* What a callback marks waits for the next turn, itself included: nobody starves. */
static void test_fairness(void **state)
{
	(void)state;
	init_letters();
	a.then = mark_other;
	a.other = &a;
	b.then = mark_other;
	b.other = &c;
	event_mark(&a.event);
	event_mark(&b.event);
	turn();
	expect("ab");
	turn();
	expect("ac");
	turn();
	expect("a");
	event_cancel(&a.event);
	assert_false(turn());
	expect("");
}

static void run_timer_letter(struct timer *timer)
{
	(void)timer;
	note('t');
}

static void test_deferred_at_the_end(void **state)
{
	struct timer timer = {0};

	(void)state;
	init_letters();
	timer_start(&timer, 0, run_timer_letter);
	event_defer(&c.event);
	event_defer(&c.event);
	event_mark(&a.event);
	a.then = defer_other;
	a.other = &b;
	assert_true(turn());
	expect("atcb");
	c.then = defer_other; /* while deferred ones run: next turn */
	c.other = &c;
	event_defer(&c.event);
	turn();
	expect("c");
	turn();
	expect("c");
	event_cancel(&c.event);
	turn();
	expect("");
}

static struct letter kick;

static void defer_kick(struct letter *letter)
{
	(void)letter;
	event_defer(&kick.event);
}

static bool hook_answers_kick(void)
{
	assert_string_equal(trace, "k");
	event_mark(&a.event);
	return true;
}

/* Kicks: behind all else of a turn; what was deferred between turns before the sleep, which they do not prevent. */
static void test_kicks(void **state)
{
	(void)state;
	init_letters();
	kick = (struct letter){.name = 'k'};
	event_init_kick(&kick.event, 0, run_letter);
	a.then = defer_kick;
	b.then = defer_kick;
	event_mark(&a.event);
	event_defer(&b.event);
	assert_true(turn());
	expect("abk");

	a.then = NULL;
	event_defer(&kick.event);
	event_defer(&kick.event);
	host_idle_hook = hook_answers_kick;
	assert_true(loop_turn(true, LOOP_FOREVER));
	expect("ka");
	assert_int_equal(host_idle_count(), 1);

	event_defer(&kick.event);
	assert_true(turn());
	expect("k");
	event_defer(&kick.event);
	event_cancel(&kick.event);
	assert_false(turn());
	expect("");
}

static void test_cancel(void **state)
{
	(void)state;
	init_letters();
	event_mark(&a.event);
	event_mark(&b.event);
	event_mark(&c.event);
	event_cancel(&b.event);
	event_cancel(&b.event);
	turn();
	expect("ac");

	/* The last one of a queue: what is marked behind it must not get lost. */
	event_mark(&a.event);
	event_mark(&b.event);
	event_cancel(&b.event);
	event_mark(&c.event);
	turn();
	expect("ac");

	/* By a callback before it in the same batch. */
	event_mark(&a.event);
	event_mark(&b.event);
	event_mark(&c.event);
	a.then = cancel_other;
	a.other = &b;
	turn();
	expect("ac");

	event_defer(&b.event);
	event_mark(&a.event);
	turn();
	expect("a");

	/* By a deferred one. */
	event_defer(&a.event);
	event_defer(&b.event);
	turn();
	expect("a");
	event_mark(&b.event);
	turn();
	expect("b");
}

static void free_self(struct event *event)
{
	event_cancel(event);
	free(event);
	note('f');
}

static void test_free_in_callback(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct event *event = malloc(sizeof(*event));

		event_init(event, free_self);
		event_mark(event);
		if (i == 1)
			event_mark(event);
	}
	turn();
	turn();
	expect("fff");
}

/* ---- nesting ---- */

static bool flag;

static void set_flag(struct letter *letter)
{
	(void)letter;
	flag = true;
}

static void wait_for_flag(struct letter *letter)
{
	event_mark(&letter->event); /* not inside itself */
	flag = false;
	assert_true(loop_wait(&flag, LOOP_FOREVER));
	note(')');
	letter->then = NULL;
}

/* A callback waits for what an event behind it in the same batch does; its own mark is run when it has returned. */
static void test_wait_in_callback(void **state)
{
	(void)state;
	init_letters();
	a.then = wait_for_flag;
	b.then = set_flag;
	event_mark(&a.event);
	event_mark(&c.event);
	event_mark(&b.event);
	turn();
	expect("acb)");
	assert_true(turn());
	expect("a");
	assert_false(turn());
}

static void wait_and_mark_b(struct letter *letter)
{
	letter->then = NULL;
	event_mark(&b.event);
	event_mark(&letter->event);
	flag = false;
	assert_true(loop_wait(&flag, LOOP_FOREVER));
	note(')');
}

static void wait_two_deep(struct letter *letter)
{
	static bool inner;

	letter->then = set_flag;
	event_mark(&a.event); /* running, one level up */
	event_mark(&b.event); /* running, here */
	event_mark(&c.event);
	inner = false;
	assert_false(loop_wait(&inner, 5000));
	flag = true;
	note(']');
}

static void test_wait_in_wait(void **state)
{
	(void)state;
	init_letters();
	a.then = wait_and_mark_b;
	b.then = wait_two_deep;
	event_mark(&a.event);
	turn();
	expect("abc])");
	turn();
	expect("ba");
	assert_false(turn());
}

static unsigned hook_calls;

/* The device marks the event that is running again and again, and only at the end the one waited for. */
static bool hook_marks_running(void)
{
	event_mark(++hook_calls < 10 ? &a.event : &b.event);
	return true;
}

static void test_wait_sleeps_while_own_event_is_marked(void **state)
{
	(void)state;
	init_letters();
	hook_calls = 0;
	host_idle_hook = hook_marks_running;
	a.then = wait_for_flag;
	b.then = set_flag;
	event_mark(&a.event);
	turn();
	expect("ab)");
	assert_int_equal(hook_calls, 10);
	assert_int_equal(host_idle_count(), 10);
	turn();
	expect("a");
}

static struct event *reused;

static void run_new(struct event *event)
{
	(void)event;
	note('n');
	flag = true;
}

/* An event ends its own life, and another one begins in the same storage while the callback still runs: that one is not running. */
static void replace_self(struct event *event)
{
	event_cancel(event);
	event_init(event, run_new);
	event_mark(event);
	flag = false;
	assert_true(loop_wait(&flag, LOOP_FOREVER));
	free(event);
	reused = NULL;
}

static void test_storage_reused_in_callback(void **state)
{
	(void)state;
	reused = malloc(sizeof(*reused));
	event_init(reused, replace_self);
	event_mark(reused);
	turn();
	expect("n");
	assert_null(reused);
	assert_false(turn());
}

/* An event that came up inside its own callback, and is freed before that returns. */
static void free_self_after_wait(struct event *event)
{
	event_mark(event);
	loop_sleep(1000);
	assert_true(event->marked);
	event_cancel(event);
	assert_false(event->marked);
	free(event);
	note('f');
}

static void test_free_in_callback_while_marked(void **state)
{
	struct event *event = malloc(sizeof(*event));

	(void)state;
	event_init(event, free_self_after_wait);
	event_mark(event);
	turn();
	expect("f");
	assert_false(turn());
}

/* ---- time ---- */

struct stamp {
	struct timer timer;
	char name;
	uint64_t at;
	struct timer *victim;
};

static void run_stamp(struct timer *timer)
{
	struct stamp *stamp = container_of(timer, struct stamp, timer);

	note(stamp->name);
	stamp->at = clock_ns();
	assert_false(timer->active);
	if (stamp->victim)
		timer_stop(stamp->victim);
}

static void test_timers_in_order(void **state)
{
	struct stamp x = {.name = 'x'}, y = {.name = 'y'}, z = {.name = 'z'};

	(void)state;
	timer_stop(&x.timer);
	timer_start(&y.timer, 2000, run_stamp);
	timer_start(&x.timer, 1500, run_stamp);
	timer_start(&z.timer, 2000, run_stamp);
	assert_true(x.timer.active);
	assert_false(turn());
	assert_true(loop_turn(true, LOOP_FOREVER));
	expect("x");
	assert_int_equal(x.at, 1500);
	assert_true(loop_turn(true, LOOP_FOREVER));
	expect("yz");
	assert_int_equal(z.at, 2000);

	timer_start(&x.timer, 3000, run_stamp);
	timer_start(&y.timer, 3500, run_stamp);
	timer_start(&x.timer, 4000, run_stamp); /* restarted: later now */
	loop_turn(true, LOOP_FOREVER);
	expect("y");
	timer_stop(&x.timer);
	assert_false(loop_turn(true, 9000));
	expect("");
	assert_int_equal(clock_ns(), 9000);

	/* One that is due stops another that is due as well. */
	x.victim = &y.timer;
	timer_start(&x.timer, 9500, run_stamp);
	timer_start(&y.timer, 9500, run_stamp);
	timer_start(&z.timer, 9500, run_stamp);
	host_clock_advance(1000);
	turn();
	expect("xz");
	assert_false(turn());
}

static unsigned restarts;

static void restart_in_the_past(struct timer *timer)
{
	restarts++;
	timer_start(timer, 0, restart_in_the_past);
}

static void test_timer_cannot_starve(void **state)
{
	struct timer timer = {0};

	(void)state;
	init_letters();
	restarts = 0;
	timer_start(&timer, 0, restart_in_the_past);
	for (unsigned i = 1; i <= 5; i++) {
		event_mark(&a.event);
		assert_true(loop_turn(true, LOOP_FOREVER));
		assert_int_equal(restarts, i);
	}
	expect("aaaaa");
	timer_stop(&timer);
	assert_false(turn());
}

static void set_flag_by_timer(struct timer *timer)
{
	(void)timer;
	flag = true;
}

static void test_wait_times_out(void **state)
{
	uint64_t start = clock_ns();

	(void)state;
	flag = false;
	assert_false(loop_wait(&flag, 5000));
	assert_int_equal(clock_ns() - start, 5000);
	loop_sleep(700);
	assert_int_equal(clock_ns() - start, 5700);
	assert_false(loop_wait(&flag, 0));
	assert_int_equal(clock_ns() - start, 5700);

	flag = true;
	assert_true(loop_wait(&flag, 0));
	assert_true(loop_wait(&flag, LOOP_FOREVER));

	/* Even without time, one turn: what is there counts. */
	init_letters();
	flag = false;
	b.then = set_flag;
	event_mark(&b.event);
	assert_true(loop_wait(&flag, 0));

	/* A deadline beyond the end of time is none. */
	struct timer timer = {0};

	flag = false;
	timer_start(&timer, clock_ns() + 5000, set_flag_by_timer);
	assert_true(loop_wait(&flag, UINT64_MAX - 1));
}

/* A callback that takes longer than the timeout does not hide what came meanwhile. */
static void take_long(struct letter *letter)
{
	host_clock_advance(1000000);
	event_mark(&letter->other->event);
}

static void test_wait_after_long_callback(void **state)
{
	(void)state;
	init_letters();
	flag = false;
	a.then = take_long;
	a.other = &b;
	b.then = set_flag;
	event_mark(&a.event);
	assert_true(loop_wait(&flag, 1000));
	expect("ab");
}

/* ---- pollers ---- */

static struct poller poller;
static unsigned polls;

static void poll_five_times(struct event *event)
{
	(void)event;
	if (++polls == 5) {
		poller_remove(&poller);
		flag = true;
	}
}

static void test_poller(void **state)
{
	struct event event;

	(void)state;
	event_init(&event, poll_five_times);
	polls = 0;
	flag = false;
	poller_add(&poller, &event);
	assert_true(loop_wait(&flag, LOOP_FOREVER));
	assert_int_equal(polls, 5);
	assert_int_equal(host_idle_count(), 0);
	assert_false(turn());
	poller_remove(&poller);
}

static void do_nothing(struct event *event) { (void)event; }

static void test_time_passes_while_polling(void **state)
{
	struct event event;

	(void)state;
	event_init(&event, do_nothing);
	poller_add(&poller, &event);
	loop_sleep(100000);
	assert_in_range(clock_ns(), 101000, 110000);
	poller_remove(&poller);
	assert_int_equal(host_idle_count(), 0);
	event_cancel(&event);
}

/* ---- sleep ---- */

static struct irq irq;
static struct irq_message message;

static bool hook_raises(void) { return host_irq_raise_message(message.address, message.data); }

static void test_interrupt_ends_sleep(void **state)
{
	(void)state;
	init_letters();
	assert_int_equal(irq_attach_message(&irq, &b.event, &message), 0);
	host_idle_hook = hook_raises;
	b.then = set_flag;
	for (unsigned i = 1; i <= 3; i++) {
		flag = false;
		assert_true(loop_wait(&flag, 1000000));
		assert_int_equal(irq.count, i);
		assert_int_equal(clock_ns(), 1000);
		assert_int_equal(host_idle_count(), i);
	}
	irq_detach(&irq);
}

/* An interrupt that comes after the loop looked and before it sleeps. */
static void test_interrupt_while_masked(void **state)
{
	(void)state;
	init_letters();
	assert_int_equal(irq_attach_message(&irq, &a.event, &message), 0);

	unsigned long masked = cpu_irq_save();

	assert_true(host_irq_raise_message(message.address, message.data));
	assert_false(a.event.marked);
	cpu_idle();
	assert_true(a.event.marked);
	cpu_irq_restore(masked);
	assert_true(turn());
	expect("a");
	irq_detach(&irq);
}

static unsigned moments_left;
static uint64_t raised_at;

static void raise_at_last_moment(void)
{
	if (moments_left && --moments_left == 0) {
		raised_at = clock_ns();
		host_irq_raise_message(message.address, message.data);
	}
}

static void tick(struct timer *timer) { timer_start(timer, clock_ns() + 1000, tick); }

static void set_flag_in_time(struct letter *letter)
{
	(void)letter;
	assert_int_equal(clock_ns(), raised_at); /* and not at the next tick */
	flag = true;
}

/* A device raises its interrupt at any point at all of the way into the sleep, and ends that sleep. */
static void test_interrupt_is_not_lost(void **state)
{
	struct timer timer = {0};

	(void)state;
	init_letters();
	b.then = set_flag_in_time;
	assert_int_equal(irq_attach_message(&irq, &b.event, &message), 0);
	host_time_hook = raise_at_last_moment;
	tick(&timer);
	for (unsigned moment = 1; moment < 60; moment++) {
		moments_left = moment;
		flag = false;
		assert_true(loop_wait(&flag, LOOP_FOREVER));
		expect("b");
	}
	timer_stop(&timer);
	irq_detach(&irq);
}

/* The clock's interrupt comes at any point between the look at the time and the sleep: it still ends the sleep. */
static void test_clock_interrupt_is_not_lost(void **state)
{
	struct stamp stamp = {.name = 't'};

	(void)state;
	for (uint64_t step = 1; step < 40; step++) {
		for (uint64_t delay = 0; delay < 12 * step; delay++) {
			host_clock_step = step;
			trace[0] = '\0';
			loop_sleep(delay);
			timer_start(&stamp.timer, clock_ns() + delay, run_stamp);
			while (stamp.timer.active)
				loop_turn(true, LOOP_FOREVER);
			expect("t");
			assert_true(stamp.at >= stamp.timer.deadline_ns);
		}
	}
}

/* Asleep with nothing that could wake it: arch/host says so, in a process of its own. */
static void test_eternal_sleep_is_found(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		freopen("/dev/null", "w", stderr);
		signal(SIGABRT, SIG_DFL);
		loop_turn(true, LOOP_FOREVER);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* A device thread and the loop hand a token back and forth: one lost wake-up, and it hangs (arch/host then aborts). */
#define ROUNDS 20000u
static unsigned sent, seen; /* by the thread, by the loop */
static struct event token_event;

static void *device_thread(void *argument)
{
	(void)argument;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		while (__atomic_load_n(&seen, __ATOMIC_ACQUIRE) != round - 1)
			sched_yield();
		__atomic_store_n(&sent, round, __ATOMIC_RELEASE);
		host_irq_raise_message(message.address, message.data);
	}
	return NULL;
}

static void take_token(struct event *event)
{
	(void)event;

	unsigned now = __atomic_load_n(&sent, __ATOMIC_ACQUIRE);

	flag = now == ROUNDS;
	__atomic_store_n(&seen, now, __ATOMIC_RELEASE);
}

static void test_no_wake_up_is_lost(void **state)
{
	pthread_t thread;

	(void)state;
	host_boot(1 << 20);
	host_threads = true;
	sent = seen = 0;
	flag = false;
	event_init(&token_event, take_token);
	assert_int_equal(irq_attach_message(&irq, &token_event, &message), 0);
	assert_int_equal(pthread_create(&thread, NULL, device_thread, NULL), 0);
	assert_true(loop_wait(&flag, LOOP_FOREVER));
	pthread_join(thread, NULL);
	assert_int_equal(seen, ROUNDS);
	assert_int_equal(irq.count, ROUNDS);
	irq_detach(&irq);
}

static void test_real_time(void **state)
{
	(void)state;
	host_boot(1 << 20);

	uint64_t start = clock_ns();

	loop_sleep(5000000);
	assert_true(clock_ns() - start >= 5000000);
	assert_true(host_idle_count() < 10);
}

/* ---- at random: callbacks mark, defer, cancel and wait, and the rules hold ---- */

#define EVENTS 12u
static struct random_event {
	struct event event;
	bool running, owed; /* on the stack; marked and not run since */
} all[EVENTS];
static uint64_t seed;
static unsigned depth, runs, budget;

static void act_at_random(void);

static void run_random(struct event *event)
{
	struct random_event *self = container_of(event, struct random_event, event);

	assert_false(self->running);
	assert_true(self->owed);
	self->owed = false;
	self->running = true;
	depth++;
	runs++;
	for (unsigned i = (unsigned)(next_random(&seed) % 4); i && budget; i--)
		act_at_random();
	depth--;
	self->running = false;
}

static void act_at_random(void)
{
	struct random_event *target = &all[next_random(&seed) % EVENTS];

	budget--;
	switch (next_random(&seed) % 8) {
	case 0:
		if (!target->running) {
			event_cancel(&target->event);
			target->owed = false;
		}
		break;
	case 1:
		target->owed = true;
		event_defer(&target->event);
		break;
	case 2:
		if (depth < 6)
			loop_sleep(next_random(&seed) % 3000);
		break;
	default:
		target->owed = true;
		event_mark(&target->event);
	}
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		seed = (round + 1) * 0x9e3779b97f4a7c15u;
		host_clock_set(0);
		depth = runs = 0;
		budget = 400;
		for (unsigned i = 0; i < EVENTS; i++) {
			all[i] = (struct random_event){0};
			event_init(&all[i].event, run_random);
		}
		while (budget) {
			act_at_random();
			turn();
		}
		while (turn())
			;
		for (unsigned i = 0; i < EVENTS; i++) {
			assert_false(all[i].owed);
			assert_false(all[i].event.marked);
		}
		assert_true(runs > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_marks, set_up),
		cmocka_unit_test_setup(test_fairness, set_up),
		cmocka_unit_test_setup(test_deferred_at_the_end, set_up),
		cmocka_unit_test_setup(test_kicks, set_up),
		cmocka_unit_test_setup(test_cancel, set_up),
		cmocka_unit_test_setup(test_free_in_callback, set_up),
		cmocka_unit_test_setup(test_wait_in_callback, set_up),
		cmocka_unit_test_setup(test_wait_in_wait, set_up),
		cmocka_unit_test_setup(test_wait_sleeps_while_own_event_is_marked, set_up),
		cmocka_unit_test_setup(test_storage_reused_in_callback, set_up),
		cmocka_unit_test_setup(test_free_in_callback_while_marked, set_up),
		cmocka_unit_test_setup(test_timers_in_order, set_up),
		cmocka_unit_test_setup(test_timer_cannot_starve, set_up),
		cmocka_unit_test_setup(test_wait_times_out, set_up),
		cmocka_unit_test_setup(test_wait_after_long_callback, set_up),
		cmocka_unit_test_setup(test_poller, set_up),
		cmocka_unit_test_setup(test_time_passes_while_polling, set_up),
		cmocka_unit_test_setup(test_interrupt_ends_sleep, set_up),
		cmocka_unit_test_setup(test_interrupt_while_masked, set_up),
		cmocka_unit_test_setup(test_interrupt_is_not_lost, set_up),
		cmocka_unit_test_setup(test_clock_interrupt_is_not_lost, set_up),
		cmocka_unit_test_setup(test_eternal_sleep_is_found, set_up),
		cmocka_unit_test_setup(test_no_wake_up_is_lost, set_up),
		cmocka_unit_test_setup(test_real_time, set_up),
		cmocka_unit_test_setup(test_random, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
