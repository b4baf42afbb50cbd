/*
 * Files and folders for programs: the tree of boot modules (base/tree.h), which is read-only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/tree.h>
#include <base/util.h>

#include "local.h"

#define FILES_MAX 32
#define FILE_FIRST (STDERR_FILENO + 1)

static struct file {
	const struct tree_node *node; /* NULL: free */
	uint64_t at;
} files[FILES_MAX];

struct __dir {
	const struct tree_node *folder, *last;
	struct dirent entry;
};

static int fail(int error)
{
	errno = error;
	return -1;
}

static bool is_console(int fd) { return fd >= STDIN_FILENO && fd <= STDERR_FILENO; }

/* NULL, and errno: no such descriptor. */
static struct file *file_of(int fd)
{
	struct file *file = fd >= FILE_FIRST && fd < FILE_FIRST + FILES_MAX ? &files[fd - FILE_FIRST] : NULL;

	if (file && file->node)
		return file;
	errno = EBADF;
	return NULL;
}

static const struct tree_node *find(const char *path, bool follow)
{
	const struct tree_node *node;
	int error = tree_find(path, follow, &node);

	if (!error)
		return node;
	errno = -error;
	return NULL;
}

int open(const char *path, int flags, ...)
{
	const struct tree_node *node = find(path, true);

	if (!node)
		return fail(errno == ENOENT && flags & O_CREAT ? EROFS : errno);
	if (flags & O_CREAT && flags & O_EXCL)
		return fail(EEXIST);
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return fail(node->kind == ARCHIVE_FOLDER ? EISDIR : EROFS);
	for (int i = 0; i < FILES_MAX; i++) {
		if (!files[i].node) {
			files[i] = (struct file){.node = node};
			return FILE_FIRST + i;
		}
	}
	return fail(EMFILE);
}

int close(int fd)
{
	struct file *file;

	if (is_console(fd))
		return 0;
	file = file_of(fd);
	if (!file)
		return -1;
	file->node = NULL;
	return 0;
}

int descriptor_read(int fd, void *memory, size_t length)
{
	struct file *file = file_of(fd);

	if (!file)
		return -1;
	if (file->node->kind == ARCHIVE_FOLDER)
		return fail(EISDIR);
	if (file->at >= file->node->size)
		return 0;
	length = MIN(MIN(length, (size_t)INT_MAX), file->node->size - file->at);
	memcpy(memory, file->node->data + file->at, length);
	file->at += length;
	return (int)length;
}

off_t lseek(int fd, off_t offset, int whence)
{
	struct file *file;
	off_t at;

	if (is_console(fd))
		return fail(ESPIPE);
	file = file_of(fd);
	if (!file)
		return -1;
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return fail(EINVAL);
	at = whence == SEEK_SET ? 0 : (off_t)(whence == SEEK_CUR ? file->at : file->node->size);
	if (__builtin_add_overflow(at, offset, &at) || at < 0)
		return fail(EINVAL);
	file->at = (uint64_t)at;
	return at;
}

static int fill(const struct tree_node *node, struct stat *status)
{
	static const mode_t types[] = {[ARCHIVE_FILE] = S_IFREG, [ARCHIVE_FOLDER] = S_IFDIR, [ARCHIVE_LINK] = S_IFLNK};

	*status = (struct stat){.st_mode = types[node->kind] | node->mode,
	                        .st_nlink = 1,
	                        .st_ino = (ino_t)node->order,
	                        .st_size = node->kind == ARCHIVE_FOLDER ? 0 : (off_t)node->size,
	                        .st_blksize = 4096,
	                        .st_blocks = (blkcnt_t)((node->size + 511) / 512)};
	status->st_atime = status->st_mtime = status->st_ctime = (time_t)node->mtime;
	return 0;
}

int fstat(int fd, struct stat *status)
{
	const struct file *file;

	if (is_console(fd)) {
		*status = (struct stat){.st_mode = S_IFCHR | S_IRUSR | S_IWUSR, .st_blksize = 256};
		return 0;
	}
	file = file_of(fd);
	return file ? fill(file->node, status) : -1;
}

int stat(const char *restrict path, struct stat *restrict status)
{
	const struct tree_node *node = find(path, true);

	return node ? fill(node, status) : -1;
}

int access(const char *path, int mode)
{
	if (!find(path, true))
		return -1;
	return mode & W_OK ? fail(EROFS) : 0;
}

int isatty(int fd) { return is_console(fd) ? 1 : (fail(file_of(fd) ? ENOTTY : EBADF), 0); }

/* Nothing changes the tree. */
int unlink(const char *path) { return find(path, false) ? fail(EROFS) : -1; }

int link(const char *from, const char *to)
{
	(void)to;
	return find(from, false) ? fail(EROFS) : -1;
}

/* ---- folders ---- */

DIR *opendir(const char *path)
{
	const struct tree_node *node = find(path, true);
	DIR *dir;

	if (node && node->kind != ARCHIVE_FOLDER) {
		errno = ENOTDIR;
		node = NULL;
	}
	if (!node)
		return NULL;
	dir = malloc(sizeof(*dir));
	if (dir)
		*dir = (DIR){.folder = node};
	return dir;
}

/* Names of more than 255 bytes are cut: nobody can open by those. */
struct dirent *readdir(DIR *dir)
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

void rewinddir(DIR *dir) { dir->last = NULL; }

int closedir(DIR *dir)
{
	free(dir);
	return 0;
}
