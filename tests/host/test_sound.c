/*
 * The sound driver: what is written is played, what is captured is read, in the order of the PCM command life cycle, which the device checks; jacks,
 * maps, controls; and what resets, queue resets and removal do to a stream.
 */
#include "check_swdev.h"

#include <errno.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <class/sound.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_sound.h"

#include <apps/tone.h>

#define BYTES 20000u
static uint8_t data[BYTES], back[BYTES];

static const struct sound_params params = {.format = SOUND_S16,
                                           .rate = SOUND_RATE_48000,
                                           .channels = 2,
                                           .period_bytes = 1024,
                                           .periods = 4};

static struct sound_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	struct sound_device *device;

	plug_in(dev, front);
	device = sound_find(dev->vdev->name);
	assert_non_null(device);
	return device;
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_null(sound_find(NULL));
}

static const struct swdev_sound_stream *stream(struct swdev *dev, unsigned number)
{
	return &swdev_sound_state(dev)->streams[number];
}

static unsigned elapsed, changes, changed_number;

static void on_period(struct sound_device *device, unsigned number)
{
	(void)device, (void)number;
	elapsed++;
}

static void on_change(struct sound_device *device, enum sound_change what, unsigned number)
{
	(void)device, (void)what;
	changes++;
	changed_number = number;
}

/* "Item Information Request", "Device Initialization": over each front, with and without controls */
static void information(void **state)
{
	static const struct swdev_front *const fronts[] = {&swdev_direct, &swdev_mmio, &swdev_pci};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(fronts); i++) {
		struct swdev *dev = swdev_new(&swdev_sound);
		struct sound_device *device;

		if (i % 2)
			dev->offered &= ~FEATURE(SND_F_CTLS); /* reading `controls` is a violation then */
		device = plug(dev, fronts[i / 2]);
		assert_int_equal(device->stream_count, SND_STREAMS);
		assert_false(device->streams[SND_OUT].input);
		assert_true(device->streams[SND_IN].input);
		assert_int_equal(device->streams[SND_OUT].channels_max, 2);
		assert_int_equal(device->streams[SND_OUT_PLAIN].channels_max, 1);
		assert_true(device->streams[SND_OUT].formats == (BIT64(SOUND_S16) | BIT64(SOUND_S32)));
		assert_true(device->streams[SND_OUT_PLAIN].rates == BIT64(SOUND_RATE_48000));
		assert_int_equal(device->streams[SND_OUT].group, 1);
		assert_int_equal(device->jack_count, 2);
		assert_true(device->jacks[0].connected && !device->jacks[1].connected);
		assert_int_equal(device->jacks[1].defaults, 0x101);
		assert_int_equal(device->jacks[1].capabilities, 0x201);
		assert_int_equal(device->map_count, 2);
		assert_int_equal(device->maps[1].channels, 2);
		assert_int_equal(device->maps[1].positions[1], 4);
		assert_true(device->maps[1].input);
		assert_int_equal(device->control_count, i % 2 ? 0 : SND_CONTROLS);
		assert_null(sound_find("sound7"));
		unplug(dev);
	}
}

static void frames(void **state)
{
	static const uint32_t hz[] = {5512, 48000, 24000};

	(void)state;
	assert_int_equal(sound_hz[0], hz[0]);
	assert_int_equal(sound_hz[SOUND_RATE_48000], hz[1]);
	assert_int_equal(sound_hz[SOUND_RATES - 1], hz[2]);
	assert_int_equal(sound_frame_bytes(SOUND_S16, 2), 4);
	assert_int_equal(sound_frame_bytes(SOUND_U24_3, 2), 6);
	assert_int_equal(sound_frame_bytes(SOUND_S20, 1), 4);
	assert_int_equal(sound_frame_bytes(SOUND_FLOAT64, 3), 24);
	assert_int_equal(sound_frame_bytes(SOUND_IEC958_SUBFRAME, 1), 4);
	assert_int_equal(sound_frame_bytes(SOUND_IMA_ADPCM, 2), 1);
	assert_int_equal(sound_frame_bytes(SOUND_IMA_ADPCM, 1), 0);
	assert_int_equal(sound_frame_bytes(SOUND_FORMATS, 2), 0);
}

