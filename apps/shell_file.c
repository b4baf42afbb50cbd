/*
 * The shell's `file`: what is in file trees.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <class/file.h>

static bool print_entry(void *context, const char *name, enum file_kind kind)
{
	(void)context;
	console_line("  %s%s", name, kind == FILE_DIRECTORY ? "/" : kind == FILE_LINK ? "@" : "");
	return true;
}

static int print_file(struct file *file)
{
	struct file_info info;
	char text[256];
	uint64_t at = 0;
	int count = file_info(file, &info);

	if (count)
		return count;
	if (info.kind == FILE_DIRECTORY)
		return file_list(file, print_entry, NULL);
	while ((count = file_read(file, at, text, sizeof(text))) > 0) {
		arch_console_write(text, (size_t)count);
		at += (uint64_t)count;
	}
	return count;
}

static int write_file(struct file_tree *tree, const char *path, const char *text)
{
	struct file *file;
	int error = file_open(tree, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, 0644, &file), count;

	if (error)
		return error;
	count = file_write(file, 0, text, strlen(text));
	file_close(file);
	return count < 0 ? count : (size_t)count < strlen(text) ? -ENOSPC : 0;
}

static void shell_file(unsigned count, char **words)
{
	const char *path = "", *to;
	struct file_tree *tree = count > 2 ? file_tree_of(words[2], &path) : NULL;
	struct file *file;
	int error;

	if (count == 1) {
		for (tree = file_tree_find(NULL); tree; tree = file_tree_next(tree))
			console_line("/%s%s%s", tree->node.name, *tree->tag ? ", /" : "", tree->tag);
		return;
	}
	if (count > 2 && !tree) {
		error = -ENODEV;
	} else if (count == 3 && !strcmp(words[1], "show")) {
		error = file_open(tree, path, FILE_READ, 0, &file);
		if (!error) {
			error = print_file(file);
			file_close(file);
		}
	} else if (count == 4 && !strcmp(words[1], "write")) {
		error = write_file(tree, path, words[3]);
	} else if (count == 3 && !strcmp(words[1], "mkdir")) {
		error = file_make_directory(tree, path, 0755);
	} else if (count == 3 && !strcmp(words[1], "remove")) {
		error = file_remove(tree, path);
	} else if (count == 4 && !strcmp(words[1], "rename")) {
		error = file_tree_of(words[3], &to) == tree ? file_rename(tree, path, to) : -EXDEV;
	} else {
		shell_usage(words);
		return;
	}
	if (error)
		shell_error(words[2], words[1], error);
}

SHELL_COMMAND(file, "file [show PATH | write PATH TEXT | mkdir PATH | remove PATH | rename PATH PATH]", "file trees, /TREE/...",
              shell_file, 0, 3);
