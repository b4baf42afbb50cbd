/*
 * What the files of newlib's port know of each other.
 */
#ifndef NEWLIB_LOCAL_H
#define NEWLIB_LOCAL_H

#include <stddef.h>

#include <base/tree.h>
#include <class/file.h>

/* files.c: read() and write() of a descriptor that is not the console's. */
int descriptor_read(int fd, void *memory, size_t length);
int descriptor_write(int fd, const void *memory, size_t length);

/* -1, and errno. */
int file_failed(int error);
static inline int file_done(int error) { return error ? file_failed(-error) : 0; }

/* A boot module's file; NULL, and errno: none. */
const struct tree_node *module_find(const char *path, bool follow);

#endif
