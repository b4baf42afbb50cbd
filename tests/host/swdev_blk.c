/*
 * "Block Device": a disk in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_GET_LIFETIME = 10,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
	T_SECURE_ERASE = 14
};
enum { SECTOR = 512, HEADER = 16 };

/* "Block Device / Device configuration layout" */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 8, .count = 1, .feature = -1},              /* capacity */
	{.offset = 8, .width = 4, .count = 1, .feature = BLK_F_SIZE_MAX},  /* size_max */
	{.offset = 12, .width = 4, .count = 1, .feature = BLK_F_SEG_MAX},  /* seg_max */
	{.offset = 20, .width = 4, .count = 1, .feature = BLK_F_BLK_SIZE}, /* blk_size */
	{.offset = 24, .width = 1, .count = 2, .feature = BLK_F_TOPOLOGY}, /* physical_block_exp, alignment_offset */
	{.offset = 26, .width = 2, .count = 1, .feature = BLK_F_TOPOLOGY}, /* min_io_size */
	{.offset = 28, .width = 4, .count = 1, .feature = BLK_F_TOPOLOGY}, /* opt_io_size */
	{.offset = 32,
         .width = 1,
         .count = 1,
         .feature = BLK_F_CONFIG_WCE,
         .writable = true,
         .after_features_ok = true},                                           /* writeback */
	{.offset = 34, .width = 2, .count = 1, .feature = BLK_F_MQ},           /* num_queues */
	{.offset = 36, .width = 4, .count = 3, .feature = BLK_F_DISCARD},      /* max_discard_sectors, _seg, alignment */
	{.offset = 48, .width = 4, .count = 2, .feature = BLK_F_WRITE_ZEROES}, /* max_write_zeroes_sectors, _seg */
	{.offset = 56, .width = 1, .count = 1, .feature = BLK_F_WRITE_ZEROES}, /* write_zeroes_may_unmap */
	{.offset = 60, .width = 4, .count = 3, .feature = BLK_F_SECURE_ERASE}, /* max_secure_erase_sectors, _seg, alignment */
	{.offset = 72, .width = 4, .count = 5, .feature = BLK_F_ZONED},        /* zoned */
	{.offset = 92, .width = 1, .count = 1, .feature = BLK_F_ZONED},        /* its model */
	{.width = 0},
};

static const char id_string[20] = {"swdev disk 012345678"};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_disk));
	swdev_disk_resize(dev, 2048);
	put32(dev->config + 8, 65536); /* size_max */
	put32(dev->config + 12, 126);  /* seg_max */
	put32(dev->config + 20, SECTOR);
	put32(dev->config + 28, 8); /* opt_io_size */
	put16(dev->config + 34, 1);
	for (unsigned at = 36; at <= 60; at += 12) { /* discard, write zeroes, secure erase: 64 sectors, one segment */
		put32(dev->config + at, 64);
		put32(dev->config + at + 4, 1);
	}
}

static void release(struct swdev *dev)
{
	if (swdev_disk(dev)->zones)
		free(swdev_disk(dev)->zones->zones);
	free(swdev_disk(dev)->zones);
	free(swdev_disk(dev)->bytes);
	free(dev->state);
}

void swdev_disk_resize(struct swdev *dev, uint64_t sectors)
{
	struct swdev_disk *disk = swdev_disk(dev);

	disk->bytes = realloc(disk->bytes, sectors * SECTOR);
	if (sectors > disk->sectors)
		memset(disk->bytes + disk->sectors * SECTOR, 0, (sectors - disk->sectors) * SECTOR);
	disk->sectors = sectors;
	put64(dev->config, sectors);
	if (dev->front)
		swdev_config_changed(dev);
}

