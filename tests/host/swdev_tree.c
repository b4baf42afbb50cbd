/*
 * The tree in memory that the software devices serve, and the work on it: files are made, written, read back and compared on both sides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <arch/clock.h>
#include <class/file.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_tree.h"
#include "swdev_work_impl.h"

enum { LINUX_ENOENT = 2, LINUX_EEXIST = 17, LINUX_ENOTDIR = 20, LINUX_EISDIR = 21, LINUX_ENOSPC = 28, LINUX_ENOTEMPTY = 39 };

void swdev_tree_init(struct swdev_tree *tree)
{
	tree->nodes[0] = (struct swdev_node){.used = true, .kind = SWDEV_DIRECTORY, .mode = 0755};
}

static void free_bytes(struct swdev_node *node)
{
	if (!node->shared) {
		free(node->bytes);
		return;
	}
	munmap(node->bytes, node->size + 1);
	close(node->shared - 1);
}

void swdev_tree_free(struct swdev_tree *tree)
{
	for (unsigned i = 0; i < SWDEV_NODES; i++)
		free_bytes(&tree->nodes[i]);
}

unsigned swdev_tree_find(const struct swdev_tree *tree, unsigned directory, const char *name, size_t length)
{
	for (unsigned i = 1; i < SWDEV_NODES; i++)
		if (tree->nodes[i].used && tree->nodes[i].parent == directory && strlen(tree->nodes[i].name) == length &&
		    !memcmp(tree->nodes[i].name, name, length))
			return i;
	return 0;
}

unsigned swdev_tree_path(const struct swdev_tree *tree, const char *path)
{
	unsigned at = 0;

	while (*path) {
		size_t length = strcspn(path, "/");

		at = swdev_tree_find(tree, at, path, length);
		if (!at)
			return 0;
		path += length + (path[length] == '/');
	}
	return at;
}

int swdev_tree_make(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, unsigned kind, unsigned mode,
                    unsigned *made)
{
	if (tree->nodes[directory].kind != SWDEV_DIRECTORY)
		return LINUX_ENOTDIR;
	if (swdev_tree_find(tree, directory, name, length))
		return LINUX_EEXIST;
	for (unsigned i = 1; i < SWDEV_NODES; i++) {
		struct swdev_node *node = &tree->nodes[i];

		if (node->used)
			continue;
		free_bytes(node);
		*node = (struct swdev_node){.used = true, .parent = directory, .kind = kind, .mode = mode};
		memcpy(node->name, name, length);
		*made = i;
		return 0;
	}
	return LINUX_ENOSPC;
}

static bool has_children(const struct swdev_tree *tree, unsigned directory)
{
	for (unsigned i = 1; i < SWDEV_NODES; i++)
		if (tree->nodes[i].used && tree->nodes[i].parent == directory)
			return true;
	return false;
}

int swdev_tree_remove(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, bool is_directory)
{
	unsigned node = swdev_tree_find(tree, directory, name, length);

	if (!node)
		return LINUX_ENOENT;
	if ((tree->nodes[node].kind == SWDEV_DIRECTORY) != is_directory)
		return is_directory ? LINUX_ENOTDIR : LINUX_EISDIR;
	if (has_children(tree, node))
		return LINUX_ENOTEMPTY;
	tree->nodes[node].used = false;
	return 0;
}

int swdev_tree_rename(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, unsigned to,
                      const char *to_name, size_t to_length)
{
	unsigned node = swdev_tree_find(tree, directory, name, length), old = swdev_tree_find(tree, to, to_name, to_length);

	if (!node)
		return LINUX_ENOENT;
	if (old && old != node)
		tree->nodes[old].used = false;
	tree->nodes[node].parent = to;
	memset(tree->nodes[node].name, 0, sizeof(tree->nodes[node].name));
	memcpy(tree->nodes[node].name, to_name, to_length);
	return 0;
}

static uint8_t *map_shared(struct swdev_node *node, size_t size)
{
	uint8_t *bytes = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_SHARED, node->shared - 1, 0);

	if (ftruncate(node->shared - 1, (off_t)size) || bytes == MAP_FAILED)
		abort();
	return bytes;
}

void swdev_tree_share(struct swdev_node *node)
{
	uint8_t *bytes = node->bytes;

	if (node->shared)
		return;
	node->shared = memfd_create("node", 0) + 1;
	node->bytes = map_shared(node, node->size);
	if (node->size)
		memcpy(node->bytes, bytes, node->size);
	free(bytes);
}

void swdev_tree_resize(struct swdev_node *node, size_t size)
{
	if (node->shared) {
		munmap(node->bytes, node->size + 1);
		node->bytes = map_shared(node, size);
		node->size = size;
		return;
	}
	node->bytes = realloc(node->bytes, size + 1);
	if (size > node->size)
		memset(node->bytes + node->size, 0, size - node->size);
	node->size = size;
}

/* ---- lies ---- */

