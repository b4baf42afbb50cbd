/*
 * Requirements of "Device Status Field" and "Device Initialization": the steps of each bring-up, taken from the registers that the driver
 * touches, over both transports.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arch/clock.h>
#include <base/event.h>
#include <class/block.h>
#include <class/device.h>
#include <host.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_pci.h"
#include "swdev_types.h"
#include "swdev_work.h"
#include "trace.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};
static const struct swdev_front *const fronts[] = {&swdev_mmio, &swdev_pci};

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s: %s", dev->type->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void do_work(struct swdev *dev, unsigned amount)
{
	struct swdev_work *work = swdev_work_begin(dev, amount);

	assert_non_null(work);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		fail_msg("%s does not work\n%s", dev->type->name, host_console_text());
	swdev_work_end(work);
}

static struct device_info *info_of(struct swdev *dev) { return device_find(dev->vdev->name); }

/* Indices of the steps of "Device Initialization" in the trace: the writes of the status, */
struct steps {
	unsigned reset, acknowledge, driver, features_ok, driver_ok;
};

static unsigned status_write(struct swdev *dev, unsigned from, uint8_t value)
{
	while (from < trace_count && !(trace_kind(dev, &trace[from]) == TRACE_STATUS && trace[from].write))
		from++;
	if (from == trace_count)
		fail_msg("the status is not written any more, %#x was to come", value);
	assert_int_equal(trace[from].value, value);
	return from;
}

/* which are these, one after the other. */
static struct steps steps_of(struct swdev *dev)
{
	struct steps s;

	s.reset = status_write(dev, 0, 0);
	s.acknowledge = status_write(dev, s.reset + 1, ST_ACKNOWLEDGE);
	s.driver = status_write(dev, s.acknowledge + 1, ST_ACKNOWLEDGE | ST_DRIVER);
	s.features_ok = status_write(dev, s.driver + 1, ST_ACKNOWLEDGE | ST_DRIVER | ST_FEATURES_OK);
	s.driver_ok = status_write(dev, s.features_ok + 1, ST_ACKNOWLEDGE | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
	for (unsigned i = s.driver_ok + 1; i < trace_count; i++)
		assert_false(trace_kind(dev, &trace[i]) == TRACE_STATUS && trace[i].write);
	return s;
}

/* Run a check on the trace of every driver's bring-up over both fronts. */
static void each_bring_up(void (*check)(struct swdev *dev, const struct steps *steps))
{
	for (unsigned r = 0; r < ARRAY_SIZE(fronts); r++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);
			struct steps steps;

			trace_begin();
			assert_int_equal(swdev_plug(dev, fronts[r]), 0);
			trace_end();
			steps = steps_of(dev);
			check(dev, &steps);
			do_work(dev, 4);
			unplug(dev);
		}
	}
}

static unsigned count(struct swdev *dev, unsigned from, unsigned to, enum trace_kind kind, bool write)
{
	unsigned found = 0;

	for (unsigned i = from; i < to; i++)
		found += trace_kind(dev, &trace[i]) == kind && trace[i].write == write;
	return found;
}

/* ---- "Device Initialization", step by step ---- */

static void check_reset(struct swdev *dev, const struct steps *s)
{
	unsigned polls = 0;

	for (unsigned i = 0; i < s->reset; i++)
		assert_false(trace[i].write && trace[i].base == trace_base(dev)); /* nothing is set before */
	for (unsigned i = s->reset + 1; i < s->acknowledge; i++) {
		assert_int_equal(trace_kind(dev, &trace[i]), TRACE_STATUS); /* and nothing but the status is read until it is 0 */
		assert_int_equal(trace[i].value, 0);
		polls++;
	}
	assert_true(polls > 0);
}

static void reset_comes_first(void **state)
{
	(void)state;
	each_bring_up(check_reset);
}

#define LATE 5u

static unsigned late;

/* A reset that takes a while: the status is not 0 at the first reads behind it. */
static uint32_t late_reset(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg != REG_STATUS || dev->status != 0 || late == LATE)
		return honest;
	late++;
	return ST_ACKNOWLEDGE | ST_DRIVER;
}

static void reset_is_awaited(void **state)
{
	static const struct swdev_lie lie = {.name = "", .at_read = late_reset};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fronts); f++) {
		struct swdev *dev = swdev_new(&swdev_echo);
		unsigned reset;

		dev->lie = &lie;
		late = 0;
		trace_begin();
		assert_int_equal(swdev_plug(dev, fronts[f]), 0);
		trace_end();
		reset = status_write(dev, 0, 0);
		for (unsigned i = 1; i <= LATE + 1; i++) {
			assert_int_equal(trace_kind(dev, &trace[reset + i]), TRACE_STATUS);
			assert_false(trace[reset + i].write);
			assert_int_equal(trace[reset + i].value, i <= LATE ? ST_ACKNOWLEDGE | ST_DRIVER : 0);
		}
		unplug(dev);
	}
}

static void check_driver(struct swdev *dev, const struct steps *s)
{
	for (unsigned i = s->acknowledge; i < s->driver; i++)
		assert_int_equal(trace_kind(dev, &trace[i]), TRACE_STATUS);
}

static void acknowledge_then_driver(void **state)
{
	(void)state;
	each_bring_up(check_driver);
}

