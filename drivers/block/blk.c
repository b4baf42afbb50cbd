/*
 * "Block Device": requests on one virtqueue.
 *
 * The block class checks and cuts; here a part becomes one buffer list: header, data, status byte. Headers and status bytes lie in
 * pages that device and driver share, one `struct blk_wire` per slot; what the driver must be able to rely on lies apart in
 * `struct blk_slot`. A slot is the token of its request. There are SLOTS of both, so that posting allocates nothing.
 *
 * Limits and capacity are read on each bring-up, for a device may come back different from a reset.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <class/block.h>
#include <virtio/ids.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

/* "Block Device / Feature bits" */
enum {
	VIRTIO_BLK_F_SIZE_MAX = 1,
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
};

/* "Block Device / Device configuration layout", as far as it is used */
struct virtio_blk_config {
	le64 capacity;
	le32 size_max, seg_max;
	struct {
		le16 cylinders;
		uint8_t heads, sectors;
	} geometry;
	le32 blk_size;
	struct {
		uint8_t physical_block_exp, alignment_offset;
		le16 min_io_size;
		le32 opt_io_size;
	} topology;
	uint8_t writeback, unused0;
	le16 num_queues;
};
_Static_assert(sizeof(struct virtio_blk_config) == 40, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, writeback) == 32, "virtio_blk_config.writeback");

/* "Block Device / Device Operation" */
enum { VIRTIO_BLK_T_IN = 0, VIRTIO_BLK_T_OUT = 1, VIRTIO_BLK_T_FLUSH = 4, VIRTIO_BLK_T_GET_ID = 8 };
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2, STATUS_NOT_WRITTEN = 0xff };

struct virtio_blk_req_header {
	le32 type, reserved;
	le64 sector;
};
_Static_assert(sizeof(struct virtio_blk_req_header) == 16, "virtio_blk_req_header");

struct blk_wire {
	struct virtio_blk_req_header header;
	uint8_t status, unused[15];
};
_Static_assert(sizeof(struct blk_wire) == 32, "blk_wire");

#define SLOTS 256u
#define BLOCK_SIZE_MAX 65536u

struct blk_slot {
	struct blk_slot *next; /* free ones */
	struct block_request *request;
	uint32_t expected; /* bytes that the device writes when all goes well */
};

struct blk {
	struct block_device block;
	struct virtio_device *vdev;
	struct virtq *vq; /* NULL while stopped */
	bool registered;
	unsigned in_flight;
	struct blk_slot *free;
	struct blk_wire *wire; /* SLOTS of them */
	struct blk_slot slots[SLOTS];
};

/* ---- requests ---- */

static int post(struct block_device *device, const struct block_part *part)
{
	static const uint32_t types[] = {
		[BLOCK_READ] = VIRTIO_BLK_T_IN,
		[BLOCK_WRITE] = VIRTIO_BLK_T_OUT,
		[BLOCK_FLUSH] = VIRTIO_BLK_T_FLUSH,
		[BLOCK_GET_ID] = VIRTIO_BLK_T_GET_ID,
	};
	struct blk *blk = container_of(device, struct blk, block);
	struct blk_slot *slot = blk->free;
	enum block_op op = part->request->op;
	uint16_t data = (uint16_t)part->segment_count, readable = (uint16_t)(op == BLOCK_WRITE ? data + 1 : 1);
	struct virtq_buf bufs[BLOCK_PART_SEGMENTS + 2];
	struct blk_wire *wire;
	int error;

	if (!blk->vq || !slot)
		return -ENOSPC;
	wire = &blk->wire[slot - blk->slots];
	wire->header = (struct virtio_blk_req_header){
		.type = cpu_to_le32(types[op]),
		/* MUST be 0 for a flush, and is of no use but for these */
		.sector = cpu_to_le64(op == BLOCK_READ || op == BLOCK_WRITE ? part->sector : 0),
	};
	wire->status = STATUS_NOT_WRITTEN;

	/* "Legacy Interface: Framing Requirements": the header and the status byte each in a descriptor of its own. So always. (The
	 * header's 8 bytes there are a slip of the text: its three fields are 16.) */
	bufs[0] = (struct virtq_buf){&wire->header, sizeof(wire->header)};
	for (unsigned i = 0; i < data; i++)
		bufs[1 + i] = (struct virtq_buf){part->segments[i].memory, part->segments[i].length};
	bufs[1 + data] = (struct virtq_buf){&wire->status, 1};
	error = virtq_add(blk->vq, bufs, readable, (uint16_t)(data + 2 - readable), slot);
	if (error == -EIO) /* broken: it waits for the restart */
		return -ENOSPC;
	if (error) /* no room though nothing is in flight: there never will be */
		return error == -ENOSPC && !blk->in_flight ? -EIO : error;

	slot->request = part->request;
	slot->expected = (op == BLOCK_WRITE ? 0 : part->bytes) + 1;
	blk->free = slot->next;
	blk->in_flight++;
	virtq_kick_later(blk->vq);
	return 0;
}

