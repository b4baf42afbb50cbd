/*
 * "RTC Device", "CAN Device", "RPMB Device".
 */
#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static void release(struct swdev *dev) { free(dev->state); }

/* ---- rtc ---- */

#define UTC_NOW UINT64_C(1790000000000000000)

uint64_t swdev_clock(unsigned clock)
{
	return clock_ns() + (clock == 2 ? 5 : UTC_NOW + (clock == 1 ? UINT64_C(37000000000) : 0));
}

static void rtc_init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_clocks));
	swdev_clocks(dev)->past = swdev_clock(0);
}

/* Status of a request of which `type` and `clock` are what they are, and its answer behind the head. */
static uint8_t rtc_answer(struct swdev *dev, const uint8_t *request, uint8_t *answer)
{
	struct swdev_clocks *clocks = swdev_clocks(dev);
	unsigned type = get16(request), clock = get16(request + (type == 0x1004 ? 16 : 8));
	uint8_t more = request[type == 0x1004 ? 18 : 10];

	if (type == 0x1000) {
		put16(answer, SWDEV_CLOCKS);
		return 0;
	}
	if (clock >= SWDEV_CLOCKS)
		return 3;
	switch (type) {
	case 1:
	case 2:
		put64(answer, swdev_clock(clock));
		put64(answer + 8, clock_ns() * 3);
		return type == 2 && (more != 1 || clock) ? 2 : 0;
	case 0x1001:
		answer[0] = (uint8_t)clock;
		answer[2] = clock == 0 && swdev_has(dev, RTC_F_ALARM);
		answer[3] = 0xee; /* reserved: no business of the driver's */
		return 0;
	case 0x1003:
		put64(answer, clocks->alarm);
		answer[8] = clocks->enabled;
		break;
	case 0x1004:
		clocks->alarm = get64(request + 8);
		[[fallthrough]];
	case 0x1005:
		if (more > 1)
			swdev_violation(dev, "flags %#x", more);
		clocks->enabled = more;
		clocks->expiring = more && swdev_clock(0) >= clocks->alarm;
		break;
	default:
		return 2;
	}
	return clock || !swdev_has(dev, RTC_F_ALARM) ? 3 : 0;
}

static bool rtc_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	static const uint8_t zeros[6];
	struct swdev *dev = queue->dev;
	uint8_t request[24] = {0}, answer[24] = {0};
	unsigned type, out, in;

	if (queue->index == 1) {
		if (chain->readable || chain->writable_bytes < 16)
			swdev_violation(dev, "an alarm buffer of %u bytes", (unsigned)chain->writable_bytes);
		return false;
	}
	swdev_clocks(dev)->requests++;
	swdev_chain_read(chain, 0, request, sizeof(request));
	type = get16(request);
	out = type == 0x1000 ? 8 : type == 0x1004 ? 24 : 16;
	in = type == 2 || type == 0x1003 ? 24 : type == 0x1004 || type == 0x1005 ? 8 : 16;
	if (chain->readable_bytes != out || chain->writable_bytes < in || memcmp(request + 2, zeros, 6) ||
	    (out > 8 && memcmp(request + out - 5, zeros, 5)))
		swdev_violation(dev, "request %#x of %u and %u bytes, or with more in it", type, (unsigned)chain->readable_bytes,
		                (unsigned)chain->writable_bytes);
	answer[0] = rtc_answer(dev, request, answer + 8);
	*written = (uint32_t)swdev_chain_write(chain, 0, answer, in);
	return true;
}

static void rtc_produce(struct swdev *dev)
{
	struct swdev_clocks *clocks = swdev_clocks(dev);
	uint64_t now = swdev_clock(0);
	uint8_t report[16] = {0x00, 0x20};
	struct swdev_chain *chain;

	if (clocks->enabled && clocks->past < clocks->alarm && now >= clocks->alarm)
		clocks->expiring = true;
	clocks->past = now;
	if (!clocks->expiring || !swdev_has(dev, RTC_F_ALARM) || !(chain = swdev_take_held(&dev->queues[1])))
		return;
	clocks->expiring = false;
	clocks->expirations++;
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, report, sizeof(report)));
}

const struct swdev_type swdev_rtc = {
	.id = 17,
	.name = "rtc",
	.queues = 2,
	.features = FEATURE(RTC_F_ALARM),
	.init = rtc_init,
	.free = release,
	.serve = rtc_serve,
	.produce = rtc_produce,
};

