/*
 * See archives.h. What does not fit ends the test.
 */
#include "archives.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void put(struct archive_writer *w, const void *bytes, size_t size)
{
	assert(size <= (size_t)(w->end - w->at));
	memcpy(w->at, bytes, size);
	w->at += size;
}

static void pad(struct archive_writer *w, size_t alignment)
{
	while ((size_t)(w->at - w->start) % alignment)
		put(w, "", 1);
}

void cpio_put(struct archive_writer *w, const char *name, unsigned mode, const void *data, size_t size, unsigned ino,
              unsigned links)
{
	char header[111];

	snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, mode, 0, 0, links,
	         1234567, (unsigned)size, 0, 3, 0, 0, (unsigned)strlen(name) + 1, 0);
	put(w, header, 110);
	put(w, name, strlen(name) + 1);
	pad(w, 4);
	put(w, data, size);
	pad(w, 4);
}

void cpio_end(struct archive_writer *w) { cpio_put(w, "TRAILER!!!", 0, "", 0, 0, 1); }

void tar_put(struct archive_writer *w, const char *name, char type, const char *target, const void *data, size_t size)
{
	char block[513] = {0};
	unsigned sum = 0;

	memcpy(block, name, strnlen(name, 100));
	snprintf(block + 100, 8, "%07o", 0640u);
	snprintf(block + 124, 12, "%011o", (unsigned)size);
	snprintf(block + 136, 12, "%011o", 7654321u);
	memset(block + 148, ' ', 8);
	block[156] = type;
	memcpy(block + 157, target, strnlen(target, 100));
	memcpy(block + 257,
	       "ustar\0"
	       "00",
	       8);
	for (unsigned i = 0; i < 512; i++)
		sum += (uint8_t)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	put(w, block, 512);
	put(w, data, size);
	pad(w, 512);
}

void tar_end(struct archive_writer *w)
{
	static const uint8_t zeros[1024];

	put(w, zeros, sizeof(zeros));
}
