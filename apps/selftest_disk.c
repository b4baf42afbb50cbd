/*
 * What only some disks have: ranges to discard, zero and erase, a cache to switch, a lifetime, zones. What is not offered is not mentioned.
 *
 * A range is tried between two blocks that have to stay as they are, and what was there is put back.
 */
#include "selftest_disk.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/tap.h>

#include "zone_trial.h"

static int range(struct disk *disk, enum block_op op, uint64_t sector, uint64_t sectors)
{
	return disk_submit(disk, (struct block_request){.op = op, .sector = sector, .sectors = sectors});
}

static void test_range(struct disk *disk, enum block_op op, const struct block_range_limits *limits, const char *what)
{
	uint64_t block = disk->block / BLOCK_SECTOR, unit = MAX(MAX(limits->alignment, block), 64u), at;
	uint32_t bytes = (uint32_t)MIN((unit + 2 * block) * BLOCK_SECTOR, UINT32_MAX), inner = bytes - 2 * disk->block;
	bool wrong = false;
	int error, late;

	if (!limits->max_sectors || bytes > DISK_BUFFER_BYTES / 2 || disk->bytes < 4ull * bytes || unit % block)
		return;
	at = ALIGN_UP(disk->bytes / BLOCK_SECTOR / 2, unit); /* and a block before it */
	error = disk_io(disk, BLOCK_READ, at - block, disk->data, bytes);
	memset(disk->data + DISK_BUFFER_BYTES / 2, 0x5a, bytes);
	if (!error)
		error = disk_io(disk, BLOCK_WRITE, at - block, disk->data + DISK_BUFFER_BYTES / 2, bytes);
	if (error) {
		disk_report(false, error, disk->name, what);
		return;
	}
	error = range(disk, op, at, unit);
	late = disk_io(disk, BLOCK_READ, at - block, disk->data + DISK_BUFFER_BYTES / 2, bytes);
	for (uint32_t i = 0; i < bytes; i++) {
		bool inside = i >= disk->block && i < disk->block + inner;

		/* Of what was discarded, or erased, nothing may be relied on. */
		if (!inside || op == BLOCK_WRITE_ZEROES)
			wrong |= disk->data[DISK_BUFFER_BYTES / 2 + i] != (inside ? 0 : 0x5a);
	}
	error = error ? error : late;
	late = disk_io(disk, BLOCK_WRITE, at - block, disk->data, bytes);
	disk_report(!error && !late && !wrong, error ? error : late, disk->name, what);
}

static void test_lifetime(struct disk *disk)
{
	int error = disk_io(disk, BLOCK_GET_LIFETIME, 0, disk->data, BLOCK_LIFETIME_BYTES);

	disk_report(!error, error, disk->name, "tells its lifetime");
}

static void test_cache(struct disk *disk)
{
	bool former = disk->device->writeback;
	int error = block_set_writeback(disk->device, !former);

	if (error == -ENOTSUP)
		return;
	if (!error)
		error = disk_io(disk, BLOCK_FLUSH, 0, NULL, 0);
	if (!error)
		error = block_set_writeback(disk->device, former);
	disk_report(!error && disk->device->writeback == former, error, disk->name, "switches its write cache");
}

static void test_zones(struct disk *disk, bool write)
{
	const char *failed = NULL;
	struct block_zone zone;
	int error = zone_find_empty(disk->device, &zone);

	disk_report(!error || error == -ENOENT, error, disk->name, "reports its zones");
	if (error || !write || disk->device->zones.granularity > DISK_BUFFER_BYTES / 2)
		return;
	failed = zone_trial(disk->device, &zone, disk->data, &error);
	if (!disk_report(!failed, error, disk->name, "opens, writes, finishes and resets a zone"))
		tap_detail("at: %s", failed);
}

void selftest_disk(struct disk *disk, bool write)
{
	struct block_device *device = disk->device;

	if (device->has_lifetime)
		test_lifetime(disk);
	if (device->zones.model)
		test_zones(disk, write);
	if (!write)
		return;
	test_cache(disk);
	if (device->zones.model)
		return;
	test_range(disk, BLOCK_DISCARD, &device->discard, "discards");
	test_range(disk, BLOCK_WRITE_ZEROES, &device->write_zeroes, "writes zeroes");
	test_range(disk, BLOCK_SECURE_ERASE, &device->secure_erase, "erases securely");
}
