/*
 * "Virtio Over PCI Bus": what the modern and the legacy interface share. Inside of the transport.
 *
 * transport_pci.c finds the structures and decides, transport_pci_region.c accesses them wherever they are, transport_pci_irq.c
 * obtains interrupts; transport_pci_modern.c and transport_pci_legacy.c are the two register layouts.
 */
#ifndef VIRTIO_TRANSPORT_PCI_H
#define VIRTIO_TRANSPORT_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/irq.h>
#include <drivers/bus/pci.h>
#include <virtio/transport.h>

/* Where a structure is. All fields are accessed through the functions below. */
struct virtio_pci_region {
	enum { REGION_NONE, REGION_MEMORY, REGION_PORTS, REGION_WINDOW } kind;
	uint8_t bar;
	uint16_t port;
	volatile uint8_t *memory;
	uint64_t offset; /* in the BAR */
	uint64_t length; /* bytes that may be accessed */
};

#define VIRTIO_PCI_CONFIG_EVENT UINT32_MAX /* in the place of a queue index */

struct virtio_pci;

struct virtio_pci_layout {
	/* Map a queue's or the configuration's event to an MSI-X entry, or to VIRTIO_MSI_NO_VECTOR. True: it reads back. */
	bool (*map_vector)(struct virtio_pci *vp, uint32_t queue, uint16_t vector);
	/* Read, which acknowledges, the ISR status. */
	uint8_t (*read_isr)(struct virtio_pci *vp);
};

#define VIRTIO_MSI_NO_VECTOR 0xffff

struct virtio_pci_queue {
	struct irq irq; /* entry 1 + its index, where there is a vector for each queue; of [0], entry 1 where one serves all */
	uint64_t notify_at; /* its notification's place in the notify region */
	bool unmapped;      /* a reset of the queue took its vector */
};

struct virtio_pci {
	struct virtio_device vdev;
	struct pci_function *function;
	const struct virtio_pci_layout *layout;

	union {
		struct {
			struct virtio_pci_region common, notify, isr, config; /* legacy: all in `common` */
		};
		struct virtio_pci_region structures[4]; /* the same, by cfg_type - 1 */
	};
	uint32_t notify_multiplier;
	uint8_t window; /* position of the PCI configuration access capability, 0: none */

	struct pci_msix msix;
	struct irq irq;                 /* entry 0, or the line */
	struct virtio_pci_queue *queue; /* `queues` of them, from irq_setup() to irq_release() */
	unsigned queues;
};

static inline struct virtio_pci *virtio_pci_of(struct virtio_device *vdev) { return container_of(vdev, struct virtio_pci, vdev); }

/* ---- transport_pci_region.c ---- */

/* One access of that width, value in the CPU's order. `at` is within region->length: callers see to it. */
uint32_t virtio_pci_get(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width);
void virtio_pci_set(const struct virtio_pci *vp, const struct virtio_pci_region *region, uint64_t at, unsigned width,
                    uint32_t value);

/* Where [offset, offset + length) of a BAR can be accessed. False, and the kind is NONE: it cannot be; after one line, unless it is
 * only that the BAR has no address and there is no window. */
bool virtio_pci_find(const struct virtio_pci *vp, struct virtio_pci_region *region, uint8_t bar, uint64_t offset,
                     uint64_t length);

/* A device configuration field in a region of device configuration that begins at `start`. As ops->config_read and config_write. */
int virtio_pci_config_read(struct virtio_pci *vp, const struct virtio_pci_region *region, uint32_t start, uint32_t offset,
                           void *value, unsigned width);
int virtio_pci_config_write(struct virtio_pci *vp, const struct virtio_pci_region *region, uint32_t start, uint32_t offset,
                            const void *value, unsigned width);

/* ---- transport_pci_irq.c ---- */
void virtio_pci_irq_setup(struct virtio_device *vdev, unsigned queues);
void virtio_pci_irq_release(struct virtio_device *vdev);
uint8_t virtio_pci_isr_ack(struct virtio_device *vdev);
uint64_t virtio_pci_irq_count(struct virtio_device *vdev);
/* Before a queue is enabled: map its vector again, should a reset of the queue have unmapped it. False: refused. */
bool virtio_pci_remap(struct virtio_pci *vp, uint16_t queue);

/* ---- transport_pci_modern.c, transport_pci_legacy.c ---- */
extern const struct virtio_transport_ops virtio_pci_modern_ops, virtio_pci_legacy_ops;
extern const struct virtio_pci_layout virtio_pci_modern_layout, virtio_pci_legacy_layout;
#define VIRTIO_PCI_COMMON_MIN 56 /* bytes of the common configuration that every device has */
#define VIRTIO_PCI_LEGACY_MIN 24 /* bytes of the legacy structure, MSI-X fields included */

/* ---- transport_pci.c ---- */
int virtio_pci_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region);
void virtio_pci_destroy(struct virtio_device *vdev);

#endif
