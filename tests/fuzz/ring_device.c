/*
 * The device of fuzz_split and fuzz_packed: its DMA backend, its transport, its honest steps and its lies. See ring.c.
 */
#include "ring.h"

#include <string.h>

#include <base/page.h>

#define MAPPED (UINT64_C(1) << 40) /* where the DMA backend puts memory in the device's view */

/* ---- the DMA seam: addresses that are not the driver's, and no room now and then ---- */

static void *map_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr)
{
	void *memory = page_alloc(size, alignment);

	(void)dma;
	*addr = (uintptr_t)memory + MAPPED;
	return memory;
}

static void map_free(struct dma_device *dma, void *memory, size_t size, dma_addr_t addr)
{
	(void)dma;
	fuzz_check(addr == (uintptr_t)memory + MAPPED, "memory is freed under an address that it never had");
	page_free(memory, size);
}

static dma_addr_t map_map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	(void)dma;
	if (r.maps_refused && !--r.maps_refused)
		return DMA_ERROR;
	for (unsigned i = 0; i < ARRAY_SIZE(r.maps); i++) {
		if (r.maps[i].live)
			continue;
		r.maps[i] = (struct mapping){(uintptr_t)memory + MAPPED, size, dir, true};
		r.live_maps++;
		return r.maps[i].addr;
	}
	fuzz_fail("more buffers are mapped than there are");
}

static void map_unmap(struct dma_device *dma, dma_addr_t addr, size_t size, enum dma_dir dir)
{
	(void)dma;
	for (unsigned i = 0; i < ARRAY_SIZE(r.maps); i++) {
		if (r.maps[i].live && r.maps[i].addr == addr && r.maps[i].bytes == size && r.maps[i].dir == dir) {
			r.maps[i].live = false;
			r.live_maps--;
			return;
		}
	}
	fuzz_fail("%zu bytes at %#llx are unmapped, but are not mapped", size, (unsigned long long)addr);
}

const struct dma_ops ring_dma = {.alloc = map_alloc, .free = map_free, .map = map_map, .unmap = map_unmap};

uint64_t ring_translate(struct swdev *dev, uint64_t address, uint64_t length)
{
	(void)dev;
	(void)length;
	return address - MAPPED;
}

/* ---- the device as its driver's core sees it ---- */

static int ring_enable(struct virtio_device *vdev, uint16_t index, const struct virtq_setup *setup, struct virtq_notify *notify)
{
	(void)vdev;
	r.queue->size = setup->size;
	r.queue->descriptor_area = setup->descriptor_area;
	r.queue->driver_area = setup->driver_area;
	r.queue->device_area = setup->device_area;
	swdev_queue_enable(r.queue);
	*notify = (struct virtq_notify){.kind = VIRTQ_NOTIFY_CALL, .id = index};
	return 0;
}

void ring_forget_taken(void)
{
	while (r.taken_count)
		swdev_chain_free(r.taken[--r.taken_count]);
}

static int ring_reset(struct virtio_device *vdev, uint16_t index)
{
	(void)vdev;
	(void)index;
	ring_forget_taken();
	swdev_queue_reset(r.queue);
	return 0;
}

static void ring_notify(struct virtio_device *vdev, uint16_t index, uint32_t data)
{
	(void)vdev;
	(void)index;
	swdev_notify(r.dev, data);
}

const struct virtio_transport_ops ring_ops = {.name = "fuzz",
                                              .queue_enable = ring_enable,
                                              .queue_reset = ring_reset,
                                              .notify = ring_notify};

/* ---- the honest device ---- */

/* Which request a chain is; checks that it arrived as it was added. */
static unsigned request_of(const struct swdev_chain *chain)
{
	uint64_t first = chain->segments[0].address - (r.mapped ? MAPPED : 0) - (uintptr_t)r.data;
	unsigned i = (unsigned)(first / STRIDE);
	const struct request *request = &r.requests[i];

	fuzz_check(first / STRIDE < REQUESTS && request->in_flight, "a buffer that is not in flight was made available");
	fuzz_check(chain->readable == request->nreadable && chain->readable + chain->writable == request->count,
	           "%u + %u buffers of request %u were made available", chain->readable, chain->writable, i);
	for (unsigned k = 0; k < request->count; k++)
		fuzz_check(chain->segments[k].address - (r.mapped ? MAPPED : 0) == (uintptr_t)request->bufs[k].addr &&
		                   chain->segments[k].length == request->bufs[k].len,
		           "buffer %u of request %u is not what was added", k, i);
	return i;
}