static void write_in_pieces(struct sound_device *device, uint32_t bytes)
{
	uint32_t at = 0, piece = 4;

	while (at < bytes) {
		piece = MIN(piece * 3, bytes - at);
		assert_int_equal(sound_write(device, SND_OUT, data + at, piece), 0);
		at += piece;
	}
}

/* The program's tone: its zeros counted in what the device played, on both channels, and its height. */
static void tone(void **state)
{
	static const uint32_t tones[] = {440, 50, 5000};
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);
	size_t at = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(tones); i++) {
		int highest = 0, rises = 0;

		assert_int_equal(tone_play(dev->vdev->name, SND_OUT, tones[i], 1010), 0);
		assert_int_equal(stream(dev, SND_OUT)->played_bytes - at, 48480 * 4);
		for (unsigned frame = 0; frame < 48480; frame++) {
			const int16_t *samples = (const int16_t *)(void *)(stream(dev, SND_OUT)->played + at) + 2 * frame;

			assert_int_equal(samples[0], samples[1]);
			highest = MAX(highest, samples[0]);
			rises += frame && samples[-2] < 0 && samples[0] >= 0;
		}
		assert_in_range(rises, tones[i] * 1.01 - 1, tones[i] * 1.01 + 1);
		assert_in_range(highest, 11500, 13000);
		at = stream(dev, SND_OUT)->played_bytes;
	}
	assert_int_equal(tone_play(dev->vdev->name, SND_OUT_PLAIN, 1000, 100), 0);
	assert_int_equal(stream(dev, SND_OUT_PLAIN)->played_bytes, 4800 * 2);
	assert_int_equal(tone_play(dev->vdev->name, SND_OUT, 20000, 100), -EINVAL);
	assert_int_equal(tone_play(dev->vdev->name, SND_IN, 440, 100), -ENOTSUP);
	assert_int_equal(tone_play(dev->vdev->name, SND_STREAMS, 440, 100), -ENOTSUP);
	assert_int_equal(tone_play("sound7", SND_OUT, 440, 100), -ENODEV);
	assert_int_equal(device->stream_count, SND_STREAMS);
	unplug(dev);
}

/* Both layouts, each order of things: the stream starts when its buffer is full, the last message alone is short. */
static void playback(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_sound);
		struct sound_device *device;

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		device = plug(dev, &swdev_direct);
		device->streams[SND_OUT].period = on_period;
		elapsed = 0;
		assert_int_equal(sound_open(device, SND_OUT, &params), 0);
		assert_int_equal(stream(dev, SND_OUT)->stage, SND_PREPARED);
		assert_int_equal(stream(dev, SND_OUT)->buffer_bytes, 4096);
		assert_int_equal(stream(dev, SND_OUT)->period_bytes, 1024);
		assert_int_equal(stream(dev, SND_OUT)->features, 1 << 4); /* EVT_XRUNS; nothing of shared memory */
		assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
		loop_sleep(1000000);
		assert_int_equal(stream(dev, SND_OUT)->messages, 4); /* before it starts */
		assert_int_equal(stream(dev, SND_OUT)->commands[4], 0);
		memmove(data, data + 4096, BYTES - 4096);
		write_in_pieces(device, 12000);
		assert_int_equal(stream(dev, SND_OUT)->commands[4], 1);
		assert_int_equal(sound_drain(device, SND_OUT), 0);
		assert_int_equal(stream(dev, SND_OUT)->played_bytes, 16096);
		assert_memory_equal(stream(dev, SND_OUT)->played + 4096, data, 12000);
		assert_int_equal(stream(dev, SND_OUT)->shorts, 1);
		assert_int_equal(elapsed, 16);
		assert_true(device->streams[SND_OUT].periods == 16);
		assert_int_equal(device->streams[SND_OUT].latency_bytes, 480);
		assert_int_equal(sound_close(device, SND_OUT), 0);
		assert_int_equal(stream(dev, SND_OUT)->stage, SND_IDLE);
		/* Once more: less than a buffer, in another format */
		assert_int_equal(sound_open(device, SND_OUT,
		                            &(struct sound_params){SOUND_S32, 6, 1, .period_bytes = 4000, .periods = 2}),
		                 0);
		assert_int_equal(sound_write(device, SND_OUT, data, 400), 0);
		assert_int_equal(sound_drain(device, SND_OUT), 0);
		assert_int_equal(stream(dev, SND_OUT)->played_bytes, 16496);
		assert_int_equal(stream(dev, SND_OUT)->rate, 6);
		assert_int_equal(sound_close(device, SND_OUT), 0);
		unplug(dev);
	}
}

