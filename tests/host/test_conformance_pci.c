/*
 * Requirements of "Virtio Over PCI Bus": devices whose ids, capabilities and vectors are unusual and right, and the order of accesses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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
#include "swdev_pci.h"
#include "swdev_types.h"
#include "swdev_work.h"
#include "trace.h"

static const struct swdev_type *const types[] = {&swdev_blk, &swdev_net, &swdev_entropy, &swdev_console};

static void unplug(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s: %s", dev->type->name, dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

static void do_work(struct swdev *dev)
{
	struct swdev_work *work = swdev_work_begin(dev, 12);

	assert_non_null(work);
	if (!swdev_work_wait(work, SWDEV_WORK_NS))
		fail_msg("%s does not work\n%s", dev->type->name, host_console_text());
	swdev_work_end(work);
}

/* Every driver with a device whose configuration space was changed so: it works, and nobody says a word. */
static void works_with(const char *what, bool transitional, void (*change)(struct swdev *dev))
{
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);
		struct swdev_lie lie = {.name = "", .at_plug = change};

		host_console_capture(true);
		dev->transitional = transitional;
		dev->lie = &lie;
		if (swdev_plug(dev, &swdev_pci))
			fail_msg("%s: %s is refused\n%s", what, types[t]->name, host_console_text());
		assert_int_equal(dev->vdev->type, types[t]->id);
		assert_false(dev->vdev->legacy);
		do_work(dev);
		dev->lie = NULL;
		unplug(dev);
		if (strstr(host_console_text(), "] ")) /* a line of the log */
			fail_msg("%s: %s", what, host_console_text());
	}
}

/* ---- "PCI Device Discovery" ---- */

static uint8_t revision;
static uint16_t subsystem;

static void set_revision(struct swdev *dev)
{
	swdev_pci_of(dev)->config[8] = revision;
	put16(swdev_pci_of(dev)->config + 0x2c, subsystem);
	put16(swdev_pci_of(dev)->config + 0x2e, subsystem);
}

/* Both ids of each type, with any revision and any subsystem. */
static void ids(void **state)
{
	static const uint8_t revisions[] = {0, 1, 2, 0x55, 0xff};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(revisions); i++) {
		revision = revisions[i];
		subsystem = (uint16_t)(0x1af4 * i);
		works_with("modern id", false, set_revision);
		works_with("transitional id", true, set_revision);
	}
}

static uint16_t vendor_id, device_id;

static void set_ids(struct swdev *dev)
{
	put16(swdev_pci_of(dev)->config, vendor_id);
	put16(swdev_pci_of(dev)->config + 2, device_id);
}

static void ids_of_others(void **state)
{
	static const uint16_t others[][2] = {{0x1af4, 0x0fff}, {0x1af4, 0x1080}, {0x1af5, 0x1042}, {0x8086, 0x1001}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct swdev *dev = swdev_new(&swdev_blk);
		struct swdev_lie lie = {.name = "", .at_plug = set_ids};

		vendor_id = others[i][0];
		device_id = others[i][1];
		dev->lie = &lie;
		assert_int_not_equal(swdev_plug(dev, &swdev_pci), 0);
		assert_null(dev->vdev);
		assert_int_equal(dev->resets, 0);
		dev->lie = NULL;
		unplug(dev);
	}
}

static void last_id(void **state)
{
	struct swdev *dev = swdev_new(&swdev_echo); /* type 63 */

	(void)state;
	echo_options = (struct echo_options){0};
	assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
	assert_int_equal(get16(swdev_pci_of(dev)->config + 2), 0x107f);
	unplug(dev);
}

/* ---- "Virtio Structure PCI Capabilities" ---- */

/* A capability at the head of the list. `bytes` of it are there. */
static uint8_t *insert(struct swdev *dev, uint8_t type, uint8_t bar, uint32_t offset, uint32_t length, uint8_t bytes)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint8_t *at = pci->config + pci->next_cap;

	assert_true(pci->next_cap + bytes <= 256);
	at[0] = 9;
	at[1] = pci->config[0x34];
	at[2] = bytes;
	at[3] = type;
	at[4] = bar;
	put32(at + 8, offset);
	put32(at + 12, length);
	pci->config[0x34] = pci->next_cap;
	pci->next_cap = (uint8_t)(pci->next_cap + bytes);
	return at;
}

static uint8_t odd;

static void reserved_type(struct swdev *dev)
{
	insert(dev, odd, 4, COMMON_AT, 64, 16);
	insert(dev, odd, odd, 0xffffffff, 0xffffffff, 20);
}

static void reserved_types(void **state)
{
	static const uint8_t kinds[] = {0, 6, 7, 10, 0x77, 0xff};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		odd = kinds[i];
		works_with("reserved cfg_type", false, reserved_type);
	}
}

static void reserved_bar(struct swdev *dev)
{
	insert(dev, CAP_COMMON, odd, COMMON_AT, 64, 16);
	insert(dev, CAP_NOTIFY, odd, NOTIFY_AT, 64, 20);
	insert(dev, CAP_ISR, odd, ISR_AT, 1, 16);
	insert(dev, CAP_DEVICE, odd, DEVICE_AT, 64, 16);
}

