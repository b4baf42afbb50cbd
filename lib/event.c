/*
 * The event loop.
 *
 * Three queues. `pending` is where event_mark() puts events, also from interrupts, so it is touched with interrupts masked only.
 * A turn moves it in one step behind `batch` and runs that until it is empty: what a callback marks waits for the next turn, and
 * no source can starve the others. `deferred` works alike, at the turn's end.
 *
 * The queues are global to the loop, not to a turn, because turns nest: a callback may wait for something that an event behind
 * it in the same batch brings about. The callbacks on the stack are a list of frames. An event that comes up inside its own
 * callback is not run but noted in its frame, and queued again when the callback has returned. The event itself is not touched
 * after its callback: that may have freed it.
 *
 * Sleep loses no wake-up: with interrupts masked the pending queue is looked at once more, and cpu_idle() unmasks and sleeps in
 * one step. The clock's interrupt is armed only there, and only when none that comes earlier is armed: arming is an exit to the
 * hypervisor.
 */
#include <base/event.h>

#include <stddef.h>

#include <arch/barrier.h>
#include <arch/clock.h>
#include <arch/cpu.h>
#include <base/util.h>

struct queue {
	struct event *first, **tail;
};

struct frame {
	struct event *event; /* whose callback is running; NULL: cancelled meanwhile */
	struct frame *outer;
	bool again;
};

static struct queue pending, batch, deferred, deferred_batch;
static struct frame *frames; /* innermost first */
static struct poller *pollers;
static struct timer *timers; /* earliest first */
static uint64_t armed_ns;    /* what the clock was armed with last */

void loop_init(void)
{
	struct queue *queues[] = {&pending, &batch, &deferred, &deferred_batch};

	for (unsigned i = 0; i < ARRAY_SIZE(queues); i++)
		*queues[i] = (struct queue){NULL, &queues[i]->first};
	frames = NULL;
	pollers = NULL;
	timers = NULL;
	armed_ns = 0;
}

static void queue_push(struct queue *queue, struct event *event)
{
	event->marked = true;
	event->next = NULL;
	*queue->tail = event;
	queue->tail = &event->next;
}

static void queue_move(struct queue *to, struct queue *from)
{
	if (!from->first)
		return;
	*to->tail = from->first;
	to->tail = from->tail;
	from->first = NULL;
	from->tail = &from->first;
}

static bool queue_remove(struct queue *queue, const struct event *event)
{
	for (struct event **at = &queue->first; *at; at = &(*at)->next) {
		if (*at == event) {
			*at = event->next;
			if (!*at)
				queue->tail = at;
			return true;
		}
	}
	return false;
}

void event_mark(struct event *event)
{
	unsigned long state = cpu_irq_save();

	if (!event->marked)
		queue_push(&pending, event);
	cpu_irq_restore(state);
}

void event_defer(struct event *event)
{
	if (!event->marked)
		queue_push(&deferred, event);
}

void event_cancel(struct event *event)
{
	unsigned long state = cpu_irq_save();

	if (event->marked && !queue_remove(&pending, event) && !queue_remove(&batch, event) && !queue_remove(&deferred, event))
		queue_remove(&deferred_batch, event);
	event->marked = false;
	cpu_irq_restore(state);

	for (struct frame *frame = frames; frame; frame = frame->outer) {
		if (frame->event == event) {
			frame->event = NULL;
			frame->again = false;
		}
	}
}

static struct frame *frame_of(const struct event *event)
{
	for (struct frame *frame = frames; frame; frame = frame->outer) {
		if (frame->event == event)
			return frame;
	}
	return NULL;
}

static bool run_batch(struct queue *queue)
{
	bool ran = false;

	while (queue->first) {
		struct event *event = queue->first;

		queue->first = event->next;
		if (!queue->first)
			queue->tail = &queue->first;

		struct frame *running = frame_of(event);

		if (unlikely(running)) {
			running->again = true; /* and it stays marked */
			continue;
		}

		struct frame frame = {.event = event, .outer = frames};

		frames = &frame;
		/* An interrupt that comes before this store finds the event marked, and the callback still ahead. */
		WRITE_ONCE(event->marked, false);
		barrier_compiler();
		event->run(event);
		frames = frame.outer;
		if (unlikely(frame.again)) {
			unsigned long state = cpu_irq_save();

			queue_push(&pending, event);
			cpu_irq_restore(state);
		}
		ran = true;
	}
	return ran;
}

void poller_add(struct poller *poller, struct event *event)
{
	poller->event = event;
	poller->next = pollers;
	pollers = poller;
}

void poller_remove(struct poller *poller)
{
	for (struct poller **at = &pollers; *at; at = &(*at)->next) {
		if (*at == poller) {
			*at = poller->next;
			break;
		}
	}
}

void timer_start(struct timer *timer, uint64_t deadline_ns, void (*run)(struct timer *timer))
{
	struct timer **at = &timers;

	timer_stop(timer);
	while (*at && (*at)->deadline_ns <= deadline_ns)
		at = &(*at)->next;
	*timer = (struct timer){.run = run, .next = *at, .deadline_ns = deadline_ns, .active = true};
	*at = timer;
}

void timer_stop(struct timer *timer)
{
	for (struct timer **at = &timers; timer->active && *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			timer->active = false;
			break;
		}
	}
}

/* Those due when it begins: a timer that its callback starts again, with a deadline in the past even, waits for the next turn. */
static bool run_timers(void)
{
	unsigned due = 0;

	if (!timers)
		return false;

	uint64_t now = clock_ns();

	for (struct timer *timer = timers; timer && timer->deadline_ns <= now; timer = timer->next)
		due++;
	for (unsigned left = due; left && timers && timers->deadline_ns <= now; left--) {
		struct timer *timer = timers;

		timers = timer->next;
		timer->active = false;
		timer->run(timer);
	}
	return due > 0;
}

static bool work_waits(void) { return READ_ONCE(pending.first) || batch.first || deferred.first || deferred_batch.first; }

/* Interrupts are masked before the look at queue and time: the clock's interrupt, too, must not come between that and the sleep. */
static void sleep_until_work(uint64_t deadline_ns)
{
	while (!work_waits()) {
		uint64_t wake_ns = timers ? MIN(deadline_ns, timers->deadline_ns) : deadline_ns;
		unsigned long state = cpu_irq_save();
		uint64_t now = wake_ns == LOOP_FOREVER ? 0 : clock_ns();
		bool due = now >= wake_ns;

		if (wake_ns != LOOP_FOREVER && !due && (wake_ns < armed_ns || armed_ns <= now)) {
			armed_ns = wake_ns;
			clock_arm(wake_ns);
		}
		if (!due && !READ_ONCE(pending.first))
			cpu_idle();
		cpu_irq_restore(state);
		if (due)
			return;
	}
}

bool loop_turn(bool sleep, uint64_t deadline_ns)
{
	if (unlikely(pollers)) {
		for (struct poller *poller = pollers; poller; poller = poller->next)
			event_mark(poller->event);
		if (sleep)
			cpu_relax();
	} else if (sleep) {
		sleep_until_work(deadline_ns);
	}

	unsigned long state = cpu_irq_save();

	queue_move(&batch, &pending);
	cpu_irq_restore(state);

	bool ran = run_batch(&batch);

	ran |= run_timers();
	queue_move(&deferred_batch, &deferred);
	ran |= run_batch(&deferred_batch);
	return ran;
}

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
