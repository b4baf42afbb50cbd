/*
 * The software device itself: that it sees each of the rules broken which it is there to check. The driver here is written by hand
 * against the model, without virtio/, and breaks one rule per test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/page.h>
#include <base/util.h>
#include <host.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };
#define SIZE 8u

static int nothing(struct swdev *dev)
{
	(void)dev;
	return 0;
}
static void no_unplug(struct swdev *dev) { dev->status = 0; }
static void leave_running(struct swdev *dev) { (void)dev; }
static void no_interrupt(struct swdev *dev, struct swdev_queue *queue) { (void)dev, (void)queue; }
static const struct swdev_front by_hand = {.name = "by hand", .plug = nothing, .unplug = no_unplug, .interrupt = no_interrupt};

static uint8_t *memory; /* a page each: descriptors, driver area, device area, an indirect table, buffers */

static uint64_t at(unsigned page) { return (uintptr_t)memory + page * PAGE_SIZE; }

/* ---- a driver that keeps the rules, up to DRIVER_OK ---- */

static void up_to_features_ok(struct swdev *dev, uint64_t features)
{
	swdev_status_write(dev, 0);
	assert_int_equal(swdev_status_read(dev), 0);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 3);
	swdev_features_read(dev, 0);
	swdev_features_read(dev, 1);
	swdev_features_write(dev, 0, (uint32_t)features);
	swdev_features_write(dev, 1, (uint32_t)(features >> 32));
	swdev_status_write(dev, 11);
	if (!dev->violations)
		assert_int_equal(swdev_status_read(dev), 11);
}

static void set_up_queue(struct swdev *dev, unsigned index)
{
	struct swdev_queue *queue = &dev->queues[index];

	swdev_queue_max(dev, (uint16_t)index);
	queue->size = SIZE;
	queue->descriptor_area = at(0);
	queue->driver_area = at(1);
	queue->device_area = at(2);
	swdev_queue_enable(queue);
}

static void up(struct swdev *dev, uint64_t features)
{
	up_to_features_ok(dev, features | FEATURE(F_VERSION_1));
	set_up_queue(dev, 0);
	swdev_status_write(dev, 15);
	assert_int_equal(dev->violations, 0);
}

/* ---- split rings by hand ---- */

static void descriptor(uint64_t table, unsigned index, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
	uint8_t *d = (uint8_t *)(uintptr_t)table + 16 * index;

	put64(d, address);
	put32(d + 8, length);
	put16(d + 12, (uint16_t)flags);
	put16(d + 14, (uint16_t)next);
}

static void make_available(unsigned head)
{
	uint8_t *avail = memory + PAGE_SIZE;
	uint16_t index = get16(avail + 2);

	put16(avail + 4 + 2 * (index % SIZE), (uint16_t)head);
	put16(avail + 2, (uint16_t)(index + 1));
}

static void offer(struct swdev *dev, unsigned head)
{
	make_available(head);
	swdev_notify(dev, 0);
	swdev_look(dev, true);
}

static void good_descriptor(unsigned index) { descriptor(at(0), index, at(4), 64, WRITE, 0); }

/* ---- packed rings by hand: slot 0 on, first round ---- */

static void packed(unsigned slot, uint64_t address, uint32_t length, unsigned id, unsigned flags)
{
	uint8_t *d = memory + 16 * slot;

	put64(d, address);
	put32(d + 8, length);
	put16(d + 12, (uint16_t)id);
	put16(d + 14, (uint16_t)flags);
}

static void offer_packed(struct swdev *dev)
{
	swdev_notify(dev, 0);
	swdev_look(dev, true);
}

/* ---- the rules ---- */

struct rule {
	const char *name, *message;
	void (*breaks)(struct swdev *dev);
	bool legacy;
};

