/*
 * Streams of bytes: entropy sources and consoles.
 *
 * Randomness cannot be proved, but its absence can be seen: bytes that were not filled in, values that never come, two reads
 * alike.
 */
#include "selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#include "pattern.h"

/* ---- entropy ---- */

struct draw {
	struct entropy_request request;
	bool done;
};

static void draw_done(struct entropy_request *request) { ((struct draw *)request->context)->done = true; }

/* Fill memory by two requests at a time, of odd sizes. What is not answered in time keeps the memory and `draws`. */
static int draw_all(struct entropy_device *device, struct draw draws[2], uint8_t *memory, uint32_t length)
{
	int error = 0;

	for (uint32_t at = 0, turn = 0; at < length && !error; turn++) {
		for (unsigned i = 0; i < 2; i++) {
			uint32_t part = MIN(1 + (uint32_t)(pattern_word(5, 2 * turn + i) % 65536), length - at);

			draws[i] = (struct draw){.done = !part};
			draws[i].request = (struct entropy_request){.memory = memory + at,
			                                            .length = part,
			                                            .done = draw_done,
			                                            .context = &draws[i]};
			if (part)
				entropy_submit(device, &draws[i].request);
			at += part;
		}
		for (unsigned i = 0; i < 2; i++) {
			if (!loop_wait(&draws[i].done, PATIENCE_NS))
				return -ETIMEDOUT;
			error = error ? error : draws[i].request.status;
		}
	}
	return error;
}

/* Too few values for their number, or a whole stretch of one value. */
static bool looks_filled(const uint8_t *memory, uint32_t length)
{
	uint32_t counts[256] = {0}, same = 0, values = 0;

	for (uint32_t i = 0; i < length; i++) {
		same = i && memory[i] == memory[i - 1] ? same + 1 : 0;
		if (same >= 16)
			return false;
		values += counts[memory[i]]++ == 0;
	}
	return values >= MIN(length / 8, 200u);
}

static void test_one_entropy(struct entropy_device *device)
{
	uint64_t wanted = selftest_option("rng_bytes", 1024 * 1024);
	uint32_t length = (uint32_t)MIN(wanted, 64u * 1024 * 1024);
	struct draw *draws = calloc(2, sizeof(*draws));
	uint8_t *memory = page_alloc(MAX(length, 1u), PAGE_SIZE);
	int error = draws && memory ? draw_all(device, draws, memory, length) : -ENOMEM;

	if (!tap_ok(!error, "%s gives %u bytes", device->node.name, length)) {
		tap_detail("error: %d", error);
		return; /* the device may still have the memory */
	}
	record("{\"event\":\"rng\",\"device\":\"%s\",\"bytes\":%u,\"crc32\":\"0x%08x\"}", device->node.name, length,
	       crc32_update(0, memory, length));
	tap_ok(looks_filled(memory, length), "%s gives bytes that are not alike", device->node.name);
	if (length >= 64)
		tap_ok(memcmp(memory, memory + length / 2, 32), "%s gives no bytes twice", device->node.name);
	page_free(memory, MAX(length, 1u));
	free(draws);
}

/* ---- consoles ---- */

/*
 * Both directions at once. A VMM may drop what its other side does not take in time (QEMU's virtconsole does), so both sides keep
 * in step: neither sends more than STREAM_AHEAD bytes beyond what it has received, up to its last byte.
 */
#define STREAM_AHEAD 32768u
#define PIECE_MAX 5000u

struct stream {
	struct char_device *device;
	char name[24];
	struct char_request request;
	bool writing;
	uint32_t bytes, written, read;
	uint32_t read_crc;
	uint64_t seed;
	bool right;
	int error;
	uint8_t out[PIECE_MAX], in[PIECE_MAX];
};

static void stream_written(struct char_request *request)
{
	struct stream *stream = request->context;

	stream->writing = false;
	stream->error = request->status;
	if (!request->status)
		stream->written += request->length;
}

static void stream_write(struct stream *stream)
{
	uint32_t limit = MIN(stream->bytes - stream->written, stream->read + STREAM_AHEAD - stream->written);
	uint32_t length = MIN(1 + (uint32_t)(pattern_word(6, stream->written) % PIECE_MAX), limit);

	pattern_fill(stream->seed, stream->written, stream->out, length);
	stream->request =
		(struct char_request){.memory = stream->out, .length = length, .done = stream_written, .context = stream};
	stream->writing = true;
	char_submit(stream->device, &stream->request);
}

static void stream_read(struct char_device *device)
{
	struct stream *stream = device->context;
	uint32_t length;

	while ((length = char_read(device, stream->in, 1 + (uint32_t)(pattern_word(7, stream->read) % PIECE_MAX)))) {
		stream->right = stream->right && pattern_check(stream->seed + 1, stream->read, stream->in, length) == length;
		stream->read_crc = crc32_update(stream->read_crc, stream->in, length);
		stream->read += length;
	}
}

static bool stream_goes_on(const struct stream *stream)
{
	return !stream->error && (stream->written < stream->bytes || stream->read < stream->bytes);
}

