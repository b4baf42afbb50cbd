/*
 * Requirements of "Split Virtqueues" and "Packed Virtqueues" that a device cannot check by looking at its queues now and then: what is in
 * memory at each barrier, between two descriptors, and while the device does nothing. The software device checks the rest at each
 * descriptor that it takes (swdev_split.c, swdev_packed.c).
 */
#include "check_swdev.h"

#include <errno.h>

#include <arch/barrier.h>
#include <base/page.h>
#include <virtio/virtq.h>

#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };
enum { EVENTS_ENABLE = 0, EVENTS_DISABLE = 1, EVENTS_DESC = 2 };
#define BYTES 16u /* of a buffer */
#define RING (FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX) | FEATURE(F_RING_PACKED))

static struct swdev *dev;
static struct virtq *vq;
static struct swdev_queue *queue;
static uint8_t *buffers;
static unsigned buffers_given;

static void up(uint64_t features, uint16_t size, uint16_t max_buffers)
{
	dev = swdev_new(&swdev_echo);
	dev->offered = (dev->offered & ~RING) | features;
	dev->queues[0].max = size;
	echo_options = (struct echo_options){.max_buffers = max_buffers};
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	vq = dev->vdev->queues[0];
	queue = &dev->queues[0];
	assert_int_equal(queue->size, size);
	buffers = page_alloc(2 * PAGE_SIZE, PAGE_SIZE);
	buffers_given = 0;
}

static void down(void)
{
	pull_out(dev);
	page_free(buffers, 2 * PAGE_SIZE);
}

/* A request of so many buffers; its token is its first one. */
static int add(uint16_t readable, uint16_t writable)
{
	struct virtq_buf bufs[8];

	for (unsigned i = 0; i < (unsigned)readable + writable; i++)
		bufs[i] = (struct virtq_buf){buffers + BYTES * (buffers_given + i), BYTES};
	buffers_given += (unsigned)readable + writable;
	return virtq_add(vq, bufs, readable, writable, bufs[0].addr);
}

static uint8_t *descriptor(unsigned i) { return (uint8_t *)(uintptr_t)queue->descriptor_area + 16u * i; }
static uint8_t *avail(void) { return (uint8_t *)(uintptr_t)queue->driver_area; }
static uint8_t *used(void) { return (uint8_t *)(uintptr_t)queue->device_area; }
static uint8_t *avail_event(void) { return used() + 4 + 8u * queue->size; }
static uint16_t avail_index(void) { return get16(avail() + 2); }
static uint16_t packed_flags(unsigned slot) { return get16(descriptor(slot) + 14); }
static bool packed_available(unsigned slot) { return (packed_flags(slot) & (AVAIL | USED)) == AVAIL; } /* in the first round */

/* ---- barriers ---- */

static unsigned barriers, requests;
static uint16_t former_index;
static bool stores_in_order, looked_after;
static void (*change_wish)(void);

static bool is_full(enum host_barrier barrier) { return barrier == HOST_VIRT_MB || barrier == HOST_IO_MB; }
static bool is_for_stores(enum host_barrier barrier)
{
	return is_full(barrier) || barrier == HOST_VIRT_WMB || barrier == HOST_IO_WMB;
}

/* Every entry of the batch, and the descriptor that it names. */
static bool split_batch_is_written(void)
{
	for (unsigned i = 0; i < requests; i++) {
		unsigned head = get16(avail() + 4 + 2u * ((former_index + i) % queue->size));
		uint64_t address = get64(descriptor(head));
		uint32_t length = get32(descriptor(head) + 8);

		if (get16(descriptor(head) + 12) & INDIRECT)
			address = get64((void *)(uintptr_t)address);
		else if (length != BYTES)
			return false;
		if (address < (uintptr_t)buffers || address >= (uintptr_t)buffers + 2 * PAGE_SIZE)
			return false;
	}
	return true;
}

static bool packed_batch_is_written(void)
{
	for (unsigned i = 0; i < requests; i++)
		if (!get64(descriptor(i)) || !get32(descriptor(i) + 8) || (i && !packed_available(i)))
			return false;
	return true;
}

