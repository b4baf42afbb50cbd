/*
 * What the files of newlib's port know of each other.
 */
#ifndef NEWLIB_LOCAL_H
#define NEWLIB_LOCAL_H

#include <stddef.h>

/* files.c: read() of a descriptor that is not the console's. */
int descriptor_read(int fd, void *memory, size_t length);

#endif
