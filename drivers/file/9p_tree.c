/*
 * What a tree of files asks of 9P. A file is a fid, whose number is its place in the tree's table; fid 0 is the root. A fid is only used again
 * when the server has answered that it has forgotten it.
 */
#include <errno.h>
#include <string.h>

#include "9p_impl.h"

enum { QID_DIRECTORY = 0x80, QID_LINK = 0x02, QID_BYTES = 13 };
enum { GETATTR_BASIC = 0x7ff, SETATTR_SIZE = 8, AT_REMOVEDIR = 0x200 };
enum { LINUX_WRONLY = 1, LINUX_RDWR = 2, LINUX_CREAT = 0100, LINUX_EXCL = 0200, LINUX_TRUNC = 01000, LINUX_DIRECTORY = 0200000 };

static uint32_t fid_of(const struct file *file) { return (uint32_t)(file - file->tree->files) + 1; }

static enum file_kind kind_of(uint8_t qid_type)
{
	return qid_type & QID_DIRECTORY ? FILE_DIRECTORY : qid_type & QID_LINK ? FILE_LINK : FILE_REGULAR;
}

/* To the name below `fid`, or, without one, to the same place. */
static int walk_fid(struct p9 *p9, uint32_t fid, const char *name, size_t length, struct file *to)
{
	struct virtio_call *call = p9_begin(p9, TWALK);
	int error;

	put(call, fid, 4);
	put(call, fid_of(to), 4);
	put(call, name ? 1 : 0, 2);
	if (name)
		p9_put_text(call, name, length);
	error = p9_exchange(p9, call, P9_HEADER + 2u + (name ? QID_BYTES : 0), NULL, 0, NULL, 0);
	if (error)
		return error;
	to->kind = name ? kind_of(call->answer[P9_HEADER + 2]) : FILE_DIRECTORY;
	end(call);
	return 0;
}

static int root(struct file_tree *tree, struct file *to) { return walk_fid(tree->owner, 0, NULL, 0, to); }

static int walk(const struct file *from, const char *name, size_t length, struct file *to)
{
	return walk_fid(from->tree->owner, fid_of(from), name, length, to);
}

static struct virtio_call *begin_fid(uint8_t type, const struct file *file)
{
	struct virtio_call *call = p9_begin(file->tree->owner, type);

	put(call, fid_of(file), 4);
	return call;
}

static void forget(struct file *file)
{
	[[maybe_unused]] int error = p9_exchange_plain(file->tree->owner,
	                                               begin_fid(TCLUNK, file)); /* the fid is gone either way */
}

static int read_link(const struct file *link, char *text, size_t size)
{
	struct virtio_call *call = begin_fid(TREADLINK, link);
	int length = p9_exchange(link->tree->owner, call, P9_HEADER + 2, NULL, 0, NULL, 0);

	if (length)
		return length;
	length = (int)get(call->answer + P9_HEADER, 2);
	if ((size_t)length <= size && P9_HEADER + 2 + (uint32_t)length <= call->request.written)
		memcpy(text, call->answer + P9_HEADER + 2, (size_t)length);
	else
		length = -ENAMETOOLONG;
	end(call);
	return length;
}

static int stat(const struct file *file, struct file_info *info)
{
	struct virtio_call *call = begin_fid(TGETATTR, file);
	const uint8_t *at;
	uint32_t mode;
	int error;

	put(call, GETATTR_BASIC, 8);
	error = p9_exchange(file->tree->owner, call, 160, NULL, 0, NULL, 0);
	if (error)
		return error;
	/* Behind `valid`: qid, mode, uid, gid, nlink, rdev, size, blksize, blocks, atime, mtime. */
	at = call->answer + P9_HEADER + 8;
	mode = (uint32_t)get(at + 13, 4);
	*info = (struct file_info){.kind = file_kind_of_mode(mode),
	                           .mode = mode & 07777,
	                           .uid = (uint32_t)get(at + 17, 4),
	                           .gid = (uint32_t)get(at + 21, 4),
	                           .links = get(at + 25, 8),
	                           .size = get(at + 41, 8),
	                           .inode = get(at + 5, 8),
	                           .changed_s = get(at + 81, 8)};
	end(call);
	return 0;
}

static uint32_t linux_flags(unsigned flags)
{
	uint32_t access = !(flags & FILE_WRITE) ? 0 : flags & FILE_READ ? LINUX_RDWR : LINUX_WRONLY;

	return access | (flags & FILE_TRUNCATE && access ? LINUX_TRUNC : 0);
}

static int open(struct file *file, unsigned flags)
{
	struct virtio_call *call = begin_fid(TLOPEN, file);

	put(call, file->kind == FILE_DIRECTORY ? LINUX_DIRECTORY : linux_flags(flags), 4);
	return p9_exchange_plain(file->tree->owner, call);
}

