/*
 * The transports, operation by operation: what each gives the core for good and bad arguments, on a device that works, one that changes its
 * mind between two looks, one that is gone, and with too little memory. The bring-up as a whole is elsewhere.
 */
#include <errno.h>

#include "check.h"

#include <arch/mmu.h>
#include <base/cmdline.h>
#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <class/device.h>
#include <drivers/bus/mmio.h>
#include <virtio/transport.h>
#include <virtio/virtio.h>

#include "bounce.h"
#include "swdev_echo.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work.h"

#define CONFIG_BYTES 32u

/* A device whose configuration takes every access. */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 8, .count = 1, .feature = -1, .writable = true, .any_time = true},
	{.offset = 8, .width = 4, .count = 2, .feature = -1, .writable = true, .any_time = true},
	{.offset = 16, .width = 2, .count = 4, .feature = -1, .writable = true, .any_time = true},
	{.offset = 24, .width = 1, .count = 8, .feature = -1, .writable = true, .any_time = true},
	{.width = 0},
};
static struct swdev_type type;

static const struct way {
	const char *name;
	const struct swdev_front *front;
	bool legacy, window, ports;
	uint16_t vectors;
} ways[] = {
	{.name = "mmio", .front = &swdev_mmio},
	{.name = "mmio, legacy", .front = &swdev_mmio, .legacy = true},
	{.name = "pci", .front = &swdev_pci, .vectors = 5},
	{.name = "pci, intx", .front = &swdev_pci},
	{.name = "pci, ports", .front = &swdev_pci, .ports = true, .vectors = 5},
	{.name = "pci, window", .front = &swdev_pci, .window = true, .vectors = 5},
	{.name = "pci, legacy", .front = &swdev_pci, .legacy = true, .vectors = 5},
};

static const struct way *way;

static struct swdev *make(void)
{
	struct swdev *dev = swdev_new(&type);

	host_console_capture(true);
	echo_options = (struct echo_options){.queues = 2};
	dev->legacy = way->legacy;
	dev->window = way->window;
	dev->ports = way->ports;
	dev->vectors = way->vectors;
	return dev;
}

static struct swdev *plug(uint64_t more)
{
	struct swdev *dev = make();

	dev->offered |= more;
	if (swdev_plug(dev, way->front))
		fail_msg("%s: refused\n%s", way->name, host_console_text());
	return dev;
}

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s: %s", way->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void is(long actual, long expected, const char *what)
{
	if (actual != expected)
		fail_msg("%s: %s: %ld instead of %ld\n%s", way->name, what, actual, expected, host_console_text());
}

#define FOR_EACH_WAY() for (way = ways; way < ways + ARRAY_SIZE(ways); way++)

/* ---- configuration ---- */

static void configuration_accesses(void **state)
{
	static const struct {
		uint32_t offset;
		unsigned width;
	} good[] = {{0, 4}, {4, 4}, {8, 4}, {12, 4}, {16, 2}, {22, 2}, {24, 1}, {31, 1}},
	  bad[] = {{CONFIG_BYTES * 1000, 1}, {2, 4}, {1, 2}, {0, 3}, {0, 0}, {UINT32_MAX, 1}, {UINT32_MAX - 3, 4}};

	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);
		struct virtio_device *vdev = dev->vdev;

		for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
			uint32_t value = 0x8c9d7a5bu + i, back = 0;

			is(vdev->ops->config_write(vdev, good[i].offset, &value, good[i].width), 0, "config_write");
			assert_memory_equal(&dev->config[good[i].offset], &value, good[i].width);
			is(vdev->ops->config_read(vdev, good[i].offset, &back, good[i].width), 0, "config_read");
			assert_memory_equal(&back, &value, good[i].width);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			uint32_t value = 0;

			is(vdev->ops->config_write(vdev, bad[i].offset, &value, bad[i].width), -EINVAL,
			   "config_write out of bounds");
			is(vdev->ops->config_read(vdev, bad[i].offset, &value, bad[i].width), -EINVAL,
			   "config_read out of bounds");
		}
		unplug(dev);
	}
}