static void at_barrier(enum host_barrier barrier)
{
	bool packed = swdev_has(dev, F_RING_PACKED);
	bool exposed = packed ? packed_available(0) : avail_index() != former_index;
	bool written = packed ? packed_batch_is_written() : split_batch_is_written();

	barriers++;
	if (is_for_stores(barrier) && !exposed && written)
		stores_in_order = true;
	if (is_full(barrier) && exposed) {
		looked_after = true;
		if (change_wish)
			change_wish();
	}
}

/* A kick with a look at memory at each of its barriers; whether a notification went out. */
static bool kick(void)
{
	bool sent;

	barriers = 0;
	stores_in_order = looked_after = false;
	host_barrier_hook = at_barrier;
	sent = virtq_kick(vq);
	host_barrier_hook = NULL;
	return sent;
}

static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED)};

/* "Updating idx", "Updating flags": what is exposed is in memory, behind a barrier, before that which exposes it. */
static void barrier_before_exposing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		up(layouts[i % 2] | (i & 2 ? FEATURE(F_EVENT_IDX) : 0) | (i & 4 ? FEATURE(F_INDIRECT_DESC) : 0) |
		           (i & 8 ? FEATURE(F_ORDER_PLATFORM) : 0),
		   16, 4);
		former_index = 0;
		for (requests = 0; requests < 3; requests++)
			assert_int_equal(add(i & 4 ? 2 : 0, 1), 0);
		kick();
		assert_true(stores_in_order);
		assert_true(looked_after);
		down();
	}
}

static void want_none(void)
{
	if (swdev_has(dev, F_RING_PACKED))
		put16(used() + 2, EVENTS_DISABLE);
	else if (swdev_has(dev, F_EVENT_IDX))
		put16(avail_event(), (uint16_t)(avail_index() + 100));
	else
		put16(used(), 1);
}

static void want_this(void)
{
	if (swdev_has(dev, F_RING_PACKED))
		put16(used() + 2, EVENTS_ENABLE);
	else if (swdev_has(dev, F_EVENT_IDX))
		put16(avail_event(), former_index);
	else
		put16(used(), 0);
}

/* "Notifying The Device", "Sending Available Buffer Notifications": the device's wish is read behind a full barrier after the buffers
 * were exposed. A device that changes its mind at that very moment is heard. */
static void barrier_before_the_wish_is_read(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		up(layouts[i % 2] | (i & 2 ? FEATURE(F_EVENT_IDX) : 0), 16, 1);
		former_index = 0;
		requests = 1;
		want_none();
		assert_int_equal(add(0, 1), 0);
		change_wish = want_this;
		assert_true(kick());
		assert_true(looked_after);
		down();

		up(layouts[i % 2] | (i & 2 ? FEATURE(F_EVENT_IDX) : 0), 16, 1);
		want_this();
		assert_int_equal(add(0, 1), 0);
		change_wish = want_none;
		assert_false(kick());
		change_wish = NULL;
		down();
	}
}

/* ---- "Available Buffer Notification Suppression" ---- */

static bool notified_after_one(void)
{
	uint64_t before = queue->notifications;
	bool sent;

	assert_int_equal(add(0, 1), 0);
	sent = virtq_kick(vq);
	assert_int_equal(queue->notifications, before + sent);
	return sent;
}

/* Without EVENT_IDX flags alone decide. */
static void avail_event_is_ignored_without_its_feature(void **state)
{
	(void)state;
	up(0, 16, 1);
	for (unsigned i = 0; i < 8; i++) {
		put16(used(), i % 2);
		put16(avail_event(), i & 2 ? avail_index() : (uint16_t)(avail_index() + 1000));
		assert_int_equal(notified_after_one(), !(i % 2));
	}
	down();
}

/* With EVENT_IDX avail_event alone does, to the entry. */
static void flags_are_ignored_with_event_idx(void **state)
{
	(void)state;
	up(FEATURE(F_EVENT_IDX), 64, 1);
	for (unsigned i = 0; i < 16; i++) {
		static const int ahead[] = {0, 1, -1, 1000};

		put16(used(), i / 4 % 2);
		put16(avail_event(), (uint16_t)(avail_index() + ahead[i % 4]));
		assert_int_equal(notified_after_one(), i % 4 == 0);
	}
	/* in a batch, which entry of it does not matter */
	for (unsigned i = 0; i < 8; i++) {
		put16(avail_event(), (uint16_t)(avail_index() + i));
		assert_int_equal(add(0, 1), 0);
		assert_int_equal(add(0, 1), 0);
		assert_int_equal(add(0, 1), 0);
		assert_int_equal(virtq_kick(vq), i < 3);
	}
	down();
}