/* ---- can ---- */

static const struct swdev_field can_fields[] = {{.offset = 0, .width = 2, .count = 1, .feature = -1}, {.width = 0}};
static const struct swdev_rule can_rules[] = {{CAN_F_RTR, FEATURE(CAN_F_CLASSIC)}, {}};

static void can_init(struct swdev *dev) { dev->state = calloc(1, sizeof(struct swdev_can_bus)); }

static void can_reset(struct swdev *dev) { swdev_can_bus(dev)->started = false; }

void swdev_can_bus_off(struct swdev *dev)
{
	swdev_can_bus(dev)->started = false;
	put16(dev->config, 1);
	swdev_config_changed(dev);
}

static bool can_valid(struct swdev *dev, const uint8_t *frame, uint64_t bytes)
{
	uint32_t flags = get32(frame + 8), length = get16(frame + 2);
	bool fd = flags & 0x4000, rtr = flags & 0x2000;

	return get16(frame) == 1 && bytes == 16 + length && !(flags & ~0xe000u) &&
	       swdev_has(dev, fd ? CAN_F_FD : CAN_F_CLASSIC) && (!rtr || (swdev_has(dev, CAN_F_RTR) && !fd)) &&
	       length <= (fd ? 64 : 8) && !(get32(frame + 12) >> (flags & 0x8000 ? 29 : 11));
}

static bool can_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_can_bus *bus = swdev_can_bus(dev);
	uint8_t frame[16 + 64] = {0}, result = 0;
	uint64_t bytes = swdev_chain_read(chain, 0, frame, sizeof(frame));
	struct swdev_chain *back;

	if (queue->index == 1) {
		/* "Device Initialization": at least the size of struct virtio_can_rx, with the data of the largest frame */
		if (chain->readable || chain->writable_bytes < (swdev_has(dev, CAN_F_FD) ? 16 + 64 : 16 + 8))
			swdev_violation(dev, "an Rxq buffer of %u bytes", (unsigned)chain->writable_bytes);
		return false;
	}
	if (chain->writable_bytes != 1)
		swdev_violation(dev, "%u bytes for the result", (unsigned)chain->writable_bytes);
	if (queue->index == 2) {
		if (bytes != 2 || (get16(frame) != 0x201 && get16(frame) != 0x202))
			swdev_violation(dev, "control message %#x of %u bytes", get16(frame), (unsigned)bytes);
		result = bus->refuses;
		if (!result)
			bus->started = get16(frame) == 0x201;
		if (bus->started)
			put16(dev->config, 0);
	} else {
		if (!can_valid(dev, frame, chain->readable_bytes))
			swdev_violation(dev, "a frame that cannot be");
		result = !bus->started;
	}
	if (queue->index == 0 && !result) {
		bus->frames++;
		put16(frame, 0x101);
		back = swdev_take_held(&dev->queues[1]);
		bus->lost += !back;
		if (back)
			swdev_complete(back, (uint32_t)swdev_chain_write(back, 0, frame, bytes));
	}
	*written = (uint32_t)swdev_chain_write(chain, 0, &result, 1);
	return true;
}

const struct swdev_type swdev_can = {
	.id = 36,
	.name = "can",
	.queues = 3,
	.features = FEATURE(CAN_F_CLASSIC) | FEATURE(CAN_F_FD) | FEATURE(CAN_F_RTR) | FEATURE(CAN_F_LATE),
	.fields = can_fields,
	.rules = can_rules,
	.config_size = 2,
	.init = can_init,
	.free = release,
	.reset = can_reset,
	.serve = can_serve,
};

/* ---- rpmb ---- */

#define FRAME 512u
enum { MAC = 196, DATA = 228, NONCE = 484, COUNTER = 500, ADDRESS = 504, BLOCKS = 506, RESULT = 508, TYPE = 510 };
#define VAULT_BLOCKS 512u /* of 256 bytes: 128 KiB */

static const struct swdev_field rpmb_fields[] = {{.offset = 0, .width = 1, .count = 3, .feature = -1}, {.width = 0}};

static unsigned big(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static void put_big(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void rpmb_init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_vault));
	swdev_vault(dev)->data = calloc(VAULT_BLOCKS, 256);
	dev->config[0] = 1;
	dev->config[1] = 4;
	dev->config[2] = 8;
}

