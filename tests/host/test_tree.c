/*
 * lib/archive.c and lib/tree.c: what is in an archive is found by its path, wherever links lead, and in its folder; what is broken
 * costs one line and what comes behind it.
 */
#include "check.h"

#include <errno.h>
#include <sys/stat.h>

#include <base/boot_info.h>
#include <base/tree.h>
#include <base/util.h>

#include "archives.h"

static struct boot_info boot;
static uint8_t memory[4][1 << 16];
static struct archive_writer w;

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	memset(&boot, 0, sizeof(boot));
	tree_init(&boot);
	return 0;
}

static void begin(void)
{
	uint8_t *start = memory[boot.module_count];

	w = (struct archive_writer){.at = start, .start = start, .end = start + sizeof(memory[0])};
}

static void module(const char *cmdline)
{
	boot.module[boot.module_count++] = (struct boot_module){.base = (uintptr_t)w.start,
	                                                        .size = (uint64_t)(w.at - w.start),
	                                                        .cmdline = cmdline};
	tree_init(&boot);
}

static void put_file(const char *name, const char *text) { cpio_put(&w, name, S_IFREG | 0644, text, strlen(text), 1, 1); }

static void check_file(const char *path, const char *text)
{
	const struct tree_node *node;

	assert_int_equal(tree_find(path, true, &node), 0);
	assert_int_equal(node->kind, ARCHIVE_FILE);
	assert_int_equal(node->size, strlen(text));
	assert_memory_equal(node->data, text, strlen(text));
}

static void check_none(const char *path, int error)
{
	const struct tree_node *node;

	assert_int_equal(tree_find(path, true, &node), error);
}

/* Names in a folder, one after the other. */
static void check_folder(const char *path, const char *names)
{
	const struct tree_node *folder, *node = NULL;
	char found[256] = "";

	assert_int_equal(tree_find(path, true, &folder), 0);
	assert_int_equal(folder->kind, ARCHIVE_FOLDER);
	while ((node = tree_child(folder, node)))
		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%.*s ", (int)node->length, node->path);
	assert_string_equal(found, names);
}

static void test_nothing(void **state)
{
	(void)state;
	check_none("/a", -ENOENT);
	check_none("", -ENOENT);
	check_folder("/", "");
	tree_init(NULL);
	check_folder("/.././.", "");
}

static void test_cpio(void **state)
{
	const struct tree_node *node;

	(void)state;
	begin();
	cpio_put(&w, ".", S_IFDIR | 0755, "", 0, 1, 2);
	cpio_put(&w, "etc", S_IFDIR | 0700, "", 0, 2, 2);
	put_file("./etc/motd", "welcome\n");
	put_file("etc.d", "x");
	put_file("/usr//lib/a.so", "");
	cpio_put(&w, "dev/null", S_IFCHR | 0666, "", 0, 1, 1);
	put_file("last", "1234567");
	cpio_end(&w);
	memset(w.at, 0, 300); /* as QEMU and dracut pad */
	w.at += 300;
	put_file("second/archive", "in a row");
	cpio_end(&w);
	module("");

	check_file("/etc/motd", "welcome\n");
	check_file("etc/../etc/./motd", "welcome\n");
	check_file("usr/lib/a.so", "");
	check_file("/last", "1234567");
	check_file("second/archive", "in a row");
	check_folder("/", "etc etc.d last second usr ");
	check_folder("/etc", "etc/motd ");
	check_folder("/usr/", "usr/lib ");
	check_none("/dev/null", -ENOENT);
	check_none("/last/x", -ENOTDIR);
	check_none("/last/", -ENOTDIR);
	check_none("/usr/lib/a", -ENOENT);
	assert_int_equal(tree_find("/etc", true, &node), 0);
	assert_int_equal(node->mode, 0700);
	assert_int_equal(tree_find("/etc/motd", true, &node), 0);
	assert_int_equal(node->mtime, 1234567);
	assert_string_equal(host_console_text(), "");
}

static void test_tar(void **state)
{
	char deep[300], pax[400];

	(void)state;
	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	deep[150] = '/';
	begin();
	tar_put(&w, "bin/", '5', "", "", 0);
	tar_put(&w, "bin/sh", '0', "", "#!", 2);
	tar_put(&w, "bin/bash", '2', "sh", "", 0);
	tar_put(&w, "bin/hard", '1', "bin/sh", "", 0);
	tar_put(&w, "././@LongLink", 'L', "", deep, sizeof(deep));
	tar_put(&w, "short", '0', "", "long", 4);
	snprintf(pax, sizeof(pax), "15 mtime=12345\n%u path=p/%s\n", (unsigned)(strlen("000 path=p/\n") + strlen(deep)), deep);
	tar_put(&w, "PaxHeaders/x", 'x', "", pax, strlen(pax));
	tar_put(&w, "cut", '0', "", "pax", 3);
	tar_put(&w, "after", '0', "", "plain", 5);
	tar_end(&w);
	module("");

	check_file("/bin/sh", "#!");
	check_file("/bin/bash", "#!");
	check_file("/bin/hard", "#!");
	check_file(deep, "long");
	snprintf(pax, sizeof(pax), "/p/%s", deep);
	check_file(pax, "pax");
	check_file("/after", "plain");
	check_none("/short", -ENOENT);
	check_none("/cut", -ENOENT);
	check_folder("/bin", "bin/bash bin/hard bin/sh ");
	assert_string_equal(host_console_text(), "");
}

