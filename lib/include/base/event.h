/*
 * The event loop: run to completion, one per CPU.
 *
 * A turn: run the callbacks of marked events, then timers that are due, then deferred events (kicks: one per queue and turn).
 * With nothing marked the CPU sleeps until an interrupt or the next timer. Callbacks run in the loop, never in interrupt
 * context, one at a time, and may mark, defer, start and stop anything, and free their own event after event_cancel().
 *
 * A blocking call (loop_wait) runs turns until its condition holds. It may be made from a callback: turns nest, but an event
 * whose callback is still running is not run again inside it; it runs when that callback has returned.
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

struct event {
	void (*run)(struct event *event);
	struct event *next;
	bool marked; /* waits for its run */
};

static inline void event_init(struct event *event, void (*run)(struct event *event)) { *event = (struct event){.run = run}; }

/* Ask for a run in this or the next turn; marking twice is one run. Any context, interrupts included; this CPU. */
void event_mark(struct event *event);

/* Ask for a run at the end of this turn. Loop context. Same storage rules; an event is either marked or deferred, not both kinds. */
void event_defer(struct event *event);

/* Forget a mark or deferral. Loop context; afterwards the storage is free again. */
void event_cancel(struct event *event);

/* An event that has no interrupt: run it each turn, without sleep. */
struct poller {
	struct event *event;
	struct poller *next;
};
void poller_add(struct poller *poller, struct event *event);
void poller_remove(struct poller *poller);

struct timer {
	void (*run)(struct timer *timer);
	struct timer *next;
	uint64_t deadline_ns; /* clock_ns() time */
	bool active;
};
void timer_start(struct timer *timer, uint64_t deadline_ns, void (*run)(struct timer *timer)); /* restarts when active */
void timer_stop(struct timer *timer);

#define LOOP_FOREVER UINT64_MAX

/* An empty loop: before anything else here, and before interrupts. */
void loop_init(void);

/* One turn; `sleep`: wait for something to do first, at most until `deadline_ns`. True: something ran. */
bool loop_turn(bool sleep, uint64_t deadline_ns);

/* Turns until *flag is true or `timeout_ns` (relative) has passed. Returns *flag. */
bool loop_wait(const bool *flag, uint64_t timeout_ns);

/* Turns for that long. */
void loop_sleep(uint64_t ns);

#endif
