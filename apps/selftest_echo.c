/*
 * Echo: numbered frames go to a host that sends each back as it is, and come back whole, each once.
 *
 * A frame: 14 bytes of Ethernet header (broadcast, own address, type 0x88b5), then, little-endian, its number (32 bits), its
 * length in all (16 bits), 16 bits of zero, the CRC-32 of all that follows (32 bits), and the pattern of the seed at offset
 * number * 2048. Lengths run over 60 to 1514 bytes by chance. The host may exchange the addresses; the rest has to be as it was
 * sent.
 *
 * Never more frames are under way than a quarter of the ring (64 at most): then neither ring nor a socket's default buffer can
 * overflow on the way, and every loss is somebody's bug. When nothing comes for seconds, what is under way counts as lost.
 */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/endian.h>
#include <base/event.h>
#include <base/log.h>
#include <base/tap.h>
#include <base/util.h>

#include "pattern.h"
#include "ping.h"

#define WINDOW_MAX 64u
#define BURST 16u
#define LENGTH_MIN 60u
#define SILENCE_NS (5 * SECOND_NS)
#define SILENCES_MAX 3u

struct echo_header {
	uint8_t destination[6], source[6], type[2];
	uint8_t number[4], length[2], zero[2], crc[4]; /* le32, le16, -, le32 */
};
_Static_assert(sizeof(struct echo_header) == 26, "header of an echo frame");

struct echo {
	struct net_device *device;
	struct net_pool *pool;
	uint32_t frames, sent, returned;
	uint32_t written_off; /* of those sent: given up, or refused by the device */
	uint32_t altered, repeated, foreign, tx_errors;
	uint64_t seed;
	uint8_t *seen; /* one bit for each frame that came back */
	uint8_t frame[NET_BUF_BYTES];
};

static uint32_t echo_length(const struct echo *echo, uint32_t number)
{
	uint32_t longest = MIN(NET_FRAME_MAX, echo->device->mtu + 14u);

	return LENGTH_MIN + (uint32_t)(pattern_word(~echo->seed, number) % (longest - LENGTH_MIN + 1));
}

static void echo_build(struct echo *echo, struct net_buf *buf, uint32_t number)
{
	const uint32_t length = echo_length(echo, number), bytes = length - (uint32_t)sizeof(struct echo_header);
	struct echo_header header = {.type = {0x88, 0xb5}};
	uint8_t *payload = buf->data + sizeof(header);
	le32 number_le = cpu_to_le32(number), crc;
	le16 length_le = cpu_to_le16((uint16_t)length);

	pattern_fill(echo->seed, UINT64_C(2048) * number, payload, bytes);
	crc = cpu_to_le32(crc32_update(0, payload, bytes));
	memset(header.destination, 0xff, 6);
	memcpy(header.source, echo->device->mac, 6);
	memcpy(header.number, &number_le, 4);
	memcpy(header.length, &length_le, 2);
	memcpy(header.crc, &crc, 4);
	memcpy(buf->data, &header, sizeof(header));
	buf->length = length;
}

/* Of the frame in echo->frame: its number, if it is ours and whole. */
static bool echo_is_whole(const struct echo *echo, uint32_t received, uint32_t number)
{
	const struct echo_header *header = (const struct echo_header *)echo->frame;
	const uint8_t *payload = echo->frame + sizeof(*header);
	le16 length;
	le32 crc;

	memcpy(&length, header->length, 2);
	memcpy(&crc, header->crc, 4);
	if (number >= echo->sent || received != echo_length(echo, number) || le16_to_cpu(length) != received)
		return false;

	uint32_t bytes = received - (uint32_t)sizeof(*header);

	return crc32_update(0, payload, bytes) == le32_to_cpu(crc) &&
	       pattern_check(echo->seed, UINT64_C(2048) * number, payload, bytes) == bytes;
}

static void echo_receive(struct net_device *device)
{
	struct echo *echo = device->context;
	const struct echo_header *header = (const struct echo_header *)echo->frame;
	struct net_buf *buf;

	while (net_rx_burst(device, &buf, 1)) {
		uint32_t received = frame_copy(buf, echo->frame, sizeof(echo->frame)), number;
		le32 number_le;

		net_buf_free(buf);
		memcpy(&number_le, header->number, 4);
		number = le32_to_cpu(number_le);
		if (received < sizeof(*header) || memcmp(header->type, "\x88\xb5", 2)) {
			echo->foreign++;
		} else if (received > sizeof(echo->frame) || !echo_is_whole(echo, received, number)) {
			echo->altered++;
		} else if (echo->seen[number / 8] & 1u << number % 8) {
			echo->repeated++;
		} else {
			echo->seen[number / 8] |= (uint8_t)(1u << number % 8);
			echo->returned++;
		}
	}
}