/* The rx queue is populated before the start, and a captured byte is read once. */
static void recording(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_sound);
		struct sound_device *device;
		uint32_t at = 0;

		dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
		device = plug(dev, &swdev_direct);
		assert_int_equal(sound_open(device, SND_IN, &params), 0);
		for (uint32_t piece = 4; at < BYTES; at += piece, piece = MIN(piece * 3, BYTES - at))
			assert_int_equal(sound_read(device, SND_IN, back + at, piece), 0);
		for (uint32_t i = 0; i < BYTES; i++)
			assert_int_equal(back[i], swdev_sound_byte(i));
		assert_int_equal(stream(dev, SND_IN)->commands[4], 1);
		assert_int_equal(sound_close(device, SND_IN), 0); /* gives back what the device has */
		assert_int_equal(stream(dev, SND_IN)->stage, SND_IDLE);
		unplug(dev);
	}
}

/* "Stream Parameters": what is not offered never reaches the device, which would be a violation. */
static void parameters(void **state)
{
	static const struct {
		struct sound_params params;
		int error;
	} cases[] = {
		{{SOUND_U8, 7, 2, 1024, 4}, -ENOTSUP},      {{SOUND_S16, 0, 2, 1024, 4}, -ENOTSUP},
		{{SOUND_S16, 7, 3, 1024 * 3, 4}, -ENOTSUP}, {{SOUND_S16, 7, 0, 1024, 4}, -EINVAL},
		{{SOUND_S16, 16, 2, 1024, 4}, -EINVAL},     {{SOUND_FORMATS, 7, 2, 1024, 4}, -EINVAL},
		{{SOUND_S16, 7, 2, 1022, 4}, -EINVAL},      {{SOUND_S16, 7, 2, 0, 4}, -EINVAL},
		{{SOUND_S16, 7, 2, 131072, 4}, -EINVAL},    {{SOUND_S16, 7, 2, 1024, 1}, -EINVAL},
		{{SOUND_S16, 7, 2, 1024, 17}, -EINVAL},
	};
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);
	unsigned before = swdev_sound_state(dev)->requests;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(sound_open(device, SND_OUT, &cases[i].params), cases[i].error);
	assert_int_equal(sound_open(device, SND_STREAMS, &params), -EINVAL);
	assert_int_equal(sound_write(device, SND_OUT, data, 4), -EINVAL); /* not open */
	assert_int_equal(sound_close(device, SND_OUT), -EINVAL);
	assert_int_equal(sound_open(device, 4000000000u, &params), -EINVAL);
	assert_int_equal(sound_write(device, 4000000000u, data, 4), -EINVAL);
	assert_int_equal(swdev_sound_state(dev)->requests, before);
	assert_int_equal(sound_open(device, SND_OUT_PLAIN, &(struct sound_params){SOUND_S16, 7, 1, 512, 2}), 0);
	assert_int_equal(stream(dev, SND_OUT_PLAIN)->features, 0); /* offers none */
	assert_int_equal(sound_open(device, SND_OUT_PLAIN, &(struct sound_params){SOUND_S16, 7, 1, 512, 2}), -EBUSY);
	assert_int_equal(sound_write(device, SND_OUT_PLAIN, data, 3), -EINVAL); /* half a frame */
	assert_int_equal(sound_read(device, SND_OUT_PLAIN, data, 4), -EINVAL);
	assert_int_equal(sound_close(device, SND_OUT_PLAIN), 0);
	swdev_sound_state(dev)->fail_code = 0x102; /* PREPARE */
	swdev_sound_state(dev)->fail_status = 0x8002;
	assert_int_equal(sound_open(device, SND_OUT, &params), -ENOTSUP);
	swdev_sound_state(dev)->fail_status = 0x8001;
	assert_int_equal(sound_open(device, SND_OUT, &params), -EINVAL);
	swdev_sound_state(dev)->fail_status = 0x8003;
	assert_int_equal(sound_open(device, SND_OUT, &params), -EIO);
	swdev_sound_state(dev)->fail_code = 0;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	unplug(dev);
}

