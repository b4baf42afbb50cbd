/*
 * Requirements of "Virtio Over MMIO" that are about which registers are accessed, and in which order. The software device itself checks
 * widths and directions of all accesses (swdev_mmio.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"
#include "trace.h"

/* "MMIO Device Register Layout" */
enum {
	MAGIC_VALUE = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	DEVICE_FEATURES = 0x10,
	DEVICE_FEATURES_SEL = 0x14,
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_SIZE_MAX = 0x34,
	QUEUE_SIZE = 0x38,
	QUEUE_READY = 0x44,
	INTERRUPT_STATUS = 0x60,
	INTERRUPT_ACK = 0x64,
	QUEUE_DESC = 0x80,
	QUEUE_DEVICE_END = 0xa8,
	SHM_SEL = 0xac,
	SHM_END = 0xc0,
};

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s: %s", dev->type->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

/* A trace of each driver's bring-up and some work, over version 2 and version 1, given to a check. */
static void each(void (*check)(void), const struct swdev_lie *lie)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(types); i++) {
		struct swdev *dev = swdev_new(types[i / 2]);
		struct swdev_work *work;

		dev->legacy = i % 2;
		dev->lie = lie;
		trace_begin();
		assert_int_equal(swdev_plug(dev, &swdev_mmio), 0);
		work = swdev_work_begin(dev, 12);
		assert_true(swdev_work_wait(work, SWDEV_WORK_NS));
		trace_end();
		check();
		unplug(dev);
		swdev_work_end(work);
	}
}

static bool is_read(const struct trace_access *access, uint64_t offset) { return !access->write && access->offset == offset; }
static bool is_write(const struct trace_access *access, uint64_t offset) { return access->write && access->offset == offset; }

/* ---- "Device Initialization" ---- */

static void check_first(void)
{
	assert_true(trace_count > 3);
	assert_true(is_read(&trace[0], MAGIC_VALUE));
	assert_true(is_read(&trace[1], VERSION));
	assert_true(is_read(&trace[2], DEVICE_ID));
}

static void magic_version_id(void **state)
{
	(void)state;
	each(check_first, NULL);
}

/* Nothing is touched behind the register that says that there is nothing for us, and of a placeholder nothing is said. */
static void nothing_there(void **state)
{
	static const struct {
		struct swdev_lie lie;
		unsigned reads;
		bool silent;
	} cases[] = {
		{{.name = "magic", .reg = REG_MAGIC, .index = -1, .op = OP_XOR, .value = 0x20}, 1, false},
		{{.name = "magic", .reg = REG_MAGIC, .index = -1, .op = OP_SET, .value = 0x76697274}, 1, false},
		{{.name = "version 0", .reg = REG_VERSION, .index = -1, .op = OP_SET, .value = 0}, 2, false},
		{{.name = "version 3", .reg = REG_VERSION, .index = -1, .op = OP_SET, .value = 3}, 2, false},
		{{.name = "version 2^31 + 2", .reg = REG_VERSION, .index = -1, .op = OP_SET, .value = 0x80000002}, 2, false},
		{{.name = "placeholder", .reg = REG_DEVICE_ID, .index = -1, .op = OP_SET, .value = 0}, 3, true},
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct swdev *dev = swdev_new(&swdev_blk);

		dev->legacy = i % 2;
		dev->lie = &cases[i / 2].lie;
		host_console_capture(true);
		trace_begin();
		assert_int_not_equal(swdev_plug(dev, &swdev_mmio), 0);
		trace_end();
		assert_null(dev->vdev);
		assert_int_equal(trace_count, cases[i / 2].reads);
		for (unsigned k = 0; k < trace_count; k++)
			assert_true(is_read(&trace[k], 4 * k));
		if (cases[i / 2].silent)
			assert_string_equal(host_console_text(), "");
		unplug(dev);
	}
}

/* Drivers that expect no shared memory do not look for any. */
static void check_shm(void)
{
	for (unsigned i = 0; i < trace_count; i++)
		assert_false(trace[i].offset >= SHM_SEL && trace[i].offset < SHM_END);
}

static void shared_memory_is_left_alone(void **state)
{
	(void)state;
	each(check_shm, NULL);
}

/* ---- "MMIO Device Register Layout" ---- */

static void check_selectors(void)
{
	bool device_selected = false, driver_selected = false;
	unsigned words = 0;

	for (unsigned i = 0; i < trace_count; i++) {
		device_selected |= is_write(&trace[i], DEVICE_FEATURES_SEL);
		driver_selected |= is_write(&trace[i], DRIVER_FEATURES_SEL);
		if (is_read(&trace[i], DEVICE_FEATURES)) {
			assert_true(device_selected);
			device_selected = false; /* each word anew */
			words++;
		}
		if (is_write(&trace[i], DRIVER_FEATURES)) {
			assert_true(driver_selected);
			driver_selected = false;
			words++;
		}
	}
	assert_true(words >= 2);
}

