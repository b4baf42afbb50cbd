/*
 * What lies behind the BARs of the PCI front: the common, notification, ISR and device structures, the MSI-X table, the legacy
 * interface, and the window of the PCI configuration access capability.
 */
#include <string.h>

#include "swdev_pci.h"

/* "Common configuration structure layout" */
enum {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_MSIX_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_MSIX_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	QUEUE_NOTIF_CONFIG_DATA = 56,
	QUEUE_RESET = 58,
	COMMON_END = 64,
};

/* "Legacy Interfaces: A Note on PCI Device Layout" */
enum {
	LEGACY_DEVICE_FEATURES = 0,
	LEGACY_DRIVER_FEATURES = 4,
	LEGACY_QUEUE_ADDRESS = 8,
	LEGACY_QUEUE_SIZE = 12,
	LEGACY_QUEUE_SELECT = 14,
	LEGACY_QUEUE_NOTIFY = 16,
	LEGACY_STATUS = 18,
	LEGACY_ISR = 19,
	LEGACY_CONFIG_VECTOR = 20,
	LEGACY_QUEUE_VECTOR = 22,
};

/* The width of a field at its offset; 0: there is none that begins there. 64-bit fields are two of 32. */
static unsigned common_width(const struct swdev *dev, uint64_t offset)
{
	switch (offset) {
	case DEVICE_STATUS:
	case GENERATION:
		return 1;
	case QUEUE_NOTIF_CONFIG_DATA:
		return swdev_has(dev, F_NOTIF_CONFIG_DATA) ? 2 : 0;
	case QUEUE_RESET:
		return swdev_has(dev, F_RING_RESET) ? 2 : 0;
	}
	if (offset >= COMMON_END)
		return 0;
	if (offset < CONFIG_MSIX_VECTOR || (offset >= QUEUE_DESC && offset < QUEUE_NOTIF_CONFIG_DATA))
		return offset % 4 ? 0 : 4;
	return offset % 2 ? 0 : 2;
}

static bool common_access(struct swdev *dev, uint64_t offset, unsigned width, const char *what)
{
	if (common_width(dev, offset) == width)
		return true;
	swdev_violation(dev, "common configuration %s of %u bytes at %u", what, width, (unsigned)offset);
	return false;
}

static uint32_t half(uint64_t value, uint64_t offset) { return (uint32_t)(offset & 4 ? value >> 32 : value); }

static uint64_t *area(struct swdev_queue *queue, uint64_t offset)
{
	return offset < QUEUE_DRIVER   ? &queue->descriptor_area
	       : offset < QUEUE_DEVICE ? &queue->driver_area
	                               : &queue->device_area;
}

static uint32_t queue_size_read(struct swdev *dev, struct swdev_queue *queue, uint16_t index)
{
	/* The maximum until the driver makes it smaller. */
	if (queue && queue->told_max && queue->size != queue->told_max)
		return queue->size;
	return swdev_queue_max(dev, index);
}

static uint32_t common_queue_read(struct swdev *dev, uint64_t offset)
{
	uint16_t index = swdev_pci_of(dev)->queue_select;
	struct swdev_queue *queue = swdev_queue_select(dev, index);

	switch (offset) {
	case QUEUE_SIZE:
		return queue_size_read(dev, queue, index);
	case QUEUE_MSIX_VECTOR:
		return swdev_tell(dev, REG_QUEUE_VECTOR, index, queue ? queue->vector : 0xffff);
	case QUEUE_ENABLE:
		return swdev_tell(dev, REG_QUEUE_ENABLED, index, queue && queue->enabled);
	case QUEUE_NOTIFY_OFF:
		return swdev_tell(dev, REG_NOTIFY_OFF, index, index);
	case QUEUE_NOTIF_CONFIG_DATA:
		return swdev_pci_notify_name(dev, index);
	case QUEUE_RESET:
		return swdev_tell(dev, REG_QUEUE_RESET, index, 0);
	default:
		return queue ? half(*area(queue, offset), offset) : 0;
	}
}

