/*
 * Stopping without a full reset: one virtqueue ("Virtqueue Reset"), or the whole device as it is ("Device Suspend").
 */
#include <errno.h>

#include <virtio/transport.h>

static void drain(struct virtq *vq) { vq->vdev->driver->queue_drain(vq->vdev, vq); }

static void refill(struct virtq *vq) { vq->vdev->driver->queue_refill(vq->vdev, vq); }

int virtio_queue_reset(struct virtio_device *vdev, unsigned queue)
{
	struct virtq *vq;
	int error;

	if (vdev->state != VIRTIO_RUNNING || !vdev->driver_ok)
		return -ENODEV;
	if (queue >= vdev->queue_count || !vdev->queues[queue])
		return -EINVAL;
	vq = vdev->queues[queue];
	if (vq->closed)
		return -EIO;
	error = virtq_reset(vq);
	if (error == -ENOTSUP)
		return error;
	if (!error) {
		virtq_run(vq, drain);
		error = virtq_restart(vq);
	}
	if (error) {
		virtq_close(vq, true);
		virtio_device_broken(vdev, "queue %s cannot be reset", vq->name);
		return error;
	}
	virtq_run(vq, refill);
	virtio_queues_wake(vdev, false);
	return 0;
}

/* 0 when the device shows of the two bits what it should: SUSPEND alone, or DRIVER_OK alone; or will never show it. */
static uint32_t not_suspended(struct virtio_device *vdev)
{
	uint8_t status = vdev->ops->get_status(vdev);

	if (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET)
		return 0;
	return (status & (VIRTIO_STATUS_SUSPEND | VIRTIO_STATUS_DRIVER_OK)) != VIRTIO_STATUS_SUSPEND;
}

static uint32_t not_resumed(struct virtio_device *vdev)
{
	uint8_t status = vdev->ops->get_status(vdev);

	if (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET)
		return 0;
	return (status & (VIRTIO_STATUS_SUSPEND | VIRTIO_STATUS_DRIVER_OK)) != VIRTIO_STATUS_DRIVER_OK;
}

/* Set `bit`, wait for the answer. A device that cannot says DEVICE_NEEDS_RESET, or nothing. */
static int change(struct virtio_device *vdev, uint8_t bit, uint32_t (*pending)(struct virtio_device *vdev))
{
	int error;

	virtio_add_status(vdev, bit);
	error = vdev->lost ? -ENODEV : virtio_wait_zero(vdev, pending);
	if (!error && vdev->ops->get_status(vdev) & VIRTIO_STATUS_DEVICE_NEEDS_RESET)
		error = -EIO;
	if (error)
		virtio_device_broken(vdev, "it does not %s", bit == VIRTIO_STATUS_SUSPEND ? "suspend" : "resume");
	return error;
}

int virtio_device_suspend(struct virtio_device *vdev)
{
	if (!virtio_has(vdev, VIRTIO_F_SUSPEND))
		return -ENOTSUP;
	if (vdev->state != VIRTIO_RUNNING || !vdev->driver_ok)
		return -ENODEV;
	/* "Device Suspend": no more buffers made available and no notifications, which both come with a kick; no configuration changes */
	virtio_driver_not_ok(vdev);
	vdev->suspended = true;
	return change(vdev, VIRTIO_STATUS_SUSPEND, not_suspended);
}

int virtio_device_resume(struct virtio_device *vdev)
{
	int error;

	if (vdev->state != VIRTIO_RUNNING || !vdev->suspended)
		return -ENODEV;
	error = change(vdev, VIRTIO_STATUS_DRIVER_OK, not_resumed);
	if (error)
		return error;
	vdev->suspended = false;
	vdev->driver_ok = true;
	virtio_queues_wake(vdev, true);
	return 0;
}
