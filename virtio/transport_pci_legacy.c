/*
 * "Legacy Interfaces: A Note on PCI Device Layout": one structure at the start of BAR 0, 32 feature bits, queues named by a page number,
 * their size fixed by the device.
 *
 * The device configuration follows the general fields, of which there are four bytes more while MSI-X is on: it moves.
 */
#include <errno.h>

#include <base/log.h>
#include <virtio/transport_pci.h>

enum {
	DEVICE_FEATURES = 0,
	DRIVER_FEATURES = 4,
	QUEUE_ADDRESS = 8,
	QUEUE_SIZE = 12,
	QUEUE_SELECT = 14,
	QUEUE_NOTIFY = 16,
	DEVICE_STATUS = 18,
	ISR_STATUS = 19,
	CONFIG_MSIX_VECTOR = 20, /* these two only while MSI-X is on */
	QUEUE_MSIX_VECTOR = 22,
	CONFIG = 20,
	CONFIG_WITH_MSIX = 24,
};

static uint32_t get(struct virtio_pci *vp, uint32_t field, unsigned width)
{
	return virtio_pci_get(vp, &vp->common, field, width);
}

static void set(struct virtio_pci *vp, uint32_t field, unsigned width, uint32_t value)
{
	virtio_pci_set(vp, &vp->common, field, width, value);
}

static uint32_t config_start(const struct virtio_pci *vp) { return vp->msix.table ? CONFIG_WITH_MSIX : CONFIG; }

static uint64_t legacy_get_features(struct virtio_device *vdev) { return get(virtio_pci_of(vdev), DEVICE_FEATURES, 4); }

static void legacy_set_features(struct virtio_device *vdev, uint64_t features)
{
	set(virtio_pci_of(vdev), DRIVER_FEATURES, 4, (uint32_t)features);
}

static uint8_t legacy_get_status(struct virtio_device *vdev)
{
	uint8_t status = (uint8_t)get(virtio_pci_of(vdev), DEVICE_STATUS, 1);

	if (status == UINT8_MAX)
		virtio_transport_lost(vdev);
	return status;
}

static void legacy_set_status(struct virtio_device *vdev, uint8_t status) { set(virtio_pci_of(vdev), DEVICE_STATUS, 1, status); }

static uint32_t legacy_config_generation(struct virtio_device *vdev)
{
	(void)vdev;
	return 0; /* there is none: the core reads twice */
}

static int legacy_config_read(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	return virtio_pci_config_read(vp, &vp->common, config_start(vp), offset, value, width);
}

static int legacy_config_write(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	return virtio_pci_config_write(vp, &vp->common, config_start(vp), offset, value, width);
}

static uint16_t legacy_queue_max_size(struct virtio_device *vdev, uint16_t queue)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint16_t size;

	set(vp, QUEUE_SELECT, 2, queue);
	size = (uint16_t)get(vp, QUEUE_SIZE, 2);
	if (size == UINT16_MAX)
		(void)legacy_get_status(vdev);
	return vdev->lost ? 0 : size;
}

static int refuse_queue(const struct virtio_pci *vp, uint16_t queue, const char *why)
{
	log_error("virtio-pci %s: queue %u %s", vp->vdev.address, queue, why);
	return -EIO;
}

/* "Legacy Interface: A Note on Virtqueue Configuration": the address is written divided by 4096; there is no choice of size */
static int legacy_queue_enable(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup,
                               struct virtq_notify *notify)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint32_t pfn = virtio_legacy_pfn(vdev, setup);

	if (!pfn)
		return -EINVAL;
	set(vp, QUEUE_SELECT, 2, queue);
	if (get(vp, QUEUE_ADDRESS, 4) != 0)
		return refuse_queue(vp, queue, "is in use before it was set up");
	if (get(vp, QUEUE_SIZE, 2) != setup->size)
		return refuse_queue(vp, queue, "changed its size");
	set(vp, QUEUE_ADDRESS, 4, pfn);
	if (get(vp, QUEUE_ADDRESS, 4) != pfn)
		return refuse_queue(vp, queue, "does not take its address");
	*notify = (struct virtq_notify){.kind = VIRTQ_NOTIFY_PIO16,
	                                .port = (uint16_t)(vp->common.port + QUEUE_NOTIFY),
	                                .id = queue};
	if (vp->common.kind == REGION_MEMORY) {
		notify->kind = VIRTQ_NOTIFY_MMIO16;
		notify->addr = vp->common.memory + QUEUE_NOTIFY;
	}
	return 0;
}

static int legacy_queue_reset(struct virtio_device *vdev, uint16_t queue)
{
	(void)vdev;
	(void)queue;
	return -ENOTSUP;
}

static int legacy_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region)
{
	(void)vdev;
	(void)id;
	(void)region;
	return -ENOENT;
}

static bool legacy_map_vector(struct virtio_pci *vp, uint32_t queue, uint16_t vector)
{
	uint32_t field = queue == VIRTIO_PCI_CONFIG_EVENT ? CONFIG_MSIX_VECTOR : QUEUE_MSIX_VECTOR;

	if (queue != VIRTIO_PCI_CONFIG_EVENT)
		set(vp, QUEUE_SELECT, 2, queue);
	set(vp, field, 2, vector);
	return get(vp, field, 2) == vector;
}

static uint8_t legacy_read_isr(struct virtio_pci *vp) { return (uint8_t)get(vp, ISR_STATUS, 1); }

const struct virtio_pci_layout virtio_pci_legacy_layout = {.map_vector = legacy_map_vector, .read_isr = legacy_read_isr};

const struct virtio_transport_ops virtio_pci_legacy_ops = {
	.name = "pci",
	.get_features = legacy_get_features,
	.set_features = legacy_set_features,
	.get_status = legacy_get_status,
	.set_status = legacy_set_status,
	.config_generation = legacy_config_generation,
	.config_read = legacy_config_read,
	.config_write = legacy_config_write,
	.queue_max_size = legacy_queue_max_size,
	.queue_enable = legacy_queue_enable,
	.queue_reset = legacy_queue_reset,
	.irq_setup = virtio_pci_irq_setup,
	.irq_release = virtio_pci_irq_release,
	.isr_ack = virtio_pci_isr_ack,
	.irq_count = virtio_pci_irq_count,
	.shm_region = legacy_shm_region,
	.destroy = virtio_pci_destroy,
};
