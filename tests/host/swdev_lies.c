/*
 * The lies of a hostile device, by name. A row is a lie: which value it falsifies (a register, or a part of a used entry) and how, or a
 * function where that is not enough. test_hostile.c tells each of them to each driver.
 */
#include <string.h>

#include "swdev_impl.h"
#include "swdev_pci.h"
#include "swdev_types.h"

/* ---- status ---- */

static uint32_t told(struct swdev *dev, uint32_t lie)
{
	dev->lies_told++;
	return lie;
}

static uint32_t stuck_after_first_reset(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	return reg == REG_STATUS && dev->resets > 1 && honest == 0 ? told(dev, 15) : honest;
}

static uint32_t needs_reset_at_features_ok(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	return reg == REG_STATUS && honest & ST_FEATURES_OK ? told(dev, honest | ST_NEEDS_RESET) : honest;
}

static void needs_reset_once(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK && !(dev->status & ST_NEEDS_RESET) && dev->looks > dev->lie->after && dev->resets == 1) {
		dev->lies_told++;
		swdev_needs_reset(dev);
	}
}

static void needs_reset_always(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK && !(dev->status & ST_NEEDS_RESET)) {
		dev->lies_told++;
		swdev_needs_reset(dev);
	}
}

static void needs_reset_in_silence(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK) {
		dev->lies_told++;
		dev->status |= ST_NEEDS_RESET;
	}
}

/* Surprise removal at the `after`th register access, */
static uint32_t remove_at_access(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg == REG_PCI_CONFIG || dev->lie_occasions++ != dev->lie->after)
		return honest;
	swdev_remove_by_surprise(dev);
	return told(dev, UINT32_MAX);
}

/* or at the third look. */
static void remove_when_running(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK && dev->looks >= 3) {
		dev->lies_told++;
		swdev_remove_by_surprise(dev);
	}
}

/* ---- features and configuration ---- */

static uint32_t other_features_after_reset(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	return reg == REG_FEATURES && index == 0 && dev->resets > 1 ? told(dev, honest & ~(1u << 29)) : honest;
}

static void offer_in_order(struct swdev *dev) { dev->offered |= FEATURE(F_IN_ORDER); }

/* An access beyond the device's configuration is refused by the transport. */
static void short_config(struct swdev *dev)
{
	dev->config_size = 4;
	dev->lies_told++;
}

static void shrinking_disk(struct swdev *dev)
{
	put64(dev->config, dev->looks % 2 ? 8 : 2048);
	dev->lies_told++;
	swdev_config_changed(dev);
}

/* ---- used entries ---- */

/* It may be in flight again by the time the driver looks: then nobody can tell, and the device confuses itself. */
static void id_not_in_flight(struct swdev_queue *queue, struct swdev_used_entry *entry)
{
	for (uint16_t id = 0; id < queue->size; id++)
		if (!queue->busy[id] && id != entry->id) {
			entry->id = id;
			return;
		}
}

static void id_of_another(struct swdev_queue *queue, struct swdev_used_entry *entry)
{
	for (uint16_t id = 0; id < queue->size; id++)
		if (queue->busy[id] && id != entry->id) {
			entry->id = id;
			return;
		}
}

static void id_of_the_one_before(struct swdev_queue *queue, struct swdev_used_entry *entry)
{
	uint32_t id = entry->id;

	entry->id = queue->lie_id;
	queue->lie_id = id;
}

/* ---- at a look ---- */

static void interrupts_without_work(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->status & ST_DRIVER_OK && dev->queues[i].enabled) {
			dev->lies_told++;
			dev->queues[i].interrupts++;
			dev->front->interrupt(dev, &dev->queues[i]);
		}
}

static void config_interrupts(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK) {
		dev->lies_told++;
		dev->front->interrupt(dev, NULL);
	}
}

static void no_interrupts(struct swdev *dev)
{
	dev->lies_told++;
	dev->no_interrupts = true;
}