static void status_before_reset(struct swdev *dev) { swdev_status_write(dev, 1); }
static void reset_not_awaited(struct swdev *dev)
{
	swdev_status_write(dev, 0);
	swdev_status_write(dev, 1);
}
static void start(struct swdev *dev)
{
	swdev_status_write(dev, 0);
	swdev_status_read(dev);
}
static void bit_cleared(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 2);
}
static void two_bits(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 3);
}
static void undefined_bit(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 0x20);
}
static void driver_first(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 2);
}
static void driver_ok_too_early(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 3);
	swdev_status_write(dev, 7);
}
static void after_failed(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 0x81);
	swdev_status_write(dev, 0x83);
}
static void legacy_features_ok(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 3);
	swdev_status_write(dev, 11);
}
static void features_not_read_back(struct swdev *dev)
{
	start(dev);
	swdev_status_write(dev, 1);
	swdev_status_write(dev, 3);
	swdev_features_read(dev, 1);
	swdev_features_write(dev, 1, 1);
	swdev_status_write(dev, 11);
	swdev_status_write(dev, 15);
}
static void not_offered(struct swdev *dev) { up_to_features_ok(dev, FEATURE(F_VERSION_1) | FEATURE(21)); }
static void rule_of_features(struct swdev *dev)
{
	static const struct swdev_rule rules[] = {{3, FEATURE(4) | FEATURE(5)}, {0, 0}};
	static struct swdev_type type;

	type = *dev->type;
	type.rules = rules;
	dev->type = &type;
	dev->offered |= FEATURE(3) | FEATURE(4);
	up_to_features_ok(dev, FEATURE(F_VERSION_1) | FEATURE(3));
}
static void features_too_early(struct swdev *dev)
{
	start(dev);
	swdev_features_write(dev, 0, 0);
}
static void features_too_late(struct swdev *dev)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	swdev_features_write(dev, 0, 0);
}
static void queue_too_early(struct swdev *dev)
{
	start(dev);
	set_up_queue(dev, 0);
}
static void queue_too_late(struct swdev *dev)
{
	up(dev, 0);
	set_up_queue(dev, 1);
}
static void queue_of_size(struct swdev *dev, uint16_t size)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	swdev_queue_max(dev, 0);
	dev->queues[0].size = size;
	swdev_queue_enable(&dev->queues[0]);
}
static void queue_size_0(struct swdev *dev) { queue_of_size(dev, 0); }
static void queue_size_odd(struct swdev *dev) { queue_of_size(dev, 12); }
static void queue_size_large(struct swdev *dev) { queue_of_size(dev, 512); }
static void queue_misaligned(struct swdev *dev)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	dev->queues[0].size = SIZE;
	dev->queues[0].descriptor_area = at(0) + 8;
	dev->queues[0].driver_area = at(1);
	dev->queues[0].device_area = at(2);
	swdev_queue_enable(&dev->queues[0]);
}
static void queue_nowhere(struct swdev *dev)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	dev->queues[0].size = SIZE;
	dev->queues[0].descriptor_area = 0x1000;
	swdev_queue_enable(&dev->queues[0]);
}
static void queue_dirty(struct swdev *dev)
{
	memory[2 * PAGE_SIZE + 2] = 1;
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	set_up_queue(dev, 0);
}
static void queue_set_while_enabled(struct swdev *dev)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	set_up_queue(dev, 0);
	swdev_queue_may_set(&dev->queues[0], "size");
}
static void kick_too_early(struct swdev *dev)
{
	up_to_features_ok(dev, FEATURE(F_VERSION_1));
	set_up_queue(dev, 0);
	swdev_notify(dev, 0);
}
static void kick_elsewhere(struct swdev *dev)
{
	up(dev, 0);
	swdev_notify(dev, 3);
}
static void kick_missing(struct swdev *dev)
{
	up(dev, 0);
	good_descriptor(0);
	make_available(0);
	swdev_look(dev, true);
}
static void kick_missing_event(struct swdev *dev)
{
	up(dev, FEATURE(F_EVENT_IDX));
	good_descriptor(0);
	good_descriptor(1);
	offer(dev, 0);
	assert_int_equal(dev->violations, 0);
	make_available(1);
	swdev_look(dev, true);
}
static void kick_missing_packed(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	packed(0, at(4), 64, 0, WRITE | AVAIL);
	swdev_look(dev, true);
}
static void kick_data(struct swdev *dev)
{
	up(dev, FEATURE(F_NOTIFICATION_DATA));
	good_descriptor(0);
	make_available(0);
	swdev_notify(dev, 2 << 16);
}
static void index_jump(struct swdev *dev)
{
	up(dev, 0);
	put16(memory + PAGE_SIZE + 2, SIZE + 1);
	swdev_notify(dev, 0);
	swdev_look(dev, true);
}
static void index_back(struct swdev *dev)
{
	up(dev, 0);
	put16(memory + PAGE_SIZE + 2, UINT16_MAX);
	swdev_notify(dev, 0);
	swdev_look(dev, true);
}
static void index_back_by_one(struct swdev *dev)
{
	up(dev, 0);
	dev->budget = 1; /* the second stays in flight */
	good_descriptor(0);
	good_descriptor(1);
	make_available(0);
	offer(dev, 1);
	put16(memory + PAGE_SIZE + 2, 1);
	swdev_notify(dev, 0);
	swdev_look(dev, true);
}
static void head_out_of_range(struct swdev *dev)
{
	up(dev, 0);
	offer(dev, SIZE);
}
static void with(struct swdev *dev, uint64_t features, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
	up(dev, features);
	descriptor(at(0), 0, address, length, flags, next);
	offer(dev, 0);
}
static void loop(struct swdev *dev) { with(dev, 0, at(4), 1, NEXT, 0); }
static void next_out_of_range(struct swdev *dev) { with(dev, 0, at(4), 1, NEXT, SIZE); }
static void no_bytes(struct swdev *dev) { with(dev, 0, at(4), 0, WRITE, 0); }
static void not_ram(struct swdev *dev) { with(dev, 0, 0x1000, 16, WRITE, 0); }
static void beyond_ram(struct swdev *dev) { with(dev, 0, at(4), UINT32_MAX, WRITE, 0); }
static void undefined_flags(struct swdev *dev) { with(dev, 0, at(4), 1, 0x10, 0); }
static void indirect_unasked(struct swdev *dev) { with(dev, 0, at(3), 16, INDIRECT, 0); }
static void indirect_with_next(struct swdev *dev) { with(dev, FEATURE(F_INDIRECT_DESC), at(3), 16, INDIRECT | NEXT, 1); }
static void indirect_length(struct swdev *dev) { with(dev, FEATURE(F_INDIRECT_DESC), at(3), 24, INDIRECT, 0); }
static void indirect_empty(struct swdev *dev) { with(dev, FEATURE(F_INDIRECT_DESC), at(3), 0, INDIRECT, 0); }
static void indirect_in_indirect(struct swdev *dev)
{
	descriptor(at(3), 0, at(3), 16, INDIRECT, 0);
	with(dev, FEATURE(F_INDIRECT_DESC), at(3), 16, INDIRECT, 0);
}
static void indirect_too_long(struct swdev *dev)
{
	for (unsigned i = 0; i <= SIZE; i++)
		descriptor(at(3), i, at(4), 1, i < SIZE ? NEXT : 0, i + 1);
	with(dev, FEATURE(F_INDIRECT_DESC), at(3), 16 * (SIZE + 1), INDIRECT, 0);
}
static void readable_behind_writable(struct swdev *dev)
{
	up(dev, 0);
	descriptor(at(0), 0, at(4), 8, WRITE | NEXT, 1);
	descriptor(at(0), 1, at(4), 8, 0, 0);
	offer(dev, 0);
}
static void in_flight_twice(struct swdev *dev)
{
	up(dev, 0);
	dev->budget = 1;
	good_descriptor(0);
	good_descriptor(1);
	make_available(1);
	make_available(0);
	offer(dev, 0);
}
static void altered_in_flight(struct swdev *dev)
{
	up(dev, 0);
	good_descriptor(0);
	good_descriptor(1);
	dev->budget = 1;
	make_available(0);
	offer(dev, 1);
	descriptor(at(0), 1, at(4), 65, WRITE, 0);
	swdev_look(dev, true);
}
static void packed_altered_in_flight(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	dev->budget = 1;
	packed(0, at(4), 64, 0, WRITE | AVAIL);
	packed(1, at(4), 64, 1, WRITE | AVAIL);
	offer_packed(dev);
	packed(1, at(4), 65, 1, WRITE | AVAIL);
	swdev_look(dev, true);
}
static void packed_table_altered(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED) | FEATURE(F_INDIRECT_DESC));
	dev->budget = 1;
	descriptor(at(3), 0, at(4), 8, 0, 0);
	packed(0, at(4), 64, 0, WRITE | AVAIL);
	packed(1, at(3), 16, 1, INDIRECT | AVAIL);
	offer_packed(dev);
	descriptor(at(3), 0, at(4), 9, 0, 0);
	swdev_look(dev, true);
}
static void freed_in_flight(struct swdev *dev)
{
	uint8_t *page = page_alloc(PAGE_SIZE, PAGE_SIZE);

	up(dev, 0);
	dev->budget = 1;
	good_descriptor(0);
	descriptor(at(0), 1, (uintptr_t)page, 64, WRITE, 0);
	make_available(0);
	offer(dev, 1);
	page_free(page, PAGE_SIZE);
	swdev_look(dev, true);
}
static void beyond_allocation(struct swdev *dev)
{
	uint8_t *page = page_alloc(100, PAGE_SIZE);

	with(dev, 0, (uintptr_t)page, 101, WRITE, 0);
	page_free(page, 100);
}
static void in_order_head(struct swdev *dev)
{
	up(dev, FEATURE(F_IN_ORDER));
	good_descriptor(3);
	offer(dev, 3);
}
static void in_order_next(struct swdev *dev)
{
	up(dev, FEATURE(F_IN_ORDER));
	descriptor(at(0), 0, at(4), 8, NEXT, 2);
	descriptor(at(0), 2, at(4), 8, 0, 0);
	offer(dev, 0);
}
static void avail_flags(struct swdev *dev)
{
	up(dev, 0);
	good_descriptor(0);
	put16(memory + PAGE_SIZE, 2);
	offer(dev, 0);
}
static void avail_flags_event(struct swdev *dev)
{
	up(dev, FEATURE(F_EVENT_IDX));
	good_descriptor(0);
	put16(memory + PAGE_SIZE, 1);
	offer(dev, 0);
}
static void packed_flags(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	packed(0, at(4), 64, 0, WRITE | AVAIL | 0x40);
	offer_packed(dev);
}
static void packed_partial(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	packed(0, at(4), 64, 0, NEXT | AVAIL);
	offer_packed(dev);
}
static void packed_too_long(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	for (unsigned i = 0; i < SIZE; i++)
		packed(i, at(4), 64, 0, NEXT | AVAIL);
	offer_packed(dev);
}
static void packed_id_twice(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	dev->budget = 1;
	for (unsigned i = 0; i < 3; i++)
		packed(i, at(4), 64, i / 2, WRITE | AVAIL);
	offer_packed(dev);
}
static void packed_indirect_linked(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED) | FEATURE(F_INDIRECT_DESC));
	packed(0, at(4), 64, 0, NEXT | AVAIL);
	packed(1, at(3), 16, 0, INDIRECT | AVAIL);
	offer_packed(dev);
}
static void packed_indirect_flags(struct swdev *dev)
{
	descriptor(at(3), 0, at(4), 8, 0, NEXT); /* in a packed table the last word is flags */
	up(dev, FEATURE(F_RING_PACKED) | FEATURE(F_INDIRECT_DESC));
	packed(0, at(3), 16, 0, INDIRECT | AVAIL);
	offer_packed(dev);
}
static void packed_event_flags(struct swdev *dev)
{
	up(dev, FEATURE(F_RING_PACKED));
	put16(memory + PAGE_SIZE + 2, 2);
	packed(0, at(4), 64, 0, WRITE | AVAIL);
	offer_packed(dev);
}
static void config_width(struct swdev *dev)
{
	up(dev, 0);
	swdev_config_read(dev, 0, 2);
}
static void config_not_offered(struct swdev *dev)
{
	dev->offered &= ~FEATURE(BLK_F_SEG_MAX);
	up(dev, 0);
	swdev_config_read(dev, 12, 4);
}
static void config_no_field(struct swdev *dev)
{
	up(dev, 0);
	swdev_config_read(dev, 100, 4);
}
static void config_read_only(struct swdev *dev)
{
	up(dev, 0);
	swdev_config_write(dev, 20, 4, 512);
}
static void left_running(struct swdev *dev)
{
	static struct swdev_front front;

	front = by_hand;
	front.unplug = leave_running;
	dev->front = &front;
	up(dev, 0);
}
static void reset_unasked(struct swdev *dev)
{
	up(dev, 0);
	swdev_queue_reset(&dev->queues[0]);
}

