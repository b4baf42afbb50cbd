/*
 * Network Device: receiving.
 *
 * The receiveq is kept full with buffers of a pool; a filled buffer goes to the program as it is and a fresh one takes its place. When
 * the pool is empty, the first buffer that comes back starts the filling again.
 *
 * A frame in one buffer and without an offload, as most are, is taken in a loop over what was harvested at once; merged buffers and headers
 * that say something take the longer way.
 */
#include <errno.h>
#include <string.h>

#include "net_impl.h"

#define BURST 64u
#define MERGE_HEADER ((uint32_t)offsetof(struct virtio_net_hdr, hash_value)) /* with num_buffers, and without a hash */

/* Buffers that were harvested and not looked at yet. */
struct rx_harvest {
	struct net_buf *bufs[BURST];
	uint32_t lens[BURST];
	unsigned next, count;
};

/* The next used buffer; NULL: none. */
static struct net_buf *harvest_next(struct rx_harvest *harvest, struct virtq *vq, uint32_t *written)
{
	if (harvest->next == harvest->count)
		return virtq_harvest(vq, written);
	*written = harvest->lens[harvest->next];
	return harvest->bufs[harvest->next++];
}

/* ---- filling ---- */

static void await_buffers(struct net_pair *pair) { net_pool_notify(pair->pool, &pair->fill_event); }

/* Requests of one buffer each. What a program gave back at once, as it got it, goes where it was before, once anything was somewhere. */
static bool post_plain(struct net_pair *pair, struct virtq *vq)
{
	const uint32_t header = pair->net->header;
	unsigned want = MIN(BURST, virtq_room(vq)), count = want, again, added;
	struct net_buf **bufs = net_bufs_take(pair->pool, &count);
	struct virtq_buf wire[BURST];

	if (unlikely(count < want))
		await_buffers(pair);
	again = likely(vq->harvested) ? virtq_add_again(vq, (void *const *)bufs, count) : 0;
	if (likely(again == count))
		return count == BURST;
	bufs += again;
	count -= again;
	for (size_t i = 0; i < count; i++)
		wire[i] = (struct virtq_buf){bufs[i]->start - header, BUF_CAPACITY + header};
	added = virtq_add_burst(vq, (void *const *)bufs, wire, count, true);
	if (unlikely(added < count))
		net_bufs_free(bufs + added, count - added);
	return again + added == BURST;
}

/* A request of several, or with the header apart. False: no room, or no buffers, which are awaited then. */
static bool post_pieces(struct net_pair *pair, struct virtq *vq)
{
	const struct net *net = pair->net;
	struct virtq_buf wire[FRAGMENTS_MAX + 1];
	struct net_buf *bufs[FRAGMENTS_MAX];
	unsigned got;
	uint16_t count = 0;

	if (!virtq_room(vq))
		return false;
	got = net_bufs_alloc(pair->pool, bufs, net->rx_fragments);
	if (net->own_header && got)
		wire[count++] = (struct virtq_buf){bufs[0]->data - net->header, net->header};
	for (unsigned i = 0; i < got; i++) {
		uint32_t extra = i || net->own_header ? 0 : net->header;

		wire[count++] = (struct virtq_buf){bufs[i]->data - extra, BUF_CAPACITY + extra};
		bufs[i]->more = i + 1 < got ? bufs[i + 1] : NULL;
	}
	if (got == net->rx_fragments && !virtq_add(vq, wire, 0, count, bufs[0]))
		return true;
	net_pool_notify(pair->pool, NULL); /* those that go back now are no news */
	if (got)
		net_buf_free(bufs[0]);
	if (got < net->rx_fragments)
		await_buffers(pair);
	return false;
}

/* "Setting Up Receive Buffers": as fully populated as possible */
void virtio_net_rx_fill(struct net_pair *pair)
{
	const struct net *net = pair->net;
	struct virtq *vq = pair->rx;

	if (unlikely(!vq || vq->closed || !virtq_room(vq)))
		return;
	if (likely(net->rx_fragments == 1 && !net->own_header))
		while (post_plain(pair, vq))
			;
	else
		while (post_pieces(pair, vq))
			;
}

