/*
 * Disks.
 *
 * The first megabyte is read block by block, the simplest way there is; all other ways to read it have to give the same. What
 * must fail has to fail, and the next good request has to work. Requests are waited for with a bound: a device that never answers
 * fails its tests, and since it still owns the request's memory, the rest of them is left out.
 */
#include "selftest_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <base/util.h>

#include "pattern.h"

static void disk_done(struct block_request *request) { ((struct disk *)request->context)->answered = true; }

int disk_submit(struct disk *disk, struct block_request request)
{
	if (!disk->answered)
		return -ETIMEDOUT;
	disk->answered = false;
	disk->request = request;
	disk->request.done = disk_done;
	disk->request.context = disk;
	block_submit(disk->device, &disk->request);
	return loop_wait(&disk->answered, PATIENCE_NS) ? disk->request.status : -ETIMEDOUT;
}

/* One request, of the first `count` of disk->segments. */
static int disk_request(struct disk *disk, enum block_op op, uint64_t sector, unsigned count)
{
	return disk_submit(disk,
	                   (struct block_request){.op = op, .sector = sector, .segments = disk->segments, .segment_count = count});
}

int disk_io(struct disk *disk, enum block_op op, uint64_t sector, void *memory, uint32_t length)
{
	if (!disk->answered)
		return -ETIMEDOUT;
	disk->segments[0] = (struct dma_buf){memory, length};
	return disk_request(disk, op, sector, length ? 1 : 0);
}

bool disk_report(bool ok, int error, const char *name, const char *what)
{
	if (!tap_ok(ok, "%s %s", name, what))
		tap_detail("error: %d", error);
	return ok;
}

/* Is the first block still readable, as it was? */
static bool disk_is_well(struct disk *disk)
{
	memset(disk->data, 0xa5, disk->block);
	return !disk_io(disk, BLOCK_READ, 0, disk->data, disk->block) && !memcmp(disk->data, disk->reference, disk->block);
}

static bool test_reference(struct disk *disk)
{
	int error = 0;

	for (uint32_t at = 0; !error && at < disk->region; at += disk->block)
		error = disk_io(disk, BLOCK_READ, at / BLOCK_SECTOR, disk->reference + at, disk->block);
	return disk_report(!error, error, disk->name, "reads its first blocks one by one");
}

/* Alone, and at the end of a longer read. */
static void test_last(struct disk *disk)
{
	uint32_t length = MIN(disk->region, 8 * disk->block);
	uint8_t *longer = disk->data + disk->block;
	int error = disk_io(disk, BLOCK_READ, (disk->bytes - disk->block) / BLOCK_SECTOR, disk->data, disk->block);

	if (!error)
		error = disk_io(disk, BLOCK_READ, (disk->bytes - length) / BLOCK_SECTOR, longer, length);
	disk_report(!error && !memcmp(disk->data, longer + length - disk->block, disk->block), error, disk->name,
	            "reads its last block");
}

#define REQUESTS_EACH 64u

static void test_sizes(struct disk *disk)
{
	static const uint16_t sizes[] = {1, 2, 3, 7, 8, 9, 63, 64, 127, 128, 129, 255, 256, 1000, 2048}; /* blocks */
	uint32_t wrong = 0;
	int error = 0;

	for (unsigned i = 0; !error && i < ARRAY_SIZE(sizes); i++) {
		uint32_t bytes = MIN(sizes[i] * disk->block, disk->region), end = MIN(REQUESTS_EACH * bytes, disk->region);

		memset(disk->data, 0xa5, end);
		for (uint32_t at = 0; !error && at < end; at += bytes)
			error = disk_io(disk, BLOCK_READ, at / BLOCK_SECTOR, disk->data + at, MIN(bytes, end - at));
		if (memcmp(disk->data, disk->reference, end))
			wrong = bytes;
	}
	if (!disk_report(!error && !wrong, error, disk->name, "reads the same in requests of one block to 1 MiB"))
		tap_detail("differs in requests of: %u", wrong);
}

static void test_sweep_read(struct disk *disk)
{
	struct sweep sweep = {.device = disk->device,
	                      .op = BLOCK_READ,
	                      .bytes = disk->region,
	                      .reference = disk->reference,
	                      .shape_seed = 3};
	bool finished = sweep_run(&sweep);

	if (!tap_ok(finished && !sweep.errors && !sweep.wrong, "%s reads the same in scatter lists, up to 128 at a time",
	            disk->name))
		tap_detail("done: %lu of %lu, errors: %lu, wrong: %lu, at: %lu", sweep.done, sweep.requests, sweep.errors,
		           sweep.wrong, sweep.first_bad);
}

