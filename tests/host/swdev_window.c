/*
 * "Device Operation: DAX Window". As a real server does it: the bytes of a node are a file of the host's, which is mapped into the window, so
 * that both see the same bytes at once. What is not mapped cannot be accessed, nor can pages behind the end of the file: who tries is stopped
 * by the host.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <host.h>

#include "swdev_impl.h"
#include "swdev_window.h"

#define MAP_ALIGNMENT (1u << 26)

struct swdev_window *swdev_window_new(struct swdev *dev, uint64_t bytes)
{
	struct swdev_window *window = calloc(1, sizeof(*window));

	window->bytes = bytes;
	window->alignment = 12;
	window->memory = mmap(NULL, bytes ? bytes : 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (window->memory == MAP_FAILED)
		abort();
	host_device_memory(window->memory, bytes);
	dev->shm_base = (uintptr_t)window->memory;
	dev->shm_size = bytes;
	swdev_tree_of(dev)->window = window;
	return window;
}

void swdev_window_free(struct swdev_tree *tree)
{
	struct swdev_window *window = tree->window;

	if (!window)
		return;
	host_device_memory(NULL, 0);
	munmap(window->memory, window->bytes ? window->bytes : 4096);
	free(window);
}

static void forget(struct swdev_window *window, struct swdev_mapping *mapping)
{
	void *at = mmap(window->memory + mapping->at, mapping->length, PROT_NONE,
	                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (at == MAP_FAILED)
		abort();
	mapping->node = 0;
	window->count--;
}

void swdev_window_reset(struct swdev_tree *tree)
{
	struct swdev_window *window = tree->window;

	for (unsigned i = 0; window && i < 32; i++)
		if (window->mappings[i].node)
			forget(window, &window->mappings[i]);
}

void swdev_window_session(const struct swdev_window *window, uint32_t asked, uint8_t *answer)
{
	if (window->unsaid || !(asked & MAP_ALIGNMENT))
		return;
	put32(answer + 12, MAP_ALIGNMENT);
	put16(answer + 30, window->alignment);
}

/* The mapping of just that range, or a free one; NULL, and a violation: it overlaps another, or there is no room. */
static struct swdev_mapping *find(struct swdev *dev, uint64_t at, uint64_t length)
{
	struct swdev_window *window = swdev_tree_of(dev)->window;
	struct swdev_mapping *found = NULL;

	for (unsigned i = 0; i < 32; i++) {
		struct swdev_mapping *mapping = &window->mappings[i];

		if (mapping->node && mapping->at == at && mapping->length == length)
			return mapping;
		if (mapping->node && at < mapping->at + mapping->length && mapping->at < at + length)
			swdev_violation(dev, "mappings overlap at %#llx", (unsigned long long)at);
		if (!mapping->node)
			found = mapping;
	}
	return found;
}

int swdev_window_map(struct swdev *dev, unsigned node, const uint8_t *in)
{
	struct swdev_tree *tree = swdev_tree_of(dev);
	struct swdev_window *window = tree->window;
	uint64_t offset = get64(in + 8), length = get64(in + 16), flags = get64(in + 24), at = get64(in + 32);
	struct swdev_mapping *mapping;

	if (!window || window->unsaid) {
		swdev_violation(dev, "SETUPMAPPING without a window");
		return 38;
	}
	if ((offset | at) & ((UINT64_C(1) << window->alignment) - 1) || !length || length & 4095 || flags < 2 || flags > 3 ||
	    at > window->bytes || length > window->bytes - at) {
		swdev_violation(dev, "SETUPMAPPING of %#llx at %#llx, flags %u", (unsigned long long)length,
		                (unsigned long long)at, (unsigned)flags);
		return 22;
	}
	if (window->fails)
		return window->fails;
	mapping = find(dev, at, length);
	if (!mapping)
		return 28;
	swdev_tree_share(&tree->nodes[node]);
	if (mmap(window->memory + at, length, PROT_READ | (flags & SWDEV_MAP_WRITE ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED,
	         tree->nodes[node].shared - 1, (off_t)offset) == MAP_FAILED)
		return 22;
	window->count += !mapping->node;
	*mapping = (struct swdev_mapping){node + 1, offset, length, at};
	window->most = window->count > window->most ? window->count : window->most;
	window->maps++;
	if (window->at_map)
		window->at_map(dev);
	return 0;
}

int swdev_window_unmap(struct swdev *dev, const uint8_t *in, uint32_t length)
{
	struct swdev_window *window = swdev_tree_of(dev)->window;
	uint32_t count = get32(in);

	if (!window || !count || length != 4 + 16 * (uint64_t)count) {
		swdev_violation(dev, "REMOVEMAPPING of %u in %u bytes", count, length);
		return 22;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at, bytes;
		struct swdev_mapping *mapping;

		memcpy(&at, in + 4 + 16 * i, 8);
		memcpy(&bytes, in + 12 + 16 * i, 8);
		mapping = find(dev, at, bytes);
		if (!mapping || !mapping->node) {
			swdev_violation(dev, "REMOVEMAPPING at %#llx, where nothing is", (unsigned long long)at);
			return 22;
		}
		forget(window, mapping);
		window->unmaps++;
	}
	return 0;
}

/* ---- lies ---- */

static struct swdev_window *lie(struct swdev *dev, uint64_t bytes)
{
	dev->lies_told++;
	return swdev_window_new(dev, bytes);
}

static void no_bytes(struct swdev *dev) { lie(dev, 0); }
static void huge_units(struct swdev *dev) { lie(dev, 64u << 20)->alignment = 63; }
static void absurd_units(struct swdev *dev) { lie(dev, 64u << 20)->alignment = UINT16_MAX; }
static void maps_nothing(struct swdev *dev) { lie(dev, 64u << 20)->fails = 12; }

static void nowhere(struct swdev *dev)
{
	lie(dev, 64u << 20);
	dev->shm_base = 4096; /* where nothing can be mapped */
}

static void odd_place(struct swdev *dev)
{
	lie(dev, 64u << 20);
	dev->shm_base += 8;
}

#define FS .type = &swdev_fs, .works = true
static const struct swdev_lie lies[] = {
	{.name = "FUSE window of 0 bytes", FS, .setup = no_bytes, .says = "is of no use"},
	{.name = "FUSE window in units of 2^63", FS, .setup = huge_units, .says = "in units of 2^63"},
	{.name = "FUSE window in units of 2^65535", FS, .setup = absurd_units, .says = "in units of 2^65535"},
	{.name = "FUSE window out of reach", FS, .setup = nowhere, .says = "is of no use"},
	{.name = "FUSE window at no page", FS, .setup = odd_place, .says = "is of no use"},
	{.name = "FUSE window that maps nothing", FS, .setup = maps_nothing, .harmless = true},
	{},
};
SWDEV_LIES(lies);
