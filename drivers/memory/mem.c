/*
 * "Memory Device": blocks of memory that are plugged and unplugged as the device wishes, and that the page allocator has while they are
 * plugged.
 *
 * Blocks are plugged from the bottom of the region and unplugged from the top, for the allocator gives the highest memory away first and
 * the lowest stays free longest; a block of which a page is in use stays until it is not. One request is under way at a time.
 *
 * Resets change nothing about blocks. So what is known of a region outlives the device's driver for as long as somebody uses memory of it;
 * after a reset the device is asked for the state of the blocks that we count on.
 */
#include <errno.h>

#include <arch/clock.h>
#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>
#include <virtio/request.h>

enum { VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE = 1 };

struct virtio_mem_config {
	le64 block_size;
	le16 node_id;
	uint8_t padding[6];
	le64 addr, region_size, usable_region_size, plugged_size, requested_size;
};
_Static_assert(sizeof(struct virtio_mem_config) == 56, "virtio_mem_config");
#define CONFIG(mem, name) virtio_config_u64((mem)->vdev, offsetof(struct virtio_mem_config, name), 0)

enum { VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_REQ_UNPLUG, VIRTIO_MEM_REQ_UNPLUG_ALL, VIRTIO_MEM_REQ_STATE };
enum { VIRTIO_MEM_RESP_ACK, VIRTIO_MEM_RESP_NACK, VIRTIO_MEM_RESP_BUSY, VIRTIO_MEM_RESP_ERROR, NOT_WRITTEN = 0xffff };
enum { VIRTIO_MEM_STATE_PLUGGED };
struct virtio_mem_req {
	le16 type, padding[3];
	le64 addr;
	le16 nb_blocks, padding_too[3];
};
_Static_assert(sizeof(struct virtio_mem_req) == 24, "virtio_mem_req");
struct virtio_mem_resp {
	le16 type, padding[3], state;
};
_Static_assert(sizeof(struct virtio_mem_resp) == 10, "virtio_mem_resp");
struct mem_wire {
	struct virtio_mem_req request;
	struct virtio_mem_resp response;
};

#define BLOCKS_MAX (UINT64_C(1) << 22)
#define RETRY_NS UINT64_C(1000000000)

/* Which blocks are the allocator's. */
struct mem_region {
	struct mem_region *next;
	uint64_t addr, block_size, blocks, plugged; /* bytes; bytes; blocks; blocks */
	uint8_t *bits;
};

struct mem {
	struct virtio_device *vdev;
	struct virtio_requestq requestq;
	struct virtio_request request;
	struct virtq_buf bufs[2];
	struct mem_wire *wire;
	struct mem_region *region;
	bool running, busy, refused;
	bool clean;      /* nothing is plugged but what we know of */
	uint64_t wanted; /* blocks */
	uint64_t block;  /* that the request is for */
	uint64_t check;  /* blocks from here on are to be asked for */
	struct timer retry;
};

static struct mem_region *regions; /* of which memory is in use */

static void work(struct mem *mem);

static bool has(const struct mem_region *region, uint64_t block) { return region->bits[block / 8] >> block % 8 & 1; }

static void flip(struct mem_region *region, uint64_t block)
{
	region->bits[block / 8] ^= (uint8_t)(1u << block % 8);
	region->plugged += has(region, block) ? 1 : -UINT64_C(1);
}

static void *memory_of(const struct mem_region *region, uint64_t block)
{
	return (void *)(uintptr_t)(region->addr + block * region->block_size);
}

/* ---- requests ---- */

static void later(struct timer *timer)
{
	struct mem *mem = container_of(timer, struct mem, retry);

	mem->refused = false;
	work(mem);
}

static void try_later(struct mem *mem) { timer_start(&mem->retry, clock_ns() + RETRY_NS, later); }

static void plugged(struct mem *mem)
{
	struct mem_region *region = mem->region;

	/* "SHOULD initialize memory blocks after plugging them": page_alloc() does, a page at a time */
	if (virtio_device_memory(mem->vdev, region->addr + mem->block * region->block_size, region->block_size) &&
	    page_add(memory_of(region, mem->block), region->block_size)) {
		flip(region, mem->block);
		return;
	}
	log_warn("%s: a block at %p cannot be used", mem->vdev->name, memory_of(region, mem->block));
	mem->refused = true;
}

