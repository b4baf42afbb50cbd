/*
 * "Block Device", zoned: the zones of the disk in memory, their states and write pointers, and the requests about them.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { APPEND = 15, REPORT = 16, OPEN = 18, CLOSE = 20, FINISH = 22, RESET = 24, RESET_ALL = 26 };
enum { CONVENTIONAL = 1, SEQUENTIAL, PREFERRED };
enum { NO_POINTER, EMPTY, IMPLICIT, EXPLICIT, CLOSED, READ_ONLY = 13, FULL, OFFLINE };
enum { SECTOR = 512, HEADER = 16, GRANULARITY = 4096 };

void swdev_disk_zone(struct swdev *dev, uint8_t model, uint32_t sectors, unsigned conventional)
{
	struct swdev_disk *disk = swdev_disk(dev);
	struct swdev_zones *zones = calloc(1, sizeof(*zones));

	dev->offered |= FEATURE(BLK_F_ZONED);
	put32(dev->config + 72, sectors);
	put32(dev->config + 84, 64); /* max_append_sectors */
	put32(dev->config + 88, GRANULARITY);
	dev->config[92] = model;
	zones->sectors = sectors;
	zones->count = (uint32_t)((disk->sectors + sectors - 1) / sectors);
	zones->zones = calloc(zones->count, sizeof(*zones->zones));
	for (unsigned i = 0; i < zones->count; i++) {
		uint64_t start = (uint64_t)i * sectors, size = disk->sectors - start < sectors ? disk->sectors - start : sectors;

		zones->zones[i] = (struct swdev_zone){.start = start, .capacity = size, .pointer = start, .type = CONVENTIONAL};
		if (i < conventional)
			continue;
		zones->zones[i].type = model == 1 ? SEQUENTIAL : PREFERRED;
		zones->zones[i].state = EMPTY;
	}
	zones->zones[zones->count - 1].capacity -= 8;
	disk->zones = zones;
}

static struct swdev_zone *zone_of(struct swdev_zones *zones, uint64_t sector)
{
	return sector / zones->sectors < zones->count ? &zones->zones[sector / zones->sectors] : NULL;
}

static unsigned in_states(const struct swdev_zones *zones, unsigned first, unsigned last)
{
	unsigned count = 0;

	for (unsigned i = 0; i < zones->count; i++)
		count += zones->zones[i].state >= first && zones->zones[i].state <= last;
	return count;
}

/* The resources for a zone to be open. */
static uint8_t open_zone(struct swdev *dev, struct swdev_zone *zone, uint8_t state)
{
	struct swdev_zones *zones = swdev_disk(dev)->zones;
	uint32_t open_max = get32(dev->config + 76), active_max = get32(dev->config + 80);
	bool was_open = zone->state == IMPLICIT || zone->state == EXPLICIT;

	if (zone->state == EMPTY && active_max && in_states(zones, IMPLICIT, CLOSED) >= active_max)
		return BLK_ZONE_ACTIVE_LIMIT;
	if (!was_open && open_max && in_states(zones, IMPLICIT, EXPLICIT) >= open_max) {
		unsigned i = 0;

		while (i < zones->count && zones->zones[i].state != IMPLICIT)
			i++;
		if (i == zones->count)
			return BLK_ZONE_OPEN_LIMIT;
		zones->zones[i].state = CLOSED; /* implicitly */
	}
	zone->state = state;
	return 0;
}

static void put_pointer(struct swdev_zone *zone, uint64_t sectors)
{
	zone->pointer += sectors;
	if (zone->pointer == zone->start + zone->capacity)
		zone->state = FULL;
}

/* In one zone, and one that is written sequentially: NULL when there is nothing to look at. */
static struct swdev_zone *required(struct swdev *dev, uint64_t sector, uint64_t sectors, const char *what)
{
	struct swdev_zones *zones = swdev_has(dev, BLK_F_ZONED) ? swdev_disk(dev)->zones : NULL;

	if (!zones)
		return NULL;
	if (sector / zones->sectors != (sector + sectors - 1) / zones->sectors)
		swdev_violation(dev, "a %s of %u sectors at %u: of more than one zone", what, (unsigned)sectors,
		                (unsigned)sector);
	return zone_of(zones, sector);
}