void virtio_net_rx_again(struct net_device *device)
{
	struct net *net = net_of(device);

	for (unsigned i = 0; i < net->pair_count; i++)
		if (net->pairs[i].rx)
			event_mark(&net->pairs[i].rx->event);
}

static void set_quiet(struct virtq *vq)
{
	const struct net_pair *pair = vq->context;

	virtq_set_quiet(vq, pair->net->device.polled);
}

void virtio_net_rx_poll(struct net_device *device)
{
	struct net *net = net_of(device);

	for (unsigned i = 0; i < net->pair_count; i++)
		if (net->pairs[i].rx)
			virtq_run(net->pairs[i].rx, set_quiet);
}

static void run_fill(struct event *event)
{
	struct net_pair *pair = container_of(event, struct net_pair, fill_event);

	virtio_net_rx_fill(pair);
	if (pair->rx)
		virtq_kick(pair->rx);
}

/* ---- frames ---- */

/* Lay `bytes` of a frame out over the buffers of its request; those behind its end go back. */
static void rx_spread(struct net_buf *buf, uint32_t bytes)
{
	for (;; buf = buf->more) {
		buf->length = MIN(bytes, buf->capacity);
		bytes -= buf->length;
		if (!bytes)
			break;
	}
	net_buf_free(buf->more);
	buf->more = NULL;
}

/* Append the `count` further buffers of a mergeable frame: they are used already, and begin without a header. Adds up *bytes. */
static bool rx_merge(struct net_pair *pair, struct rx_harvest *harvest, struct virtq *vq, struct net_buf *head, unsigned count,
                     uint32_t *bytes)
{
	struct net_buf **tail = &head->more;

	while (count--) {
		uint32_t written;
		struct net_buf *buf = harvest_next(harvest, vq, &written);

		if (!buf)
			return false;
		*tail = buf;
		tail = &buf->more;
		buf->data -= pair->net->header;
		buf->length = written;
		*bytes += written;
		if (!written)
			return false;
	}
	return true;
}

/* A frame from the request that begins with `head`. False: there is none in it, or none to be accepted. */
static bool rx_take(struct net_pair *pair, struct rx_harvest *harvest, struct virtq *vq, struct net_buf *head, uint32_t written)
{
	const struct net *net = pair->net;
	const struct virtio_net_hdr *header = (const void *)(head->data - net->header);
	uint32_t bytes = written - net->header;
	unsigned count = 1;

	if (written < net->header + ETHERNET_HEADER)
		return false;
	/* "Processing of Incoming Packets": 1 where MRG_RXBUF was not negotiated; flags that we do not know are ignored */
	if (net->mergeable)
		count = le16_to_cpu(READ_ONCE(header->num_buffers));
	if (count < 1 || count > vq->size)
		return false;
	rx_spread(head, bytes);
	if ((count > 1 && !rx_merge(pair, harvest, vq, head, count - 1, &bytes)) || !virtio_net_rx_header(net, head, bytes))
		return false;
	pair->counters.rx_bytes += bytes;
	return true;
}

/* A frame in one buffer whose header says nothing gets its length. (The header is read for this only: what a device makes of it later is of
 * no effect.) */
static inline bool rx_plain_one(struct net_buf *buf, uint32_t written, uint32_t header_bytes, bool merge, uint32_t *length)
{
	const struct virtio_net_hdr *header = (const void *)(buf->data - header_bytes);

	*length = written - header_bytes;
	if (unlikely((merge && header->num_buffers != cpu_to_le16(1)) || header->flags_and_gso ||
	             *length - ETHERNET_HEADER > BUF_CAPACITY - ETHERNET_HEADER))
		return false;
	buf->length = *length;
	return true;
}

/* How many of `count` requests are such, from the front. */
[[gnu::always_inline]] static inline unsigned rx_plain(struct net_pair *pair, struct net_buf **bufs, const uint32_t *lens,
                                                       unsigned count, const bool merge)
{
	const uint32_t header_bytes = merge ? MERGE_HEADER : pair->net->header;
	uint32_t bytes = 0, length[4];
	size_t i = 0;

#define PLAIN(j) rx_plain_one(bufs[j], lens[j], header_bytes, merge, &length[(j)-i])
	for (; i + 4 <= count && FOUR(PLAIN, i); i += 4)
		bytes += length[0] + length[1] + length[2] + length[3];
	for (; i < count && PLAIN(i); i++)
		bytes += length[0];
#undef PLAIN
	pair->counters.rx_bytes += bytes;
	return (unsigned)i;
}

