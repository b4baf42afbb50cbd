/*
 * The class of file trees: paths, open files, and long transfers cut into messages.
 *
 * A path is made plain text first (no ".", "..", double slashes), then walked name by name; a symbolic link puts its text in its place, and
 * the walk starts anew. Whoever is in a call or has a file open is a user of the tree: its memory stays until the last one is done.
 */
#include <class/file.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <base/page.h>
#include <base/util.h>

#define LINKS_MAX 8

struct class_list file_trees;

static struct file_tree *tree_of(struct class_node *node) { return node ? container_of(node, struct file_tree, node) : NULL; }

struct file_tree *file_tree_next(struct file_tree *tree) { return tree_of(tree->node.next); }

static struct file_tree *find(const char *name, size_t length)
{
	for (struct file_tree *tree = tree_of(file_trees.first); tree; tree = file_tree_next(tree))
		if ((!strncmp(tree->node.name, name, length) && !tree->node.name[length]) ||
		    (*tree->tag && !strncmp(tree->tag, name, length) && !tree->tag[length]))
			return tree;
	return NULL;
}

struct file_tree *file_tree_find(const char *name) { return name ? find(name, strlen(name)) : tree_of(file_trees.first); }

struct file_tree *file_tree_of(const char *path, const char **rest)
{
	size_t length;

	while (*path == '/')
		path++;
	length = strcspn(path, "/");
	*rest = path + length;
	return length && length < sizeof(((struct file_tree *)NULL)->tag) ? find(path, length) : NULL;
}

/* ---- users ---- */

static void leave(struct file_tree *tree)
{
	tree->users--;
	if (tree->gone && !tree->users)
		page_free(tree->owner, tree->owner_bytes);
}

static int enter(struct file_tree *tree)
{
	if (tree->gone)
		return -ENODEV;
	tree->users++;
	return 0;
}

static int enter_file(const struct file *file)
{
	if (file->stale && !file->tree->gone)
		return -ESTALE;
	return enter(file->tree);
}

static struct file *take(struct file_tree *tree)
{
	for (unsigned i = 0; i < FILE_OPEN_MAX; i++) {
		struct file *file = &tree->files[i];

		if (file->taken)
			continue;
		*file = (struct file){.tree = tree, .taken = true};
		tree->users++;
		return file;
	}
	return NULL;
}

/* A slot that the driver has not filled. */
static void give(struct file *file)
{
	file->taken = false;
	leave(file->tree);
}

void file_close(struct file *file)
{
	if (!file)
		return;
	if (!file->stale && !file->tree->gone)
		file->tree->ops->forget(file);
	give(file);
}

/* ---- paths ---- */

