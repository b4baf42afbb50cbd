/*
 * The DAX window of file systems: what is read and written there is the files', and nothing is touched that is not mapped, for that faults
 * here (swdev_window.c).
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/file.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_window.h"

#define MIB (1u << 20)
#define CHUNK (2 * MIB)
#define BYTES (2 * CHUNK + 12345)

static uint8_t *out, *in;

static struct swdev *make(uint64_t window, bool packed)
{
	struct swdev *dev = swdev_new(&swdev_fs);

	dev->offered |= packed ? FEATURE(F_RING_PACKED) : 0;
	swdev_window_new(dev, window);
	swdev_tree_of(dev)->valid_s = 1000;
	return dev;
}

static struct file_tree *plug(struct swdev *dev, const struct swdev_front *front)
{
	plug_in(dev, front);
	return file_tree_find(dev->vdev->name);
}

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s", dev->first_violation);
	assert_int_equal(swdev_tree_of(dev)->window->count, 0);
	assert_int_equal(swdev_tree_of(dev)->references, 0);
	assert_int_equal(swdev_unplug(dev), 0);
}

/* A file of the server's. */
static struct swdev_node *serve(struct swdev *dev, const char *name, size_t bytes)
{
	unsigned made;

	assert_int_equal(swdev_tree_make(swdev_tree_of(dev), 0, name, strlen(name), SWDEV_FILE, 0600, &made), 0);
	swdev_tree_resize(&swdev_tree_of(dev)->nodes[made], bytes);
	memcpy(swdev_tree_of(dev)->nodes[made].bytes, out, bytes);
	return &swdev_tree_of(dev)->nodes[made];
}

static struct file *open_file(struct file_tree *tree, const char *name, unsigned flags)
{
	struct file *file;

	assert_int_equal(file_open(tree, name, flags, 0600, &file), 0);
	return file;
}

static void reads_well(struct file *file, uint32_t bytes)
{
	memset(in, 0xee, bytes);
	assert_int_equal(file_read(file, 0, in, bytes), bytes);
	assert_memory_equal(in, out, bytes);
}

static void data(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = make(64 * MIB, i & 1);
		struct file_tree *tree = plug(dev, i & 2 ? &swdev_mmio : &swdev_direct);
		struct swdev_tree *served = swdev_tree_of(dev);
		struct swdev_window *window = served->window;
		const struct swdev_node *node = serve(dev, "data", BYTES);
		struct file *file = open_file(tree, "data", FILE_READ | FILE_WRITE), *other;

		reads_well(file, BYTES);
		assert_int_equal(file_read(file, CHUNK - 5, in, 10), 10);
		assert_memory_equal(in, out + CHUNK - 5, 10);
		assert_int_equal(file_write(file, CHUNK - 3, out, 10000), 10000);
		assert_memory_equal(node->bytes + CHUNK - 3, out, 10000);
		assert_memory_equal(node->bytes, out, CHUNK - 3);
		assert_memory_equal(node->bytes + CHUNK + 9997, out + CHUNK + 9997, BYTES - CHUNK - 9997);
		assert_int_equal(served->reads + served->writes, 0);
		assert_int_equal(window->maps, 3);
		assert_int_equal(served->stats, 1);

		/* Over the end: what is behind it by a request, and then it is in the file. */
		assert_int_equal(file_write(file, BYTES - 10, out, 30), 30);
		assert_int_equal(node->size, BYTES + 20);
		assert_memory_equal(node->bytes + BYTES - 10, out, 30);
		assert_int_equal(served->writes, 1);
		assert_int_equal(file_read(file, BYTES - 10, in, 30), 30);
		assert_memory_equal(in, out, 30);
		assert_int_equal(served->reads, 0);
		assert_int_equal(file_read(file, BYTES, in, 100), 20);
		assert_int_equal(served->reads, 1);
		assert_int_equal(file_sync(file), 0);

		/* What a file is not open for is not mapped: to write only, it is by requests. */
		other = open_file(tree, "data", FILE_WRITE);
		assert_int_equal(file_write(other, 0, out + 1, 100), 100);
		assert_int_equal(served->writes, 2);
		file_close(other);
		assert_int_equal(window->maps, 3);
		other = open_file(tree, "data", FILE_READ);
		assert_int_equal(file_read(other, 0, in, 100), 100);
		assert_memory_equal(in, out + 1, 100);
		assert_int_equal(window->maps, 4);
		file_close(other);
		assert_int_equal(window->count, 3);
		file_close(file);
		unplug(dev);
	}
}

