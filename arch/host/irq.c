/*
 * Interrupt lines and messages.
 *
 * A device, on whatever thread, only notes what it raises here and wakes the CPU; the CPU's thread takes it (host_irq_take())
 * once it may be interrupted. A line's CPU is the first, a message's that of its event. Message `n` is attached at address 0xfee00000 + 16 n with data 0x4000 + n.
 */
#include <arch/irq.h>

#include <errno.h>
#include <pthread.h>

#include <base/event.h>
#include <base/log.h>

#include "local.h"

#define MESSAGE_MAX 4096u
#define MESSAGE_ADDRESS UINT64_C(0xfee00000)
#define MESSAGE_DATA 0x4000u

struct line {
	struct irq *first;
	bool level, asserted;
	bool edge; /* a rising edge was not taken yet */
};

unsigned host_message_limit = 1024;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct irq *messages[MESSAGE_MAX];
static bool raised[MESSAGE_MAX];
static unsigned raised_list[MESSAGE_MAX], raised_count; /* in order of arrival */
static struct line lines[HOST_LINES];
static unsigned attached;

void host_irq_reset(void)
{
	for (unsigned i = 0; i < MESSAGE_MAX; i++) {
		messages[i] = NULL;
		raised[i] = false;
	}
	for (unsigned i = 0; i < HOST_LINES; i++)
		lines[i] = (struct line){};
	attached = 0;
	raised_count = 0;
	host_message_limit = 1024;
}

int irq_attach_message(struct irq *irq, struct event *event, struct irq_message *message)
{
	int result = host_message_limit ? -ENOSPC : -ENODEV;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < host_message_limit && i < MESSAGE_MAX; i++) {
		if (messages[i])
			continue;
		*irq = (struct irq){.event = event, .vector = i, .gsi = IRQ_NO_GSI, .cpu = event->cpu};
		*message = (struct irq_message){MESSAGE_ADDRESS + 16 * i, MESSAGE_DATA + i};
		messages[i] = irq;
		attached++;
		result = 0;
		break;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

bool irq_line_exists(unsigned gsi, enum irq_trigger trigger)
{
	(void)trigger;
	if (gsi >= HOST_LINES)
		log_error("irq: no line %u", gsi);
	return gsi < HOST_LINES;
}

int irq_attach_line(struct irq *irq, unsigned gsi, enum irq_trigger trigger, struct event *event)
{
	if (!irq_line_exists(gsi, trigger))
		return -EINVAL;

	struct line *line = &lines[gsi];

	pthread_mutex_lock(&lock);
	if (!line->first)
		line->level = trigger == IRQ_TRIGGER_LEVEL || trigger == IRQ_TRIGGER_LEVEL_HIGH;
	*irq = (struct irq){.event = event, .next = line->first, .gsi = gsi, .level = line->level};
	line->first = irq;
	attached++;
	pthread_mutex_unlock(&lock);
	if (line->level && line->asserted)
		host_irq_raised(0);
	return 0;
}

int irq_line_of(uint64_t controller, const uint32_t *cells, unsigned count, unsigned *gsi, enum irq_trigger *trigger)
{
	if (controller != HOST_CONTROLLER || count != 2 || cells[0] >= HOST_LINES || cells[1] > IRQ_TRIGGER_LEVEL_HIGH)
		return -ENOENT;
	*gsi = cells[0];
	*trigger = (enum irq_trigger)cells[1];
	return 0;
}

void irq_detach(struct irq *irq)
{
	bool was_masked = irq->masked;

	pthread_mutex_lock(&lock);
	if (irq->gsi == IRQ_NO_GSI) {
		if (messages[irq->vector] != irq)
			host_fail("irq_detach: not attached");
		messages[irq->vector] = NULL;
	} else {
		struct irq **at = &lines[irq->gsi].first;

		while (*at && *at != irq)
			at = &(*at)->next;
		if (!*at)
			host_fail("irq_detach: not attached");
		*at = irq->next;
	}
	attached--;
	pthread_mutex_unlock(&lock);
	if (was_masked)
		host_irq_raised(0);
}

void irq_rearm(struct irq *irq)
{
	if (!irq->level)
		return;
	pthread_mutex_lock(&lock);
	irq->masked = false;
	pthread_mutex_unlock(&lock);
	host_irq_raised(0);
}

unsigned host_irq_attached(void) { return attached; }

static bool masked(const struct line *line)
{
	for (const struct irq *irq = line->first; irq; irq = irq->next) {
		if (irq->masked)
			return true;
	}
	return false;
}

bool host_irq_line_masked(unsigned gsi)
{
	pthread_mutex_lock(&lock);

	bool result = masked(&lines[gsi]);

	pthread_mutex_unlock(&lock);
	return result;
}

static void mark(struct irq *irq)
{
	irq->count++;
	event_mark(irq->event);
}

static void take_line(struct line *line)
{
	bool fires = line->level ? line->asserted && !masked(line) : line->edge;

	line->edge = false;
	for (struct irq *irq = line->first; fires && irq; irq = irq->next) {
		irq->masked = irq->level;
		mark(irq);
	}
}

/* The caller runs on the CPU's thread with interrupts off, as an interrupt handler does. */
void host_irq_take(unsigned cpu)
{
	unsigned left = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < raised_count; i++) {
		unsigned index = raised_list[i];

		if (messages[index] && messages[index]->cpu != cpu) {
			raised_list[left++] = index;
			continue;
		}
		raised[index] = false;
		if (messages[index])
			mark(messages[index]);
	}
	raised_count = left;
	for (unsigned i = 0; cpu == 0 && i < HOST_LINES; i++)
		take_line(&lines[i]);
	pthread_mutex_unlock(&lock);
}

bool host_irq_raise_message(uint64_t address, uint32_t data)
{
	uint64_t index = data - MESSAGE_DATA;
	unsigned cpu = 0;
	bool known = false;

	pthread_mutex_lock(&lock);
	if (index < MESSAGE_MAX && address == MESSAGE_ADDRESS + 16 * index && messages[index]) {
		known = true;
		cpu = messages[index]->cpu;
		if (!raised[index])
			raised_list[raised_count++] = (unsigned)index;
		raised[index] = true;
	}
	pthread_mutex_unlock(&lock);
	if (known)
		host_irq_raised(cpu);
	else
		host_strays++;
	return known;
}

void host_irq_set_line(unsigned gsi, bool asserted)
{
	struct line *line = &lines[gsi];

	pthread_mutex_lock(&lock);

	bool rises = asserted && !line->asserted;

	line->asserted = asserted;
	line->edge |= rises;
	pthread_mutex_unlock(&lock);
	if (asserted)
		host_irq_raised(0);
}
