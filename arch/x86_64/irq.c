/*
 * Interrupt sources and vectors. A vector of a CPU belongs to one line with all its sources, or to one message. Each CPU has vectors
 * of its own, given out from a fixed range; a source is sent to the CPU of its event, a shared line to that of its first source.
 *
 * A message's interrupt takes no lock: it reads its slot, and whoever empties a slot of another CPU waits for a call to that
 * CPU's loop, behind which no interrupt that had read it before is still running. Lines have a lock.
 *
 * A level-triggered line is masked by its interrupt, before the end of interrupt, and unmasked when the last source that was
 * marked is rearmed: its device has lowered the line by then, in the loop, where that work belongs. The masking costs two register
 * accesses, and only lines pay it.
 */
#include <arch/irq.h>

#include <errno.h>

#include <arch/cpu.h>
#include <base/event.h>
#include <base/log.h>
#include <base/spinlock.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define MESSAGE_ADDRESS 0xfee00000u

#define APIC_ID_MAX 0xfeu /* of what lines and messages can name; all ones are all CPUs */

/* For slots, lists of sources and the I/O APICs; with interrupts masked. */
static struct spinlock lock;

static unsigned long lock_irq(void)
{
	unsigned long state = cpu_irq_save();

	spin_lock(&lock);
	return state;
}

static void unlock_irq(unsigned long state)
{
	spin_unlock(&lock);
	cpu_irq_restore(state);
}

static struct irq **slot(unsigned cpu, unsigned vector) { return &cpus[cpu]->sources[vector - VECTOR_FIRST]; }

static void mark(struct irq *irq)
{
	irq->count++;
	irq->masked = irq->level;
	event_mark_masked(irq->event);
}

static void dispatch_line(unsigned vector)
{
	spin_lock(&lock);

	struct irq *first = *slot(cpu_index(), vector);

	for (struct irq *irq = first; irq; irq = irq->next)
		mark(irq);
	if (first && first->level)
		ioapic_mask(first->gsi, true);
	spin_unlock(&lock);
}

void irq_dispatch(unsigned vector)
{
	if (likely(vector - VECTOR_FIRST <= VECTOR_LAST - VECTOR_FIRST)) {
		struct irq *irq = READ_ONCE(this_cpu()->sources[vector - VECTOR_FIRST]);

		if (likely(irq && irq->gsi == IRQ_NO_GSI)) {
			irq->count++;
			event_mark_masked(irq->event);
		} else if (irq) {
			dispatch_line(vector);
		}
		lapic_end_of_interrupt();
	} else if (vector == VECTOR_TIMER || vector == VECTOR_WAKE) {
		lapic_end_of_interrupt();
		if (vector == VECTOR_TIMER)
			clock_interrupt();
	}
	/* Others: nothing sends them; a spurious one wants no end of interrupt. */
}

static unsigned free_vector(unsigned cpu)
{
	for (unsigned vector = VECTOR_FIRST; vector <= VECTOR_LAST; vector++) {
		if (!*slot(cpu, vector))
			return vector;
	}
	return 0;
}

static struct irq *line_in_use(unsigned gsi)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned vector = VECTOR_FIRST; vector <= VECTOR_LAST; vector++) {
			if (*slot(cpu, vector) && (*slot(cpu, vector))->gsi == gsi)
				return *slot(cpu, vector);
		}
	}
	return NULL;
}

static void attach(struct irq *irq)
{
	irq->next = *slot(irq->cpu, irq->vector);
	/* Filled in first: that CPU may be interrupted at once, by a line that is shared. */
	__atomic_store_n(slot(irq->cpu, irq->vector), irq, __ATOMIC_RELEASE);
}

static struct madt_line resolve(unsigned gsi, enum irq_trigger trigger)
{
	if (trigger == IRQ_TRIGGER_ISA && gsi < ARRAY_SIZE(madt.isa))
		return madt.isa[gsi];
	return (struct madt_line){.gsi = gsi,
	                          .level = trigger == IRQ_TRIGGER_LEVEL || trigger == IRQ_TRIGGER_LEVEL_HIGH,
	                          .low = trigger == IRQ_TRIGGER_LEVEL || trigger == IRQ_TRIGGER_EDGE_LOW};
}

/* Where interrupts for an event go: its CPU, if its number fits; else the first one, whose loop passes the mark on. */
static unsigned target(const struct event *event) { return cpus[event->cpu]->apic_id <= APIC_ID_MAX ? event->cpu : 0; }