/* Fewer places than chunks: the one that was used longest ago goes. */
static void places(void **state)
{
	struct swdev *dev = make(3 * CHUNK + MIB, false);
	struct file_tree *tree = plug(dev, &swdev_direct);
	struct swdev_window *window = swdev_tree_of(dev)->window;
	struct file *file;

	(void)state;
	serve(dev, "data", 5 * CHUNK);
	file = open_file(tree, "data", FILE_READ | FILE_WRITE);
	reads_well(file, 5 * CHUNK);
	assert_int_equal(window->most, 3);
	assert_int_equal(window->maps, 5);
	assert_int_equal(window->unmaps, 2);
	for (unsigned i = 0; i < 6;
	     i++) { /* chunk 2 is used each time, so the others go: of the last three, 3 first, and then 4 */
		assert_int_equal(file_read(file, 2 * CHUNK, in, 1000), 1000);
		assert_memory_equal(in, out + 2 * CHUNK, 1000);
		assert_int_equal(window->maps, 5 + i);
		assert_int_equal(file_read(file, (i % 3 ? i % 3 + 2 : 0) * CHUNK, in, 1000), 1000);
		assert_memory_equal(in, out + (i % 3 ? i % 3 + 2 : 0) * CHUNK, 1000);
		assert_int_equal(window->maps, 6 + i);
	}
	assert_int_equal(swdev_tree_of(dev)->reads, 0);
	file_close(file);
	unplug(dev);

	dev = make(64 * MIB, false); /* units larger than a chunk, and sixteen places at most */
	swdev_tree_of(dev)->window->alignment = 22;
	tree = plug(dev, &swdev_direct);
	serve(dev, "data", 5 * CHUNK);
	file = open_file(tree, "data", FILE_READ);
	reads_well(file, 5 * CHUNK);
	assert_int_equal(swdev_tree_of(dev)->window->most, 3);
	file_close(file);
	unplug(dev);
}

static void smaller(void **state)
{
	struct swdev *dev = make(64 * MIB, false);
	struct file_tree *tree = plug(dev, &swdev_direct);
	struct swdev_window *window = swdev_tree_of(dev)->window;
	struct file *file, *other;

	(void)state;
	serve(dev, "data", BYTES);
	file = open_file(tree, "data", FILE_READ | FILE_WRITE);
	other = open_file(tree, "data", FILE_READ | FILE_WRITE);
	reads_well(file, BYTES);
	reads_well(other, BYTES);
	assert_int_equal(window->count, 6);
	assert_int_equal(file_resize(file, 10000), 0);
	assert_int_equal(window->count, 0);
	assert_int_equal(file_read(other, 0, in, BYTES), 10000);
	assert_memory_equal(in, out, 10000);
	assert_int_equal(file_read(file, CHUNK, in, 10), 0);
	assert_int_equal(file_resize(other, BYTES), 0);
	assert_int_equal(file_read(file, 0, in, BYTES), BYTES);
	assert_memory_equal(in, out, 10000);
	for (unsigned i = 10000; i < BYTES; i++)
		assert_int_equal(in[i], 0);
	file_close(other);
	other = open_file(tree, "data", FILE_WRITE | FILE_TRUNCATE);
	assert_int_equal(window->count, 0);
	assert_int_equal(file_read(file, 0, in, 10), 0);
	assert_int_equal(file_write(other, 0, out, BYTES), BYTES);
	reads_well(file, BYTES);
	assert_true(window->count > 0);
	assert_int_equal(file_remove(tree, "data"), 0);
	assert_int_equal(window->count, 0);
	file_close(other);
	file_close(file);
	unplug(dev);
}

static struct swdev *subject;
static struct file *second;
static void make_smaller(struct timer *timer)
{
	(void)timer;
	subject->dead = false;
	assert_int_equal(file_resize(second, 5), 0);
}

static void break_it(struct timer *timer)
{
	(void)timer;
	subject->dead = false;
	swdev_needs_reset(subject);
}

/* While somebody waits for the size (i 0) or for a mapping: the file becomes smaller. Then its old end is not touched. */
static void smaller_meanwhile(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct swdev *dev = subject = make(64 * MIB, false);
		struct file_tree *tree = plug(dev, &swdev_direct);
		struct timer timer = {0};
		struct file_info info;
		struct file *file;

		serve(dev, "data", BYTES);
		file = open_file(tree, "data", FILE_READ | FILE_WRITE);
		second = open_file(tree, "data", FILE_WRITE);
		if (i)
			assert_int_equal(file_info(file, &info), 0);
		dev->dead = true;
		timer_start(&timer, 1000000, make_smaller);
		assert_int_equal(file_read(file, CHUNK, in, 100000), 0);
		assert_int_equal(file_read(file, 0, in, 100000), 5);
		assert_memory_equal(in, out, 5);
		file_close(second);
		file_close(file);
		unplug(dev);
	}
}

