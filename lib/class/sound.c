/*
 * Sound: what frames are. All else is the drivers'.
 */
#include <class/sound.h>

const uint32_t sound_hz[SOUND_RATES] = {5512,  8000,  11025, 16000,  22050,  32000,  44100, 48000,
                                        64000, 88200, 96000, 176400, 192000, 384000, 12000, 24000};

unsigned sound_frame_bytes(enum sound_format format, unsigned channels)
{
	static const uint8_t bits[SOUND_FORMATS] = {4,  8,  8,  8,  8,  16, 16, 24, 24, 24, 24, 24, 24,
	                                            32, 32, 32, 32, 32, 32, 32, 64, 8,  16, 32, 32};

	return format < SOUND_FORMATS && bits[format] * channels % 8 == 0 ? bits[format] * channels / 8 : 0;
}
