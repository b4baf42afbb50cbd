/*
 * "Network Device": one pair of queues, frames in and out of lists, or looped back.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { RECEIVEQ, TRANSMITQ };

/* "Network Device / Device configuration layout" */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 1, .count = 6, .feature = -1},                  /* mac */
	{.offset = 6, .width = 2, .count = 1, .feature = NET_F_STATUS},        /* status */
	{.offset = 10, .width = 2, .count = 1, .feature = NET_F_MTU},          /* mtu */
	{.offset = 12, .width = 4, .count = 1, .feature = NET_F_SPEED_DUPLEX}, /* speed */
	{.offset = 16, .width = 1, .count = 1, .feature = NET_F_SPEED_DUPLEX}, /* duplex */
	{.width = 0},
};

static void init(struct swdev *dev)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
	struct swdev_nic *nic = calloc(1, sizeof(*nic));

	dev->state = nic;
	nic->incoming_tail = &nic->incoming;
	nic->transmitted_tail = &nic->transmitted;
	memcpy(dev->config, mac, sizeof(mac));
	put16(dev->config + 6, 1);     /* VIRTIO_NET_S_LINK_UP */
	put16(dev->config + 10, 1500); /* mtu */
	put32(dev->config + 12, 10000);
	dev->config[16] = 1;
}

static void append(struct swdev_frame ***tail, const void *bytes, uint32_t length)
{
	struct swdev_frame *frame = calloc(1, sizeof(*frame) + length);

	frame->length = length;
	memcpy(frame->bytes, bytes, length);
	**tail = frame;
	*tail = &frame->next;
}

static struct swdev_frame *remove_first(struct swdev_frame **list, struct swdev_frame ***tail)
{
	struct swdev_frame *frame = *list;

	if (!frame)
		return NULL;
	*list = frame->next;
	if (!*list)
		*tail = list;
	return frame;
}

static void release(struct swdev *dev)
{
	struct swdev_nic *nic = swdev_nic(dev);
	struct swdev_frame *frame;

	while ((frame = remove_first(&nic->incoming, &nic->incoming_tail)))
		free(frame);
	while ((frame = remove_first(&nic->transmitted, &nic->transmitted_tail)))
		free(frame);
	free(nic);
}

void swdev_nic_receive(struct swdev *dev, const void *frame, uint32_t length)
{
	append(&swdev_nic(dev)->incoming_tail, frame, length);
}

struct swdev_frame *swdev_nic_sent(struct swdev *dev)
{
	struct swdev_nic *nic = swdev_nic(dev);

	return remove_first(&nic->transmitted, &nic->transmitted_tail);
}

void swdev_nic_link(struct swdev *dev, bool up)
{
	put16(dev->config + 6, up);
	swdev_config_changed(dev);
}

/* num_buffers is there with VERSION_1 or MRG_RXBUF ("Legacy Interface: Device Operation"). */
static uint32_t header_bytes(const struct swdev *dev)
{
	return swdev_has(dev, F_VERSION_1) || swdev_has(dev, NET_F_MRG_RXBUF) ? 12 : 10;
}

/* "Packet Transmission" */
static void transmit(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_nic *nic = swdev_nic(dev);
	uint32_t header = header_bytes(dev);
	uint64_t length = chain->readable_bytes - header;
	uint32_t most = (swdev_has(dev, NET_F_MTU) ? get16(dev->config + 10) : 1500u) + 14u;
	uint8_t bytes[12 + 14 + 65535] __attribute__((aligned(8))) = {0};

	if (chain->writable)
		swdev_violation(dev, "a device-writable element in transmitq");
	if (chain->readable_bytes < header + 14u || length > most) {
		swdev_violation(dev, "a transmitted buffer of %llu bytes", (unsigned long long)chain->readable_bytes);
		return;
	}
	if (dev->legacy && !swdev_has(dev, F_ANY_LAYOUT) && chain->segments[0].length != header)
		swdev_violation(dev, "the header is not a descriptor of its own");
	swdev_chain_read(chain, 0, bytes, header + length);
	if (bytes[0] & ~1 || (bytes[0] && !swdev_has(dev, NET_F_CSUM)))
		swdev_violation(dev, "transmit header flags %#x", bytes[0]);
	if (bytes[1])
		swdev_violation(dev, "transmit header gso_type %#x", bytes[1]);
	if (header == 12 && get16(bytes + 10))
		swdev_violation(dev, "transmit header num_buffers %u", get16(bytes + 10));
	nic->sent++;
	append(nic->loopback ? &nic->incoming_tail : &nic->transmitted_tail, bytes + header, (uint32_t)length);
}

