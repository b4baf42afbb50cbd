/*
 * Files for programs: the tree of boot modules (base/tree.h), which is read-only, and the trees that devices share (class/file.h), each as
 * /NAME or /TAG, where it hides a module's folder of that name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/util.h>

#include "local.h"

#define FILES_MAX 32
#define FILE_FIRST (STDERR_FILENO + 1)

static struct descriptor {
	const struct tree_node *node; /* a module's, */
	struct file *file;            /* or a device's; both NULL: free */
	bool append;
	uint64_t at;
} descriptors[FILES_MAX];

int file_failed(int error)
{
	errno = error;
	return -1;
}

static bool is_console(int fd) { return fd >= STDIN_FILENO && fd <= STDERR_FILENO; }

/* NULL, and errno: no such descriptor. */
static struct descriptor *descriptor_of(int fd)
{
	struct descriptor *found = fd >= FILE_FIRST && fd < FILE_FIRST + FILES_MAX ? &descriptors[fd - FILE_FIRST] : NULL;

	if (found && (found->node || found->file))
		return found;
	errno = EBADF;
	return NULL;
}

const struct tree_node *module_find(const char *path, bool follow)
{
	const struct tree_node *node;
	int error = tree_find(path, follow, &node);

	if (!error)
		return node;
	errno = -error;
	return NULL;
}

static int open_module(const char *path, int flags, const struct tree_node **node)
{
	*node = module_find(path, true);
	if (!*node)
		return errno == ENOENT && flags & O_CREAT ? EROFS : errno;
	if (flags & O_CREAT && flags & O_EXCL)
		return EEXIST;
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return (*node)->kind == ARCHIVE_FOLDER ? EISDIR : EROFS;
	return 0;
}

static unsigned class_flags(int flags)
{
	unsigned access = (flags & O_ACCMODE) == O_RDONLY   ? FILE_READ
	                  : (flags & O_ACCMODE) == O_WRONLY ? FILE_WRITE
	                                                    : FILE_READ | FILE_WRITE;

	return access | (flags & O_CREAT ? FILE_CREATE : 0u) | (flags & O_EXCL ? FILE_EXCLUSIVE : 0u) |
	       (flags & O_TRUNC ? FILE_TRUNCATE : 0u);
}

int open(const char *path, int flags, ...)
{
	struct descriptor *free = descriptors, opened = {.append = flags & O_APPEND};
	const char *rest;
	struct file_tree *tree = mounted(path, &rest);
	unsigned mode = 0;
	va_list args;
	int error;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = va_arg(args, unsigned) & 07777;
		va_end(args);
	}
	while (free < descriptors + FILES_MAX && (free->node || free->file))
		free++;
	if (free == descriptors + FILES_MAX)
		return file_failed(EMFILE);
	error = tree ? -file_open(tree, rest, class_flags(flags), mode, &opened.file) : open_module(path, flags, &opened.node);
	if (error)
		return file_failed(error);
	*free = opened;
	return FILE_FIRST + (int)(free - descriptors);
}

int close(int fd)
{
	struct descriptor *descriptor;

	if (is_console(fd))
		return 0;
	descriptor = descriptor_of(fd);
	if (!descriptor)
		return -1;
	if (descriptor->file)
		file_close(descriptor->file);
	*descriptor = (struct descriptor){0};
	return 0;
}

static int read_module(const struct descriptor *descriptor, void *memory, size_t length)
{
	const struct tree_node *node = descriptor->node;

	if (node->kind == ARCHIVE_FOLDER)
		return -EISDIR;
	if (descriptor->at >= node->size)
		return 0;
	length = MIN(MIN(length, (size_t)INT_MAX), node->size - descriptor->at);
	memcpy(memory, node->data + descriptor->at, length);
	return (int)length;
}

int descriptor_read(int fd, void *memory, size_t length)
{
	struct descriptor *descriptor = descriptor_of(fd);
	int count;

	if (!descriptor)
		return -1;
	if (descriptor->node)
		count = read_module(descriptor, memory, length);
	else if (descriptor->file->kind == FILE_DIRECTORY)
		count = -EISDIR;
	else
		count = file_read(descriptor->file, descriptor->at, memory, length);
	if (count < 0)
		return file_failed(-count);
	descriptor->at += (uint64_t)count;
	return count;
}

/* Where its end is; a negative errno. */
static int64_t end_of(const struct descriptor *descriptor)
{
	struct file_info info;
	int error;

	if (descriptor->node)
		return (int64_t)descriptor->node->size;
	error = file_info(descriptor->file, &info);
	return error ? error : info.size <= INT64_MAX ? (int64_t)info.size : -EOVERFLOW;
}

int descriptor_write(int fd, const void *memory, size_t length)
{
	struct descriptor *descriptor = descriptor_of(fd);
	int64_t end;
	int count;

	if (!descriptor)
		return -1;
	if (descriptor->node)
		return file_failed(EBADF);
	if (descriptor->append) {
		end = end_of(descriptor);
		if (end < 0)
			return file_failed((int)-end);
		descriptor->at = (uint64_t)end;
	}
	count = file_write(descriptor->file, descriptor->at, memory, length);
	if (count < 0)
		return file_failed(-count);
	descriptor->at += (uint64_t)count;
	return count;
}