/* "Device Operation": the limits of the configuration space hold for each element of the data. */
static void check_limits(struct swdev *dev, const struct swdev_chain *chain, bool write)
{
	struct swdev_disk *disk = swdev_disk(dev);
	uint64_t skip = write ? HEADER : 0, left = write ? chain->readable_bytes - HEADER : chain->writable_bytes - 1;
	const struct swdev_segment *segment = chain->segments + (write ? 0 : chain->readable);
	unsigned count = write ? chain->readable : chain->writable, data = 0;

	for (; count && left; count--, segment++) {
		uint64_t bytes = segment->length;

		if (skip >= bytes) {
			skip -= bytes;
			continue;
		}
		bytes = bytes - skip > left ? left : bytes - skip;
		skip = 0;
		left -= bytes;
		data++;
		if (bytes > disk->max_segment_bytes)
			disk->max_segment_bytes = (uint32_t)bytes;
	}
	if (data > disk->max_segments)
		disk->max_segments = data;
	if (swdev_has(dev, BLK_F_SEG_MAX) && data > get32(dev->config + 12))
		swdev_violation(dev, "a request of %u segments, seg_max is %u", data, get32(dev->config + 12));
	if (swdev_has(dev, BLK_F_SIZE_MAX) && get32(dev->config + 8) && disk->max_segment_bytes > get32(dev->config + 8))
		swdev_violation(dev, "a segment of %u bytes, size_max is %u", disk->max_segment_bytes, get32(dev->config + 8));
}

static bool check_range(struct swdev *dev, uint64_t sector, uint64_t bytes)
{
	if (bytes % SECTOR || bytes == 0)
		swdev_violation(dev, "a request of %llu bytes of data", (unsigned long long)bytes);
	else if (sector > swdev_disk(dev)->sectors || bytes / SECTOR > swdev_disk(dev)->sectors - sector)
		swdev_violation(dev, "a request for %llu bytes at sector %llu, beyond the capacity", (unsigned long long)bytes,
		                (unsigned long long)sector);
	else
		return true;
	return false;
}

static uint8_t transfer(struct swdev *dev, const struct swdev_chain *chain, bool write, uint64_t sector)
{
	struct swdev_disk *disk = swdev_disk(dev);
	uint64_t bytes = write ? chain->readable_bytes - HEADER : chain->writable_bytes - 1;
	uint8_t status;

	if (write && chain->writable_bytes != 1)
		swdev_violation(dev, "a write with %llu writable bytes", (unsigned long long)chain->writable_bytes);
	if (!write && chain->readable_bytes != HEADER)
		swdev_violation(dev, "a read with %llu readable bytes", (unsigned long long)chain->readable_bytes);
	check_limits(dev, chain, write);
	if (!check_range(dev, sector, bytes))
		return BLK_IOERR;
	if (write && swdev_has(dev, BLK_F_RO))
		return BLK_IOERR;
	status = write ? swdev_zone_write(dev, sector, bytes / SECTOR) : swdev_zone_read(dev, sector, bytes / SECTOR);
	if (status)
		return status;
	if (write) {
		disk->writes++;
		swdev_chain_read(chain, HEADER, disk->bytes + sector * SECTOR, bytes);
	} else {
		disk->reads++;
		swdev_chain_write(chain, 0, disk->bytes + sector * SECTOR, bytes);
	}
	return BLK_OK;
}

static uint8_t get_id(struct swdev *dev, const struct swdev_chain *chain)
{
	swdev_disk(dev)->ids++;
	if (chain->writable_bytes != sizeof(id_string) + 1)
		swdev_violation(dev, "get-id with %llu writable bytes", (unsigned long long)chain->writable_bytes);
	swdev_chain_write(chain, 0, id_string, sizeof(id_string));
	return BLK_OK;
}

static uint8_t flush(struct swdev *dev, const struct swdev_chain *chain, uint64_t sector)
{
	swdev_disk(dev)->flushes++;
	if (!swdev_has(dev, BLK_F_FLUSH))
		swdev_violation(dev, "a flush without VIRTIO_BLK_F_FLUSH");
	if (sector || chain->readable_bytes != HEADER || chain->writable_bytes != 1)
		swdev_violation(dev, "a flush with data or a sector");
	return BLK_OK;
}

static uint8_t get_lifetime(struct swdev *dev, const struct swdev_chain *chain)
{
	if (!swdev_has(dev, BLK_F_LIFETIME) || chain->writable_bytes != 6 + 1)
		swdev_violation(dev, "get-lifetime with %llu writable bytes", (unsigned long long)chain->writable_bytes);
	swdev_chain_write(chain, 0, "\x01\0\x02\0\x03\0", 6);
	return BLK_OK;
}

