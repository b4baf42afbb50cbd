/*
 * Interrupt sources and vectors. A vector belongs to one line with all its sources, or to one message. Vectors are given out from
 * a fixed range; all go to the boot CPU.
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
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define MESSAGE_ADDRESS 0xfee00000u

/* By vector: the first of its sources. */
static struct irq *sources[VECTOR_LAST + 1 - VECTOR_FIRST];

static struct irq **slot(unsigned vector) { return &sources[vector - VECTOR_FIRST]; }

void irq_dispatch(unsigned vector)
{
	bool level = false;

	if (vector == VECTOR_TIMER) {
		lapic_end_of_interrupt();
		clock_interrupt();
		return;
	}
	/* Below the range: nothing sends those; a spurious one wants no end of interrupt. */
	if (vector < VECTOR_FIRST || vector > VECTOR_LAST)
		return;
	for (struct irq *irq = *slot(vector); irq; irq = irq->next) {
		irq->count++;
		irq->masked = level = irq->level;
		event_mark(irq->event);
	}
	if (level)
		ioapic_mask((*slot(vector))->gsi, true);
	lapic_end_of_interrupt();
}

static unsigned free_vector(void)
{
	for (unsigned vector = VECTOR_FIRST; vector <= VECTOR_LAST; vector++) {
		if (!*slot(vector))
			return vector;
	}
	return 0;
}

static struct irq *line_in_use(unsigned gsi)
{
	for (unsigned vector = VECTOR_FIRST; vector <= VECTOR_LAST; vector++) {
		if (*slot(vector) && (*slot(vector))->gsi == gsi)
			return *slot(vector);
	}
	return NULL;
}

static void attach(struct irq *irq)
{
	irq->next = *slot(irq->vector);
	*slot(irq->vector) = irq;
}

static struct madt_line resolve(unsigned gsi, enum irq_trigger trigger)
{
	if (trigger == IRQ_TRIGGER_ISA && gsi < ARRAY_SIZE(madt.isa))
		return madt.isa[gsi];
	return (struct madt_line){.gsi = gsi, .level = trigger == IRQ_TRIGGER_LEVEL, .low = trigger == IRQ_TRIGGER_LEVEL};
}

int irq_attach_line(struct irq *irq, unsigned gsi, enum irq_trigger trigger, struct event *event)
{
	struct madt_line line = resolve(gsi, trigger);
	unsigned long state;
	int error = 0;

	if (!ioapic_has(line.gsi)) {
		log_warn("irq: there is no interrupt line %u", gsi);
		return -EINVAL;
	}
	state = cpu_irq_save();

	struct irq *shared = line_in_use(line.gsi);

	/* Who shares a line takes it as it is. */
	*irq = (struct irq){.event = event, .gsi = line.gsi, .level = shared ? shared->level : line.level};
	irq->vector = shared ? shared->vector : free_vector();
	if (!irq->vector) {
		error = -ENOSPC;
	} else {
		attach(irq);
		if (!shared) {
			ioapic_route(line.gsi, irq->vector, line.level, line.low);
			ioapic_mask(line.gsi, false);
		}
	}
	cpu_irq_restore(state);
	return error;
}

int irq_attach_message(struct irq *irq, struct event *event, struct irq_message *message)
{
	uint32_t destination = lapic_id();
	unsigned long state;
	unsigned vector;

	/* The address has eight bits for the CPU. */
	if (destination > 0xff)
		return -ENODEV;
	state = cpu_irq_save();
	vector = free_vector();
	if (vector) {
		*irq = (struct irq){.event = event, .gsi = IRQ_NO_GSI, .vector = vector};
		attach(irq);
		*message = (struct irq_message){.address = MESSAGE_ADDRESS | destination << 12, .data = vector};
	}
	cpu_irq_restore(state);
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

void irq_detach(struct irq *irq)
{
	unsigned long state;
	struct irq **at;

	if (!irq->vector)
		return;
	state = cpu_irq_save();
	at = slot(irq->vector);
	while (*at && *at != irq)
		at = &(*at)->next;
	if (*at) {
		*at = irq->next;
		if (irq->gsi != IRQ_NO_GSI && !*slot(irq->vector))
			ioapic_mask(irq->gsi, true);
		else if (irq->masked)
			unmask_if_quiet(*slot(irq->vector));
		irq->masked = false;
		irq->vector = 0;
	}
	cpu_irq_restore(state);
}

void irq_rearm(struct irq *irq)
{
	unsigned long state;

	if (!irq->masked)
		return;
	state = cpu_irq_save();
	irq->masked = false;
	unmask_if_quiet(*slot(irq->vector));
	cpu_irq_restore(state);
}
