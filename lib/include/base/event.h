/*
 * The event loop: run to completion, one per CPU.
 *
 * A turn: with nothing marked or deferred sleep until an interrupt or the next timer, run the callbacks of marked events, then timers that
 * are due, then deferred events. Kicks, one per queue, go out at its end, and before the sleep. Callbacks run in the loop, never in
 * interrupt context, one at a time, and may mark, defer, start and stop anything, and free their own event after event_cancel().
 *
 * A blocking call (loop_wait) runs turns until its condition holds. It may be made from a callback: turns nest, but an event
 * whose callback is still running is not run again inside it; it runs when that callback has returned.
 *
 * Several CPUs: each runs a loop of its own. An event, a timer and a poller belong to one CPU, and their callbacks run there. Any CPU
 * may mark any event, and that is the one way from CPU to CPU: what was written before the mark is seen by the run. Everything
 * else here works on this CPU's own loop; to do it elsewhere, send a call there. So what belongs to one CPU needs no lock.
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/cpu.h>

struct event {
	void (*run)(struct event *event);
	struct event *next, *next_post;
	unsigned cpu; /* where it runs */
	bool marked;  /* waits for its run; the owner's */
	bool posted;  /* another CPU's mark is on its way; atomic */
	bool kick;    /* event_init_kick() */
};

/* An event of CPU `cpu`, or of this one. */
static inline void event_init_on(struct event *event, unsigned cpu, void (*run)(struct event *event))
{
	*event = (struct event){.run = run, .cpu = cpu};
}
static inline void event_init(struct event *event, void (*run)(struct event *event)) { event_init_on(event, cpu_index(), run); }
/* One that is only ever deferred, and tells a device something, nothing else: nobody waits for its run, and the loop may sleep behind it. */
static inline void event_init_kick(struct event *event, unsigned cpu, void (*run)(struct event *event))
{
	*event = (struct event){.run = run, .cpu = cpu, .kick = true};
}

/* Ask for a run in this or the next turn of its CPU; marking twice is one run. Any context, interrupts included; any CPU. */
void event_mark(struct event *event);
/* The same where interrupts are masked, as in their handlers. */
void event_mark_masked(struct event *event);

/* Ask for a run at the end of this turn; for a kick, or before the loop sleeps. Loop context. Same storage rules; an event is either marked or
 * deferred, not both kinds. Another CPU's event is marked instead. */
void event_defer(struct event *event);

/* Forget a mark or deferral. Loop context of its CPU, when no other CPU will mark it any more; afterwards the storage is free. */
void event_cancel(struct event *event);

/* An event that has no interrupt: run it each turn of this CPU, without sleep. */
struct poller {
	struct event *event;
	struct poller *next;
};
void poller_add(struct poller *poller, struct event *event);
void poller_remove(struct poller *poller);

/* Started, run and stopped on one CPU. */
struct timer {
	void (*run)(struct timer *timer);
	struct timer *next;
	uint64_t deadline_ns; /* clock_ns() time */
	bool active;
};
void timer_start(struct timer *timer, uint64_t deadline_ns, void (*run)(struct timer *timer)); /* restarts when active */
void timer_stop(struct timer *timer);

#define LOOP_FOREVER UINT64_MAX

/* Empty loops, for all CPUs: before anything else here, before interrupts and the other CPUs. */
void loop_init(void);

/* One turn; `sleep`: wait for something to do first, at most until `deadline_ns`. True: something ran. */
bool loop_turn(bool sleep, uint64_t deadline_ns);

/* Turns until *flag is true or `timeout_ns` (relative) has passed. Returns *flag. */
bool loop_wait(const bool *flag, uint64_t timeout_ns);

/* Turns for that long. */
void loop_sleep(uint64_t ns);

/* What the CPUs but the first do: turns for ever. */
[[gnu::noreturn]] void loop_run(void);

/* ---- calls to other CPUs ---- */

struct cpu_call {
	struct event event;
	void (*run)(void *arg);
	void *arg;
	struct event *done;
};

/* Have run(arg) called in the loop of `cpu` (below cpu_count()), then `done` marked, which may be NULL and may belong to any CPU. The
 * storage of `call` is free again when run(arg) is called. Any context, any CPU, its own included. */
void cpu_call(struct cpu_call *call, unsigned cpu, void (*run)(void *arg), void *arg, struct event *done);

/* The same, and turns of this CPU's loop until it has returned; on `cpu` itself it is just called. Loop context. */
void cpu_run(unsigned cpu, void (*run)(void *arg), void *arg);

#endif