void swdev_tree_short(struct swdev *dev) { swdev_tree_of(dev)->answer_short = 9, dev->lies_told++; }
void swdev_tree_wrong(struct swdev *dev) { swdev_tree_of(dev)->wrong_type = true, dev->lies_told++; }
void swdev_tree_counts(struct swdev *dev) { swdev_tree_of(dev)->counts_lie = true, dev->lies_told++; }
void swdev_tree_fails(struct swdev *dev) { swdev_tree_of(dev)->fails = 9999, dev->lies_told++; }

/* ---- work ---- */

static bool one_file(struct swdev_work *work, struct file_tree *tree, struct swdev_item *item)
{
	char path[32];
	struct file *file;
	bool good;

	snprintf(path, sizeof(path), "work%u/file%u", item->index % 2, item->index);
	if (file_open(tree, path, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, 0600, &file))
		return false;
	good = file_write(file, 0, item->out, SWDEV_ITEM_BYTES) == (int)SWDEV_ITEM_BYTES && !file_sync(file);
	if (good) {
		int count = file_read(file, 0, item->in, SWDEV_ITEM_BYTES);

		good = count == (int)SWDEV_ITEM_BYTES;
		if (good && !swdev_work_matches(item->in, item->index, SWDEV_ITEM_BYTES))
			work->wrong = true;
	}
	file_close(file);
	return good;
}

static bool count_entry(void *context, const char *name, enum file_kind kind)
{
	(void)name;
	(void)kind;
	return ++*(unsigned *)context < 10000;
}

#define LATE_NS UINT64_C(1000000000) /* no honest server takes as long: what is left is not tried */

bool swdev_tree_begin(struct swdev_work *work)
{
	uint64_t late = clock_ns() + LATE_NS;
	struct file_tree *tree = file_tree_find(work->dev->vdev->name);
	struct file *directory;
	unsigned entries = 0;
	int error;

	if (!tree)
		return false;
	for (unsigned i = 0; i < 2 && clock_ns() < late && (tree = file_tree_find(work->dev->vdev->name)); i++)
		error = file_make_directory(tree, i ? "work1" : "/work0/", 0700);
	(void)error; /* they may be there: what was made before a reset is */
	for (unsigned i = 0; i < work->amount; i++) {
		tree = clock_ns() < late ? file_tree_find(work->dev->vdev->name) : NULL;
		swdev_work_ended(&work->items[i], tree && one_file(work, tree, &work->items[i]));
	}
	tree = clock_ns() < late ? file_tree_find(work->dev->vdev->name) : NULL;
	if (tree && !file_open(tree, "work0", 0, 0, &directory)) {
		error = file_list(directory, count_entry, &entries);
		file_close(directory);
	}
	return true;
}

bool swdev_tree_check(struct swdev_work *work)
{
	const struct swdev_tree *tree = swdev_tree_of(work->dev);

	for (unsigned i = 0; i < work->amount; i++) {
		const struct swdev_node *node;
		char path[32];

		snprintf(path, sizeof(path), "work%u/file%u", i % 2, i);
		node = &tree->nodes[swdev_tree_path(tree, path)];
		if (node->size != SWDEV_ITEM_BYTES || !swdev_work_matches(node->bytes, i, SWDEV_ITEM_BYTES))
			return false;
	}
	return true;
}
