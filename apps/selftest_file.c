/*
 * File trees: everything that is in one is read and recorded, and, with selftest.write=1, a directory "made" is made in it. What is right
 * in either is for the host to judge, which knows the one and sees the other.
 */
#include "selftest.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <base/tap.h>
#include <class/file.h>

#include "pattern.h"

#define CHUNK (1024u * 1024)

struct walk {
	struct file_tree *tree;
	uint8_t *memory; /* CHUNK */
	char path[FILE_PATH_MAX];
	unsigned files, directories;
	int error;
};

static int read_file(struct walk *walk)
{
	char text[2 * FILE_PATH_MAX];
	uint64_t size = 0;
	struct file *file;
	uint32_t crc = 0;
	int error = file_open(walk->tree, walk->path, FILE_READ, 0, &file), count = 0;

	if (error)
		return error;
	while ((count = file_read(file, size, walk->memory, CHUNK)) > 0) {
		crc = crc32_update(crc, walk->memory, (size_t)count);
		size += (uint64_t)count;
	}
	file_close(file);
	record("{\"event\":\"file\",\"tree\":\"%s\",\"path\":\"%s\",\"size\":%lu,\"crc32\":\"0x%08x\"}", walk->tree->node.name,
	       json_string(text, sizeof(text), walk->path), size, crc);
	return count;
}

static bool visit(void *context, const char *name, enum file_kind kind);

static int read_directory(struct walk *walk)
{
	struct file *directory;
	int error = file_open(walk->tree, walk->path, FILE_READ, 0, &directory);

	if (error)
		return error;
	error = file_list(directory, visit, walk);
	file_close(directory);
	return error;
}

static bool visit(void *context, const char *name, enum file_kind kind)
{
	struct walk *walk = context;
	size_t length = strlen(walk->path);
	struct file_info info;

	if (length + strlen(name) + 2 > sizeof(walk->path)) {
		walk->error = -ENAMETOOLONG;
		return false;
	}
	walk->path[length] = '/';
	memcpy(walk->path + length + 1, name, strlen(name) + 1);
	if (kind == FILE_LINK && !file_stat(walk->tree, walk->path, &info))
		kind = info.kind == FILE_DIRECTORY ? FILE_LINK : info.kind; /* of directories, each once */
	if (kind == FILE_REGULAR) {
		walk->error = read_file(walk);
		walk->files++;
	} else if (kind == FILE_DIRECTORY) {
		walk->error = read_directory(walk);
		walk->directories++;
	}
	walk->path[length] = '\0';
	return !walk->error;
}

/* ---- making ---- */

static const uint32_t sizes[] = {0, 1, 4095, 65537, CHUNK};

static int make_file(struct walk *walk, const char *path, unsigned index)
{
	struct file *file;
	int error = file_open(walk->tree, path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, 0644, &file), count;

	if (error)
		return error;
	pattern_fill(index, 0, walk->memory, sizes[index]);
	count = file_write(file, 0, walk->memory, sizes[index]);
	error = count < 0 ? count : (uint32_t)count < sizes[index] ? -ENOSPC : file_sync(file);
	file_close(file);
	return error;
}

static int make_tree(struct walk *walk)
{
	struct file_tree *tree = walk->tree;
	struct file *file;
	char path[40];
	int error = file_make_directory(tree, "made", 0755);

	error = error ? error : file_make_directory(tree, "/made/./inner/", 0755);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes) && !error; i++) {
		format_text(path, sizeof(path), "%sfile%u", i % 2 ? "made/inner/" : "made/", i);
		error = make_file(walk, path, i);
	}
	error = error ? error : file_rename(tree, "made/inner/file1", "made/moved");
	error = error ? error : file_open(tree, "made/inner/../file4", FILE_READ | FILE_WRITE, 0, &file);
	if (!error) {
		error = file_resize(file, CHUNK - 7); /* cut, and a hole behind it, and an end */
		error = error ? error : file_write(file, CHUNK + 5, "end", 3) == 3 ? 0 : -EIO;
		file_close(file);
	}
	error = error ? error : make_file(walk, "made/gone", 1);
	error = error ? error : file_make_directory(tree, "made/gone.d", 0755);
	error = error ? error : file_remove(tree, "made/gone");
	return error ? error : file_remove(tree, "made/gone.d");
}

static int errors(struct file_tree *tree)
{
	struct file_info info;
	struct file *file;

	if (file_stat(tree, "made/gone", &info) != -ENOENT || file_remove(tree, "made") != -ENOTEMPTY)
		return 1;
	if (file_open(tree, "made/moved", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, 0644, &file) != -EEXIST)
		return 2;
	return file_stat(tree, "made/moved/below", &info) == -ENOTDIR || file_stat(tree, "made/moved/below", &info) == -ENOENT
	               ? 0
	               : 3;
}

static void test_tree(struct walk *walk)
{
	const char *name = walk->tree->node.name;
	int error = read_directory(walk);

	record("{\"event\":\"tree\",\"device\":\"%s\",\"tag\":\"%s\",\"files\":%u,\"directories\":%u}", name, walk->tree->tag,
	       walk->files, walk->directories);
	if (!tap_ok(!error && !walk->error, "%s gives all its files", name))
		tap_detail("error: %d, %d", error, walk->error);
	if (!selftest_option("write", 0))
		return;
	error = make_tree(walk);
	if (!tap_ok(!error, "%s takes files", name))
		tap_detail("error: %d", error);
	error = errors(walk->tree);
	if (!tap_ok(!error, "%s refuses what cannot be", name))
		tap_detail("case: %d", error);
}

static void test_file(const char *name)
{
	struct walk *walk = page_alloc(sizeof(*walk), PAGE_SIZE);

	if (walk)
		walk->tree = file_tree_find(name);
	if (walk && walk->tree && !strcmp(walk->tree->node.name, name)) {
		walk->memory = page_alloc(CHUNK, PAGE_SIZE);
		if (tap_ok(walk->memory, "%s gets memory", name))
			test_tree(walk);
		page_free(walk->memory, CHUNK);
	}
	page_free(walk, sizeof(*walk));
}

SELFTEST(file, test_file);
