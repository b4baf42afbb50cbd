/*
 * Calls to other CPUs: an event that belongs to the callee carries function and argument there, and one of the caller's comes back.
 */
#include <base/event.h>

#include <arch/cpu.h>
#include <arch/platform.h>
#include <base/util.h>

static void run_call(struct event *event)
{
	struct cpu_call *call = container_of(event, struct cpu_call, event);
	struct event *done = call->done;

	call->run(call->arg); /* which may free the call */
	if (done)
		event_mark(done);
}

void cpu_call(struct cpu_call *call, unsigned cpu, void (*run)(void *arg), void *arg, struct event *done)
{
	if (cpu >= cpu_count())
		panic("a call to CPU %u of %u", cpu, cpu_count());
	*call = (struct cpu_call){.run = run, .arg = arg, .done = done};
	event_init_on(&call->event, cpu, run_call);
	event_mark(&call->event);
}

struct answer {
	struct event event;
	bool came;
};

static void run_answer(struct event *event) { container_of(event, struct answer, event)->came = true; }

void cpu_run(unsigned cpu, void (*run)(void *arg), void *arg)
{
	struct answer answer = {.came = false};
	struct cpu_call call;

	if (cpu == cpu_index()) {
		run(arg);
		return;
	}
	event_init(&answer.event, run_answer);
	cpu_call(&call, cpu, run, arg, &answer.event);
	loop_wait(&answer.came, LOOP_FOREVER);
}