void ring_look(enum swdev_wish wish)
{
	struct swdev_chain *chain;

	if (!r.queue->enabled)
		return;
	r.queue->notified = false;
	while (r.taken_count < REQUESTS && (chain = ring_engine()->take(r.queue))) {
		r.taken[r.taken_count++] = chain;
		if (!r.lied && !r.dev->violations)
			(void)request_of(chain);
	}
	ring_engine()->ask(r.queue, wish);
	if (ring_engine()->pending(r.queue))
		r.queue->notified = true;
}

void ring_use(unsigned which, uint32_t length)
{
	bool in_order = swdev_has(r.dev, F_IN_ORDER);
	unsigned batch = in_order ? which + 1 : 1;
	struct swdev_chain *last = r.taken[which];
	uint16_t slots_before = 0;
	bool wanted;

	for (unsigned i = in_order ? 0 : which; i <= which; i++) {
		struct swdev_chain *chain = r.taken[i];

		chain->written = (uint32_t)chain->writable_bytes;
		if (chain == last)
			chain->written = (uint32_t)(length % (chain->writable_bytes + 1));
		if (!r.lied)
			r.used[r.used_count++] = (struct used){request_of(chain), chain->written};
		if (chain == last)
			break;
		slots_before = (uint16_t)(slots_before + chain->slots);
		ring_engine()->retire(r.queue, chain);
		swdev_chain_free(chain);
	}
	last->slots_before = slots_before;
	ring_engine()->put(r.queue, last, batch);
	swdev_chain_free(last);
	r.taken_count -= batch;
	memmove(&r.taken[which + 1 - batch], &r.taken[which + 1], (r.taken_count + batch - which - 1) * sizeof(r.taken[0]));
	wanted = ring_engine()->wants_interrupt(r.queue);
	fuzz_check(r.lied || wanted || !r.awaited || r.awaited > batch, "the interrupt that was asked for does not come");
	r.awaited -= wanted ? r.awaited : MIN(r.awaited, batch);
}

/* ---- lies ---- */

static void lie(void)
{
	r.lied = true;
	r.awaited = 0;
	r.used_count = 0;
}

void ring_invent_used(void)
{
	struct virtq_ring *q = virtq_ring_of(r.vq);
	uint8_t how = fuzz_u8(&r.in);
	uint32_t id = how & 1 ? fuzz_u32(&r.in) : fuzz_u8(&r.in), length = how & 2 ? fuzz_u32(&r.in) : fuzz_u16(&r.in);
	uint16_t step = how & 4 ? fuzz_u16(&r.in) : 1;

	lie();
	if (r.packed) {
		struct pvirtq_desc *desc = &q->packed.desc[(q->packed.last_used + (how >> 6)) % r.size];
		uint16_t flags = q->packed.used_bits;

		desc->id = (uint16_t)id;
		desc->len = length;
		desc->flags = (uint16_t)(how & 4 ? step : (unsigned)flags | (how & 8 ? VIRTQ_DESC_F_WRITE : 0u));
	} else {
		uint16_t idx = q->split.used->idx;

		q->split.used->ring[idx % r.size] = (struct virtq_used_elem){id, length};
		q->split.used->idx = (uint16_t)(idx + step);
	}
}

/* Bytes of the input anywhere in the device area, the queue's memory, or the indirect tables. */
void ring_scribble(void)
{
	struct virtq_ring *q = virtq_ring_of(r.vq);
	uint8_t how = fuzz_u8(&r.in);
	uint8_t *area = q->memory;
	size_t bytes = q->memory_bytes, at, count = 1 + (how >> 4);

	if ((how & 3) == 0) {
		area += q->setup.device_area - q->memory_addr;
		bytes -= q->setup.device_area - q->memory_addr;
	} else if ((how & 3) == 1 && r.vq->tables) {
		area = r.vq->tables;
		bytes = q->tables_bytes;
	}
	at = fuzz_below(&r.in, (uint32_t)bytes);
	lie();
	fuzz_bytes(&r.in, area + at, MIN(count, bytes - at));
}
