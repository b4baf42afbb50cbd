/*
 * "Virtio Over MMIO": 256 bytes of 32-bit registers and the device configuration behind them, one interrupt line.
 *
 * Version 2 is the specification's; version 1 is its "Legacy interface", which names a queue by a page number. The two
 * differ in how queues are set up and in the width of configuration accesses; they share all else.
 *
 * Interrupts: the line is an edge on most platforms (a VMM pulses it), so isr_ack() acknowledges first and the core looks at the
 * queues then: what the device does in between raises the line again. The specification's driver acknowledges "after the interrupt is
 * handled"; with the order turned round the bits are still only those that were seen and are about to be handled, and nothing is lost.
 */
#include <errno.h>
#include <string.h>

#include <arch/irq.h>
#include <arch/mmio.h>
#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <drivers/bus/mmio.h>
#include <virtio/transport.h>

/* "MMIO Device Register Layout"; those of the legacy interface that differ have LEGACY in their name */
enum {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	LEGACY_GUEST_PAGE_SIZE = 0x028,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	LEGACY_QUEUE_ALIGN = 0x03c,
	LEGACY_QUEUE_PFN = 0x040,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080, /* low; high follows, as in all 64-bit ones */
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHM_SEL = 0x0ac,
	SHM_LEN = 0x0b0,
	SHM_BASE = 0x0b8,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC 0x74726976u
#define INTERRUPT_BITS 3u
#define ACKNOWLEDGE_ROUNDS 8u /* a device that keeps its status set gets no more attention than that at once */

struct virtio_mmio {
	struct virtio_device vdev;
	const struct mmio_slot *slot;
	struct irq irq;
};

static struct virtio_mmio *mmio_of(struct virtio_device *vdev) { return container_of(vdev, struct virtio_mmio, vdev); }

static uint32_t get(struct virtio_device *vdev, uint32_t reg)
{
	return le32_to_cpu(mmio_read32(mmio_of(vdev)->slot->registers + reg));
}

static void set(struct virtio_device *vdev, uint32_t reg, uint32_t value)
{
	mmio_write32(mmio_of(vdev)->slot->registers + reg, cpu_to_le32(value));
}

static void set64(struct virtio_device *vdev, uint32_t reg, uint64_t value)
{
	set(vdev, reg, (uint32_t)value);
	set(vdev, reg + 4, (uint32_t)(value >> 32));
}

static uint64_t get64(struct virtio_device *vdev, uint32_t reg)
{
	uint64_t low = get(vdev, reg);

	return low | (uint64_t)get(vdev, reg + 4) << 32;
}

/* ---- features and status ---- */

static uint64_t mmio_get_features(struct virtio_device *vdev)
{
	uint64_t features;

	set(vdev, DEVICE_FEATURES_SEL, 0);
	features = get(vdev, DEVICE_FEATURES);
	if (vdev->legacy)
		return features;
	set(vdev, DEVICE_FEATURES_SEL, 1);
	return features | (uint64_t)get(vdev, DEVICE_FEATURES) << 32;
}

static void mmio_set_features(struct virtio_device *vdev, uint64_t features)
{
	set(vdev, DRIVER_FEATURES_SEL, 0);
	set(vdev, DRIVER_FEATURES, (uint32_t)features);
	if (vdev->legacy) {
		/* "Legacy interface": during initialization, before any queues are used; a reset may have cleared it */
		set(vdev, LEGACY_GUEST_PAGE_SIZE, VIRTIO_LEGACY_ALIGN);
		return;
	}
	set(vdev, DRIVER_FEATURES_SEL, 1);
	set(vdev, DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static uint8_t mmio_get_status(struct virtio_device *vdev)
{
	uint32_t status = get(vdev, STATUS);

	if (status == UINT32_MAX)
		virtio_transport_lost(vdev);
	return (uint8_t)status;
}

static void mmio_set_status(struct virtio_device *vdev, uint8_t status) { set(vdev, STATUS, status); }

/* ---- configuration ---- */

static uint32_t mmio_config_generation(struct virtio_device *vdev) { return vdev->legacy ? 0 : get(vdev, CONFIG_GENERATION); }

static int check_config(struct virtio_device *vdev, uint32_t offset, unsigned width)
{
	uint64_t size = mmio_of(vdev)->slot->size;

	if (vdev->lost)
		return -EIO;
	return virtio_config_access_ok(size > CONFIG ? size - CONFIG : 0, offset, width) ? 0 : -EINVAL;
}

/* "MMIO Device Register Layout": a field is accessed in its own width. Legacy configuration is in the guest's byte order and is taken
 * byte by byte. */
static int mmio_config_read(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width)
{
	const volatile uint8_t *field = mmio_of(vdev)->slot->registers + CONFIG + offset;
	int error = check_config(vdev, offset, width);
	uint8_t bytes[4];
	uint16_t half;
	uint32_t word;

	if (error)
		return error;
	if (width == 2 && !vdev->legacy) {
		half = mmio_read16(field);
		memcpy(bytes, &half, sizeof(half));
	} else if (width == 4 && !vdev->legacy) {
		word = mmio_read32(field);
		memcpy(bytes, &word, sizeof(word));
	} else {
		for (unsigned i = 0; i < width; i++)
			bytes[i] = mmio_read8(field + i);
	}
	memcpy(value, bytes, width);
	if (bytes[0] == UINT8_MAX && bytes[width - 1] == UINT8_MAX)
		(void)mmio_get_status(vdev); /* ones may be a value, or there is nobody left to answer */
	return vdev->lost ? -EIO : 0;
}

static int mmio_config_write(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width)
{
	volatile uint8_t *field = mmio_of(vdev)->slot->registers + CONFIG + offset;
	int error = check_config(vdev, offset, width);
	uint16_t half;
	uint32_t word;

	if (error)
		return error;
	if (width == 2 && !vdev->legacy) {
		memcpy(&half, value, sizeof(half));
		mmio_write16(field, half);
	} else if (width == 4 && !vdev->legacy) {
		memcpy(&word, value, sizeof(word));
		mmio_write32(field, word);
	} else {
		for (unsigned i = 0; i < width; i++)
			mmio_write8(field + i, ((const uint8_t *)value)[i]);
	}
	return 0;
}

/* ---- queues ---- */

static uint16_t mmio_queue_max_size(struct virtio_device *vdev, uint16_t queue)
{
	uint32_t size;

	set(vdev, QUEUE_SEL, queue);
	size = get(vdev, QUEUE_SIZE_MAX);
	if (size == UINT32_MAX)
		(void)mmio_get_status(vdev);
	return vdev->lost ? 0 : (uint16_t)MIN(size, UINT16_MAX);
}

static int refuse_queue(struct virtio_device *vdev, uint16_t queue, const char *why)
{
	log_error("virtio-mmio %s: queue %u %s", vdev->address, queue, why);
	return -EIO;
}

/* "Virtqueue Configuration", its first steps: a queue is not in use as long as `in_use` reads 0. */
static int begin(struct virtio_device *vdev, uint16_t queue, uint32_t in_use, uint16_t size)
{
	uint32_t max;

	set(vdev, QUEUE_SEL, queue);
	if (get(vdev, in_use) != 0)
		return refuse_queue(vdev, queue, "is in use before it was set up");
	max = get(vdev, QUEUE_SIZE_MAX);
	if (!max)
		return -ENOENT;
	if (size > max)
		return -EINVAL;
	set(vdev, QUEUE_SIZE, size);
	return 0;
}

static int enable(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup)
{
	int error = begin(vdev, queue, QUEUE_READY, setup->size);

	if (error)
		return error;
	set64(vdev, QUEUE_DESC, setup->descriptor_area);
	set64(vdev, QUEUE_DRIVER, setup->driver_area);
	set64(vdev, QUEUE_DEVICE, setup->device_area);
	set(vdev, QUEUE_READY, 1);
	if (get(vdev, QUEUE_READY) != 1)
		return refuse_queue(vdev, queue, "does not become ready");
	return 0;
}

/* "Legacy interface" */
static int enable_legacy(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup)
{
	uint32_t pfn = virtio_legacy_pfn(vdev, setup);
	int error = pfn ? begin(vdev, queue, LEGACY_QUEUE_PFN, setup->size) : -EINVAL;

	if (error)
		return error;
	set(vdev, LEGACY_QUEUE_ALIGN, VIRTIO_LEGACY_ALIGN);
	set(vdev, LEGACY_QUEUE_PFN, pfn);
	if (get(vdev, LEGACY_QUEUE_PFN) != pfn)
		return refuse_queue(vdev, queue, "does not take its address");
	return 0;
}

static int mmio_queue_enable(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup,
                             struct virtq_notify *notify)
{
	int error = vdev->legacy ? enable_legacy(vdev, queue, setup) : enable(vdev, queue, setup);

	/* "Available Buffer Notifications": index or notification data, a control register either way and so 32 bits wide */
	if (!error)
		*notify = (struct virtq_notify){.kind = VIRTQ_NOTIFY_MMIO32,
		                                .addr = mmio_of(vdev)->slot->registers + QUEUE_NOTIFY,
		                                .id = queue};
	return error;
}

static uint32_t read_queue_reset(struct virtio_device *vdev)
{
	uint32_t value = get(vdev, QUEUE_RESET);

	if (value == UINT32_MAX)
		(void)mmio_get_status(vdev);
	return value;
}

/* "Virtqueue Reset": complete when QueueReset reads 0; QueueReady is 0 then, too */
static int mmio_queue_reset(struct virtio_device *vdev, uint16_t queue)
{
	int error;

	if (!virtio_has(vdev, VIRTIO_F_RING_RESET))
		return -ENOTSUP;
	set(vdev, QUEUE_SEL, queue);
	set(vdev, QUEUE_RESET, 1);
	error = virtio_wait_zero(vdev, read_queue_reset);
	if (error)
		return refuse_queue(vdev, queue, "does not complete its reset");
	return get(vdev, QUEUE_READY) ? refuse_queue(vdev, queue, "is still ready after its reset") : 0;
}

/* ---- interrupts ---- */

static void mmio_irq_setup(struct virtio_device *vdev, unsigned queues)
{
	struct virtio_mmio *vm = mmio_of(vdev);

	(void)queues;
	vdev->irq_mode = VIRTIO_IRQ_POLL;
	vdev->irq_vectors = 0;
	if (virtio_irq_line_allowed() && irq_attach_line(&vm->irq, vm->slot->gsi, vm->slot->trigger, &vdev->shared_event) == 0) {
		vdev->irq_mode = VIRTIO_IRQ_LINE;
		vdev->irq_vectors = 1;
	}
}

static void mmio_irq_release(struct virtio_device *vdev)
{
	if (vdev->irq_mode == VIRTIO_IRQ_LINE)
		irq_detach(&mmio_of(vdev)->irq);
	vdev->irq_mode = VIRTIO_IRQ_POLL;
	vdev->irq_vectors = 0;
}

/*
 * "Notifications From The Device". The line stays high while any bit is set, so the next edge comes only after all of them were
 * acknowledged: asked again until none is left, or the second cause of an interrupt would never be heard of. A level needs no such
 * care.
 */
static uint8_t mmio_isr_ack(struct virtio_device *vdev)
{
	bool edge = vdev->irq_mode == VIRTIO_IRQ_LINE && !mmio_of(vdev)->irq.level;
	unsigned rounds = edge ? ACKNOWLEDGE_ROUNDS : 1;
	uint32_t seen = 0;

	for (unsigned i = 0; i < rounds && !vdev->lost; i++) {
		uint32_t status = get(vdev, INTERRUPT_STATUS);

		if (status == UINT32_MAX && mmio_get_status(vdev) == UINT8_MAX)
			break;
		status &= INTERRUPT_BITS; /* the driver MUST ignore, and not acknowledge, undefined bits */
		if (!status)
			break;
		set(vdev, INTERRUPT_ACK, status); /* bits that were seen, no others */
		seen |= status;
	}
	if (vdev->irq_mode == VIRTIO_IRQ_LINE)
		irq_rearm(&mmio_of(vdev)->irq);
	return (uint8_t)seen;
}

static uint64_t mmio_irq_count(struct virtio_device *vdev)
{
	return vdev->irq_mode == VIRTIO_IRQ_LINE ? mmio_of(vdev)->irq.count : 0;
}

/* ---- the rest ---- */

static int mmio_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region)
{
	if (vdev->legacy || vdev->lost)
		return -ENOENT;
	set(vdev, SHM_SEL, id);
	region->length = get64(vdev, SHM_LEN);
	if (region->length == 0 || region->length == UINT64_MAX)
		return -ENOENT;
	region->phys = get64(vdev, SHM_BASE);
	return 0;
}

static void mmio_destroy(struct virtio_device *vdev) { page_free(mmio_of(vdev), sizeof(struct virtio_mmio)); }

static const struct virtio_transport_ops mmio_ops = {
	.name = "mmio",
	.features = BIT64(VIRTIO_F_NOTIFICATION_DATA) | BIT64(VIRTIO_F_RING_RESET),
	.get_features = mmio_get_features,
	.set_features = mmio_set_features,
	.get_status = mmio_get_status,
	.set_status = mmio_set_status,
	.config_generation = mmio_config_generation,
	.config_read = mmio_config_read,
	.config_write = mmio_config_write,
	.queue_max_size = mmio_queue_max_size,
	.queue_enable = mmio_queue_enable,
	.queue_reset = mmio_queue_reset,
	.irq_setup = mmio_irq_setup,
	.irq_release = mmio_irq_release,
	.isr_ack = mmio_isr_ack,
	.irq_count = mmio_irq_count,
	.shm_region = mmio_shm_region,
	.destroy = mmio_destroy,
};

/* "Device Initialization": MagicValue and Version first, then DeviceID, and nothing else where that is 0. The vendor says nothing. */
static bool mmio_claim(const struct mmio_slot *slot)
{
	uint32_t magic = le32_to_cpu(mmio_read32(slot->registers + MAGIC_VALUE));
	uint32_t version = magic == MAGIC ? le32_to_cpu(mmio_read32(slot->registers + VERSION)) : 0;
	uint32_t type = version == 1 || version == 2 ? le32_to_cpu(mmio_read32(slot->registers + DEVICE_ID)) : 0;
	unsigned long long base = slot->base;
	struct virtio_mmio *vm;

	if (magic != MAGIC)
		return false;
	if (version != 1 && version != 2) {
		log_warn("virtio-mmio mmio@%#llx: version %u is not known, ignored", base, (unsigned)version);
	} else if (!type) {
		log_debug("virtio-mmio mmio@%#llx: empty", base);
	} else if (type > UINT16_MAX) {
		log_warn("virtio-mmio mmio@%#llx: %#x is no device type, ignored", base, (unsigned)type);
	} else if (!virtio_transport_allowed(VIRTIO_TRANSPORT_MMIO)) {
		log_info("virtio-mmio mmio@%#llx: passed over, as virtio.transport says", base);
	} else if (!(vm = page_alloc(sizeof(*vm), PAGE_SIZE))) {
		log_error("virtio-mmio mmio@%#llx: no memory for it", base);
	} else {
		vm->slot = slot;
		vm->vdev.ops = &mmio_ops;
		vm->vdev.type = (uint16_t)type;
		vm->vdev.legacy = version == 1;
		format_text(vm->vdev.address, sizeof(vm->vdev.address), "mmio@%#llx", base);
		if (virtio_device_add(&vm->vdev))
			log_debug("virtio-mmio mmio@%#llx: refused", base);
	}
	return true;
}

static const struct mmio_driver virtio_mmio = {.name = "virtio-mmio", .claim = mmio_claim};
MMIO_DRIVER(virtio_mmio);
