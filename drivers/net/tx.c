/*
 * Network Device: transmission.
 *
 * Used buffers are looked for by net_tx_burst(), which a busy program calls anyway, once a burst of them is in flight, and by a timer
 * while any are, so that each done() runs in bounded time; the timer looks less often the longer it finds nothing. An interrupt is
 * asked for only by a program that has to wait, and then one for most of what is in flight.
 */
#include <errno.h>

#include <arch/clock.h>
#include "net_impl.h"

#define LOOK_FIRST_NS UINT64_C(200000)
#define LOOK_LAST_NS UINT64_C(6400000)
#define BURST 64u
#define KICK_NOW 16u /* frames of a call that are worth a notification; fewer share one at the end of the turn */
#define PLAIN_HEADER 16u
_Static_assert(offsetof(struct virtio_net_hdr, hash_value) <= PLAIN_HEADER, "a header without a hash");

static void tx_end(struct net_pair *pair, struct net_buf **bufs, unsigned count, int status)
{
	if (status)
		pair->counters.tx_errors += count;
	else
		pair->counters.tx_frames += count;
	net_bufs_done(bufs, count, status);
}

/* All that is there, or (no more than one look) a burst of it. True: there were some. A done() that sends comes back here, and leaves the
 * rest to the loop that it was called from. */
static bool tx_harvest(struct net_pair *pair, struct virtq *vq, bool all)
{
	struct net_buf *bufs[BURST];
	bool any = false;
	unsigned count;

	if (pair->tx_harvesting || !vq)
		return false;
	pair->tx_harvesting = true;
	do {
		/* "Legacy Interface: Device Operation": lengths are to be ignored for transmit queues */
		count = virtq_harvest_burst(vq, (void **)bufs, NULL, BURST);
		if (!count)
			break;
		pair->tx_in_flight -= count;
		any = true;
		tx_end(pair, bufs, count, 0);
	} while (all || count == BURST);
	pair->tx_harvesting = false;
	return any;
}

/* To a program that net_tx_burst() disappointed. */
void virtio_net_tx_tell_room(struct net_pair *pair)
{
	struct net_device *device = &pair->net->device;

	if (!pair->tx_starved || !pair->tx || pair->index >= READ_ONCE(device->queues) || !virtq_room(pair->tx))
		return;
	pair->tx_starved = false;
	if (device->tx_ready)
		device->tx_ready(device);
}

void virtio_net_tx_used(struct virtq *vq)
{
	tx_harvest(vq->context, vq, true);
	virtio_net_tx_tell_room(vq->context);
}

/* The program waits: an interrupt when three quarters are through leaves the device the rest to work on meanwhile. */
static void tx_await(struct net_pair *pair)
{
	pair->tx_starved = true;
	if (pair->tx && pair->tx_in_flight && virtq_irq_enable_after(pair->tx, (uint16_t)(pair->tx_in_flight * 3 / 4 + 1)))
		event_mark(&pair->tx->event);
}

static void tx_look(struct timer *timer)
{
	struct net_pair *pair = container_of(timer, struct net_pair, tx_timer);

	pair->tx_look_ns = tx_harvest(pair, pair->tx, true) ? LOOK_FIRST_NS : MIN(pair->tx_look_ns * 2, LOOK_LAST_NS);
	if (pair->tx_in_flight && !timer->active)
		timer_start(timer, clock_ns() + pair->tx_look_ns, tx_look);
	virtio_net_tx_tell_room(pair);
}

/* "Packet Transmission": flags 0, gso_type NONE, num_buffers 0. A shorter header is the end of those bytes. */
static inline void clear_header(uint8_t *data)
{
	__builtin_memset(data - sizeof(struct virtio_net_hdr), 0, sizeof(struct virtio_net_hdr));
}

/* The same where no hash is reported: two stores. */
static inline void clear_plain_header(uint8_t *data) { __builtin_memset(data - PLAIN_HEADER, 0, PLAIN_HEADER); }

/* A frame in pieces, with an offload, or with the header apart. As virtq_add(); -EINVAL, -ENOTSUP also for what may not be sent. */
static int tx_add(struct net_pair *pair, struct net_buf *buf)
{
	const struct net *net = pair->net;
	struct virtq_buf bufs[FRAGMENTS_MAX + 1];
	uint16_t count = 0;
	uint64_t bytes = 0;
	int error;

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
	/* "Device configuration layout": MUST NOT transmit packets of size exceeding mtu, with gso_type NONE or ECN */
	if (bytes > (buf->offload.gso ? GSO_FRAME_MAX : net->frame_max))
		return -EINVAL;
	clear_header(buf->data);
	if (net_offload_any(&buf->offload)) {
		error = virtio_net_tx_header(net, buf, (uint32_t)bytes);
		if (error)
			return error;
	}
	error = virtq_add(pair->tx, bufs, count, 0, buf);
	if (!error)
		pair->counters.tx_bytes += bytes;
	return error;
}

