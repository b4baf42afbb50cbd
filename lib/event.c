/*
 * The event loop.
 *
 * Three queues. `pending` is where event_mark() puts events, also from interrupts, so it is touched with interrupts masked only.
 * A turn moves it in one step behind `batch` and runs that until it is empty: what a callback marks waits for the next turn, and
 * no source can starve the others. `deferred` works alike, at the turn's end. Kicks are a list of their own, run behind all that and, for
 * those of between the turns, before the sleep: so what a program submits, waits for and is told the end of is one turn.
 *
 * The queues are global to the loop, not to a turn, because turns nest: a callback may wait for something that an event behind
 * it in the same batch brings about. The turns on the stack, with the event whose callback each is in, are a list of frames. An event that
 * comes up inside its own callback is not run but noted in its frame, and queued again when the callback has returned. The event itself is
 * not touched after its callback: that may have freed it.
 *
 * Each CPU has a loop of its own, which nobody else touches, but for two words: `posts`, a list to which the other CPUs push events
 * of this one (the owner takes it whole), and `sleeping`. Whoever posts looks at `sleeping` after his push, the owner looks at
 * `posts` after it has said that it sleeps, and a full barrier stands between on both sides: one of them sees the other. Only a CPU
 * that sleeps, or is about to, is sent an interrupt. The model is lib/model/post.pml.
 *
 * Sleep loses no wake-up: the pending queue is looked at with interrupts masked, and cpu_idle() unmasks and sleeps in one step. The
 * clock's interrupt is armed only there, and only when none that comes earlier is armed: arming is an exit to the hypervisor. While one
 * is armed no timer is due, and the clock need not be read; nor is it behind the events of a turn that has slept.
 */
#include <base/event.h>

#include <stddef.h>

#include <arch/barrier.h>
#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/platform.h>
#include <base/util.h>

struct queue {
	struct event *first, **tail; /* tail: of no meaning while it is empty */
};

struct frame {
	struct event *event; /* whose callback is running; NULL: none, or cancelled meanwhile */
	struct frame *outer;
	bool again;
};

struct loop {
	struct queue pending, batch, deferred;
	struct event *kicks;
	struct frame *frames; /* innermost first */
	struct poller *pollers;
	struct timer *timers; /* earliest first */

	/* Other CPUs', too; atomic. */
	struct event *posts __attribute__((aligned(64))); /* latest first */
	bool sleeping;
};

static struct loop loops[CPU_MAX];

static struct loop *this_loop(void) { return &loops[cpu_index()]; }

void loop_init(void)
{
	for (struct loop *loop = loops; loop < loops + CPU_MAX; loop++)
		*loop = (struct loop){0};
}

static void queue_push(struct queue *queue, struct event *event)
{
	event->marked = true;
	event->next = NULL;
	*(queue->first ? queue->tail : &queue->first) = event;
	queue->tail = &event->next;
}

static void queue_move(struct queue *to, struct queue *from)
{
	if (!from->first)
		return;
	*(to->first ? to->tail : &to->first) = from->first;
	to->tail = from->tail;
	from->first = NULL;
}

/* The link that pointed to it, or NULL. */
static struct event **list_remove(struct event **list, const struct event *event)
{
	for (; *list; list = &(*list)->next) {
		if (*list == event) {
			*list = event->next;
			return list;
		}
	}
	return NULL;
}

static bool queue_remove(struct queue *queue, const struct event *event)
{
	struct event **at = list_remove(&queue->first, event);

	if (at && !*at)
		queue->tail = at;
	return at;
}

