/*
 * lib/archive.c and lib/tree.c with any module at all. The first byte says how many bytes are a second module. Each module is memory
 * of exactly its size, so the sanitizer sees each byte read beyond it; what the tree tells of files lies within it.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <base/boot_info.h>
#include <base/tree.h>
#include <host.h>

#include "archives.h"

static struct boot_info boot;
static uint64_t steps;

static void check_data(const struct tree_node *node)
{
	for (unsigned i = 0; i < boot.module_count && node->size; i++) {
		uint64_t base = boot.module[i].base, at = (uintptr_t)node->data;

		if (at >= base && at - base <= boot.module[i].size && node->size <= boot.module[i].size - (at - base))
			return;
	}
	fuzz_check(!node->size, "data that is in no module");
}

static void walk(const struct tree_node *folder)
{
	const struct tree_node *node = NULL, *found;
	char path[ARCHIVE_NAME_MAX + 2] = "/";

	while ((node = tree_child(folder, node))) {
		fuzz_check(++steps < 1000000, "there is no end to it");
		fuzz_check(node->length > folder->length && node->length <= ARCHIVE_NAME_MAX, "a path of %u bytes", node->length);
		memcpy(path + 1, node->path, node->length);
		path[1 + node->length] = '\0';
		if (!node->rooted) /* which is followed in any case */
			fuzz_check(tree_find(path, false, &found) || found == node || found->kind != node->kind ||
			                   found->size == node->size,
			           "another file at %s", path);
		if (!tree_find(path, true, &found) && found->kind == ARCHIVE_FILE)
			check_data(found);
		if (node->kind == ARCHIVE_FOLDER)
			walk(node);
	}
}

static void add(const uint8_t *data, size_t size, const char *cmdline)
{
	uint8_t *copy = malloc(size + !size);

	memcpy(copy, data, size);
	boot.module[boot.module_count++] = (struct boot_module){.base = (uintptr_t)copy, .size = size, .cmdline = cmdline};
}

static void run(const uint8_t *data, size_t size)
{
	const struct tree_node *root;
	size_t second;

	if (!size)
		return;
	second = MIN((size_t)data[0] * 16, size - 1);
	host_boot(16 << 20);
	host_console_capture(true);
	memset(&boot, 0, sizeof(boot));
	add(data + 1, size - 1 - second, "");
	if (second)
		add(data + size - second, second, "/boot/second more");
	tree_init(&boot);
	steps = 0;
	fuzz_check(!tree_find("/", true, &root), "no root");
	walk(root);
	fuzz_check(fuzz_log_lines() <= 3, "%u log lines", fuzz_log_lines());
	for (unsigned i = 0; i < boot.module_count; i++)
		free((void *)(uintptr_t)boot.module[i].base);
	tree_init(NULL);
}

static void give(const char *name, uint8_t second, struct archive_writer *w)
{
	fuzz_put(second, 1);
	fuzz_put_all(w->start, (size_t)(w->at - w->start));
	fuzz_seed(name);
	w->at = w->start;
}

static void seeds(void)
{
	static uint8_t memory[4000];
	struct archive_writer w = {.at = memory, .start = memory, .end = memory + sizeof(memory)};

	cpio_put(&w, "a/b/c", 0100644, "data", 4, 1, 1);
	cpio_put(&w, "a", 0040755, "", 0, 2, 2);
	cpio_put(&w, "l", 0120777, "a/b", 3, 3, 1);
	cpio_put(&w, "h1", 0100644, "", 0, 4, 2);
	cpio_put(&w, "h2", 0100644, "hard", 4, 4, 2);
	cpio_end(&w);
	give("cpio", 0, &w);
	tar_put(&w, "d/", '5', "", "", 0);
	tar_put(&w, "d/f", '0', "", "text", 4);
	tar_put(&w, "l", '2', "d/f", "", 0);
	tar_put(&w, "h", '1', "d/f", "", 0);
	give("tar", 0, &w);
	tar_put(&w, "x", 'x', "", "12 path=p/q\n", 12);
	tar_put(&w, "n", '0', "", "", 0);
	tar_put(&w, "y", 'L', "", "long/name", 9);
	tar_put(&w, "m", '0', "", "", 0);
	give("long names", 0, &w);
	cpio_put(&w, "a/../../b", 0100644, "", 0, 1, 1);
	cpio_put(&w, "loop/x", 0120777, "../loop", 7, 1, 1);
	cpio_put(&w, "loop", 0120777, "loop/x", 6, 1, 1);
	cpio_put(&w, "a", 0100644, "f", 1, 1, 1);
	cpio_put(&w, "a/b", 0100644, "f", 1, 1, 1);
	give("odd", 16, &w);
	w.at += 40;
	give("no archive", 1, &w);
}

FUZZ_TARGET(tree);
