/*
 * See bounce.h. The window is one allocation, cut into units; a mapping has whole units and leaves a free one behind it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/dma.h>
#include <base/page.h>
#include <base/poison.h>
#include <base/util.h>

#include "bounce.h"
#include "swdev_impl.h"

#define FIRST_ADDRESS UINT64_C(0x6b00000000000)
#define UNIT 64u
#define WINDOW_BYTES (3u << 20)
#define JUNK 0xa5

/* What begins at a unit; size 0: nothing does. */
struct piece {
	size_t size;
	uint8_t *shared, *original; /* original NULL: allocated */
	enum dma_dir dir;
};

struct bounce_counts bounce_counts;

static struct swdev *owner;
static uint8_t *window;
static size_t units, cursor, mapped_bytes, mapped_limit;
static struct piece *pieces;                                  /* by unit, */
static uint32_t *heads;                                       /* and to which piece a unit belongs: its index + 1; 0: free */
static unsigned map_first, map_last, alloc_first, alloc_last; /* calls that are refused */

static size_t units_of(size_t size) { return (size + UNIT - 1) / UNIT + 1; }

/* Units in a row that are free, the search going round; SIZE_MAX: none. */
static size_t find_room(size_t want, size_t alignment)
{
	size_t step = MAX(alignment / UNIT, 1u);

	for (size_t tried = 0, at = ALIGN_UP(cursor, step); tried <= units; tried += step, at += step) {
		size_t run = 0;

		if (at + want > units)
			at = 0;
		while (run < want && at + run < units && !heads[at + run])
			run++;
		if (run == want)
			return at;
	}
	return SIZE_MAX;
}

static struct piece *take_room(size_t size, size_t alignment, size_t skew)
{
	size_t want = units_of(skew + size), at = find_room(want, alignment);

	if (at == SIZE_MAX)
		return NULL;
	for (size_t i = 0; i < want; i++)
		heads[at + i] = (uint32_t)at + 1;
	cursor = at + want;
	pieces[at] = (struct piece){.size = size, .shared = window + at * UNIT + skew};
	memory_unpoison(pieces[at].shared, size);
	return &pieces[at];
}

static void give_back(struct piece *piece)
{
	size_t at = (size_t)(piece - pieces);

	memset(piece->shared, JUNK, piece->size);
	memory_poison(window + at * UNIT, units_of((size_t)(piece->shared - (window + at * UNIT)) + piece->size) * UNIT);
	for (size_t i = at; i < units && heads[i] == at + 1; i++)
		heads[i] = 0;
	*piece = (struct piece){};
}

static dma_addr_t address_of(const struct piece *piece) { return FIRST_ADDRESS + (dma_addr_t)(piece->shared - window); }

/* The piece in which the address lies; NULL: none. */
static struct piece *piece_at(uint64_t address)
{
	uint64_t offset = address - FIRST_ADDRESS;

	return address >= FIRST_ADDRESS && offset < WINDOW_BYTES && heads[offset / UNIT] ? &pieces[heads[offset / UNIT] - 1]
	                                                                                 : NULL;
}

/* The same, where the address is its first; a violation otherwise. */
static struct piece *piece_from(uint64_t address, size_t size, const char *what)
{
	struct piece *piece = piece_at(address);

	if (piece && address_of(piece) == address && piece->size == size)
		return piece;
	swdev_violation(owner, "%s of %zu bytes at %#llx, where %zu are", what, size, (unsigned long long)address,
	                piece ? piece->size : 0);
	return NULL;
}

static bool is_refused(unsigned call, unsigned first, unsigned last)
{
	bool refused = call >= first && call < last;

	bounce_counts.failed += refused;
	return refused;
}

static void *alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *address)
{
	struct piece *piece;

	(void)dma;
	if (is_refused(++bounce_counts.allocs, alloc_first, alloc_last))
		return NULL;
	piece = take_room(size, MAX(alignment, PAGE_SIZE), 0);
	if (!piece)
		return NULL;
	memset(piece->shared, 0, size);
	bounce_counts.allocated++;
	*address = address_of(piece);
	return piece->shared;
}

