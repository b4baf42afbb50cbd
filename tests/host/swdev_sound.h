/*
 * The software device's sound card: what a test sees and sets of it.
 */
#ifndef SWDEV_SOUND_H
#define SWDEV_SOUND_H

#include "swdev.h"

enum { SND_F_CTLS = 0 };
/* Streams: an output, an input, an output of one format and rate. Jacks: the second can be remapped. Controls: see the names. */
enum { SND_OUT, SND_IN, SND_OUT_PLAIN, SND_STREAMS };
enum { SND_JACKS = 2, SND_MAPS = 2 };
enum { SND_VOLUME, SND_MUTE, SND_ROUTE, SND_WIDE, SND_KEY, SND_CONTROLS };

struct swdev_sound_stream {
	enum { SND_IDLE, SND_SET, SND_PREPARED, SND_RUNNING, SND_STOPPED } stage;
	uint32_t buffer_bytes, period_bytes, features;
	uint8_t channels, format, rate;
	uint8_t *played; /* what was consumed; grows */
	size_t played_bytes;
	uint64_t captured;                      /* bytes: byte n is what swdev_sound_byte(n) gives */
	unsigned messages, shorts, commands[6]; /* tx, rx; shorter than a period; control requests, by code less 0x100 */
	bool dry;                               /* out of messages while it runs: told once */
};

struct swdev_sound {
	struct swdev_sound_stream streams[SND_STREAMS];
	bool connected[SND_JACKS];
	uint32_t association[SND_JACKS], sequence[SND_JACKS];
	uint8_t values[SND_CONTROLS][512], tlv[512];
	unsigned tlv_bytes, tlv_commands;
	uint32_t fail_code, fail_status; /* control requests of that code are answered by that */
	unsigned events_waiting;
	struct {
		uint32_t code, data;
	} events[64];
	unsigned requests;
	/* Against the rules. */
	bool silent, keeps;               /* plays and captures nothing; keeps messages beyond a release */
	uint32_t period_status, short_by; /* of messages: their status, not 0; bytes that a used length lacks */
	uint32_t count_lie, channels_lie; /* of controls, of maps */
	uint8_t direction_lie;
};
static inline struct swdev_sound *swdev_sound_state(struct swdev *dev) { return dev->state; }
static inline uint8_t swdev_sound_byte(uint64_t n) { return (uint8_t)(n * 0x9e3779b97f4a7c15u >> 56); }
void swdev_sound_event(struct swdev *dev, uint32_t code, uint32_t data); /* at the next look */

extern const struct swdev_type swdev_sound;

#endif