/* One segment: zeroes, or for a discard what nobody may rely on. */
static uint8_t range(struct swdev *dev, const struct swdev_chain *chain, uint32_t type, uint64_t header_sector)
{
	unsigned feature = type == T_DISCARD ? BLK_F_DISCARD : type == T_WRITE_ZEROES ? BLK_F_WRITE_ZEROES : BLK_F_SECURE_ERASE;
	unsigned limits = type == T_DISCARD ? 36 : type == T_WRITE_ZEROES ? 48 : 60;
	uint8_t segment[16];
	uint64_t sector;
	uint32_t count, flags;

	if (!swdev_has(dev, feature))
		swdev_violation(dev, "a request of type %u, which is not negotiated", type);
	if (header_sector || chain->readable_bytes != HEADER + sizeof(segment) || chain->writable_bytes != 1)
		swdev_violation(dev, "a request of type %u with %llu readable and %llu writable bytes, sector %llu", type,
		                (unsigned long long)chain->readable_bytes, (unsigned long long)chain->writable_bytes,
		                (unsigned long long)header_sector);
	swdev_chain_read(chain, HEADER, segment, sizeof(segment));
	memcpy(&sector, segment, sizeof(sector));
	count = get32(segment + 8);
	flags = get32(segment + 12);
	if (flags > 1 || (flags && type != T_WRITE_ZEROES))
		swdev_violation(dev, "a request of type %u with flags %#x", type, flags);
	if (count > get32(dev->config + limits))
		swdev_violation(dev, "a request of type %u for %u sectors, %u are allowed", type, count,
		                get32(dev->config + limits));
	if (!check_range(dev, sector, (uint64_t)count * SECTOR) || swdev_has(dev, BLK_F_RO))
		return BLK_IOERR;
	if (type == T_SECURE_ERASE)
		swdev_zone_erase(dev, sector, count);
	swdev_disk(dev)->ranges++;
	memset(swdev_disk(dev)->bytes + sector * SECTOR, type == T_DISCARD ? 0xd5 : 0, (size_t)count * SECTOR);
	return BLK_OK;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_disk *disk = swdev_disk(dev);
	uint8_t header[HEADER], status;
	uint64_t sector;

	if (swdev_chain_read(chain, 0, header, HEADER) != HEADER || chain->writable_bytes == 0) {
		swdev_violation(dev, "a request without header or status");
		return true;
	}
	memcpy(&sector, header + 8, sizeof(sector));
	if (disk->fail) {
		disk->fail--;
		disk->failed++;
		status = disk->fail_status;
		for (uint64_t i = 0; i + 1 < chain->writable_bytes; i++)
			swdev_chain_write(chain, i, "\xdb", 1);
	} else {
		switch (get32(header)) {
		case T_IN:
			status = transfer(dev, chain, false, sector);
			break;
		case T_OUT:
			status = transfer(dev, chain, true, sector);
			break;
		case T_FLUSH:
			status = flush(dev, chain, sector);
			break;
		case T_GET_ID:
			status = get_id(dev, chain);
			break;
		case T_GET_LIFETIME:
			status = get_lifetime(dev, chain);
			break;
		case T_DISCARD:
		case T_WRITE_ZEROES:
		case T_SECURE_ERASE:
			status = range(dev, chain, get32(header), sector);
			break;
		default:
			status = swdev_zone_request(dev, chain, get32(header), sector);
		}
	}
	swdev_chain_write(chain, chain->writable_bytes - 1, &status, 1);
	*written = (uint32_t)chain->writable_bytes;
	return true;
}

const struct swdev_type swdev_blk = {
	.id = 2,
	.name = "blk",
	.queues = 1,
	.features = FEATURE(BLK_F_SIZE_MAX) | FEATURE(BLK_F_SEG_MAX) | FEATURE(BLK_F_BLK_SIZE) | FEATURE(BLK_F_FLUSH) |
                    FEATURE(BLK_F_TOPOLOGY),
	.fields = fields,
	.config_size = 96,
	.init = init,
	.free = release,
	.serve = serve,
};