static void release(struct dma_device *dma, void *memory, size_t size, dma_addr_t address)
{
	struct piece *piece = piece_from(address, size, "free()");

	(void)dma;
	if (!piece)
		return;
	if (piece->original || piece->shared != memory)
		swdev_violation(owner, "free() of memory that was not allocated");
	bounce_counts.allocated--;
	give_back(piece);
}

static dma_addr_t map(struct dma_device *dma, void *memory, size_t size, enum dma_dir dir)
{
	struct piece *piece;

	(void)dma;
	if (is_refused(++bounce_counts.maps, map_first, map_last))
		return DMA_ERROR;
	if (memory_is_poisoned(memory, size))
		swdev_violation(owner, "map() of %zu bytes, some of which are free or mapped already", size);
	piece = size > mapped_limit - mapped_bytes ? NULL : take_room(size, 1, (uintptr_t)memory % 8);
	if (!piece) {
		bounce_counts.failed++;
		return DMA_ERROR;
	}
	piece->original = memory;
	piece->dir = dir;
	/* What the device does not write is junk, not what the driver had there. */
	if (dir == DMA_TO_DEVICE)
		memcpy(piece->shared, memory, size);
	else
		memset(piece->shared, JUNK, size);
	memory_poison(memory, size);
	mapped_bytes += size;
	bounce_counts.mapped++;
	return address_of(piece);
}

static void unmap(struct dma_device *dma, dma_addr_t address, size_t size, enum dma_dir dir)
{
	struct piece *piece = piece_from(address, size, "unmap()");

	(void)dma;
	if (!piece)
		return;
	if (!piece->original || piece->dir != dir)
		swdev_violation(owner, "unmap() of what was not mapped so");
	memory_unpoison(piece->original, size);
	if (dir == DMA_FROM_DEVICE)
		memcpy(piece->original, piece->shared, size);
	else if (memcmp(piece->original, piece->shared, size))
		swdev_violation(owner, "%zu bytes for the device changed while they were mapped", size);
	mapped_bytes -= size;
	bounce_counts.mapped--;
	give_back(piece);
}

static const struct dma_ops ops = {.alloc = alloc, .free = release, .map = map, .unmap = unmap};

/* What the device does with an address. */
static uint64_t translate(struct swdev *dev, uint64_t address, uint64_t length)
{
	const struct piece *piece = piece_at(address);
	uint64_t offset = piece ? address - address_of(piece) : 0;

	(void)dev;
	if (!piece || address < address_of(piece) || offset > piece->size || length > piece->size - offset)
		return 0; /* nowhere */
	return (uintptr_t)piece->shared + offset;
}

void bounce_open(struct swdev *dev)
{
	owner = dev;
	units = WINDOW_BYTES / UNIT;
	cursor = mapped_bytes = 0;
	mapped_limit = SIZE_MAX;
	window = page_alloc(WINDOW_BYTES, PAGE_SIZE);
	pieces = calloc(units, sizeof(*pieces));
	heads = calloc(units, sizeof(*heads));
	assert_non_null(window);
	memory_poison(window, WINDOW_BYTES);
	bounce_counts = (struct bounce_counts){};
	map_first = map_last = alloc_first = alloc_last = 0;
	dev->offered |= FEATURE(F_ACCESS_PLATFORM);
	dev->dma.ops = &ops;
	dev->translate = translate;
}

void bounce_limit(size_t bytes) { mapped_limit = bytes; }

void bounce_fail_maps(unsigned first, unsigned count)
{
	map_first = bounce_counts.maps + first;
	map_last = map_first + count;
}

void bounce_fail_allocs(unsigned first, unsigned count)
{
	alloc_first = bounce_counts.allocs + first;
	alloc_last = alloc_first + count;
}

void bounce_close(void)
{
	memory_unpoison(window, WINDOW_BYTES);
	page_free(window, WINDOW_BYTES);
	free(pieces);
	free(heads);
	if (bounce_counts.mapped || bounce_counts.allocated)
		fail_msg("%u mappings and %u allocations are left", bounce_counts.mapped, bounce_counts.allocated);
}