/* Two streams at once; a period that fails is told of once. */
static void failures(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);

	(void)state;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_open(device, SND_IN, &params), 0);
	assert_int_equal(sound_read(device, SND_IN, back, 1024), 0);
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	swdev_sound_state(dev)->period_status = 0x8003;
	assert_int_equal(sound_drain(device, SND_OUT), -EIO);
	swdev_sound_state(dev)->period_status = 0x8000;
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	assert_int_equal(sound_drain(device, SND_OUT), 0);
	assert_int_equal(sound_drain(device, SND_OUT), 0);
	/* It ran dry, and said so. */
	loop_sleep(1000000);
	assert_true(device->streams[SND_OUT].xruns > 0);
	swdev_sound_state(dev)->silent = true;
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	assert_int_equal(sound_drain(device, SND_OUT), -ETIMEDOUT);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	swdev_sound_state(dev)->silent = false;
	assert_int_equal(sound_close(device, SND_IN), 0);
	assert_int_equal(dev->resets, 1);
	unplug(dev);
}

/* A device that keeps messages beyond the release is reset, and they end. */
static void release_kept(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);

	(void)state;
	swdev_sound_state(dev)->silent = swdev_sound_state(dev)->keeps = true;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	(void)sound_close(device, SND_OUT);
	assert_int_equal(count_in(host_console_text(), "keeps its periods"), 1);
	assert_int_equal(count_in(host_console_text(), "works again"), 1);
	swdev_sound_state(dev)->silent = swdev_sound_state(dev)->keeps = false;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_write(device, SND_OUT, data, 8192), 0);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	unplug(dev);
}

/* A reset loses what was in flight, which is told once; the stream goes on. */
static void recovery(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);
	size_t before;

	(void)state;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_open(device, SND_IN, &params), 0);
	swdev_sound_state(dev)->silent = true;
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	swdev_needs_reset(dev);
	loop_sleep(1000000);
	assert_int_equal(count_in(host_console_text(), "works again"), 1);
	swdev_sound_state(dev)->silent = false;
	assert_int_equal(sound_write(device, SND_OUT, data, 4), -EIO);
	before = stream(dev, SND_OUT)->played_bytes;
	assert_int_equal(sound_write(device, SND_OUT, data, 10000), 0);
	assert_int_equal(sound_drain(device, SND_OUT), 0);
	assert_int_equal(stream(dev, SND_OUT)->played_bytes - before, 10000);
	assert_memory_equal(stream(dev, SND_OUT)->played + before, data, 10000);
	assert_int_equal(sound_read(device, SND_IN, back, 4096), 0);
	assert_int_equal(device_find(dev->vdev->name)->rebind(device_find(dev->vdev->name)), 0);
	device = sound_find(NULL); /* another one: all is closed */
	assert_int_equal(sound_close(device, SND_OUT), -EINVAL);
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	unplug(dev);
}

/* A reset of the tx or rx queue loses nothing: what the device had not played goes out again. */
static void queue_reset(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = swdev_new(&swdev_sound);
		struct sound_device *device;
		struct device_info *info;

		dev->offered |= FEATURE(F_RING_RESET) | (packed ? FEATURE(F_RING_PACKED) : 0);
		device = plug(dev, &swdev_direct);
		info = device_find(dev->vdev->name);
		assert_int_equal(sound_open(device, SND_OUT, &params), 0);
		assert_int_equal(sound_open(device, SND_IN, &params), 0);
		assert_int_equal(sound_read(device, SND_IN, back, 512), 0);
		assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
		for (unsigned queue = 0; queue < 4; queue++)
			assert_int_equal(info->reset_queue(info, queue), 0);
		assert_int_equal(sound_drain(device, SND_OUT), 0);
		assert_int_equal(stream(dev, SND_OUT)->played_bytes, 4096);
		assert_memory_equal(stream(dev, SND_OUT)->played, data, 4096);
		assert_int_equal(sound_read(device, SND_IN, back + 512, 8192), 0);
		assert_int_equal(sound_close(device, SND_IN), 0);
		assert_int_equal(sound_close(device, SND_OUT), 0);
		assert_int_equal(dev->resets, 1);
		unplug(dev);
	}
}