static uint32_t common_read(struct swdev *dev, uint64_t offset, unsigned width)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	if (!common_access(dev, offset, width, "read"))
		return UINT32_MAX;
	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		return pci->feature_select;
	case DEVICE_FEATURE:
		return swdev_features_read(dev, pci->feature_select);
	case DRIVER_FEATURE_SELECT:
		return pci->driver_feature_select;
	case DRIVER_FEATURE:
		return pci->driver_feature_select < 2 ? (uint32_t)(dev->accepted >> (32 * pci->driver_feature_select)) : 0;
	case CONFIG_MSIX_VECTOR:
		return swdev_tell(dev, REG_CONFIG_VECTOR, 0, dev->config_vector);
	case NUM_QUEUES:
		return swdev_tell(dev, REG_NUM_QUEUES, 0, dev->queue_count);
	case DEVICE_STATUS:
		return swdev_status_read(dev);
	case GENERATION:
		return swdev_generation_read(dev);
	case QUEUE_SELECT:
		return pci->queue_select;
	}
	return common_queue_read(dev, offset);
}

/* "MSI-X Vector Configuration": the driver must not map to a vector outside of the table. */
static uint16_t take_vector(struct swdev *dev, uint16_t vector)
{
	if (vector != 0xffff && !swdev_pci_msix_on(dev))
		swdev_violation(dev, "vector %u mapped while MSI-X is off", vector);
	if (vector != 0xffff && vector >= dev->vectors) {
		swdev_violation(dev, "vector %u mapped, the table has %u", vector, dev->vectors);
		return 0xffff;
	}
	return vector;
}

static void common_queue_write(struct swdev *dev, uint64_t offset, uint32_t value)
{
	struct swdev_queue *queue = swdev_queue_select(dev, swdev_pci_of(dev)->queue_select);

	if (!queue) {
		swdev_violation(dev, "queue register %u written for queue %u", (unsigned)offset, swdev_pci_of(dev)->queue_select);
		return;
	}
	switch (offset) {
	case QUEUE_SIZE:
		if (!swdev_queue_may_set(queue, "queue_size"))
			return;
		if (value == 0 || (!swdev_has(dev, F_RING_PACKED) && value & (value - 1)))
			swdev_violation(dev, "queue_size written with %u", value);
		queue->size = (uint16_t)value;
		return;
	case QUEUE_MSIX_VECTOR:
		queue->vector = take_vector(dev, (uint16_t)value);
		return;
	case QUEUE_ENABLE:
		if (value != 1)
			swdev_violation(dev, "queue_enable written with %u", value);
		else
			swdev_queue_enable(queue);
		return;
	case QUEUE_RESET:
		if (value != 1)
			swdev_violation(dev, "queue_reset written with %u", value);
		swdev_queue_reset(queue);
		return;
	}
	if (swdev_queue_may_set(queue, "an area")) {
		uint64_t *at = area(queue, offset);

		*at = offset & 4 ? (*at & UINT32_MAX) | (uint64_t)value << 32 : (*at & ~(uint64_t)UINT32_MAX) | value;
	}
}

static void common_write(struct swdev *dev, uint64_t offset, unsigned width, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	if (!common_access(dev, offset, width, "write"))
		return;
	switch (offset) {
	case DEVICE_FEATURE:
	case NUM_QUEUES:
	case GENERATION:
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIF_CONFIG_DATA:
		swdev_violation(dev, "common configuration %u is read-only", (unsigned)offset);
		return;
	case DEVICE_FEATURE_SELECT:
		pci->feature_select = value;
		return;
	case DRIVER_FEATURE_SELECT:
		pci->driver_feature_select = value;
		return;
	case DRIVER_FEATURE:
		swdev_features_write(dev, pci->driver_feature_select, value);
		return;
	case CONFIG_MSIX_VECTOR:
		dev->config_vector = take_vector(dev, (uint16_t)value);
		return;
	case DEVICE_STATUS:
		swdev_status_write(dev, (uint8_t)value);
		return;
	case QUEUE_SELECT:
		pci->queue_select = (uint16_t)value;
		return;
	}
	common_queue_write(dev, offset, value);
}

