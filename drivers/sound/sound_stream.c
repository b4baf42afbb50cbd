/*
 * "Sound Device": streams. The program's frames go through a ring of periods, each a message of the tx or rx queue; whose turn it is, `next` says.
 *
 * How far the device has come in the PCM command life cycle is the stream's stage. A reset takes it back, and what was in flight with it: the
 * program is told once, by -EIO, and its next call goes all the way again.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/page.h>

#include "sound_impl.h"

/* ---- commands ---- */

/* Wait for the answer to a request; what a reset forgot meanwhile was not done. */
static int ask(struct sound *sound, const void *request, uint32_t bytes)
{
	unsigned life = sound->life;
	int got = sound_ask(sound, request, bytes, NULL, 0);

	if (got == -ENODEV || got == -ETIMEDOUT)
		return got;
	return got < 0 ? got : life == sound->life ? 0 : -EIO;
}

static int command(struct sound *sound, unsigned number, uint32_t code)
{
	struct virtio_snd_item_hdr request = {cpu_to_le32(code), cpu_to_le32(number)};

	return ask(sound, &request, sizeof(request));
}

static int prepare(struct sound *sound, unsigned number)
{
	struct pcm *pcm = &sound->pcms[number];
	const struct sound_params *params = &pcm->params;
	/* "Stream Parameters": the buffer is whole periods; of the features only what is offered, and none of shared memory. */
	struct virtio_snd_pcm_set_params request = {
		.hdr = {cpu_to_le32(R_PCM_SET_PARAMS), cpu_to_le32(number)},
		.buffer_bytes = cpu_to_le32(params->periods * params->period_bytes),
		.period_bytes = cpu_to_le32(params->period_bytes),
		.features = cpu_to_le32(pcm->features & PCM_F_EVT_XRUNS),
		.channels = params->channels,
		.format = (uint8_t)params->format,
		.rate = params->rate,
	};
	int error = ask(sound, &request, sizeof(request));

	if (!error)
		error = command(sound, number, R_PCM_PREPARE);
	if (!error)
		pcm->stage = PREPARED;
	return error;
}

static int begin(struct sound *sound, unsigned number)
{
	int error = command(sound, number, R_PCM_START);

	if (!error)
		sound->pcms[number].stage = RUNNING;
	return error;
}

/* ---- periods ---- */

static void period_ended(struct virtio_request *request)
{
	struct period *period = container_of(request, struct period, request);
	struct sound *sound = period->sound;
	unsigned number = le32_to_cpu(period->stream_id);
	struct sound_stream *stream = &sound->streams[number];
	struct pcm *pcm = &sound->pcms[number];
	uint32_t frames = stream->input ? pcm->params.period_bytes : 0;
	bool good = !request->status && request->written == frames + sizeof(period->status) &&
	            le32_to_cpu(period->status.status) == S_OK;

	period->out = false;
	period->filled = good ? frames : 0;
	pcm->out--;
	if (good) {
		stream->periods++;
		stream->latency_bytes = le32_to_cpu(period->status.latency_bytes);
		if (stream->period)
			stream->period(&sound->device, number);
	} else {
		pcm->failed = -EIO;
	}
}

/* "PCM I/O Messages": the header, the frames, the status, which alone the device writes to in the tx queue, and reads none but the first in the
 * rx queue. All are of a period's size but for the end of a stream. */
static void submit(struct sound *sound, unsigned number, struct period *period)
{
	bool input = sound->streams[number].input;
	struct pcm *pcm = &sound->pcms[number];

	period->out = true;
	pcm->out++;
	period->status = (struct virtio_snd_pcm_status){0};
	period->bufs[1].len = input ? pcm->params.period_bytes : period->filled;
	period->request = (struct virtio_request){.bufs = period->bufs,
	                                          .nreadable = input ? 1 : 2,
	                                          .nwritable = input ? 2 : 1,
	                                          .done = period_ended};
	virtio_request_submit(input ? &sound->rx : &sound->tx, &period->request);
}

/* "Input Stream": the rx queue is populated before the stream starts, and from then on. */
static void refill(struct sound *sound, unsigned number)
{
	struct pcm *pcm = &sound->pcms[number];

	for (unsigned i = 0; i < pcm->params.periods; i++) {
		struct period *period = &pcm->periods[(pcm->next + i) % pcm->params.periods];

		if (!period->out && !period->filled)
			submit(sound, number, period);
	}
}