static void streams_run(struct stream *streams, unsigned count)
{
	uint64_t quiet_since = clock_ns(), moved = 0;

	while (clock_ns() - quiet_since <= PATIENCE_NS) {
		uint64_t before = moved;
		bool goes_on = false;

		moved = 0;
		for (struct stream *stream = streams; stream < streams + count; stream++) {
			if (!stream->writing && !stream->error &&
			    stream->written < MIN(stream->bytes, stream->read + STREAM_AHEAD))
				stream_write(stream);
			goes_on |= stream_goes_on(stream);
			moved += stream->written + stream->read;
		}
		if (!goes_on)
			break;
		if (moved != before)
			quiet_since = clock_ns();
		loop_turn(true, quiet_since + PATIENCE_NS);
	}
}

/* The number of a port of the device; -1: it is another's. */
static int port_number(const struct char_device *device, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(device->node.name, name, length) != 0)
		return -1;
	return device->node.name[length] == '.' ? atoi(device->node.name + length + 1) : device->node.name[length] ? -1 : 0;
}

static bool usable(const struct char_device *device) { return device->console || device->peer_open; }

static unsigned count_usable(const char *name)
{
	unsigned count = 0;

	for (struct char_device *device = char_next(NULL); device; device = char_next(device))
		count += port_number(device, name) >= 0 && usable(device);
	return count;
}

static void stream_begin(struct stream *stream, struct char_device *device, uint32_t bytes, int number)
{
	*stream = (struct stream){.device = device,
	                          .bytes = bytes,
	                          .seed = selftest_option("seed", 1) + 2 * (uint64_t)number,
	                          .right = true};
	format_text(stream->name, sizeof(stream->name), "%s", device->node.name);
	record("{\"event\":\"waiting\",\"device\":\"%s\",\"for\":\"stream\"}", device->node.name);
	device->context = stream;
	device->ready = stream_read;
	char_open(device, true);
	stream_read(device);
}

static void stream_report(struct stream *stream)
{
	const char *name = stream->name;

	record("{\"event\":\"stream\",\"device\":\"%s\",\"written\":%u,\"read\":%u,\"crc32\":\"0x%08x\"}", name, stream->written,
	       stream->read, stream->read_crc);
	if (!tap_ok(stream->written == stream->bytes, "%s writes %u bytes", name, stream->bytes))
		tap_detail("written: %u, error: %d", stream->written, stream->error);
	if (!tap_ok(stream->read == stream->bytes && stream->right, "%s reads %u bytes of the pattern", name, stream->bytes))
		tap_detail("read: %u, all right: %d", stream->read, stream->right);
}

/* All ports of the device at once, as soon as there are so many. */
static void test_streams(const char *name, uint32_t bytes)
{
	uint64_t deadline = clock_ns() + PATIENCE_NS, ports = selftest_option("ports", 1);
	struct char_device *device = NULL;
	struct stream *streams;
	unsigned count, begun = 0;
	bool writing = false;

	while ((count = count_usable(name)) < ports && clock_ns() < deadline)
		loop_turn(true, deadline);
	streams = calloc(MAX(count, 1u), sizeof(*streams));
	if (!tap_ok(streams && count >= ports, "%s has %u ports", name, count))
		return;
	while (begun < count && (device = char_next(device)))
		if (port_number(device, name) >= 0 && usable(device))
			stream_begin(&streams[begun++], device, bytes, port_number(device, name));
	streams_run(streams, begun);
	for (struct stream *stream = streams; stream < streams + begun; stream++) {
		if (char_has(stream->device))
			stream->device->ready = NULL;
		stream_report(stream);
		writing |= stream->writing;
	}
	if (!writing)
		free(streams);
}

struct line {
	struct char_request request;
	bool done;
	char text[80];
};

static void line_done(struct char_request *request) { ((struct line *)request->context)->done = true; }

static void test_line(struct char_device *device)
{
	struct line *line = calloc(1, sizeof(*line));
	char name[24];
	bool done = false;

	format_text(name, sizeof(name), "%s", device->node.name);

	if (line) {
		format_text(line->text, sizeof(line->text), "vireo: selftest of %s\r\n", name);
		line->request = (struct char_request){
			.memory = line->text,
			.length = (uint32_t)strlen(line->text),
			.done = line_done,
			.context = line,
		};
		char_submit(device, &line->request);
		done = loop_wait(&line->done, PATIENCE_NS);
	}
	if (!tap_ok(done && !line->request.status, "%s writes a line", name))
		tap_detail("error: %d", done ? line->request.status : -ETIMEDOUT);
	/* Whether these arrive is for the host to see. */
	for (const char *c = "vireo: past the queue\r\n"; char_has(device) && device->emergency && *c; c++)
		device->emergency(device, *c);
	if (done)
		free(line);
}

static void test_entropy(const char *name)
{
	struct entropy_device *device = entropy_find(name);

	if (device)
		test_one_entropy(device);
}

SELFTEST(entropy, test_entropy);

static void test_console(const char *name)
{
	uint32_t bytes = (uint32_t)selftest_option("console", 0);
	bool is_console = false;

	for (struct char_device *device = char_next(NULL); device; device = char_next(device)) {
		bool tested = port_number(device, name) >= 0 && usable(device);

		is_console |= tested;
		if (tested && !bytes) {
			char_open(device, true);
			test_line(device);
			char_open(device, false);
		}
	}
	if (is_console && bytes)
		test_streams(name, bytes);
}

SELFTEST(console, test_console);
