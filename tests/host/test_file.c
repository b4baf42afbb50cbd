/*
 * The class of file trees and the drivers below it: all tests go over each of them, since no program can tell which it is.
 */
#include "check.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/file.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_tree.h"
#include "swdev_work.h"

static const struct swdev_type *const types[] = {&swdev_9p, &swdev_fs};

#define BYTES 700000u /* more than any message has */
static uint8_t *out, *in;

static struct file_tree *plug(struct swdev *dev)
{
	struct file_tree *tree;

	host_console_capture(true);
	if (swdev_plug(dev, &swdev_direct))
		fail_msg("%s refused: %s", dev->type->name, dev->vdev->reason);
	tree = file_tree_find(dev->vdev->name);
	assert_non_null(tree);
	return tree;
}

static void unplug(struct swdev *dev, const struct file_tree *tree)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < FILE_OPEN_MAX; i++)
		taken += tree->files[i].taken;
	assert_int_equal(taken, 0);
	assert_int_equal(tree->users, 0);
	assert_int_equal(swdev_tree_of(dev)->references, dev->type == &swdev_9p); /* 9P: the root's */
	assert_int_equal(swdev_unplug(dev), 0);
}

static void data(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i / 2]);
		const struct swdev_node *node;
		struct file_tree *tree;
		struct file_info info;
		struct file *file;

		dev->offered |= i % 2 ? FEATURE(F_RING_PACKED) : 0;
		tree = plug(dev);
		assert_string_equal(tree->tag, "a-tag");
		assert_ptr_equal(file_tree_find("a-tag"), tree);
		assert_int_equal(file_open(tree, "data", FILE_READ | FILE_WRITE | FILE_CREATE, 0640, &file), 0);
		assert_int_equal(file_write(file, 0, out, BYTES), BYTES);
		node = &swdev_tree_of(dev)->nodes[swdev_tree_path(swdev_tree_of(dev), "data")];
		assert_int_equal(node->size, BYTES);
		assert_memory_equal(node->bytes, out, BYTES);
		memset(in, 0, BYTES);
		assert_int_equal(file_read(file, 0, in, BYTES), BYTES);
		assert_memory_equal(in, out, BYTES);
		assert_int_equal(file_read(file, BYTES - 10, in, 100), 10);
		assert_memory_equal(in, out + BYTES - 10, 10);
		assert_int_equal(file_read(file, BYTES, in, 100), 0);
		assert_int_equal(file_info(file, &info), 0);
		assert_int_equal(info.kind, FILE_REGULAR);
		assert_int_equal(info.mode, 0640);
		assert_int_equal(info.size, BYTES);
		assert_int_equal(info.uid, 7);
		assert_int_equal(info.gid, 8);
		assert_int_equal(info.links, 2);
		assert_int_equal(info.changed_s, 1234567);
		assert_int_equal(file_resize(file, 5), 0);
		assert_int_equal(node->size, 5);
		assert_int_equal(file_sync(file), 0);
		assert_int_equal(swdev_tree_of(dev)->syncs, 1);
		file_close(file);
		assert_int_equal(file_open(tree, "data", FILE_WRITE | FILE_TRUNCATE, 0, &file), 0);
		assert_int_equal(node->size, 0);
		file_close(file);
		unplug(dev, tree);
	}
}

struct seen {
	unsigned count, most;
	uint8_t names[700];
};

static bool see(void *context, const char *name, enum file_kind kind)
{
	struct seen *seen = context;
	unsigned number = (unsigned)atoi(name);

	assert_int_equal(kind, number % 2 ? FILE_DIRECTORY : FILE_REGULAR);
	assert_true(number < ARRAY_SIZE(seen->names));
	seen->names[number]++;
	return ++seen->count < seen->most;
}

