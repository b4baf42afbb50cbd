/*
 * What programs see of a virtio device, and what they may have done to it: its struct device_info.
 */
#include <virtio/transport.h>

static struct virtio_device *device_of(const struct device_info *info)
{
	return container_of((struct device_info *)(uintptr_t)info, struct virtio_device, info);
}

static void queue(const struct device_info *info, unsigned index, struct device_queue *queue)
{
	const struct virtio_device *vdev = device_of(info);
	const struct virtq *vq = index < vdev->queue_count ? vdev->queues[index] : NULL;

	*queue = (struct device_queue){.layout = ""};
	if (!vq)
		return;
	*queue = (struct device_queue){.size = vq->size,
	                               .layout = vq->packed ? "packed" : "split",
	                               .notifications = vq->kicks,
	                               .used = vq->harvested};
}

static uint64_t interrupts(const struct device_info *info)
{
	struct virtio_device *vdev = device_of(info);

	return vdev->state == VIRTIO_RUNNING ? vdev->ops->irq_count(vdev) : 0;
}

static int reset(struct device_info *info) { return virtio_device_reset(device_of(info)); }

static int rebind(struct device_info *info) { return virtio_device_rebind(device_of(info)); }

static int reset_queue(struct device_info *info, unsigned queue) { return virtio_queue_reset(device_of(info), queue); }

static int suspend(struct device_info *info, bool suspend)
{
	return suspend ? virtio_device_suspend(device_of(info)) : virtio_device_resume(device_of(info));
}

void virtio_info_init(struct virtio_device *vdev)
{
	vdev->info = (struct device_info){.name = vdev->name,
	                                  .type = vdev->type,
	                                  .transport = vdev->ops->name,
	                                  .address = vdev->address,
	                                  .revision = vdev->legacy ? "legacy" : "1.x",
	                                  .queue = queue,
	                                  .interrupts = interrupts,
	                                  .reset = reset,
	                                  .rebind = rebind,
	                                  .reset_queue = reset_queue,
	                                  .suspend = suspend};
}

void virtio_info_fill(struct virtio_device *vdev)
{
	static const char *const irq_names[] = {[VIRTIO_IRQ_MSIX] = "msix",
	                                        [VIRTIO_IRQ_MSIX_SHARED] = "msix-shared",
	                                        [VIRTIO_IRQ_MSIX_ONE] = "msix-shared",
	                                        [VIRTIO_IRQ_LINE] = "intx",
	                                        [VIRTIO_IRQ_POLL] = "poll"};
	bool up = vdev->state == VIRTIO_RUNNING;

	vdev->info.driver = vdev->driver ? vdev->driver->name : "";
	vdev->info.irq = up ? irq_names[vdev->irq_mode] : "";
	vdev->info.vectors = up ? vdev->irq_vectors : 0;
	vdev->info.offered = vdev->offered;
	vdev->info.negotiated = up ? vdev->features : 0;
	vdev->info.state = up ? "ok" : "refused";
	vdev->info.reason = up ? "" : vdev->reason;
	vdev->info.queue_count = vdev->queue_count;
}
