/*
 * The console driver with ports that come, go, open, close and have names and sizes.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/char.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

#define MOMENT_NS UINT64_C(10000000)
#define SETTLE_NS UINT64_C(6000000000)

static char *memory;

static struct swdev *plug(uint64_t more)
{
	static struct swdev_type type;
	struct swdev *dev;

	type = swdev_ports;
	type.queues = 10;
	dev = swdev_new(&type);
	dev->offered |= more;
	plug_in(dev, &swdev_direct);
	return dev;
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_null(char_next(NULL));
}

static struct char_device *find(const char *name)
{
	struct char_device *device = char_find(name);

	assert_non_null(device);
	return device;
}

static void announced_ports(void **state)
{
	struct swdev *dev = plug(0);

	(void)state;
	/* the bring-up has waited for them */
	assert_ptr_equal(char_find(NULL), char_find("console0"));
	assert_true(find("console0")->console && find("console0")->open);
	assert_ptr_equal(char_find("one"), char_find("console0.1"));
	assert_true(!find("one")->console && !find("one")->open && find("one")->peer_open);
	assert_null(char_find("console0.2"));
	assert_null(char_find(""));
	/* "Multiport Device Operation": MUST respond with a PORT_OPEN of value 1 */
	assert_true(swdev_port(dev, 0)->open && swdev_port(dev, 0)->opens == 1 && !swdev_port(dev, 0)->open_owed);
	assert_int_equal(swdev_port(dev, 1)->opens, 0);
	char_open(find("console0"), false);
	loop_sleep(MOMENT_NS);
	assert_true(swdev_port(dev, 0)->open);
	unplug(dev);
}

static void both_ways_at_once(void **state)
{
	static const uint64_t variants[] = {0, FEATURE(F_RING_PACKED), FEATURE(F_EVENT_IDX), FEATURE(F_IN_ORDER)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
		struct swdev *dev = plug(variants[i]);
		struct swdev_work *work = swdev_work_begin(dev, 200);

		assert_non_null(work);
		assert_true(swdev_work_wait(work, SWDEV_WORK_NS));
		unplug(dev);
		swdev_work_end(work);
	}
}

static unsigned ended, changes;
static int last_status;

static void done(struct char_request *request)
{
	ended++;
	last_status = request->status;
}

static void submit(struct char_device *device, struct char_request *request)
{
	*request = (struct char_request){.memory = memory, .length = 100, .done = done};
	char_submit(device, request);
	loop_sleep(MOMENT_NS);
}

static void peer_changed(struct char_device *device)
{
	(void)device;
	changes++;
}

/* What is written while one side is closed waits: nothing is lost. */
static void open_and_closed(void **state)
{
	struct swdev *dev = plug(0);
	struct swdev_port *port = swdev_port(dev, 1);
	struct char_device *device = find("one");
	struct char_request request;

	(void)state;
	ended = changes = 0;
	device->peer_changed = peer_changed;
	assert_int_equal(char_write(device, memory, 10), -ENOTCONN);
	swdev_tty_type(dev, 1, memory, 50);
	submit(device, &request);
	assert_int_equal(ended, 0);
	assert_int_equal(char_read(device, memory + 1000, 100), 0);
	char_open(device, true);
	char_open(device, true);
	loop_sleep(MOMENT_NS);
	assert_int_equal(ended, 1);
	assert_int_equal(last_status, 0);
	assert_int_equal(port->opens, 1);
	assert_int_equal(port->printed_length, 100);
	assert_int_equal(char_read(device, memory + 1000, 100), 50);
	assert_memory_equal(memory, memory + 1000, 50);

	swdev_port_peer(dev, 1, false);
	loop_sleep(MOMENT_NS);
	assert_true(!device->peer_open && changes == 1);
	submit(device, &request);
	assert_int_equal(ended, 1);
	swdev_port_peer(dev, 1, true);
	loop_sleep(MOMENT_NS);
	assert_int_equal(ended, 2);
	assert_int_equal(port->printed_length, 200);
	char_open(device, false);
	loop_sleep(MOMENT_NS);
	assert_true(!port->open && port->closes == 1 && changes == 2);
	unplug(dev);
}

