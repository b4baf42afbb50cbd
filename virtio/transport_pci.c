/*
 * Finding the virtio structures of a PCI function, and deciding how it is driven.
 *
 * "Virtio Structure PCI Capabilities": a device offers each structure once or more, in its order of preference, and the first that can be
 * reached is taken: in mapped memory or ports, else through the window of "PCI configuration access capability". A device without the
 * capabilities is a legacy device. What a capability says is checked against the BAR before anything is touched there.
 */
#include <errno.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/transport_pci.h>

#define VENDOR 0x1af4
#define DEVICE_FIRST 0x1000
#define DEVICE_MODERN 0x1040
#define DEVICE_LAST 0x107f

#define PCI_CAPABILITY_VENDOR 0x09
#define SPACE_END 256u

/* cfg_type */
enum {
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	CAP_PCI = 5,
	CAP_SHARED_MEMORY = 8,
};

/* offsets in struct virtio_pci_cap, and its length with what follows for some types */
enum {
	CAP_LENGTH = 2,
	CAP_TYPE = 3,
	CAP_BAR = 4,
	CAP_ID = 5,
	CAP_OFFSET = 8,
	CAP_STRUCTURE_LENGTH = 12,
	CAP_END = 16,
	CAP_MULTIPLIER = 16,
	CAP_NOTIFY_END = 20,
	CAP_PCI_END = 20,
	CAP_OFFSET_HIGH = 16,
	CAP_STRUCTURE_LENGTH_HIGH = 20,
	CAP64_END = 24,
};

struct capability {
	uint8_t position, type, length, bar, id;
	uint32_t offset, structure_length;
};

/* The next vendor capability after `capability->position` that is whole and not of a reserved kind. */
static bool next_capability(const struct pci_function *function, struct capability *capability)
{
	uint8_t position = capability->position;

	while ((position = pci_capability_next(function, PCI_CAPABILITY_VENDOR, position))) {
		uint32_t first = pci_read32(function, position);
		uint8_t length = (uint8_t)(first >> 16), type = (uint8_t)(first >> 24);
		uint32_t second;

		/* the driver MUST accept a larger cap_len, MUST ignore reserved cfg_type and bar values */
		if (type < CAP_COMMON || (type > CAP_PCI && type != CAP_SHARED_MEMORY))
			continue;
		if (length < CAP_END || position + length > SPACE_END) {
			log_warn("virtio-pci %s: capability at %#x is cut off, ignored", function->name, position);
			continue;
		}
		second = pci_read32(function, (uint16_t)(position + CAP_BAR));
		*capability = (struct capability){.position = position,
		                                  .type = type,
		                                  .length = length,
		                                  .bar = (uint8_t)second,
		                                  .id = (uint8_t)(second >> 8)};
		if (capability->bar >= PCI_BAR_COUNT && type != CAP_PCI)
			continue;
		capability->offset = pci_read32(function, (uint16_t)(position + CAP_OFFSET));
		capability->structure_length = pci_read32(function, (uint16_t)(position + CAP_STRUCTURE_LENGTH));
		return true;
	}
	return false;
}

/* "Notification structure layout": 0, or a power of 2 that keeps addresses aligned to the 16 bits of a notification */
static bool multiplier_ok(uint32_t multiplier) { return multiplier != 1 && !(multiplier & (multiplier - 1)); }

/* What each structure must be like: the least of its capability and of itself that is of use, the most that is mapped, the alignment. */
static const struct {
	uint8_t capability, alignment;
	uint16_t min;
	uint32_t max;
} structures[] = {
	{CAP_END, 4, VIRTIO_PCI_COMMON_MIN, 4096},
	{CAP_NOTIFY_END, 2, 2, 0x1000000}, /* a page for each queue, and a few queues more than anybody has */
	{CAP_END, 1, 1, 1},
	{CAP_END, 4, 1, 4096},
};
_Static_assert(CAP_COMMON == 1 && CAP_NOTIFY == 2 && CAP_ISR == 3 && CAP_DEVICE == 4, "structures[] in their order");

static void take_structure(struct virtio_pci *vp, const struct capability *capability)
{
	unsigned i = capability->type - CAP_COMMON;
	uint64_t length = capability->structure_length, bar_end = vp->function->bars[capability->bar].size;

	if (capability->type == CAP_NOTIFY)
		vp->notify_multiplier = pci_read32(vp->function, (uint16_t)(capability->position + CAP_MULTIPLIER));
	if (capability->length < structures[i].capability || length < structures[i].min ||
	    capability->offset & (structures[i].alignment - 1u) ||
	    (capability->type == CAP_NOTIFY && !multiplier_ok(vp->notify_multiplier))) {
		log_warn("virtio-pci %s: structure %u at BAR %u offset %#x, length %#x, makes no sense, ignored",
		         vp->vdev.address, capability->type, capability->bar, (unsigned)capability->offset,
		         (unsigned)capability->structure_length);
		return;
	}
	/* "Virtio Structure PCI Capabilities": an unexpectedly large length is no reason: what is needed of it is in the BAR, or is not */
	length = MIN(length, structures[i].max);
	if (bar_end >= (uint64_t)capability->offset + structures[i].min)
		length = MIN(length, bar_end - capability->offset);
	(void)virtio_pci_find(vp, &vp->structures[i], capability->bar, capability->offset, length);
}

