/*
 * The shell's `tone`.
 */
#include "shell.h"

#include <errno.h>

#include <base/log.h>

#include "tone.h"

/* On the first output there is. */
static void tone(unsigned count, char **words)
{
	struct sound_device *device = sound_find(words[3]);
	uint64_t hz, ms;
	unsigned stream = 0;
	int error;

	(void)count;
	if (!shell_number(words[1], "Hz", 1, 20000, &hz) || !shell_number(words[2], "ms", 1, 600000, &ms))
		return;
	while (device && stream < device->stream_count && device->streams[stream].input)
		stream++;
	error = device ? tone_play(device->node.name, stream, (uint32_t)hz, (uint32_t)ms) : -ENODEV;
	if (error)
		shell_error(words[3] ? words[3] : "sound", "tone", error);
}

SHELL_COMMAND(tone, "tone HZ MS [NAME]", "a tone to hear", tone, 2, 3);