static void come_and_go(void **state)
{
	struct swdev *dev = plug(0);
	struct char_request request;

	(void)state;
	ended = 0;
	for (unsigned turn = 0; turn < 5; turn++) {
		swdev_port_add(dev, 2, "late", false);
		loop_sleep(MOMENT_NS);
		assert_ptr_equal(char_find("late"), char_find("console0.2"));
		char_open(find("late"), true);
		submit(find("late"), &request); /* the other side is closed */
		assert_int_equal(ended, turn);
		swdev_port_remove(dev, 2);
		swdev_port_say(dev, 2, PORT_OPEN, 0, NULL, 0); /* as QEMU does: nothing to complain of */
		loop_sleep(MOMENT_NS);
		assert_null(char_find("late"));
		assert_null(strstr(host_console_text(), "ignored"));
		assert_null(char_find("console0.2"));
		assert_int_equal(ended, turn + 1);
		assert_int_equal(last_status, -ENODEV);
	}
	assert_int_equal(swdev_port(dev, 2)->opens, 5);
	/* bytes that nobody read went with their port */
	swdev_tty_type(dev, 1, memory, 500);
	char_open(find("one"), true);
	loop_sleep(MOMENT_NS);
	swdev_port_remove(dev, 1);
	loop_sleep(MOMENT_NS);
	swdev_port_add(dev, 1, "another", false);
	loop_sleep(MOMENT_NS);
	assert_int_equal(char_read(find("another"), memory + 1000, 1000), 0);
	assert_int_equal(char_write(find(NULL), memory, 100), 0);
	unplug(dev);
}

/* A removed port, whose output the device does not give back, holds up neither its writer nor, for ever, its successor. */
static void output_kept(void **state)
{
	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		struct swdev *dev = plug(0);
		struct char_request request;

		ended = 0;
		swdev_tty(dev)->keeps_output = true;
		char_open(find("one"), true);
		submit(find("one"), &request);
		swdev_port_remove(dev, 1);
		loop_sleep(MOMENT_NS);
		assert_int_equal(ended, 0);
		if (again)
			swdev_port_add(dev, 1, "two", false);
		loop_sleep(MOMENT_NS);
		assert_true(!char_find("one") && !char_find("two"));
		loop_sleep(SETTLE_NS);
		assert_int_equal(ended, 1);
		assert_int_equal(last_status, -ENODEV);
		assert_non_null(strstr(host_console_text(), "console0: port 1: it is removed, and its output is not given back"));
		assert_int_equal(!!char_find("two"), again);
		assert_int_equal(char_write(find("console0"), memory, 100), 0);
		unplug(dev);
	}
}

static void used_after_removal(void **state)
{
	struct swdev *dev = plug(0);
	struct char_request request;

	(void)state;
	ended = 0;
	swdev_tty(dev)->keeps_output = true;
	char_open(find("one"), true);
	submit(find("one"), &request);
	swdev_port_remove(dev, 1);
	swdev_port_add(dev, 1, "two", false);
	loop_sleep(MOMENT_NS);
	assert_true(!ended && !char_find("two"));
	swdev_complete(swdev_take_held(&dev->queues[5]), 0);
	loop_sleep(MOMENT_NS);
	assert_int_equal(ended, 1);
	assert_int_equal(last_status, -ENODEV);
	assert_non_null(char_find("two"));
	assert_true(swdev_port(dev, 1)->ready);
	unplug(dev);
}

static void resized(struct char_device *device)
{
	(void)device;
	changes++;
}

static void size_of_each(void **state)
{
	static const uint16_t size[2] = {132, 50};
	struct swdev *dev = plug(0);

	(void)state;
	changes = 0;
	assert_int_equal(find("console0")->columns, 80);
	assert_int_equal(find("one")->columns, 0);
	find("one")->resized = resized;
	swdev_port_say(dev, 1, PORT_RESIZE, 0, size, sizeof(size));
	swdev_port_say(dev, 1, PORT_RESIZE, 0, size, sizeof(size));
	loop_sleep(MOMENT_NS);
	assert_int_equal(find("one")->columns, 132);
	assert_int_equal(find("one")->rows, 50);
	assert_int_equal(find("console0")->rows, 25);
	assert_int_equal(changes, 1);
	unplug(dev);
}

/* Ports outlive a reset, and what waits with them; one that is not announced again does not. */
static void reset(void **state)
{
	struct swdev *dev = plug(0);
	struct device_info *info = &dev->vdev->info;
	struct char_device *one = find("one");
	struct char_request request;

	(void)state;
	ended = 0;
	char_open(one, true);
	swdev_port_peer(dev, 1, false);
	loop_sleep(MOMENT_NS);
	submit(one, &request);
	swdev_port(dev, 1)->peer_open = true;
	assert_int_equal(info->reset(info), 0);
	loop_sleep(MOMENT_NS);
	assert_ptr_equal(char_find("one"), one);
	assert_true(one->open && one->peer_open && ended == 1 && last_status == 0);
	assert_true(swdev_port(dev, 1)->open && swdev_port(dev, 0)->open);

	swdev_port_peer(dev, 1, false);
	loop_sleep(MOMENT_NS);
	submit(one, &request);
	swdev_port(dev, 1)->there = false;
	assert_int_equal(info->reset(info), 0);
	loop_sleep(SETTLE_NS);
	assert_null(char_find("console0.1"));
	assert_true(ended == 2 && last_status == -ENODEV);
	assert_int_equal(char_write(find("console0"), memory, 100), 0);
	assert_int_equal(info->rebind(info), 0);
	assert_int_equal(char_write(find("console0"), memory, 100), 0);
	unplug(dev);
}

