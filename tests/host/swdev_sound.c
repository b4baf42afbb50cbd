/*
 * "Sound Device": a card that plays into memory, and captures a sequence of bytes that anybody can compute. Each look plays and captures a
 * message of each stream that runs.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_sound.h"

enum { CONTROLQ, EVENTQ, TXQ, RXQ };
enum { OK = 0x8000, BAD_MSG, NOT_SUPP, IO_ERR };
enum { INFO_BYTES_MAX = 96, SET_PARAMS = 1, PREPARE, RELEASE, START, STOP };

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 4, .count = 3, .feature = -1},
	{.offset = 12, .width = 4, .count = 1, .feature = SND_F_CTLS},
	{.width = 0},
};

/* "PCM Control Messages": S16 and S32, 44100 and 48000; the plain one S16 at 48000, mono */
static const struct {
	uint8_t input, least, most;
	uint32_t features;
	uint64_t formats, rates;
} streams[SND_STREAMS] = {
	{0, 1, 2, 1 << 2 | 1 << 4, 1 << 5 | 1 << 17, 1 << 6 | 1 << 7},
	{1, 1, 2, 1 << 4, 1 << 5 | 1 << 17, 1 << 6 | 1 << 7},
	{0, 1, 1, 0, 1 << 5, 1 << 7},
};

/* "Control Elements": access is READ 1, WRITE 2, TLV_READ 16, TLV_WRITE 32, TLV_COMMAND 64 */
static const struct {
	const char *name;
	uint32_t role, type, access, count, bytes;
} controls[SND_CONTROLS] = {
	{"Volume", 2, 1, 1 | 2 | 16 | 32 | 64, 2, 8},
	{"Mute", 4, 0, 1 | 2, 1, 4},
	{"Route", 0, 3, 1 | 2, 1, 4},
	{"Wide", 0, 2, 1, 1, 8},
	{"Key", 0, 4, 2, 20, 20},
};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_sound));
	put32(dev->config, SND_JACKS);
	put32(dev->config + 4, SND_STREAMS);
	put32(dev->config + 8, SND_MAPS);
	put32(dev->config + 12, SND_CONTROLS);
	swdev_sound_state(dev)->connected[0] = true;
	swdev_sound_state(dev)->period_status = OK;
}

static void release(struct swdev *dev)
{
	for (unsigned i = 0; i < SND_STREAMS; i++)
		free(swdev_sound_state(dev)->streams[i].played);
	free(dev->state);
}

static void reset(struct swdev *dev)
{
	for (unsigned i = 0; dev->state && i < SND_STREAMS; i++)
		swdev_sound_state(dev)->streams[i].stage = SND_IDLE;
}

void swdev_sound_event(struct swdev *dev, uint32_t code, uint32_t data)
{
	struct swdev_sound *sound = swdev_sound_state(dev);

	if (sound->events_waiting == 64)
		return;
	sound->events[sound->events_waiting].code = code;
	sound->events[sound->events_waiting++].data = data;
}

/* ---- information ---- */

static void info_of(struct swdev *dev, unsigned kind, unsigned i, uint8_t *info)
{
	struct swdev_sound *sound = swdev_sound_state(dev);

	memset(info, 0, INFO_BYTES_MAX);
	put32(info, 1);
	switch (kind) {
	case 0: /* jacks */
		put32(info + 4, i == 1);
		put32(info + 8, 0x100 + i);
		put32(info + 12, 0x200 + i);
		info[16] = sound->connected[i];
		break;
	case 1:
		put32(info + 4, streams[i].features);
		put64(info + 8, streams[i].formats);
		put64(info + 16, streams[i].rates);
		info[24] = sound->direction_lie ? sound->direction_lie : streams[i].input;
		info[25] = streams[i].least;
		info[26] = streams[i].most;
		break;
	case 2: /* maps: FL, FR */
		info[4] = (uint8_t)i;
		info[5] = sound->channels_lie ? (uint8_t)sound->channels_lie : 2;
		info[6] = 3;
		info[7] = 4;
		break;
	default:
		put32(info + 4, controls[i].role);
		put32(info + 8, controls[i].type);
		put32(info + 12, controls[i].access);
		put32(info + 16, sound->count_lie ? sound->count_lie : controls[i].count);
		strcpy((char *)info + 24, controls[i].name);
		if (i == SND_VOLUME) {
			put32(info + 68, (uint32_t)-50);
			put32(info + 72, 50);
			put32(info + 76, 5);
		} else if (i == SND_WIDE) { /* "All structures are assumed to be without additional padding" */
			memcpy(info + 68, &(int64_t){-(1ll << 40)}, 8);
			memcpy(info + 76, &(int64_t){1ll << 40}, 8);
		} else if (i == SND_ROUTE) {
			put32(info + 68, 3);
		}
	}
}

