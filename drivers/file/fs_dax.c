/*
 * The DAX window: files' bytes in memory of the device's, copied from and to there instead of by requests.
 *
 * The window is cut into a few places of one size. A place shows a chunk of an open file: FUSE_SETUPMAPPING puts it there, and it stays until
 * the file is closed, is made smaller or is removed, or until the place that was used longest ago is wanted for another chunk. Only bytes
 * within the file are touched, so its size has to be known: what the server said about it counts as long as it says, then it is asked
 * again. All else goes by requests: what is at or behind the end, what the server maps not, what comes while others wait about the same place.
 *
 * Whoever waits finds another world: a place is `busy`, and nobody's, as long as a request is about it, and what was known before is worth
 * nothing when the `era` has changed. There is no waiting between the last look at both and the copy.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>

#include "fs_impl.h"

enum { MAP_WRITE = 1, MAP_READ = 2 };

#define WINDOW 0 /* "Shared memory region ID 0 is called the DAX window" */
#define CHUNK (UINT64_C(2) << 20)
#define TRUST_MAX_S 3600u

bool fs_dax_offered(struct fs *fs, struct virtio_shm *window) { return !virtio_shm_region(fs->vdev, WINDOW, window); }

void fs_dax_start(struct fs *fs, const struct virtio_shm *window, unsigned alignment)
{
	struct fs_dax *dax = &fs->dax;
	uint64_t count = 0;

	if (alignment < 63 && window->phys % PAGE_SIZE == 0) {
		dax->chunk = MAX(CHUNK, BIT64(alignment));
		count = MIN(window->length / dax->chunk, FS_PLACES);
	}
	/* "map this shared memory region with writeback caching as if it were regular RAM": as much of it as is used */
	dax->memory = count ? virtio_device_memory(fs->vdev, window->phys, count * dax->chunk) : NULL;
	dax->count = dax->memory ? (unsigned)count : 0;
	if (!dax->count)
		log_warn("%s: a window of %llu bytes at %#llx, in units of 2^%u, is of no use", fs->vdev->name,
		         (unsigned long long)window->length, (unsigned long long)window->phys, alignment);
}

/* Places that are busy stay so until those who wait see that all is over. */
void fs_dax_stop(struct fs *fs)
{
	struct fs_dax *dax = &fs->dax;

	dax->count = 0;
	dax->known_node = 0;
	dax->era++;
	for (unsigned i = 0; i < FS_PLACES; i++)
		dax->places[i].node = 0;
}

/* ---- sizes ---- */

void fs_dax_size(struct fs *fs, unsigned era, uint64_t node, uint64_t size, uint64_t seconds)
{
	struct fs_dax *dax = &fs->dax;

	if (era != dax->era)
		return;
	dax->known_node = node;
	dax->known_size = size;
	dax->known_until_ns = clock_ns() + MIN(seconds, TRUST_MAX_S) * UINT64_C(1000000000);
}

void fs_dax_wrote(struct fs *fs, unsigned era, uint64_t node, uint64_t end)
{
	struct fs_dax *dax = &fs->dax;

	if (era == dax->era && node == dax->known_node)
		dax->known_size = MAX(dax->known_size, end);
}

static uint64_t size_of(const struct file *file)
{
	const struct fs_dax *dax = &fs_of(file)->dax;
	struct file_info info;

	if (dax->known_node == file->id && clock_ns() < dax->known_until_ns)
		return dax->known_size;
	return fs_ops.stat(file, &info) ? 0 : info.size;
}

void fs_dax_hold(struct fs *fs, uint64_t node)
{
	fs->dax.held++;
	fs_dax_drop(fs, node, NULL);
}

void fs_dax_release(struct fs *fs)
{
	fs->dax.held--;
	fs->dax.era++;
	fs->dax.known_node = 0;
}

/* ---- mappings ---- */

static uint64_t place_offset(const struct fs_dax *dax, unsigned place) { return place * dax->chunk; }