/* A reset ends all mappings; one while somebody waits for the size (i 1) or for a mapping (i 2) ends that call. */
static void recovery(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct swdev *dev = subject = make(64 * MIB, false);
		struct file_tree *tree = plug(dev, &swdev_direct);
		struct timer timer = {0};
		struct file_info info;
		struct file *file;
		unsigned resets = dev->resets;

		serve(dev, "data", BYTES);
		file = open_file(tree, "data", FILE_READ | FILE_WRITE);
		if (!i) {
			reads_well(file, BYTES);
			swdev_needs_reset(dev);
			loop_sleep(100000000);
			assert_int_equal(file_read(file, 0, in, 10), -ESTALE);
		} else {
			if (i == 2)
				assert_int_equal(file_info(file, &info), 0);
			dev->dead = true;
			timer_start(&timer, 1000000, break_it);
			assert_int_equal(file_read(file, 0, in, 10), -EIO);
			assert_int_equal(file_read(file, 0, in, 10), -ESTALE);
		}
		assert_true(dev->resets > resets);
		assert_int_equal(swdev_tree_of(dev)->window->count, 0);
		file_close(file);
		file = open_file(tree, "data", FILE_READ | FILE_WRITE);
		reads_well(file, BYTES);
		assert_int_equal(swdev_tree_of(dev)->window->count, 3);
		assert_int_equal(swdev_tree_of(dev)->reads, 0);
		file_close(file);
		unplug(dev);
	}
}

/* What the server says of the size counts as long as it says. */
static void sizes(void **state)
{
	struct swdev *dev = make(64 * MIB, false);
	struct swdev_tree *served = swdev_tree_of(dev);
	struct file_tree *tree = plug(dev, &swdev_direct);
	struct swdev_node *node = serve(dev, "data", BYTES);
	struct file *file = open_file(tree, "data", FILE_READ);

	(void)state;
	served->valid_s = 1;
	reads_well(file, 10);
	reads_well(file, 10);
	assert_int_equal(served->stats, 1);
	swdev_tree_resize(node, 3); /* by others */
	loop_sleep(UINT64_C(2000000000));
	assert_int_equal(file_read(file, 0, in, 10), 3);
	assert_int_equal(served->stats, 2);
	served->valid_s = 0;
	loop_sleep(UINT64_C(2000000000));
	for (unsigned i = 0; i < 5; i++)
		reads_well(file, 3);
	assert_int_equal(served->stats, 7);
	assert_int_equal(served->reads, 1);
	file_close(file);
	unplug(dev);
}

/* No window, none that the session speaks of, one that is too small, and one where nothing is mapped: by requests. */
static void without(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = i ? make(i == 2 ? MIB : 64 * MIB, false) : swdev_new(&swdev_fs);
		struct swdev_tree *served = swdev_tree_of(dev);
		const struct swdev_node *node;
		struct file_tree *tree;
		struct file *file;

		if (i == 1)
			served->window->unsaid = true;
		if (i == 3)
			served->window->fails = 12;
		tree = plug(dev, &swdev_direct);
		assert_int_equal(count_in(host_console_text(), "is of no use"), i == 2);
		node = serve(dev, "data", BYTES);
		file = open_file(tree, "data", FILE_READ | FILE_WRITE);
		reads_well(file, BYTES);
		assert_int_equal(file_write(file, 7, out, 1000), 1000);
		assert_memory_equal(node->bytes + 7, out, 1000);
		assert_true(served->reads > 10 && served->writes == 1);
		assert_int_equal(served->stats, i == 3);
		if (i == 3) { /* for the request that failed only */
			served->window->fails = 0;
			served->reads = 0;
			assert_int_equal(file_read(file, 7, in, 1000), 1000);
			assert_memory_equal(in, out, 1000);
			assert_int_equal(served->reads, 0);
		}
		file_close(file);
		if (i)
			unplug(dev);
		else
			assert_int_equal(swdev_unplug(dev), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data),     cmocka_unit_test(places),
		cmocka_unit_test(smaller),  cmocka_unit_test(smaller_meanwhile),
		cmocka_unit_test(recovery), cmocka_unit_test(sizes),
		cmocka_unit_test(without),
	};

	swdev_machine(64u << 20);
	out = page_alloc(5 * CHUNK, PAGE_SIZE);
	in = page_alloc(5 * CHUNK, PAGE_SIZE);
	for (uint32_t i = 0; i < 5 * CHUNK; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 13);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