/* Frames from all that was harvested, into `out`. */
static unsigned rx_frames(struct net_pair *pair, struct rx_harvest *harvest, struct virtq *vq, struct net_buf **out)
{
	unsigned taken = 0;

	while (harvest->next < harvest->count) {
		uint32_t written;
		struct net_buf *buf = harvest_next(harvest, vq, &written);

		if (rx_take(pair, harvest, vq, buf, written)) {
			out[taken++] = buf;
		} else {
			pair->counters.rx_errors++;
			net_buf_free(buf);
		}
	}
	return taken;
}

/* At most `count` frames; 0: none. */
static unsigned rx_harvest(struct net_pair *pair, struct virtq *vq, struct net_buf **out, unsigned count)
{
	const struct net *net = pair->net;
	struct rx_harvest harvest;
	unsigned got, taken = 0;

	while (vq && !taken) { /* those that were no frames do not end it */
		got = virtq_harvest_burst(vq, (void **)out, harvest.lens, MIN(count, BURST));
		if (!got)
			break;
		if (likely(net->rx_plain))
			taken = net->mergeable ? rx_plain(pair, out, harvest.lens, got, true)
			                       : rx_plain(pair, out, harvest.lens, got, false);
		if (unlikely(taken < got)) {
			harvest.next = taken;
			harvest.count = got;
			memcpy(harvest.bufs, out, got * sizeof(out[0]));
			taken += rx_frames(pair, &harvest, vq, out + taken);
		}
	}
	pair->counters.rx_frames += taken;
	return taken;
}

static struct net_buf *backlog_pop(struct net_pair *pair)
{
	struct net_buf *buf = pair->backlog;

	pair->backlog = buf->next;
	if (!pair->backlog)
		pair->backlog_tail = &pair->backlog;
	buf->next = NULL;
	return buf;
}

/* The ring is filled up before: with what the program has given back since, and at the turn's end with what it gives back until then. */
unsigned virtio_net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	struct net_pair *pair = net_pair_of(net_of(device));
	unsigned taken = 0;

	if (unlikely(!pair))
		return 0;
	virtio_net_rx_fill(pair);
	while (unlikely(pair->backlog) && taken < count)
		bufs[taken++] = backlog_pop(pair);
	while (taken < count) {
		unsigned more = rx_harvest(pair, pair->rx, bufs + taken, count - taken);

		if (!more)
			break;
		taken += more;
	}
	event_defer(&pair->fill_event);
	return taken;
}

/* Out of the ring, until the program asks. */
static void rx_hold_back(struct net_pair *pair, struct virtq *vq)
{
	struct net_buf *buf;

	while (rx_harvest(pair, vq, &buf, 1)) {
		buf->next = NULL;
		*pair->backlog_tail = buf;
		pair->backlog_tail = &buf->next;
	}
}

void virtio_net_rx_used(struct virtq *vq)
{
	struct net_pair *pair = vq->context;
	struct net_device *device = &pair->net->device;

	if (device->polled)
		return;
	if (device->rx_ready)
		device->rx_ready(device);
	else
		rx_hold_back(pair, vq); /* the ring falls silent once it is empty */
}

int virtio_net_rx_open(struct net_pair *pair, unsigned buffers)
{
	event_init_on(&pair->fill_event, pair->index, run_fill);
	pair->backlog_tail = &pair->backlog;
	pair->pool = net_pool_create(buffers);
	return pair->pool ? 0 : -ENOMEM;
}

void virtio_net_rx_drain(struct net_pair *pair, struct virtq *vq)
{
	struct net_buf *buf;

	rx_hold_back(pair, vq);
	while ((buf = virtq_detach_unused(vq)))
		net_buf_free(buf);
}

void virtio_net_rx_close(struct net_pair *pair)
{
	while (pair->backlog)
		net_buf_free(backlog_pop(pair));
	if (pair->pool)
		net_pool_destroy(pair->pool);
	event_cancel(&pair->fill_event);
}