/* Many short pieces, of odd lengths and alignments, and one long. */
static void test_scatter(struct disk *disk)
{
	uint32_t at = 0, total = MIN(disk->region, 256u * 1024u) / disk->block * disk->block;
	unsigned count = 0;
	int error = -ETIMEDOUT;

	if (disk->answered) {
		while (count < ARRAY_SIZE(disk->segments) - 1 && at + 1024 < total) {
			uint32_t length = 1 + (uint32_t)(pattern_word(4, count) % 1021);

			disk->segments[count++] = (struct dma_buf){disk->data + at, length};
			at += length;
		}
		disk->segments[count++] = (struct dma_buf){disk->data + at, total - at};
		memset(disk->data, 0xa5, disk->region);
		error = disk_request(disk, BLOCK_READ, 0, count);
	}
	disk_report(!error && !memcmp(disk->data, disk->reference, total), error, disk->name, "reads into a long scatter list");
}

static void test_id(struct disk *disk)
{
	char id[BLOCK_ID_BYTES + 1] = "", text[6 * BLOCK_ID_BYTES + 1];
	int error;

	memset(disk->data, 0, BLOCK_ID_BYTES);
	error = disk_io(disk, BLOCK_GET_ID, 0, disk->data, BLOCK_ID_BYTES);
	if (error == -ENOTSUP) {
		tap_skip("the device has none", "%s tells its id", disk->name);
		return;
	}
	memcpy(id, disk->data, BLOCK_ID_BYTES);
	if (disk_report(!error, error, disk->name, "tells its id"))
		record("{\"event\":\"id\",\"device\":\"%s\",\"id\":\"%s\"}", disk->name, json_string(text, sizeof(text), id));
}

static void test_flush(struct disk *disk)
{
	int error;

	if (!disk->device->can_flush) {
		tap_skip("not offered", "%s flushes", disk->name);
		return;
	}
	error = disk_io(disk, BLOCK_FLUSH, 0, NULL, 0);
	disk_report(!error, error, disk->name, "flushes");
}

static void test_refusals(struct disk *disk)
{
	const uint64_t step = disk->block / BLOCK_SECTOR, last = disk->bytes / BLOCK_SECTOR - step;
	int error = disk_io(disk, BLOCK_READ, ALIGN_UP(disk->device->capacity, step), disk->data, disk->block);

	disk_report(error == -ERANGE, error, disk->name, "refuses a read past the end");
	error = disk_io(disk, BLOCK_READ, last, disk->data, 2 * disk->block);
	disk_report(error == -ERANGE, error, disk->name, "refuses a read across the end");
	error = disk_io(disk, BLOCK_READ, 0 - step, disk->data, disk->block);
	disk_report(error == -ERANGE, error, disk->name, "refuses a read at the end of all numbers");
	error = disk_io(disk, BLOCK_READ, 0, disk->data, disk->block - 1);
	disk_report(error == -EINVAL, error, disk->name, "refuses a part of a block");
	error = disk_io(disk, BLOCK_READ, 0, disk->data, 0);
	disk_report(error == -EINVAL, error, disk->name, "refuses a read of nothing");
	if (disk->device->read_only) {
		memcpy(disk->data, disk->reference, disk->block);
		error = disk_io(disk, BLOCK_WRITE, 0, disk->data, disk->block);
		disk_report(error == -EROFS, error, disk->name, "is read-only and refuses a write");
	}
	tap_ok(disk_is_well(disk), "%s works on after refusals", disk->name);
}

/* Of a disk that fails now and then: each request ends, most work, and what failed works later. */
static void test_errors(struct disk *disk, uint64_t count)
{
	uint64_t blocks = disk->bytes / disk->block, errors = 0, stuck = 0, other = 0;

	for (uint64_t i = 0; i < count && disk->answered; i++) {
		uint64_t sector = i % blocks * (disk->block / BLOCK_SECTOR);
		int error = disk_io(disk, BLOCK_READ, sector, disk->data, disk->block);

		if (!error)
			continue;
		errors++;
		other += error != -EIO;
		stuck += disk_io(disk, BLOCK_READ, sector, disk->data, disk->block) != 0;
	}
	record("{\"event\":\"errors\",\"device\":\"%s\",\"requests\":%lu,\"errors\":%lu,\"repeated\":%lu}", disk->name, count,
	       errors, stuck);
	tap_ok(disk->answered && errors && !other, "%s ends requests that fail with an error", disk->name);
	tap_ok(disk->answered && errors > stuck, "%s works on after an error", disk->name);
}