static int create(const struct file *directory, const char *name, size_t length, unsigned flags, uint32_t mode, struct file *to)
{
	struct virtio_call *call;
	int error = walk(directory, NULL, 0, to);

	if (error)
		return error;
	call = begin_fid(TLCREATE, to);
	p9_put_text(call, name, length);
	put(call, linux_flags(flags) | LINUX_CREAT | (flags & FILE_EXCLUSIVE ? LINUX_EXCL : 0), 4);
	put(call, mode, 4);
	put(call, 0, 4); /* gid */
	error = p9_exchange_plain(to->tree->owner, call);
	if (error)
		forget(to);
	to->kind = FILE_REGULAR;
	return error;
}

/* TREAD, TREADDIR: data into `memory`; how many bytes. */
static int fetch(const struct file *file, uint8_t type, uint64_t offset, void *memory, uint32_t length)
{
	struct p9 *p9 = file->tree->owner;
	struct virtio_call *call = begin_fid(type, file);
	uint32_t count;
	int error;

	length = MIN(length, p9->data_max);
	put(call, offset, 8);
	put(call, length, 4);
	error = p9_exchange(p9, call, P9_DATA_HEADER, NULL, 0, memory, length);
	if (error)
		return error;
	count = (uint32_t)get(call->answer + P9_HEADER, 4);
	if (count > call->request.written - P9_DATA_HEADER) {
		virtio_device_broken(p9->vdev, "%u bytes read, it says, in an answer of %u", count, call->request.written);
		error = -EIO;
	}
	end(call);
	return error ? error : (int)count;
}

static int read(const struct file *file, uint64_t offset, void *memory, uint32_t length)
{
	return fetch(file, TREAD, offset, memory, length);
}

static int write(const struct file *file, uint64_t offset, const void *memory, uint32_t length)
{
	struct p9 *p9 = file->tree->owner;
	struct virtio_call *call = begin_fid(TWRITE, file);
	int count;

	length = MIN(length, p9->data_max);
	put(call, offset, 8);
	put(call, length, 4);
	count = p9_exchange(p9, call, P9_DATA_HEADER, memory, length, NULL, 0);
	if (count)
		return count;
	count = (int)MIN(get(call->answer + P9_HEADER, 4), (uint64_t)length);
	end(call);
	return count;
}

/* Entries: qid, the cookie of what is behind it, a type as readdir() has it, name. */
static int list(const struct file *file, uint64_t *cookie, void *memory, file_visit *visit, void *context)
{
	int length = fetch(file, TREADDIR, *cookie, memory, FILE_LIST_BYTES), count = 0;
	const uint8_t *at = memory, *stop = at + MAX(length, 0);
	char name[FILE_NAME_MAX + 1];

	while (length > 0 && stop - at >= QID_BYTES + 11) {
		uint32_t name_length = (uint32_t)get(at + QID_BYTES + 9, 2);

		if (name_length > (size_t)(stop - at) - (QID_BYTES + 11) || name_length > FILE_NAME_MAX)
			return -EIO;
		memcpy(name, at + QID_BYTES + 11, name_length);
		name[name_length] = '\0';
		*cookie = get(at + QID_BYTES, 8);
		count++;
		if (!visit(context, name, kind_of(at[0])))
			return -ECANCELED;
		at += QID_BYTES + 11 + name_length;
	}
	return length < 0 ? length : count;
}

static int resize(const struct file *file, uint64_t size)
{
	struct virtio_call *call = begin_fid(TSETATTR, file);

	put(call, SETATTR_SIZE, 4);
	put(call, 0, 8);
	put(call, 0, 4); /* mode, uid, gid */
	put(call, size, 8);
	for (unsigned i = 0; i < 4; i++) /* times */
		put(call, 0, 8);
	return p9_exchange_plain(file->tree->owner, call);
}

static int sync(const struct file *file)
{
	struct virtio_call *call = begin_fid(TFSYNC, file);

	put(call, 0, 4);
	return p9_exchange_plain(file->tree->owner, call);
}

static int make_directory(const struct file *directory, const char *name, size_t length, uint32_t mode)
{
	struct virtio_call *call = begin_fid(TMKDIR, directory);

	p9_put_text(call, name, length);
	put(call, mode, 4);
	put(call, 0, 4); /* gid */
	return p9_exchange_plain(directory->tree->owner, call);
}

static int remove_name(const struct file *directory, const char *name, size_t length, bool is_directory)
{
	struct virtio_call *call = begin_fid(TUNLINKAT, directory);

	p9_put_text(call, name, length);
	put(call, is_directory ? AT_REMOVEDIR : 0, 4);
	return p9_exchange_plain(directory->tree->owner, call);
}

static int rename(const struct file *directory, const char *name, size_t length, const struct file *to_directory, const char *to,
                  size_t to_length)
{
	struct virtio_call *call = begin_fid(TRENAMEAT, directory);

	p9_put_text(call, name, length);
	put(call, fid_of(to_directory), 4);
	p9_put_text(call, to, to_length);
	return p9_exchange_plain(directory->tree->owner, call);
}

const struct file_ops p9_ops = {
	.root = root,
	.walk = walk,
	.read_link = read_link,
	.stat = stat,
	.open = open,
	.create = create,
	.read = read,
	.write = write,
	.list = list,
	.resize = resize,
	.sync = sync,
	.make_directory = make_directory,
	.remove = remove_name,
	.rename = rename,
	.forget = forget,
};
