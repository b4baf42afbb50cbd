/*
 * What a tree of files asks of FUSE. A struct file is one time that the server named a node to us, and is forgotten once.
 */
#include <errno.h>
#include <string.h>

#include <base/page.h>

#include "fs_impl.h"

enum { FATTR_SIZE = 1 << 3, FATTR_FH = 1 << 6 };
enum { LINUX_WRONLY = 1, LINUX_RDWR = 2, LINUX_CREAT = 0100, LINUX_EXCL = 0200 };

#define ATTR_BYTES 88u
#define ENTRY_BYTES 128u
#define OPEN_BYTES 16u

static void put_name(struct virtio_call *call, const char *name, size_t length)
{
	virtio_call_put_text(call, name, length);
	put(call, 0, 1);
}

static void forget_node(struct fs *fs, uint64_t node)
{
	struct virtio_call *call = node == ROOT ? NULL : fs_begin(fs, FUSE_FORGET, node);

	put(call, 1, 8);
	fs_forget(fs, call);
}

static uint32_t mode_of(const uint8_t *attr) { return (uint32_t)get(attr + 60, 4); }

/* struct fuse_entry_out: a node, named to us once. */
static void take_entry(const uint8_t *entry, struct file *to)
{
	to->id = get(entry, 8);
	to->kind = file_kind_of_mode(mode_of(entry + 40));
}

static int root(struct file_tree *tree, struct file *to)
{
	(void)tree;
	to->id = ROOT;
	to->kind = FILE_DIRECTORY;
	return 0;
}

/* A request whose answer is an entry, and, with `open`, a file handle behind it. */
static int fetch_entry(struct fs *fs, struct virtio_call *call, struct file *to, bool open)
{
	int error = fs_exchange(fs, call, ENTRY_BYTES + (open ? OPEN_BYTES : 0), NULL, 0, NULL, NULL);

	if (error)
		return error;
	take_entry(payload(call), to);
	if (open)
		to->handle = get(payload(call) + ENTRY_BYTES, 8);
	to->open = open;
	end(call);
	return to->id ? 0 : -ENOENT; /* node 0: there is none, and that may be remembered */
}

static int walk(const struct file *from, const char *name, size_t length, struct file *to)
{
	struct fs *fs = fs_of(from);
	struct virtio_call *call = fs_begin(fs, FUSE_LOOKUP, from->id);

	put_name(call, name, length);
	return fetch_entry(fs, call, to, false);
}

static void forget(struct file *file)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = NULL;

	if (file->open)
		fs_dax_drop(fs, file->id, &file->handle);
	if (file->open && !file->stale)
		call = fs_begin(fs, file->kind == FILE_DIRECTORY ? FUSE_RELEASEDIR : FUSE_RELEASE, file->id);
	if (call) {
		put(call, file->handle, 8);
		put(call, 0, 8); /* flags */
		put(call, 0, 8); /* lock owner */

		[[maybe_unused]] int error = fs_exchange_plain(fs, call); /* it is closed either way */
	}
	if (!file->stale) /* a reset meanwhile has forgotten it */
		forget_node(fs, file->id);
}

static int read_link(const struct file *link, char *text, size_t size)
{
	struct fs *fs = fs_of(link);
	struct virtio_call *call = fs_begin(fs, FUSE_READLINK, link->id);
	int error = fs_exchange(fs, call, 0, NULL, 0, NULL, NULL);
	uint32_t length;

	if (error)
		return error;
	length = call->request.written - OUT_HEADER;
	memcpy(text, payload(call), MIN(length, size));
	end(call);
	return length > size ? -ENAMETOOLONG : (int)length;
}

static int stat(const struct file *file, struct file_info *info)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = fs_begin(fs, FUSE_GETATTR, file->id);
	unsigned era = fs->dax.era;
	const uint8_t *attr;
	int error;

	put(call, 0, 8);
	put(call, 0, 8);
	error = fs_exchange(fs, call, 16 + ATTR_BYTES, NULL, 0, NULL, NULL);
	if (error)
		return error;
	attr = payload(call) + 16;
	*info = (struct file_info){.kind = file_kind_of_mode(mode_of(attr)),
	                           .mode = mode_of(attr) & 07777,
	                           .uid = (uint32_t)get(attr + 68, 4),
	                           .gid = (uint32_t)get(attr + 72, 4),
	                           .links = get(attr + 64, 4),
	                           .size = get(attr + 8, 8),
	                           .inode = get(attr, 8),
	                           .changed_s = get(attr + 32, 8)};
	fs_dax_size(fs, era, file->id, info->size, get(payload(call), 8));
	end(call);
	return 0;
}