/* "Used Buffer Notification Suppression": flags are 0 or 1, and always 0 with EVENT_IDX. */
static void available_ring_flags(void **state)
{
	(void)state;
	for (unsigned event = 0; event < 2; event++) {
		up(event ? FEATURE(F_EVENT_IDX) : 0, 16, 1);
		assert_int_equal(add(0, 1), 0);
		virtq_kick(vq);
		for (unsigned i = 0; i < 3; i++) {
			virtq_irq_disable(vq);
			assert_int_equal(get16(avail()), event ? 0 : 1);
			assert_false(virtq_irq_enable(vq));
			assert_int_equal(get16(avail()), 0);
		}
		down();
	}
}

/* ---- lengths ---- */

/* "Indirect Descriptors", "Scatter-Gather Support": no list longer than the queue, in a table or not. */
static void no_list_longer_than_the_queue(void **state)
{
	static struct virtq_buf many[65536];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		up(layouts[i % 2] | (i & 2 ? FEATURE(F_INDIRECT_DESC) : 0), 4, UINT16_MAX);
		for (unsigned k = 0; k < ARRAY_SIZE(many); k++)
			many[k] = (struct virtq_buf){buffers, BYTES};
		assert_int_equal(virtq_add(vq, many, 0, 5, many), -EINVAL);
		assert_int_equal(virtq_add(vq, many, 3, 2, many), -EINVAL);
		assert_int_equal(virtq_add(vq, many, 1, UINT16_MAX, many), -EINVAL);
		assert_int_equal(virtq_add(vq, many, 0, 0, many), -EINVAL);
		assert_int_equal(virtq_room(vq), 4);
		assert_int_equal(add(2, 2), 0);
		virtq_kick(vq);
		swdev_look_all(true);
		assert_int_equal(queue->buffers_used, 1);
		down();
	}
}

/* "The Virtqueue Descriptor Table": no chain of more than 2^32 bytes. */
static void no_chain_of_more_than_4_gib(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct virtq_buf bufs[] = {{NULL, 0x80000000}, {NULL, 0x80000000}, {NULL, 1}};

		up(layouts[i % 2] | (i & 2 ? FEATURE(F_INDIRECT_DESC) : 0), 8, 4);
		bufs[0].addr = bufs[1].addr = bufs[2].addr = buffers;
		assert_int_equal(virtq_add(vq, bufs, 1, 2, bufs), -EINVAL);
		assert_int_equal(virtq_add(vq, bufs, 3, 0, bufs), -EINVAL);
		assert_int_equal(virtq_add(vq, bufs, 0, 3, bufs), -EINVAL);
		assert_int_equal(virtq_room(vq), 8);
		down();
	}
}

/* ---- what is exposed stays as it is ---- */

static uint8_t snapshot[16 * 64];

static void take_snapshot(void) { memcpy(snapshot, descriptor(0), 16u * queue->size); }
static bool unchanged(void) { return memcmp(snapshot, descriptor(0), 16u * queue->size) == 0; }

/* "Scatter-Gather Support": without room for all of a list, none of it is written. */
static void room_for_the_whole_list(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		up(layouts[i], 8, 4);
		assert_int_equal(add(1, 2), 0);
		assert_int_equal(add(2, 1), 0);
		take_snapshot();
		assert_int_equal(add(1, 2), -ENOSPC);
		assert_int_equal(add(0, 3), -ENOSPC);
		assert_true(unchanged());
		assert_int_equal(add(1, 1), 0);
		assert_int_equal(add(0, 1), -ENOSPC);
		virtq_kick(vq);
		swdev_look_all(true);
		assert_int_equal(queue->buffers_used, 3);
		down();
	}
}

/* "Device Cleanup", "Packed Virtqueues / The Virtqueue Descriptor Table": nothing that a driver does with its queue alters what is exposed
 * and not used; and the available index never goes back ("The Virtqueue Available Ring"). */