static void reserved_bars(void **state)
{
	static const uint8_t bars[] = {6, 7, 0x10, 0x84, 0xff};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bars); i++) {
		odd = bars[i];
		works_with("reserved bar", false, reserved_bar);
	}
}

static void longer(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	pci->config[pci->common_cap + 2] = 24;
	pci->config[pci->notify_cap + 2] = 40;
	pci->config[pci->isr_cap + 2] = 17;
	if (pci->device_cap)
		pci->config[pci->device_cap + 2] = 32;
	pci->config[pci->cfg_cap + 2] = 64;
}

static void longer_capabilities(void **state)
{
	(void)state;
	works_with("larger cap_len", false, longer);
}

/* The list's end gets more structures of each type, where nothing is. */
static void second(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint8_t head = pci->config[0x34];

	for (uint8_t type = CAP_COMMON; type <= CAP_DEVICE; type++) {
		uint8_t *at = insert(dev, type, 4, 0x8000, 64, 20);

		pci->config[pci->last_link] = (uint8_t)(at - pci->config);
		pci->last_link = (uint8_t)(at - pci->config + 1);
		at[1] = 0;
	}
	pci->config[0x34] = head;
}

static void first_instances(void **state)
{
	(void)state;
	works_with("second instances", false, second);
}

static void huge(struct swdev *dev)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	put32(pci->config + pci->common_cap + 12, 0xfffffffc);
	put32(pci->config + pci->notify_cap + 12, 0x7ffffffe);
	put32(pci->config + pci->isr_cap + 12, 0xffffffff);
	if (pci->device_cap)
		put32(pci->config + pci->device_cap + 12, 0xfffffff0);
}

static void large_lengths(void **state)
{
	(void)state;
	works_with("large lengths", false, huge);
}

/* ---- "Vendor data capability" ---- */

static uint8_t vendor_data;

static void add_vendor_data(struct swdev *dev)
{
	uint8_t *at = insert(dev, 9, 0x34, 0x12345678, 0x9abcdef0, 16);

	vendor_data = (uint8_t)(at - swdev_pci_of(dev)->config);
}

static uint32_t watch_vendor_data(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)dev;
	if (vendor_data && reg == REG_PCI_CONFIG && index >= vendor_data + 4u && index < vendor_data + 16u)
		fail_msg("byte %u of the vendor's data was read", index - vendor_data);
	return honest;
}

/* Nobody knows the vendor, so nobody looks at its data. */
static void vendor_data_is_left_alone(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		static const struct swdev_lie lie = {.name = "", .at_plug = add_vendor_data, .at_read = watch_vendor_data};
		struct swdev *dev = swdev_new(types[t]);

		dev->lie = &lie;
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		do_work(dev);
		vendor_data = 0;
		unplug(dev);
	}
}

/* ---- "Common configuration structure layout" ---- */

enum { QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_MSIX_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_DESC = 32, QUEUE_DEVICE_END = 56 };

/* Each queue's fields before its queue_enable, and no field of it afterwards. */
static void queue_enable_comes_last(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);
		unsigned fields[8] = {0}, selected = 0, count = 0;
		bool enabled[8] = {false};

		trace_begin();
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		trace_end();
		for (unsigned i = 0; i < trace_count; i++) {
			uint64_t at = trace[i].offset;

			if (trace[i].base != trace_base(dev) || !trace[i].write || at < QUEUE_SELECT || at >= QUEUE_DEVICE_END)
				continue;
			if (at == QUEUE_SELECT) {
				selected = (unsigned)trace[i].value;
				assert_true(selected < 8);
				continue;
			}
			assert_false(enabled[selected]);
			if (at == QUEUE_ENABLE) {
				assert_int_equal(trace[i].value, 1);
				enabled[selected] = true;
				count++;
			}
			fields[selected]++;
		}
		assert_int_equal(count, dev->vdev->queue_count);
		for (unsigned q = 0; q < dev->vdev->queue_count; q++)
			assert_true(fields[q] >= 8); /* a vector, six halves of addresses, enable */
		unplug(dev);
	}
}

/* ---- "MSI-X Vector Configuration" ---- */

static void tables_of_any_size(void **state)
{
	static const uint16_t sizes[] = {1, 2, 3, 4, 33, 2047, 2048};

	(void)state;
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
			struct swdev *dev = swdev_new(types[t]);

			dev->vectors = sizes[s];
			assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
			assert_true(dev->vdev->irq_mode <= VIRTIO_IRQ_MSIX_ONE);
			do_work(dev);
			unplug(dev);
		}
	}
}

/* Each mapping is read back at once. */
static void vectors_are_read_back(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		struct swdev *dev = swdev_new(types[t]);
		unsigned mapped = 0;

		trace_begin();
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		trace_end();
		for (unsigned i = 0; i < trace_count; i++) {
			if (trace[i].base != trace_base(dev) || !trace[i].write ||
			    (trace[i].offset != 16 && trace[i].offset != 26))
				continue;
			assert_true(i + 1 < trace_count);
			assert_false(trace[i + 1].write);
			assert_int_equal(trace[i + 1].offset, trace[i].offset);
			mapped++;
		}
		assert_int_equal(mapped, 1 + dev->vdev->queue_count);
		unplug(dev);
	}
}

