/*
 * The console's text on a console device, on machines that have neither a serial port nor a debug port.
 *
 * Text goes into a ring of bytes and from there to the first console device, one request at a time, in the first CPU's loop. When the ring is
 * full, which before there is a device it may be, the newest text is dropped and the loss told.
 */
#include <base/carry.h>

#include <string.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/spinlock.h>
#include <base/util.h>
#include <class/char.h>

#define RING_BYTES 16384u
#define FLUSH_NS 1000000000
#define RETRY_NS 10000000 /* until there is a device */

static char ring[RING_BYTES];
static uint32_t written, sent; /* counts of bytes, ever */
static uint32_t lost;
static struct spinlock lock;
static struct char_request request;
static bool in_flight;
static bool drained = true;

static void drain(struct event *event);
static struct event drain_event = {.run = drain};
static struct timer retry;

static void on_done(struct char_request *done)
{
	sent += done->length;
	in_flight = false;
	event_mark(&drain_event);
}

static void on_retry(struct timer *due)
{
	(void)due;
	event_mark(&drain_event);
}

/* The next piece that lies in one; a request owns it until it is done. */
static void drain(struct event *event)
{
	struct char_device *device = char_find(NULL);
	uint32_t end;

	(void)event;
	if (in_flight)
		return;
	spin_lock(&lock);
	end = written;
	drained = end == sent;
	spin_unlock(&lock);
	if (drained)
		return;
	if (!device) {
		timer_start(&retry, clock_ns() + RETRY_NS, on_retry);
		return;
	}
	in_flight = true;
	request = (struct char_request){.memory = ring + sent % RING_BYTES,
	                                .length = MIN(end - sent, RING_BYTES - sent % RING_BYTES),
	                                .done = on_done};
	char_submit(device, &request);
}

static void put(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		ring[written++ % RING_BYTES] = text[i];
}

static void put_out(const char *text, size_t length)
{
	struct char_device *device = char_find(NULL);

	for (size_t i = 0; device && device->emergency && i < length; i++)
		device->emergency(device, text[i]);
}

void console_carry(const char *text, size_t length, bool now)
{
	static const char told[] = "[text was lost here]\n";

	if (now) {
		put_out(text, length);
		return;
	}
	spin_lock(&lock);
	if (lost && RING_BYTES - (written - sent) >= sizeof(told) + length) {
		put(told, sizeof(told) - 1);
		lost = 0;
	}
	if (RING_BYTES - (written - sent) >= length)
		put(text, length);
	else
		lost++;
	drained = false;
	spin_unlock(&lock);
	event_mark(&drain_event);
}

void console_carry_flush(void)
{
	if (char_find(NULL))
		loop_wait(&drained, FLUSH_NS);
}