static void exposed_descriptors_stay(void **state)
{
	uint32_t length;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		up(layouts[i % 2] | (i & 2 ? FEATURE(F_EVENT_IDX) : 0), 16, 3);
		while (add(1, 1) == 0)
			virtq_kick(vq);
		take_snapshot();
		former_index = avail_index();
		for (unsigned k = 0; k < 3; k++) {
			assert_int_equal(add(1, 1), -ENOSPC);
			assert_false(virtq_kick(vq));
			assert_null(virtq_harvest(vq, &length));
			virtq_irq_disable(vq);
			assert_false(virtq_irq_enable(vq));
		}
		assert_true(unchanged());
		if (i % 2 == 0)
			assert_int_equal(avail_index(), former_index);
		/* one used, room for one */
		dev->budget = 1;
		queue->notified = true;
		swdev_look_all(false);
		if (i % 2 == 1)
			take_snapshot();              /* the device has written */
		assert_int_equal(add(1, 1), -ENOSPC); /* not seen yet */
		assert_true(unchanged());
		assert_non_null(virtq_harvest(vq, &length));
		assert_int_equal(length, BYTES);
		assert_true(unchanged());
		buffers_given = 0;
		assert_int_equal(add(1, 1), 0);
		assert_int_equal(memcmp(snapshot + 32, descriptor(2), 16u * 14), 0);
		virtq_kick(vq);
		if (i % 2 == 0)
			assert_int_equal(avail_index(), former_index + 1);
		down();
	}
}

/* ---- packed lists ---- */

static unsigned list_head, descriptors_seen;

/* Called for each buffer of a list, when its descriptor is about to be written. */
static uint64_t between_descriptors(const void *virt)
{
	if (descriptors_seen++)
		assert_false(packed_available(list_head));
	return (uintptr_t)virt;
}

/* "Scatter-Gather Support": the first descriptor of a list is made available after all others; of a batch, after all of the batch. */
static void head_of_a_list_comes_last(void **state)
{
	(void)state;
	up(FEATURE(F_RING_PACKED), 16, 4);
	for (list_head = 0; list_head < 12; list_head += 4) {
		descriptors_seen = 0;
		host_virt_to_phys_hook = between_descriptors;
		assert_int_equal(add(2, 2), 0);
		host_virt_to_phys_hook = NULL;
		assert_int_equal(descriptors_seen, 4);
		assert_false(packed_available(0));
	}
	former_index = 0;
	requests = 12;
	kick();
	assert_true(stores_in_order);
	for (unsigned i = 0; i < 12; i++)
		assert_true(packed_available(i));
	swdev_look_all(true);
	assert_int_equal(queue->buffers_used, 3);
	down();
}

/* ---- "The Virtqueue Used Ring" ---- */

/* What lies beyond the used length is not believed: a disk whose every answer is a byte short has not answered. */
static void bytes_beyond_the_used_length(void **state)
{
	static const struct swdev_lie short_by_one = {.name = "", .used = USED_LENGTH, .op = OP_ADD, .value = UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct swdev *disk = swdev_new(&swdev_blk);
		struct swdev_work *work;

		disk->offered |= layouts[i];
		disk->lie = &short_by_one;
		assert_int_equal(swdev_plug(disk, &swdev_direct), 0);
		work = swdev_work_begin(disk, 1);
		assert_false(swdev_work_wait(work, SWDEV_WORK_NS));
		assert_int_equal(swdev_unplug(disk), 0);
		swdev_work_end(work);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_beyond_the_used_length),     cmocka_unit_test(barrier_before_exposing),
		cmocka_unit_test(barrier_before_the_wish_is_read),  cmocka_unit_test(avail_event_is_ignored_without_its_feature),
		cmocka_unit_test(flags_are_ignored_with_event_idx), cmocka_unit_test(available_ring_flags),
		cmocka_unit_test(no_list_longer_than_the_queue),    cmocka_unit_test(no_chain_of_more_than_4_gib),
		cmocka_unit_test(room_for_the_whole_list),          cmocka_unit_test(exposed_descriptors_stay),
		cmocka_unit_test(head_of_a_list_comes_last),
	};

	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