/* The software device knows which came first: PORT_READY, or what a console had to say from before the reset. */
static void output_over_a_reset(void **state)
{
	static struct char_request requests[40]; /* more than its queue takes */
	struct swdev *dev = plug(0);

	(void)state;
	ended = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i] = (struct char_request){.memory = memory, .length = 100, .done = done};
		char_submit(find("console0"), &requests[i]);
	}
	assert_int_equal(dev->vdev->info.reset(&dev->vdev->info), 0);
	loop_sleep(MOMENT_NS);
	assert_true(ended == ARRAY_SIZE(requests) && last_status == 0);
	unplug(dev);
}

static void each_queue_reset(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = plug(FEATURE(F_RING_RESET) | (packed ? FEATURE(F_RING_PACKED) : 0));
		struct char_device *one = find("one");

		char_open(one, true);
		for (unsigned queue = 0; queue < dev->queue_count; queue++) {
			swdev_port_peer(dev, 1, false);
			swdev_port_peer(dev, 1, true);
			assert_int_equal(dev->vdev->info.reset_queue(&dev->vdev->info, queue), 0);
			loop_sleep(MOMENT_NS);
			assert_int_equal(char_write(one, memory, 100), 0);
			assert_int_equal(char_write(find("console0"), memory, 100), 0);
			swdev_tty_type(dev, 1, memory, 70);
			loop_sleep(MOMENT_NS);
			assert_int_equal(char_read(one, memory + 1000, 100), 70);
		}
		assert_int_equal(swdev_port(dev, 1)->printed_length, 1000);
		unplug(dev);
	}
}

/* QEMU's device drops a control message that finds no buffer, and has 32 buffers for 31 ports with up to three messages each. */
static void no_message_is_dropped(void **state)
{
	static struct swdev_type type;
	struct swdev *dev;
	char name[16];

	(void)state;
	type = swdev_ports;
	type.queues = 64;
	dev = swdev_new(&type);
	swdev_tty(dev)->drops = true;
	for (unsigned i = 0; i < dev->queue_count; i++)
		dev->queues[i].max = i == 2 || i == 3 ? 32 : 128;
	for (unsigned i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), "port %u", i);
		swdev_port_add(dev, i, name, i % 2);
		swdev_port_peer(dev, i, true);
	}
	host_console_capture(true);
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_int_equal(swdev_tty(dev)->dropped, 0);
	for (unsigned i = 0; i < 31; i++) {
		snprintf(name, sizeof(name), "port %u", i);
		assert_true(find(name)->peer_open);
		assert_int_equal(find(name)->console, i % 2);
		assert_int_equal(swdev_port(dev, i)->open, i % 2);
	}
	unplug(dev);
}

static void long_name(void **state)
{
	struct swdev *dev = plug(0);
	char name[300] = {0};

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	swdev_port_add(dev, 3, name, false);
	loop_sleep(MOMENT_NS);
	assert_int_equal(strlen(find("console0.3")->tag), 63);
	assert_int_equal(dev->resets, 1);
	unplug(dev);
}

/* PORT_READY of value 0 */
static void no_memory_for_a_port(void **state)
{
	struct swdev *dev = plug(0);
	uint64_t free = page_count_free();
	void *rest = page_alloc((size_t)(free - 4) * PAGE_SIZE, PAGE_SIZE);

	(void)state;
	assert_non_null(rest);
	swdev_port_add(dev, 2, "late", false);
	loop_sleep(MOMENT_NS);
	assert_null(char_find("console0.2"));
	assert_int_equal(swdev_tty(dev)->failed, 1);
	page_free(rest, (size_t)(free - 4) * PAGE_SIZE);
	swdev_port_add(dev, 2, "late", false);
	loop_sleep(MOMENT_NS);
	assert_non_null(char_find("late"));
	unplug(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announced_ports),       cmocka_unit_test(both_ways_at_once),
		cmocka_unit_test(open_and_closed),       cmocka_unit_test(come_and_go),
		cmocka_unit_test(output_kept),           cmocka_unit_test(used_after_removal),
		cmocka_unit_test(size_of_each),          cmocka_unit_test(reset),
		cmocka_unit_test(output_over_a_reset),   cmocka_unit_test(each_queue_reset),
		cmocka_unit_test(no_message_is_dropped), cmocka_unit_test(long_name),
		cmocka_unit_test(no_memory_for_a_port),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(65536, PAGE_SIZE);
	for (unsigned i = 0; i < 1000; i++)
		memory[i] = (char)(i * 7);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