/* "Available Buffer Notifications": each queue has its own address, which also names it. */
static void notify(struct swdev *dev, uint64_t offset, unsigned width, uint32_t value)
{
	unsigned wanted = swdev_has(dev, F_NOTIFICATION_DATA) ? 4 : 2;
	uint16_t index = (uint16_t)(offset / NOTIFY_MULTIPLIER);

	if (width != wanted)
		swdev_violation(dev, "a notification of %u bytes", width);
	if (offset % NOTIFY_MULTIPLIER || swdev_pci_notify_name(dev, index) != (value & 0xffff))
		swdev_violation(dev, "notification %#x at offset %u", value, (unsigned)offset);
	swdev_notify(dev, (value & 0xffff0000) | index);
}

/* ---- BAR 4 ---- */

static uint32_t modern_read(struct swdev *dev, uint64_t offset, unsigned width)
{
	if (offset < ISR_AT)
		return common_read(dev, offset, width);
	if (offset < DEVICE_AT) {
		if (offset != ISR_AT || width != 1)
			swdev_violation(dev, "ISR read of %u bytes at %u", width, (unsigned)offset - ISR_AT);
		return swdev_isr_read(dev, true);
	}
	if (offset < NOTIFY_AT) {
		if (offset - DEVICE_AT + width > dev->config_size)
			swdev_violation(dev, "config read of %u bytes at %u", width, (unsigned)offset - DEVICE_AT);
		return swdev_config_read(dev, (uint32_t)offset - DEVICE_AT, width);
	}
	swdev_violation(dev, "BAR 4 read at %#x", (unsigned)offset);
	return UINT32_MAX;
}

static void modern_write(struct swdev *dev, uint64_t offset, unsigned width, uint32_t value)
{
	if (offset < ISR_AT)
		common_write(dev, offset, width, value);
	else if (offset < DEVICE_AT)
		swdev_violation(dev, "ISR written");
	else if (offset < NOTIFY_AT)
		swdev_config_write(dev, (uint32_t)offset - DEVICE_AT, width, value);
	else
		notify(dev, offset - NOTIFY_AT, width, value);
}

/* ---- BAR 1: MSI-X ---- */

static uint32_t *table_word(struct swdev *dev, uint64_t offset, unsigned width)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint64_t entry = offset / 16;

	if (width != 4 || offset % 4 || entry >= dev->vectors) {
		swdev_violation(dev, "MSI-X table access of %u bytes at %#x", width, (unsigned)offset);
		return NULL;
	}
	switch (offset % 16) {
	case 0:
		return (uint32_t *)&pci->table[entry].address;
	case 4:
		return (uint32_t *)&pci->table[entry].address + 1;
	case 8:
		return &pci->table[entry].data;
	default:
		return &pci->table[entry].control;
	}
}

static void table_write(struct swdev *dev, uint64_t offset, unsigned width, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	uint32_t *word = table_word(dev, offset, width);
	uint64_t entry = offset / 16;

	if (!word)
		return;
	if (offset % 16 != 12 && !(pci->table[entry].control & 1) && swdev_pci_msix_on(dev))
		swdev_violation(dev, "MSI-X entry %u changed while it is not masked", (unsigned)entry);
	*word = value;
	if (offset % 16 == 12 && !(value & 1) && pci->pending[entry]) {
		pci->pending[entry] = false;
		host_irq_raise_message(pci->table[entry].address, pci->table[entry].data);
	}
}

/* ---- BAR 0: legacy ---- */

static uint64_t legacy_config_at(const struct swdev *dev) { return swdev_pci_msix_on(dev) ? 24 : 20; }