static bool sweep_report(struct sweep *sweep, const char *name, const char *what)
{
	if (tap_ok(sweep_run(sweep) && !sweep->errors && !sweep->wrong, "%s %s %lu bytes of the pattern", name, what,
	           sweep->bytes))
		return true;
	tap_detail("done: %lu of %lu requests", sweep->done, sweep->requests);
	tap_detail("errors: %lu, wrong: %lu, first at: %lu, error: %d", sweep->errors, sweep->wrong, sweep->first_bad,
	           sweep->first_error);
	return false;
}

static void test_write(struct disk *disk)
{
	uint64_t seed = selftest_option("seed", 1), limit = selftest_option("bytes", disk->bytes);
	struct sweep sweep = {
		.device = disk->device,
		.op = BLOCK_WRITE,
		.bytes = MIN(limit, disk->bytes) / disk->block * disk->block,
		.data_seed = seed,
		.shape_seed = ~seed,
	};
	struct sweep check = sweep;

	if (!sweep_report(&sweep, disk->name, "writes"))
		return;
	record("{\"event\":\"pattern\",\"device\":\"%s\",\"seed\":%lu,\"bytes\":%lu,\"requests\":%lu,\"segments\":%lu}",
	       disk->name, seed, sweep.bytes, sweep.requests, sweep.segments);
	test_flush(disk);
	check.op = BLOCK_READ;
	check.shape_seed = ~seed + 1;
	sweep_report(&check, disk->name, "reads back");
}

static void test_hash(struct disk *disk)
{
	uint64_t at = 0;
	uint32_t crc = 0;
	int error = 0;

	while (at < disk->bytes && !error) {
		uint32_t length = (uint32_t)MIN(disk->bytes - at, DISK_BUFFER_BYTES);

		error = disk_io(disk, BLOCK_READ, at / BLOCK_SECTOR, disk->data, length);
		crc = crc32_update(crc, disk->data, length);
		at += length;
	}
	if (disk_report(!error, error, disk->name, "reads to its end"))
		record("{\"event\":\"hash\",\"device\":\"%s\",\"bytes\":%lu,\"crc32\":\"0x%08x\"}", disk->name, disk->bytes, crc);
}

static void test_disk(struct disk *disk)
{
	uint64_t errors = selftest_option("errors", 0);

	if (errors) {
		test_errors(disk, errors);
		return;
	}
	if (!test_reference(disk))
		return;
	test_last(disk);
	test_sizes(disk);
	test_scatter(disk);
	test_sweep_read(disk);
	test_id(disk);
	test_flush(disk);
	test_refusals(disk);
	selftest_disk(disk, selftest_option("write", 0) && !disk->device->read_only);
	if (selftest_option("write", 0) && disk->answered && !disk->device->zones.model) {
		if (disk->device->read_only)
			tap_skip("read-only", "%s writes the pattern", disk->name);
		else
			test_write(disk);
	}
	if (selftest_option("hash", 0))
		test_hash(disk);
}

static void test_one_block(struct block_device *device)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (!tap_ok(device->capacity >= device->block_size / BLOCK_SECTOR && device->block_size % BLOCK_SECTOR == 0 &&
	                    device->block_size,
	            "%s has a capacity and a block size", device->node.name) ||
	    !disk) {
		tap_detail("sectors: %lu, block size: %u", device->capacity, device->block_size);
		free(disk);
		return;
	}
	*disk = (struct disk){.device = device, .name = device->node.name, .block = device->block_size, .answered = true};
	disk->bytes = device->capacity * BLOCK_SECTOR / disk->block * disk->block;
	disk->region = (uint32_t)MIN(disk->bytes, DISK_BUFFER_BYTES / disk->block * disk->block);
	disk->reference = page_alloc(DISK_BUFFER_BYTES, PAGE_SIZE);
	disk->data = page_alloc(DISK_BUFFER_BYTES, PAGE_SIZE);
	if (disk->reference && disk->data)
		test_disk(disk);
	else
		tap_ok(false, "%s gets memory for its tests", disk->name);
	if (!disk->answered)
		return; /* the device still has the memory */
	if (disk->data)
		page_free(disk->data, DISK_BUFFER_BYTES);
	if (disk->reference)
		page_free(disk->reference, DISK_BUFFER_BYTES);
	free(disk);
}

/* The disk of that name, or those of a host of that name: scsi0.TARGET.LUN. */
static void test_block(const char *name)
{
	size_t length = strlen(name);
	struct block_device *next;

	for (struct block_device *device = block_find(NULL); device; device = next) {
		next = block_next(device);
		if (!strncmp(device->node.name, name, length) && (!device->node.name[length] || device->node.name[length] == '.'))
			test_one_block(device);
	}
}

SELFTEST(block, test_block);