/* All ones in the configuration are a value, unless the status is all ones too. */
static void all_ones(void **state)
{
	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);
		struct virtio_device *vdev = dev->vdev;
		uint32_t value = 0;

		memset(dev->config, 0xff, CONFIG_BYTES);
		is(vdev->ops->config_read(vdev, 8, &value, 4), 0, "config_read of ones");
		is(value, UINT32_MAX, "ones");
		assert_false(vdev->lost);
		unplug(dev);
	}
}

/* ---- queues ---- */

static void queues_that_are_not_there(void **state)
{
	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);
		struct virtio_device *vdev = dev->vdev;
		struct virtq_setup setup = {.size = 8,
		                            .descriptor_area = 0x10000000,
		                            .driver_area = 0x10000080,
		                            .device_area = 0x10001000};
		struct virtq_notify notify;

		is(vdev->ops->queue_max_size(vdev, 60), 0, "the size of no queue");
		if (!way->legacy || way->front == &swdev_mmio)
			is(vdev->ops->queue_enable(vdev, 60, &setup, &notify), -ENOENT, "queue_enable of no queue");
		is(vdev->ops->queue_reset(vdev, 0), -ENOTSUP, "queue_reset without RING_RESET");
		unplug(dev);
	}
}

static void legacy_addresses(void **state)
{
	static const struct virtq_setup setups[] = {
		{8, 0x10000010, 0x10000090, 0x10001000},             /* not on a page */
		{8, 0, 0x80, 0x1000},                                /* page 0 is none */
		{8, 0x100000000000, 0x100000000080, 0x100000001000}, /* beyond 32 bits of page number */
		{8, 0x10000000, 0x10000090, 0x10001000},             /* not behind the table */
		{8, 0x10000000, 0x10000080, 0x10002000},             /* not on the next page */
	};

	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev;
		struct virtq_notify notify;

		if (!way->legacy)
			continue;
		dev = plug(0);
		for (unsigned i = 0; i < ARRAY_SIZE(setups); i++) {
			host_console_capture(true);
			is(dev->vdev->ops->queue_enable(dev->vdev, 3, &setups[i], &notify), -EINVAL,
			   "an address that cannot be told");
			assert_non_null(strstr(host_console_text(), "cannot be named to a legacy device"));
		}
		unplug(dev);
	}
}

/* A size that shrinks, or a queue that goes, after the driver has chosen; with the reason in the record, and no queue half set up. */
static void sizes_that_change(void **state)
{
	static const uint32_t values[] = {0, 4};
	struct swdev_lie lie = {.name = "another size", .reg = REG_QUEUE_MAX, .op = OP_SET, .index = 1, .after = 1, .blind = true};

	(void)state;
	for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
		lie.value = values[v];
		FOR_EACH_WAY()
		{
			struct swdev *dev = make();

			dev->lie = &lie;
			dev->quiet = true;
			if (!swdev_plug(dev, way->front))
				fail_msg("%s: it came up", way->name);
			assert_string_equal(dev->vdev->info.state, "refused");
			assert_true(dev->vdev->reason[0]);
			assert_false(dev->queues[1].enabled);
			(void)!swdev_unplug(dev);
		}
	}
}

/* ---- "Virtqueue Reset" ---- */

static uint32_t read_amid_reset(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg == REG_QUEUE_RESET)
		swdev_remove_by_surprise(dev);
	return dev->removed ? UINT32_MAX : honest;
}

static void queue_resets_that_fail(void **state)
{
	static const struct swdev_lie stuck = {.name = "stuck", .reg = REG_QUEUE_RESET, .op = OP_SET, .value = 1, .index = -1},
				      enabled = {.name = "enabled",
	                                         .reg = REG_QUEUE_ENABLED,
	                                         .op = OP_SET,
	                                         .value = 1,
	                                         .index = -1},
				      vanishing = {.name = "vanishing", .index = -1, .at_read = read_amid_reset},
				      *const lies[] = {&stuck, &enabled, &vanishing};
	static const char *const lines[] = {"does not complete its reset", "after its reset", "the device is gone"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		FOR_EACH_WAY()
		{
			struct swdev *dev;

			if (way->legacy)
				continue;
			dev = plug(FEATURE(F_RING_RESET));
			dev->quiet = true;
			if (way->front == &swdev_pci)
				is(dev->vdev->ops->queue_reset(dev->vdev, 60), -ENOENT, "queue_reset of no queue");
			dev->lie = lies[i];
			is(dev->vdev->ops->queue_reset(dev->vdev, 1), -EIO, lies[i]->name);
			if (!strstr(host_console_text(), lines[i]))
				fail_msg("%s: not a word of \"%s\": %s", way->name, lines[i], host_console_text());
			dev->lie = NULL;
			(void)!swdev_unplug(dev);
		}
	}
}

