/*
 * What the files of newlib's port know of each other.
 */
#ifndef NEWLIB_LOCAL_H
#define NEWLIB_LOCAL_H

#include <stddef.h>

#include <base/tree.h>
#include <class/file.h>

/* Without drivers of trees, the class is not linked either: then there is no file_tree_of(), and nobody calls the others. */
#pragma weak file_tree_of
#pragma weak file_open
#pragma weak file_close
#pragma weak file_read
#pragma weak file_write
#pragma weak file_list
#pragma weak file_info
#pragma weak file_stat
#pragma weak file_resize
#pragma weak file_sync
#pragma weak file_make_directory
#pragma weak file_unlink
#pragma weak file_rename

static inline struct file_tree *mounted(const char *path, const char **rest)
{
	return file_tree_of ? file_tree_of(path, rest) : NULL;
}

/* files.c: read() and write() of a descriptor that is not the console's. */
int descriptor_read(int fd, void *memory, size_t length);
int descriptor_write(int fd, const void *memory, size_t length);

/* -1, and errno. */
int file_failed(int error);
static inline int file_done(int error) { return error ? file_failed(-error) : 0; }

/* A boot module's file; NULL, and errno: none. */
const struct tree_node *module_find(const char *path, bool follow);

#endif