static int set_size(const struct file *file, uint64_t size)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = fs_begin(fs, FUSE_SETATTR, file->id);

	put(call, FATTR_SIZE | (file->open ? FATTR_FH : 0), 8);
	put(call, file->open ? file->handle : 0, 8);
	put(call, size, 8);
	for (unsigned i = 0; i < 8; i++) /* lock owner, times, mode, owners */
		put(call, 0, 8);
	return fs_exchange_plain(fs, call);
}

static int resize(const struct file *file, uint64_t size)
{
	struct fs *fs = fs_of(file);
	int error;

	fs_dax_hold(fs, file->id);
	error = file->stale ? -EIO : set_size(file, size);
	fs_dax_release(fs);
	return error;
}

static uint32_t linux_flags(unsigned flags) { return !(flags & FILE_WRITE) ? 0 : flags & FILE_READ ? LINUX_RDWR : LINUX_WRONLY; }

static int open(struct file *file, unsigned flags)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = fs_begin(fs, file->kind == FILE_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, file->id);
	int error;

	put(call, file->kind == FILE_DIRECTORY ? 0 : linux_flags(flags), 8);
	error = fs_exchange(fs, call, OPEN_BYTES, NULL, 0, NULL, NULL);
	if (error)
		return error;
	file->handle = get(payload(call), 8);
	file->open = true;
	file->rights = flags;
	end(call);
	return flags & FILE_TRUNCATE && flags & FILE_WRITE ? resize(file, 0) : 0;
}

static int create(const struct file *directory, const char *name, size_t length, unsigned flags, uint32_t mode, struct file *to)
{
	struct fs *fs = fs_of(directory);
	struct virtio_call *call = fs_begin(fs, FUSE_CREATE, directory->id);

	put(call, linux_flags(flags) | LINUX_CREAT | (flags & FILE_EXCLUSIVE ? LINUX_EXCL : 0), 4);
	put(call, mode | 0100000, 4);
	put(call, 0, 8); /* umask, open flags */
	put_name(call, name, length);
	to->rights = flags;
	return fetch_entry(fs, call, to, true);
}

/* FUSE_READ, FUSE_READDIRPLUS: data into `memory`; how many bytes. */
static int fetch(const struct file *file, uint32_t opcode, uint64_t offset, void *memory, uint32_t length)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = fs_begin(fs, opcode, file->id);
	int error;

	length = MIN(length, fs->data_max);
	put(call, file->handle, 8);
	put(call, offset, 8);
	put(call, length, 8); /* no flags */
	put(call, 0, 8);      /* lock owner */
	put(call, 0, 8);      /* flags */
	error = fs_exchange(fs, call, 0, NULL, 0, memory, &length);
	if (error)
		return error;
	end(call);
	return (int)length;
}

static int read(const struct file *file, uint64_t offset, void *memory, uint32_t length)
{
	int count = fs_dax_copy(file, offset, memory, length, false);

	return count ? count : fetch(file, FUSE_READ, offset, memory, length);
}

static int write(const struct file *file, uint64_t offset, const void *memory, uint32_t length)
{
	struct fs *fs = fs_of(file);
	int count = fs_dax_copy(file, offset, (void *)(uintptr_t)memory, length, true);
	unsigned era = fs->dax.era;
	struct virtio_call *call;

	if (count)
		return count;
	call = fs_begin(fs, FUSE_WRITE, file->id);
	length = MIN(length, fs->data_max);
	put(call, file->handle, 8);
	put(call, offset, 8);
	put(call, length, 8); /* no flags */
	put(call, 0, 8);      /* lock owner */
	put(call, 0, 8);      /* flags */
	count = fs_exchange(fs, call, 8, memory, length, NULL, NULL);
	if (count)
		return count;
	count = (int)MIN(get(payload(call), 4), (uint64_t)length);
	end(call);
	fs_dax_wrote(fs, era, file->id, count ? offset + (uint64_t)count : 0);
	return count;
}