static void end(struct blk *blk, struct blk_slot *slot, int status)
{
	slot->next = blk->free;
	blk->free = slot;
	blk->in_flight--;
	block_part_done(&blk->block, slot->request, status);
}

static int result(const struct blk *blk, const struct blk_slot *slot, uint32_t written)
{
	switch (READ_ONCE(blk->wire[slot - blk->slots].status)) {
	case VIRTIO_BLK_S_OK:
		/* "The Virtqueue Used Ring": what lies beyond the used length is not to be relied on. "Legacy Interface: Device
		 * Operation": there, used lengths are to be ignored. */
		return written >= slot->expected || blk->vdev->legacy ? 0 : -EIO;
	case VIRTIO_BLK_S_UNSUPP:
		return -ENOTSUP;
	default: /* IOERR, not written, or nonsense */
		return -EIO;
	}
}

static void harvest(struct blk *blk, struct virtq *vq)
{
	struct blk_slot *slot;
	uint32_t written;

	while ((slot = virtq_harvest(vq, &written)))
		end(blk, slot, result(blk, slot, written));
}

static void used(struct virtq *vq)
{
	struct blk *blk = vq->context;

	harvest(blk, vq);
	block_pump(&blk->block);
}

static const struct block_ops ops = {.post = post};

/* ---- configuration ---- */

#define FIELD(name) offsetof(struct virtio_blk_config, name)

static bool read_capacity(struct blk *blk)
{
	uint64_t capacity = virtio_config_u64(blk->vdev, FIELD(capacity), UINT64_MAX);

	if (capacity > UINT64_MAX / BLOCK_SECTOR)
		return false;
	blk->block.capacity = capacity;
	return true;
}

static void read_block_size(struct blk *blk)
{
	struct virtio_device *vdev = blk->vdev;
	uint32_t size = BLOCK_SECTOR, optimal = 0;

	if (virtio_has(vdev, VIRTIO_BLK_F_BLK_SIZE))
		size = virtio_config_u32(vdev, FIELD(blk_size), 0);
	if (size < BLOCK_SECTOR || size > BLOCK_SIZE_MAX || (size & (size - 1))) {
		log_warn("virtio-blk %s: blk_size %u is no block size, 512 is used", vdev->name, size);
		size = BLOCK_SECTOR;
	}
	if (virtio_has(vdev, VIRTIO_BLK_F_TOPOLOGY))
		optimal = virtio_config_u32(vdev, FIELD(topology.opt_io_size), 0);
	blk->block.block_size = size;
	blk->block.optimal_bytes = optimal <= UINT32_MAX / size ? optimal * size : 0;
}

/* Data segments of a request. Without SEG_MAX nothing says that the device takes more than one; some do not. */
static uint32_t max_segments(struct virtio_device *vdev)
{
	if (!virtio_has(vdev, VIRTIO_BLK_F_SEG_MAX))
		return 1;
	return MIN(virtio_config_u32(vdev, FIELD(seg_max), 0), BLOCK_PART_SEGMENTS);
}

static int read_limits(struct blk *blk, uint16_t queue_size)
{
	struct virtio_device *vdev = blk->vdev;
	struct block_limits *limits = &blk->block.limits;
	uint32_t segments = max_segments(vdev), bytes = 0;

	if (virtio_has(vdev, VIRTIO_BLK_F_SIZE_MAX))
		bytes = virtio_config_u32(vdev, FIELD(size_max), 0);
	/* "Scatter-Gather Support": a request is no longer than its queue, and header and status take two of its places. */
	segments = MIN(segments, queue_size - MIN(queue_size, 2u));
	*limits = (struct block_limits){segments, bytes};
	if (!segments || (virtio_has(vdev, VIRTIO_BLK_F_SIZE_MAX) && (uint64_t)bytes * segments < blk->block.block_size))
		return virtio_refuse(vdev, -EINVAL, "no room for a block in %u segments (queue size %u) of size_max %u", segments,
		                     queue_size, bytes);
	return 0;
}