/* "Setting Up Receive Buffers" */
static void check_receive_buffer(struct swdev *dev, const struct swdev_chain *chain)
{
	uint32_t header = header_bytes(dev);

	if (chain->readable)
		swdev_violation(dev, "a device-readable element in receiveq");
	if (chain->writable_bytes < (swdev_has(dev, NET_F_MRG_RXBUF) ? header : header + 1514))
		swdev_violation(dev, "a receive buffer of %llu bytes", (unsigned long long)chain->writable_bytes);
	if (dev->legacy && !swdev_has(dev, NET_F_MRG_RXBUF) && !swdev_has(dev, F_ANY_LAYOUT) &&
	    chain->segments[0].length != header)
		swdev_violation(dev, "the receive header is not a descriptor of its own");
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	if (queue->index == TRANSMITQ) {
		transmit(queue->dev, chain);
		*written = 0;
		return true;
	}
	check_receive_buffer(queue->dev, chain);
	return false;
}

/* How many held buffers this frame takes; 0: there are not enough. */
static unsigned buffers_for(struct swdev *dev, uint32_t bytes)
{
	unsigned count = 0;

	for (const struct swdev_chain *chain = dev->queues[RECEIVEQ].held; chain; chain = chain->next) {
		count++;
		if (chain->writable_bytes >= bytes)
			return count;
		bytes -= (uint32_t)chain->writable_bytes;
	}
	return 0;
}

/* "Processing of Incoming Packets": the header in the first buffer, num_buffers in all. */
static void receive(struct swdev *dev)
{
	struct swdev_nic *nic = swdev_nic(dev);
	struct swdev_queue *queue = &dev->queues[RECEIVEQ];
	uint32_t header = header_bytes(dev);

	while (nic->incoming) {
		uint8_t head[12] __attribute__((aligned(4))) = {0};
		uint32_t total = header + nic->incoming->length, done = 0;
		unsigned count = buffers_for(dev, total);
		struct swdev_frame *frame;

		if (count == 0)
			return;
		frame = remove_first(&nic->incoming, &nic->incoming_tail);
		if (count > 1 && !swdev_has(dev, NET_F_MRG_RXBUF)) {
			nic->dropped++;
			free(frame);
			continue;
		}
		memcpy(head, nic->header, sizeof(nic->header));
		put16(head + 10, nic->lies ? nic->false_num_buffers : (uint16_t)count);
		nic->received++;
		for (bool first = true; count; count--, first = false) {
			struct swdev_chain *chain = swdev_take_held(queue);
			uint32_t skip = first ? header : 0;
			size_t part;

			if (first)
				swdev_chain_write(chain, 0, head, header);
			part = swdev_chain_write(chain, skip, frame->bytes + done, frame->length - done);
			done += (uint32_t)part;
			swdev_complete(chain, (uint32_t)(part + skip));
		}
		free(frame);
	}
}

static void produce(struct swdev *dev)
{
	if (dev->queues[RECEIVEQ].enabled)
		receive(dev);
}

const struct swdev_type swdev_net = {
	.id = 1,
	.name = "net",
	.queues = 2,
	.features = FEATURE(NET_F_MAC) | FEATURE(NET_F_STATUS) | FEATURE(NET_F_MRG_RXBUF) | FEATURE(NET_F_MTU),
	.fields = fields,
	.config_size = 20,
	.init = init,
	.free = release,
	.serve = serve,
	.produce = produce,
};
