/*
 * fuzz_split and fuzz_packed are one target with two engines: ring.c has the driver's side and the steps, ring_device.c the device's.
 */
#ifndef RING_H
#define RING_H

#include <virtio/transport.h>
#include <virtio/virtq_impl.h>

#include "fuzz.h"
#include "swdev_impl.h"

void ring_run(const uint8_t *data, size_t size, bool packed);
void ring_seeds(bool packed);

/* ---- between the two ---- */

#define REQUESTS 64u
#define BUFFERS 8u
#define BURST 8u
#define STRIDE 1024u /* the first buffer of a request lies at that multiple: so it is known by its address */

struct request {
	struct virtq_buf bufs[BUFFERS];
	uint16_t nreadable, count;
	uint32_t writable;
	uint16_t descriptors; /* of the ring */
	bool in_flight;
	uint64_t sequence;
};

struct mapping {
	uint64_t addr;
	size_t bytes;
	enum dma_dir dir;
	bool live;
};

extern struct ring {
	struct fuzz_input in;
	bool packed, mapped, lied;
	uint16_t size, max_buffers, start;
	struct virtio_device vdev;
	struct virtq *vq;
	struct virtq_spec spec;
	struct swdev *dev;
	struct swdev_queue *queue;
	uint8_t *data;

	struct request requests[REQUESTS];
	unsigned in_flight, descriptors;
	uint64_t sequence;
	unsigned breaks, rounds;
	bool broken;
	unsigned awaited; /* used buffers until an interrupt has to come; 0: none was asked for */

	struct swdev_chain *taken[REQUESTS]; /* by the device */
	unsigned taken_count;
	struct used {
		unsigned request;
		uint32_t written;
	} used[REQUESTS]; /* by the device while it is honest, not harvested yet */
	unsigned used_count;

	struct mapping maps[REQUESTS * BUFFERS];
	unsigned live_maps, maps_refused;
} r;

/* Addresses that are not the driver's, and no room now and then. */
extern const struct dma_ops ring_dma;
uint64_t ring_translate(struct swdev *dev, uint64_t address, uint64_t length);
extern const struct virtio_transport_ops ring_ops;

static inline const struct swdev_ring *ring_engine(void) { return swdev_ring(r.queue); }

/* Take what is available, and say of what to be notified next. */
void ring_look(enum swdev_wish wish);
/* Use chain `which` of those taken; with IN_ORDER the first `which` + 1, as one batch. */
void ring_use(unsigned which, uint32_t length);
void ring_forget_taken(void);
/* Lies: a used entry out of nothing, where the driver looks next; bytes of the input anywhere in the queue's memory. */
void ring_invent_used(void);
void ring_scribble(void);

#endif
