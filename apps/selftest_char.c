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

static void stream_run(struct stream *stream)
{
	uint64_t quiet_since = clock_ns();
	uint32_t moved = 0;

	while (!stream->error && (stream->written < stream->bytes || stream->read < stream->bytes)) {
		if (!stream->writing && stream->written < MIN(stream->bytes, stream->read + STREAM_AHEAD))
			stream_write(stream);
		loop_turn(true, quiet_since + PATIENCE_NS);
		if (stream->written + stream->read != moved) {
			moved = stream->written + stream->read;
			quiet_since = clock_ns();
		} else if (clock_ns() - quiet_since > PATIENCE_NS) {
			break;
		}
	}
}

static void test_stream(struct char_device *device, uint32_t bytes)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	const char *name = device->node.name;

	if (!stream) {
		tap_ok(false, "%s gets memory for its stream", name);
		return;
	}
	*stream = (struct stream){.device = device, .bytes = bytes, .seed = selftest_option("seed", 1), .right = true};
	record("{\"event\":\"waiting\",\"device\":\"%s\",\"for\":\"stream\"}", name);
	device->context = stream;
	device->ready = stream_read;
	stream_read(device);
	stream_run(stream);
	device->ready = NULL;
	device->context = NULL;
	record("{\"event\":\"stream\",\"device\":\"%s\",\"written\":%u,\"read\":%u,\"crc32\":\"0x%08x\"}", name, stream->written,
	       stream->read, stream->read_crc);
	if (!tap_ok(stream->written == bytes, "%s writes %u bytes", name, bytes))
		tap_detail("written: %u, error: %d", stream->written, stream->error);
	if (!tap_ok(stream->read == bytes && stream->right, "%s reads %u bytes of the pattern", name, bytes))
		tap_detail("read: %u, all right: %d", stream->read, stream->right);
	if (!stream->writing)
		free(stream);
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
	bool done = false;

	if (line) {
		format_text(line->text, sizeof(line->text), "vireo: selftest of %s\r\n", device->node.name);
		line->request = (struct char_request){
			.memory = line->text,
			.length = (uint32_t)strlen(line->text),
			.done = line_done,
			.context = line,
		};
		char_submit(device, &line->request);
		done = loop_wait(&line->done, PATIENCE_NS);
	}
	if (!tap_ok(done && !line->request.status, "%s writes a line", device->node.name))
		tap_detail("error: %d", done ? line->request.status : -ETIMEDOUT);
	/* Whether these arrive is for the host to see. */
	for (const char *c = "vireo: past the queue\r\n"; device->emergency && *c; c++)
		device->emergency(device, *c);
	if (done)
		free(line);
}

static void test_one_console(struct char_device *device)
{
	uint32_t bytes = (uint32_t)selftest_option("console", 0);

	if (bytes && !strcmp(device->node.name, "console0"))
		test_stream(device, bytes);
	else
		test_line(device);
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
	struct char_device *device = char_find(name);

	if (device)
		test_one_console(device);
}

SELFTEST(console, test_console);
