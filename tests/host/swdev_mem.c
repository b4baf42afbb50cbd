/*
 * "Memory Device": a region of which only plugged blocks may be touched; the sanitizer guards the others.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <base/poison.h>
#include <host.h>

#include "swdev_impl.h"
#include "swdev_mem.h"
#include "swdev_work_impl.h"

enum { BLOCK_SIZE = 0, ADDR = 16, REGION_SIZE = 24, USABLE = 32, PLUGGED = 40, REQUESTED = 48 };
enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };

static const struct swdev_field fields[] = {
	{.offset = BLOCK_SIZE, .width = 8, .count = 1, .feature = -1},
	{.offset = ADDR, .width = 8, .count = 5, .feature = -1},
	{.width = 0},
};

static uint8_t *region; /* low, and always the same: what is in use of it outlives the device */

static struct swdev_mem *state_of(struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	uint64_t bytes = SWDEV_MEM_BLOCKS * SWDEV_MEM_BLOCK;

	if (!region)
		region = mmap((void *)(uintptr_t)0x50000000, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory_poison(region, bytes);
	host_device_memory(region, bytes);
	dev->state = calloc(1, sizeof(struct swdev_mem));
	put64(dev->config + BLOCK_SIZE, SWDEV_MEM_BLOCK);
	put64(dev->config + ADDR, (uintptr_t)region);
	put64(dev->config + REGION_SIZE, bytes);
	put64(dev->config + USABLE, bytes);
}

static void release(struct swdev *dev)
{
	host_device_memory(NULL, 0);
	free(dev->state);
}

unsigned swdev_mem_plugged(struct swdev *dev)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SWDEV_MEM_BLOCKS; i++)
		count += state_of(dev)->plugged[i];
	return count;
}

static uint16_t change(struct swdev *dev, uint64_t addr, unsigned count, bool plug)
{
	uint64_t first = (addr - (uintptr_t)region) / SWDEV_MEM_BLOCK;

	if (addr % SWDEV_MEM_BLOCK || addr < (uintptr_t)region || !count || first + count > SWDEV_MEM_BLOCKS) {
		swdev_violation(dev, "%u blocks at %#llx", count, (unsigned long long)addr);
		return ERROR;
	}
	if (plug && (swdev_mem_plugged(dev) + count) * (uint64_t)SWDEV_MEM_BLOCK > get64(dev->config + REQUESTED))
		return NACK;
	for (uint64_t i = first; i < first + count; i++) {
		if (state_of(dev)->plugged[i] == plug)
			swdev_violation(dev, "block %llu is %splugged", (unsigned long long)i, plug ? "already " : "not ");
		state_of(dev)->plugged[i] = plug;
		if (plug)
			memory_unpoison(region + i * SWDEV_MEM_BLOCK, SWDEV_MEM_BLOCK);
		if (plug)
			memset(region + i * SWDEV_MEM_BLOCK, 0xdd, SWDEV_MEM_BLOCK);
		memory_poison(region + i * SWDEV_MEM_BLOCK, SWDEV_MEM_BLOCK);
	}
	return ACK;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_mem *mem = state_of(dev);
	uint8_t request[24] = {0}, response[10] = {0};
	uint16_t type, answer = ACK;

	if (mem->holds)
		return false;
	if (swdev_chain_read(chain, 0, request, sizeof(request)) != 24 || chain->readable_bytes != 24 ||
	    chain->writable_bytes != 10)
		swdev_violation(dev, "a request of the wrong size");
	type = get16(request);
	mem->plugs += type == PLUG;
	mem->unplugs += type == UNPLUG;
	mem->unplug_alls += type == UNPLUG_ALL;
	mem->states += type == STATE;
	if (mem->answers) {
		mem->answers--;
		answer = (uint16_t)mem->answer;
	} else if (type == PLUG || type == UNPLUG) {
		answer = change(dev, get64(request + 8), get16(request + 16), type == PLUG);
	} else if (type == UNPLUG_ALL) {
		memset(mem->plugged, 0, sizeof(mem->plugged));
	} else {
		uint64_t block = (get64(request + 8) - (uintptr_t)region) / SWDEV_MEM_BLOCK;

		put16(response + 8, block < SWDEV_MEM_BLOCKS && mem->plugged[block] ? 0 : 1);
	}
	put16(response, answer);
	put64(dev->config + PLUGGED, (uint64_t)swdev_mem_plugged(dev) * SWDEV_MEM_BLOCK);
	*written = (uint32_t)swdev_chain_write(chain, 0, response, sizeof(response));
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

void swdev_mem_want(struct swdev *dev, unsigned blocks)
{
	put64(dev->config + REQUESTED, (uint64_t)blocks * SWDEV_MEM_BLOCK);
	swdev_config_changed(dev);
}

const struct swdev_type swdev_mem = {
	.id = 24,
	.name = "mem",
	.queues = 1,
	.features = FEATURE(0) | FEATURE(1) | FEATURE(2),
	.fields = fields,
	.config_size = 56,
	.init = init,
	.free = release,
	.serve = serve,
	.produce = produce,
};

/* ---- work: blocks come and go ---- */

static bool begin(struct swdev_work *work)
{
	if (!(work->dev->status & ST_DRIVER_OK))
		return false;
	swdev_mem_want(work->dev, 8);
	return true;
}

static bool complete(const struct swdev_work *work)
{
	if (get64(work->dev->config + REQUESTED) == 8ull * SWDEV_MEM_BLOCK && swdev_mem_plugged(work->dev) == 8)
		swdev_mem_want(work->dev, 3);
	return swdev_mem_plugged(work->dev) == 3 && state_of(work->dev)->unplugs >= 5;
}

static const struct swdev_workload load = {.type = &swdev_mem, .begin = begin, .complete = complete, .frames = true};
LINKER_ENTRY(swdev_workloads, load);

static void always_busy(struct swdev *dev)
{
	state_of(dev)->answers = UINT32_MAX;
	state_of(dev)->answer = BUSY;
	dev->lies_told++;
}

static const struct swdev_lie lies[] = {
	{"mem blocks of 0", FRONT_DIRECT, .type = &swdev_mem, .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 0,
         .says = "cannot be"},
	{"mem blocks of 3 MiB", FRONT_DIRECT, .type = &swdev_mem, .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 3 << 20,
         .says = "cannot be"},
	{"mem somewhere else", FRONT_DIRECT, .type = &swdev_mem, .reg = REG_CONFIG, .index = ADDR + 4, .op = OP_SET,
         .value = 0x7777, .harmless = true, .blind = true},
	{"mem always busy", FRONT_DIRECT, .type = &swdev_mem, .setup = always_busy, .harmless = true},
	{},
};
SWDEV_LIES(lies);