/* A queue with room for a message at a time: what waits when the stream is closed does not go out any more. */
static void short_queue(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device;

	(void)state;
	dev->offered &= ~FEATURE(F_INDIRECT_DESC);
	dev->queues[2].max = 4;
	device = plug(dev, &swdev_direct);
	swdev_sound_state(dev)->silent = true;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	assert_int_equal(stream(dev, SND_OUT)->messages, 1);
	swdev_sound_state(dev)->silent = false;
	assert_int_equal(sound_open(device, SND_OUT, &params), 0);
	assert_int_equal(sound_write(device, SND_OUT, data, 8192), 0);
	assert_int_equal(sound_drain(device, SND_OUT), 0);
	assert_int_equal(sound_close(device, SND_OUT), 0);
	assert_int_equal(dev->resets, 1);
	unplug(dev);
}

/* ---- removal while a call waits ---- */

static struct swdev *leaving;

static void leave(struct timer *timer)
{
	(void)timer;
	assert_int_equal(swdev_unplug(leaving), 0);
}

/* Its place is taken by another at once. */
static void come_back(struct timer *timer)
{
	struct device_info *info = device_find(leaving->vdev->name);

	(void)timer;
	swdev_sound_state(leaving)->silent = false;
	leaving->dead = false;
	assert_int_equal(info->rebind(info), 0);
}

static void removal(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		struct swdev *dev = swdev_new(&swdev_sound);
		struct sound_device *device = plug(dev, i % 2 ? &swdev_pci : &swdev_direct);
		struct timer timer = {0};
		int error;

		assert_int_equal(sound_open(device, SND_OUT, &params), 0);
		assert_int_equal(sound_open(device, SND_IN, &params), 0);
		assert_int_equal(sound_write(device, SND_OUT, data, 4096), 0);
		dev->dead = i % 5 > 2;
		swdev_sound_state(dev)->silent = true;
		leaving = dev;
		timer_start(&timer, clock_ns() + 1000000, i < 5 ? leave : come_back);
		if (i % 5 == 0)
			error = sound_write(device, SND_OUT, data, 4096);
		else if (i % 5 == 1)
			error = sound_drain(device, SND_OUT);
		else if (i % 5 == 2)
			error = sound_read(device, SND_IN, back, 4096);
		else if (i % 5 == 3)
			error = sound_close(device, SND_OUT);
		else
			error = sound_control(device, SND_MUTE, SOUND_GET, back, 4);
		assert_int_equal(error, -ENODEV);
		if (i >= 5) {
			device = sound_find(NULL);
			assert_int_equal(sound_open(device, SND_OUT, &params), 0);
			assert_int_equal(sound_close(device, SND_OUT), 0);
			unplug(dev);
		}
		assert_null(sound_find(NULL));
	}
}

/* ---- jacks, controls, events ---- */

static void jacks(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);

	(void)state;
	device->changed = on_change;
	changes = 0;
	assert_int_equal(sound_remap(device, 0, 1, 2), -ENOTSUP); /* the device says so */
	assert_int_equal(sound_remap(device, 2, 1, 2), -ENOTSUP);
	assert_int_equal(sound_remap(device, 1, 5, 6), 0);
	assert_int_equal(swdev_sound_state(dev)->association[1], 5);
	assert_int_equal(swdev_sound_state(dev)->sequence[1], 6);
	swdev_sound_event(dev, 0x1000, 1);
	loop_sleep(1000000);
	assert_int_equal(changes, 1);
	assert_int_equal(changed_number, 1);
	assert_true(device->jacks[1].connected);
	for (unsigned i = 0; i < 40; i++) /* more than there are buffers */
		swdev_sound_event(dev, 0x1001, i % 2);
	loop_sleep(100000000);
	assert_int_equal(changes, 41);
	assert_true(!device->jacks[0].connected && !device->jacks[1].connected);
	swdev_sound_event(dev, 0x1001, 2);
	swdev_sound_event(dev, 0x77, 0);
	loop_sleep(1000000);
	assert_int_equal(changes, 41);
	assert_int_equal(count_in(host_console_text(), "of no sense"), 1);
	unplug(dev);
}

