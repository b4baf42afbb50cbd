/*
 * A trial of a zone. A device may go while one waits: -ENODEV then is the last that is heard of it.
 */
#include "zone_trial.h"

#include <errno.h>
#include <string.h>

#define ZONES 16u

int zone_find_empty(struct block_device *device, struct block_zone *zone)
{
	struct block_zone zones[ZONES];
	int count = block_zone_report(device, 0, zones, ZONES);

	while (count > 0) {
		uint64_t next = zones[count - 1].start + device->zones.sectors;

		for (int i = 0; i < count; i++) {
			*zone = zones[i];
			if (zone->type != BLOCK_ZONE_CONVENTIONAL && zone->state == BLOCK_ZONE_EMPTY)
				return 0;
		}
		count = next < device->capacity ? block_zone_report(device, next, zones, ZONES) : 0;
	}
	return count ? count : -ENOENT;
}

/* 0: it is so. */
static int expect(struct block_device *device, uint64_t start, unsigned state, uint64_t pointer)
{
	struct block_zone zone;
	int count = block_zone_report(device, start, &zone, 1);

	if (count < 0)
		return count;
	return zone.state == state && (state == BLOCK_ZONE_FULL || zone.pointer == pointer) ? 0 : -EILSEQ;
}

static int write_unit(struct block_device *device, const struct block_zone *zone, uint8_t *memory, uint64_t *sector)
{
	uint32_t bytes = device->zones.granularity;

	*sector = zone->start;
	if (zone->type == BLOCK_ZONE_SEQUENTIAL && device->zones.append_sectors >= bytes / BLOCK_SECTOR)
		return block_zone_append(device, sector, memory, bytes);
	return block_io(device, BLOCK_WRITE, *sector, memory, bytes);
}

const char *zone_trial(struct block_device *device, const struct block_zone *zone, uint8_t *memory, int *error)
{
	uint32_t bytes = device->zones.granularity;
	uint64_t start = zone->start, sector;

	memset(memory, 0x5a, bytes);
	memset(memory + bytes, 0, bytes);
	if ((*error = block_zone_do(device, BLOCK_ZONE_OPEN, start)) ||
	    (*error = expect(device, start, BLOCK_ZONE_EXPLICITLY_OPEN, start)))
		return "open";
	if ((*error = write_unit(device, zone, memory, &sector)) ||
	    (*error = block_io(device, BLOCK_READ, sector, memory + bytes, bytes)))
		return "write";
	*error = sector == start && !memcmp(memory, memory + bytes, bytes) ? 0 : -EILSEQ;
	if (*error || (*error = expect(device, start, BLOCK_ZONE_EXPLICITLY_OPEN, start + bytes / BLOCK_SECTOR)))
		return "data";
	if ((*error = block_zone_do(device, BLOCK_ZONE_CLOSE, start)) ||
	    (*error = expect(device, start, BLOCK_ZONE_CLOSED, start + bytes / BLOCK_SECTOR)))
		return "close";
	if ((*error = block_zone_do(device, BLOCK_ZONE_FINISH, start)) || (*error = expect(device, start, BLOCK_ZONE_FULL, 0)))
		return "finish";
	if ((*error = block_zone_do(device, BLOCK_ZONE_RESET, start)) ||
	    (*error = expect(device, start, BLOCK_ZONE_EMPTY, start)))
		return "reset";
	return NULL;
}