static void answered(struct virtio_request *request)
{
	struct mem *mem = container_of(request, struct mem, request);
	uint16_t type = le16_to_cpu(mem->wire->request.type), answer = le16_to_cpu(READ_ONCE(mem->wire->response.type));
	bool done = !request->status && answer == VIRTIO_MEM_RESP_ACK;

	mem->busy = false;
	if (type == VIRTIO_MEM_REQ_PLUG && done)
		plugged(mem);
	else if (type == VIRTIO_MEM_REQ_UNPLUG && !done && page_add(memory_of(mem->region, mem->block), mem->region->block_size))
		flip(mem->region, mem->block); /* it is there yet */
	else if (type == VIRTIO_MEM_REQ_UNPLUG_ALL)
		mem->clean = done;
	else if (type == VIRTIO_MEM_REQ_STATE && done && le16_to_cpu(mem->wire->response.state) != VIRTIO_MEM_STATE_PLUGGED)
		log_error("%s: the block at %p, which is in use, is gone", mem->vdev->name, memory_of(mem->region, mem->block));
	if (!mem->running)
		return;
	if (!done) { /* busy, or against it: not at once again */
		mem->refused = true;
		try_later(mem);
		return;
	}
	work(mem);
}

static void ask(struct mem *mem, uint16_t type, uint64_t block)
{
	mem->block = block;
	*mem->wire = (struct mem_wire){
		.request = {.type = cpu_to_le16(type),
	                    .addr = cpu_to_le64(mem->region->addr + block * mem->region->block_size),
	                    .nb_blocks = cpu_to_le16(1)},
		.response = {.type = NOT_WRITTEN},
	};
	mem->bufs[0] = (struct virtq_buf){&mem->wire->request, sizeof(mem->wire->request)};
	mem->bufs[1] = (struct virtq_buf){&mem->wire->response, sizeof(mem->wire->response)};
	mem->request = (struct virtio_request){.bufs = mem->bufs, .nreadable = 1, .nwritable = 1, .done = answered};
	mem->busy = true;
	virtio_request_submit(&mem->requestq, &mem->request);
}

/* ---- what is to be done ---- */

static void plug_one(struct mem *mem)
{
	struct mem_region *region = mem->region;
	uint64_t usable = MIN(CONFIG(mem, usable_region_size) / region->block_size, region->blocks), block = 0;

	while (block < usable && has(region, block))
		block++;
	if (block < usable)
		ask(mem, VIRTIO_MEM_REQ_PLUG, block);
}

/* "MUST NOT request unplug of memory blocks while corresponding memory is still in use" */
static void unplug_one(struct mem *mem)
{
	struct mem_region *region = mem->region;

	for (uint64_t block = region->blocks; block-- > 0;) {
		if (has(region, block) && page_remove(memory_of(region, block), region->block_size)) {
			flip(region, block);
			ask(mem, VIRTIO_MEM_REQ_UNPLUG, block);
			return;
		}
	}
	try_later(mem); /* all of it is in use */
}

static void work(struct mem *mem)
{
	if (!mem->running || mem->busy || mem->refused)
		return;
	while (mem->check < mem->region->blocks && !has(mem->region, mem->check))
		mem->check++;
	if (mem->check < mem->region->blocks)
		ask(mem, VIRTIO_MEM_REQ_STATE, mem->check++);
	else if (!mem->clean && !mem->region->plugged)
		ask(mem, VIRTIO_MEM_REQ_UNPLUG_ALL, 0);
	else if (mem->wanted > mem->region->plugged)
		plug_one(mem);
	else if (mem->wanted < mem->region->plugged)
		unplug_one(mem);
}

static void config_changed(struct virtio_device *vdev)
{
	struct mem *mem = vdev->driver_data;

	mem->wanted = MIN(CONFIG(mem, requested_size) / mem->region->block_size, mem->region->blocks);
	mem->refused = false;
	work(mem);
}

/* ---- life ---- */

static struct mem_region *new_region(uint64_t addr, uint64_t block_size, uint64_t blocks)
{
	struct mem_region *region = page_alloc(sizeof(*region), PAGE_SIZE);