static void never_serves(struct swdev *dev)
{
	dev->lies_told++;
	dev->dead = true;
}

static void dies(struct swdev *dev)
{
	if (dev->looks > 1) {
		dev->lies_told++;
		dev->dead = true;
	}
}

static void scribble(struct swdev *dev, uint64_t address, uint64_t bytes)
{
	uint8_t *memory = swdev_memory(dev, address, bytes, "a part of a queue");

	dev->lies_told++;
	for (uint64_t i = 0; memory && i < bytes; i++)
		memory[i] = (uint8_t)swdev_random(dev);
}

static void scribble_descriptors(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queues[i].enabled)
			scribble(dev, dev->queues[i].descriptor_area, 16u * dev->queues[i].size);
}

static void scribble_driver_area(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queues[i].enabled)
			scribble(dev, dev->queues[i].driver_area,
			         swdev_has(dev, F_RING_PACKED) ? 4 : 6 + 2u * dev->queues[i].size);
}

static void scribble_device_area(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (dev->queues[i].enabled)
			scribble(dev, dev->queues[i].device_area,
			         swdev_has(dev, F_RING_PACKED) ? 4 : 6 + 8u * dev->queues[i].size);
}

/* Only the wishes for notifications: flags and avail_event (split), the device event suppression (packed). */
static void absurd_wishes(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++) {
		struct swdev_queue *queue = &dev->queues[i];
		uint64_t split_event = queue->device_area + 4 + 8u * queue->size;

		if (!queue->enabled)
			continue;
		queue->notified = true;
		scribble(dev, queue->device_area, swdev_has(dev, F_RING_PACKED) ? 4 : 2);
		if (!swdev_has(dev, F_RING_PACKED))
			scribble(dev, split_event, 2);
	}
}

/* ---- types ---- */

static void absurd_status(struct swdev *dev)
{
	swdev_disk(dev)->fail = 1000;
	swdev_disk(dev)->fail_status = 0x77;
	dev->lies_told++;
}

static void num_buffers_none(struct swdev *dev)
{
	swdev_nic(dev)->false_num_buffers = 0, swdev_nic(dev)->lies = true, dev->lies_told++;
}
static void num_buffers_two(struct swdev *dev)
{
	swdev_nic(dev)->false_num_buffers = 2, swdev_nic(dev)->lies = true, dev->lies_told++;
}
static void num_buffers_many(struct swdev *dev)
{
	swdev_nic(dev)->false_num_buffers = 0xffff, swdev_nic(dev)->lies = true, dev->lies_told++;
}

/* But nothing of UDP tunnels, for which the driver may not accept the frame. */
static void absurd_header(struct swdev *dev)
{
	struct swdev_nic *nic = swdev_nic(dev);

	memset(nic->header, 0xff, sizeof(nic->header));
	nic->header[0] &= (uint8_t)~8;
	nic->header[1] &= (uint8_t)~0x60;
	dev->lies_told++;
}

/* ---- PCI: what configuration space says ---- */

static uint8_t *cap(struct swdev *dev, uint8_t at)
{
	dev->lies_told++;
	return swdev_pci_of(dev)->config + at;
}

static uint8_t *common(struct swdev *dev) { return cap(dev, swdev_pci_of(dev)->common_cap); }
static uint8_t *notify(struct swdev *dev) { return cap(dev, swdev_pci_of(dev)->notify_cap); }
static uint8_t *isr(struct swdev *dev) { return cap(dev, swdev_pci_of(dev)->isr_cap); }
static uint8_t *msix(struct swdev *dev) { return cap(dev, swdev_pci_of(dev)->msix_cap); }
static uint8_t *device(struct swdev *dev)
{
	static uint8_t nothing[32];

	return swdev_pci_of(dev)->device_cap ? cap(dev, swdev_pci_of(dev)->device_cap) : nothing;
}

