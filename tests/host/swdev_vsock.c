/*
 * "Socket Device". See swdev_vsock.h.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_vsock.h"

enum { RX, TX, EVENT };
enum { EOM = 1, EOR = 2 };
#define HOST UINT64_C(2)
#define HEADER 44u
#define ENDS 4096u
#define SPACE 20000u

static const struct swdev_field fields[] = {{.offset = 0, .width = 8, .count = 1, .feature = -1}, {.width = 0}};

struct swdev_packet {
	struct swdev_packet *next;
	uint32_t length;
	uint8_t bytes[];
};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_vsock));
	put64(dev->config, VSOCK_CID);
	swdev_vsock_state(dev)->space = SPACE;
}

static void free_flow(struct swdev_flow *flow)
{
	free(flow->bytes);
	free(flow->ends);
	free(flow->end_flags);
	free(flow);
}

static void reset(struct swdev *dev)
{
	struct swdev_vsock *state = swdev_vsock_state(dev);

	while (state->flows) {
		struct swdev_flow *flow = state->flows;

		state->flows = flow->next;
		free_flow(flow);
	}
	while (state->outbox) {
		struct swdev_packet *packet = state->outbox;

		state->outbox = packet->next;
		free(packet);
	}
}

static void release(struct swdev *dev)
{
	reset(dev);
	free(dev->state);
}

/* ---- out ---- */

static void post(struct swdev *dev, const uint8_t header[HEADER], const void *bytes, uint32_t length)
{
	struct swdev_packet *packet = malloc(sizeof(*packet) + HEADER + length), **at = &swdev_vsock_state(dev)->outbox;

	packet->next = NULL;
	packet->length = HEADER + length;
	memcpy(packet->bytes, header, HEADER);
	if (length)
		memcpy(packet->bytes + HEADER, bytes, length);
	while (*at)
		at = &(*at)->next;
	*at = packet;
}

void swdev_vsock_raw(struct swdev *dev, uint64_t from, uint64_t to, uint32_t port, uint32_t driver_port, unsigned type,
                     unsigned op, uint32_t length)
{
	uint8_t header[HEADER] __attribute__((aligned(8))) = {0};

	put64(header, from);
	put64(header + 8, to);
	put32(header + 16, port);
	put32(header + 20, driver_port);
	put32(header + 24, length);
	put16(header + 28, (uint16_t)type);
	put16(header + 30, (uint16_t)op);
	put32(header + 36, 1000);
	post(dev, header, NULL, 0);
}

void swdev_vsock_say(struct swdev *dev, struct swdev_flow *flow, unsigned op, uint32_t flags, const void *bytes, uint32_t length)
{
	uint8_t header[HEADER] __attribute__((aligned(8))) = {0};

	put64(header, HOST);
	put64(header + 8, get64(dev->config));
	put32(header + 16, flow->port);
	put32(header + 20, flow->driver_port);
	put32(header + 24, length);
	put16(header + 28, (uint16_t)flow->type);
	put16(header + 30, (uint16_t)op);
	put32(header + 32, flags);
	put32(header + 36, swdev_vsock_state(dev)->space);
	put32(header + 40, flow->forwarded);
	flow->told = flow->forwarded;
	flow->sent += length;
	post(dev, header, bytes, length);
}

static struct swdev_flow *new_flow(struct swdev *dev, unsigned type, uint32_t port, uint32_t driver_port)
{
	struct swdev_flow *flow = calloc(1, sizeof(*flow));

	flow->type = type;
	flow->port = port;
	flow->driver_port = driver_port;
	flow->ends = calloc(ENDS, sizeof(*flow->ends));
	flow->end_flags = calloc(ENDS, 1);
	flow->next = swdev_vsock_state(dev)->flows;
	swdev_vsock_state(dev)->flows = flow;
	return flow;
}

void swdev_vsock_call(struct swdev *dev, unsigned type, uint32_t port, uint32_t driver_port)
{
	swdev_vsock_say(dev, new_flow(dev, type, port, driver_port), VSOCK_REQUEST, 0, NULL, 0);
}

struct swdev_flow *swdev_vsock_flow(struct swdev *dev, uint32_t port, uint32_t driver_port)
{
	struct swdev_flow *flow = swdev_vsock_state(dev)->flows;

	while (flow && (flow->port != port || (driver_port && flow->driver_port != driver_port)))
		flow = flow->next;
	return flow;
}

