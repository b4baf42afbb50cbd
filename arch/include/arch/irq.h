/*
 * Interrupt sources.
 *
 * An interrupt does one thing: it marks the event of its source (see <base/event.h>) and wakes the loop. Nothing else runs
 * in interrupt context. The storage of a `struct irq` is its owner's; it must stay in place while attached. Loop context, any CPU;
 * detaching a source of another CPU runs turns of the loop until that CPU has let go of it.
 *
 * Lines (GSIs) may be shared: every attached source of the line is marked. A level-triggered line is masked by its interrupt
 * and stays so until each source that was marked has called irq_rearm(), after it made its device lower the line.
 */
#ifndef ARCH_IRQ_H
#define ARCH_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct event;

enum irq_trigger {
	IRQ_TRIGGER_ISA,   /* what the platform says of the line; edge, active high where it says nothing */
	IRQ_TRIGGER_EDGE,  /* rising edge */
	IRQ_TRIGGER_LEVEL, /* level, active low, as PCI's INTx */
	IRQ_TRIGGER_EDGE_LOW,
	IRQ_TRIGGER_LEVEL_HIGH,
};

struct irq {
	struct event *event;
	struct irq *next;     /* others on the same line */
	uint64_t count;       /* how often it was marked */
	unsigned vector, gsi; /* the architecture's; gsi is IRQ_NO_GSI for messages */
	unsigned cpu;         /* where it interrupts: the event's CPU, if the platform can */
	bool level, masked;
};

#define IRQ_NO_GSI (~0u)

/* What a device writes to raise a message-signalled interrupt. */
struct irq_message {
	uint64_t address;
	uint32_t data;
};

/* Whether the platform has that line. False: one log line says so. */
bool irq_line_exists(unsigned gsi, enum irq_trigger trigger);

/* Attach to a line. -EINVAL: no such line (one log line says so); -ENOSPC: no vector left. */
[[gnu::warn_unused_result]] int irq_attach_line(struct irq *irq, unsigned gsi, enum irq_trigger trigger, struct event *event);

/* The line that a device tree's interrupt is: the cells of the binding of the controller at that physical address. -ENOENT: none. */
[[gnu::warn_unused_result]] int irq_line_of(uint64_t controller, const uint32_t *cells, unsigned count, unsigned *gsi,
                                            enum irq_trigger *trigger);

/* Attach to a message of its own. -ENOSPC: no vector left; -ENODEV: the platform has no messages. */
[[gnu::warn_unused_result]] int irq_attach_message(struct irq *irq, struct event *event, struct irq_message *message);

void irq_detach(struct irq *irq);
void irq_rearm(struct irq *irq); /* nothing to do for edges and messages */

#endif