static uint16_t first_refused;
static bool config_refused;

/* The device has no use for vectors from a number on, or for one that tells of its configuration: it does not map them, and says so. */
static uint32_t refuse_vectors(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	uint16_t *vector = reg == REG_QUEUE_VECTOR    ? &dev->queues[index].vector
	                   : reg == REG_CONFIG_VECTOR ? &dev->config_vector
	                                              : NULL;

	if (vector && (*vector >= first_refused || (reg == REG_CONFIG_VECTOR && config_refused)))
		honest = *vector = 0xffff;
	return honest;
}

/* What is refused is not relied on: fewer vectors, or the line. */
static void refused_vectors(void **state)
{
	static const struct swdev_lie lie = {.name = "", .at_read = refuse_vectors};
	static const struct {
		uint16_t first;
		bool config;
		enum virtio_irq_mode mode;
	} cases[] = {
		{3, false, VIRTIO_IRQ_MSIX}, {2, false, VIRTIO_IRQ_MSIX_SHARED}, {1, false, VIRTIO_IRQ_MSIX_ONE},
		{0, false, VIRTIO_IRQ_LINE}, {3, true, VIRTIO_IRQ_LINE},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = swdev_new(&swdev_net); /* 2 queues */

		first_refused = cases[i].first;
		config_refused = cases[i].config;
		dev->lie = &lie;
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		assert_int_equal(dev->vdev->irq_mode, cases[i].mode);
		do_work(dev);
		unplug(dev);
	}
}

/* ---- "ISR status capability" ---- */

static unsigned isr_reads(uint16_t vectors, const struct swdev_type *type)
{
	struct swdev *dev = swdev_new(type);
	unsigned reads = 0;

	dev->vectors = vectors;
	trace_begin();
	assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
	do_work(dev);
	trace_end();
	for (unsigned i = 0; i < trace_count; i++)
		reads += trace[i].base == trace_base(dev) && trace[i].offset == ISR_AT;
	unplug(dev);
	return reads;
}

/* With MSI-X it is left alone; without, it tells why. */
static void isr_status(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
		for (uint16_t vectors = 1; vectors < 5; vectors++)
			assert_int_equal(isr_reads(vectors, types[t]), 0);
		assert_true(isr_reads(0, types[t]) > 0);
	}
}

/* ---- "Notification of Device Configuration Changes" ---- */

static unsigned changes, uses;

static void count_change(struct virtio_device *vdev)
{
	(void)vdev;
	changes++;
}

static void count_use(struct virtq *vq, void *token, uint32_t length)
{
	(void)vq, (void)token, (void)length;
	uses++;
}

/* One interrupt, raised for a used buffer or for a change of the configuration, and both have happened. What the device does
 * not have to do before the driver has read the change, it does not: the generation count stays. */
static void one_interrupt_for_both(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct swdev *dev = swdev_new(&swdev_echo);
		struct virtq_buf buf = {page_alloc(PAGE_SIZE, PAGE_SIZE), 64};
		bool for_queue = i & 1;

		dev->vectors = i & 2 ? 1 : 0;
		dev->legacy = i & 4;
		echo_options = (struct echo_options){.used = count_use, .config_changed = count_change};
		assert_int_equal(swdev_plug(dev, &swdev_pci), 0);
		loop_sleep(1000000);
		dev->no_interrupts = true;
		assert_int_equal(virtq_add(dev->vdev->queues[0], &buf, 0, 1, buf.addr), 0);
		virtq_kick(dev->vdev->queues[0]);
		swdev_look_all(true);
		assert_int_equal(dev->queues[0].buffers_used, 1);
		changes = uses = 0;
		loop_sleep(1000000);
		assert_int_equal(changes + uses, 0);
		if (!dev->vectors)
			dev->isr = 3;
		dev->front->interrupt(dev, for_queue ? &dev->queues[0] : NULL);
		loop_sleep(1000000);
		assert_int_equal(uses, 1);
		assert_int_equal(changes, 1);
		unplug(dev);
		page_free(buf.addr, PAGE_SIZE);
	}
	echo_options = (struct echo_options){0};
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids),
		cmocka_unit_test(ids_of_others),
		cmocka_unit_test(last_id),
		cmocka_unit_test(reserved_types),
		cmocka_unit_test(reserved_bars),
		cmocka_unit_test(longer_capabilities),
		cmocka_unit_test(first_instances),
		cmocka_unit_test(large_lengths),
		cmocka_unit_test(vendor_data_is_left_alone),
		cmocka_unit_test(queue_enable_comes_last),
		cmocka_unit_test(tables_of_any_size),
		cmocka_unit_test(vectors_are_read_back),
		cmocka_unit_test(refused_vectors),
		cmocka_unit_test(isr_status),
		cmocka_unit_test(one_interrupt_for_both),
	};

	swdev_machine(64u << 20);
	log_threshold = LOG_WARN;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