	if (!region)
		return NULL;
	*region = (struct mem_region){.addr = addr, .block_size = block_size, .blocks = blocks};
	region->bits = page_alloc(blocks / 8 + 1, PAGE_SIZE);
	if (!region->bits) {
		page_free(region, sizeof(*region));
		return NULL;
	}
	return region;
}

static struct mem_region *known_region(uint64_t addr, uint64_t block_size, uint64_t blocks)
{
	for (struct mem_region **at = &regions; *at; at = &(*at)->next) {
		struct mem_region *region = *at;

		if (region->addr == addr && region->block_size == block_size && region->blocks == blocks) {
			*at = region->next;
			return region;
		}
	}
	return NULL;
}

static int probe(struct virtio_device *vdev)
{
	struct mem *mem = page_alloc(sizeof(*mem), PAGE_SIZE);
	uint64_t block_size, addr, size, blocks;

	if (!mem)
		return -ENOMEM;
	mem->vdev = vdev;
	block_size = CONFIG(mem, block_size);
	addr = CONFIG(mem, addr);
	size = CONFIG(mem, region_size);
	blocks = block_size ? MIN(size / block_size, BLOCKS_MAX) : 0;
	if (block_size < PAGE_SIZE || (block_size & (block_size - 1)) || addr % block_size || !addr || addr > UINT64_MAX - size) {
		page_free(mem, sizeof(*mem));
		return virtio_refuse(vdev, -EINVAL, "blocks of %#llx bytes at %#llx cannot be", (unsigned long long)block_size,
		                     (unsigned long long)addr);
	}
	mem->wire = page_alloc(sizeof(*mem->wire), PAGE_SIZE);
	if (mem->wire) /* else a known one stays where it is */
		mem->region = known_region(addr, block_size, blocks);
	if (mem->wire && !mem->region)
		mem->region = new_region(addr, block_size, blocks);
	if (!mem->region) {
		page_free(mem->wire, sizeof(*mem->wire));
		page_free(mem, sizeof(*mem));
		return -ENOMEM;
	}
	virtio_requestq_init(&mem->requestq);
	mem->requestq.again = true; /* what shall be plugged, or not, is so the second time */
	vdev->driver_data = mem;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct mem *mem = vdev->driver_data;
	struct virtq_spec spec = virtio_requestq_spec(&mem->requestq, "guest-request", 2);
	int error = virtio_service_start(vdev, 1, &spec);

	if (error)
		return error;
	mem->running = true;
	mem->check = 0;
	/* "SHOULD issue UNPLUG ALL requests until successful if the device still has memory plugged and it is not in use" */
	mem->clean = CONFIG(mem, plugged_size) == mem->region->plugged * mem->region->block_size;
	config_changed(vdev);
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct mem *mem = vdev->driver_data;

	mem->running = false;
	timer_stop(&mem->retry);
	virtio_service_stop(vdev);
	virtio_requestq_end(&mem->requestq);
}

/* Take all blocks from the allocator. False: some are in use, and it keeps them all, so that the region is what the device has. */
static bool give_up_region(struct mem_region *region)
{
	uint64_t block = 0;

	while (block < region->blocks && (!has(region, block) || page_remove(memory_of(region, block), region->block_size)))
		block++;
	if (block == region->blocks)
		return true;
	while (block-- > 0) /* there is room for them: they were noted before */
		if (has(region, block) && !page_add(memory_of(region, block), region->block_size))
			flip(region, block);
	return false;
}

static void remove(struct virtio_device *vdev)
{
	struct mem *mem = vdev->driver_data;
	struct mem_region *region = mem->region;

	/* First, for after a reset they may lie in a block themselves. */
	page_free(mem->wire, sizeof(*mem->wire));
	page_free(mem, sizeof(*mem));
	if (give_up_region(region)) {
		page_free(region->bits, region->blocks / 8 + 1);
		page_free(region, sizeof(*region));
	} else {
		region->next = regions;
		regions = region;
	}
}

/* ACPI_PXM: there are no nodes here. PERSISTENT_SUSPEND: nothing here is ever suspended. */
static const struct virtio_driver mem_driver = {
	.name = "virtio-mem",
	.instance = "mem",
	.type = VIRTIO_ID_MEMORY,
	.features = BIT64(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE),
	.config_size = sizeof(struct virtio_mem_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(mem_driver);