/* Hand another CPU's event over to it. */
static void post(struct event *event)
{
	const unsigned cpu = event->cpu;
	struct loop *loop = &loops[cpu];

	/* Posted already: it runs after this. What was stored before is seen by the run, since both sides exchange. */
	if (__atomic_exchange_n(&event->posted, true, __ATOMIC_ACQ_REL))
		return;
	event->next_post = __atomic_load_n(&loop->posts, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&loop->posts, &event->next_post, event, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	/* From here on the event may be gone. The push is ordered before this load: see sleep_until_work(). */
	if (__atomic_load_n(&loop->sleeping, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&loop->sleeping, false, __ATOMIC_SEQ_CST))
		cpu_wake(cpu);
}

/* What other CPUs have posted becomes pending, first come first. Interrupts are masked. */
static void take_posts(struct loop *loop)
{
	struct event *latest = __atomic_exchange_n(&loop->posts, NULL, __ATOMIC_ACQUIRE), *first = NULL;

	while (latest) {
		struct event *event = latest;

		latest = event->next_post;
		event->next_post = first;
		first = event;
	}
	while (first) {
		struct event *event = first;

		first = event->next_post;
		/* An exchange: orders "not posted" before all that the run loads, so that a mark that comes too late for the run
		 * posts again. */
		(void)__atomic_exchange_n(&event->posted, false, __ATOMIC_ACQ_REL);
		if (!event->marked)
			queue_push(&loop->pending, event);
	}
}

void event_mark_masked(struct event *event)
{
	if (unlikely(event->cpu != cpu_index()))
		post(event);
	else if (!event->marked)
		queue_push(&this_loop()->pending, event);
}

void event_mark(struct event *event)
{
	unsigned long state = cpu_irq_save();

	event_mark_masked(event);
	cpu_irq_restore(state);
}

void event_defer(struct event *event)
{
	struct loop *loop = this_loop();

	if (unlikely(event->cpu != cpu_index())) {
		post(event);
	} else if (!event->marked && event->kick) {
		event->marked = true;
		event->next = loop->kicks;
		loop->kicks = event;
	} else if (!event->marked) {
		queue_push(&loop->deferred, event);
	}
}

void event_cancel(struct event *event)
{
	struct loop *loop = this_loop();
	unsigned long state = cpu_irq_save();

	if (event->cpu != cpu_index())
		panic("an event of CPU %u is cancelled on CPU %u", event->cpu, cpu_index());
	/* Whoever has said that he posts it is about to. */
	while (__atomic_load_n(&event->posted, __ATOMIC_ACQUIRE)) {
		take_posts(loop);
		cpu_relax();
	}
	if (event->marked && !queue_remove(&loop->pending, event) && !queue_remove(&loop->batch, event) &&
	    !queue_remove(&loop->deferred, event))
		list_remove(&loop->kicks, event);
	event->marked = false;
	cpu_irq_restore(state);

	for (struct frame *frame = loop->frames; frame; frame = frame->outer) {
		if (frame->event == event) {
			frame->event = NULL;
			frame->again = false;
		}
	}
}

/* The turn on the stack that is in the event's callback. */
static struct frame *frame_of(struct frame *frame, const struct event *event)
{
	for (; frame; frame = frame->outer) {
		if (frame->event == event)
			return frame;
	}
	return NULL;
}

static inline bool run_batch(struct loop *loop, struct frame *frame)
{
	bool ran = false;

	for (struct event *event; (event = loop->batch.first);) {
		struct frame *running = likely(!frame->outer) ? NULL : frame_of(frame->outer, event);

		loop->batch.first = event->next;
		if (unlikely(running)) {
			running->again = true; /* and it stays marked */
			continue;
		}
		frame->event = event;
		/* An interrupt that comes before this store finds the event marked, and the callback still ahead. */
		WRITE_ONCE(event->marked, false);
		barrier_compiler();
		event->run(event);
		frame->event = NULL;
		if (unlikely(frame->again)) {
			unsigned long state = cpu_irq_save();

			queue_push(&loop->pending, event);
			cpu_irq_restore(state);
			frame->again = false;
		}
		ran = true;
	}
	return ran;
}

static inline bool run_kicks(struct loop *loop)
{
	bool ran = loop->kicks;

	for (struct event *event; (event = loop->kicks);) {
		loop->kicks = event->next;
		event->marked = false;
		event->run(event);
	}
	return ran;
}

void poller_add(struct poller *poller, struct event *event)
{
	struct loop *loop = this_loop();

	poller->event = event;
	poller->next = loop->pollers;
	loop->pollers = poller;
}

void poller_remove(struct poller *poller)
{
	for (struct poller **at = &this_loop()->pollers; *at; at = &(*at)->next) {
		if (*at == poller) {
			*at = poller->next;
			break;
		}
	}
}

void timer_start(struct timer *timer, uint64_t deadline_ns, void (*run)(struct timer *timer))
{
	struct timer **at = &this_loop()->timers;

	timer_stop(timer);
	while (*at && (*at)->deadline_ns <= deadline_ns)
		at = &(*at)->next;
	*timer = (struct timer){.run = run, .next = *at, .deadline_ns = deadline_ns, .active = true};
	*at = timer;
}

void timer_stop(struct timer *timer)
{
	for (struct timer **at = &this_loop()->timers; timer->active && *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			timer->active = false;
			break;
		}
	}
}