static void list_loops(struct swdev *dev) { *cap(dev, swdev_pci_of(dev)->last_link) = 0x40; }
static void list_ends_in_itself(struct swdev *dev)
{
	*cap(dev, swdev_pci_of(dev)->last_link) = (uint8_t)(swdev_pci_of(dev)->last_link - 1);
}
static void list_leaves(struct swdev *dev) { *cap(dev, swdev_pci_of(dev)->last_link) = 0x10; }
static void list_starts_low(struct swdev *dev) { *cap(dev, 0x34) = 0x04; }
static void list_starts_odd(struct swdev *dev) { *cap(dev, 0x34) |= 3; }
static void list_cut_off(struct swdev *dev)
{
	*cap(dev, swdev_pci_of(dev)->last_link) = 0xfc;
	swdev_pci_of(dev)->config[0xfc] = 9;
	swdev_pci_of(dev)->config[0xfe] = 16;
	swdev_pci_of(dev)->config[0xff] = CAP_COMMON;
}
static void common_bar_reserved(struct swdev *dev) { common(dev)[4] = 6; }
static void common_bar_255(struct swdev *dev) { common(dev)[4] = 255; }
static void common_bar_absent(struct swdev *dev) { common(dev)[4] = 3; }
static void common_beyond_bar(struct swdev *dev) { put32(common(dev) + 8, 0x10000); }
static void common_far_away(struct swdev *dev) { put32(common(dev) + 8, 0xfffffffc); }
static void common_too_long(struct swdev *dev) { put32(common(dev) + 12, 0xffffffff); }
static void common_too_short(struct swdev *dev) { put32(common(dev) + 12, 8); }
static void common_no_length(struct swdev *dev) { put32(common(dev) + 12, 0); }
static void common_misaligned(struct swdev *dev) { put32(common(dev) + 8, 2); }
static void common_cap_short(struct swdev *dev) { common(dev)[2] = 8; }
static void common_cap_long(struct swdev *dev) { common(dev)[2] = 252; }
static void common_reserved_type(struct swdev *dev) { common(dev)[3] = 0x77; }
static void notify_reserved_type(struct swdev *dev) { notify(dev)[3] = 0; }
static void notify_cap_short(struct swdev *dev) { notify(dev)[2] = 16; }
static void notify_multiplier_odd(struct swdev *dev) { put32(notify(dev) + 16, 3); }
static void notify_multiplier_one(struct swdev *dev) { put32(notify(dev) + 16, 1); }
static void notify_multiplier_huge(struct swdev *dev) { put32(notify(dev) + 16, 0x80000000); }
static void notify_too_short(struct swdev *dev) { put32(notify(dev) + 12, 1); }
static void notify_misaligned(struct swdev *dev) { put32(notify(dev) + 8, NOTIFY_AT + 1); }
static void isr_reserved_type(struct swdev *dev) { isr(dev)[3] = 0x20; }
static void isr_beyond_bar(struct swdev *dev) { put32(isr(dev) + 8, 0x20000); }
static void device_reserved_type(struct swdev *dev) { device(dev)[3] = 0x21; }
static void device_too_short(struct swdev *dev) { put32(device(dev) + 12, 1); }
static void device_over_common(struct swdev *dev) { put32(device(dev) + 8, COMMON_AT); }
static void everything_over_common(struct swdev *dev)
{
	put32(notify(dev) + 8, COMMON_AT);
	put32(isr(dev) + 8, COMMON_AT);
	device_over_common(dev);
}
static void msix_beyond_bar(struct swdev *dev) { put32(msix(dev) + 4, 0x10000 | 1); }
static void msix_bar_reserved(struct swdev *dev) { put32(msix(dev) + 4, 7); }
static void msix_bar_absent(struct swdev *dev) { put32(msix(dev) + 4, 3); }
static void msix_larger_than_table(struct swdev *dev) { put16(msix(dev) + 2, 0x7ff); }
static void no_such_bar(struct swdev *dev)
{
	memset(cap(dev, 0x20), 0, 8);
	swdev_pci_of(dev)->bars[4].size = 0;
	host_mmio_remove(&swdev_pci_of(dev)->bars[4].region);
}
static uint32_t config_space_of_ones(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	return reg == REG_PCI_CONFIG && index >= 4 ? told(dev, 0xff) : honest;
}

