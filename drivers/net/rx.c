/*
 * Network Device: receiving.
 *
 * The receiveq is kept full with buffers of a pool; a filled buffer goes to the program as it is and a fresh one takes its place. When
 * the pool is empty, the first buffer that comes back starts the filling again.
 */
#include <errno.h>

#include "net_impl.h"

#define POOL_BUFFERS 512u /* a ring of them with the device, another one with the program */

/* Make one more request for a frame available. False: no room, or no buffers, which are awaited then. */
static bool rx_post(struct net *net)
{
	struct virtq_buf bufs[RX_FRAGMENTS + 1];
	struct net_buf *head = NULL, **tail = &head;
	uint16_t count = 0;

	for (unsigned i = 0; i < net->rx_fragments; i++) {
		struct net_buf *buf = net_buf_alloc(net->pool);

		if (!buf) {
			net_pool_notify(net->pool, NULL); /* those that go back now are no news */
			net_buf_free(head);
			net_pool_notify(net->pool, &net->fill_event);
			return false;
		}
		if (!i && net->own_header)
			bufs[count++] = (struct virtq_buf){buf->data - net->header, net->header};
		if (!i && !net->own_header)
			bufs[count++] = (struct virtq_buf){buf->data - net->header, net->header + buf->capacity};
		else
			bufs[count++] = (struct virtq_buf){buf->data, buf->capacity};
		*tail = buf;
		tail = &buf->more;
	}
	if (!virtq_add(net->rx, bufs, 0, count, head))
		return true;
	net_buf_free(head);
	return false;
}

/* "Setting Up Receive Buffers": as fully populated as possible */
void virtio_net_rx_fill(struct net *net)
{
	bool any = false;

	while (net->rx && virtq_room(net->rx) && rx_post(net))
		any = true;
	if (any)
		virtq_kick_later(net->rx);
}

void virtio_net_rx_again(struct net_device *device)
{
	struct net *net = container_of(device, struct net, device);

	if (net->rx)
		event_mark(&net->rx->event);
}

static void run_fill(struct event *event) { virtio_net_rx_fill(container_of(event, struct net, fill_event)); }

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

/* Append the `count` further buffers of a mergeable frame: they are used already, and begin without a header. */
static bool rx_merge(const struct net *net, struct virtq *vq, struct net_buf *head, unsigned count)
{
	struct net_buf **tail = &head->more;

	while (count--) {
		uint32_t written;
		struct net_buf *buf = virtq_harvest(vq, &written);

		if (!buf)
			return false;
		*tail = buf;
		tail = &buf->more;
		buf->data -= net->header;
		buf->length = written;
		if (!written)
			return false;
	}
	return true;
}

/* "Processing of Incoming Packets": MUST NOT accept a packet over both kinds of UDP tunnel, over one with flags that do not go with
 * it, or over none but with its checksum. As no tunnel feature is accepted, no packet over any is due. */
static bool rx_acceptable(const struct virtio_net_hdr *header)
{
	const uint8_t contradiction = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;

	return !(header->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL) && (header->flags & contradiction) != contradiction;
}

/* A frame from the request that begins with `head`. False: there is none in it, or none to be accepted. */
static bool rx_take(const struct net *net, struct virtq *vq, struct net_buf *head, uint32_t written)
{
	const struct virtio_net_hdr *header = (const void *)(head->data - net->header);
	unsigned count = 1;

	if (written < net->header + ETHERNET_HEADER)
		return false;
	/* "Processing of Incoming Packets": 1 where MRG_RXBUF was not negotiated; flags that we do not know are ignored */
	if (virtio_has(net->vdev, VIRTIO_NET_F_MRG_RXBUF))
		count = le16_to_cpu(READ_ONCE(header->num_buffers));
	if (count < 1 || count > vq->size)
		return false;
	rx_spread(head, written - net->header);
	return (count == 1 || rx_merge(net, vq, head, count - 1)) && rx_acceptable(header);
}

/* The next frame; NULL: none. */
static struct net_buf *rx_next(struct net *net, struct virtq *vq)
{
	struct net_buf *head;
	uint32_t written;

	while (vq && (head = virtq_harvest(vq, &written))) {
		if (likely(rx_take(net, vq, head, written))) {
			net->device.rx_frames++;
			for (const struct net_buf *buf = head; buf; buf = buf->more)
				net->device.rx_bytes += buf->length;
			return head;
		}
		net->device.rx_errors++;
		net_buf_free(head);
	}
	return NULL;
}

static struct net_buf *backlog_pop(struct net *net)
{
	struct net_buf *buf = net->backlog;

	net->backlog = buf->next;
	if (!net->backlog)
		net->backlog_tail = &net->backlog;
	buf->next = NULL;
	return buf;
}

unsigned virtio_net_rx_burst(struct net_device *device, struct net_buf **bufs, unsigned count)
{
	struct net *net = container_of(device, struct net, device);
	unsigned taken = 0;

	while (taken < count) {
		struct net_buf *buf = unlikely(net->backlog) ? backlog_pop(net) : rx_next(net, net->rx);

		if (!buf)
			break;
		bufs[taken++] = buf;
	}
	virtio_net_rx_fill(net);
	return taken;
}

/* Out of the ring, until the program asks. */
static void rx_hold_back(struct net *net, struct virtq *vq)
{
	struct net_buf *buf;

	while ((buf = rx_next(net, vq))) {
		*net->backlog_tail = buf;
		net->backlog_tail = &buf->next;
	}
}

void virtio_net_rx_used(struct virtq *vq)
{
	struct net *net = vq->context;

	if (net->device.rx_ready)
		net->device.rx_ready(&net->device);
	else
		rx_hold_back(net, vq); /* the ring falls silent once it is empty */
}

int virtio_net_rx_open(struct net *net)
{
	event_init(&net->fill_event, run_fill);
	net->backlog_tail = &net->backlog;
	net->pool = net_pool_create(POOL_BUFFERS);
	return net->pool ? 0 : -ENOMEM;
}

void virtio_net_rx_drain(struct net *net, struct virtq *vq)
{
	struct net_buf *buf;

	rx_hold_back(net, vq);
	while ((buf = virtq_detach_unused(vq)))
		net_buf_free(buf);
}

void virtio_net_rx_close(struct net *net)
{
	while (net->backlog)
		net_buf_free(backlog_pop(net));
	net_pool_destroy(net->pool);
	event_cancel(&net->fill_event);
}
