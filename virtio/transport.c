/*
 * What the transports share. None of it touches a device but through the function that it is given.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <virtio/transport.h>

#define WAIT_NS UINT64_C(1000000000)
#define WAIT_POLLS_MIN 1000u     /* even where the clock jumps */
#define WAIT_POLLS_MAX 10000000u /* even where it stands still */

unsigned virtio_choose(const char *key, const struct virtio_choice *choices, bool *warned)
{
	const char *word = cmdline_get(key);

	if (!word)
		return ~0u;
	for (; choices->word; choices++)
		if (strcmp(word, choices->word) == 0)
			return choices->allowed;
	if (!*warned)
		log_warn("%s: \"%s\" is none of its words, ignored", key, word);
	*warned = true;
	return ~0u;
}

bool virtio_transport_allowed(enum virtio_transport_kind kind)
{
	static const struct virtio_choice choices[] = {
		{"any", ~0u},
		{"pci", 1u << VIRTIO_TRANSPORT_PCI_MODERN | 1u << VIRTIO_TRANSPORT_PCI_LEGACY},
		{"pci-modern", 1u << VIRTIO_TRANSPORT_PCI_MODERN},
		{"pci-legacy", 1u << VIRTIO_TRANSPORT_PCI_LEGACY},
		{"mmio", 1u << VIRTIO_TRANSPORT_MMIO},
		{NULL, 0},
	};
	static bool warned;

	return virtio_choose("virtio.transport", choices, &warned) & 1u << kind;
}

#define IRQ_MSIX 1u
#define IRQ_LINE 2u

static unsigned irq_allowed(void)
{
	static const struct virtio_choice choices[] = {{"any", ~0u},
	                                               {"msix", IRQ_MSIX},
	                                               {"intx", IRQ_LINE},
	                                               {"poll", 0},
	                                               {NULL, 0}};
	static bool warned;

	return virtio_choose("virtio.irq", choices, &warned);
}

bool virtio_irq_msix_allowed(void) { return irq_allowed() & IRQ_MSIX; }

bool virtio_irq_line_allowed(void) { return irq_allowed() & IRQ_LINE; }

void virtio_transport_lost(struct virtio_device *vdev)
{
	if (!vdev->lost)
		log_error("virtio-%s %s: all registers read as ones, the device is gone", vdev->ops->name, vdev->address);
	vdev->lost = true;
}

bool virtio_config_access_ok(uint64_t length, uint32_t offset, unsigned width)
{
	return (width == 1 || width == 2 || width == 4) && offset % width == 0 && offset <= length && width <= length - offset;
}

int virtio_wait_zero(struct virtio_device *vdev, uint32_t (*read)(struct virtio_device *vdev))
{
	uint64_t start = 0; /* a device that answers at once needs no clock */

	for (unsigned i = 0; i < WAIT_POLLS_MAX; i++) {
		if (read(vdev) == 0)
			return 0;
		if (vdev->lost)
			return -ENODEV;
		if (i == 0)
			start = clock_ns();
		else if (i > WAIT_POLLS_MIN && clock_ns() - start > WAIT_NS)
			break;
		cpu_relax();
	}
	return -EIO;
}

uint32_t virtio_legacy_pfn(const struct virtio_device *vdev, const struct virtq_setup *setup)
{
	uint64_t descriptors = UINT64_C(16) * setup->size, available = UINT64_C(2) * setup->size + 6;
	dma_addr_t first = setup->descriptor_area;
	uint64_t pfn = first / VIRTIO_LEGACY_ALIGN;

	if (first % VIRTIO_LEGACY_ALIGN == 0 && pfn && pfn <= UINT32_MAX && setup->driver_area == first + descriptors &&
	    setup->device_area == ALIGN_UP(setup->driver_area + available, VIRTIO_LEGACY_ALIGN))
		return (uint32_t)pfn;
	log_error("virtio-%s %s: a queue at %#llx cannot be named to a legacy device", vdev->ops->name, vdev->address,
	          (unsigned long long)first);
	return 0;
}
