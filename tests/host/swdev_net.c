/*
 * "Network Device": pairs of queues, frames in and out of lists, or looped back. Its controlq is in swdev_net_ctrl.c.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_net_impl.h"

enum { RECEIVEQ, TRANSMITQ };

/* "Network Device / Device configuration layout" */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 1, .count = 6, .feature = -1},                                    /* mac */
	{.offset = 6, .width = 2, .count = 1, .feature = NET_F_STATUS},                          /* status */
	{.offset = 8, .width = 2, .count = 1, .any_of = FEATURE(NET_F_MQ) | FEATURE(NET_F_RSS)}, /* max_virtqueue_pairs */
	{.offset = 10, .width = 2, .count = 1, .feature = NET_F_MTU},                            /* mtu */
	{.offset = 12, .width = 4, .count = 1, .feature = NET_F_SPEED_DUPLEX},                   /* speed */
	{.offset = 16, .width = 1, .count = 1, .feature = NET_F_SPEED_DUPLEX},                   /* duplex */
	{.offset = 17, .width = 1, .count = 1, .any_of = FEATURE(NET_F_RSS) | FEATURE(NET_F_HASH_REPORT)}, /* rss_max_key_size */
	{.offset = 18, .width = 2, .count = 1, .feature = NET_F_RSS}, /* rss_max_indirection_table_length */
	{.offset = 20,
         .width = 4,
         .count = 1,
         .any_of = FEATURE(NET_F_RSS) | FEATURE(NET_F_HASH_REPORT)},          /* supported_hash_types */
	{.offset = 24, .width = 4, .count = 1, .feature = NET_F_HASH_TUNNEL}, /* supported_tunnel_types */
	{.width = 0},
};

/* "Feature bit requirements" */
static const struct swdev_rule rules[] = {
	{NET_F_GUEST_TSO4, FEATURE(NET_F_GUEST_CSUM)},
	{NET_F_GUEST_TSO6, FEATURE(NET_F_GUEST_CSUM)},
	{NET_F_GUEST_ECN, FEATURE(NET_F_GUEST_TSO4) | FEATURE(NET_F_GUEST_TSO6)},
	{NET_F_GUEST_UFO, FEATURE(NET_F_GUEST_CSUM)},
	{NET_F_GUEST_USO4, FEATURE(NET_F_GUEST_CSUM)},
	{NET_F_GUEST_USO6, FEATURE(NET_F_GUEST_CSUM)},
	{NET_F_HOST_TSO4, FEATURE(NET_F_CSUM)},
	{NET_F_HOST_TSO6, FEATURE(NET_F_CSUM)},
	{NET_F_HOST_ECN, FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6)},
	{NET_F_HOST_UFO, FEATURE(NET_F_CSUM)},
	{NET_F_HOST_USO, FEATURE(NET_F_CSUM)},
	{NET_F_CTRL_RX, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_CTRL_RX_EXTRA, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_CTRL_VLAN, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_GUEST_ANNOUNCE, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_MQ, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_CTRL_MAC_ADDR, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_NOTF_COAL, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_VQ_NOTF_COAL, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_RSC_EXT, FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6)},
	{NET_F_RSS, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_HASH_REPORT, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_HASH_TUNNEL, FEATURE(NET_F_CTRL_VQ)},
	{NET_F_HASH_TUNNEL, FEATURE(NET_F_RSS) | FEATURE(NET_F_HASH_REPORT)},
	{0, 0},
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
	put16(dev->config + 8, NET_PAIRS);
	dev->config[17] = 40;
	put16(dev->config + 18, 128);
	put32(dev->config + 20, 0x1ff);
	put32(dev->config + 24, 0x1ff);
	nic->control.pairs = 1;
}