static uint32_t refuse_vector(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	return reg == REG_QUEUE_VECTOR && dev->queues[index].was_reset ? 0xffff : honest;
}

/* A reset took the queue's vector, and the device does not take it again. */
static void a_vector_that_is_lost(void **state)
{
	static const struct swdev_lie lie = {.name = "no vector", .index = -1, .at_read = refuse_vector};

	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev;

		if (way->legacy || way->front != &swdev_pci || !way->vectors)
			continue;
		dev = plug(FEATURE(F_RING_RESET));
		dev->lie = &lie;
		is(virtio_queue_reset(dev->vdev, 1), -EIO, "virtio_queue_reset()");
		assert_non_null(strstr(host_console_text(), "does not take its interrupt vector again"));
		dev->lie = NULL;
		loop_turn(true, LOOP_FOREVER); /* a full reset brings it back */
		is(dev->vdev->state, VIRTIO_RUNNING, "state");
		(void)!swdev_unplug(dev);
	}
}

/* ---- interrupts, shared memory ---- */

static void interrupts_are_counted(void **state)
{
	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);
		const struct device_info *info = &dev->vdev->info;
		uint64_t before = info->interrupts(info);

		for (unsigned i = 0; i < 5; i++) {
			swdev_config_changed(dev);
			loop_turn(false, 0);
		}
		is((long)(info->interrupts(info) - before), 5, "interrupts");
		unplug(dev);
	}
}

/* Without its line, forbidden or not there, a device is asked. */
static void no_line(void **state)
{
	(void)state;
	for (way = ways; way < ways + 2; way++) {
		struct mmio_slot slot = {.size = 0x1000, .gsi = HOST_LINES};
		struct swdev *dev;

		cmdline_init("virtio.irq=poll");
		dev = plug(0);
		cmdline_init("");
		is(dev->vdev->irq_mode, VIRTIO_IRQ_POLL, "mode");
		is((long)dev->vdev->info.interrupts(&dev->vdev->info), 0, "interrupts");
		dev->isr = 3;
		is(dev->vdev->ops->isr_ack(dev->vdev), 3, "isr_ack");
		is(dev->isr, 0, "isr");

		slot.base = strtoull(strchr(dev->vdev->address, '@') + 1, NULL, 16);
		slot.registers = mmu_map_device(slot.base, slot.size);
		virtio_device_remove(dev->vdev);
		mmio_slot_offer(&slot, "no line");
		for (dev->vdev = virtio_device_first(); dev->vdev->next;)
			dev->vdev = dev->vdev->next;
		is(dev->vdev->state, VIRTIO_RUNNING, "state");
		is(dev->vdev->irq_mode, VIRTIO_IRQ_POLL, "mode without a line");
		unplug(dev);
	}
}

/* A status register of interrupts that is all ones, and never acknowledged, on a device that is there. */
static void interrupt_status_of_ones(void **state)
{
	static const struct swdev_lie lie = {.name = "ones", .reg = REG_ISR, .op = OP_SET, .value = UINT32_MAX, .index = -1};

	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);

		dev->quiet = true;
		dev->lie = &lie;
		is(dev->vdev->ops->isr_ack(dev->vdev), 3, "isr_ack");
		assert_false(dev->vdev->lost);
		dev->lie = NULL;
		(void)!swdev_unplug(dev);
	}
}

static void no_shared_memory(void **state)
{
	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(0);
		struct virtio_shm region;

		is(dev->vdev->ops->shm_region(dev->vdev, 1, &region), -ENOENT, "shm_region");
		unplug(dev);
	}
}

/* ---- gone ---- */

