/*
 * The common configuration of "Virtio Over PCI Bus", and the notifications that it leads to.
 *
 * Fields behind queue_device exist only as far as the structure is long and the feature that they belong to is negotiated.
 */
#include <errno.h>

#include <base/log.h>
#include <virtio/transport_pci.h>

/* struct virtio_pci_common_cfg, "Common configuration structure layout" */
enum {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_MSIX_VECTOR = 16,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_MSIX_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32, /* 64 bits, as the two that follow */
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	QUEUE_NOTIF_CONFIG_DATA = 56,
	QUEUE_RESET = 58,
};

static uint8_t get8(struct virtio_pci *vp, uint32_t field) { return (uint8_t)virtio_pci_get(vp, &vp->common, field, 1); }

static uint16_t get16(struct virtio_pci *vp, uint32_t field) { return (uint16_t)virtio_pci_get(vp, &vp->common, field, 2); }

static uint32_t get32(struct virtio_pci *vp, uint32_t field) { return virtio_pci_get(vp, &vp->common, field, 4); }

static void set16(struct virtio_pci *vp, uint32_t field, uint16_t value) { virtio_pci_set(vp, &vp->common, field, 2, value); }

static void set32(struct virtio_pci *vp, uint32_t field, uint32_t value) { virtio_pci_set(vp, &vp->common, field, 4, value); }

/* "PCI Device Layout": a 64-bit field is two of 32 bits */
static void set64(struct virtio_pci *vp, uint32_t field, uint64_t value)
{
	set32(vp, field, (uint32_t)value);
	set32(vp, field + 4, (uint32_t)(value >> 32));
}

/* ---- features, status, configuration ---- */

static uint64_t modern_get_features(struct virtio_device *vdev)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint64_t features;

	set32(vp, DEVICE_FEATURE_SELECT, 0);
	features = get32(vp, DEVICE_FEATURE);
	set32(vp, DEVICE_FEATURE_SELECT, 1);
	return features | (uint64_t)get32(vp, DEVICE_FEATURE) << 32;
}

static void modern_set_features(struct virtio_device *vdev, uint64_t features)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	set32(vp, DRIVER_FEATURE_SELECT, 0);
	set32(vp, DRIVER_FEATURE, (uint32_t)features);
	set32(vp, DRIVER_FEATURE_SELECT, 1);
	set32(vp, DRIVER_FEATURE, (uint32_t)(features >> 32));
}

static uint8_t modern_get_status(struct virtio_device *vdev)
{
	uint8_t status = get8(virtio_pci_of(vdev), DEVICE_STATUS);

	if (status == UINT8_MAX) /* a device that is there never has all bits set: one of them is reserved */
		virtio_transport_lost(vdev);
	return status;
}

static void modern_set_status(struct virtio_device *vdev, uint8_t status)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	virtio_pci_set(vp, &vp->common, DEVICE_STATUS, 1, status);
}

static uint32_t modern_config_generation(struct virtio_device *vdev) { return get8(virtio_pci_of(vdev), CONFIG_GENERATION); }

static int modern_config_read(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	return virtio_pci_config_read(vp, &vp->config, 0, offset, value, width);
}

static int modern_config_write(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	return virtio_pci_config_write(vp, &vp->config, 0, offset, value, width);
}

/* ---- queues ---- */

static uint16_t modern_queue_max_size(struct virtio_device *vdev, uint16_t queue)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint16_t size;

	set16(vp, QUEUE_SELECT, queue);
	size = get16(vp, QUEUE_SIZE);
	if (size == UINT16_MAX)
		(void)modern_get_status(vdev);
	return vdev->lost ? 0 : size;
}

static int refuse_queue(const struct virtio_pci *vp, uint16_t queue, const char *why)
{
	log_error("virtio-pci %s: queue %u %s", vp->vdev.address, queue, why);
	return -EIO;
}

/* "Notification structure layout", "Available Buffer Notifications" */
static int find_notification(struct virtio_pci *vp, uint16_t queue, struct virtq_notify *notify)
{
	bool has_data = virtio_has(&vp->vdev, VIRTIO_F_NOTIF_CONFIG_DATA);
	unsigned width = virtio_has(&vp->vdev, VIRTIO_F_NOTIFICATION_DATA) ? 4 : 2;
	uint64_t at = (uint64_t)get16(vp, QUEUE_NOTIFY_OFF) * vp->notify_multiplier;

	if (at + width > vp->notify.length || (vp->notify.offset + at) % width)
		return refuse_queue(vp, queue, "has its notification address outside of the structure");
	if (has_data && vp->common.length < QUEUE_NOTIF_CONFIG_DATA + 2)
		return refuse_queue(vp, queue, "has no queue_notif_config_data");
	vp->queue[queue].notify_at = at;
	notify->kind = VIRTQ_NOTIFY_CALL;
	notify->id = has_data ? get16(vp, QUEUE_NOTIF_CONFIG_DATA) : queue;
	if (vp->notify.kind == REGION_MEMORY) {
		notify->kind = width == 4 ? VIRTQ_NOTIFY_MMIO32 : VIRTQ_NOTIFY_MMIO16;
		notify->addr = vp->notify.memory + at;
	} else if (vp->notify.kind == REGION_PORTS && width == 2) {
		notify->kind = VIRTQ_NOTIFY_PIO16;
		notify->port = (uint16_t)(vp->notify.port + at);
	}
	return 0;
}