/* "Item Information Request" */
static uint32_t query(struct swdev *dev, const struct swdev_chain *chain, unsigned kind, const uint8_t *request)
{
	static const uint32_t sizes[] = {24, 32, 24, 92};
	static const unsigned at[] = {0, 4, 8, 12};
	uint32_t start = get32(request + 4), count = get32(request + 8), size = get32(request + 12);
	uint32_t total = get32(dev->config + at[kind]);
	uint8_t info[INFO_BYTES_MAX];

	if (dev->lie && (start > total || count > total - start))
		return BAD_MSG; /* the configuration may have said otherwise */
	if (chain->readable_bytes != 16 || size != sizes[kind] || start > total || count > total - start)
		swdev_violation(dev, "information of %u items from %u, of %u bytes each; there are %u", count, start, size,
		                total);
	else if (chain->writable_bytes != 4 + (uint64_t)count * size)
		swdev_violation(dev, "%llu bytes for the answer", (unsigned long long)chain->writable_bytes);
	else
		for (uint32_t i = 0; i < count; i++) {
			info_of(dev, kind, start + i, info);
			swdev_chain_write(chain, 4 + i * size, info, size);
		}
	return OK;
}

/* ---- controls ---- */

static uint32_t control(struct swdev *dev, const struct swdev_chain *chain, unsigned op, const uint8_t *request)
{
	static const uint32_t rights[] = {[1] = 0, [2] = 1, [3] = 2, [4] = 16, [5] = 32, [6] = 64};
	struct swdev_sound *sound = swdev_sound_state(dev);
	uint32_t number = get32(request + 4), length;

	if (!swdev_has(dev, SND_F_CTLS) || number >= SND_CONTROLS || (controls[number].access & rights[op]) != rights[op]) {
		swdev_violation(dev, "request %u of control %u", op, number);
		return BAD_MSG;
	}
	switch (op) {
	case 1:
		if (chain->readable_bytes != 8 || controls[number].type != 3 || chain->writable_bytes != 4 + 3 * 64)
			swdev_violation(dev, "items of control %u in %llu bytes", number,
			                (unsigned long long)chain->writable_bytes);
		swdev_chain_write(chain, 4, "front", 6);
		swdev_chain_write(chain, 4 + 64, "rear", 5);
		swdev_chain_write(chain, 4 + 128, "nowhere", 8);
		return OK;
	case 2:
		if (chain->readable_bytes != 8 || chain->writable_bytes != 4 + 512)
			swdev_violation(dev, "a value in %llu bytes", (unsigned long long)chain->writable_bytes);
		swdev_chain_write(chain, 4, sound->values[number], 512);
		return OK;
	case 3:
		if (chain->readable_bytes != 8 + 512 || chain->writable_bytes != 4)
			swdev_violation(dev, "a value of %llu bytes", (unsigned long long)chain->readable_bytes);
		swdev_chain_read(chain, 8, sound->values[number], 512);
		return OK;
	case 4:
		swdev_chain_write(chain, 4, sound->tlv, sound->tlv_bytes);
		return OK;
	default:
		length = (uint32_t)chain->readable_bytes - 8;
		if (length < 8 || length > 8 + 65536 || chain->writable_bytes != 4)
			swdev_violation(dev, "metadata of %u bytes", length);
		sound->tlv_commands += op == 6;
		if (op == 5)
			sound->tlv_bytes = (unsigned)swdev_chain_read(chain, 8, sound->tlv, length);
		return OK;
	}
}

/* ---- streams ---- */

static uint32_t set_params(struct swdev *dev, const struct swdev_chain *chain, unsigned number, const uint8_t *request)
{
	struct swdev_sound_stream *stream = &swdev_sound_state(dev)->streams[number];
	uint32_t buffer = get32(request + 8), period = get32(request + 12), features = get32(request + 16);

	if (chain->readable_bytes != 24 || request[23])
		swdev_violation(dev, "parameters of %u bytes, padding %u", (unsigned)chain->readable_bytes, request[23]);
	if (!period || buffer % period)
		swdev_violation(dev, "a buffer of %u bytes, periods of %u", buffer, period);
	if (features & ~streams[number].features || features & 3)
		swdev_violation(dev, "features %#x", features);
	if (request[20] < streams[number].least || request[20] > streams[number].most ||
	    !(streams[number].formats >> request[21] & 1) || !(streams[number].rates >> request[22] & 1))
		swdev_violation(dev, "%u channels, format %u, rate %u", request[20], request[21], request[22]);
	stream->buffer_bytes = buffer;
	stream->period_bytes = period;
	stream->features = features;
	stream->channels = request[20];
	stream->format = request[21];
	stream->rate = request[22];
	return OK;
}

