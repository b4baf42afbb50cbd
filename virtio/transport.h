/*
 * What the transports share: the restrictions of the command line, and the few checks that do not depend on registers.
 */
#ifndef VIRTIO_TRANSPORT_H
#define VIRTIO_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <virtio/virtio.h>
#include <virtio/virtq.h>

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

#endif
