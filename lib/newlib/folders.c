/*
 * Folders for programs. One of the boot modules is read as it is; of a device's tree all names are taken when it is opened, for a server forgets
 * where it was.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/util.h>

#include "local.h"

struct __dir {
	const struct tree_node *folder, *last; /* a module's */
	char *names;                           /* or a device's: each its type and its text */
	size_t length, room, at;
	bool full;
	struct dirent entry;
};

static bool take(void *context, const char *name, enum file_kind kind)
{
	DIR *dir = context;
	size_t size = strlen(name) + 2;

	if (dir->room - dir->length < size) {
		size_t room = MAX(2 * dir->room, 4096u);
		char *more = realloc(dir->names, room);

		if (!more) {
			dir->full = true;
			return false;
		}
		dir->names = more;
		dir->room = room;
	}
	dir->names[dir->length] = kind == FILE_DIRECTORY ? DT_DIR
	                          : kind == FILE_LINK    ? DT_LNK
	                          : kind == FILE_REGULAR ? DT_REG
	                                                 : DT_UNKNOWN;
	memcpy(dir->names + dir->length + 1, name, size - 1);
	dir->length += size;
	return true;
}

static int fill(DIR *dir, struct file_tree *tree, const char *path)
{
	struct file *file;
	int error = file_open(tree, path, FILE_READ, 0, &file);

	if (error)
		return -error;
	error = file->kind == FILE_DIRECTORY ? -file_list(file, take, dir) : ENOTDIR;
	file_close(file);
	return dir->full ? ENOMEM : error;
}

DIR *opendir(const char *path)
{
	const char *rest;
	struct file_tree *tree = mounted(path, &rest);
	DIR *dir = calloc(1, sizeof(*dir));
	int error = 0;

	if (!dir)
		return NULL;
	if (tree) {
		error = fill(dir, tree, rest);
	} else {
		dir->folder = module_find(path, true);
		if (!dir->folder)
			error = errno;
		else if (dir->folder->kind != ARCHIVE_FOLDER)
			error = ENOTDIR;
	}
	if (!error)
		return dir;
	closedir(dir);
	errno = error;
	return NULL;
}

/* Names of more than 255 bytes are cut: nobody can open by those. */
static struct dirent *read_module(DIR *dir)
{
	static const unsigned char types[] = {[ARCHIVE_FILE] = DT_REG, [ARCHIVE_FOLDER] = DT_DIR, [ARCHIVE_LINK] = DT_LNK};
	const struct tree_node *node = tree_child(dir->folder, dir->last);
	size_t skip = dir->folder->length + (dir->folder->length > 0), length;

	if (!node)
		return NULL;
	dir->last = node;
	length = MIN(node->length - skip, sizeof(dir->entry.d_name) - 1);
	memcpy(dir->entry.d_name, node->path + skip, length);
	dir->entry.d_name[length] = '\0';
	dir->entry.d_type = types[node->kind];
	dir->entry.d_ino = (ino_t)node->order;
	return &dir->entry;
}

struct dirent *readdir(DIR *dir)
{
	size_t size;

	if (dir->folder)
		return read_module(dir);
	if (dir->at == dir->length)
		return NULL;
	dir->entry.d_type = (unsigned char)dir->names[dir->at];
	size = strlen(dir->names + dir->at + 1) + 1; /* the class has none that is longer than FILE_NAME_MAX */
	memcpy(dir->entry.d_name, dir->names + dir->at + 1, size);
	dir->at += 1 + size;
	return &dir->entry;
}

void rewinddir(DIR *dir)
{
	dir->last = NULL;
	dir->at = 0;
}

int closedir(DIR *dir)
{
	free(dir->names);
	free(dir);
	return 0;
}