/* The binding of I/O APICs ("intel,ce4100-ioapic"): the pin, and how it is triggered. */
int irq_line_of(uint64_t controller, const uint32_t *cells, unsigned count, unsigned *gsi, enum irq_trigger *trigger)
{
	static const enum irq_trigger triggers[] = {IRQ_TRIGGER_EDGE, IRQ_TRIGGER_LEVEL, IRQ_TRIGGER_LEVEL_HIGH,
	                                            IRQ_TRIGGER_EDGE_LOW};
	int first = controller <= UINT32_MAX ? ioapic_first_line((uint32_t)controller) : -ENOENT;

	if (first < 0 || count != 2 || cells[0] > UINT8_MAX || cells[1] >= ARRAY_SIZE(triggers))
		return -ENOENT;
	*gsi = (unsigned)first + cells[0];
	*trigger = triggers[cells[1]];
	return 0;
}

bool irq_line_exists(unsigned gsi, enum irq_trigger trigger)
{
	if (ioapic_has(resolve(gsi, trigger).gsi))
		return true;
	log_warn("irq: there is no interrupt line %u", gsi);
	return false;
}

int irq_attach_line(struct irq *irq, unsigned gsi, enum irq_trigger trigger, struct event *event)
{
	struct madt_line line = resolve(gsi, trigger);
	unsigned cpu = target(event);
	unsigned long state;
	int error = 0;

	if (!irq_line_exists(gsi, trigger))
		return -EINVAL;
	state = lock_irq();

	struct irq *shared = line_in_use(line.gsi);

	/* Who shares a line takes it as it is. */
	*irq = (struct irq){.event = event, .gsi = line.gsi, .level = shared ? shared->level : line.level};
	irq->cpu = shared ? shared->cpu : cpu;
	irq->vector = shared ? shared->vector : free_vector(cpu);
	if (!irq->vector) {
		error = -ENOSPC;
	} else {
		attach(irq);
		if (!shared)
			ioapic_route(line.gsi, cpus[cpu]->apic_id, irq->vector, line.level, line.low);
	}
	unlock_irq(state);
	return error;
}

int irq_attach_message(struct irq *irq, struct event *event, struct irq_message *message)
{
	unsigned cpu = target(event);
	uint32_t destination = cpus[cpu]->apic_id;
	unsigned long state;
	unsigned vector;

	/* The address has eight bits for the CPU. */
	if (destination > APIC_ID_MAX)
		return -ENODEV;
	state = lock_irq();
	vector = free_vector(cpu);
	if (vector) {
		*irq = (struct irq){.event = event, .gsi = IRQ_NO_GSI, .vector = vector, .cpu = cpu};
		attach(irq);
		*message = (struct irq_message){.address = MESSAGE_ADDRESS | destination << 12, .data = vector};
	}
	unlock_irq(state);
	return vector ? 0 : -ENOSPC;
}

/* Unmask a level line when nobody's mark is left on it. */
static void unmask_if_quiet(const struct irq *first)
{
	for (const struct irq *irq = first; irq; irq = irq->next) {
		if (irq->masked)
			return;
	}
	if (first)
		ioapic_mask(first->gsi, false);
}

static void take_out(struct irq *irq)
{
	struct irq **first = slot(irq->cpu, irq->vector), **at = first;

	while (*at && *at != irq)
		at = &(*at)->next;
	if (!*at)
		return;
	WRITE_ONCE(*at, irq->next);
	if (irq->gsi != IRQ_NO_GSI && !*first)
		ioapic_mask(irq->gsi, true);
	else if (irq->masked)
		unmask_if_quiet(*first);
	irq->masked = false;
	irq->vector = 0;
}

static void nothing(void *arg) { (void)arg; }

void irq_detach(struct irq *irq)
{
	unsigned long state;

	if (!irq->vector)
		return;
	state = lock_irq();
	take_out(irq);
	unlock_irq(state);
	cpu_run(irq->cpu, nothing, NULL); /* an interrupt that has the source in its hands ends before that */
}

void irq_rearm(struct irq *irq)
{
	unsigned long state;

	if (!READ_ONCE(irq->masked))
		return;
	state = lock_irq();
	irq->masked = false;
	unmask_if_quiet(*slot(irq->cpu, irq->vector));
	unlock_irq(state);
}