static void forget(struct swdev *dev, struct swdev_flow *flow)
{
	struct swdev_flow **at = &swdev_vsock_state(dev)->flows;

	while (*at != flow)
		at = &(*at)->next;
	*at = flow->next;
	free_flow(flow);
}

static void taken(struct swdev *dev, struct swdev_flow *flow, uint32_t bytes)
{
	flow->length -= bytes;
	memmove(flow->bytes, flow->bytes + bytes, flow->length);
	flow->forwarded += bytes;
	if (flow->forwarded - flow->told > swdev_vsock_state(dev)->space / 2)
		swdev_vsock_say(dev, flow, VSOCK_CREDIT_UPDATE, 0, NULL, 0);
}

void swdev_vsock_drain(struct swdev *dev, struct swdev_flow *flow, uint32_t bytes)
{
	taken(dev, flow, bytes < flow->length ? bytes : flow->length);
	swdev_vsock_say(dev, flow, VSOCK_CREDIT_UPDATE, 0, NULL, 0);
}

/* As much as the driver has space for, one packet at a time: the end of a message ends it. */
static void echo(struct swdev *dev, struct swdev_flow *flow)
{
	while (flow->length) {
		uint32_t space = flow->driver_space - (flow->sent - flow->driver_forwarded), bytes = flow->length, flags = 0;

		bytes = bytes < space ? bytes : space;
		bytes = bytes < 1500 ? bytes : 1500;
		if (flow->end_count && flow->ends[0] - flow->forwarded <= bytes) {
			bytes = flow->ends[0] - flow->forwarded;
			flags = flow->end_flags[0];
			memmove(flow->ends, flow->ends + 1, --flow->end_count * sizeof(*flow->ends));
			memmove(flow->end_flags, flow->end_flags + 1, flow->end_count);
		}
		if (!bytes)
			return;
		swdev_vsock_say(dev, flow, VSOCK_RW, flags, flow->bytes, bytes);
		taken(dev, flow, bytes);
	}
}

/* ---- in ---- */

static void data(struct swdev *dev, struct swdev_flow *flow, const uint8_t *bytes, uint32_t length, uint32_t flags)
{
	if (length > swdev_vsock_state(dev)->space - (flow->received - flow->told))
		swdev_violation(dev, "%u bytes for port %u, which are more than there is space for", length, flow->port);
	if (flow->type == 1 ? flags : flags > 3)
		swdev_violation(dev, "data with flags %#x", flags);
	flow->bytes = realloc(flow->bytes, flow->length + length + 1);
	memcpy(flow->bytes + flow->length, bytes, length);
	flow->length += length;
	flow->received += length;
	if (flags & EOM && flow->end_count < ENDS) {
		flow->ends[flow->end_count] = flow->received;
		flow->end_flags[flow->end_count++] = (uint8_t)flags;
	}
}

static void known(struct swdev *dev, struct swdev_flow *flow, const uint8_t *header, unsigned op, const uint8_t *bytes,
                  uint32_t length)
{
	struct swdev_vsock *state = swdev_vsock_state(dev);
	uint32_t flags = get32(header + 32);

	flow->driver_space = get32(header + 36);
	flow->driver_forwarded = get32(header + 40);
	if (op != VSOCK_RST && (!flow->driver_space || flow->driver_forwarded > flow->sent))
		swdev_violation(dev, "credit: space %u, %u of %u bytes", flow->driver_space, flow->driver_forwarded, flow->sent);
	if (op == VSOCK_RST) {
		state->resets++;
		forget(dev, flow);
	} else if (op == VSOCK_RESPONSE && !flow->connected) {
		flow->connected = true;
	} else if (!flow->connected || op == VSOCK_RESPONSE || op == VSOCK_REQUEST) {
		swdev_violation(dev, "packet %u for a socket that is %sconnected", op, flow->connected ? "" : "not ");
	} else if (op == VSOCK_RW) {
		data(dev, flow, bytes, length, flags);
	} else if (op == VSOCK_SHUTDOWN) {
		state->shutdowns++;
		flow->shut |= flags;
		if (flow->shut == 3 && !state->silent) {
			swdev_vsock_say(dev, flow, VSOCK_RST, 0, NULL, 0);
			forget(dev, flow);
		}
	} else if (op == VSOCK_CREDIT_REQUEST) {
		state->credit_requests++;
		if (!state->silent)
			swdev_vsock_say(dev, flow, VSOCK_CREDIT_UPDATE, 0, NULL, 0);
	} else if (op == VSOCK_CREDIT_UPDATE) {
		state->credit_updates++;
	} else {
		swdev_violation(dev, "operation %u", op);
	}
}