static void reset(struct swdev *dev)
{
	struct swdev_nic_control *control = &swdev_nic(dev)->control;

	*control = (struct swdev_nic_control){.pairs = 1,
	                                      .commands = control->commands,
	                                      .refused = control->refused,
	                                      .announced = control->announced,
	                                      .silent = control->silent,
	                                      .lies = control->lies,
	                                      .false_ack = control->false_ack};
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

void swdev_nic_announce(struct swdev *dev)
{
	put16(dev->config + 6, get16(dev->config + 6) | 2);
	swdev_config_changed(dev);
}

unsigned swdev_nic_pairs(const struct swdev *dev)
{
	return swdev_has(dev, NET_F_MQ) || swdev_has(dev, NET_F_RSS) ? get16(dev->config + 8) : 1;
}

/* num_buffers is there with VERSION_1 or MRG_RXBUF ("Legacy Interface: Device Operation"). */
static uint32_t header_bytes(const struct swdev *dev)
{
	if (swdev_has(dev, NET_F_HASH_REPORT))
		return 20;
	return swdev_has(dev, F_VERSION_1) || swdev_has(dev, NET_F_MRG_RXBUF) ? 12 : 10;
}

static uint16_t ones_sum(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* "Packet Transmission": what the header asks for, and the checksum that it asks for is made. True: longer frames are in order. */
static bool check_header(struct swdev *dev, const uint8_t *header, uint8_t *frame, uint32_t length)
{
	static const struct {
		uint8_t type, feature;
	} types[] = {{1, NET_F_HOST_TSO4}, {3, NET_F_HOST_UFO}, {4, NET_F_HOST_TSO6}, {5, NET_F_HOST_USO}};
	uint8_t type = header[1] & 0x7f;
	unsigned start = get16(header + 6), at = start + get16(header + 8), headers = get16(header + 2);
	bool offered = !type;

	if (header[0] & ~1 || (header[0] && !swdev_has(dev, NET_F_CSUM)))
		swdev_violation(dev, "transmit header flags %#x", header[0]);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		offered = offered || (types[i].type == type && swdev_has(dev, types[i].feature));
	if (!offered || (header[1] & 0x80 && (!type || !swdev_has(dev, NET_F_HOST_ECN))))
		swdev_violation(dev, "transmit header gso_type %#x", header[1]);
	if (!header[0]) {
		if (type)
			swdev_violation(dev, "gso_type %#x without NEEDS_CSUM", header[1]);
		return type;
	}
	if (at + 2 > length) {
		swdev_violation(dev, "transmit header csum_start %u, checksum at %u of %u bytes", start, at, length);
		return type;
	}
	if (type && !get16(header + 4))
		swdev_violation(dev, "gso_size 0 with gso_type %#x", header[1]);
	if (type && swdev_has(dev, NET_F_GUEST_HDRLEN) &&
	    headers != start + (type == 1 || type == 4 ? (frame[start + 12] >> 4) * 4u : 8u))
		swdev_violation(dev, "hdr_len %u", headers);
	if (!type) { /* segments have checksums of their own */
		uint16_t sum = (uint16_t)~ones_sum(frame + start, length - start);

		frame[at] = (uint8_t)(sum >> 8);
		frame[at + 1] = (uint8_t)sum;
	}
	return type;
}

/* "Packet Transmission" */
static void transmit(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_nic *nic = swdev_nic(dev);
	uint32_t header = header_bytes(dev);
	uint64_t length = chain->readable_bytes - header;
	uint32_t most = (swdev_has(dev, NET_F_MTU) ? get16(dev->config + 10) : 1500u) + 14u;
	static uint8_t bytes[20 + 14 + 65589] __attribute__((aligned(8)));

	if (chain->writable)
		swdev_violation(dev, "a device-writable element in transmitq");
	if (chain->queue->index / 2 >= nic->control.pairs)
		swdev_violation(dev, "a frame in transmitq%u of %u", chain->queue->index / 2 + 1, nic->control.pairs);
	if (chain->readable_bytes < header + 14u || length > 65589) {
		swdev_violation(dev, "a transmitted buffer of %llu bytes", (unsigned long long)chain->readable_bytes);
		return;
	}
	if (dev->legacy && !swdev_has(dev, F_ANY_LAYOUT) && chain->segments[0].length != header)
		swdev_violation(dev, "the header is not a descriptor of its own");
	memset(bytes, 0, 20);
	swdev_chain_read(chain, 0, bytes, header + length);
	if (!check_header(dev, bytes, bytes + header, (uint32_t)length) && length > most)
		swdev_violation(dev, "a transmitted buffer of %llu bytes", (unsigned long long)chain->readable_bytes);
	if (header >= 12 && get16(bytes + 10))
		swdev_violation(dev, "transmit header num_buffers %u", get16(bytes + 10));
	nic->sent++;
	memset(nic->last, 0, sizeof(nic->last));
	memcpy(nic->last, bytes, header);
	append(nic->loopback ? &nic->incoming_tail : &nic->transmitted_tail, bytes + header, (uint32_t)length);
}

/* "Setting Up Receive Buffers" */
static void check_receive_buffer(struct swdev *dev, const struct swdev_chain *chain)
{
	const uint64_t segments = NET_F_OFFLOADS_IN & ~FEATURE(NET_F_GUEST_CSUM);
	uint32_t header = header_bytes(dev), least = dev->accepted & segments && chain->queue->size >= 34 ? 65589 : 1514;

	if (chain->readable)
		swdev_violation(dev, "a device-readable element in receiveq");
	if (chain->writable_bytes < (swdev_has(dev, NET_F_MRG_RXBUF) ? header : header + least))
		swdev_violation(dev, "a receive buffer of %llu bytes", (unsigned long long)chain->writable_bytes);
	if (dev->legacy && !swdev_has(dev, NET_F_MRG_RXBUF) && !swdev_has(dev, F_ANY_LAYOUT) &&
	    chain->segments[0].length != header)
		swdev_violation(dev, "the receive header is not a descriptor of its own");
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	if (queue->index == 2 * swdev_nic_pairs(queue->dev))
		return swdev_nic_command(queue, chain, written);
	if (queue->index % 2 == TRANSMITQ) {
		transmit(queue->dev, chain);
		*written = 0;
		return true;
	}
	check_receive_buffer(queue->dev, chain);
	return false;
}

/* How many held buffers this frame takes; 0: there are not enough. */
static unsigned buffers_for(const struct swdev_queue *queue, uint32_t bytes)
{
	unsigned count = 0;

	for (const struct swdev_chain *chain = queue->held; chain; chain = chain->next) {
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
	struct swdev_queue *queue = &dev->queues[2 * nic->pair];
	uint32_t header = header_bytes(dev);

	while (nic->incoming) {
		uint8_t head[20] __attribute__((aligned(4))) = {0};
		uint32_t total = header + nic->incoming->length, done = 0;
		unsigned count = buffers_for(queue, total);
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
		memcpy(head + 12, nic->hash, sizeof(nic->hash));
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
	if (dev->queues[2 * swdev_nic(dev)->pair].enabled)
		receive(dev);
}

const struct swdev_type swdev_net = {
	.id = 1,
	.name = "net",
	.queues = 2 * NET_PAIRS + 1,
	.features = FEATURE(NET_F_MAC) | FEATURE(NET_F_STATUS) | FEATURE(NET_F_MRG_RXBUF) | FEATURE(NET_F_MTU),
	.fields = fields,
	.rules = rules,
	.config_size = 28,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
};