/* Those due when it begins: a timer that its callback starts again, with a deadline in the past even, waits for the next turn. */
static bool run_timers(struct loop *loop)
{
	uint64_t now = clock_ns();
	unsigned due = 0;

	if (likely(loop->timers->deadline_ns > now))
		return false;
	for (struct timer *timer = loop->timers; timer && timer->deadline_ns <= now; timer = timer->next)
		due++;
	for (unsigned left = due; left && loop->timers && loop->timers->deadline_ns <= now; left--) {
		struct timer *timer = loop->timers;

		loop->timers = timer->next;
		timer->active = false;
		timer->run(timer);
	}
	return due > 0;
}

static inline bool work_waits(const struct loop *loop)
{
	return loop->pending.first || loop->batch.first || loop->deferred.first || READ_ONCE(loop->posts);
}

/* Interrupts are masked but for the sleep itself: the clock's, too, must not come between the look at the time and the sleep. True: no timer
 * was due before the sleep, and now there is work. */
static bool sleep_until_work(struct loop *loop, uint64_t deadline_ns)
{
	bool slept = false;

	for (; !work_waits(loop); slept = true) {
		uint64_t wake_ns = loop->timers ? MIN(deadline_ns, loop->timers->deadline_ns) : deadline_ns;

		if (wake_ns < clock_armed()) {
			if (clock_ns() >= wake_ns)
				return false;
			clock_arm(wake_ns);
		}
		/* Ordered before the look at `posts`: who posts after that look sees it and sends an interrupt. */
		(void)__atomic_exchange_n(&loop->sleeping, true, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&loop->posts, __ATOMIC_SEQ_CST))
			cpu_idle();
		__atomic_store_n(&loop->sleeping, false, __ATOMIC_RELAXED);
	}
	return slept;
}

[[gnu::noinline]] static bool turn(struct loop *loop, bool sleep, uint64_t deadline_ns)
{
	struct frame frame = {.outer = loop->frames};
	bool ran = run_kicks(loop), timers_seen = false;
	unsigned long state;

	if (unlikely(loop->pollers)) {
		for (struct poller *poller = loop->pollers; poller; poller = poller->next)
			event_mark(poller->event);
		if (sleep)
			cpu_relax();
		sleep = false;
	}
	state = cpu_irq_save();
	if (sleep)
		timers_seen = sleep_until_work(loop, deadline_ns);
	if (unlikely(READ_ONCE(loop->posts)))
		take_posts(loop);
	queue_move(&loop->batch, &loop->pending);
	cpu_irq_restore(state);

	loop->frames = &frame;
	for (unsigned pass = 0; pass < 2; pass++) {
		if (pass)
			queue_move(&loop->batch, &loop->deferred);
		ran |= run_batch(loop, &frame);
		if (!pass && loop->timers && !timers_seen)
			ran |= run_timers(loop);
	}
	loop->frames = frame.outer;
	return ran | run_kicks(loop);
}

bool loop_turn(bool sleep, uint64_t deadline_ns) { return turn(this_loop(), sleep, deadline_ns); }

bool loop_wait(const bool *flag, uint64_t timeout_ns)
{
	uint64_t now = timeout_ns == LOOP_FOREVER ? 0 : clock_ns();
	uint64_t deadline_ns = timeout_ns < LOOP_FOREVER - now ? now + timeout_ns : LOOP_FOREVER;

	/* When the time is up, one last turn without sleep: what came while a long callback ran is in time. */
	for (bool late = false; !READ_ONCE(*flag) && !late;) {
		late = deadline_ns != LOOP_FOREVER && clock_ns() >= deadline_ns;
		loop_turn(!late, deadline_ns);
	}
	return READ_ONCE(*flag);
}

void loop_sleep(uint64_t ns)
{
	static const bool never = false;

	loop_wait(&never, ns);
}

void loop_run(void)
{
	for (;;)
		loop_turn(true, LOOP_FOREVER);
}