static void hear(struct swdev *dev, const uint8_t *header, const uint8_t *bytes, uint32_t length)
{
	struct swdev_vsock *state = swdev_vsock_state(dev);
	uint32_t driver_port = get32(header + 16), port = get32(header + 20);
	unsigned type = get16(header + 28), op = get16(header + 30);
	struct swdev_flow *flow = swdev_vsock_flow(dev, port, driver_port),
			  dead = {.type = type, .port = port, .driver_port = driver_port};

	if (!dev->lie && get64(header) != get64(dev->config)) /* a lie may be about that */
		swdev_violation(dev, "src_cid %llu", (unsigned long long)get64(header));
	if (flow) {
		known(dev, flow, header, op, bytes, length);
	} else if (op == VSOCK_REQUEST) {
		state->requests++;
		if (state->silent)
			return;
		if (get64(header + 8) != HOST || (port != VSOCK_ECHO_PORT && port != VSOCK_SINK_PORT) || type < 1 || type > 2) {
			swdev_vsock_say(dev, &dead, VSOCK_RST, 0, NULL, 0);
			return;
		}
		flow = new_flow(dev, type, port, driver_port);
		flow->connected = true;
		flow->driver_space = get32(header + 36);
		swdev_vsock_say(dev, flow, VSOCK_RESPONSE, 0, NULL, 0);
	} else if (op == VSOCK_RST) {
		state->resets++;
	} else {
		swdev_vsock_say(dev, &dead, VSOCK_RST, 0, NULL, 0);
	}
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	uint8_t *bytes;
	uint32_t length;

	*written = 0;
	if (queue->index != TX) {
		if (chain->readable)
			swdev_violation(dev, "a device-readable element in queue %u", queue->index);
		return false;
	}
	if (swdev_vsock_state(dev)->hoards)
		return false;
	bytes = aligned_alloc(8, (chain->readable_bytes + HEADER + 8) & ~7ull);
	swdev_chain_read(chain, 0, bytes, chain->readable_bytes);
	length = chain->readable_bytes >= HEADER ? get32(bytes + 24) : UINT32_MAX;
	if (chain->writable || length > chain->readable_bytes - HEADER)
		swdev_violation(dev, "a packet of %llu bytes", (unsigned long long)chain->readable_bytes);
	else
		hear(dev, bytes, bytes + HEADER, length);
	free(bytes);
	return true;
}

static void produce(struct swdev *dev)
{
	struct swdev_vsock *state = swdev_vsock_state(dev);

	for (struct swdev_flow *flow = state->flows; flow; flow = flow->next)
		if (flow->port != VSOCK_SINK_PORT && flow->connected)
			echo(dev, flow);
	while (state->outbox && dev->queues[RX].held) {
		struct swdev_packet *packet = state->outbox;
		struct swdev_chain *chain = swdev_take_held(&dev->queues[RX]);

		swdev_chain_write(chain, 0, packet->bytes, packet->length);
		state->outbox = packet->next;
		swdev_complete(chain, packet->length);
		free(packet);
	}
}

void swdev_vsock_move(struct swdev *dev, uint64_t cid)
{
	struct swdev_chain *chain = swdev_take_held(&dev->queues[EVENT]);
	static const uint8_t transport_reset[4];

	reset(dev);
	put64(dev->config, cid);
	if (!chain)
		return;
	swdev_chain_write(chain, 0, transport_reset, 4);
	swdev_complete(chain, 4);
}

const struct swdev_type swdev_vsock = {
	.id = 19,
	.name = "vsock",
	.queues = 3,
	.features = FEATURE(VSOCK_F_STREAM) | FEATURE(VSOCK_F_SEQPACKET) | FEATURE(VSOCK_F_NO_IMPLIED_STREAM),
	.fields = fields,
	.config_size = 8,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
};

/* ---- lies ---- */

static bool lying(struct swdev *dev)
{
	if (dev->looks % 2 || dev->lies_told > 100 || !(dev->status & ST_DRIVER_OK))
		return false;
	dev->lies_told++;
	return true;
}

static void to_nobody(struct swdev *dev)
{
	for (unsigned op = 0; op < 10 && lying(dev); op++)
		swdev_vsock_raw(dev, HOST, get64(dev->config), 1, 2, 1, op, 0);
}

static void of_no_type(struct swdev *dev)
{
	if (lying(dev))
		swdev_vsock_raw(dev, HOST, get64(dev->config), 1, 2, 77, VSOCK_RW, 0);
}

