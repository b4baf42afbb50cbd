/*
 * Network Device: transmission.
 *
 * Used buffers are looked for at each net_tx_burst(), which a busy program calls anyway, and by a timer while any are in flight, so
 * that each done() runs in bounded time; the timer looks less often the longer it finds nothing. An interrupt is asked for only
 * by a program that has to wait, and then one for most of what is in flight.
 */
#include <errno.h>

#include <arch/clock.h>
#include "net_impl.h"

#define LOOK_FIRST_NS UINT64_C(200000)
#define LOOK_LAST_NS UINT64_C(6400000)

static void tx_end(struct net_device *device, struct net_buf *buf, int status)
{
	if (status) {
		device->tx_errors++;
	} else {
		device->tx_frames++;
		device->tx_bytes += buf->reserved;
	}
	buf->status = status;
	if (buf->done)
		buf->done(buf);
	else
		net_buf_free(buf);
}

/* True: there were some. A done() that sends comes back here, and leaves the rest to the loop that it was called from. */
static bool tx_harvest(struct net *net, struct virtq *vq)
{
	struct net_buf *buf;
	uint32_t written; /* "Legacy Interface: Device Operation": to be ignored for transmit queues */
	bool any = false;

	if (net->tx_harvesting || !vq)
		return false;
	net->tx_harvesting = true;
	while ((buf = virtq_harvest(vq, &written))) {
		net->tx_in_flight--;
		any = true;
		tx_end(&net->device, buf, 0);
	}
	net->tx_harvesting = false;
	return any;
}

/* To a program that net_tx_burst() disappointed. */
void virtio_net_tx_tell_room(struct net *net)
{
	if (!net->tx_starved || !net->tx || !virtq_room(net->tx))
		return;
	net->tx_starved = false;
	if (net->device.tx_ready)
		net->device.tx_ready(&net->device);
}

void virtio_net_tx_used(struct virtq *vq)
{
	tx_harvest(vq->context, vq);
	virtio_net_tx_tell_room(vq->context);
}

/* The program waits: an interrupt when three quarters are through leaves the device the rest to work on meanwhile. */
static void tx_await(struct net *net)
{
	net->tx_starved = true;
	if (net->tx && net->tx_in_flight && virtq_irq_enable_after(net->tx, (uint16_t)(net->tx_in_flight * 3 / 4 + 1)))
		event_mark(&net->tx->event);
}

static void tx_look(struct timer *timer)
{
	struct net *net = container_of(timer, struct net, tx_timer);

	net->tx_look_ns = tx_harvest(net, net->tx) ? LOOK_FIRST_NS : MIN(net->tx_look_ns * 2, LOOK_LAST_NS);
	if (net->tx_in_flight && !timer->active)
		timer_start(timer, clock_ns() + net->tx_look_ns, tx_look);
	virtio_net_tx_tell_room(net);
}

/* A frame in pieces, or with the header apart. As virtq_add(); -EINVAL also for what may not be sent. */
static int tx_add_pieces(struct net *net, struct net_buf *buf)
{
	struct virtq_buf bufs[TX_FRAGMENTS + 1];
	uint16_t count = 0;
	uint64_t bytes = 0;

	bufs[count++] = (struct virtq_buf){buf->data - net->header, net->header};
	for (const struct net_buf *piece = buf; piece; piece = piece->more) {
		if (!piece->length || count == ARRAY_SIZE(bufs))
			return -EINVAL;
		if (piece == buf && !net->own_header)
			bufs[0].len += piece->length;
		else
			bufs[count++] = (struct virtq_buf){piece->data, piece->length};
		bytes += piece->length;
	}
	/* "Device configuration layout": MUST NOT transmit packets of size exceeding mtu */
	if (bytes > net->frame_max)
		return -EINVAL;
	buf->reserved = (uint32_t)bytes;
	return virtq_add(net->tx, bufs, count, 0, buf);
}

static int tx_add(struct net *net, struct net_buf *buf)
{
	struct virtq_buf whole = {buf->data - net->header, net->header + buf->length};

	/* "Packet Transmission": flags 0, gso_type NONE, num_buffers 0. A legacy header is the end of those bytes. */
	__builtin_memset(buf->data - sizeof(struct virtio_net_hdr), 0, sizeof(struct virtio_net_hdr));
	if (unlikely(buf->more || net->own_header || buf->length - 1 >= net->frame_max))
		return tx_add_pieces(net, buf);
	buf->reserved = buf->length;
	return virtq_add(net->tx, &whole, 1, 0, buf);
}

unsigned virtio_net_tx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	struct net *net = container_of(device, struct net, device);
	unsigned taken = 0, before;

	if (unlikely(!net->tx)) {
		net->tx_starved = true; /* until the restart */
		return 0;
	}
	tx_harvest(net, net->tx);
	before = net->tx_in_flight;
	while (net->tx && taken < count) {
		int error = tx_add(net, bufs[taken]);

		if (!error) {
			net->tx_in_flight++;
			taken++;
		} else if (error == -EINVAL || (error == -ENOSPC && !net->tx_in_flight)) {
			tx_end(device, bufs[taken++], -EINVAL);
		} else {
			break; /* no room, or broken: until the restart */
		}
	}
	if (taken < count || !count)
		tx_await(net);
	if (unlikely(!net->tx)) /* stopped inside a done() */
		return taken;
	if (net->tx_in_flight != before)
		virtq_kick_later(net->tx);
	if (net->tx_in_flight && !net->tx_timer.active) {
		net->tx_look_ns = LOOK_FIRST_NS;
		timer_start(&net->tx_timer, clock_ns() + net->tx_look_ns, tx_look);
	}
	return taken;
}

void virtio_net_tx_drain(struct net *net, struct virtq *vq)
{
	struct net_buf *buf;

	timer_stop(&net->tx_timer);
	tx_harvest(net, vq);
	while ((buf = virtq_detach_unused(vq))) {
		net->tx_in_flight--;
		tx_end(&net->device, buf, -EIO);
	}
}
