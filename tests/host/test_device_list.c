/*
 * lib/class/device.c: the list, and the record that VMM authors parse (CONTRACT.md).
 */
#include "check.h"

#include <base/util.h>
#include <class/device.h>

static unsigned layout_calls;

static void describe_queue(const struct device_info *info, unsigned index, struct device_queue *queue)
{
	assert_true(index < info->queue_count);
	layout_calls++;
	*queue = (struct device_queue){.size = (uint16_t)(256 >> index % 8), .layout = index % 2 ? "packed" : "split"};
}

static struct device_info sample(const char *name)
{
	return (struct device_info){
		.name = name,
		.type = 2,
		.driver = "virtio-blk",
		.transport = "pci",
		.address = "0000:00:04.0",
		.revision = "1.x",
		.irq = "msix",
		.vectors = 2,
		.offered = UINT64_C(0x100000000),
		.negotiated = 0x1,
		.state = "ok",
		.reason = "",
		.queue_count = 2,
		.queue = describe_queue,
	};
}

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_clock_set(0);
	host_console_capture(true);
	return 0;
}

static void test_list(void **state)
{
	struct device_info x = sample("blk0"), y = sample("blk1"), z = sample("net0");

	(void)state;
	assert_null(device_first());
	assert_null(device_find("blk0"));
	device_remove(&x);
	device_add(&x);
	device_add(&y);
	device_add(&z);
	assert_ptr_equal(device_first(), &x);
	assert_ptr_equal(x.next, &y);
	assert_ptr_equal(y.next, &z);
	assert_null(z.next);
	assert_ptr_equal(device_find("net0"), &z);
	assert_null(device_find("net"));
	device_remove(&y);
	device_remove(&y);
	assert_ptr_equal(x.next, &z);
	device_remove(&z);
	assert_null(x.next);
	device_add(&y);
	device_remove(&x);
	assert_ptr_equal(device_first(), &y);
	device_remove(&y);
	assert_null(device_first());
}

static void test_record(void **state)
{
	struct device_info info = sample("blk0");

	(void)state;
	device_announce(&info);
	assert_string_equal(
		host_console_text(),
		"@vireo {\"event\":\"device\",\"name\":\"blk0\",\"type\":2,\"driver\":\"virtio-blk\",\"transport\":\"pci\","
		"\"address\":\"0000:00:04.0\",\"revision\":\"1.x\",\"irq\":\"msix\",\"vectors\":2,\"queues\":[{\"size\":256,"
		"\"layout\":\"split\"},{\"size\":128,\"layout\":\"packed\"}],\"offered\":\"0x100000000\","
		"\"negotiated\":\"0x1\",\"state\":\"ok\"}\n"
		"[   0.000000] virtio-blk blk0 at 0000:00:04.0: pci, 1.x, msix, 2 vectors, 2 queues, features 0x1\n");
}

static void test_refused_record(void **state)
{
	struct device_info info = sample("blk0");

	(void)state;
	info.state = "refused";
	info.reason = "said \"no\"\n@vireo {}";
	info.queue_count = 0;
	info.queue = NULL;
	info.driver = "";
	device_announce(&info);

	const char *text = host_console_text();

	assert_int_equal(count_in(text, "\"queues\":[],"), 1);
	assert_int_equal(count_in(text, ",\"state\":\"refused\",\"reason\":\"said \\\"no\\\"\\u000a@vireo {}\"}\n"), 1);
	assert_int_equal(count_in(text, "virtio blk0 at 0000:00:04.0: refused: said \"no\"?@vireo {}\n"), 1);
	assert_int_equal(count_in(text, "\n"), 2);
}

/* However long reason and queues are, the record stays one whole line. */
static void test_long_record(void **state)
{
	struct device_info info = sample("net0");
	static char reason[3000];

	(void)state;
	memset(reason, '\\', sizeof(reason) - 1);
	info.reason = reason;
	info.queue_count = 65535;
	layout_calls = 0;
	device_announce(&info);

	const char *text = host_console_text(), *end = strchr(text, '\n');

	assert_int_equal(strncmp(text, "@vireo {", 8), 0);
	assert_non_null(end);
	assert_int_equal(strncmp(end - 2, "\"}", 2), 0);
	assert_in_range(layout_calls, 60, 1000);
	assert_int_equal(count_in(text, "}],\"offered\""), 1);
}

static void test_classes(void **state)
{
	struct class_list list = {0};
	struct class_node first = {.name = "blk0"}, second = {.name = "blk1"}, third = {.name = "blk2"};

	(void)state;
	assert_null(class_find(&list, NULL));
	assert_null(class_find(&list, "blk0"));
	class_remove(&list, &first);
	class_add(&list, &first);
	class_add(&list, &second);
	class_add(&list, &third);
	assert_ptr_equal(class_find(&list, NULL), &first);
	assert_ptr_equal(class_find(&list, "blk2"), &third);
	assert_null(class_find(&list, ""));
	class_remove(&list, &second);
	assert_ptr_equal(first.next, &third);
	assert_null(class_find(&list, "blk1"));
	class_remove(&list, &first);
	assert_ptr_equal(class_find(&list, NULL), &third);
	class_remove(&list, &third);
	assert_null(class_find(&list, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_list, set_up),           cmocka_unit_test_setup(test_record, set_up),
		cmocka_unit_test_setup(test_refused_record, set_up), cmocka_unit_test_setup(test_long_record, set_up),
		cmocka_unit_test_setup(test_classes, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
