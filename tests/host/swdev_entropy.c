/*
 * "Entropy Device", and the echo device of the tests: types without a configuration space.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

static void release(struct swdev *dev) { free(dev->state); }

static void rng_init(struct swdev *dev) { dev->state = calloc(1, sizeof(struct swdev_rng)); }

static bool rng_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev_rng *rng = swdev_rng(queue->dev);
	uint64_t bytes = chain->writable_bytes;

	if (chain->readable)
		swdev_violation(queue->dev, "a device-readable element in requestq");
	if (rng->most && bytes > rng->most)
		bytes = rng->most;
	if (rng->empty)
		bytes = 0;
	for (uint64_t done = 0; done < bytes;) {
		uint8_t noise[512];
		uint64_t part = bytes - done < sizeof(noise) ? bytes - done : sizeof(noise);

		for (unsigned i = 0; i < part; i++)
			noise[i] = (uint8_t)swdev_random(queue->dev);
		part = swdev_chain_write(chain, done, noise, part);
		if (!part)
			break; /* it was freed meanwhile: a violation */
		done += part;
	}
	rng->bytes += bytes;
	*written = (uint32_t)bytes;
	return true;
}

const struct swdev_type swdev_entropy = {
	.id = 4,
	.name = "entropy",
	.queues = 1,
	.init = rng_init,
	.free = release,
	.serve = rng_serve,
};

static void echo_init(struct swdev *dev) { dev->state = calloc(1, sizeof(struct swdev_echo)); }

/* Readable bytes come back in the writable part, as many as fit; where nothing is readable, it is filled with 0x5a. */
static bool echo_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	uint64_t bytes = chain->writable_bytes;
	uint8_t *buffer;

	if (chain->readable_bytes && chain->readable_bytes < bytes)
		bytes = chain->readable_bytes;
	buffer = malloc(bytes + 1);
	memset(buffer, 0x5a, bytes);
	swdev_chain_read(chain, 0, buffer, bytes);
	*written = (uint32_t)swdev_chain_write(chain, 0, buffer, bytes);
	free(buffer);
	swdev_echo_state(queue->dev)->served++;
	return true;
}

const struct swdev_type swdev_echo = {
	.id = SWDEV_ECHO_ID,
	.name = "echo",
	.queues = SWDEV_ECHO_QUEUES,
	.init = echo_init,
	.free = release,
	.serve = echo_serve,
};
