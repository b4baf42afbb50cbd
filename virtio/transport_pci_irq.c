/*
 * Interrupts of virtio-pci: the best kind that platform, device and command line grant.
 *
 *   a vector for configuration changes and one for each queue; then one for configuration changes and one for all queues; then one for
 *   all; then the INTx line, with the ISR status telling why; then none, and the loop polls.
 *
 * "MSI-X Vector Configuration": a vector may be refused by the table's size, by the platform, or by the device, which is asked by reading
 * each mapping back. A kind is taken whole or not at all.
 */
#include <errno.h>
#include <stddef.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/transport_pci.h>

/* The MSI-X entry that raises a queue's event. */
static uint16_t vector_of(enum virtio_irq_mode mode, uint32_t queue)
{
	if (mode == VIRTIO_IRQ_MSIX_ONE || queue == VIRTIO_PCI_CONFIG_EVENT)
		return 0;
	return mode == VIRTIO_IRQ_MSIX ? (uint16_t)(queue + 1) : 1;
}

static struct event *event_of(struct virtio_device *vdev, enum virtio_irq_mode mode, uint16_t vector)
{
	if (mode == VIRTIO_IRQ_MSIX_ONE)
		return &vdev->shared_event;
	if (vector == 0)
		return &vdev->config_event;
	return mode == VIRTIO_IRQ_MSIX && vdev->queues[vector - 1] ? &vdev->queues[vector - 1]->event : &vdev->shared_event;
}

static struct irq *irq_of(struct virtio_pci *vp, uint16_t vector) { return vector ? &vp->queue[vector - 1].irq : &vp->irq; }

static void detach_vectors(struct virtio_pci *vp, unsigned count)
{
	while (count--)
		pci_msix_detach(&vp->msix, (uint16_t)count, irq_of(vp, (uint16_t)count));
}

static bool map_events(struct virtio_pci *vp, enum virtio_irq_mode mode)
{
	bool mapped = vp->layout->map_vector(vp, VIRTIO_PCI_CONFIG_EVENT, vector_of(mode, VIRTIO_PCI_CONFIG_EVENT));

	for (uint32_t i = 0; mapped && i < vp->queues; i++)
		mapped = !vp->vdev.queues[i] || vp->layout->map_vector(vp, i, vector_of(mode, i));
	return mapped;
}

static void unmap_events(struct virtio_pci *vp)
{
	(void)vp->layout->map_vector(vp, VIRTIO_PCI_CONFIG_EVENT, VIRTIO_MSI_NO_VECTOR);
	for (uint32_t i = 0; i < vp->queues; i++)
		if (vp->vdev.queues[i])
			(void)vp->layout->map_vector(vp, i, VIRTIO_MSI_NO_VECTOR);
}

static bool try_vectors(struct virtio_pci *vp, enum virtio_irq_mode mode)
{
	unsigned wanted = mode == VIRTIO_IRQ_MSIX ? 1 + vp->queues : mode == VIRTIO_IRQ_MSIX_SHARED ? 2 : 1;
	unsigned attached = 0;

	if (wanted > vp->msix.size) /* "MSI-X Vector Configuration": no entry beyond the table */
		return false;
	for (; attached < wanted; attached++) {
		uint16_t vector = (uint16_t)attached;

		if (pci_msix_attach(&vp->msix, vector, irq_of(vp, vector), event_of(&vp->vdev, mode, vector)))
			break;
	}
	if (attached == wanted && map_events(vp, mode)) {
		vp->vdev.irq_mode = mode;
		vp->vdev.irq_vectors = wanted;
		return true;
	}
	if (attached == wanted)
		unmap_events(vp); /* the device refused one of them: none stays */
	detach_vectors(vp, attached);
	return false;
}

static bool try_msix(struct virtio_pci *vp)
{
	static const enum virtio_irq_mode modes[] = {VIRTIO_IRQ_MSIX, VIRTIO_IRQ_MSIX_SHARED, VIRTIO_IRQ_MSIX_ONE};

	if (!virtio_irq_msix_allowed() || pci_msix_enable(&vp->msix, vp->function))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		if (try_vectors(vp, modes[i]))
			return true;
	pci_msix_disable(&vp->msix);
	return false;
}

static bool try_line(struct virtio_pci *vp)
{
	enum irq_trigger trigger;
	unsigned gsi;

	if (!virtio_irq_line_allowed() || vp->isr.kind == REGION_NONE || pci_intx_line(vp->function, &gsi, &trigger) ||
	    irq_attach_line(&vp->irq, gsi, trigger, &vp->vdev.shared_event))
		return false;
	pci_intx_set(vp->function, true);
	vp->vdev.irq_mode = VIRTIO_IRQ_LINE;
	vp->vdev.irq_vectors = 1;
	return true;
}

static size_t queue_bytes(unsigned queues) { return MAX(queues, 1u) * sizeof(struct virtio_pci_queue); }

void virtio_pci_irq_setup(struct virtio_device *vdev, unsigned queues)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	vdev->irq_mode = VIRTIO_IRQ_POLL;
	vdev->irq_vectors = 0;
	vp->queue = page_alloc(queue_bytes(queues), PAGE_SIZE);
	vp->queues = vp->queue ? queues : 0;
	if (!vp->queue)
		log_error("virtio-pci %s: no memory for its interrupts", vdev->address);
	else if (try_msix(vp) || try_line(vp))
		return;
	/* Polled: a line that nobody listens to must not be held against those who share it. */
	pci_intx_set(vp->function, false);
}

void virtio_pci_irq_release(struct virtio_device *vdev)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	if (vdev->irq_mode == VIRTIO_IRQ_LINE) {
		irq_detach(&vp->irq);
	} else if (vp->msix.table) { /* or there was no irq_setup() */
		detach_vectors(vp, vdev->irq_vectors);
		pci_msix_disable(&vp->msix);
	}
	vdev->irq_mode = VIRTIO_IRQ_POLL;
	vdev->irq_vectors = 0;
	if (vdev->lost) /* it did not take the reset: at least it shall not write to memory any more */
		pci_disable(vp->function);
	if (vp->queue)
		page_free(vp->queue, queue_bytes(vp->queues));
	vp->queue = NULL;
	vp->queues = 0;
}

bool virtio_pci_remap(struct virtio_pci *vp, uint16_t queue)
{
	enum virtio_irq_mode mode = vp->vdev.irq_mode;
	bool due = vp->queue[queue].unmapped && mode != VIRTIO_IRQ_LINE && mode != VIRTIO_IRQ_POLL;

	vp->queue[queue].unmapped = false;
	return !due || vp->layout->map_vector(vp, queue, vector_of(mode, queue));
}

uint8_t virtio_pci_isr_ack(struct virtio_device *vdev)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint8_t isr = vp->isr.kind == REGION_NONE ? 0 : vp->layout->read_isr(vp);

	/* "ISR status capability": reading it made the device lower the line, which may be listened to again */
	if (isr == UINT8_MAX)
		(void)vdev->ops->get_status(vdev);
	if (vdev->irq_mode == VIRTIO_IRQ_LINE)
		irq_rearm(&vp->irq);
	return vdev->lost ? 0 : isr & 3;
}

uint64_t virtio_pci_irq_count(struct virtio_device *vdev)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	uint64_t count = 0;

	for (unsigned i = 0; i < vdev->irq_vectors; i++)
		count += irq_of(vp, (uint16_t)i)->count;
	return count;
}
