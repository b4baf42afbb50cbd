/*
 * "Sound Device": its life, and what it tells of itself: streams, jacks, channel maps and controls are asked for at each start; what changes later
 * comes by the eventq.
 *
 * Requests are copied to memory of their own, for a device may be gone, with all that is the driver's, before an answer comes.
 */
#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "sound_impl.h"

#define EVENTS 16u

/* "Device Operation" */
struct virtio_snd_event {
	le32 code, data;
};

struct virtio_snd_query_info {
	le32 code, start_id, count, size;
};

/* The info structures, each with its virtio_snd_info */
struct virtio_snd_jack_info {
	le32 hda_fn_nid, features, hda_reg_defconf, hda_reg_caps;
	uint8_t connected, padding[7];
};
_Static_assert(sizeof(struct virtio_snd_jack_info) == 24, "virtio_snd_jack_info");

struct virtio_snd_pcm_info {
	le32 hda_fn_nid, features;
	le64 formats, rates;
	uint8_t direction, channels_min, channels_max, padding[5];
};
_Static_assert(sizeof(struct virtio_snd_pcm_info) == 32, "virtio_snd_pcm_info");

struct virtio_snd_chmap_info {
	le32 hda_fn_nid;
	uint8_t direction, channels, positions[SOUND_CHANNELS_MAX];
};
_Static_assert(sizeof(struct virtio_snd_chmap_info) == 24, "virtio_snd_chmap_info");

/* ---- requests ---- */

struct ask {
	struct virtio_request request;
	struct virtq_buf bufs[2];
	le32 status; /* the answer begins with it */
	uint8_t bytes[];
};

static int status_error(uint32_t status)
{
	return status == S_OK ? 0 : status == S_NOT_SUPP ? -ENOTSUP : status == S_BAD_MSG ? -EINVAL : -EIO;
}

static int exchange(struct sound *sound, const void *question, uint32_t question_bytes, void *answer, uint32_t answer_bytes,
                    bool starting)
{
	size_t size = sizeof(struct ask) + question_bytes + answer_bytes;
	uint64_t born = sound->born;
	struct ask *ask = page_alloc(size, PAGE_SIZE);
	uint32_t got;
	int error;

	if (!ask)
		return -ENOMEM;
	memcpy(ask->bytes + answer_bytes, question, question_bytes);
	ask->bufs[0] = (struct virtq_buf){ask->bytes + answer_bytes, question_bytes};
	ask->bufs[1] = (struct virtq_buf){&ask->status, (uint32_t)sizeof(ask->status) + answer_bytes};
	ask->request = (struct virtio_request){.bufs = ask->bufs, .nreadable = 1, .nwritable = 1};
	error = virtio_request_call(&sound->control, &ask->request, VIRTIO_ANSWER_NS);
	if (error == -ETIMEDOUT) { /* the device has it yet, until a reset ends it */
		if (starting) {
			sound->orphan = ask;
			sound->orphan_bytes = size;
		}
		return error;
	}
	got = ask->request.written;
	if (!error && got < sizeof(ask->status))
		error = -EIO;
	if (!error)
		error = status_error(le32_to_cpu(ask->status));
	got -= MIN(got, (uint32_t)sizeof(ask->status));
	if (!error && got)
		memcpy(answer, ask->bytes, got);
	page_free(ask, size);
	if (!starting && !sound_is_here(sound, born))
		return -ENODEV;
	return error ? error : (int)got;
}

int sound_ask(struct sound *sound, const void *question, uint32_t question_bytes, void *answer, uint32_t answer_bytes)
{
	return exchange(sound, question, question_bytes, answer, answer_bytes, false);
}

/* ---- items ---- */

static void take_jack(struct sound *sound, unsigned number, const void *bytes)
{
	const struct virtio_snd_jack_info *info = bytes;

	sound->jacks[number] = (struct sound_jack){.group = le32_to_cpu(info->hda_fn_nid),
	                                           .defaults = le32_to_cpu(info->hda_reg_defconf),
	                                           .capabilities = le32_to_cpu(info->hda_reg_caps),
	                                           .connected = info->connected,
	                                           .can_remap = le32_to_cpu(info->features) & 1};
}

static void take_stream(struct sound *sound, unsigned number, const void *bytes)
{
	const struct virtio_snd_pcm_info *info = bytes;
	struct sound_stream *stream = &sound->streams[number];

	stream->group = le32_to_cpu(info->hda_fn_nid);
	stream->input = info->direction == D_INPUT;
	stream->channels_min = info->channels_min;
	stream->channels_max = info->channels_max;
	/* "Stream Parameters": MUST NOT set undefined format and rate values. A stream without direction has none. */
	stream->formats = info->direction <= D_INPUT ? le64_to_cpu(info->formats) & (BIT64(SOUND_FORMATS) - 1) : 0;
	stream->rates = le64_to_cpu(info->rates) & (BIT64(SOUND_RATES) - 1);
	sound->pcms[number].features = le32_to_cpu(info->features);
}