#define ANY .index = -1
#define PCI FRONT_PCI
#define MMIO (FRONT_MMIO | FRONT_MMIO_LEGACY)
#define RING (FRONT_DIRECT | FRONT_PCI_LEGACY)
#define REGS (FRONT_DIRECT | FRONT_MMIO | FRONT_MMIO_LEGACY | FRONT_PCI | FRONT_PCI_LEGACY)
#define MAY .harmless = true
#define WORKS .harmless = true, .works = true

static const struct swdev_lie common_lies[] = {
	{"reset never completes", REGS, .reg = REG_STATUS, ANY, .op = OP_OR, .value = 1, .says = "its reset does not complete"},
	{"reset completes late", REGS, .reg = REG_STATUS, ANY, .op = OP_OR, .value = 4, .times = 200, WORKS},
	{"no reset completes but the first", REGS, .at_read = stuck_after_first_reset, .leaks = true, .says = "abandoned"},
	{"FEATURES_OK is refused", FRONTS_MODERN, .reg = REG_STATUS, ANY, .op = OP_CLEAR, .value = ST_FEATURES_OK,
         .says = "FEATURES_OK not accepted"},
	{"FEATURES_OK comes and goes", FRONTS_MODERN, .reg = REG_STATUS, ANY, .op = OP_TOGGLE, .value = ST_FEATURES_OK, MAY},
	{"DRIVER_OK does not stay", REGS, .reg = REG_STATUS, ANY, .op = OP_CLEAR, .value = ST_DRIVER_OK, MAY},
	{"status without ACKNOWLEDGE", REGS, .reg = REG_STATUS, ANY, .op = OP_CLEAR, .value = ST_ACKNOWLEDGE, MAY},
	{"status with an undefined bit", REGS, .reg = REG_STATUS, ANY, .op = OP_OR, .value = 0x20},
	{"status of a failed driver", REGS, .reg = REG_STATUS, ANY, .op = OP_OR, .value = ST_FAILED},
	{"status changes at each read", REGS, .reg = REG_STATUS, ANY, .op = OP_COUNT, .value = 1, MAY},
	{"NEEDS_RESET from the start", REGS, .reg = REG_STATUS, ANY, .op = OP_OR, .value = ST_NEEDS_RESET},
	{"NEEDS_RESET at FEATURES_OK", FRONTS_MODERN, .at_read = needs_reset_at_features_ok, MAY},
	{"NEEDS_RESET at once", REGS, .at_look = needs_reset_once},
	{"NEEDS_RESET under load", REGS, .at_look = needs_reset_once, .after = 2, .says = "DEVICE_NEEDS_RESET"},
	{"NEEDS_RESET again and again", REGS, .at_look = needs_reset_always, .says = "breaks again and again"},
	{"NEEDS_RESET without an interrupt", REGS, .at_look = needs_reset_in_silence, MAY},
	{"status of ones", REGS, .reg = REG_STATUS, ANY, .op = OP_SET, .value = 0xff},
	{"removal at the first access", REGS, .at_read = remove_at_access, .after = 0},
	{"removal at the third access", REGS, .at_read = remove_at_access, .after = 3},
	{"removal at the sixth access", REGS, .at_read = remove_at_access, .after = 6},
	{"removal at the ninth access", REGS, .at_read = remove_at_access, .after = 9},
	{"removal at the 15th access", REGS, .at_read = remove_at_access, .after = 15},
	{"removal at the 20th access", REGS, .at_read = remove_at_access, .after = 20},
	{"removal at the 30th access", REGS, .at_read = remove_at_access, .after = 30},
	{"removal under load", REGS, .at_look = remove_when_running, .says = "gone"},

	{"all features", REGS, .reg = REG_FEATURES, ANY, .op = OP_SET, .value = UINT32_MAX, MAY},
	{"no features", REGS, .reg = REG_FEATURES, ANY, .op = OP_SET, .value = 0, MAY},
	{"features change at each read", REGS, .reg = REG_FEATURES, ANY, .op = OP_TOGGLE, .value = UINT32_MAX, MAY},
	{"features change by a reset", FRONTS_MODERN, .at_read = other_features_after_reset, .at_look = needs_reset_once,
         .says = "features changed"},
	{"VERSION_1 is missing", FRONTS_MODERN, .reg = REG_FEATURES, .index = 1, .op = OP_CLEAR, .value = 1,
         .says = "VERSION_1 is not offered"},
	{"RING_PACKED that is not meant", FRONTS_MODERN, SPLIT_ONLY, .reg = REG_FEATURES, .index = 1, .op = OP_OR, .value = 4},
	{"generation never holds still", FRONTS_MODERN, .reg = REG_GENERATION, ANY, .op = OP_COUNT, .value = 1, MAY,
         .says = "cannot be read"},
	{"generation changes ten times", FRONTS_MODERN, .reg = REG_GENERATION, ANY, .op = OP_COUNT, .value = 1, .times = 10,
         WORKS},
	{"configuration of ones", REGS, .reg = REG_CONFIG, ANY, .op = OP_SET, .value = UINT32_MAX, MAY},
	{"configuration of zeros", REGS, .reg = REG_CONFIG, ANY, .op = OP_SET, .value = 0, MAY},
	{"configuration changes at each read", REGS, .reg = REG_CONFIG, ANY, .op = OP_COUNT, .value = 0x01010101, MAY},
	{"configuration flips", REGS, .reg = REG_CONFIG, ANY, .op = OP_TOGGLE, .value = UINT32_MAX, MAY},
	{"configuration is cut short", FRONT_DIRECT | FRONT_PCI, .setup = short_config, MAY},
	{"capacity 0", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 0, .op = OP_SET, .value = 0, MAY},
	{"capacity without end", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 4, .op = OP_SET, .value = UINT32_MAX,
         .says = "capacity"},
	{"capacity comes and goes", 0, .type = &swdev_blk, .at_look = shrinking_disk, MAY},
	/* it is none, as some devices mean it */
	{"size_max 0", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 8, .op = OP_SET, .value = 0, WORKS},
	{"size_max 1", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 8, .op = OP_SET, .value = 1},
	{"seg_max 0", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 12, .op = OP_SET, .value = 0},
	{"seg_max without end", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 12, .op = OP_SET, .value = UINT32_MAX, WORKS,
         .blind = true},
	{"blk_size 0", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 20, .op = OP_SET, .value = 0},
	{"blk_size 513", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 20, .op = OP_SET, .value = 513,
         .says = "blk_size 513"},
	{"blk_size 2 GiB", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 20, .op = OP_SET, .value = 0x80000000},
	{"opt_io_size without end", 0, .type = &swdev_blk, .reg = REG_CONFIG, .index = 28, .op = OP_SET, .value = UINT32_MAX,
         WORKS},
	{"mac of a group", 0, .type = &swdev_net, .reg = REG_CONFIG, .index = 0, .op = OP_OR, .value = 1},
	{"mtu 0", 0, .type = &swdev_net, .reg = REG_CONFIG, .index = 10, .op = OP_SET, .value = 0},
	{"mtu 67", 0, .type = &swdev_net, .reg = REG_CONFIG, .index = 10, .op = OP_SET, .value = 67, .says = "mtu 67"},
	{"mtu 65535", 0, .type = &swdev_net, .reg = REG_CONFIG, .index = 10, .op = OP_SET, .value = 65535, WORKS},
	{"link comes and goes", 0, .type = &swdev_net, .reg = REG_CONFIG, .index = 6, .op = OP_TOGGLE, .value = 1, WORKS},

	{"queue size 0", REGS, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 0, .says = "is not there"},
	{"second queue of size 0", REGS, .reg = REG_QUEUE_MAX, .index = 1, .op = OP_SET, .value = 0},
	{"queue size 1", FRONTS_MODERN, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 1, MAY},
	{"queue size 3", FRONTS_MODERN, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 3, MAY},
	{"queue size 100", FRONTS_MODERN, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 100, WORKS},
	{"queue size 32768", FRONTS_MODERN, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 32768, WORKS},
	{"queue size 65535", REGS, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 65535, MAY},
	{"queue size 100, legacy", FRONT_MMIO_LEGACY | FRONT_PCI_LEGACY, .reg = REG_QUEUE_MAX, ANY, .op = OP_SET, .value = 100,
         .says = "impossible size"},
	{"queue size changes at each read", FRONTS_MODERN, .reg = REG_QUEUE_MAX, ANY, .op = OP_TOGGLE, .value = 64, MAY,
         .blind = true},
	{"queues are never enabled", REGS, .reg = REG_QUEUE_ENABLED, ANY, .op = OP_SET, .value = 0},
	{"queues are enabled already", MMIO, .reg = REG_QUEUE_ENABLED, ANY, .op = OP_SET, .value = 1},

	{"wrong magic", MMIO, .reg = REG_MAGIC, ANY, .op = OP_XOR, .value = 1},
	{"version 0", MMIO, .reg = REG_VERSION, ANY, .op = OP_SET, .value = 0},
	{"version 3", MMIO, .reg = REG_VERSION, ANY, .op = OP_SET, .value = 3},
	{"device id 0", MMIO, .reg = REG_DEVICE_ID, ANY, .op = OP_SET, .value = 0, MAY, .must_be_silent = true},
	{"device id of nothing", MMIO, .reg = REG_DEVICE_ID, ANY, .op = OP_SET, .value = 0x1234},
	{"interrupt status always set", MMIO | FRONT_PCI_LEGACY, .reg = REG_ISR, ANY, .op = OP_OR, .value = 3, WORKS},
	{"interrupt status undefined", MMIO | FRONT_PCI_LEGACY, .reg = REG_ISR, ANY, .op = OP_OR, .value = 0xfc, WORKS},
	{"interrupt status never set", MMIO | FRONT_PCI_LEGACY, .reg = REG_ISR, ANY, .op = OP_SET, .value = 0, MAY},

	{"no vector for the configuration", PCI | FRONT_PCI_LEGACY, .reg = REG_CONFIG_VECTOR, ANY, .op = OP_SET, .value = 0xffff,
         WORKS},
	{"no vector for queue 0", PCI | FRONT_PCI_LEGACY, .reg = REG_QUEUE_VECTOR, .index = 0, .op = OP_SET, .value = 0xffff,
         WORKS},
	{"no vector for queue 1", PCI | FRONT_PCI_LEGACY, .reg = REG_QUEUE_VECTOR, .index = 1, .op = OP_SET, .value = 0xffff,
         WORKS},
	{"no vector at all", PCI, .reg = REG_QUEUE_VECTOR, ANY, .op = OP_SET, .value = 0xffff, .at_read = NULL, WORKS},
	{"no vector the first time", PCI, .reg = REG_QUEUE_VECTOR, ANY, .op = OP_SET, .value = 0xffff, .times = 1, WORKS},
	{"another vector", PCI, .reg = REG_QUEUE_VECTOR, ANY, .op = OP_XOR, .value = 1, WORKS},
	{"notifications out of reach", PCI, .reg = REG_NOTIFY_OFF, ANY, .op = OP_SET, .value = 0xffff},
	{"notification offsets just too far", PCI, .reg = REG_NOTIFY_OFF, ANY, .op = OP_SET,
         .value = NOTIFY_BYTES / NOTIFY_MULTIPLIER},

	{"capability list loops", PCI, .at_plug = list_loops, .says = "loop"},
	{"capability list ends in itself", PCI, .at_plug = list_ends_in_itself},
	{"capability list leaves for the header", PCI, .at_plug = list_leaves},
	{"capability list starts in the header", PCI, .at_plug = list_starts_low},
	{"capability list starts at an odd place", PCI, .at_plug = list_starts_odd, WORKS},
	{"capability at the very end", PCI, .at_plug = list_cut_off},
	{"configuration space of ones", PCI, .at_read = config_space_of_ones},
	{"common structure in a reserved BAR", PCI, .at_plug = common_bar_reserved},
	{"common structure in BAR 255", PCI, .at_plug = common_bar_255},
	{"common structure in a BAR that is not there", PCI, .at_plug = common_bar_absent},
	{"common structure beyond its BAR", PCI, .at_plug = common_beyond_bar, .says = "BAR 4 holds no"},
	{"common structure far away", PCI, .at_plug = common_far_away},
	{"common structure of 4 GiB", PCI, .at_plug = common_too_long, WORKS},
	{"common structure of 8 bytes", PCI, .at_plug = common_too_short},
	{"common structure of no bytes", PCI, .at_plug = common_no_length},
	{"common structure misaligned", PCI, .at_plug = common_misaligned},
	{"short cap_len", PCI, .at_plug = common_cap_short, .says = "cut off"},
	{"cap_len beyond the space", PCI, .at_plug = common_cap_long},
	{"no common structure", PCI, .at_plug = common_reserved_type},
	{"no notification structure", PCI, .at_plug = notify_reserved_type},
	{"notification cap_len without multiplier", PCI, .at_plug = notify_cap_short},
	{"notify_off_multiplier 3", PCI, .at_plug = notify_multiplier_odd},
	{"notify_off_multiplier 1", PCI, .at_plug = notify_multiplier_one},
	{"notify_off_multiplier 2 GiB", PCI, .at_plug = notify_multiplier_huge, MAY, .blind = true},
	{"notification structure of 1 byte", PCI, .at_plug = notify_too_short},
	{"notification structure misaligned", PCI, .at_plug = notify_misaligned},
	{"no ISR structure", PCI, .at_plug = isr_reserved_type, WORKS},
	{"ISR structure beyond its BAR", PCI, .at_plug = isr_beyond_bar},
	{"no device structure", PCI, .at_plug = device_reserved_type, MAY},
	{"device structure of 1 byte", PCI, .at_plug = device_too_short, MAY},
	{"device structure over the common one", PCI, .at_plug = device_over_common, MAY, .blind = true},
	{"all structures over the common one", PCI, .at_plug = everything_over_common, MAY, .blind = true},
	{"MSI-X table beyond its BAR", PCI, .at_plug = msix_beyond_bar},
	{"MSI-X table in a reserved BAR", PCI, .at_plug = msix_bar_reserved},
	{"MSI-X table in a BAR that is not there", PCI, .at_plug = msix_bar_absent},
	{"MSI-X capability larger than the table", PCI, .at_plug = msix_larger_than_table, WORKS},
	{"BAR 4 is not there", PCI, .at_plug = no_such_bar},

	{"used id of ones", RING, .used = USED_ID, .op = OP_SET, .value = UINT32_MAX, .says = "used id 4294967295"},
	{"used id one too high", RING, .used = USED_ID, .op = OP_SET, .value = 256, .says = "used id 256"},
	{"used id 32768", RING, .used = USED_ID, .op = OP_SET, .value = 32768},
	{"used id 65536 too high", RING, SPLIT_ONLY, .used = USED_ID, .op = OP_ADD, .value = 0x10000, .says = "is not in flight"},
	{"used id not in flight", RING, .at_used = id_not_in_flight, .after = 2, .says = "is not in flight", .blind = true},
	{"used id of another request", RING, .at_used = id_of_another, .blind = true},
	{"used id twice", RING, .at_used = id_of_the_one_before, .blind = true},
	{"used id always 0", RING, .used = USED_ID, .op = OP_SET, .value = 0, .blind = true},
	{"used ids in the wrong order", FRONT_DIRECT, .setup = offer_in_order, .used = USED_ID, .op = OP_XOR, .value = 1, MAY,
         .blind = true},
	{"used length of ones", FRONT_DIRECT, .used = USED_LENGTH, .op = OP_SET, .value = UINT32_MAX, MAY,
         .says = "used length 4294967295"},
	{"used length one too long", RING, .used = USED_LENGTH, .op = OP_ADD, .value = 1, MAY,
         .says = "bytes are device-writable"},
	{"used length 64 KiB too long", RING, .used = USED_LENGTH, .op = OP_ADD, .value = 0x10000, MAY},
	{"used length 0", RING, .used = USED_LENGTH, .op = OP_SET, .value = 0, MAY},
	{"used length 5", RING, .used = USED_LENGTH, .op = OP_SET, .value = 5, MAY},
	{"used length short by one", RING, .used = USED_LENGTH, .op = OP_ADD, .value = UINT32_MAX, MAY},
	{"used index jumps by two", RING, .used = USED_STEP, .op = OP_ADD, .value = 1, MAY, .blind = true,
         .says = "used index jumped"},
	{"used index jumps by the size", RING, .used = USED_STEP, .op = OP_SET, .value = 256, MAY, .blind = true},
	{"used index jumps by 32768", RING, .used = USED_STEP, .op = OP_SET, .value = 32768, MAY, .blind = true,
         .says = "used index jumped"},
	{"used index goes back", RING, .used = USED_STEP, .op = OP_SET, .value = UINT16_MAX, MAY, .blind = true,
         .says = "used index jumped"},
	{"used index stands still", RING, .used = USED_STEP, .op = OP_SET, .value = 0, MAY, .blind = true},
	{"used index without an entry", RING, .used = USED_ENTRY, MAY, .blind = true},
	{"USED without AVAIL", RING, PACKED_ONLY, .used = USED_FLAGS, .value = 1 << 7, MAY, .blind = true},
	{"AVAIL without USED", RING, PACKED_ONLY, .used = USED_FLAGS, .value = 1 << 15, MAY, .blind = true},
	{"used in the wrong wrap", RING, PACKED_ONLY, .used = USED_FLAGS, .value = 1 << 7 | 1 << 15, MAY, .blind = true},
	{"used flags of ones", RING, PACKED_ONLY, .used = USED_FLAGS, .value = 0x7f7f, WORKS, .blind = true},

	{"interrupts without work", REGS, .at_look = interrupts_without_work, WORKS},
	{"configuration interrupts without a change", REGS, .at_look = config_interrupts, WORKS},
	{"work without interrupts", REGS, .setup = no_interrupts, MAY},
	{"never answers", REGS, .setup = never_serves, MAY},
	{"stops answering", REGS, .at_look = dies, MAY},
	{"descriptors are scribbled over", RING, .at_look = scribble_descriptors, MAY, .blind = true},
	{"driver area is scribbled over", RING, .at_look = scribble_driver_area, MAY, .blind = true},
	{"device area is scribbled over", RING, .at_look = scribble_device_area, MAY, .blind = true},
	{"absurd wishes for notifications", RING, .at_look = absurd_wishes, WORKS, .blind = true},

	{"undefined status of requests", RING, .type = &swdev_blk, .setup = absurd_status, MAY},
	{"num_buffers 0", RING, .type = &swdev_net, .setup = num_buffers_none, MAY},
	{"num_buffers 2", RING, .type = &swdev_net, .setup = num_buffers_two, MAY},
	{"num_buffers 65535", RING, .type = &swdev_net, .setup = num_buffers_many, MAY},
	{"absurd receive header", RING, .type = &swdev_net, .setup = absurd_header, WORKS},
	{},
};
SWDEV_LIES(common_lies);