static void check_features(struct swdev *dev, const struct steps *s)
{
	assert_int_equal(count(dev, 0, s->driver, TRACE_FEATURES_OFFERED, false), 0);
	assert_int_equal(count(dev, s->driver, s->features_ok, TRACE_FEATURES_OFFERED, false), 2);
	assert_int_equal(count(dev, 0, s->driver, TRACE_FEATURES_ACCEPTED, true), 0);
	assert_int_equal(count(dev, s->driver, s->features_ok, TRACE_FEATURES_ACCEPTED, true), 2);
	/* none new after FEATURES_OK */
	assert_int_equal(count(dev, s->features_ok, trace_count, TRACE_FEATURES_ACCEPTED, true), 0);
	/* no configuration is written while they are negotiated */
	assert_int_equal(count(dev, 0, s->features_ok, TRACE_CONFIG, true), 0);
	assert_int_equal(dev->accepted & ~dev->offered, 0);
}

static void features_between_driver_and_features_ok(void **state)
{
	(void)state;
	each_bring_up(check_features);
}

static void check_read_back(struct swdev *dev, const struct steps *s)
{
	unsigned next = s->features_ok + 1;

	while (!trace[next].write && trace_kind(dev, &trace[next]) != TRACE_STATUS)
		next++;
	assert_int_equal(trace_kind(dev, &trace[next]), TRACE_STATUS);
	assert_false(trace[next].write);
	assert_int_equal(trace[next].value, 11);
}

static void features_ok_is_read_back(void **state)
{
	(void)state;
	each_bring_up(check_read_back);
}

static void check_setup(struct swdev *dev, const struct steps *s)
{
	assert_int_equal(count(dev, 0, s->features_ok, TRACE_QUEUE, true), 0);
	assert_int_equal(count(dev, 0, s->features_ok, TRACE_QUEUE, false), 0);
	assert_true(count(dev, s->features_ok, s->driver_ok, TRACE_QUEUE, true) > 0);
}

static void queues_after_features_ok(void **state)
{
	(void)state;
	each_bring_up(check_setup);
}

static void check_driver_ok(struct swdev *dev, const struct steps *s)
{
	assert_int_equal(count(dev, s->driver_ok, trace_count, TRACE_QUEUE, true), 0);
	assert_int_equal(count(dev, 0, s->driver_ok, TRACE_NOTIFY, true), 0);
}

static void driver_ok_comes_last(void **state)
{
	(void)state;
	each_bring_up(check_driver_ok);
}

/* ---- steps that go wrong ---- */

static uint32_t without_features_ok(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg != REG_STATUS)
		return honest;
	dev->status &= (uint8_t)~ST_FEATURES_OK;
	return dev->status;
}

static const struct swdev_lie refuse = {.name = "", .at_read = without_features_ok};

/* FAILED is the last that is done, and a reset the first of another try ("Device Status Field"). `why`: 0 no VERSION_1, 1 FEATURES_OK
 * is refused, 2 the driver itself refuses */
static void failure(unsigned why)
{
	for (unsigned r = 0; r < ARRAY_SIZE(fronts); r++) {
		struct swdev *dev = swdev_new(&swdev_echo);
		uint64_t offered = dev->offered;
		unsigned failed = 0;

		echo_options = (struct echo_options){.fail_probe = why == 2 ? -EBUSY : 0};
		if (why == 0)
			dev->offered &= ~FEATURE(F_VERSION_1);
		if (why == 1)
			dev->lie = &refuse;
		trace_begin();
		assert_int_not_equal(swdev_plug(dev, fronts[r]), 0);
		while (!(trace_kind(dev, &trace[failed]) == TRACE_STATUS && trace[failed].write &&
		         trace[failed].value & ST_FAILED)) {
			assert_int_not_equal(trace_kind(dev, &trace[failed]), TRACE_QUEUE);
			assert_true(++failed < trace_count);
		}
		assert_int_equal(failed, trace_count - 1);
		assert_true(dev->status & ST_FAILED);

		echo_options = (struct echo_options){0};
		dev->offered = offered;
		dev->lie = NULL;
		trace_begin();
		assert_int_equal(info_of(dev)->rebind(info_of(dev)), 0);
		trace_end();
		for (unsigned i = 0; i < trace_count && !(trace[i].write && trace[i].value == 0); i++)
			assert_false(trace[i].write);
		assert_int_equal(dev->status, 15);
		unplug(dev);
	}
}

static void failed_without_version_1(void **state)
{
	(void)state;
	failure(0);
}

static void failed_where_features_ok_is_refused(void **state)
{
	(void)state;
	failure(1);
}

static void failed_where_the_driver_refuses(void **state)
{
	(void)state;
	failure(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_comes_first),
		cmocka_unit_test(reset_is_awaited),
		cmocka_unit_test(acknowledge_then_driver),
		cmocka_unit_test(features_between_driver_and_features_ok),
		cmocka_unit_test(features_ok_is_read_back),
		cmocka_unit_test(queues_after_features_ok),
		cmocka_unit_test(driver_ok_comes_last),
		cmocka_unit_test(failed_without_version_1),
		cmocka_unit_test(failed_where_features_ok_is_refused),
		cmocka_unit_test(failed_where_the_driver_refuses),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
