/*
 * What a transport is to the core, and what the transports share: the restrictions of the command line, and the few checks that do not
 * depend on registers. At the end, what the files of the core share.
 */
#ifndef VIRTIO_TRANSPORT_H
#define VIRTIO_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <virtio/virtio.h>
#include <virtio/virtq.h>

/*
 * A transport: control plane only. A queue index is always a parameter, so that select-and-access is one step.
 * Errors: -ENOENT: no such queue or region; -EIO: the device did not do as told (one log line says what); -EINVAL: out of bounds.
 */
struct virtio_transport_ops {
	const char *name; /* "pci", "mmio" */
	/* Which of the reserved feature bits that need a transport's help it supports: NOTIFICATION_DATA, NOTIF_CONFIG_DATA, RING_RESET,
	 * SR_IOV, ADMIN_VQ. */
	uint64_t features;

	uint64_t (*get_features)(struct virtio_device *vdev);
	void (*set_features)(struct virtio_device *vdev, uint64_t features);
	uint8_t (*get_status)(struct virtio_device *vdev);
	void (*set_status)(struct virtio_device *vdev, uint8_t status); /* 0 resets: the core waits for it */

	uint32_t (*config_generation)(struct virtio_device *vdev);
	int (*config_read)(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width); /* width 1, 2, 4 */
	int (*config_write)(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width);

	uint16_t (*queue_max_size)(struct virtio_device *vdev, uint16_t queue); /* 0: not available */
	int (*queue_enable)(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup,
	                    struct virtq_notify *notify);
	int (*queue_reset)(struct virtio_device *vdev, uint16_t queue); /* "Virtqueue Reset": waits for completion, bounded */

	/* Obtain interrupts for `queues` virtqueues: attach them to &vdev->config_event, &vdev->queues[i]->event and
	 * &vdev->shared_event as the mode wants, set vdev->irq_mode and vdev->irq_vectors. Falls back down to POLL; never fails.
	 * Called after the reset and before any queue_enable(). irq_release() undoes it and follows a reset; it may come
	 * without an irq_setup() before it. */
	void (*irq_setup)(struct virtio_device *vdev, unsigned queues);
	void (*irq_release)(struct virtio_device *vdev);
	/* LINE and POLL: read the ISR status / InterruptStatus, acknowledge what was seen, rearm the line; bit 0 queues, bit 1 config. */
	uint8_t (*isr_ack)(struct virtio_device *vdev);
	/* How many interrupts have arrived since irq_setup(), all sources. */
	uint64_t (*irq_count)(struct virtio_device *vdev);

	int (*shm_region)(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region);

	void (*notify)(struct virtio_device *vdev, uint16_t queue, uint32_t data); /* only where virtq_notify.kind is CALL */
	void (*destroy)(struct virtio_device *vdev); /* frees the transport and vdev in it, after virtio_device_remove() */
};

/* The mask of the word that the command line gives for `key`; all ones where it gives none, or, with a line once, one that is not known. */
struct virtio_choice {
	const char *word;
	unsigned allowed; /* a mask of what the caller's kinds are */
};
unsigned virtio_choose(const char *key, const struct virtio_choice *choices, bool *warned);

/* virtio.transport=any|pci|pci-modern|pci-legacy|mmio: devices that can only be used another way are passed over, one line each. */
enum virtio_transport_kind { VIRTIO_TRANSPORT_PCI_MODERN, VIRTIO_TRANSPORT_PCI_LEGACY, VIRTIO_TRANSPORT_MMIO };
bool virtio_transport_allowed(enum virtio_transport_kind kind);

/* virtio.irq=any|msix|intx|poll: what is not named is not tried; polling always remains. */
bool virtio_irq_msix_allowed(void);
bool virtio_irq_line_allowed(void);

/* Every register reads as ones: the device was taken away. One line, vdev->lost. */
void virtio_transport_lost(struct virtio_device *vdev);

/* Whether an access of `width` (1, 2, 4) bytes at `offset` is aligned and within a configuration of `length` bytes. */
bool virtio_config_access_ok(uint64_t length, uint32_t offset, unsigned width);

/* Poll `read` until it gives 0, at most a second. 0; -EIO: it never did; -ENODEV: lost meanwhile. */
[[nodiscard]] int virtio_wait_zero(struct virtio_device *vdev, uint32_t (*read)(struct virtio_device *vdev));

/* "Legacy Interfaces: A Note on Virtqueue Layout": the page number that names a queue, all parts of which follow from it.
 * 0 (and a line): the queue is laid out otherwise, or lies too high. */
#define VIRTIO_LEGACY_ALIGN 4096u
uint32_t virtio_legacy_pfn(const struct virtio_device *vdev, const struct virtq_setup *setup);

/* ---- the core ---- */

/* features.c: choose features, write them, FEATURES_OK. 0, or a negative errno and vdev->reason. */
[[nodiscard]] int virtio_negotiate(struct virtio_device *vdev);
/* device.c: no kick and no callback goes on, on any CPU, when this returns. */
void virtio_driver_not_ok(struct virtio_device *vdev);
/* device.c: kick what has gathered in all queues; `look` at them once where an interrupt may have come before. */
void virtio_queues_wake(struct virtio_device *vdev, bool look);
/* device.c: add a bit to the device status, unless the device is lost. */
void virtio_add_status(struct virtio_device *vdev, uint8_t bit);
/* device.c: the reason for a lost one; -ENODEV. */
[[nodiscard]] int virtio_refuse_lost(struct virtio_device *vdev);
/* device.c: a reset, and up again; from its driver, and back to it. */
[[nodiscard]] int virtio_device_reset(struct virtio_device *vdev);
[[nodiscard]] int virtio_device_rebind(struct virtio_device *vdev);
/* info.c: vdev->info, once, and after each time that its driver was given it. */
void virtio_info_init(struct virtio_device *vdev);
void virtio_info_fill(struct virtio_device *vdev);

#endif