static void selectors_before_words(void **state)
{
	(void)state;
	each(check_selectors, NULL);
}

/* The size is at most the one offered; and a queue's registers rest while it is ready. */
static void check_queues(void)
{
	uint64_t selected = 0, max[8] = {0};
	bool ready[8] = {false};

	for (unsigned i = 0; i < trace_count; i++) {
		const struct trace_access *a = &trace[i];

		if (is_write(a, QUEUE_SEL))
			selected = a->value;
		assert_true(selected < 8);
		if (is_read(a, QUEUE_SIZE_MAX))
			max[selected] = a->value;
		if (is_write(a, QUEUE_SIZE))
			assert_true(a->value > 0 && a->value <= max[selected]);
		if (a->offset == QUEUE_SIZE || (a->offset >= QUEUE_DESC && a->offset < QUEUE_DEVICE_END))
			assert_false(ready[selected]);
		if (is_write(a, QUEUE_READY))
			ready[selected] = a->value;
	}
}

static void queue_registers(void **state)
{
	static const struct swdev_lie small = {.name = "", .reg = REG_QUEUE_MAX, .index = -1, .op = OP_SET, .value = 16};

	(void)state;
	each(check_queues, NULL);
	each(check_queues, &small);
}

/* ---- "Notifications From The Device" ---- */

/* Each interrupt's cause is read, and exactly the defined bits of what was read are acknowledged. */
static void check_acknowledgements(void)
{
	unsigned acknowledged = 0;

	for (unsigned i = 0; i < trace_count; i++) {
		if (is_write(&trace[i], INTERRUPT_ACK)) {
			assert_true(i > 0 && is_read(&trace[i - 1], INTERRUPT_STATUS));
			assert_int_equal(trace[i].value, trace[i - 1].value & 3);
			assert_true(trace[i].value != 0);
			acknowledged++;
		} else if (i > 0 && is_read(&trace[i - 1], INTERRUPT_STATUS)) {
			assert_int_equal(trace[i - 1].value & 3, 0);
		}
	}
	assert_true(acknowledged > 0);
}

static void interrupts_are_acknowledged(void **state)
{
	static const struct swdev_lie undefined = {.name = "", .reg = REG_ISR, .index = -1, .op = OP_OR, .value = 0x5c};

	(void)state;
	each(check_acknowledgements, NULL);
	each(check_acknowledgements, &undefined); /* bits that mean nothing are ignored */
}

static unsigned uses;

static void count_use(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq, (void)token, (void)length;
	uses++;
}

/* One used buffer notification stands for every queue. */
static void one_notification_for_every_queue(void **state)
{
	uint8_t *memory = page_alloc(PAGE_SIZE, PAGE_SIZE);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct swdev *dev = swdev_new(&swdev_echo);

		dev->legacy = i & 1;
		dev->mmio_level = i & 2;
		echo_options = (struct echo_options){.queues = SWDEV_ECHO_QUEUES, .used = count_use};
		assert_int_equal(swdev_plug(dev, &swdev_mmio), 0);
		loop_sleep(1000000);
		uses = 0;
		dev->no_interrupts = true;
		for (unsigned q = 0; q < SWDEV_ECHO_QUEUES; q++) {
			struct virtq_buf buf = {memory + 64 * q, 64};

			assert_int_equal(virtq_add(dev->vdev->queues[q], &buf, 0, 1, buf.addr), 0);
			virtq_kick(dev->vdev->queues[q]);
		}
		swdev_look_all(true);
		loop_sleep(1000000);
		assert_int_equal(uses, 0);
		dev->front->interrupt(dev, &dev->queues[2]);
		loop_sleep(1000000);
		assert_int_equal(uses, SWDEV_ECHO_QUEUES);
		unplug(dev);
	}
	echo_options = (struct echo_options){0};
	page_free(memory, PAGE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(magic_version_id),
		cmocka_unit_test(nothing_there),
		cmocka_unit_test(shared_memory_is_left_alone),
		cmocka_unit_test(selectors_before_words),
		cmocka_unit_test(queue_registers),
		cmocka_unit_test(interrupts_are_acknowledged),
		cmocka_unit_test(one_notification_for_every_queue),
	};

	swdev_machine(64u << 20);
	log_threshold = LOG_INFO;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