static int read_config(struct blk *blk)
{
	struct virtio_device *vdev = blk->vdev;

	if (!read_capacity(blk))
		return virtio_refuse(vdev, -EINVAL, "its capacity cannot be read, or cannot be");
	read_block_size(blk);
	blk->block.read_only = virtio_has(vdev, VIRTIO_BLK_F_RO);
	/* "Device Initialization": without FLUSH the cache is a writethrough one; with CONFIG_WCE the mode can be read, too. */
	blk->block.can_flush = virtio_has(vdev, VIRTIO_BLK_F_FLUSH);
	if (virtio_has(vdev, VIRTIO_BLK_F_CONFIG_WCE))
		log_debug("virtio-blk %s: %s cache", vdev->name,
		          virtio_config_u8(vdev, FIELD(writeback), 1) ? "writeback" : "writethrough");
	return 0;
}

static void config_changed(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;
	uint64_t former = blk->block.capacity;

	if (!read_capacity(blk))
		log_warn("virtio-blk %s: its new capacity cannot be: %llu sectors stay", vdev->name, (unsigned long long)former);
	else if (blk->block.capacity != former)
		log_info("virtio-blk %s: capacity %llu sectors", vdev->name, (unsigned long long)blk->block.capacity);
}

/* ---- life ---- */

static int probe(struct virtio_device *vdev)
{
	struct blk *blk = page_alloc(sizeof(*blk), PAGE_SIZE);

	if (!blk)
		return -ENOMEM;
	blk->wire = page_alloc(SLOTS * sizeof(*blk->wire), PAGE_SIZE);
	if (!blk->wire) {
		page_free(blk, sizeof(*blk));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		blk->slots[i].next = blk->free;
		blk->free = &blk->slots[i];
	}
	blk->vdev = vdev;
	blk->block.ops = &ops;
	blk->block.node.name = vdev->name;
	vdev->driver_data = blk;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;
	int error = read_config(blk);

	if (error)
		return error;

	struct virtq_spec spec = {
		.name = "requestq1",
		.callback = used,
		.max_size = SLOTS,
		.max_buffers = (uint16_t)(max_segments(vdev) + 2),
		.context = blk,
	};
	error = virtio_queues_create(vdev, 1, &spec);
	if (!error)
		error = read_limits(blk, vdev->queues[0]->size);
	if (error)
		return error;
	blk->vq = vdev->queues[0];
	virtio_driver_ok(vdev);
	if (!blk->registered)
		block_register(&blk->block);
	blk->registered = true;
	block_pump(&blk->block);
	return 0;
}

/* End what is in flight; what waits goes on waiting. */
static void drain(struct blk *blk, int status)
{
	struct virtq *vq = blk->vq;
	struct blk_slot *slot;

	blk->vq = NULL;
	while (vq && (slot = virtq_detach_unused(vq)))
		end(blk, slot, status);
}

static void stop(struct virtio_device *vdev) { drain(vdev->driver_data, -EIO); }

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	harvest(vdev->driver_data, vq);
	drain(vdev->driver_data, -EAGAIN);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct blk *blk = vdev->driver_data;

	blk->vq = vq;
	block_pump(&blk->block);
}

static void remove(struct virtio_device *vdev)
{
	struct blk *blk = vdev->driver_data;

	if (blk->registered)
		block_unregister(&blk->block);
	page_free(blk->wire, SLOTS * sizeof(*blk->wire));
	page_free(blk, sizeof(*blk));
}

static const struct virtio_feature_rule rules[] = {
	{VIRTIO_BLK_F_CONFIG_WCE, BIT64(VIRTIO_BLK_F_FLUSH)},
	{},
};

static const struct virtio_driver blk_driver = {
	.name = "virtio-blk",
	.instance = "blk",
	.type = VIRTIO_ID_BLOCK,
	.features = BIT64(VIRTIO_BLK_F_SIZE_MAX) | BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_RO) |
                    BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_TOPOLOGY) |
                    BIT64(VIRTIO_BLK_F_CONFIG_WCE),
	.rules = rules,
	.config_size = sizeof(struct virtio_blk_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(blk_driver);