static void directories(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i]);
		struct file_tree *tree = plug(dev);
		struct swdev_tree *served = swdev_tree_of(dev);
		struct seen seen = {.most = 10000};
		unsigned directory, made;
		struct file_info info;
		struct file *file;
		char name[260];

		assert_int_equal(file_make_directory(tree, "/many", 0755), 0);
		directory = swdev_tree_path(served, "many");
		for (unsigned n = 0; n < ARRAY_SIZE(seen.names); n++) {
			int length = snprintf(name, sizeof(name), "%u-%0*u", n, 1 + (int)n % 250, 0);

			assert_int_equal(swdev_tree_make(served, directory, name, (size_t)length,
			                                 n % 2 ? SWDEV_DIRECTORY : SWDEV_FILE, 0700, &made),
			                 0);
		}
		assert_int_equal(file_open(tree, "many", 0, 0, &file), 0);
		assert_int_equal(file_list(file, see, &seen), 0);
		assert_int_equal(seen.count, ARRAY_SIZE(seen.names));
		for (unsigned n = 0; n < ARRAY_SIZE(seen.names); n++)
			assert_int_equal(seen.names[n], 1);
		seen = (struct seen){.most = 3};
		assert_int_equal(file_list(file, see, &seen), 0);
		assert_int_equal(seen.count, 3);
		file_close(file);

		assert_int_equal(file_make_directory(tree, "a", 0755), 0);
		assert_int_equal(file_make_directory(tree, "a/b", 0755), 0);
		assert_int_equal(file_open(tree, "a/b/c", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, 0600, &file), 0);
		file_close(file);
		assert_int_equal(file_rename(tree, "a/b/c", "/a/d"), 0);
		assert_int_equal(file_stat(tree, "a/b/c", &info), -ENOENT);
		assert_int_equal(file_stat(tree, "//a/./b/../d", &info), 0);
		assert_int_equal(file_stat(tree, "../../a/", &info), 0);
		assert_int_equal(info.kind, FILE_DIRECTORY);
		assert_int_equal(file_remove(tree, "a"), -ENOTEMPTY);
		assert_int_equal(file_remove(tree, "a/d"), 0);
		assert_int_equal(file_remove(tree, "a/b"), 0);
		assert_int_equal(file_remove(tree, "a"), 0);
		assert_int_equal(file_stat(tree, "a", &info), -ENOENT);
		assert_int_equal(file_remove(tree, "/"), -EBUSY);
		unplug(dev, tree);
	}
}

static void link_to(struct swdev_tree *tree, unsigned directory, const char *name, const char *text)
{
	unsigned made;

	assert_int_equal(swdev_tree_make(tree, directory, name, strlen(name), SWDEV_LINK, 0777, &made), 0);
	swdev_tree_resize(&tree->nodes[made], strlen(text));
	memcpy(tree->nodes[made].bytes, text, strlen(text));
}

static void links(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i]);
		struct swdev_tree *served = swdev_tree_of(dev);
		struct file_tree *tree = plug(dev);
		struct file_info info, target;
		unsigned directory, made;

		assert_int_equal(swdev_tree_make(served, 0, "dir", 3, SWDEV_DIRECTORY, 0755, &directory), 0);
		assert_int_equal(swdev_tree_make(served, directory, "file", 4, SWDEV_FILE, 0600, &made), 0);
		link_to(served, 0, "relative", "dir/file");
		link_to(served, directory, "up", "../dir/../dir/file");
		link_to(served, directory, "absolute", "/dir");
		link_to(served, 0, "loop", "loop");
		link_to(served, 0, "dangling", "nowhere");
		assert_int_equal(file_stat(tree, "dir/file", &target), 0);
		assert_int_equal(file_stat(tree, "relative", &info), 0);
		assert_int_equal(info.inode, target.inode);
		assert_int_equal(file_stat(tree, "dir/up", &info), 0);
		assert_int_equal(info.inode, target.inode);
		assert_int_equal(file_stat(tree, "dir/absolute/absolute/up", &info), 0);
		assert_int_equal(info.inode, target.inode);
		assert_int_equal(file_stat(tree, "loop", &info), -ELOOP);
		assert_int_equal(file_stat(tree, "loop/x", &info), -ELOOP);
		assert_int_equal(file_stat(tree, "dangling", &info), -ENOENT);
		assert_int_equal(file_remove(tree, "relative"), 0); /* the link, not the file */
		assert_int_equal(file_stat(tree, "dir/file", &info), 0);
		unplug(dev, tree);
	}
}