/* "Control Element Value", "Control Element Metadata": what an element gives no right to is not sent. */
static void controls(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device = plug(dev, &swdev_direct);
	const struct sound_control *volume = &device->controls[SND_VOLUME];
	int32_t value[2] = {-7, 9}, read[2] = {0};
	uint32_t tlv[4] = {1, 8, 77, 78};
	char items[3][SOUND_ITEM_BYTES];
	unsigned before;

	(void)state;
	device->changed = on_change;
	changes = 0;
	assert_string_equal(volume->name, "Volume");
	assert_true(volume->min == -50 && volume->max == 50 && volume->step == 5 && volume->value_bytes == 8);
	assert_true(device->controls[SND_WIDE].min == -(INT64_C(1) << 40) && device->controls[SND_WIDE].max == INT64_C(1) << 40);
	assert_int_equal(device->controls[SND_KEY].value_bytes, 20);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_SET, value, 8), 0);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_GET, read, 8), 0);
	assert_memory_equal(read, value, 8);
	assert_int_equal(sound_control(device, SND_ROUTE, SOUND_ITEMS, items, sizeof(items)), 0);
	assert_string_equal(items[0], "front");
	assert_string_equal(items[2], "nowhere");
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_TLV_WRITE, tlv, sizeof(tlv)), 0);
	memset(tlv, 0, sizeof(tlv));
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_TLV_READ, tlv, sizeof(tlv)), sizeof(tlv));
	assert_int_equal(tlv[3], 78);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_TLV_COMMAND, tlv, sizeof(tlv)), 0);
	assert_int_equal(swdev_sound_state(dev)->tlv_commands, 1);
	before = swdev_sound_state(dev)->requests;
	assert_int_equal(sound_control(device, SND_KEY, SOUND_GET, back, 20), -ENOTSUP); /* is write-only */
	assert_int_equal(sound_control(device, SND_WIDE, SOUND_SET, data, 8), -ENOTSUP); /* and read-only */
	assert_int_equal(sound_control(device, SND_MUTE, SOUND_TLV_READ, tlv, sizeof(tlv)), -ENOTSUP);
	assert_int_equal(sound_control(device, SND_MUTE, SOUND_TLV_WRITE, tlv, sizeof(tlv)), -ENOTSUP);
	assert_int_equal(sound_control(device, SND_MUTE, SOUND_TLV_COMMAND, tlv, sizeof(tlv)), -ENOTSUP);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_ITEMS, items, sizeof(items)), -ENOTSUP);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_SET, value, 4), -EINVAL);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_TLV_WRITE, data, SOUND_TLV_MAX + 4), -EINVAL);
	assert_int_equal(sound_control(device, SND_VOLUME, SOUND_TLV_WRITE, data, 4), -EINVAL);
	assert_int_equal(sound_control(device, SND_CONTROLS, SOUND_GET, back, 4), -EINVAL);
	assert_int_equal(swdev_sound_state(dev)->requests, before);
	swdev_sound_event(dev, 0x1200, SND_MUTE | 3u << 16); /* its value and its information have changed */
	loop_sleep(1000000);
	assert_int_equal(changes, 1);
	assert_int_equal(changed_number, SND_MUTE);
	assert_int_equal(sound_control(device, SND_MUTE, SOUND_GET, back, 4), 0); /* asks for the information first */
	assert_int_equal(swdev_sound_state(dev)->requests, before + 2);
	unplug(dev);
}

/* Of a device that tells of no jacks though it has some, as QEMU's. */
static void jacks_not_told(void **state)
{
	struct swdev *dev = swdev_new(&swdev_sound);
	struct sound_device *device;

	(void)state;
	swdev_sound_state(dev)->fail_code = 1;
	swdev_sound_state(dev)->fail_status = 0x8002;
	device = plug(dev, &swdev_direct);
	assert_int_equal(device->jack_count, 0);
	assert_int_equal(device->stream_count, SND_STREAMS);
	unplug(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(information), cmocka_unit_test(frames),       cmocka_unit_test(tone),
		cmocka_unit_test(playback),    cmocka_unit_test(recording),    cmocka_unit_test(parameters),
		cmocka_unit_test(failures),    cmocka_unit_test(release_kept), cmocka_unit_test(recovery),
		cmocka_unit_test(queue_reset), cmocka_unit_test(short_queue),  cmocka_unit_test(removal),
		cmocka_unit_test(jacks),       cmocka_unit_test(controls),     cmocka_unit_test(jacks_not_told),
	};

	swdev_machine(64u << 20);
	for (unsigned i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