static void take_map(struct sound *sound, unsigned number, const void *bytes)
{
	const struct virtio_snd_chmap_info *info = bytes;
	struct sound_map *map = &sound->maps[number];

	map->group = le32_to_cpu(info->hda_fn_nid);
	map->input = info->direction == D_INPUT;
	map->channels = MIN(info->channels, (uint8_t)SOUND_CHANNELS_MAX);
	memcpy(map->positions, info->positions, sizeof(map->positions));
}

static const struct kind {
	const char *name;
	uint32_t code, size;
	uint16_t most, config, count; /* where the configuration, and struct sound, have how many there are */
	void (*take)(struct sound *sound, unsigned number, const void *info);
} kinds[] = {
#define CONFIG(member) offsetof(struct virtio_snd_config, member)
#define COUNT(member) offsetof(struct sound, device.member)
	{"streams", R_PCM_INFO, sizeof(struct virtio_snd_pcm_info), STREAMS_MAX, CONFIG(streams), COUNT(stream_count),
         take_stream},
	{"jacks", R_JACK_INFO, sizeof(struct virtio_snd_jack_info), JACKS_MAX, CONFIG(jacks), COUNT(jack_count), take_jack},
	{"channel maps", R_CHMAP_INFO, sizeof(struct virtio_snd_chmap_info), MAPS_MAX, CONFIG(chmaps), COUNT(map_count),
         take_map},
	{"controls", R_CTL_INFO, CTL_INFO_BYTES, CONTROLS_MAX, CONFIG(controls), COUNT(control_count), sound_take_control},
};

static unsigned *count_of(struct sound *sound, const struct kind *kind)
{
	return (unsigned *)(void *)((uint8_t *)sound + kind->count);
}

int sound_query(struct sound *sound, uint32_t code, unsigned first, unsigned count, bool starting)
{
	const struct kind *kind = kinds;
	struct virtio_snd_query_info query = {.code = cpu_to_le32(code),
	                                      .start_id = cpu_to_le32(first),
	                                      .count = cpu_to_le32(count)};
	uint32_t bytes;
	uint8_t *infos;
	int got;

	while (kind->code != code)
		kind++;
	/* "Item Information Request": MUST provide so much for the answer */
	bytes = count * kind->size;
	query.size = cpu_to_le32(kind->size);
	infos = page_alloc(bytes, PAGE_SIZE);
	if (!infos)
		return -ENOMEM;
	got = exchange(sound, &query, sizeof(query), infos, bytes, starting);
	if (got >= 0 && got < (int)bytes)
		got = -EIO;
	for (unsigned i = 0; i < count && got >= 0; i++)
		kind->take(sound, first + i, infos + i * kind->size);
	page_free(infos, bytes);
	return got < 0 ? got : 0;
}

/* "Device Initialization". What a device says it has and then does not tell of is left out, but for its streams. */
static int query_all(struct sound *sound)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned *count = count_of(sound, &kinds[i]);
		int error = *count ? sound_query(sound, kinds[i].code, 0, *count, true) : 0;

		if (error == -ETIMEDOUT || (error && !i))
			return virtio_refuse(sound->vdev, error, "its %s are not told: error %d", kinds[i].name, -error);
		if (error)
			log_warn("%s: its %s are not told: error %d", sound->vdev->name, kinds[i].name, -error);
		if (error)
			*count = 0;
	}
	return 0;
}

static int remap(struct sound_device *device, unsigned jack, uint32_t association, uint32_t sequence)
{
	struct {
		struct virtio_snd_item_hdr hdr;
		le32 association, sequence;
	} request = {.hdr = {cpu_to_le32(R_JACK_REMAP), cpu_to_le32(jack)},
	             .association = cpu_to_le32(association),
	             .sequence = cpu_to_le32(sequence)};
	int got;

	if (jack >= device->jack_count || !device->jacks[jack].can_remap)
		return -ENOTSUP;
	got = sound_ask(sound_of(device), &request, sizeof(request), NULL, 0);
	return MIN(got, 0);
}

/* ---- events ---- */