static void echo_sent(struct net_buf *buf)
{
	struct echo *echo = buf->context;

	if (buf->status) {
		echo->tx_errors++;
		echo->written_off++;
	}
	net_buf_free(buf);
}

static bool echo_send(struct echo *echo, uint32_t room)
{
	struct net_buf *bufs[BURST];
	unsigned count = 0, taken;

	while (count < MIN(room, BURST) && echo->sent + count < echo->frames) {
		struct net_buf *buf = net_buf_alloc(echo->pool);

		if (!buf)
			break;
		echo_build(echo, buf, echo->sent + count);
		buf->done = echo_sent;
		buf->context = echo;
		bufs[count++] = buf;
	}
	taken = net_tx_burst(echo->device, bufs, count);
	echo->sent += taken;
	while (count > taken)
		net_buf_free(bufs[--count]);
	return taken;
}

static void echo_run(struct echo *echo, uint32_t window)
{
	uint64_t quiet_since = clock_ns();
	uint32_t silences = 0, heard = 0;

	while ((echo->sent < echo->frames || echo->returned + echo->written_off < echo->frames) && silences < SILENCES_MAX) {
		uint32_t under_way = echo->sent - MIN(echo->sent, echo->returned + echo->written_off);
		bool sent = under_way < window && echo_send(echo, window - under_way);

		loop_turn(!sent, quiet_since + SILENCE_NS);
		if (echo->returned != heard) {
			heard = echo->returned;
			quiet_since = clock_ns();
			silences = 0;
		} else if (clock_ns() - quiet_since > SILENCE_NS) {
			echo->written_off = echo->sent - echo->returned;
			quiet_since = clock_ns();
			silences++;
		}
	}
}

/* A quarter of the smallest ring, but what selftest.window= says is taken as it is. */
static uint32_t echo_window(const struct net_device *device)
{
	const struct device_info *info = device_find(device->node.name);
	uint32_t window = WINDOW_MAX;

	for (unsigned i = 0; info && i < MIN(info->queue_count, 2u); i++) {
		struct device_queue queue = {.size = 4 * WINDOW_MAX};

		info->queue(info, i, &queue);
		window = MAX(1u, MIN(window, queue.size / 4u));
	}
	return (uint32_t)selftest_option("window", window);
}

void selftest_echo(struct net_device *device, uint32_t frames)
{
	struct echo *echo = calloc(1, sizeof(*echo));
	uint32_t window = MAX(1u, echo_window(device));
	unsigned buffers = 2 * window;
	uint64_t start, ns, deadline;

	if (echo) {
		*echo = (struct echo){.device = device, .frames = frames, .seed = selftest_option("seed", 1)};
		echo->seen = calloc(1, frames / 8 + 1);
		echo->pool = net_pool_create(buffers);
	}
	if (!echo || !echo->seen || !echo->pool) {
		tap_ok(false, "%s gets memory for the echo of %u frames", device->node.name, frames);
		return;
	}
	device->context = echo;
	net_listen(device, echo_receive);
	start = clock_ns();
	echo_run(echo, window);
	ns = clock_ns() - start;
	net_listen(device, NULL);
	device->context = NULL;

	record("{\"event\":\"echo\",\"device\":\"%s\",\"frames\":%u,\"window\":%u,\"returned\":%u,\"altered\":%u,\"repeated\":%u,"
	       "\"foreign\":%u,\"ns\":%lu}",
	       device->node.name, frames, window, echo->returned, echo->altered, echo->repeated, echo->foreign, ns);
	if (!tap_ok(echo->returned == frames && !echo->tx_errors, "%s has all of %u frames echoed", device->node.name, frames))
		tap_detail("sent: %u, returned: %u, tx errors: %u", echo->sent, echo->returned, echo->tx_errors);
	if (!tap_ok(!echo->altered && !echo->repeated, "%s has no frame altered or doubled", device->node.name))
		tap_detail("altered: %u, doubled: %u", echo->altered, echo->repeated);

	deadline = clock_ns() + SECOND_NS;
	while (net_pool_free_count(echo->pool) < buffers && clock_ns() < deadline)
		loop_turn(true, deadline);
	if (net_pool_free_count(echo->pool) < buffers)
		return; /* the device still has some of the memory */
	net_pool_destroy(echo->pool);
	free(echo->seen);
	free(echo);
}
