/*
 * Sound: a tone of 440 Hz through each output, a moment of each input, each control read.
 */
#include "selftest.h"

#include <errno.h>
#include <stdlib.h>

#include <base/log.h>
#include <base/tap.h>

#include "tone.h"

#define CAPTURE_BYTES 4096u

static void report(int error, const char *name, const char *what, unsigned number)
{
	if (!tap_ok(!error, "%s %s %u", name, what, number))
		tap_detail("error: %d", error);
}

static int capture(struct sound_device *device, unsigned number, const struct sound_params *params)
{
	void *frames = malloc(CAPTURE_BYTES);
	int error = frames ? sound_open(device, number, params) : -ENOMEM, late;

	if (!error) {
		error = sound_read(device, number, frames, CAPTURE_BYTES);
		late = error == -ENODEV ? 0 : sound_close(device, number);
		error = error ? error : late;
	}
	free(frames);
	return error;
}

static void test_sound(const char *name)
{
	static uint8_t value[512];
	struct sound_device *device = sound_find(name);

	for (unsigned i = 0; device && i < device->stream_count; i++) {
		const struct sound_stream *stream = &device->streams[i];
		struct sound_params params;
		int error;

		record("{\"event\":\"sound-stream\",\"device\":\"%s\",\"stream\":%u,\"input\":%u,\"channels\":%u,\"formats\":"
		       "\"0x%lx\","
		       "\"rates\":\"0x%lx\"}",
		       name, i, stream->input, stream->channels_max, stream->formats, stream->rates);
		if (!tone_params(stream, &params)) {
			tap_skip("neither S16 nor a rate of ours", "%s stream %u", name, i);
			continue;
		}
		if (!stream->input) {
			report(tone_play(name, i, 440, 200), name, "plays a tone on stream", i);
		} else {
			error = capture(device, i, &params);
			if (error == -ETIMEDOUT) /* nobody on the other side */
				tap_skip("nothing comes in", "%s captures from stream %u", name, i);
			else
				report(error, name, "captures from stream", i);
		}
		device = sound_find(name);
	}
	for (unsigned i = 0; device && i < device->control_count; i++) {
		const struct sound_control *control = &device->controls[i];

		if (control->access & 1)
			report(sound_control(device, i, SOUND_GET, value, control->value_bytes), name,
			       "tells the value of control", i);
		device = sound_find(name);
	}
}

SELFTEST(sound, test_sound);
