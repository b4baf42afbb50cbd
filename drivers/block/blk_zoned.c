/*
 * "Block Device": zoned ones. Their limits, their reports, and the one request that the device answers with more than a status: an append, whose
 * place in the zone is the device's to say. That it is a place in that zone is checked, for the program will read there.
 */
#include <errno.h>

#include <base/log.h>
#include <base/page.h>

#include "blk_impl.h"

/* "Device Operation" */
enum { ZONE_INVALID_CMD = 3, ZONE_UNALIGNED_WP, ZONE_OPEN_RESOURCE, ZONE_ACTIVE_RESOURCE };

struct virtio_blk_zone_descriptor {
	le64 z_cap, z_start, z_wp;
	uint8_t z_type, z_state, reserved[38];
};
_Static_assert(sizeof(struct virtio_blk_zone_descriptor) == 64, "virtio_blk_zone_descriptor");

struct virtio_blk_zone_report {
	le64 nr_zones;
	uint8_t reserved[56];
	struct virtio_blk_zone_descriptor zones[];
};
_Static_assert(sizeof(struct virtio_blk_zone_report) == 64, "virtio_blk_zone_report");

/* "Device Initialization": a model that we do not know is one that we cannot support; without zones it is a disk as others. */
int virtio_blk_read_zones(struct blk *blk)
{
	const struct virtio_blk_zoned_characteristics *config = &blk->config.zoned;
	struct block_zones *zones = &blk->block.zones;

	zones->model = BLOCK_NO_ZONES;
	if (!config->model)
		return 0;
	zones->sectors = le32_to_cpu(config->zone_sectors);
	zones->open_max = le32_to_cpu(config->max_open_zones);
	zones->active_max = le32_to_cpu(config->max_active_zones);
	zones->append_sectors = le32_to_cpu(config->max_append_sectors);
	zones->granularity = le32_to_cpu(config->write_granularity);
	if (config->model > BLOCK_HOST_AWARE || !zones->sectors ||
	    (uint64_t)zones->sectors * BLOCK_SECTOR % blk->block.block_size || !zones->granularity ||
	    zones->granularity % blk->block.block_size || (uint64_t)zones->sectors * BLOCK_SECTOR % zones->granularity)
		return virtio_refuse(blk->vdev, -EINVAL, "zones of model %u, %u sectors, written in %u bytes", config->model,
		                     zones->sectors, zones->granularity);
	zones->model = config->model;
	return 0;
}

/* ---- reports ---- */

/* What the device says of a zone. False: it cannot be. */
static bool take_zone(const struct virtio_blk_zone_descriptor *from, uint64_t capacity, uint32_t sectors, struct block_zone *zone)
{
	bool has_pointer;

	*zone = (struct block_zone){.start = le64_to_cpu(from->z_start),
	                            .capacity = le64_to_cpu(from->z_cap),
	                            .pointer = le64_to_cpu(from->z_wp),
	                            .type = from->z_type,
	                            .state = from->z_state};
	has_pointer = zone->state >= BLOCK_ZONE_EMPTY && zone->state <= BLOCK_ZONE_CLOSED;
	return zone->start < capacity && zone->start % sectors == 0 && zone->capacity <= sectors &&
	       zone->type >= BLOCK_ZONE_CONVENTIONAL && zone->type <= BLOCK_ZONE_PREFERRED &&
	       (!has_pointer || (zone->pointer >= zone->start && zone->pointer - zone->start <= zone->capacity));
}

/* One request, of as many zones as a page of memory and a segment of the device's take. */
static int report_some(struct block_device *device, uint64_t sector, uint32_t sectors, struct block_zone zones[], unsigned count)
{
	struct virtio_blk_zone_report *report = page_alloc(PAGE_SIZE, PAGE_SIZE);
	uint64_t capacity = device->capacity, told;
	uint32_t most = device->limits.max_segment_bytes;
	int result;

	if (!report)
		return -ENOMEM;
	most = (most ? MIN(most, PAGE_SIZE) : PAGE_SIZE) / (uint32_t)sizeof(report->zones[0]) - 1;
	count = MIN(count, most);
	result = block_io(device, BLOCK_ZONE_REPORT, sector, report, (uint32_t)((count + 1) * sizeof(report->zones[0])));
	told = le64_to_cpu(report->nr_zones);
	if (!result && (!told || told > count))
		result = -EIO;
	for (unsigned i = 0; !result && i < told; i++) {
		/* The first is the sector's, the next follow. */
		uint64_t start = (sector / sectors + i) * sectors;

		if (!take_zone(&report->zones[i], capacity, sectors, &zones[i]) || zones[i].start != start)
			result = -EIO;
	}
	page_free(report, PAGE_SIZE);
	return result ? result : (int)told;
}

int virtio_blk_zone_report(struct block_device *device, uint64_t sector, struct block_zone zones[], unsigned count)
{
	uint64_t capacity = device->capacity;
	uint32_t sectors = device->zones.sectors;
	unsigned done = 0;

	while (done < count && (!done || sector < capacity)) {
		int some = report_some(device, sector, sectors, zones + done, count - done);

		if (some < 0)
			return some;
		if (!class_has(&block_devices, &device->node))
			return -ENODEV;
		done += (unsigned)some;
		sector = (sector / sectors + (unsigned)some) * sectors;
	}
	return (int)done;
}

/* ---- appends ---- */

/* struct virtio_blk_req_za: between data and status the device writes the sector. */
int virtio_blk_add_append(struct virtq *vq, const struct dma_buf *segments, unsigned count, le64 *result,
                          struct block_request *request)
{
	struct dma_buf all[BLOCK_PART_SEGMENTS];

	if (count >= ARRAY_SIZE(all))
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		all[i] = segments[i];
	*result = cpu_to_le64(UINT64_MAX);
	all[count] = (struct dma_buf){result, sizeof(*result)};
	return virtq_add_framed(vq, all, (uint16_t)count, 1, request);
}

int virtio_blk_appended(const struct blk_queue *q, struct block_request *request, const le64 *result)
{
	const struct block_zones *zones = &q->queue.device->zones;
	uint64_t sector, bytes = 0;

	if (request->op != BLOCK_ZONE_APPEND)
		return 0;
	for (unsigned i = 0; i < request->segment_count; i++)
		bytes += request->segments[i].len;
	sector = le64_to_cpu(READ_ONCE(*result));
	if (sector < request->sector || sector - request->sector > zones->sectors - bytes / BLOCK_SECTOR)
		return -EIO;
	request->sector = sector;
	return 0;
}

int virtio_blk_zone_failure(uint8_t status)
{
	switch (status) {
	case ZONE_INVALID_CMD:
		return -EINVAL;
	case ZONE_UNALIGNED_WP:
		return -ESPIPE;
	case ZONE_OPEN_RESOURCE:
	case ZONE_ACTIVE_RESOURCE:
		return -EMFILE;
	default:
		return -EIO;
	}
}