uint8_t swdev_zone_read(struct swdev *dev, uint64_t sector, uint64_t sectors)
{
	const struct swdev_zone *zone = required(dev, sector, sectors, "read");

	return zone && zone->state == OFFLINE ? BLK_ZONE_INVALID : 0;
}

uint8_t swdev_zone_write(struct swdev *dev, uint64_t sector, uint64_t sectors)
{
	struct swdev_zone *zone = required(dev, sector, sectors, "write");
	uint8_t status;

	if (!zone || zone->type == CONVENTIONAL)
		return 0;
	if ((sector | sectors) * SECTOR % GRANULARITY)
		swdev_violation(dev, "a write of %u sectors at %u to a sequential zone", (unsigned)sectors, (unsigned)sector);
	if (zone->state == READ_ONLY || zone->state == OFFLINE)
		return BLK_ZONE_INVALID;
	if (zone->type == PREFERRED && (zone->state == FULL || sector != zone->pointer))
		return 0;
	if (zone->state == FULL || sector + sectors > zone->start + zone->capacity)
		return BLK_ZONE_INVALID;
	if (sector != zone->pointer)
		return BLK_ZONE_UNALIGNED;
	status = zone->state == EXPLICIT ? 0 : open_zone(dev, zone, IMPLICIT);
	if (!status)
		put_pointer(zone, sectors);
	return status;
}

static void reset_zone(struct swdev_zone *zone)
{
	zone->state = EMPTY;
	zone->pointer = zone->start;
}

void swdev_zone_erase(struct swdev *dev, uint64_t sector, uint64_t sectors)
{
	struct swdev_zones *zones = swdev_has(dev, BLK_F_ZONED) ? swdev_disk(dev)->zones : NULL;

	if (!zones)
		return;
	if (sector % zones->sectors || sectors % zones->sectors)
		swdev_violation(dev, "a secure erase of %u sectors at %u: no whole zones", (unsigned)sectors, (unsigned)sector);
	for (uint64_t at = sector; at < sector + sectors; at += zones->sectors)
		if (zone_of(zones, at)->type != CONVENTIONAL)
			reset_zone(zone_of(zones, at));
}

/* ---- requests ---- */

static uint8_t report(struct swdev *dev, struct swdev_chain *chain, uint64_t sector)
{
	struct swdev_zones *zones = swdev_disk(dev)->zones;
	uint64_t room = chain->writable_bytes - 1, told = 0;
	uint8_t header[64] = {0};

	zones->reports++;
	if (chain->readable_bytes != HEADER || room < 128 || room % 64)
		swdev_violation(dev, "a zone report in %u bytes", (unsigned)room);
	if (!zone_of(zones, sector))
		swdev_violation(dev, "a zone report from sector %llu on", (unsigned long long)sector);
	for (struct swdev_zone *zone = zone_of(zones, sector);
	     zone && zone < zones->zones + zones->count && (told + 2) * 64 <= room; zone++) {
		uint8_t bytes[64] = {0};

		put64(bytes, zone->capacity);
		put64(bytes + 8, zone->start + zones->start_lie);
		put64(bytes + 16, zone->pointer + zones->pointer_lie);
		bytes[24] = (uint8_t)(zone->type + zones->type_lie);
		bytes[25] = zone->state;
		swdev_chain_write(chain, 64 * ++told, bytes, 64);
	}
	put64(header, told + zones->count_lie);
	swdev_chain_write(chain, 0, header, 64);
	return 0;
}