static void rpmb_free(struct swdev *dev)
{
	free(swdev_vault(dev)->data);
	free(dev->state);
}

void swdev_vault_sign(const uint8_t key[32], uint8_t *frames, unsigned count)
{
	uint8_t *mac = frames + (count - 1) * FRAME + MAC;

	memcpy(mac, key, 32);
	for (unsigned f = 0; f < count; f++)
		for (unsigned i = DATA; i < FRAME; i++)
			mac[i % 32] = (uint8_t)(mac[i % 32] * 5u + frames[f * FRAME + i] + i);
}

static unsigned write_blocks(struct swdev_vault *vault, const uint8_t *frames, unsigned blocks)
{
	uint8_t signed_frames[4 * FRAME];
	unsigned address = big(frames + ADDRESS);

	if (!vault->has_key)
		return 7;
	if (!blocks || blocks > 4)
		return 1;
	if (address + blocks > VAULT_BLOCKS)
		return 4;
	memcpy(signed_frames, frames, blocks * FRAME);
	swdev_vault_sign(vault->key, signed_frames, blocks);
	if (memcmp(signed_frames + (blocks - 1) * FRAME + MAC, frames + (blocks - 1) * FRAME + MAC, 32))
		return 2;
	if (big(frames + COUNTER) << 16 != 0 || big(frames + COUNTER + 2) != vault->counter)
		return 3;
	for (unsigned i = 0; i < blocks; i++)
		memcpy(vault->data[address + i], frames + i * FRAME + DATA, 256);
	vault->counter++;
	return 0;
}

/* The answer's frames, `count` of them. */
static void respond(struct swdev_vault *vault, uint8_t *out, unsigned count, const uint8_t *request, unsigned type,
                    unsigned result)
{
	memset(out, 0, count * FRAME);
	for (unsigned i = 0; i < count; i++) {
		uint8_t *frame = out + i * FRAME;

		memcpy(frame + NONCE, request + NONCE, 16);
		memcpy(frame + ADDRESS, request + ADDRESS, 2);
		put_big(frame + COUNTER + 2, vault->counter);
		put_big(frame + BLOCKS, count);
		put_big(frame + RESULT, result);
		put_big(frame + TYPE, type << 8);
		if (type == 4 && !result)
			memcpy(frame + DATA, vault->data[big(request + ADDRESS) + i], 256);
	}
	swdev_vault_sign(vault->key, out, count);
}

static bool rpmb_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_vault *vault = swdev_vault(dev);
	unsigned in = (unsigned)(chain->readable_bytes / FRAME), out = (unsigned)(chain->writable_bytes / FRAME), result = 0,
		 type;
	uint8_t *frames, *answer;

	/* "Device Operation": MUST NOT be packed: a buffer for each frame */
	if (!in || chain->readable != in || chain->readable_bytes % FRAME || chain->writable != out ||
	    chain->writable_bytes % FRAME) {
		swdev_violation(dev, "%u bytes in %u buffers, %u in %u", (unsigned)chain->readable_bytes, chain->readable,
		                (unsigned)chain->writable_bytes, chain->writable);
		return true;
	}
	frames = malloc(in * FRAME);
	answer = malloc(out * FRAME + 1);
	swdev_chain_read(chain, 0, frames, in * FRAME);
	type = big(frames + TYPE);
	switch (type) {
	case 1:
		result = vault->has_key ? 5 : 0;
		if (!vault->has_key)
			memcpy(vault->key, frames + MAC, 32);
		vault->has_key = true;
		break;
	case 2:
		result = vault->has_key ? 0 : 7;
		break;
	case 3:
		result = write_blocks(vault, frames, big(frames + BLOCKS));
		break;
	case 4:
		result = !vault->has_key ? 7 : big(frames + ADDRESS) + out > VAULT_BLOCKS ? 4 : 0;
		break;
	default:
		swdev_violation(dev, "request type %u", type);
	}
	if (out)
		respond(vault, answer, out, frames, type, result);
	*written = (uint32_t)swdev_chain_write(chain, 0, answer, out * FRAME);
	free(frames);
	free(answer);
	return true;
}

const struct swdev_type swdev_rpmb = {
	.id = 28,
	.name = "rpmb",
	.queues = 1,
	.fields = rpmb_fields,
	.config_size = 3,
	.init = rpmb_init,
	.free = rpmb_free,
	.serve = rpmb_serve,
};