/* "Virtqueue Configuration". queue_enable comes last, after all other fields, and is never written as 0. */
static int modern_queue_enable(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup,
                               struct virtq_notify *notify)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint16_t max;
	int error;

	if (queue >= vp->queues)
		return -ENOENT;
	set16(vp, QUEUE_SELECT, queue);
	max = get16(vp, QUEUE_SIZE);
	if (!max)
		return -ENOENT;
	if (setup->size > max)
		return -EINVAL;
	if (get16(vp, QUEUE_ENABLE) != 0)
		return refuse_queue(vp, queue, "is enabled before it was set up");
	if (setup->size != max)
		set16(vp, QUEUE_SIZE, setup->size);
	set64(vp, QUEUE_DESC, setup->descriptor_area);
	set64(vp, QUEUE_DRIVER, setup->driver_area);
	set64(vp, QUEUE_DEVICE, setup->device_area);
	if (!virtio_pci_remap(vp, queue))
		return refuse_queue(vp, queue, "does not take its interrupt vector again");
	error = find_notification(vp, queue, notify);
	if (error)
		return error;
	set16(vp, QUEUE_ENABLE, 1);
	return get16(vp, QUEUE_ENABLE) == 1 ? 0 : refuse_queue(vp, queue, "cannot be enabled");
}

static uint32_t read_queue_reset(struct virtio_device *vdev)
{
	uint16_t value = get16(virtio_pci_of(vdev), QUEUE_RESET);

	if (value == UINT16_MAX)
		(void)modern_get_status(vdev);
	return value;
}

/* "Virtqueue Reset": complete when queue_reset reads 0; queue_enable is 0 then, too */
static int modern_queue_reset(struct virtio_device *vdev, uint16_t queue)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	if (queue >= vp->queues)
		return -ENOENT;
	if (!virtio_has(vdev, VIRTIO_F_RING_RESET) || vp->common.length < QUEUE_RESET + 2)
		return -ENOTSUP;
	set16(vp, QUEUE_SELECT, queue);
	set16(vp, QUEUE_RESET, 1);
	vp->queue[queue].unmapped = true;
	if (virtio_wait_zero(vdev, read_queue_reset))
		return refuse_queue(vp, queue, "does not complete its reset");
	return get16(vp, QUEUE_ENABLE) ? refuse_queue(vp, queue, "is still enabled after its reset") : 0;
}

/* "Available Buffer Notifications": 32 bits with VIRTIO_F_NOTIFICATION_DATA, else 16 */
static void modern_notify(struct virtio_device *vdev, uint16_t queue, uint32_t data)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	if (queue < vp->queues)
		virtio_pci_set(vp, &vp->notify, vp->queue[queue].notify_at, virtio_has(vdev, VIRTIO_F_NOTIFICATION_DATA) ? 4 : 2,
		               data);
}

/* ---- interrupts ---- */

static bool modern_map_vector(struct virtio_pci *vp, uint32_t queue, uint16_t vector)
{
	uint32_t field = queue == VIRTIO_PCI_CONFIG_EVENT ? CONFIG_MSIX_VECTOR : QUEUE_MSIX_VECTOR;

	if (queue != VIRTIO_PCI_CONFIG_EVENT)
		set16(vp, QUEUE_SELECT, (uint16_t)queue);
	set16(vp, field, vector);
	return get16(vp, field) == vector;
}

static uint8_t modern_read_isr(struct virtio_pci *vp) { return (uint8_t)virtio_pci_get(vp, &vp->isr, 0, 1); }

const struct virtio_pci_layout virtio_pci_modern_layout = {.map_vector = modern_map_vector, .read_isr = modern_read_isr};

const struct virtio_transport_ops virtio_pci_modern_ops = {
	.name = "pci",
	.features = BIT64(VIRTIO_F_NOTIFICATION_DATA) | BIT64(VIRTIO_F_NOTIF_CONFIG_DATA) | BIT64(VIRTIO_F_RING_RESET),
	.get_features = modern_get_features,
	.set_features = modern_set_features,
	.get_status = modern_get_status,
	.set_status = modern_set_status,
	.config_generation = modern_config_generation,
	.config_read = modern_config_read,
	.config_write = modern_config_write,
	.queue_max_size = modern_queue_max_size,
	.queue_enable = modern_queue_enable,
	.queue_reset = modern_queue_reset,
	.irq_setup = virtio_pci_irq_setup,
	.irq_release = virtio_pci_irq_release,
	.isr_ack = virtio_pci_isr_ack,
	.irq_count = virtio_pci_irq_count,
	.shm_region = virtio_pci_shm_region,
	.notify = modern_notify,
	.destroy = virtio_pci_destroy,
};
