/*
 * The front without registers: a transport of its own, whose operations call the model. Fast, and the same for split and packed,
 * so most tests of the core and of drivers run over it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arch/irq.h>
#include <virtio/transport.h>
#include <virtio/virtio.h>
#include <virtio/virtq.h>

#include <host.h>

#include "swdev_impl.h"

#define VECTORS 8

struct direct {
	struct virtio_device vdev;
	struct swdev *dev;
	struct irq irqs[VECTORS];
	struct irq_message messages[VECTORS];
	unsigned attached;
};

static struct direct *direct_of(struct virtio_device *vdev) { return container_of(vdev, struct direct, vdev); }
static struct swdev *dev_of(struct virtio_device *vdev) { return direct_of(vdev)->dev; }

static uint64_t get_features(struct virtio_device *vdev)
{
	uint64_t low = swdev_features_read(dev_of(vdev), 0);

	return low | (uint64_t)swdev_features_read(dev_of(vdev), 1) << 32;
}

static void set_features(struct virtio_device *vdev, uint64_t features)
{
	swdev_features_write(dev_of(vdev), 0, (uint32_t)features);
	swdev_features_write(dev_of(vdev), 1, (uint32_t)(features >> 32));
}

static uint8_t get_status(struct virtio_device *vdev)
{
	uint8_t status = swdev_status_read(dev_of(vdev));

	vdev->lost |= status == 0xff;
	return status;
}

static void set_status(struct virtio_device *vdev, uint8_t status) { swdev_status_write(dev_of(vdev), status); }

static uint32_t config_generation(struct virtio_device *vdev) { return swdev_generation_read(dev_of(vdev)); }

static int config_read(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width)
{
	struct swdev *dev = dev_of(vdev);
	uint32_t bits;

	if (offset > dev->config_size || width > dev->config_size - offset)
		return -EINVAL;
	bits = swdev_config_read(dev, offset, width);
	memcpy(value, &bits, width);
	return 0;
}

static int config_write(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width)
{
	struct swdev *dev = dev_of(vdev);
	uint32_t bits = 0;

	if (offset > dev->config_size || width > dev->config_size - offset)
		return -EINVAL;
	memcpy(&bits, value, width);
	swdev_config_write(dev, offset, width, bits);
	return 0;
}

static uint16_t queue_max_size(struct virtio_device *vdev, uint16_t index) { return swdev_queue_max(dev_of(vdev), index); }

static int queue_enable(struct virtio_device *vdev, uint16_t index, const struct virtq_setup *setup, struct virtq_notify *notify)
{
	struct swdev_queue *queue = swdev_queue_select(dev_of(vdev), index);

	if (!queue || !swdev_queue_may_set(queue, "set-up"))
		return -ENOENT;
	queue->size = setup->size;
	queue->descriptor_area = setup->descriptor_area;
	queue->driver_area = setup->driver_area;
	queue->device_area = setup->device_area;
	swdev_queue_enable(queue);
	*notify = (struct virtq_notify){.kind = VIRTQ_NOTIFY_CALL, .id = index};
	return swdev_tell(dev_of(vdev), REG_QUEUE_ENABLED, index, queue->enabled) == 1
	               ? 0
	               : virtio_refuse(vdev, -EIO, "a queue stays off");
}

static int queue_reset(struct virtio_device *vdev, uint16_t index)
{
	struct swdev_queue *queue = swdev_queue_select(dev_of(vdev), index);

	if (!queue)
		return -ENOENT;
	swdev_queue_reset(queue);
	return swdev_tell(dev_of(vdev), REG_QUEUE_RESET, index, 0) ? -EIO : 0;
}

/* ---- interrupts: messages 0 config, 1.. queues, as dev->direct_irq says ---- */

static bool attach(struct direct *direct, struct event *event)
{
	if (direct->attached == VECTORS ||
	    irq_attach_message(&direct->irqs[direct->attached], event, &direct->messages[direct->attached]))
		return false;
	direct->attached++;
	return true;
}

