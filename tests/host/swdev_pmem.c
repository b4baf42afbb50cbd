/*
 * "PMEM Device": memory that it has, and a flush that copies it to where it lasts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virtio/virtio.h>
#include <host.h>

#include "swdev_impl.h"
#include "swdev_pmem.h"
#include "swdev_work_impl.h"

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 8, .count = 2, .feature = -1},
	{.width = 0},
};

static struct swdev_pmem *state_of(struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	struct swdev_pmem *pmem = calloc(1, sizeof(*pmem));

	pmem->memory = aligned_alloc(4096, SWDEV_PMEM_BYTES);
	pmem->lasting = calloc(1, SWDEV_PMEM_BYTES);
	memset(pmem->memory, 0, SWDEV_PMEM_BYTES);
	host_device_memory(pmem->memory, SWDEV_PMEM_BYTES);
	dev->state = pmem;
	put64(dev->config, (uintptr_t)pmem->memory);
	put64(dev->config + 8, SWDEV_PMEM_BYTES);
}

static void release(struct swdev *dev)
{
	host_device_memory(NULL, 0);
	free(state_of(dev)->memory);
	free(state_of(dev)->lasting);
	free(dev->state);
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev_pmem *pmem = state_of(queue->dev);
	uint32_t type = 1, ret = 0;

	if (pmem->holds)
		return false;
	if (swdev_chain_read(chain, 0, &type, 4) != 4 || type || chain->readable_bytes != 4 || chain->writable_bytes != 4)
		swdev_violation(queue->dev, "a request of type %u", type);
	pmem->flushes++;
	if (pmem->fails)
		ret = UINT32_MAX;
	else
		memcpy(pmem->lasting, pmem->memory, SWDEV_PMEM_BYTES);
	*written = pmem->silent ? 0 : (uint32_t)swdev_chain_write(chain, 0, &ret, 4);
	return true;
}

static void produce(struct swdev *dev)
{
	struct swdev_chain *chain;
	uint32_t written;

	while (!state_of(dev)->holds && (chain = swdev_take_held(&dev->queues[0]))) {
		serve(&dev->queues[0], chain, &written);
		swdev_complete(chain, written);
	}
}

const struct swdev_type swdev_pmem = {
	.id = 27,
	.name = "pmem",
	.queues = 1,
	.features = FEATURE(0),
	.fields = fields,
	.config_size = 16,
	.init = init,
	.free = release,
	.serve = serve,
	.produce = produce,
};

/* ---- work: written, flushed, and then it lasts ---- */

static void done(struct block_request *request)
{
	struct swdev_item *item = request->context;
	struct block_device *device = block_find(item->work->dev->vdev->name);

	if (request->status == 0 && !item->reading && device) {
		item->reading = true;
		*request = (struct block_request){.op = BLOCK_FLUSH, .done = done, .context = item};
		block_submit(device, request);
		return;
	}
	swdev_work_ended(item, request->status == 0);
}

static bool begin(struct swdev_work *work)
{
	struct block_device *device = block_find(work->dev->vdev->name);

	if (!device)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->segments[0] = (struct dma_buf){item->out, SWDEV_ITEM_BYTES};
		item->block = (struct block_request){.op = BLOCK_WRITE,
		                                     .sector = i * (SWDEV_ITEM_BYTES / BLOCK_SECTOR),
		                                     .segments = item->segments,
		                                     .segment_count = 1,
		                                     .done = done,
		                                     .context = item};
		block_submit(device, &item->block);
	}
	return true;
}

static bool check(struct swdev_work *work)
{
	for (unsigned i = 0; i < work->amount; i++)
		if (!swdev_work_matches(state_of(work->dev)->lasting + (size_t)i * SWDEV_ITEM_BYTES, i, SWDEV_ITEM_BYTES))
			return false;
	return true;
}

static const struct swdev_workload load = {.type = &swdev_pmem, .begin = begin, .check = check};
LINKER_ENTRY(swdev_workloads, load);

static void no_answer(struct swdev *dev)
{
	state_of(dev)->silent = true;
	dev->lies_told++;
}

static const struct swdev_lie lies[] = {
	{"pmem at 0", FRONT_DIRECT, .type = &swdev_pmem, .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 0,
         .says = "no memory can"},
	{"pmem without end", FRONT_DIRECT, .type = &swdev_pmem, .reg = REG_CONFIG, .index = 12, .op = OP_SET, .value = UINT32_MAX,
         .says = "no memory can"},
	{"pmem flushes without an answer", FRONT_DIRECT, .type = &swdev_pmem, .setup = no_answer, .harmless = true},
	{},
};
SWDEV_LIES(lies);