/* "PCM Command Lifecycle" */
static uint32_t pcm(struct swdev *dev, const struct swdev_chain *chain, unsigned command, const uint8_t *request)
{
	static const uint8_t from[] = {[SET_PARAMS] = 1 << SND_IDLE | 1 << SND_SET | 1 << SND_PREPARED,
	                               [PREPARE] = 1 << SND_SET | 1 << SND_PREPARED | 1 << SND_IDLE,
	                               [RELEASE] = 1 << SND_PREPARED | 1 << SND_STOPPED,
	                               [START] = 1 << SND_PREPARED | 1 << SND_STOPPED,
	                               [STOP] = 1 << SND_RUNNING};
	static const uint8_t to[] =
		{[SET_PARAMS] = SND_SET, [PREPARE] = SND_PREPARED, [START] = SND_RUNNING, [STOP] = SND_STOPPED};
	struct swdev_sound_stream *stream;
	uint32_t number = get32(request + 4), status = OK;

	if (number >= SND_STREAMS || chain->writable_bytes != 4 || (command != SET_PARAMS && chain->readable_bytes != 8)) {
		swdev_violation(dev, "command %u of stream %u", command, number);
		return BAD_MSG;
	}
	stream = &swdev_sound_state(dev)->streams[number];
	stream->commands[command]++;
	if (!(from[command] >> stream->stage & 1)) {
		swdev_violation(dev, "command %u of stream %u in stage %u", command, number, stream->stage);
		return BAD_MSG;
	}
	if (command == SET_PARAMS)
		status = set_params(dev, chain, number, request);
	/* "Input Stream": SHOULD populate the rx queue before starting the stream */
	if (command == START)
		stream->dry = false;
	if (command != RELEASE) /* which takes its time */
		stream->stage = to[command];
	return status;
}

/* ---- queues ---- */

static unsigned stream_of(const struct swdev_chain *chain)
{
	uint8_t number[4] = {0};

	swdev_chain_read(chain, 0, number, 4);
	return get32(number);
}

static void check_message(struct swdev_queue *queue, const struct swdev_chain *chain)
{
	struct swdev *dev = queue->dev;
	unsigned number = stream_of(chain);
	bool input = queue->index == RXQ;
	struct swdev_sound_stream *stream = &swdev_sound_state(dev)->streams[number];
	uint64_t bytes = input ? chain->writable_bytes - 8 : chain->readable_bytes - 4;

	if (number >= SND_STREAMS || streams[number].input != input || stream->stage < SND_PREPARED) {
		swdev_violation(dev, "queue %u: a message of stream %u", queue->index, number);
		return;
	}
	if (input ? chain->readable_bytes != 4 : chain->writable_bytes != 8)
		swdev_violation(dev, "queue %u: a message of %u and %u bytes", queue->index, (unsigned)chain->readable_bytes,
		                (unsigned)chain->writable_bytes);
	if (bytes > stream->period_bytes || !bytes || (input && bytes != stream->period_bytes))
		swdev_violation(dev, "stream %u: a message of %u bytes, its period is %u", number, (unsigned)bytes,
		                stream->period_bytes);
	stream->shorts += bytes < stream->period_bytes;
	stream->messages++;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_sound *sound = swdev_sound_state(dev);
	uint8_t request[24] = {0}, answer[4];
	uint32_t code, status;

	if (queue->index == EVENTQ) {
		if (chain->readable_bytes || chain->writable_bytes < 8)
			swdev_violation(dev, "an event buffer of %u and %u bytes", (unsigned)chain->readable_bytes,
			                (unsigned)chain->writable_bytes);
		return false;
	}
	if (queue->index != CONTROLQ) {
		check_message(queue, chain);
		return false;
	}
	sound->requests++;
	swdev_chain_read(chain, 0, request, sizeof(request));
	code = get32(request);
	if (chain->readable_bytes < 8 || chain->writable_bytes < 4)
		swdev_violation(dev, "a request of %u and %u bytes", (unsigned)chain->readable_bytes,
		                (unsigned)chain->writable_bytes);
	if (sound->fail_code == code) {
		put32(answer, sound->fail_status);
		*written = (uint32_t)swdev_chain_write(chain, 0, answer, 4);
		return true;
	}
	if (code == 1 || code == 0x100 || code == 0x200 || code == 0x300) {
		status = query(dev, chain, code >> 8, request);
	} else if (code == 2) {
		uint32_t jack = get32(request + 4);

		if (jack != 1 || chain->readable_bytes != 16)
			swdev_violation(dev, "jack %u cannot be remapped", jack);
		sound->association[1] = get32(request + 8);
		sound->sequence[1] = get32(request + 12);
		status = OK;
	} else if (code > 0x100 && code <= 0x105) {
		status = pcm(dev, chain, code - 0x100, request);
		if (code - 0x100 == RELEASE && status == OK)
			return false; /* until no message of the stream is left */
	} else if (code > 0x300 && code <= 0x306) {
		status = control(dev, chain, code - 0x300, request);
	} else {
		swdev_violation(dev, "a request of code %#x", code);
		status = BAD_MSG;
	}
	put32(answer, status);
	swdev_chain_write(chain, 0, answer, 4);
	*written = code == 0x304 ? 4 + sound->tlv_bytes : (uint32_t)chain->writable_bytes;
	return true;
}