/* FUSE_REMOVEMAPPING of these places, a bit each. They are forgotten first: from then on nobody touches them. */
static void unmap(struct fs *fs, uint32_t places)
{
	struct fs_dax *dax = &fs->dax;
	struct virtio_call *call = fs_begin(fs, FUSE_REMOVEMAPPING, ROOT);
	unsigned count = 0;

	for (uint32_t left = places; left; left &= left - 1)
		count++;
	put(call, count, 4);
	for (unsigned i = 0; i < FS_PLACES; i++) {
		if (!(places & 1u << i))
			continue;
		put(call, place_offset(dax, i), 8);
		put(call, dax->chunk, 8);
		dax->places[i].node = 0;
		dax->places[i].busy = true;
	}
	/* Where it fails, what is mapped stays until another takes its place: mappings may overlap, the new one counts. */
	[[maybe_unused]] int error = fs_exchange_plain(fs, call);

	for (unsigned i = 0; i < FS_PLACES; i++)
		if (places & 1u << i)
			dax->places[i].busy = false;
}

void fs_dax_drop(struct fs *fs, uint64_t node, const uint64_t *handle)
{
	struct fs_dax *dax = &fs->dax;
	uint32_t places = 0;

	dax->era++;
	for (unsigned i = 0; i < dax->count; i++) {
		const struct fs_place *place = &dax->places[i];

		if (place->node == node && (!handle || place->handle == *handle))
			places |= 1u << i;
	}
	if (places)
		unmap(fs, places);
}

/* FUSE_SETUPMAPPING into a place that is free, or was used longest ago. NULL: not now. */
static struct fs_place *map(const struct file *file, uint64_t offset)
{
	struct fs *fs = fs_of(file);
	struct fs_dax *dax = &fs->dax;
	struct fs_place *place = NULL;
	struct virtio_call *call;
	unsigned index;
	int error;

	for (unsigned i = 0; i < dax->count; i++) {
		struct fs_place *other = &dax->places[i];

		if (other->busy)
			continue;
		if (!place || (place->node && (!other->node || (int)(other->used - place->used) < 0)))
			place = other;
	}
	if (!place)
		return NULL;
	index = (unsigned)(place - dax->places);
	if (place->node)
		unmap(fs, 1u << index);
	if (file->stale)
		return NULL;
	place->busy = true;
	call = fs_begin(fs, FUSE_SETUPMAPPING, file->id);
	put(call, file->handle, 8);
	put(call, offset, 8);
	put(call, dax->chunk, 8);
	put(call, MAP_READ | (file->rights & FILE_WRITE ? MAP_WRITE : 0), 8);
	put(call, place_offset(dax, index), 8);
	error = fs_exchange_plain(fs, call);
	place->busy = false;
	if (error || file->stale)
		return NULL;
	place->node = file->id;
	place->handle = file->handle;
	place->offset = offset;
	return place;
}

static struct fs_place *place_of(const struct file *file, uint64_t offset)
{
	struct fs_dax *dax = &fs_of(file)->dax;

	for (unsigned i = 0; i < dax->count; i++) {
		struct fs_place *place = &dax->places[i];

		if (place->node == file->id && place->handle == file->handle && place->offset == offset)
			return place;
	}
	return map(file, offset);
}

int fs_dax_copy(const struct file *file, uint64_t offset, void *memory, uint32_t length, bool write)
{
	struct fs_dax *dax = &fs_of(file)->dax;
	unsigned needs = FILE_READ | (write ? FILE_WRITE : 0), era = dax->era;
	struct fs_place *place = NULL;
	uint64_t size, at;
	uint8_t *window;

	if (!dax->count || dax->held || (file->rights & needs) != needs)
		return 0;
	size = size_of(file);
	if (!file->stale && offset < size)
		place = place_of(file, ALIGN_DOWN(offset, dax->chunk));
	if (file->stale)
		return -EIO;
	if (!place || era != dax->era)
		return 0;
	/* "The driver MUST NOT access DAX window areas that have not been mapped": the answer is there, and so the mapping. What is written
	 * here is visible before the device sees any later request, as all memory is that a request is about. */
	at = offset - place->offset;
	window = dax->memory + place_offset(dax, (unsigned)(place - dax->places)) + at;
	length = (uint32_t)MIN(MIN((uint64_t)length, size - offset), dax->chunk - at);
	place->used = ++dax->uses;
	if (write)
		memcpy(window, memory, length);
	else
		memcpy(memory, window, length);
	return (int)length;
}