static const struct rule rules[] = {
	{"status before the reset", "before the first reset", status_before_reset, 0},
	{"reset not awaited", "read back as 0", reset_not_awaited, 0},
	{"a status bit cleared", "clears a bit", bit_cleared, 0},
	{"two status bits at once", "several bits", two_bits, 0},
	{"an undefined status bit", "undefined bit", undefined_bit, 0},
	{"DRIVER before ACKNOWLEDGE", "without ACKNOWLEDGE", driver_first, 0},
	{"DRIVER_OK before FEATURES_OK", "too early", driver_ok_too_early, 0},
	{"going on after FAILED", "after FAILED", after_failed, 0},
	{"FEATURES_OK to a legacy device", "undefined bit", legacy_features_ok, true},
	{"FEATURES_OK not read back", "not read back", features_not_read_back, 0},
	{"a feature that is not offered", "not offered", not_offered, 0},
	{"a feature without its prerequisite", "without one that it requires", rule_of_features, 0},
	{"features before DRIVER", "before DRIVER", features_too_early, 0},
	{"features after FEATURES_OK", "after FEATURES_OK", features_too_late, 0},
	{"a queue before FEATURES_OK", "at status", queue_too_early, 0},
	{"a queue after DRIVER_OK", "after DRIVER_OK", queue_too_late, 0},
	{"queue size 0", "size 0", queue_size_0, 0},
	{"queue size 12", "size 12", queue_size_odd, 0},
	{"queue size above the maximum", "size 512", queue_size_large, 0},
	{"misaligned queue", "misaligned", queue_misaligned, 0},
	{"queue outside of RAM", "not RAM", queue_nowhere, 0},
	{"used ring not zero", "not zero", queue_dirty, 0},
	{"a queue changed while enabled", "while it is enabled", queue_set_while_enabled, 0},
	{"notification before DRIVER_OK", "before DRIVER_OK", kick_too_early, 0},
	{"notification of no queue", "not enabled", kick_elsewhere, 0},
	{"notification missing", "notification is missing", kick_missing, 0},
	{"notification missing, event index", "notification is missing", kick_missing_event, 0},
	{"notification missing, packed", "notification is missing", kick_missing_packed, 0},
	{"wrong notification data", "notification data", kick_data, 0},
	{"available index too far", "available index", index_jump, 0},
	{"available index goes back", "available index", index_back, 0},
	{"available index goes back by one", "available index", index_back_by_one, 0},
	{"head out of range", "descriptor 8 of 8", head_out_of_range, 0},
	{"a loop", "in flight already", loop, 0},
	{"next out of range", "descriptor 8 of 8", next_out_of_range, 0},
	{"an element of no bytes", "no bytes", no_bytes, 0},
	{"an element outside of RAM", "not RAM", not_ram, 0},
	{"an element beyond RAM", "not RAM", beyond_ram, 0},
	{"undefined descriptor flags", "flags 0x10", undefined_flags, 0},
	{"INDIRECT not negotiated", "not negotiated", indirect_unasked, 0},
	{"INDIRECT with NEXT", "together with NEXT", indirect_with_next, 0},
	{"indirect table of 24 bytes", "table of 24", indirect_length, 0},
	{"indirect table of no bytes", "table of 0", indirect_empty, 0},
	{"INDIRECT within a table", "within an indirect", indirect_in_indirect, 0},
	{"indirect table longer than the queue", "longer than the queue", indirect_too_long, 0},
	{"readable behind writable", "behind a device-writable", readable_behind_writable, 0},
	{"a descriptor in flight twice", "in flight already", in_flight_twice, 0},
	{"a descriptor altered in flight", "altered in flight", altered_in_flight, 0},
	{"packed: a descriptor altered in flight", "altered in flight", packed_altered_in_flight, 0},
	{"packed: a table altered in flight", "table was altered", packed_table_altered, 0},
	{"a buffer freed in flight", "it is free", freed_in_flight, 0},
	{"a buffer beyond its allocation", "beyond the end", beyond_allocation, 0},
	{"IN_ORDER, heads out of order", "IN_ORDER, but head", in_order_head, 0},
	{"IN_ORDER, chain out of order", "IN_ORDER, but descriptor", in_order_next, 0},
	{"available ring flags", "ring flags 0x2", avail_flags, 0},
	{"available ring flags with EVENT_IDX", "with EVENT_IDX", avail_flags_event, 0},
	{"packed: undefined flags", "flags", packed_flags, 0},
	{"packed: partial list", "partial list", packed_partial, 0},
	{"packed: list longer than the ring", "does not fit", packed_too_long, 0},
	{"packed: an id in flight twice", "id 0 is in flight", packed_id_twice, 0},
	{"packed: INDIRECT in a list", "linked by NEXT", packed_indirect_linked, 0},
	{"packed: flags within a table", "in an indirect table", packed_indirect_flags, 0},
	{"packed: event flags", "event flags", packed_event_flags, 0},
	{"config field accessed in another width", "the field has 8 bytes", config_width, 0},
	{"config field that is not offered", "not offered", config_not_offered, 0},
	{"config beyond the fields", "no field there", config_no_field, 0},
	{"config field is read-only", "read-only", config_read_only, 0},
	{"left running", "left running", left_running, 0},
	{"queue reset not negotiated", "without VIRTIO_F_RING_RESET", reset_unasked, 0},
};