off_t lseek(int fd, off_t offset, int whence)
{
	struct descriptor *descriptor;
	off_t at;

	if (is_console(fd))
		return file_failed(ESPIPE);
	descriptor = descriptor_of(fd);
	if (!descriptor)
		return -1;
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return file_failed(EINVAL);
	at = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (off_t)descriptor->at : (off_t)end_of(descriptor);
	if (whence == SEEK_END && at < 0)
		return file_failed((int)-at);
	if (__builtin_add_overflow(at, offset, &at) || at < 0)
		return file_failed(EINVAL);
	descriptor->at = (uint64_t)at;
	return at;
}

/* ---- what is known of files ---- */

static int fill_module(const struct tree_node *node, struct stat *status)
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

static int fill(int error, const struct file_info *info, struct stat *status)
{
	static const mode_t types[] =
		{[FILE_REGULAR] = S_IFREG, [FILE_DIRECTORY] = S_IFDIR, [FILE_LINK] = S_IFLNK, [FILE_OTHER] = S_IFCHR};

	if (error)
		return file_failed(-error);
	*status = (struct stat){.st_mode = types[info->kind] | info->mode,
	                        .st_nlink = (nlink_t)info->links,
	                        .st_uid = (uid_t)info->uid,
	                        .st_gid = (gid_t)info->gid,
	                        .st_ino = (ino_t)info->inode,
	                        .st_size = (off_t)info->size,
	                        .st_blksize = 65536,
	                        .st_blocks = (blkcnt_t)((info->size + 511) / 512)};
	status->st_atime = status->st_mtime = status->st_ctime = (time_t)info->changed_s;
	return 0;
}

int fstat(int fd, struct stat *status)
{
	const struct descriptor *descriptor;
	struct file_info info;

	if (is_console(fd)) {
		*status = (struct stat){.st_mode = S_IFCHR | S_IRUSR | S_IWUSR, .st_blksize = 256};
		return 0;
	}
	descriptor = descriptor_of(fd);
	if (!descriptor)
		return -1;
	return descriptor->node ? fill_module(descriptor->node, status) : fill(file_info(descriptor->file, &info), &info, status);
}

int stat(const char *restrict path, struct stat *restrict status)
{
	const char *rest;
	struct file_tree *tree = mounted(path, &rest);
	const struct tree_node *node;
	struct file_info info;

	if (tree)
		return fill(file_stat(tree, rest, &info), &info, status);
	node = module_find(path, true);
	return node ? fill_module(node, status) : -1;
}

int access(const char *path, int mode)
{
	struct stat status;
	const char *rest;

	if (stat(path, &status))
		return -1;
	return mode & W_OK && !mounted(path, &rest) ? file_failed(EROFS) : 0;
}

int isatty(int fd) { return is_console(fd) ? 1 : (file_failed(descriptor_of(fd) ? ENOTTY : EBADF), 0); }

/* ---- changes: 0 or -1 and errno; modules stay what they are ---- */

static struct file *writable(int fd)
{
	const struct descriptor *descriptor = descriptor_of(fd);

	if (descriptor && !descriptor->file)
		errno = EINVAL;
	return descriptor ? descriptor->file : NULL;
}

int ftruncate(int fd, off_t size)
{
	struct file *file = size < 0 ? (file_failed(EINVAL), NULL) : writable(fd);

	return file ? file_done(file_resize(file, (uint64_t)size)) : -1;
}

int fsync(int fd)
{
	struct file *file = writable(fd);

	return file ? file_done(file_sync(file)) : -1;
}

static int refuse(const char *path) { return module_find(path, false) ? file_failed(EROFS) : -1; }

static int unlink_kind(const char *path, bool directory)
{
	const char *rest;
	struct file_tree *tree = mounted(path, &rest);

	return tree ? file_done(file_unlink(tree, rest, directory)) : refuse(path);
}

int unlink(const char *path) { return unlink_kind(path, false); }

int rmdir(const char *path) { return unlink_kind(path, true); }

int mkdir(const char *path, mode_t mode)
{
	const char *rest;
	struct file_tree *tree = mounted(path, &rest);

	return tree ? file_done(file_make_directory(tree, rest, mode & 07777))
	            : file_failed(module_find(path, true) ? EEXIST : EROFS);
}

int rename(const char *from, const char *to)
{
	const char *rest, *to_rest;
	struct file_tree *tree = mounted(from, &rest);

	if (mounted(to, &to_rest) != tree)
		return file_failed(EXDEV);
	return tree ? file_done(file_rename(tree, rest, to_rest)) : refuse(from);
}

int link(const char *from, const char *to)
{
	const char *rest;

	(void)to;
	return mounted(from, &rest) ? file_failed(EPERM) : refuse(from);
}