static void to_another(struct swdev *dev)
{
	if (lying(dev))
		swdev_vsock_raw(dev, HOST, UINT64_MAX, VSOCK_ECHO_PORT, 49152, 1, VSOCK_RST, 0);
}

static void longer_than_it_is(struct swdev *dev)
{
	if (lying(dev))
		swdev_vsock_raw(dev, HOST, get64(dev->config), VSOCK_ECHO_PORT, 49152, 1, VSOCK_RW, 5000);
}

static void in_the_flow(struct swdev *dev, unsigned op, uint32_t flags, uint32_t length)
{
	static const uint8_t zeros[4000];
	struct swdev_flow *flow = swdev_vsock_flow(dev, VSOCK_ECHO_PORT, 0);

	if (flow && lying(dev))
		swdev_vsock_say(dev, flow, op, flags, zeros, length);
}

static void beyond_credit(struct swdev *dev)
{
	for (unsigned i = 0; i < 40; i++)
		in_the_flow(dev, VSOCK_RW, 0, 4000);
}

static void connects_again(struct swdev *dev) { in_the_flow(dev, VSOCK_REQUEST, 0, 0); }
static void responds_again(struct swdev *dev) { in_the_flow(dev, VSOCK_RESPONSE, 0, 0); }
static void unknown_operation(struct swdev *dev) { in_the_flow(dev, 99, 0, 0); }
static void after_its_end(struct swdev *dev)
{
	in_the_flow(dev, VSOCK_SHUTDOWN, 2, 0);
	in_the_flow(dev, VSOCK_RW, 0, 10);
}
static void cuts_off(struct swdev *dev) { in_the_flow(dev, VSOCK_RST, 0, 0); }

static void asks_for_credit(struct swdev *dev) { in_the_flow(dev, VSOCK_CREDIT_REQUEST, 0, 0); }

static void no_space(struct swdev *dev)
{
	swdev_vsock_state(dev)->space = 0;
	dev->lies_told++;
}

static void hoards(struct swdev *dev)
{
	swdev_vsock_state(dev)->hoards = true;
	dev->lies_told++;
}

static void moves(struct swdev *dev)
{
	if (dev->looks % 5 == 0 && dev->queues[EVENT].held && lying(dev))
		swdev_vsock_move(dev, 100 + dev->looks);
}

static void moves_to_nowhere(struct swdev *dev)
{
	if (dev->looks % 5 == 0 && dev->queues[EVENT].held && lying(dev))
		swdev_vsock_move(dev, 1);
}

#define LIE(text, ...)                                                                                                           \
	{                                                                                                                        \
		.name = text, .fronts = FRONT_DIRECT | FRONT_PCI, .type = &swdev_vsock, __VA_ARGS__                              \
	}
static const struct swdev_lie lies[] = {
	LIE("guest_cid 2", .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 2, .says = "guest_cid 2"),
	LIE("guest_cid of ones", .reg = REG_CONFIG, .index = -1, .op = OP_SET, .value = UINT32_MAX, .says = "guest_cid"),
	LIE("vsock packets to nobody", .at_look = to_nobody, .harmless = true, .works = true),
	LIE("vsock packets of no type", .at_look = of_no_type, .harmless = true, .works = true),
	LIE("vsock packets to another machine", .at_look = to_another, .harmless = true, .works = true),
	LIE("vsock packets longer than they are", .at_look = longer_than_it_is, .works = true, .says = "cut off"),
	LIE("vsock data beyond the credit", .at_look = beyond_credit, .blind = true, .says = "against the rules"),
	LIE("vsock connects what is connected", .at_look = connects_again, .says = "against the rules"),
	LIE("vsock responds again", .at_look = responds_again, .says = "against the rules"),
	LIE("vsock operation 99", .at_look = unknown_operation, .says = "against the rules"),
	LIE("vsock data after its end", .at_look = after_its_end, .blind = true, .says = "against the rules"),
	LIE("vsock cuts connections off", .at_look = cuts_off, .blind = true, .harmless = true),
	LIE("vsock asks for credit again and again", .at_look = asks_for_credit, .harmless = true, .works = true),
	LIE("vsock has no space for anything", .setup = no_space, .harmless = true),
	LIE("vsock never sends anything", .setup = hoards, .harmless = true),
	LIE("vsock moves all the time", .at_look = moves, .harmless = true),
	LIE("vsock moves to a machine with no cid", .at_look = moves_to_nowhere, .says = "guest_cid"),
	{},
};
SWDEV_LIES(lies);
