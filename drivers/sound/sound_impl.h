/*
 * Inside the sound driver: sound.c is its life and what the device tells of itself, sound_stream.c the streams, sound_control.c the controls.
 */
#ifndef DRIVERS_SOUND_SOUND_IMPL_H
#define DRIVERS_SOUND_SOUND_IMPL_H

#include <base/endian.h>
#include <class/sound.h>
#include <virtio/request.h>

enum { VIRTIO_SND_F_CTLS = 0 };
enum { CONTROLQ, EVENTQ, TXQ, RXQ, QUEUES };

/* "Device Operation" */
enum {
	R_JACK_INFO = 1,
	R_JACK_REMAP,
	R_PCM_INFO = 0x100,
	R_PCM_SET_PARAMS,
	R_PCM_PREPARE,
	R_PCM_RELEASE,
	R_PCM_START,
	R_PCM_STOP,
	R_CHMAP_INFO = 0x200,
	R_CTL_INFO = 0x300,
	R_CTL_ENUM_ITEMS,
	R_CTL_READ,
	R_CTL_WRITE,
	R_CTL_TLV_READ,
	R_CTL_TLV_WRITE,
	R_CTL_TLV_COMMAND,
	EVT_JACK_CONNECTED = 0x1000,
	EVT_JACK_DISCONNECTED,
	EVT_PCM_PERIOD_ELAPSED = 0x1100,
	EVT_PCM_XRUN,
	EVT_CTL_NOTIFY = 0x1200,
	S_OK = 0x8000,
	S_BAD_MSG,
	S_NOT_SUPP,
	S_IO_ERR
};
enum { D_OUTPUT, D_INPUT };
enum { PCM_F_EVT_XRUNS = 1 << 4 };

struct virtio_snd_config {
	le32 jacks, streams, chmaps, controls;
};

/* What a request begins with: its code, and of what it is (virtio_snd_jack_hdr, virtio_snd_pcm_hdr, virtio_snd_ctl_hdr). */
struct virtio_snd_item_hdr {
	le32 code, id;
};

struct virtio_snd_pcm_set_params {
	struct virtio_snd_item_hdr hdr;
	le32 buffer_bytes, period_bytes, features;
	uint8_t channels, format, rate, padding;
};
_Static_assert(sizeof(struct virtio_snd_pcm_set_params) == 24, "virtio_snd_pcm_set_params");

struct virtio_snd_pcm_status {
	le32 status, latency_bytes;
};

/* A period of a stream: a message of the tx or rx queue. */
struct period {
	struct virtio_request request;
	struct virtq_buf bufs[3];
	le32 stream_id; /* struct virtio_snd_pcm_xfer */
	struct virtio_snd_pcm_status status;
	struct sound *sound;
	uint8_t *frames;
	uint32_t filled; /* bytes: written by the program, or captured */
	bool out;        /* with the queue */
};

/* The PCM command life cycle, as far as the device has come; a reset takes it back to OPEN. */
enum stage { CLOSED, OPEN, PREPARED, RUNNING };

struct pcm {
	enum stage stage;
	bool in_hands;
	int failed; /* what the next call has to tell */
	uint32_t features;
	struct sound_params params;
	struct period *periods; /* in one piece with their frames */
	size_t memory_bytes;
	unsigned next, out; /* the program's next period; those with the queue */
	uint32_t taken;     /* bytes of a captured period */
};

#define STREAMS_MAX 16u
#define JACKS_MAX 32u
#define MAPS_MAX 32u
#define CONTROLS_MAX 64u

struct sound {
	struct sound_device device;
	struct virtio_device *vdev;
	struct virtio_requestq control, tx, rx;
	struct virtio_eventq events;
	uint64_t born;
	unsigned life; /* how often the device was reset */
	bool odd_events;
	void *orphan; /* memory of a request that the start gave up */
	size_t orphan_bytes;
	struct sound_stream streams[STREAMS_MAX];
	struct pcm pcms[STREAMS_MAX];
	struct sound_jack jacks[JACKS_MAX];
	struct sound_map maps[MAPS_MAX];
	struct sound_control controls[CONTROLS_MAX];
};

/* sound.c: a request and its answer behind the status: how many bytes of it there are, or an errno. */
[[nodiscard]] int sound_ask(struct sound *sound, const void *question, uint32_t question_bytes, void *answer,
                            uint32_t answer_bytes);
/* Of what kind the items are says the code: R_..._INFO. `starting`: in start(), where nobody else ends what hangs. */
[[nodiscard]] int sound_query(struct sound *sound, uint32_t code, unsigned first, unsigned count, bool starting);

/* sound_stream.c */
int sound_stream_open(struct sound_device *device, unsigned number, const struct sound_params *params);
int sound_stream_transfer(struct sound_device *device, unsigned number, void *frames, uint32_t bytes, bool input);
int sound_stream_drain(struct sound_device *device, unsigned number);
int sound_stream_close(struct sound_device *device, unsigned number);
void sound_streams_reset(struct sound *sound); /* the device has forgotten them */
void sound_streams_end(struct sound *sound);

/* sound_control.c */
void sound_take_control(struct sound *sound, unsigned number, const void *info);
int sound_control_do(struct sound_device *device, unsigned number, enum sound_control_op op, void *memory, uint32_t bytes);
#define CTL_INFO_BYTES 92u

static inline struct sound *sound_of(struct sound_device *device) { return container_of(device, struct sound, device); }

/* `sound` may be gone, and another in its place. */
static inline bool sound_is_here(const struct sound *sound, uint64_t born)
{
	return class_has(&sound_devices, &sound->device.node) && sound->born == born;
}

#endif
