/*
 * Work for a sound device: frames written and played, frames captured and read, a control set and read. And lies of its own.
 */
#include <string.h>

#include <class/sound.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_sound.h"
#include "swdev_work_impl.h"

static const struct sound_params params = {.format = SOUND_S16,
                                           .rate = SOUND_RATE_48000,
                                           .channels = 2,
                                           .period_bytes = 512,
                                           .periods = 8};

/* The device may go while one waits: each step looks for it anew. */
static int play(const char *name, struct swdev_item *item)
{
	struct sound_device *device = sound_find(name);
	const struct swdev_sound_stream *stream = &swdev_sound_state(item->work->dev)->streams[SND_OUT];
	size_t before = stream->played_bytes;
	int error = device ? sound_open(device, SND_OUT, &params) : -1, late;

	if (!error)
		error = sound_write(sound_find(name), SND_OUT, item->out, SWDEV_ITEM_BYTES - 100);
	if (!error && sound_find(name))
		error = sound_drain(sound_find(name), SND_OUT);
	if (!error && (stream->played_bytes - before != SWDEV_ITEM_BYTES - 100 ||
	               memcmp(stream->played + before, item->out, SWDEV_ITEM_BYTES - 100) != 0))
		error = -1; /* of the device's doing, too */
	device = sound_find(name);
	late = device ? sound_close(device, SND_OUT) : -1;
	return error ? error : late;
}

static int capture(const char *name, struct swdev_item *item)
{
	struct sound_device *device = sound_find(name);
	int error = device ? sound_open(device, SND_IN, &params) : -1, late;

	if (!error)
		error = sound_read(sound_find(name), SND_IN, item->in, 1200);
	device = sound_find(name);
	late = device ? sound_close(device, SND_IN) : -1;
	return error ? error : late;
}

static int control(const char *name, struct swdev_item *item)
{
	struct sound_device *device = sound_find(name);
	int32_t volume[2] = {(int32_t)item->index, -3}, read[2] = {0};
	int error = device ? 0 : -1;

	if (error || !device->control_count)
		return error;
	error = sound_control(device, SND_VOLUME, SOUND_SET, volume, sizeof(volume));
	device = sound_find(name);
	if (!error)
		error = device ? sound_control(device, SND_VOLUME, SOUND_GET, read, sizeof(read)) : -1;
	return error ? error : memcmp(read, volume, sizeof(read)) ? -1 : 0;
}

static bool begin(struct swdev_work *work)
{
	int (*const steps[])(const char *, struct swdev_item *) = {play, capture, control};
	bool good = true;
	char name[16];

	strcpy(name, work->dev->vdev->name);
	if (work->dev->vdev->state != VIRTIO_RUNNING)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		if (i < ARRAY_SIZE(steps) && good)
			good = steps[i](name, &work->items[i]) == 0;
		swdev_work_ended(&work->items[i], good);
	}
	return true;
}

static const struct swdev_workload sound_load = {.type = &swdev_sound, .begin = begin};
LINKER_ENTRY(swdev_workloads, sound_load);

/* ---- lies ---- */

#define SETUP(name, field, value)                                                                                                \
	static void name(struct swdev *dev)                                                                                      \
	{                                                                                                                        \
		swdev_sound_state(dev)->field = value;                                                                           \
		dev->lies_told++;                                                                                                \
	}
SETUP(plays_nothing, silent, true)
SETUP(keeps_messages, keeps, true)
SETUP(odd_status, period_status, 0x1234)
SETUP(short_messages, short_by, 3)
SETUP(empty_messages, short_by, 1 << 20)
SETUP(many_members, count_lie, 0x80000001)
SETUP(no_members, count_lie, UINT32_MAX)
SETUP(many_channels, channels_lie, 255)
SETUP(no_direction, direction_lie, 77)

static void refuse(struct swdev *dev, uint32_t code, uint32_t status)
{
	swdev_sound_state(dev)->fail_code = code;
	swdev_sound_state(dev)->fail_status = status;
	dev->lies_told++;
}

static void no_streams_told(struct swdev *dev) { refuse(dev, 0x100, 0x8003); }
static void no_jacks_told(struct swdev *dev) { refuse(dev, 1, 0x8002); }
static void no_start(struct swdev *dev) { refuse(dev, 0x104, 0x8003); }
static void no_release(struct swdev *dev) { refuse(dev, 0x103, 0); }

static void absurd_events(struct swdev *dev)
{
	static const uint32_t codes[] = {0x1000, 0x1001, 0x1100, 0x1101, 0x1200, 0, 0x8000, UINT32_MAX};

	if (!(dev->status & ST_DRIVER_OK))
		return;
	dev->lies_told++;
	swdev_sound_event(dev, codes[dev->lies_told % ARRAY_SIZE(codes)], UINT32_MAX / (1 + dev->lies_told % 7));
}

#define CONFIG(at) .reg = REG_CONFIG, .index = at

static const struct swdev_lie sound_lies[] = {
	{"sound of 4 thousand million streams", 0, .type = &swdev_sound, CONFIG(4), .op = OP_SET, .value = UINT32_MAX,
         .blind = true},
	{"sound of too many jacks", 0, .type = &swdev_sound, CONFIG(0), .op = OP_SET, .value = 1000, .blind = true,
         .says = "jacks are too many"},
	{"sound without a stream", 0, .type = &swdev_sound, CONFIG(4), .op = OP_SET, .value = 0, .harmless = true},
	{"sound whose streams are not told", 0, .type = &swdev_sound, .setup = no_streams_told, .says = "streams are not told"},
	{"sound whose jacks are not told", 0, .type = &swdev_sound, .setup = no_jacks_told, .says = "jacks are not told",
         .works = true},
	{"sound that does not start", 0, .type = &swdev_sound, .setup = no_start, .harmless = true},
	{"sound that is not released", 0, .type = &swdev_sound, .setup = no_release, .harmless = true},
	{"sound that plays nothing", 0, .type = &swdev_sound, .setup = plays_nothing, .harmless = true},
	{"sound that keeps its periods", 0, .type = &swdev_sound, .setup = keeps_messages, .harmless = true},
	{"sound periods of odd status", 0, .type = &swdev_sound, .setup = odd_status, .harmless = true},
	{"sound periods a little short", 0, .type = &swdev_sound, .setup = short_messages, .harmless = true},
	{"sound periods of no length", 0, .type = &swdev_sound, .setup = empty_messages, .harmless = true},
	{"sound controls of many members", 0, .type = &swdev_sound, .setup = many_members, .harmless = true},
	{"sound controls of more members", 0, .type = &swdev_sound, .setup = no_members, .harmless = true},
	{"sound maps of 255 channels", 0, .type = &swdev_sound, .setup = many_channels, .harmless = true, .works = true},
	{"sound streams of no direction", 0, .type = &swdev_sound, .setup = no_direction, .harmless = true},
	{"sound events of no sense", 0, .type = &swdev_sound, .at_look = absurd_events, .works = true, .says = "of no sense"},
	{},
};
SWDEV_LIES(sound_lies);
