/*
 * "IOMMU device". Its requests are checked by the rules for drivers and for ranges; devices that are put behind it reach what it maps.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_iommu.h"

enum { F_INPUT_RANGE, F_DOMAIN_RANGE, F_MAP_UNMAP, F_PROBE = 4, F_BYPASS_CONFIG = 6 };
enum { OK = 0, INVAL = 4, RANGE = 5, NOENT = 6 };
enum { BYPASS = 36, PROBE_SIZE = 128 };
#define INPUT_LAST UINT64_C(0xffffffffff)
#define DOMAIN_FIRST 3u
#define DOMAIN_LAST 40u

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 8, .count = 1, .feature = -1},
	{.offset = 8, .width = 8, .count = 2, .feature = F_INPUT_RANGE},
	{.offset = 24, .width = 4, .count = 2, .feature = F_DOMAIN_RANGE},
	{.offset = 32, .width = 4, .count = 1, .feature = F_PROBE},
	{.offset = BYPASS, .width = 1, .count = 1, .feature = F_BYPASS_CONFIG, .writable = true},
	{.width = 0},
};

static struct swdev *the_iommu; /* of devices that are behind one */

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_remapper));
	put64(dev->config, ~UINT64_C(4095));
	put64(dev->config + 16, INPUT_LAST);
	put32(dev->config + 24, DOMAIN_FIRST);
	put32(dev->config + 28, DOMAIN_LAST);
	put32(dev->config + 32, PROBE_SIZE);
	dev->config[BYPASS] = 1;
}

static void release(struct swdev *dev)
{
	if (the_iommu == dev)
		the_iommu = NULL;
	free(dev->state);
}

/* "Device initialization": when the device is reset, endpoints are not attached to any domain. */
static void reset(struct swdev *dev)
{
	struct swdev_remapper *map = swdev_remapper(dev);

	memset(map->domain, 0, sizeof(map->domain));
	memset(map->mappings, 0, sizeof(map->mappings));
	map->bypass = 0;
	map->mapped = 0;
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	if (offset == BYPASS && dev->config[BYPASS] > 1)
		swdev_violation(dev, "%u written to bypass", dev->config[BYPASS]);
}

static unsigned endpoint_of(uint32_t number)
{
	return number >= 0x10 && number <= 0x20 && number % 8 == 0 ? (number - 0x10) / 8 : SWDEV_ENDPOINTS;
}

static bool exists(const struct swdev_remapper *map, uint32_t domain)
{
	for (unsigned i = 0; i < SWDEV_ENDPOINTS; i++)
		if (map->domain[i] == domain)
			return domain;
	return false;
}

static void drop(struct swdev_remapper *map, uint32_t domain)
{
	for (unsigned i = 0; i < SWDEV_MAPPINGS; i++)
		if (map->mappings[i].domain == domain) {
			map->mappings[i].domain = 0;
			map->mapped--;
		}
}

static uint8_t attach(struct swdev *dev, const uint8_t *request, bool on)
{
	struct swdev_remapper *map = swdev_remapper(dev);
	uint32_t domain = get32(request + 4);
	unsigned endpoint = endpoint_of(get32(request + 8));
	uint32_t former, bypass;

	bypass = get32(request + 12);
	if (bypass > (on && swdev_has(dev, F_BYPASS_CONFIG)) || get32(request + 16))
		swdev_violation(dev, "flags or reserved fields of an attachment");
	if (on && exists(map, domain) && bypass != (domain == map->bypass))
		swdev_violation(dev, "an attachment to domain %u which is%s in bypass mode", domain, bypass ? " not" : "");
	if (domain < DOMAIN_FIRST || domain > DOMAIN_LAST)
		swdev_violation(dev, "domain %u", domain);
	if (endpoint == SWDEV_ENDPOINTS)
		return NOENT;
	map->attaches += on;
	former = map->domain[endpoint];
	if (!on && former != domain)
		return INVAL;
	map->domain[endpoint] = on ? domain : 0;
	if (bypass)
		map->bypass = domain;
	if (former && !exists(map, former))
		drop(map, former);
	return OK;
}

static uint8_t map_range(struct swdev *dev, const uint8_t *request)
{
	struct swdev_remapper *map = swdev_remapper(dev);
	uint32_t domain = get32(request + 4), flags = get32(request + 32), slot = SWDEV_MAPPINGS;
	uint64_t first, last, phys;

	memcpy(&first, request + 8, 8);
	memcpy(&last, request + 16, 8);
	memcpy(&phys, request + 24, 8);
	if (last <= first || last > INPUT_LAST || !flags || flags & ~3u || !exists(map, domain))
		swdev_violation(dev, "map of %#llx to %#llx, flags %#x, in domain %u", (unsigned long long)first,
		                (unsigned long long)last, flags, domain);
	if ((first | phys | (last + 1)) & 4095)
		return RANGE;
	if (first < 0x8000 && last >= 0x4000) {
		swdev_violation(dev, "map of a reserved range");
		return INVAL;
	}
	for (unsigned i = 0; i < SWDEV_MAPPINGS; i++) {
		if (!map->mappings[i].domain)
			slot = i;
		else if (map->mappings[i].domain == domain && map->mappings[i].first <= last && map->mappings[i].last >= first) {
			swdev_violation(dev, "%#llx is mapped already", (unsigned long long)first);
			return INVAL;
		}
	}
	if (slot == SWDEV_MAPPINGS)
		return 8;
	map->mappings[slot].domain = domain;
	map->mappings[slot].flags = flags;
	map->mappings[slot].first = first;
	map->mappings[slot].last = last;
	map->mappings[slot].phys = phys;
	map->maps++;
	map->mapped++;
	return OK;
}