/* Without empty names, "." and "..", and with one slash before each name. */
static int plain(char *path)
{
	char *in = path, *out = path;

	while (*in) {
		size_t length;

		while (*in == '/')
			in++;
		length = strcspn(in, "/");
		if (length > FILE_NAME_MAX)
			return -ENAMETOOLONG;
		if (length == 2 && in[0] == '.' && in[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (length && !(length == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, length);
			out += length;
		}
		in += length;
	}
	*out = '\0';
	return 0;
}

static int copy_path(char *to, const char *path)
{
	size_t length = strlen(path);

	/* One more than it has: a slash may come to its front. */
	if (length + 2 > FILE_PATH_MAX)
		return -ENAMETOOLONG;
	to[0] = '/';
	memcpy(to + 1, path, length + 1);
	return plain(to);
}

/* Put the text of the link that ends at `end` in its place. */
static int expand(const struct file *link, char *path, size_t start, size_t end)
{
	char text[FILE_PATH_MAX], rest[FILE_PATH_MAX];
	int length = link->tree->ops->read_link(link, text, sizeof(text) - 1);
	size_t at = start, rest_length = strlen(path + end);

	if (length < 0)
		return length;
	if (!length || (size_t)length >= sizeof(text))
		return -EIO;
	if (text[0] == '/')
		at = 0;
	if (at + 2 + (size_t)length + rest_length > FILE_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(rest, path + end, rest_length + 1);
	path[at] = '/';
	memcpy(path + at + 1, text, (size_t)length);
	memcpy(path + at + 1 + length, rest, rest_length + 1);
	return plain(path);
}

/* The place that a plain path names, or, `parent`, the directory that it is in, *name being its last name. */
static int walk(struct file_tree *tree, char *path, bool parent, bool follow, struct file **found, const char **name)
{
	unsigned links = 0;
	size_t at;
	int error;

again:
	at = 0;
	*found = take(tree);
	if (!*found)
		return -EMFILE;
	error = tree->ops->root(tree, *found);
	if (error) {
		give(*found);
		return error;
	}
	while (path[at] && !(parent && !strchr(path + at + 1, '/'))) {
		size_t length = strcspn(path + at + 1, "/"), end = at + 1 + length;
		struct file *next = take(tree);

		error = next ? tree->ops->walk(*found, path + at + 1, length, next) : -EMFILE;
		file_close(*found);
		if (error) {
			if (next)
				give(next);
			return error;
		}
		*found = next;
		if (next->kind == FILE_LINK && (follow || path[end])) {
			error = ++links > LINKS_MAX ? -ELOOP : expand(next, path, at, end);
			file_close(next);
			if (error)
				return error;
			goto again;
		}
		at = end;
	}
	if (parent && !path[at]) { /* the root is in no directory */
		file_close(*found);
		return -EBUSY;
	}
	*name = path + at + (parent ? 1 : 0);
	return 0;
}

static int walk_path(struct file_tree *tree, const char *path, char *copy, bool parent, bool follow, struct file **found,
                     const char **name)
{
	int error = copy_path(copy, path);

	return error ? error : walk(tree, copy, parent, follow, found, name);
}

static int create(struct file_tree *tree, const char *path, unsigned flags, uint32_t mode, struct file **file)
{
	struct file *directory, *made = NULL;
	char copy[FILE_PATH_MAX];
	const char *name;
	int error = walk_path(tree, path, copy, true, true, &directory, &name);

	if (error)
		return error;
	made = take(tree);
	error = made ? tree->ops->create(directory, name, strlen(name), flags, mode, made) : -EMFILE;
	file_close(directory);
	if (error && made)
		give(made);
	if (!error)
		*file = made;
	return error;
}

int file_open(struct file_tree *tree, const char *path, unsigned flags, uint32_t mode, struct file **file)
{
	char copy[FILE_PATH_MAX];
	const char *name;
	int error = enter(tree);

	if (error)
		return error;
	error = flags & FILE_CREATE && flags & FILE_EXCLUSIVE ? -ENOENT : walk_path(tree, path, copy, false, true, file, &name);
	if (!error && (flags || (*file)->kind == FILE_DIRECTORY)) {
		error = (*file)->kind == FILE_DIRECTORY && flags & FILE_WRITE ? -EISDIR : tree->ops->open(*file, flags);
		if (error)
			file_close(*file);
	} else if (error == -ENOENT && flags & FILE_CREATE) {
		error = create(tree, path, flags, mode, file);
	}
	leave(tree);
	return error;
}

/* ---- open files ---- */

static int transfer(struct file *file, uint64_t offset, uint8_t *memory, size_t length, bool write)
{
	const struct file_ops *ops = file->tree->ops;
	size_t done = 0;
	int count = enter_file(file);

	if (count)
		return count;
	length = MIN(length, (size_t)INT_MAX);
	while (done < length) {
		uint32_t part = (uint32_t)(length - done);

		count = write ? ops->write(file, offset + done, memory + done, part)
		              : ops->read(file, offset + done, memory + done, part);
		if (count <= 0 || (uint32_t)count > part)
			break;
		done += (size_t)count;
	}
	if (count > 0 && done < length)
		count = -EIO; /* more than was asked for */
	leave(file->tree);
	return done || count >= 0 ? (int)done : count;
}

int file_read(struct file *file, uint64_t offset, void *memory, size_t length)
{
	return transfer(file, offset, memory, length, false);
}

int file_write(struct file *file, uint64_t offset, const void *memory, size_t length)
{
	return transfer(file, offset, (uint8_t *)(uintptr_t)memory, length, true);
}

struct listing {
	file_visit *visit;
	void *context;
};

static bool but_dots(void *context, const char *name, enum file_kind kind)
{
	const struct listing *listing = context;

	return !strcmp(name, ".") || !strcmp(name, "..") || listing->visit(listing->context, name, kind);
}

int file_list(struct file *directory, file_visit *visit, void *context)
{
	struct listing listing = {visit, context};
	struct file_tree *tree = directory->tree;
	uint64_t cookie = 0, before;
	int count = enter_file(directory);
	void *memory;

	if (count)
		return count;
	memory = page_alloc(FILE_LIST_BYTES, PAGE_SIZE);
	do {
		before = cookie;
		count = memory ? tree->ops->list(directory, &cookie, memory, but_dots, &listing) : -ENOMEM;
	} while (count > 0 && cookie != before);
	page_free(memory, FILE_LIST_BYTES);
	leave(tree);
	return count == -ECANCELED ? 0 : count > 0 ? -EIO : count; /* a directory that never ends in one place is none */
}

#define ON_FILE(file, call)                                                                                                      \
	do {                                                                                                                     \
		struct file_tree *tree = (file)->tree;                                                                           \
		int error = enter_file(file);                                                                                    \
                                                                                                                                 \
		if (error)                                                                                                       \
			return error;                                                                                            \
		error = tree->ops->call;                                                                                         \
		leave(tree);                                                                                                     \
		return error;                                                                                                    \
	} while (0)

int file_info(struct file *file, struct file_info *info) { ON_FILE(file, stat(file, info)); }
int file_resize(struct file *file, uint64_t size) { ON_FILE(file, resize(file, size)); }
int file_sync(struct file *file) { ON_FILE(file, sync(file)); }

/* ---- by path ---- */

int file_stat(struct file_tree *tree, const char *path, struct file_info *info)
{
	char copy[FILE_PATH_MAX];
	struct file *file;
	const char *name;
	int error = enter(tree);

	if (error)
		return error;
	error = walk_path(tree, path, copy, false, true, &file, &name);
	if (!error) {
		error = tree->ops->stat(file, info);
		file_close(file);
	}
	leave(tree);
	return error;
}

int file_make_directory(struct file_tree *tree, const char *path, uint32_t mode)
{
	char copy[FILE_PATH_MAX];
	struct file *directory;
	const char *name;
	int error = enter(tree);

	if (error)
		return error;
	error = walk_path(tree, path, copy, true, true, &directory, &name);
	if (!error) {
		error = tree->ops->make_directory(directory, name, strlen(name), mode);
		file_close(directory);
	}
	leave(tree);
	return error;
}

static int remove_name(struct file_tree *tree, const char *path, bool files, bool directories)
{
	char copy[FILE_PATH_MAX];
	struct file *directory, *file;
	bool is_directory = false;
	const char *name;
	int error = enter(tree);

	if (error)
		return error;
	error = walk_path(tree, path, copy, false, false, &file, &name);
	if (!error) {
		is_directory = file->kind == FILE_DIRECTORY;
		file_close(file);
		if (is_directory ? directories : files)
			error = walk_path(tree, path, copy, true, true, &directory, &name);
		else
			error = is_directory ? -EISDIR : -ENOTDIR;
	}
	if (!error) {
		error = tree->ops->remove(directory, name, strlen(name), is_directory);
		file_close(directory);
	}
	leave(tree);
	return error;
}

int file_remove(struct file_tree *tree, const char *path) { return remove_name(tree, path, true, true); }

int file_unlink(struct file_tree *tree, const char *path, bool directory)
{
	return remove_name(tree, path, !directory, directory);
}

int file_rename(struct file_tree *tree, const char *from, const char *to)
{
	char from_copy[FILE_PATH_MAX], to_copy[FILE_PATH_MAX];
	struct file *directory, *to_directory;
	const char *name, *to_name;
	int error = enter(tree);

	if (error)
		return error;
	error = walk_path(tree, from, from_copy, true, true, &directory, &name);
	if (!error) {
		error = walk_path(tree, to, to_copy, true, true, &to_directory, &to_name);
		if (!error) {
			error = tree->ops->rename(directory, name, strlen(name), to_directory, to_name, strlen(to_name));
			file_close(to_directory);
		}
		file_close(directory);
	}
	leave(tree);
	return error;
}

/* ---- for drivers ---- */

void file_tree_leave(struct file_tree *tree)
{
	tree->users++;
	tree->gone = true;
	leave(tree);
}

void file_tree_reset(struct file_tree *tree)
{
	for (unsigned i = 0; i < FILE_OPEN_MAX; i++)
		tree->files[i].stale = true;
}

int file_error(uint32_t linux_errno)
{
	static const struct {
		uint8_t linux_errno;
		uint8_t ours;
	} others[] = {{36, ENAMETOOLONG}, {38, ENOSYS}, {39, ENOTEMPTY}, {40, ELOOP}, {95, ENOTSUP}, {116, ESTALE}};

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].linux_errno == linux_errno)
			return -others[i].ours;
	return linux_errno && linux_errno < 35 ? -(int)linux_errno : -EIO; /* those are the same everywhere */
}

enum file_kind file_kind_of_mode(uint32_t mode)
{
	switch (mode >> 12) {
	case 4:
		return FILE_DIRECTORY;
	case 8:
		return FILE_REGULAR;
	case 10:
		return FILE_LINK;
	default:
		return FILE_OTHER;
	}
}