/* Each entry but "." and ".." has named its node to us once more. */
static void forget_entries(struct fs *fs, const uint8_t *memory, const uint32_t *places, uint32_t count)
{
	struct virtio_call *call = count ? fs_begin(fs, FUSE_BATCH_FORGET, 0) : NULL;

	put(call, count, 8);
	for (uint32_t i = 0; i < count; i++) {
		put(call, get(memory + places[i], 8), 8);
		put(call, 1, 8);
	}
	fs_forget(fs, call);
}

/* struct fuse_direntplus: an entry, inode, cookie of what is behind it, name length, type, name; on multiples of 8. */
static int list(const struct file *file, uint64_t *cookie, void *memory, file_visit *visit, void *context)
{
	const uint8_t *bytes = memory;
	uint32_t places[64] = {0}, place_count = 0, at = 0, head = ENTRY_BYTES + 24;
	int length = fetch(file, FUSE_READDIRPLUS, *cookie, memory, FILE_LIST_BYTES), count = 0;
	char name[FILE_NAME_MAX + 1];
	bool more = true;

	while (length > 0 && (uint32_t)length >= at + head) {
		uint32_t name_length = (uint32_t)get(bytes + at + ENTRY_BYTES + 16, 4);

		if (name_length > FILE_NAME_MAX || name_length > (uint32_t)length - at - head) {
			count = -EIO;
			break;
		}
		memcpy(name, bytes + at + head, name_length);
		name[name_length] = '\0';
		if (get(bytes + at, 8) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			places[place_count++] = at;
		if (place_count == ARRAY_SIZE(places)) {
			forget_entries(fs_of(file), bytes, places, place_count);
			place_count = 0;
		}
		if (more) {
			*cookie = get(bytes + at + ENTRY_BYTES + 8, 8);
			more = visit(context, name, file_kind_of_mode((uint32_t)get(bytes + at + ENTRY_BYTES + 20, 4) << 12));
			count++;
		}
		at += ALIGN_UP(head + name_length, 8u);
	}
	forget_entries(fs_of(file), bytes, places, place_count);
	return length < 0 ? length : more ? count : -ECANCELED;
}

static int sync(const struct file *file)
{
	struct fs *fs = fs_of(file);
	struct virtio_call *call = fs_begin(fs, FUSE_FSYNC, file->id);

	put(call, file->handle, 8);
	put(call, 0, 8);
	return fs_exchange_plain(fs, call);
}

static int make_directory(const struct file *directory, const char *name, size_t length, uint32_t mode)
{
	struct fs *fs = fs_of(directory);
	struct virtio_call *call = fs_begin(fs, FUSE_MKDIR, directory->id);
	struct file made = {.tree = directory->tree};
	int error;

	put(call, mode, 8); /* no umask */
	put_name(call, name, length);
	error = fetch_entry(fs, call, &made, false);
	if (!error)
		forget_node(fs, made.id);
	return error;
}

/* With its node known meanwhile: servers answer for those only, as Linux always has what it removes or renames. */
static int remove_name(const struct file *directory, const char *name, size_t length, bool is_directory)
{
	struct fs *fs = fs_of(directory);
	struct file file = {.tree = directory->tree};
	struct virtio_call *call;
	int error = walk(directory, name, length, &file);

	if (error)
		return error;
	fs_dax_drop(fs, file.id, NULL);
	if (directory->stale)
		return -EIO;
	call = fs_begin(fs, is_directory ? FUSE_RMDIR : FUSE_UNLINK, directory->id);
	put_name(call, name, length);
	error = fs_exchange_plain(fs, call);
	forget_node(fs, file.id);
	return error;
}

static int rename(const struct file *directory, const char *name, size_t length, const struct file *to_directory, const char *to,
                  size_t to_length)
{
	struct fs *fs = fs_of(directory);
	struct file file = {.tree = directory->tree};
	struct virtio_call *call;
	int error = walk(directory, name, length, &file);

	if (error)
		return error;
	call = fs_begin(fs, FUSE_RENAME, directory->id);
	put(call, to_directory->id, 8);
	put_name(call, name, length);
	put_name(call, to, to_length);
	error = fs_exchange_plain(fs, call);
	forget_node(fs, file.id);
	return error;
}

const struct file_ops fs_ops = {
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
