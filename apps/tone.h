/*
 * A tone through a sound device.
 */
#ifndef APPS_TONE_H
#define APPS_TONE_H

#include <class/sound.h>

/* What a tone is played with, and may be captured with: S16, at 48000 Hz or the next best rate. False: the stream has no such thing. */
bool tone_params(const struct sound_stream *stream, struct sound_params *params);
/* A sine of `hz` for `ms`, until it was played. Errors as the class has them. */
[[nodiscard]] int tone_play(const char *name, unsigned stream, uint32_t hz, uint32_t ms);

#endif