static uint8_t unmap_range(struct swdev *dev, const uint8_t *request)
{
	struct swdev_remapper *map = swdev_remapper(dev);
	uint32_t domain = get32(request + 4);
	uint64_t first, last;
	unsigned found = 0;

	memcpy(&first, request + 8, 8);
	memcpy(&last, request + 16, 8);
	if (last <= first || !exists(map, domain) || get32(request + 24))
		swdev_violation(dev, "unmap of %#llx to %#llx", (unsigned long long)first, (unsigned long long)last);
	for (unsigned i = 0; i < SWDEV_MAPPINGS; i++) {
		if (map->mappings[i].domain != domain || map->mappings[i].first > last || map->mappings[i].last < first)
			continue;
		if (map->mappings[i].first < first || map->mappings[i].last > last)
			swdev_violation(dev, "unmap in the middle of a mapping");
		map->mappings[i].domain = 0;
		map->mapped--;
		found++;
	}
	if (!found)
		swdev_violation(dev, "unmap of nothing, at %#llx", (unsigned long long)first);
	map->unmaps++;
	return OK;
}

/* A property that nobody knows, one with a reserved bit, a range of an unknown subtype; and nothing behind that. */
static void properties(uint8_t *out)
{
	memset(out, 0, PROBE_SIZE);
	put16(out, 0x77);
	put16(out + 2, 5);
	memset(out + 4, 0xff, 5);
	out += 9;
	memcpy(out, (uint16_t[]){0x8001, 20}, 4); /* a range, with a reserved bit: to be ignored */
	memcpy(out + 8, (uint64_t[]){0, INPUT_LAST}, 16);
	out += 24;
	memcpy(out, (uint16_t[]){1, 20}, 4);
	out[4] = 9;
	out[5] = 0xee; /* reserved */
	memcpy(out + 8, (uint64_t[]){0x4000, 0x7fff}, 16);
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	static const uint8_t sizes[] = {0, 20, 20, 36, 28, 72};
	struct swdev *dev = queue->dev;
	struct swdev_remapper *map = swdev_remapper(dev);
	uint8_t request[72] = {0}, answer[PROBE_SIZE + 4] = {0};
	uint32_t behind = 0;
	uint8_t type;

	if (queue->index == 1) {
		if (chain->readable || chain->writable_bytes < 24)
			swdev_violation(dev, "an event buffer of %u bytes", (unsigned)chain->writable_bytes);
		return false;
	}
	swdev_chain_read(chain, 0, request, sizeof(request));
	type = request[0];
	if (!type || type > 5 || chain->readable_bytes != sizes[type] || request[1] || request[2] || request[3]) {
		swdev_violation(dev, "request %u of %u bytes", type, (unsigned)chain->readable_bytes);
		return true;
	}
	if (type == 5)
		behind = PROBE_SIZE;
	if (chain->writable_bytes != behind + 4 && !dev->lie) /* of probe_size, maybe */
		swdev_violation(dev, "%u bytes for the answer to request %u", (unsigned)chain->writable_bytes, type);
	switch (map->fail ? 99 : type) {
	case 1:
	case 2:
		answer[behind] = attach(dev, request, type == 1);
		break;
	case 3:
		answer[behind] = map_range(dev, request);
		break;
	case 4:
		answer[behind] = unmap_range(dev, request);
		break;
	case 5:
		map->probes++;
		answer[behind] = endpoint_of(get32(request + 4)) == SWDEV_ENDPOINTS ? NOENT : OK;
		properties(answer);
		break;
	default:
		answer[behind] = map->fail;
	}
	answer[behind + 1] = 0xdd; /* reserved: no business of the driver's */
	*written = (uint32_t)swdev_chain_write(chain, 0, answer, behind + 4);
	return true;
}

void swdev_fault(struct swdev *iommu, uint8_t reason, uint32_t endpoint, uint64_t address, uint32_t flags, uint32_t reserved)
{
	struct swdev_chain *chain = swdev_take_held(&iommu->queues[1]);
	uint8_t report[24] = {reason, (uint8_t)reserved};

	swdev_remapper(iommu)->faults++;
	if (!chain)
		return;
	put32(report + 4, flags);
	put32(report + 8, endpoint);
	put32(report + 12, 0xabcdef);
	put64(report + 16, address);
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, report, sizeof(report)));
}

static uint64_t translate(struct swdev *dev, uint64_t address, uint64_t length)
{
	unsigned endpoint = endpoint_of(dev->dma.endpoint);
	const struct swdev_remapper *map = the_iommu ? swdev_remapper(the_iommu) : NULL;

	for (unsigned i = 0; map && i < SWDEV_MAPPINGS; i++)
		if (map->mappings[i].domain && map->mappings[i].domain == map->domain[endpoint] &&
		    address >= map->mappings[i].first && address + length - 1 <= map->mappings[i].last)
			return map->mappings[i].phys + (address - map->mappings[i].first);
	if (map)
		swdev_fault(the_iommu, 2, dev->dma.endpoint, address, 0x101, 0);
	return UINT64_MAX - length;
}

void swdev_behind(struct swdev *dev, struct swdev *iommu, uint32_t endpoint)
{
	the_iommu = iommu;
	dev->offered |= FEATURE(F_ACCESS_PLATFORM);
	dev->dma.has_endpoint = true;
	dev->dma.endpoint = endpoint;
	dev->translate = translate;
}

const struct swdev_type swdev_iommu = {
	.id = 23,
	.name = "iommu",
	.queues = 2,
	.features = FEATURE(F_INPUT_RANGE) | FEATURE(F_DOMAIN_RANGE) | FEATURE(F_MAP_UNMAP) | FEATURE(F_PROBE) |
                    FEATURE(F_BYPASS_CONFIG),
	.fields = fields,
	.config_size = 40,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.config_written = config_written,
};
