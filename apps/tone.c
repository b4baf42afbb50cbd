/*
 * A tone: a sine by rotation. Two sums for each sample turn a point on a circle, whose radius they keep for ever.
 */
#include "tone.h"

#include <errno.h>
#include <stdlib.h>

#define AMPLITUDE 12000.0
#define PI 3.14159265358979

bool tone_params(const struct sound_stream *stream, struct sound_params *params)
{
	const uint64_t rates = stream->rates;
	unsigned rate = SOUND_RATE_48000, channels = MAX(MIN(stream->channels_max, 2), stream->channels_min);

	if (!(rates & BIT64(rate)))
		rate = rates ? (unsigned)__builtin_ctzll(rates) : 0;
	*params = (struct sound_params){.format = SOUND_S16, .rate = (uint8_t)rate, .channels = (uint8_t)channels, .periods = 4};
	params->period_bytes = sound_hz[rate] / 50 * channels * (unsigned)sizeof(int16_t);
	return rates && stream->formats & BIT64(SOUND_S16) && params->period_bytes && params->period_bytes <= SOUND_PERIOD_MAX;
}

/* A period of it at a time. */
static int write_tone(struct sound_device *device, unsigned stream, const struct sound_params *params, uint32_t hz,
                      uint64_t frames)
{
	uint32_t bytes = params->period_bytes, frame = params->channels * (uint32_t)sizeof(int16_t);
	double half = PI * hz / sound_hz[params->rate], x = AMPLITUDE, y = 0;
	double turn = 2 *
	              (half - half * half * half / 6 + half * half * half * half * half / 120); /* twice the half angle's sine */
	int16_t *samples = malloc(bytes);
	int error = samples ? 0 : -ENOMEM;

	for (; frames && !error; frames -= bytes / frame) {
		bytes = (uint32_t)MIN(bytes, frames * frame);
		for (uint32_t i = 0; i < bytes / sizeof(*samples); i++) {
			samples[i] = (int16_t)y;
			if (i % params->channels == params->channels - 1u) {
				x -= turn * y;
				y += turn * x;
			}
		}
		error = sound_write(device, stream, samples, bytes);
	}
	free(samples);
	return error ? error : sound_drain(device, stream);
}

int tone_play(const char *name, unsigned stream, uint32_t hz, uint32_t ms)
{
	struct sound_device *device = sound_find(name);
	struct sound_params params;
	int error, late;

	if (!device)
		return -ENODEV;
	if (stream >= device->stream_count || device->streams[stream].input || !tone_params(&device->streams[stream], &params))
		return -ENOTSUP;
	if (hz > sound_hz[params.rate] / 4) /* beyond that the sine's series is too short */
		return -EINVAL;
	error = sound_open(device, stream, &params);
	if (error)
		return error;
	error = write_tone(device, stream, &params, hz, (uint64_t)sound_hz[params.rate] * ms / 1000);
	late = error == -ENODEV ? 0 : sound_close(device, stream);
	return error ? error : late;
}