/* Each structure not found yet, from the first capability for it that will do. Returns the position of the window's. */
static uint8_t find_structures(struct virtio_pci *vp)
{
	struct capability capability = {0};
	uint8_t window = 0;

	while (next_capability(vp->function, &capability)) {
		if (capability.type == CAP_PCI) {
			if (!window && capability.length >= CAP_PCI_END)
				window = capability.position;
		} else if (capability.type <= CAP_DEVICE && vp->structures[capability.type - CAP_COMMON].kind == REGION_NONE) {
			take_structure(vp, &capability);
		}
	}
	return window;
}

int virtio_pci_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);
	struct capability capability = {0};

	while (next_capability(vp->function, &capability)) {
		uint64_t offset, length;

		if (capability.type != CAP_SHARED_MEMORY || capability.id != id || capability.length < CAP64_END)
			continue;
		offset = pci_read32(vp->function, (uint16_t)(capability.position + CAP_OFFSET_HIGH));
		length = pci_read32(vp->function, (uint16_t)(capability.position + CAP_STRUCTURE_LENGTH_HIGH));
		offset = offset << 32 | capability.offset;
		length = length << 32 | capability.structure_length;
		/* "Shared memory capability": within the BAR */
		if (!pci_bar_holds(vp->function, capability.bar, offset, length))
			return -EIO;
		region->phys = vp->function->bars[capability.bar].base + offset;
		region->length = length;
		return 0;
	}
	return -ENOENT;
}

void virtio_pci_destroy(struct virtio_device *vdev)
{
	struct virtio_pci *vp = virtio_pci_of(vdev);

	pci_disable(vp->function);
	page_free(vp, sizeof(*vp));
}

/* ---- claiming ---- */

/* "PCI Device Discovery": the id tells the type; of a legacy id that the table does not have, the subsystem does. */
static uint16_t type_of(const struct pci_function *function)
{
	static const uint8_t transitional[] = {1, 2, 5, 3, 8, 4, 0, 0, 0, 9}; /* from 1000h */
	unsigned index = function->device - DEVICE_FIRST;

	if (function->device >= DEVICE_MODERN)
		return function->device - DEVICE_MODERN;
	return index < ARRAY_SIZE(transitional) && transitional[index] ? transitional[index] : function->subsystem;
}

static bool use_modern(struct virtio_pci *vp)
{
	uint8_t window;

	if (!virtio_transport_allowed(VIRTIO_TRANSPORT_PCI_MODERN))
		return false;
	window = find_structures(vp);
	if (window && (vp->common.kind == REGION_NONE || vp->notify.kind == REGION_NONE)) {
		vp->window = window; /* the last resort */
		(void)find_structures(vp);
	}
	if (vp->common.kind == REGION_NONE || vp->notify.kind == REGION_NONE)
		return false;
	if (vp->window)
		log_info("virtio-pci %s: used through configuration space, since a BAR has no address", vp->vdev.address);
	vp->vdev.ops = &virtio_pci_modern_ops;
	vp->layout = &virtio_pci_modern_layout;
	return true;
}

static bool use_legacy(struct virtio_pci *vp)
{
	const struct pci_bar *bar = &vp->function->bars[0];

	if (!virtio_transport_allowed(VIRTIO_TRANSPORT_PCI_LEGACY) || vp->function->device >= DEVICE_MODERN)
		return false;
	pci_open_ports(vp->function);
	if (!bar->base || bar->size < VIRTIO_PCI_LEGACY_MIN)
		return false;
	if (!virtio_pci_find(vp, &vp->common, 0, 0, MIN(bar->size, UINT64_C(4096))))
		return false;
	vp->isr = vp->common;
	vp->vdev.legacy = true;
	vp->vdev.ops = &virtio_pci_legacy_ops;
	vp->layout = &virtio_pci_legacy_layout;
	return true;
}

static void use(struct pci_function *function)
{
	struct virtio_pci *vp = page_alloc(sizeof(*vp), PAGE_SIZE);

	if (!vp) {
		log_error("virtio-pci %s: no memory for it", function->name);
		return;
	}
	pci_open(function);
	vp->function = function;
	vp->vdev.type = type_of(function);
	vp->vdev.dma.has_endpoint = true;
	vp->vdev.dma.endpoint = function->bdf;
	__builtin_memcpy(vp->vdev.address, function->name, sizeof(function->name));
	if (!use_modern(vp) && !use_legacy(vp)) {
		log_warn("virtio-pci %s: no interface of it can be used, ignored", function->name);
		pci_disable(function);
		page_free(vp, sizeof(*vp));
		return;
	}
	pci_enable(function);
	if (virtio_device_add(&vp->vdev) && vp->vdev.lost)
		pci_disable(function); /* it takes no reset: it shall not master the bus. Others may be tried again */
}

/* "PCI Device Discovery": any revision, any subsystem */
static bool virtio_pci_claim(struct pci_function *function)
{
	if (function->vendor != VENDOR || function->device < DEVICE_FIRST || function->device > DEVICE_LAST)
		return false;
	if (virtio_transport_allowed(VIRTIO_TRANSPORT_PCI_MODERN) || virtio_transport_allowed(VIRTIO_TRANSPORT_PCI_LEGACY))
		use(function);
	else
		log_info("virtio-pci %s: passed over, as virtio.transport says", function->name);
	return true;
}

static bool comes_first(const struct pci_function *function)
{
	return function->vendor == VENDOR && function->device >= DEVICE_FIRST && function->device <= DEVICE_LAST &&
	       virtio_comes_first(type_of(function));
}

static const struct pci_driver virtio_pci = {.name = "virtio-pci", .claim = virtio_pci_claim, .comes_first = comes_first};
PCI_DRIVER(virtio_pci);
