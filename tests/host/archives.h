/*
 * Archives for tests of lib/archive.c and lib/tree.c, written entry by entry.
 */
#ifndef ARCHIVES_H
#define ARCHIVES_H

#include <stddef.h>
#include <stdint.h>

struct archive_writer {
	uint8_t *at, *end, *start;
};

/* mode with its type, as in <sys/stat.h>. A link's data is its target. `links` > 1: names of one file, all of `ino`. */
void cpio_put(struct archive_writer *w, const char *name, unsigned mode, const void *data, size_t size, unsigned ino,
              unsigned links);
void cpio_end(struct archive_writer *w);

/* type: '0' file, '1' hard link, '2' link, '5' folder, 'L' GNU's long name, 'x' pax. `target` for links. */
void tar_put(struct archive_writer *w, const char *name, char type, const char *target, const void *data, size_t size);
void tar_end(struct archive_writer *w);

#endif