/* Until a period of the stream ends. */
static int wait(struct sound *sound, struct pcm *pcm)
{
	const struct sound_params *params = &pcm->params;
	uint64_t second = (uint64_t)sound_hz[params->rate] * sound_frame_bytes(params->format, params->channels);
	uint64_t until_ns = clock_ns() + VIRTIO_ANSWER_NS + params->period_bytes * UINT64_C(1000000000) / second;
	uint64_t born = sound->born;
	unsigned out = pcm->out;

	while (pcm->out == out) {
		if (clock_ns() >= until_ns)
			return -ETIMEDOUT;
		loop_turn(true, until_ns);
		if (!sound_is_here(sound, born))
			return -ENODEV;
	}
	return 0;
}

/* ---- what programs call ---- */

/* The stream, for one program at a time. */
static int enter(struct sound *sound, unsigned number, struct pcm **taken)
{
	struct pcm *pcm;

	if (!class_has(&sound_devices, &sound->device.node))
		return -ENODEV;
	pcm = &sound->pcms[MIN(number, STREAMS_MAX - 1)];
	if (number >= STREAMS_MAX || pcm->stage == CLOSED)
		return -EINVAL;
	if (pcm->in_hands)
		return -EBUSY;
	pcm->in_hands = true;
	*taken = pcm;
	return 0;
}

static int leave(struct pcm *pcm, int error)
{
	if (error != -ENODEV)
		pcm->in_hands = false;
	return error;
}

static int failure(struct pcm *pcm)
{
	int error = pcm->failed;

	pcm->failed = 0;
	return error;
}

/* Until the next period is the program's: to be filled, or captured. */
static int advance(struct sound *sound, unsigned number)
{
	bool input = sound->streams[number].input;
	struct pcm *pcm = &sound->pcms[number];
	int error = failure(pcm);

	while (!error) {
		const struct period *period = &pcm->periods[pcm->next];

		if (pcm->stage == OPEN) {
			error = prepare(sound, number);
			continue;
		}
		if (input)
			refill(sound, number);
		if (!period->out && (period->filled || !input))
			return 0;
		error = pcm->stage == PREPARED ? begin(sound, number) : wait(sound, pcm);
		if (!error)
			error = failure(pcm);
	}
	return error;
}

static void pass(struct sound *sound, unsigned number)
{
	struct pcm *pcm = &sound->pcms[number];
	struct period *period = &pcm->periods[pcm->next];

	pcm->next = (pcm->next + 1) % pcm->params.periods;
	pcm->taken = 0;
	if (sound->streams[number].input) {
		period->filled = 0;
		refill(sound, number);
	} else {
		submit(sound, number, period);
	}
}

int sound_stream_transfer(struct sound_device *device, unsigned number, void *frames, uint32_t bytes, bool input)
{
	struct sound *sound = sound_of(device);
	uint8_t *at = frames;
	struct pcm *pcm;
	int error = enter(sound, number, &pcm);

	if (error)
		return error;
	if (input != sound->streams[number].input || bytes % sound_frame_bytes(pcm->params.format, pcm->params.channels))
		error = -EINVAL;
	while (bytes && !error && !(error = advance(sound, number))) {
		struct period *period = &pcm->periods[pcm->next];
		uint32_t length;

		if (input) {
			length = MIN(bytes, period->filled - pcm->taken);
			memcpy(at, period->frames + pcm->taken, length);
			pcm->taken += length;
		} else {
			length = MIN(bytes, pcm->params.period_bytes - period->filled);
			memcpy(period->frames + period->filled, at, length);
			period->filled += length;
		}
		at += length;
		bytes -= length;
		if (input ? pcm->taken == period->filled : period->filled == pcm->params.period_bytes)
			pass(sound, number);
	}
	return leave(pcm, error);
}

int sound_stream_drain(struct sound_device *device, unsigned number)
{
	struct sound *sound = sound_of(device);
	struct pcm *pcm;
	int error = enter(sound, number, &pcm);

	if (error)
		return error;
	error = sound->streams[number].input ? -EINVAL : failure(pcm);
	if (!error && pcm->stage == OPEN)
		error = prepare(sound, number);
	if (!error && !pcm->periods[pcm->next].out && pcm->periods[pcm->next].filled)
		pass(sound, number);
	if (!error && pcm->stage == PREPARED && pcm->out)
		error = begin(sound, number);
	while (!error && pcm->out)
		error = wait(sound, pcm);
	return leave(pcm, error ? error : failure(pcm));
}