/* A frame in one piece and without an offload is a descriptor, header and frame, in the place `i`. False: it is none. */
static inline bool tx_put(struct virtq_span *span, size_t i, struct net_buf *buf, uint32_t header, uint32_t most, uint64_t *bytes,
                          const bool packed)
{
	uint8_t *data = buf->data;
	uint64_t length;

	if (unlikely(!net_buf_plain(buf, most, &length)))
		return false;
	clear_plain_header(data);
	virtq_span_put(span, i, data - header, length, buf, packed);
	*bytes += length;
	return true;
}

/* As many such from the front as there are, four at a time, then one by one. Gives how many. */
[[gnu::always_inline]] static inline unsigned tx_put_all(struct net_pair *pair, struct virtq_span span, struct net_buf **bufs,
                                                         const unsigned room, const bool packed)
{
	const uint32_t header = pair->net->header, most = pair->net->tx_plain_max;
	uint64_t bytes = 0;
	unsigned left = room;

	virtq_span_longer(&span, header);
#define PUT(i) tx_put(&span, i, bufs[i], header, most, &bytes, packed)
	for (; left >= 4; left -= 4, bufs += 4, virtq_span_step(&span, 4)) {
		const struct virtq_span span_before = span;
		const uint64_t bytes_before = bytes;

		if (!FOUR(PUT, 0)) {
			span = span_before;
			bytes = bytes_before;
			break;
		}
	}
	for (; left && PUT(0); left--, bufs++)
		virtq_span_step(&span, 1);
#undef PUT
	pair->counters.tx_bytes += bytes;
	return room - left;
}

/* A loop for each layout, with registers enough. 0 also where the device uses frames out of turn: one by one, then. */
[[gnu::noinline]] static unsigned tx_add_plain(struct net_pair *pair, struct net_buf **bufs, unsigned count)
{
	struct virtq_span span;

	count = virtq_span(pair->tx, count, &span);
	if (unlikely(!count))
		return 0;
	count = pair->tx->packed ? tx_put_all(pair, span, bufs, count, true) : tx_put_all(pair, span, bufs, count, false);
	virtq_span_end(pair->tx, count);
	return count;
}

unsigned virtio_net_tx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	struct net_pair *pair = net_pair_of(net_of(device));
	unsigned taken = 0, before;

	if (unlikely(!pair))
		return 0;
	if (unlikely(!pair->tx || pair->index >= READ_ONCE(device->queues))) {
		pair->tx_starved = true; /* until the restart */
		return 0;
	}
	if (pair->tx_in_flight >= BURST || !count)
		tx_harvest(pair, pair->tx, !count);
	before = pair->tx_in_flight;
	while (pair->tx && taken < count) {
		unsigned plain = tx_add_plain(pair, bufs + taken, count - taken);
		int error;

		taken += plain;
		pair->tx_in_flight += plain;
		if (plain || taken == count)
			continue;
		error = tx_add(pair, bufs[taken]);
		if (!error) {
			pair->tx_in_flight++;
			taken++;
		} else if (error == -EINVAL || error == -ENOTSUP || (error == -ENOSPC && !pair->tx_in_flight)) {
			tx_end(pair, &bufs[taken++], 1, error == -ENOSPC ? -EINVAL : error);
		} else {
			break; /* no room, or broken: until the restart */
		}
	}
	if (taken < count || !count)
		tx_await(pair);
	if (unlikely(!pair->tx)) /* stopped inside a done() */
		return taken;
	if (taken >= KICK_NOW)
		virtq_kick(pair->tx);
	else if (pair->tx_in_flight != before)
		virtq_kick_later(pair->tx);
	if (pair->tx_in_flight && !pair->tx_timer.active) {
		pair->tx_look_ns = LOOK_FIRST_NS;
		timer_start(&pair->tx_timer, clock_ns() + pair->tx_look_ns, tx_look);
	}
	return taken;
}

void virtio_net_tx_drain(struct net_pair *pair, struct virtq *vq)
{
	struct net_buf *buf;

	timer_stop(&pair->tx_timer);
	tx_harvest(pair, vq, true);
	while ((buf = virtq_detach_unused(vq))) {
		pair->tx_in_flight--;
		tx_end(pair, &buf, 1, -EIO);
	}
}