static void is_seen(void **state)
{
	const struct rule *rule = *state;
	char first[sizeof(((struct swdev *)0)->first_violation)];
	struct swdev *dev;
	unsigned violations;

#ifndef __SANITIZE_ADDRESS__
	if (rule->breaks == freed_in_flight || rule->breaks == beyond_allocation)
		skip(); /* what is allocated is known from the sanitizer */
#endif
	dev = swdev_new(strncmp(rule->name, "config", 6) ? &swdev_echo : &swdev_blk);
	memory = page_alloc(5 * PAGE_SIZE, PAGE_SIZE);
	dev->quiet = true;
	dev->legacy = rule->legacy;
	dev->offered |= FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER) | FEATURE(F_NOTIFICATION_DATA);
	assert_int_equal(swdev_plug(dev, &by_hand), 0);
	rule->breaks(dev);
	memcpy(first, dev->first_violation, sizeof(first));
	violations = swdev_unplug(dev);
	page_free(memory, 5 * PAGE_SIZE);
	if (!violations)
		fail_msg("not seen: %s", rule->name);
	if (!strstr(first, rule->message) && rule->breaks != left_running) /* that one is seen at the very end */
		fail_msg("\"%s\" instead of \"%s\"", first, rule->message);
}

/* And that it has nothing against a driver that keeps them all. */
static void good_driver(void **state)
{
	static const uint64_t layouts[] = {0, FEATURE(F_EVENT_IDX), FEATURE(F_INDIRECT_DESC)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct swdev *dev = swdev_new(&swdev_echo);

		memory = page_alloc(5 * PAGE_SIZE, PAGE_SIZE);
		assert_int_equal(swdev_plug(dev, &by_hand), 0);
		up(dev, layouts[i]);
		good_descriptor(2);
		offer(dev, 2);
		assert_int_equal(get16(memory + 2 * PAGE_SIZE + 2), 1);  /* used index */
		assert_int_equal(get32(memory + 2 * PAGE_SIZE + 4), 2);  /* id */
		assert_int_equal(get32(memory + 2 * PAGE_SIZE + 8), 64); /* length */
		assert_int_equal(memory[4 * PAGE_SIZE + 63], 0x5a);
		assert_int_equal(memory[4 * PAGE_SIZE + 64], 0);
		assert_int_equal(dev->queues[0].interrupts, 1);
		assert_int_equal(swdev_unplug(dev), 0);
		page_free(memory, 5 * PAGE_SIZE);
	}
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rules) + 1];

	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
		tests[i] = (struct CMUnitTest){.name = rules[i].name,
		                               .test_func = is_seen,
		                               .initial_state = (void *)(uintptr_t)&rules[i]};
	tests[ARRAY_SIZE(rules)] = (struct CMUnitTest)cmocka_unit_test(good_driver);
	swdev_machine(16u << 20);
	return _cmocka_run_group_tests("the software device", tests, ARRAY_SIZE(tests), NULL, NULL);
}