static void a_device_that_is_gone(void **state)
{
	(void)state;
	FOR_EACH_WAY()
	{
		struct swdev *dev = plug(FEATURE(F_RING_RESET));
		struct virtio_device *vdev = dev->vdev;
		struct virtio_shm region;
		uint32_t value = 0;

		swdev_remove_by_surprise(dev);
		is(vdev->ops->isr_ack(vdev), 0, "isr_ack");
		is(vdev->ops->queue_max_size(vdev, 0), 0, "queue_max_size");
		is(vdev->ops->config_read(vdev, 8, &value, 4), -EIO, "config_read");
		is(vdev->ops->config_write(vdev, 8, &value, 4), -EIO, "config_write");
		is(vdev->ops->shm_region(vdev, 1, &region), -ENOENT, "shm_region");
		assert_true(vdev->lost);
		is(count_in(host_console_text(), "all registers read as ones"), 1, "lines");
		is(vdev->info.rebind(&vdev->info), -ENODEV, "rebind");
		(void)!swdev_unplug(dev);
	}
}

/* ---- too little memory ---- */

#define HOGS 64u

static struct {
	void *memory;
	size_t bytes;
} hogs[HOGS];

/* Take all pages but `left` of them, in one piece. */
static void take_all_but(unsigned left)
{
	void *kept = left ? page_alloc(left * PAGE_SIZE, PAGE_SIZE) : NULL;
	unsigned count = 0;

	for (size_t bytes = 64u << 20; bytes >= PAGE_SIZE; bytes /= 2) {
		void *memory;

		while ((memory = page_alloc(bytes, PAGE_SIZE))) {
			assert_true(count < HOGS);
			hogs[count].memory = memory;
			hogs[count++].bytes = bytes;
		}
	}
	page_free(kept, left * PAGE_SIZE);
}

static void give_back(void)
{
	for (unsigned i = 0; i < HOGS; i++) {
		page_free(hogs[i].memory, hogs[i].bytes);
		hogs[i].memory = NULL;
	}
}

/* From nothing to enough, page by page: it works or is refused, and says why; all that it took comes back. */
static void any_amount_of_memory(void **state)
{
	unsigned left;

	(void)state;
	FOR_EACH_WAY()
	{
		bool up = false;

		for (left = 0; !up; left++) {
			struct swdev *dev = make();

			assert_true(left < 100);
			take_all_but(left);
			up = !swdev_plug(dev, way->front);
			if (dev->vdev && dev->vdev->irq_mode == VIRTIO_IRQ_POLL && up)
				assert_non_null(strstr(host_console_text(), "no memory"));
			if (!up && !strstr(host_console_text(), "no memory"))
				fail_msg("%s, %u pages: not a word of it:\n%s", way->name, left, host_console_text());
			unplug(dev);
			is((long)page_count_free(), left, "free pages");
			give_back();
		}
		assert_true(left > 3);
	}
}

/* The same with a DMA backend, whose mappings take memory of ours as well. */
static void any_amount_of_memory_and_bounce(void **state)
{
	bool up = false;

	(void)state;
	way = &ways[0];
	for (unsigned left = 0; !up; left++) {
		struct swdev *dev = make();

		assert_true(left < 100);
		bounce_open(dev);
		take_all_but(left);
		up = !swdev_plug(dev, &swdev_direct);
		unplug(dev);
		is((long)page_count_free(), left, "free pages");
		bounce_close();
		give_back();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration_accesses),
		cmocka_unit_test(all_ones),
		cmocka_unit_test(queues_that_are_not_there),
		cmocka_unit_test(legacy_addresses),
		cmocka_unit_test(sizes_that_change),
		cmocka_unit_test(queue_resets_that_fail),
		cmocka_unit_test(a_vector_that_is_lost),
		cmocka_unit_test(interrupts_are_counted),
		cmocka_unit_test(no_line),
		cmocka_unit_test(interrupt_status_of_ones),
		cmocka_unit_test(no_shared_memory),
		cmocka_unit_test(a_device_that_is_gone),
		cmocka_unit_test(any_amount_of_memory),
		cmocka_unit_test(any_amount_of_memory_and_bounce),
	};

	type = swdev_echo;
	type.fields = fields;
	type.config_size = CONFIG_BYTES;
	swdev_machine(64u << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