/* ---- its own accord ---- */

static void end_message(struct swdev *dev, struct swdev_chain *chain, uint32_t frames, bool good)
{
	struct swdev_sound *sound = swdev_sound_state(dev);
	uint8_t status[8];
	uint32_t length;

	put32(status, good ? sound->period_status : IO_ERR);
	put32(status + 4, 480);
	swdev_chain_write(chain, chain->writable_bytes - 8, status, 8);
	length = frames + 8;
	swdev_complete(chain, length - (sound->short_by < length ? sound->short_by : length));
}

static void play(struct swdev *dev, unsigned number, struct swdev_chain *chain)
{
	struct swdev_sound_stream *stream = &swdev_sound_state(dev)->streams[number];
	size_t bytes = chain->readable_bytes - 4;

	stream->played = realloc(stream->played, stream->played_bytes + bytes);
	swdev_chain_read(chain, 4, stream->played + stream->played_bytes, bytes);
	stream->played_bytes += bytes;
	end_message(dev, chain, 0, true);
}

static void capture(struct swdev *dev, unsigned number, struct swdev_chain *chain)
{
	struct swdev_sound_stream *stream = &swdev_sound_state(dev)->streams[number];
	uint32_t bytes = (uint32_t)chain->writable_bytes - 8;

	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t byte = swdev_sound_byte(stream->captured++);

		swdev_chain_write(chain, i, &byte, 1);
	}
	end_message(dev, chain, bytes, true);
}

/* The first message of the stream; NULL: none. */
static struct swdev_chain *message_of(struct swdev *dev, unsigned number)
{
	struct swdev_queue *queue = &dev->queues[streams[number].input ? RXQ : TXQ];
	struct swdev_chain **at = &queue->held, *chain;

	while (*at && stream_of(*at) != number)
		at = &(*at)->next;
	chain = *at;
	if (!chain)
		return NULL;
	*at = chain->next;
	if (!*at)
		queue->held_tail = at;
	chain->next = NULL;
	return chain;
}

static void run(struct swdev *dev, unsigned number)
{
	struct swdev_sound_stream *stream = &swdev_sound_state(dev)->streams[number];
	struct swdev_chain *chain = message_of(dev, number);

	if (chain) {
		stream->dry = false;
		(streams[number].input ? capture : play)(dev, number, chain);
	} else if (!stream->dry && stream->features & 1 << 4) {
		stream->dry = true;
		swdev_sound_event(dev, 0x1101, number);
	}
}

/* "Stream Release": complete all pending I/O messages, then the request */
static void finish_release(struct swdev *dev)
{
	struct swdev_chain *request = dev->queues[CONTROLQ].held, *chain;
	uint8_t bytes[8] = {0};
	unsigned number;

	if (!request)
		return;
	swdev_chain_read(request, 0, bytes, 8);
	number = get32(bytes + 4);
	while (!swdev_sound_state(dev)->keeps && (chain = message_of(dev, number)))
		end_message(dev, chain, 0, true);
	if (!swdev_sound_state(dev)->keeps && dev->queues[streams[number].input ? RXQ : TXQ].ready)
		return;
	swdev_sound_state(dev)->streams[number].stage = SND_IDLE;
	put32(bytes, OK);
	request = swdev_take_held(&dev->queues[CONTROLQ]);
	swdev_complete(request, (uint32_t)swdev_chain_write(request, 0, bytes, 4));
}

static void produce(struct swdev *dev)
{
	struct swdev_sound *sound = swdev_sound_state(dev);

	for (unsigned i = 0; i < SND_STREAMS; i++)
		if (sound->streams[i].stage == SND_RUNNING && !sound->silent)
			run(dev, i);
	finish_release(dev);
	while (sound->events_waiting && dev->queues[EVENTQ].held) {
		struct swdev_chain *chain = swdev_take_held(&dev->queues[EVENTQ]);
		uint8_t event[8];

		put32(event, sound->events[0].code);
		put32(event + 4, sound->events[0].data);
		memmove(sound->events, sound->events + 1, --sound->events_waiting * sizeof(sound->events[0]));
		swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, event, 8));
	}
}

const struct swdev_type swdev_sound = {
	.id = 25,
	.name = "sound",
	.queues = 4,
	.features = FEATURE(SND_F_CTLS),
	.fields = fields,
	.config_size = 16,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
};
