/*
 * Archives in memory, read where they lie: cpio ("newc", as initramfs has it, also several in a row) and tar (ustar, with the long
 * names of GNU and pax).
 */
#ifndef BASE_ARCHIVE_H
#define BASE_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>

#define ARCHIVE_NAME_MAX 1023u

enum archive_kind { ARCHIVE_FILE, ARCHIVE_FOLDER, ARCHIVE_LINK };

struct archive {
	const uint8_t *start, *end, *at;
	bool tar;
	const char *problem; /* why archive_next() ended before the end; NULL: it did not */
	/* The entry. */
	char name[ARCHIVE_NAME_MAX + 1];
	enum archive_kind kind;
	uint32_t mode;       /* permission bits */
	uint64_t mtime;      /* seconds since 1970 */
	const uint8_t *data; /* a file's bytes, or the target of a link, without a NUL */
	uint64_t size;
	uint64_t identity; /* cpio: of the file that several names may have, of which one has the data; 0: one name */
};

/* False: the memory holds no archive. */
bool archive_open(struct archive *archive, const void *memory, uint64_t size);

/* On to the next entry that is a file, a folder or a symbolic link (a hard link of tar's is one, to /its/target). False: the end. */
bool archive_next(struct archive *archive);

#endif