static void test_links(void **state)
{
	const struct tree_node *node;

	(void)state;
	begin();
	put_file("a/b/file", "here");
	cpio_put(&w, "to-b", S_IFLNK | 0777, "a/b", 3, 1, 1);
	cpio_put(&w, "a/up", S_IFLNK | 0777, "../to-b", 7, 1, 1);
	cpio_put(&w, "a/b/top", S_IFLNK | 0777, "/a", 2, 1, 1);
	cpio_put(&w, "loop", S_IFLNK | 0777, "loop", 4, 1, 1);
	cpio_put(&w, "ping", S_IFLNK | 0777, "pong/x", 6, 1, 1);
	cpio_put(&w, "pong", S_IFLNK | 0777, "ping/x", 6, 1, 1);
	cpio_put(&w, "nowhere", S_IFLNK | 0777, "a/c", 3, 1, 1);
	cpio_put(&w, "empty", S_IFLNK | 0777, "", 0, 1, 1);
	cpio_end(&w);
	module("");

	check_file("/to-b/file", "here");
	check_file("/a/up/file", "here");
	check_file("/a/b/top/b/top/up/file", "here");
	check_file("/to-b/../b/file", "here");
	check_none("/loop", -ELOOP);
	check_none("/ping", -ELOOP);
	check_none("/nowhere", -ENOENT);
	check_folder("/to-b", "a/b/file a/b/top ");
	assert_int_equal(tree_find("/to-b", false, &node), 0);
	assert_int_equal(node->kind, ARCHIVE_LINK);
	assert_int_equal(tree_find("/loop", false, &node), 0);
}

static void test_hard_links_of_cpio(void **state)
{
	(void)state;
	begin();
	put_file("before", "");
	cpio_put(&w, "one", S_IFREG | 0644, "", 0, 77, 3);
	cpio_put(&w, "sub/two", S_IFREG | 0644, "", 0, 77, 3);
	cpio_put(&w, "three", S_IFREG | 0644, "shared", 6, 77, 3);
	cpio_end(&w);
	module("");
	check_file("/one", "shared");
	check_file("/sub/two", "shared");
	check_file("/three", "shared");
	check_file("/before", "");
}

/* Several modules are one tree; the later one wins; what is no archive is a file. */
static void test_modules(void **state)
{
	(void)state;
	begin();
	put_file("etc/a", "old");
	put_file("etc/b", "b");
	cpio_end(&w);
	module("");
	begin();
	tar_put(&w, "etc/a", '0', "", "new!", 4);
	tar_end(&w);
	module("second.tar");
	begin();
	w.at += 9;
	memcpy(w.start, "some text", 9);
	module("/boot/notes.txt more words");
	begin();
	w.at += 3;
	memcpy(w.start, "raw", 3);
	module("");
	check_file("/etc/a", "new!");
	check_file("/etc/b", "b");
	check_file("/notes.txt", "some text");
	check_file("/initrd", "raw");
	check_folder("/", "etc initrd notes.txt ");
}

static void test_broken(void **state)
{
	static const struct {
		const char *what, *line;
		size_t at;
		char byte;
	} cases[] = {
		{"a size beyond the end", "cut short", 54, 'f'},
		{"no digits", "other things than digits", 60, 'x'},
		{"no magic", "no cpio header", 2, 'x'},
		{"a name without an end", "a name without an end", 101, '1'},
		{"a name of no length", "a name without an end", 101, '0'},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t second;

		boot.module_count = 0;
		begin();
		put_file("good", "1");
		second = (size_t)(w.at - w.start);
		put_file("x", "2");
		cpio_end(&w);
		w.start[second + cases[i].at] = (uint8_t)cases[i].byte;
		host_console_capture(true);
		module("");
		check_file("/good", "1");
		check_none("/x", -ENOENT);
		assert_int_equal(count_in(host_console_text(), cases[i].line), 1);
		assert_int_equal(count_in(host_console_text(), "\n"), 1);
	}
}

static void test_climbing(void **state)
{
	(void)state;
	begin();
	put_file("../../etc/passwd", "1");
	put_file("a/../../b", "2");
	put_file("ok", "3");
	cpio_end(&w);
	module("");
	check_file("/ok", "3");
	check_folder("/", "ok ");
	assert_int_equal(count_in(host_console_text(), "2 names that climb above the root"), 1);
	assert_int_equal(count_in(host_console_text(), "\n"), 1);
}

static void test_long_paths(void **state)
{
	char path[3000];

	(void)state;
	begin();
	put_file("a", "1");
	cpio_end(&w);
	module("");
	memset(path, '/', sizeof(path) - 2);
	path[sizeof(path) - 2] = 'a';
	path[sizeof(path) - 1] = '\0';
	check_none(path, -ENAMETOOLONG);
	check_file(path + sizeof(path) - 1000, "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing, set_up),    cmocka_unit_test_setup(test_cpio, set_up),
		cmocka_unit_test_setup(test_tar, set_up),        cmocka_unit_test_setup(test_links, set_up),
		cmocka_unit_test_setup(test_modules, set_up),    cmocka_unit_test_setup(test_hard_links_of_cpio, set_up),
		cmocka_unit_test_setup(test_broken, set_up),     cmocka_unit_test_setup(test_climbing, set_up),
		cmocka_unit_test_setup(test_long_paths, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