static uint8_t append(struct swdev *dev, struct swdev_chain *chain, uint64_t sector)
{
	struct swdev_disk *disk = swdev_disk(dev);
	struct swdev_zone *zone = zone_of(disk->zones, sector);
	uint64_t bytes = chain->readable_bytes - HEADER, sectors = bytes / SECTOR;
	uint8_t where[8], status;

	if (!zone || sector != zone->start || bytes % GRANULARITY || !bytes || sectors > get32(dev->config + 84) ||
	    chain->writable_bytes != 8 + 1) {
		swdev_violation(dev, "an append of %u bytes at sector %u", (unsigned)bytes, (unsigned)sector);
		return BLK_ZONE_INVALID;
	}
	if (zone->type != SEQUENTIAL || zone->state >= READ_ONLY || zone->pointer + sectors > zone->start + zone->capacity)
		return BLK_ZONE_INVALID;
	status = zone->state == EXPLICIT ? 0 : open_zone(dev, zone, IMPLICIT);
	if (status)
		return status;
	disk->zones->appends++;
	swdev_chain_read(chain, HEADER, disk->bytes + zone->pointer * SECTOR, bytes);
	put64(where, zone->pointer + disk->zones->append_lie);
	swdev_chain_write(chain, 0, where, 8);
	put_pointer(zone, sectors);
	return 0;
}

static uint8_t manage(struct swdev *dev, uint32_t type, struct swdev_zone *zone)
{
	if (zone->type == CONVENTIONAL || zone->state == READ_ONLY || zone->state == OFFLINE)
		return BLK_ZONE_INVALID;
	switch (type) {
	case OPEN:
		return zone->state == FULL ? BLK_ZONE_INVALID : open_zone(dev, zone, EXPLICIT);
	case CLOSE:
		if (zone->state == EMPTY || zone->state == FULL)
			return BLK_ZONE_INVALID;
		zone->state = zone->pointer == zone->start ? EMPTY : CLOSED;
		return 0;
	case FINISH:
		zone->state = FULL;
		return 0;
	default:
		swdev_disk(dev)->zones->resets++;
		reset_zone(zone);
		return 0;
	}
}

uint8_t swdev_zone_request(struct swdev *dev, struct swdev_chain *chain, uint32_t type, uint64_t sector)
{
	struct swdev_zones *zones = swdev_has(dev, BLK_F_ZONED) ? swdev_disk(dev)->zones : NULL;
	struct swdev_zone *zone;

	if (!zones || type < APPEND || type > RESET_ALL || (type > REPORT && type % 2)) {
		swdev_violation(dev, "a request of type %u", type);
		return BLK_UNSUPP;
	}
	if (type == REPORT)
		return report(dev, chain, sector);
	if (type == APPEND)
		return append(dev, chain, sector);
	zone = zone_of(zones, sector);
	if (chain->readable_bytes != HEADER || chain->writable_bytes != 1 || !zone || zone->start != sector ||
	    (type == RESET_ALL && sector)) {
		swdev_violation(dev, "a request of type %u at sector %u", type, (unsigned)sector);
		return BLK_ZONE_INVALID;
	}
	if (type != RESET_ALL)
		return manage(dev, type, zone);
	for (unsigned i = 0; i < zones->count; i++)
		if (zones->zones[i].type != CONVENTIONAL && zones->zones[i].state < OFFLINE && zones->zones[i].state != READ_ONLY)
			reset_zone(&zones->zones[i]);
	return 0;
}

/* ---- lies ---- */

/* A disk of zones, of which the first four have room for the work. */
static void zoned(struct swdev *dev)
{
	swdev_disk_zone(dev, 1, 256, 4);
	dev->lies_told++;
}

#define LIE(at, what) .type = &swdev_blk, .setup = zoned, .reg = REG_CONFIG, .index = at, .op = OP_SET, .value = what

static const struct swdev_lie zone_lies[] = {
	{"zones as they shall be", 0, .type = &swdev_blk, .setup = zoned, .harmless = true, .works = true,
         .must_be_silent = true},
	{"zones of no sectors", 0, LIE(72, 0), .says = "zones of model 1"},
	{"zones of an odd size", 0, LIE(72, 255), .says = "zones of model 1"},
	{"zones of 2 TiB", 0, LIE(72, 0xfffffff8), .harmless = true, .blind = true},
	{"zones written in nothing", 0, LIE(88, 0), .says = "zones of model 1"},
	{"zones written in 513 bytes", 0, LIE(88, 513), .says = "zones of model 1"},
	{"zones of a model unknown", 0, LIE(92, 3), .says = "zones of model 3"},
	{"zones of no model", 0, LIE(92, 0), .harmless = true, .blind = true},
	{},
};
SWDEV_LIES(zone_lies);