static void errors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i]);
		struct file_tree *tree = plug(dev);
		struct file *files[FILE_OPEN_MAX], *file;
		struct file_info info;
		char path[FILE_PATH_MAX + 10];
		unsigned count = 0;

		assert_int_equal(file_open(tree, "none", FILE_READ, 0, &file), -ENOENT);
		assert_int_equal(file_open(tree, "none/x", FILE_WRITE | FILE_CREATE, 0600, &file), -ENOENT);
		assert_int_equal(file_open(tree, "", FILE_WRITE, 0, &file), -EISDIR);
		assert_int_equal(file_open(tree, "x", FILE_WRITE | FILE_CREATE, 0600, &file), 0);
		file_close(file);
		assert_int_equal(file_open(tree, "x", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, 0600, &file), -EEXIST);
		assert_int_equal(file_make_directory(tree, "x", 0700), -EEXIST);
		assert_int_equal(file_stat(tree, "x/y", &info), -ENOTDIR);
		memset(path, 'n', sizeof(path));
		path[256] = '\0';
		assert_int_equal(file_stat(tree, path, &info), -ENAMETOOLONG);
		path[255] = '\0';
		assert_int_equal(file_stat(tree, path, &info), -ENOENT);
		path[255] = 'n';
		path[sizeof(path) - 1] = '\0';
		assert_int_equal(file_stat(tree, path, &info), -ENAMETOOLONG);
		while (count < FILE_OPEN_MAX && !file_open(tree, "x", FILE_READ, 0, &files[count]))
			count++;
		assert_true(count >= FILE_OPEN_MAX - 2);
		assert_int_equal(file_open(tree, "x", FILE_READ, 0, &file), -EMFILE);
		while (count)
			file_close(files[--count]);
		swdev_tree_of(dev)->fails = 122; /* one that we have no name for */
		assert_int_equal(file_stat(tree, "x", &info), -EIO);
		swdev_tree_of(dev)->fails = 39;
		assert_int_equal(file_stat(tree, "x", &info), -ENOTEMPTY);
		swdev_tree_of(dev)->fails = 0;
		unplug(dev, tree);
	}
}

/* What was open is stale; a new one works. */
static void recovery(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i]);
		struct file_tree *tree = plug(dev);
		struct file *file;

		assert_int_equal(file_open(tree, "x", FILE_WRITE | FILE_CREATE, 0600, &file), 0);
		swdev_needs_reset(dev);
		loop_sleep(100000000);
		assert_int_equal(file_write(file, 0, out, 10), -ESTALE);
		assert_int_equal(file_sync(file), -ESTALE);
		file_close(file);
		assert_int_equal(file_open(tree, "x", FILE_WRITE, 0, &file), 0);
		assert_int_equal(file_write(file, 0, out, 10), 10);
		file_close(file);
		unplug(dev, tree);
	}
}

static struct swdev *subject;
static void unplug_it(struct timer *timer)
{
	(void)timer;
	assert_int_equal(swdev_unplug(subject), 0);
}

static void reset_queues(struct timer *timer)
{
	(void)timer;
	for (unsigned q = 0; q < subject->vdev->queue_count; q++)
		assert_int_equal(virtio_queue_reset(subject->vdev, q), 0);
	subject->dead = false;
}

/* While somebody waits for it: the device goes, a queue is reset, and no answer comes at all. */
static void while_waiting(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3 * ARRAY_SIZE(types); i++) {
		uint64_t free_pages = page_count_free();
		struct timer timer = {0};
		struct file_tree *tree;
		struct file *file;
		int error;

		subject = swdev_new(types[i / 3]);
		subject->offered |= FEATURE(F_RING_RESET);
		tree = plug(subject);
		assert_int_equal(file_open(tree, "x", FILE_READ | FILE_WRITE | FILE_CREATE, 0600, &file), 0);
		subject->dead = true;
		if (i % 3 < 2)
			timer_start(&timer, 1000000, i % 3 ? reset_queues : unplug_it);
		error = file_write(file, 0, out, 100);
		assert_int_equal(error, -EIO);
		if (i % 3 == 1) {
			assert_int_equal(file_write(file, 0, out, 100), 100);
			file_close(file);
			unplug(subject, tree);
		} else {
			loop_sleep(UINT64_C(60000000000)); /* without an answer it does not come up again, and is given up */
			assert_true(file_write(file, 0, out, 100) == -ENODEV || i % 3 == 2);
			file_close(file);
			if (i % 3 == 2)
				assert_int_equal(swdev_unplug(subject), 0);
		}
		assert_int_equal(page_count_free(), free_pages);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data),   cmocka_unit_test(directories), cmocka_unit_test(links),
		cmocka_unit_test(errors), cmocka_unit_test(recovery),    cmocka_unit_test(while_waiting),
	};

	swdev_machine(64u << 20);
	out = page_alloc(BYTES, PAGE_SIZE);
	in = page_alloc(BYTES, PAGE_SIZE);
	for (uint32_t i = 0; i < BYTES; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 13);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