static void report(struct virtio_eventq *queue, void *bytes, uint32_t written)
{
	struct sound *sound = container_of(queue, struct sound, events);
	struct sound_device *device = &sound->device;
	const struct virtio_snd_event *event = bytes;
	uint32_t code = le32_to_cpu(event->code), data = le32_to_cpu(event->data), number = data;
	bool jack = code == EVT_JACK_CONNECTED || code == EVT_JACK_DISCONNECTED, known = written >= sizeof(*event);

	if (code == EVT_CTL_NOTIFY)
		number &= 0xffff; /* a mask of reasons is above it */
	if (known && jack && number < device->jack_count)
		sound->jacks[number].connected = code == EVT_JACK_CONNECTED;
	else if (known && code == EVT_CTL_NOTIFY && number < device->control_count)
		sound->controls[number].stale |= data >> 16 & 2; /* INFO */
	else if (known && code == EVT_PCM_XRUN && number < device->stream_count)
		sound->streams[number].xruns++;
	else if (!(known && code == EVT_PCM_PERIOD_ELAPSED && number < device->stream_count))
		known = false; /* of periods the tx and rx queues tell */
	if (!known && !sound->odd_events) {
		sound->odd_events = true;
		log_warn("%s: an event of no sense: code %#x, %u", sound->vdev->name, code, data);
	}
	if (known && (jack || code == EVT_CTL_NOTIFY) && device->changed)
		device->changed(device, jack ? SOUND_JACK_CHANGED : SOUND_CONTROL_CHANGED, number);
}

/* ---- life ---- */

static const struct sound_ops ops = {.open = sound_stream_open,
                                     .transfer = sound_stream_transfer,
                                     .drain = sound_stream_drain,
                                     .close = sound_stream_close,
                                     .remap = remap,
                                     .control = sound_control_do};

/* "Device Initialization": MUST NOT read controls without VIRTIO_SND_F_CTLS */
static void read_counts(struct sound *sound)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds) - !virtio_has(sound->vdev, VIRTIO_SND_F_CTLS); i++) {
		uint32_t count = virtio_config_u32(sound->vdev, kinds[i].config, 0);

		if (count > kinds[i].most)
			log_warn("%s: %u %s are too many, %u are used", sound->vdev->name, count, kinds[i].name, kinds[i].most);
		*count_of(sound, &kinds[i]) = MIN(count, kinds[i].most);
	}
}

static int probe(struct virtio_device *vdev)
{
	static uint64_t births;
	struct sound *sound = page_alloc(sizeof(*sound), PAGE_SIZE);
	int error;

	if (!sound)
		return -ENOMEM;
	error = virtio_eventq_init(&sound->events, sizeof(struct virtio_snd_event), EVENTS, report);
	if (error) {
		page_free(sound, sizeof(*sound));
		return error;
	}
	sound->vdev = vdev;
	sound->born = ++births;
	sound->device = (struct sound_device){.ops = &ops,
	                                      .streams = sound->streams,
	                                      .jacks = sound->jacks,
	                                      .maps = sound->maps,
	                                      .controls = sound->controls};
	virtio_requestq_init(&sound->control);
	virtio_requestq_init(&sound->tx);
	virtio_requestq_init(&sound->rx);
	/* A queue reset lets periods go out once more. */
	sound->tx.again = sound->rx.again = true;
	vdev->driver_data = sound;
	vdev->node = &sound->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct sound *sound = vdev->driver_data;
	const struct virtq_spec specs[QUEUES] = {
		[CONTROLQ] = virtio_requestq_spec(&sound->control, "controlq", 2),
		[EVENTQ] = virtio_eventq_spec(&sound->events, "eventq"),
		[TXQ] = virtio_requestq_spec(&sound->tx, "txq", 3),
		[RXQ] = virtio_requestq_spec(&sound->rx, "rxq", 3),
	};
	int error;

	read_counts(sound);
	error = virtio_service_start(vdev, QUEUES, specs);
	return error ? error : query_all(sound);
}

static void stop(struct virtio_device *vdev)
{
	struct sound *sound = vdev->driver_data;

	virtio_service_stop(vdev);
	sound_streams_reset(sound);
	if (sound->orphan)
		page_free(sound->orphan, sound->orphan_bytes);
	sound->orphan = NULL;
}

static void remove(struct virtio_device *vdev)
{
	struct sound *sound = vdev->driver_data;

	virtio_requestq_end(&sound->control);
	virtio_requestq_end(&sound->tx);
	virtio_requestq_end(&sound->rx);
	sound_streams_end(sound);
	virtio_eventq_free(&sound->events);
	page_free(sound, sizeof(*sound));
}

static const struct virtio_driver sound_driver = {
	.name = "virtio-sound",
	.instance = "sound",
	.type = VIRTIO_ID_SOUND,
	.devices = &sound_devices,
	.features = BIT64(VIRTIO_SND_F_CTLS),
	.config_size = sizeof(struct virtio_snd_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(sound_driver);
