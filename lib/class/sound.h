/*
 * Sound devices: streams of PCM frames to play or to capture, jacks, channel maps, controls. All functions wait, in loop context of CPU 0, not
 * in a callback; 0 or a negative errno: -EIO when the device says so or was reset meanwhile, -ENODEV when it is gone (touch nothing of
 * it then), -EINVAL for what cannot be, -ENOTSUP for what the device does not offer, -EBUSY for a stream in another's hands.
 */
#ifndef CLASS_SOUND_H
#define CLASS_SOUND_H

#include <base/util.h>
#include <class/device.h>

/* Formats of a sample, little-endian; analog ones first. 18, 20 and 24 bits lie in 3 bytes (_3) or in 4. */
enum sound_format {
	SOUND_IMA_ADPCM,
	SOUND_MU_LAW,
	SOUND_A_LAW,
	SOUND_S8,
	SOUND_U8,
	SOUND_S16,
	SOUND_U16,
	SOUND_S18_3,
	SOUND_U18_3,
	SOUND_S20_3,
	SOUND_U20_3,
	SOUND_S24_3,
	SOUND_U24_3,
	SOUND_S20,
	SOUND_U20,
	SOUND_S24,
	SOUND_U24,
	SOUND_S32,
	SOUND_U32,
	SOUND_FLOAT,
	SOUND_FLOAT64,
	SOUND_DSD_U8,
	SOUND_DSD_U16,
	SOUND_DSD_U32,
	SOUND_IEC958_SUBFRAME,
	SOUND_FORMATS
};

/* Rates go by number, too: frames a second. */
#define SOUND_RATES 16
#define SOUND_RATE_48000 7
extern const uint32_t sound_hz[SOUND_RATES];
/* Bytes of a frame of so many channels; 0: they are no whole ones. */
unsigned sound_frame_bytes(enum sound_format format, unsigned channels);

/* The device's buffer is `periods` (2 to SOUND_PERIODS_MAX) of `period_bytes` (whole frames, SOUND_PERIOD_MAX at most). */
struct sound_params {
	enum sound_format format;
	uint8_t rate, channels;
	uint32_t period_bytes, periods;
};
#define SOUND_PERIODS_MAX 16u
#define SOUND_PERIOD_MAX 65536u

struct sound_device;

/* `group`: jacks, streams and maps of the same number belong together. */
struct sound_stream {
	uint32_t group;
	bool input;
	uint8_t channels_min, channels_max;
	uint64_t formats, rates; /* a bit for each */
	/* The stream's history. */
	uint64_t periods, xruns; /* played or captured; the device ran out of frames, or of room for them */
	uint32_t latency_bytes;  /* as the device said last */
	/* The program's, or NULL: a period has elapsed. In the loop, does not wait. */
	void (*period)(struct sound_device *device, unsigned stream);
};

struct sound_jack {
	uint32_t group, defaults, capabilities; /* configuration default and pin capabilities of HDA */
	bool connected, can_remap;
};

#define SOUND_CHANNELS_MAX 18
struct sound_map {
	uint32_t group;
	bool input;
	uint8_t channels, positions[SOUND_CHANNELS_MAX];
};

/* As virtio_snd_ctl_info has them. */
enum { SOUND_BOOLEAN, SOUND_INTEGER, SOUND_INTEGER64, SOUND_ENUMERATED, SOUND_BYTES, SOUND_IEC958, SOUND_CONTROL_TYPES };
struct sound_control {
	uint32_t group, role, type, access, count, index; /* access 0: it cannot be used */
	int64_t min, max, step;                           /* of integers */
	uint32_t items;                                   /* of an enumeration */
	uint32_t value_bytes;
	bool stale; /* the driver's: all of this is to be asked for again */
	char name[45];
};

/* What to do with a control, and what `memory` is: its value, of value_bytes, little-endian; the names of its items, SOUND_ITEM_BYTES for each;
 * its metadata (le32 type, length in bytes, values). */
enum sound_control_op { SOUND_GET, SOUND_ITEMS, SOUND_TLV_READ, SOUND_SET, SOUND_TLV_WRITE, SOUND_TLV_COMMAND };
#define SOUND_ITEM_BYTES 64u
#define SOUND_TLV_MAX 512u

enum sound_change { SOUND_JACK_CHANGED, SOUND_CONTROL_CHANGED };

struct sound_device {
	struct class_node node;
	const struct sound_ops *ops;
	unsigned stream_count, jack_count, map_count, control_count;
	struct sound_stream *streams;
	struct sound_jack *jacks;
	struct sound_map *maps;
	struct sound_control *controls;
	/* The program's, or NULL: a jack's state, or a control, has changed. In the loop, does not wait. */
	void (*changed)(struct sound_device *device, enum sound_change what, unsigned number);
	void *context;
};

struct sound_ops {
	int (*open)(struct sound_device *device, unsigned stream, const struct sound_params *params);
	int (*transfer)(struct sound_device *device, unsigned stream, void *frames, uint32_t bytes, bool input);
	int (*drain)(struct sound_device *device, unsigned stream);
	int (*close)(struct sound_device *device, unsigned stream);
	int (*remap)(struct sound_device *device, unsigned jack, uint32_t association, uint32_t sequence);
	int (*control)(struct sound_device *device, unsigned control, enum sound_control_op op, void *memory, uint32_t bytes);
};

CLASS(struct sound_device, sound)

/* Until sound_close(). */
[[nodiscard]] static inline int sound_open(struct sound_device *device, unsigned stream, const struct sound_params *params)
{
	return device->ops->open(device, stream, params);
}
/* Whole frames, interleaved: into the buffer, which is played once it is full or drained; or what was captured. -EIO: a period or more was lost, to
 * a reset or an error; the next call goes on. -ETIMEDOUT: the device has stopped taking or giving. */
[[nodiscard]] static inline int sound_write(struct sound_device *device, unsigned stream, const void *frames, uint32_t bytes)
{
	return device->ops->transfer(device, stream, (void *)(uintptr_t)frames, bytes, false);
}
[[nodiscard]] static inline int sound_read(struct sound_device *device, unsigned stream, void *frames, uint32_t bytes)
{
	return device->ops->transfer(device, stream, frames, bytes, true);
}
/* Until all that was written is played. */
[[nodiscard]] static inline int sound_drain(struct sound_device *device, unsigned stream)
{
	return device->ops->drain(device, stream);
}
/* What is not played yet is not played. Closes whatever it returns. */
static inline int sound_close(struct sound_device *device, unsigned stream) { return device->ops->close(device, stream); }
[[nodiscard]] static inline int sound_remap(struct sound_device *device, unsigned jack, uint32_t association, uint32_t sequence)
{
	return device->ops->remap(device, jack, association, sequence);
}
/* 0, or for SOUND_TLV_READ how many bytes there are. */
[[nodiscard]] static inline int sound_control(struct sound_device *device, unsigned control, enum sound_control_op op,
                                              void *memory, uint32_t bytes)
{
	return device->ops->control(device, control, op, memory, bytes);
}

#endif