static uint32_t legacy_read(struct swdev *dev, uint64_t offset, unsigned width)
{
	uint16_t index = swdev_pci_of(dev)->queue_select;
	struct swdev_queue *queue = swdev_queue_select(dev, index);

	if (offset >= legacy_config_at(dev)) {
		if (offset - legacy_config_at(dev) + width > dev->config_size)
			swdev_violation(dev, "config read of %u bytes at %u", width, (unsigned)(offset - legacy_config_at(dev)));
		return swdev_config_read(dev, (uint32_t)(offset - legacy_config_at(dev)), width);
	}
	switch (offset << 4 | width) {
	case LEGACY_DEVICE_FEATURES << 4 | 4:
		return swdev_features_read(dev, 0);
	case LEGACY_DRIVER_FEATURES << 4 | 4:
		return (uint32_t)dev->accepted;
	case LEGACY_QUEUE_ADDRESS << 4 | 4:
		return swdev_tell(dev, REG_QUEUE_ENABLED, index,
		                  queue && queue->enabled ? (uint32_t)(queue->descriptor_area >> 12) : 0);
	case LEGACY_QUEUE_SIZE << 4 | 2:
		return swdev_queue_max(dev, index);
	case LEGACY_QUEUE_SELECT << 4 | 2:
		return index;
	case LEGACY_STATUS << 4 | 1:
		return swdev_status_read(dev);
	case LEGACY_ISR << 4 | 1:
		return swdev_isr_read(dev, true);
	case LEGACY_CONFIG_VECTOR << 4 | 2:
		return swdev_tell(dev, REG_CONFIG_VECTOR, 0, dev->config_vector);
	case LEGACY_QUEUE_VECTOR << 4 | 2:
		return swdev_tell(dev, REG_QUEUE_VECTOR, index, queue ? queue->vector : 0xffff);
	}
	swdev_violation(dev, "legacy register read of %u bytes at %u", width, (unsigned)offset);
	return UINT32_MAX;
}

static void legacy_queue_address(struct swdev *dev, uint32_t pfn)
{
	struct swdev_queue *queue = swdev_queue_select(dev, swdev_pci_of(dev)->queue_select);

	if (!queue) {
		swdev_violation(dev, "a queue address for queue %u", swdev_pci_of(dev)->queue_select);
	} else if (pfn == 0) {
		swdev_queue_disable(queue);
	} else if (swdev_queue_may_set(queue, "the queue address")) {
		/* "Legacy Interfaces: A Note on Virtqueue Layout", with an alignment of 4096 */
		queue->descriptor_area = (uint64_t)pfn << 12;
		queue->driver_area = queue->descriptor_area + 16u * queue->size;
		queue->device_area = (queue->driver_area + 6 + 2u * queue->size + 4095) / 4096 * 4096;
		swdev_queue_enable(queue);
	}
}

static void legacy_write(struct swdev *dev, uint64_t offset, unsigned width, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	struct swdev_queue *queue = swdev_queue_select(dev, pci->queue_select);

	if (offset >= legacy_config_at(dev)) {
		swdev_config_write(dev, (uint32_t)(offset - legacy_config_at(dev)), width, value);
		return;
	}
	switch (offset << 4 | width) {
	case LEGACY_DRIVER_FEATURES << 4 | 4:
		swdev_features_write(dev, 0, value);
		return;
	case LEGACY_QUEUE_ADDRESS << 4 | 4:
		legacy_queue_address(dev, value);
		return;
	case LEGACY_QUEUE_SELECT << 4 | 2:
		pci->queue_select = (uint16_t)value;
		return;
	case LEGACY_QUEUE_NOTIFY << 4 | 2:
		swdev_notify(dev, value);
		return;
	case LEGACY_STATUS << 4 | 1:
		swdev_status_write(dev, (uint8_t)value);
		return;
	case LEGACY_CONFIG_VECTOR << 4 | 2:
		dev->config_vector = take_vector(dev, (uint16_t)value);
		return;
	case LEGACY_QUEUE_VECTOR << 4 | 2:
		if (queue)
			queue->vector = take_vector(dev, (uint16_t)value);
		return;
	}
	swdev_violation(dev, "legacy register write of %u bytes at %u", width, (unsigned)offset);
}

/* ---- dispatch ---- */

static uint32_t bar_read(struct swdev *dev, unsigned index, uint64_t offset, unsigned width)
{
	uint32_t *word;

	switch (index) {
	case 0:
		dev->legacy |= dev->legacy_choice;
		return legacy_read(dev, offset, width);
	case 1:
		word = table_word(dev, offset, width);
		return word ? *word : UINT32_MAX;
	default:
		return modern_read(dev, offset, width);
	}
}