static void irq_setup(struct virtio_device *vdev, unsigned queues)
{
	struct direct *direct = direct_of(vdev);
	bool ok = true;

	vdev->irq_mode = (enum virtio_irq_mode)direct->dev->direct_irq;
	switch (vdev->irq_mode) {
	case VIRTIO_IRQ_MSIX:
		ok = attach(direct, &vdev->config_event);
		for (unsigned i = 0; ok && i < queues; i++)
			ok = attach(direct, vdev->queues[i] ? &vdev->queues[i]->event : &vdev->shared_event);
		break;
	case VIRTIO_IRQ_MSIX_SHARED:
		ok = attach(direct, &vdev->config_event);
		ok = ok && attach(direct, &vdev->shared_event);
		break;
	case VIRTIO_IRQ_MSIX_ONE:
	case VIRTIO_IRQ_LINE:
		ok = attach(direct, &vdev->shared_event);
		break;
	case VIRTIO_IRQ_POLL:
		break;
	}
	if (!ok)
		vdev->irq_mode = VIRTIO_IRQ_POLL;
	vdev->irq_vectors = direct->attached;
}

static void irq_release(struct virtio_device *vdev)
{
	struct direct *direct = direct_of(vdev);

	while (direct->attached)
		irq_detach(&direct->irqs[--direct->attached]);
}

static uint8_t isr_ack(struct virtio_device *vdev) { return (uint8_t)swdev_isr_read(dev_of(vdev), true); }

static uint64_t irq_count(struct virtio_device *vdev)
{
	struct direct *direct = direct_of(vdev);
	uint64_t count = 0;

	for (unsigned i = 0; i < direct->attached; i++)
		count += direct->irqs[i].count;
	return count;
}

static int shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region)
{
	const struct swdev *dev = dev_of(vdev);

	if (!dev->shm_base || id != dev->shm_id)
		return -ENOENT;
	*region = (struct virtio_shm){.phys = dev->shm_base, .length = dev->shm_size};
	return 0;
}

static void notify(struct virtio_device *vdev, uint16_t index, uint32_t data)
{
	(void)index;
	swdev_notify(dev_of(vdev), data);
}

static void destroy(struct virtio_device *vdev)
{
	irq_release(vdev);
	dev_of(vdev)->vdev = NULL;
	free(direct_of(vdev));
}

static const struct virtio_transport_ops ops = {
	.name = "direct",
	.features = FEATURE(F_NOTIFICATION_DATA) | FEATURE(F_RING_RESET),
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.config_generation = config_generation,
	.config_read = config_read,
	.config_write = config_write,
	.queue_max_size = queue_max_size,
	.queue_enable = queue_enable,
	.queue_reset = queue_reset,
	.irq_setup = irq_setup,
	.irq_release = irq_release,
	.isr_ack = isr_ack,
	.irq_count = irq_count,
	.shm_region = shm_region,
	.notify = notify,
	.destroy = destroy,
};

static int plug(struct swdev *dev)
{
	struct direct *direct = calloc(1, sizeof(*direct));

	direct->dev = dev;
	direct->vdev.ops = &ops;
	direct->vdev.type = dev->type->id;
	direct->vdev.legacy = dev->legacy;
	direct->vdev.dma = dev->dma;
	snprintf(direct->vdev.address, sizeof(direct->vdev.address), "direct@%p", (void *)dev);
	dev->vdev = &direct->vdev;
	dev->front_state = direct;
	return virtio_device_add(dev->vdev);
}

static void unplug(struct swdev *dev) { virtio_device_remove(dev->vdev); }

static void interrupt(struct swdev *dev, struct swdev_queue *queue)
{
	struct direct *direct = dev->front_state;
	unsigned vector = queue ? 1u + queue->index : 0;

	switch (direct->vdev.irq_mode) {
	case VIRTIO_IRQ_MSIX_SHARED:
		vector = queue ? 1 : 0;
		break;
	case VIRTIO_IRQ_LINE:
	case VIRTIO_IRQ_POLL:
		dev->isr |= queue ? 1 : 2;
		vector = 0;
		break;
	case VIRTIO_IRQ_MSIX_ONE:
		vector = 0;
		break;
	case VIRTIO_IRQ_MSIX:
		break;
	}
	if (vector < direct->attached)
		host_irq_raise_message(direct->messages[vector].address, direct->messages[vector].data);
}

const struct swdev_front swdev_direct = {.name = "direct", .plug = plug, .unplug = unplug, .interrupt = interrupt};
