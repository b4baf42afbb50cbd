/*
 * Between selftest_block.c, the tests of any disk, and selftest_disk.c: what only some disks have.
 */
#ifndef APPS_SELFTEST_DISK_H
#define APPS_SELFTEST_DISK_H

#include "selftest.h"

#define DISK_BUFFER_BYTES (1024u * 1024u)

struct disk {
	struct block_device *device;
	const char *name;
	uint32_t block;  /* bytes */
	uint64_t bytes;  /* of the disk */
	uint32_t region; /* bytes at its start that `reference` holds */
	uint8_t *reference, *data;
	/* With the device until it answers. */
	struct block_request request;
	struct dma_buf segments[200];
	bool answered;
};

/* Carry out a request, but for its done(). -ETIMEDOUT: no answer; no further one is made then. */
int disk_submit(struct disk *disk, struct block_request request);
int disk_io(struct disk *disk, enum block_op op, uint64_t sector, void *memory, uint32_t length);
bool disk_report(bool ok, int error, const char *name, const char *what);

/* What is offered of lifetime and zones; and with `write` what leaves the disk as it was: ranges, the cache switch, a zone that was empty. */
void selftest_disk(struct disk *disk, bool write);

#endif