static void release(struct pcm *pcm)
{
	if (pcm->periods)
		page_free(pcm->periods, pcm->memory_bytes);
	pcm->periods = NULL;
}

static int lay_out(struct sound *sound, unsigned number, const struct sound_params *params)
{
	struct pcm *pcm = &sound->pcms[number];
	size_t front = ALIGN_UP(params->periods * sizeof(*pcm->periods), 64u);

	*pcm = (struct pcm){.params = *params, .features = pcm->features};
	pcm->memory_bytes = front + (size_t)params->periods * params->period_bytes;
	pcm->periods = page_alloc(pcm->memory_bytes, PAGE_SIZE);
	if (!pcm->periods)
		return -ENOMEM;
	for (unsigned i = 0; i < params->periods; i++) {
		struct period *period = &pcm->periods[i];

		period->sound = sound;
		period->stream_id = cpu_to_le32(number);
		period->frames = (uint8_t *)pcm->periods + front + (size_t)i * params->period_bytes;
		period->bufs[0] = (struct virtq_buf){&period->stream_id, sizeof(period->stream_id)};
		period->bufs[1].addr = period->frames;
		period->bufs[2] = (struct virtq_buf){&period->status, sizeof(period->status)};
	}
	pcm->stage = OPEN;
	pcm->in_hands = true;
	return 0;
}

int sound_stream_open(struct sound_device *device, unsigned number, const struct sound_params *params)
{
	struct sound *sound = sound_of(device);
	unsigned frame = sound_frame_bytes(params->format, params->channels);
	const struct sound_stream *stream;
	struct pcm *pcm;
	int error;

	if (!class_has(&sound_devices, &sound->device.node))
		return -ENODEV;
	if (number >= device->stream_count || params->rate >= SOUND_RATES || !frame || !params->period_bytes ||
	    params->period_bytes % frame || params->period_bytes > SOUND_PERIOD_MAX || params->periods < 2 ||
	    params->periods > SOUND_PERIODS_MAX)
		return -EINVAL;
	stream = &sound->streams[number];
	pcm = &sound->pcms[number];
	if (!(stream->formats & BIT64(params->format)) || !(stream->rates & BIT64(params->rate)) ||
	    params->channels < stream->channels_min || params->channels > stream->channels_max)
		return -ENOTSUP;
	if (pcm->stage != CLOSED || pcm->out)
		return -EBUSY;
	release(pcm);
	error = lay_out(sound, number, params);
	if (!error)
		error = prepare(sound, number);
	if (error == -ENODEV)
		return error;
	if (error) {
		release(pcm);
		pcm->stage = CLOSED;
	}
	return leave(pcm, error);
}

/* "Stream Release": the device completes what is in flight before it answers. So that it knows of all that, none is to be submitted later, and it
 * is told of the last before. */
static int give_back(struct sound *sound, unsigned number)
{
	struct virtio_requestq *queue = sound->streams[number].input ? &sound->rx : &sound->tx;
	struct pcm *pcm = &sound->pcms[number];
	int error = 0;

	for (unsigned i = 0; i < pcm->params.periods; i++)
		virtio_request_cancel(queue, &pcm->periods[i].request);
	if (queue->vq)
		virtq_kick(queue->vq);
	if (pcm->stage == RUNNING)
		error = command(sound, number, R_PCM_STOP);
	if (error != -ENODEV && pcm->stage >= PREPARED)
		error = command(sound, number, R_PCM_RELEASE);
	for (unsigned times = 0; error != -ENODEV && pcm->out;) {
		int late = wait(sound, pcm);

		if (late && times++)
			return late;
		if (late == -ENODEV)
			return late;
		if (late)
			virtio_device_broken(sound->vdev, "stream %u keeps its periods", number);
	}
	return error;
}

int sound_stream_close(struct sound_device *device, unsigned number)
{
	struct sound *sound = sound_of(device);
	struct pcm *pcm;
	int error = enter(sound, number, &pcm);

	if (error)
		return error;
	error = give_back(sound, number);
	if (error == -ENODEV)
		return error;
	if (!pcm->out)
		release(pcm);
	pcm->stage = CLOSED;
	return leave(pcm, error);
}

/* ---- life ---- */

void sound_streams_reset(struct sound *sound)
{
	sound->life++;
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		sound->pcms[i].stage = MIN(sound->pcms[i].stage, OPEN);
}

void sound_streams_end(struct sound *sound)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		release(&sound->pcms[i]);
}