static void bar_write(struct swdev *dev, unsigned index, uint64_t offset, unsigned width, uint32_t value)
{
	switch (index) {
	case 0:
		/* "Legacy Interface: A Note on Feature Bits": who uses it has not acknowledged VERSION_1 */
		dev->legacy |= dev->legacy_choice;
		legacy_write(dev, offset, width, value);
		break;
	case 1:
		table_write(dev, offset, width, value);
		break;
	default:
		modern_write(dev, offset, width, value);
	}
}

static bool decoding(struct swdev_pci_bar *bar)
{
	bool on = get16(swdev_pci_of(bar->dev)->config + PCI_COMMAND_REG) & (bar->flags & 1 ? 1 : 2);

	if (!on)
		swdev_violation(bar->dev, "BAR %u accessed while decoding is off", bar->index);
	return on;
}

uint64_t swdev_pci_bar_read(void *context, uint64_t offset, unsigned width)
{
	struct swdev_pci_bar *bar = context;

	if (bar->dev->removed || !decoding(bar))
		return UINT64_MAX;
	return bar_read(bar->dev, bar->index, offset, width);
}

void swdev_pci_bar_write(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	struct swdev_pci_bar *bar = context;

	if (!bar->dev->removed && decoding(bar))
		bar_write(bar->dev, bar->index, offset, width, (uint32_t)value);
}

/* Within a structure that another capability specifies. */
static bool in_a_structure(const struct swdev_pci *pci, unsigned bar, uint64_t offset, unsigned width)
{
	const uint8_t caps[] = {pci->common_cap, pci->notify_cap, pci->isr_cap, pci->device_cap};

	for (unsigned i = 0; i < sizeof(caps); i++) {
		const uint8_t *cap = pci->config + caps[i];
		uint64_t start = get32(cap + 8), length = get32(cap + 12);

		if (caps[i] && cap[4] == bar && offset >= start && offset + width <= start + length)
			return true;
	}
	return false;
}

/* "PCI configuration access capability": cap.bar, cap.offset and cap.length address what pci_cfg_data reads and writes. */
static bool window(struct swdev *dev, unsigned *bar, uint32_t *offset, unsigned *width)
{
	struct swdev_pci *pci = swdev_pci_of(dev);

	*bar = pci->config[pci->cfg_cap + 4];
	*offset = get32(pci->config + pci->cfg_cap + 8);
	*width = get32(pci->config + pci->cfg_cap + 12);
	if ((*width != 1 && *width != 2 && *width != 4) || *offset % *width || *bar > 5 ||
	    !in_a_structure(pci, *bar, *offset, *width) || *offset + *width > pci->bars[*bar].size) {
		swdev_violation(dev, "pci_cfg_data: %u bytes at %#x of BAR %u", *width, *offset, *bar);
		return false;
	}
	return true;
}

uint32_t swdev_pci_window_read(struct swdev *dev)
{
	unsigned bar, width;
	uint32_t offset;

	return window(dev, &bar, &offset, &width) ? bar_read(dev, bar, offset, width) : UINT32_MAX;
}

void swdev_pci_window_write(struct swdev *dev, uint16_t offset, unsigned width, uint32_t value)
{
	struct swdev_pci *pci = swdev_pci_of(dev);
	unsigned at = offset - pci->cfg_cap, bar, length;
	uint32_t bar_offset;

	if (at < 16) {
		length = get32(pci->config + pci->cfg_cap + 12);
		if (at == 8 && (!length || value % length))
			swdev_violation(dev, "cap.offset %#x is written while cap.length is %u", value, length);
		if ((at == 4 && width == 1) || ((at == 8 || at == 12) && width == 4))
			memcpy(pci->config + offset, &value, width);
		else
			swdev_violation(dev, "PCI configuration access capability: %u bytes written at %u", width, at);
	} else if (window(dev, &bar, &bar_offset, &length)) {
		bar_write(dev, bar, bar_offset, length, value);
	}
}
