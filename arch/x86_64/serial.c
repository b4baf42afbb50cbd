/*
 * COM1: a 16550A, set to 115200 8N1. Output is polled: after each look at the line status a whole FIFO is filled, so that sixteen
 * bytes cost one look. Input is announced by an interrupt where there is one.
 *
 * A machine without it has a debug port, perhaps, or a console device.
 *
 * The port is set up at its first use, since the first line may come before anything else. One that is missing is never
 * touched again. One that stops sending is waited for once; from then on output is dropped until it sends again.
 */
#include <arch/platform.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/irq.h>
#include <arch/mmio.h>
#include <base/carry.h>
#include <base/event.h>
#include <base/spinlock.h>
#include <base/util.h>

#include "local.h"

#define PORT 0x3f8
#define ISA_INTERRUPT 4
#define DEBUG_PORT_NUMBER 0xe9

enum {
	REG_DATA,       /* with LCR_DIVISOR: the divisor's low byte */
	REG_INTERRUPTS, /* ... and its high byte */
	REG_FIFO,
	REG_LINE_CONTROL,
	REG_MODEM_CONTROL,
	REG_LINE_STATUS,
	REG_MODEM_STATUS,
	REG_SCRATCH,
};

#define INTERRUPT_RECEIVED 0x01
#define FIFO_ENABLE_AND_CLEAR 0x07
#define LCR_8N1 0x03
#define LCR_DIVISOR 0x80
#define MODEM_LOOP 0x10
#define MODEM_DTR_RTS_OUT2 0x0b /* OUT2 lets interrupts through */
#define STATUS_RECEIVED 0x01
#define STATUS_EMPTY 0x20   /* the transmit FIFO */
#define STATUS_SENT 0x40    /* and the shift register */
#define STATUS_MISSING 0xff /* what no port answers */

#define FIFO_SIZE 16
#define WAIT_NS 1000000000
#define WAIT_READS 1000000 /* while there is no clock yet */

static enum { PORT_UNKNOWN, PORT_MISSING, PORT_READY, PORT_STUCK } state;
static int early = -1;       /* a byte that came before the port was set up */
static struct spinlock lock; /* for writers; only one CPU reads */
static bool unlocked;
static struct irq irq;
static struct poller poller;

static uint8_t get(unsigned reg) { return pio_read8((uint16_t)(PORT + reg)); }

static void set(unsigned reg, uint8_t value) { pio_write8((uint16_t)(PORT + reg), value); }

static bool scratch_keeps(uint8_t value)
{
	set(REG_SCRATCH, value);
	return get(REG_SCRATCH) == value;
}

/* By its scratch register, or, as emulations may lack that, by a line status that is an idle port's. */
static bool detect(void)
{
	uint8_t status = get(REG_LINE_STATUS);

	if (scratch_keeps(0x5a) && scratch_keeps(0xa5))
		return true;
	return status != STATUS_MISSING && (status & (STATUS_EMPTY | STATUS_SENT)) == (STATUS_EMPTY | STATUS_SENT);
}

static bool ready(void)
{
	if (state == PORT_UNKNOWN) {
		state = detect() ? PORT_READY : PORT_MISSING;
		if (state == PORT_READY) {
			set(REG_INTERRUPTS, 0);
			set(REG_LINE_CONTROL, LCR_DIVISOR | LCR_8N1);
			set(REG_DATA, 1);
			set(REG_INTERRUPTS, 0);
			set(REG_LINE_CONTROL, LCR_8N1);
			/* Clearing the FIFO would lose what was typed ahead: take it, deaf to what follows meanwhile. */
			set(REG_MODEM_CONTROL, MODEM_LOOP);
			if (get(REG_LINE_STATUS) & STATUS_RECEIVED)
				early = get(REG_DATA);
			set(REG_FIFO, FIFO_ENABLE_AND_CLEAR);
			set(REG_MODEM_CONTROL, MODEM_DTR_RTS_OUT2);
		}
	}
	return state != PORT_MISSING;
}

static bool wait_for(uint8_t bits)
{
	uint64_t start = 0;

	for (unsigned reads = 0; (get(REG_LINE_STATUS) & bits) != bits; reads++) {
		if (!reads)
			start = clock_ns();
		if (state == PORT_STUCK || clock_ns() - start > WAIT_NS || (clock_hz() == 0 && reads > WAIT_READS)) {
			state = PORT_STUCK;
			return false;
		}
		cpu_relax();
	}
	state = PORT_READY;
	return true;
}

/* What carries the text where there is no serial port: a VMM's debug port, which reads as its own number, or a console device. */
static void write_elsewhere(const char *text, size_t length)
{
	static enum { NOT_TRIED, NONE, DEBUG_PORT } other;

	if (other == NOT_TRIED)
		other = pio_read8(DEBUG_PORT_NUMBER) == DEBUG_PORT_NUMBER ? DEBUG_PORT : NONE;
	for (size_t i = 0; other == DEBUG_PORT && i < length; i++)
		pio_write8(DEBUG_PORT_NUMBER, (uint8_t)text[i]);
	if (other == NONE && console_carry)
		console_carry(text, length, unlocked);
}

static void write_bytes(const char *text, size_t length)
{
	if (!ready()) {
		write_elsewhere(text, length);
		return;
	}
	for (size_t at = 0; at < length; at++) {
		if (at % FIFO_SIZE == 0 && !wait_for(STATUS_EMPTY))
			return;
		set(REG_DATA, (uint8_t)text[at]);
	}
}

void arch_console_write(const char *text, size_t length)
{
	bool locked = !unlocked;

	if (locked)
		spin_lock(&lock);
	write_bytes(text, length);
	if (locked)
		spin_unlock(&lock);
}

void serial_unlock(void) { unlocked = true; }

void serial_drain(void)
{
	if (state == PORT_READY)
		wait_for(STATUS_EMPTY | STATUS_SENT);
}

int arch_console_read(void)
{
	if (!ready())
		return -1;
	if (early >= 0) {
		int byte = early;

		early = -1;
		return byte;
	}
	if (get(REG_LINE_STATUS) & STATUS_RECEIVED)
		return get(REG_DATA);
	/* Empty, so the line is low: the next byte may interrupt again. */
	irq_rearm(&irq);
	return -1;
}

void arch_console_attach(struct event *event)
{
	if (!ready())
		return;
	if (irq_attach_line(&irq, ISA_INTERRUPT, IRQ_TRIGGER_ISA, event) == 0)
		set(REG_INTERRUPTS, INTERRUPT_RECEIVED);
	else
		poller_add(&poller, event);
	if (early >= 0)
		event_mark(event);
}
