/*
 * "IOMMU device": stands between other devices and memory, and lets through what was mapped for them. It is brought up before them, and
 * each device that obeys the platform (VIRTIO_F_ACCESS_PLATFORM) is given a domain when its driver gets it: iommu_domain.c.
 *
 * What nobody has attached reaches nothing, where that can be chosen: bypass is turned off. What a device tried and was refused comes by the
 * eventq.
 */
#include <errno.h>

#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "iommu_impl.h"

/* "IOMMU device / Device configuration layout" */
struct virtio_iommu_config {
	le64 page_size_mask;
	le64 input_start, input_end;
	le32 domain_start, domain_end;
	le32 probe_size;
	uint8_t bypass, reserved[3];
};
_Static_assert(sizeof(struct virtio_iommu_config) == 40, "virtio_iommu_config");
#define FIELD(name) offsetof(struct virtio_iommu_config, name)

/* "Fault reporting" */
struct virtio_iommu_fault {
	uint8_t reason, reserved[3];
	le32 flags, endpoint, reserved1;
	le64 address;
};
_Static_assert(sizeof(struct virtio_iommu_fault) == 24, "virtio_iommu_fault");
enum { FAULT_R_MAPPING = 2, FAULT_F_WRITE = 2, FAULT_F_ADDRESS = 256 };

#define FAULT_BUFFERS 32u
#define FAULT_LINES 8u /* of log; then they are only counted */
#define PROBE_MAX 65536u
#define GRANULE_MAX (UINT64_C(1) << 21)

/* ---- faults ---- */

static void fault(struct virtio_eventq *queue, void *event, uint32_t written)
{
	struct iommu *iommu = container_of(queue, struct iommu, events);
	struct virtio_iommu_fault report = *(const struct virtio_iommu_fault *)event;
	uint32_t flags = le32_to_cpu(report.flags);
	struct iommu_fault *last = &iommu->device.last_fault;

	/* "Fault reporting": MUST ignore a report whose reserved field is not zero */
	if (written < sizeof(report) || report.reserved[0] || report.reserved[1] || report.reserved[2])
		return;
	*last = (struct iommu_fault){.endpoint = le32_to_cpu(report.endpoint),
	                             .mapping = report.reason == FAULT_R_MAPPING,
	                             .write = flags & FAULT_F_WRITE,
	                             .has_address = flags & FAULT_F_ADDRESS,
	                             .address = flags & FAULT_F_ADDRESS ? le64_to_cpu(report.address) : 0};
	if (iommu->device.faults++ < FAULT_LINES)
		log_warn("%s: endpoint %#x was refused a %s at %#llx", iommu->vdev->name, last->endpoint,
		         last->write ? "write" : "read", (unsigned long long)last->address);
}

/* ---- life ---- */

static int read_config(struct iommu *iommu)
{
	struct virtio_device *vdev = iommu->vdev;
	uint64_t sizes = virtio_config_u64(vdev, FIELD(page_size_mask), 0);

	iommu->granule = MAX(sizes & -sizes, (uint64_t)PAGE_SIZE);
	iommu->input_last = UINT64_MAX;
	iommu->domain_last = UINT32_MAX;
	if (virtio_has(vdev, VIRTIO_IOMMU_F_INPUT_RANGE)) {
		iommu->input_first = virtio_config_u64(vdev, FIELD(input_start), 0);
		iommu->input_last = virtio_config_u64(vdev, FIELD(input_end), 0);
	}
	if (virtio_has(vdev, VIRTIO_IOMMU_F_DOMAIN_RANGE)) {
		iommu->domain_first = virtio_config_u32(vdev, FIELD(domain_start), 0);
		iommu->domain_last = virtio_config_u32(vdev, FIELD(domain_end), 0);
	}
	iommu->passing = iommu->domain_last;
	if (iommu->domain_last > iommu->domain_first)
		iommu->domain_last--;
	if (virtio_has(vdev, VIRTIO_IOMMU_F_PROBE))
		iommu->probe_bytes = virtio_config_u32(vdev, FIELD(probe_size), 0);
	/* "Device configuration layout": at least one bit in page_size_mask */
	if (!sizes || iommu->granule > GRANULE_MAX)
		return virtio_refuse(vdev, -EINVAL, "page_size_mask %#llx", (unsigned long long)sizes);
	if (iommu->input_last < iommu->input_first ||
	    iommu->input_last - iommu->input_first < (DOMAIN_PAGES + 2) * iommu->granule ||
	    iommu->domain_last < iommu->domain_first)
		return virtio_refuse(vdev, -EINVAL, "no room in its input range, or no domains");
	if (iommu->probe_bytes > PROBE_MAX)
		return virtio_refuse(vdev, -EINVAL, "probe_size %u", iommu->probe_bytes);
	return 0;
}

static void release(struct iommu *iommu)
{
	if (iommu->wire)
		page_free(iommu->wire, iommu->wire_bytes);
	virtio_eventq_free(&iommu->events);
	page_free(iommu, sizeof(*iommu));
}

static int probe(struct virtio_device *vdev)
{
	struct iommu *iommu = page_alloc(sizeof(*iommu), PAGE_SIZE);
	int error;

	if (!iommu)
		return -ENOMEM;
	iommu->vdev = vdev;
	iommu->provider.attach = domain_attach;
	error = read_config(iommu);
	if (error) {
		page_free(iommu, sizeof(*iommu));
		return error;
	}
	iommu->wire_bytes = WIRE_ANSWER + iommu->probe_bytes + 4;
	iommu->wire = page_alloc(iommu->wire_bytes, PAGE_SIZE);
	if (virtio_eventq_init(&iommu->events, sizeof(struct virtio_iommu_fault), FAULT_BUFFERS, fault) || !iommu->wire) {
		release(iommu);
		return -ENOMEM;
	}
	vdev->driver_data = iommu;
	vdev->node = &iommu->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct iommu *iommu = vdev->driver_data;
	const struct virtq_spec specs[] = {{.name = "requestq", .max_buffers = 2, .context = iommu},
	                                   virtio_eventq_spec(&iommu->events, "eventq")};
	const uint8_t off = 0;
	int error = virtio_queues_create(vdev, 2, specs);

	if (error)
		return error;
	virtio_eventq_start(&iommu->events, vdev->queues[1]);
	virtio_driver_ok(vdev);
	iommu->vq = vdev->queues[0];
	iommu->stuck = false;
	if (virtio_has(vdev, VIRTIO_IOMMU_F_BYPASS_CONFIG) && virtio_config_write(vdev, FIELD(bypass), &off, 1))
		log_warn("%s: bypass stays on", vdev->name);
	domains_restore(iommu);
	if (!iommu->device.node.listed)
		dma_provider_add(&iommu->provider);
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct iommu *iommu = vdev->driver_data;
	struct virtq *vq;

	spin_lock(&iommu->lock);
	vq = iommu->vq;
	iommu->vq = NULL;
	while (vq && virtq_detach_unused(vq))
		;
	spin_unlock(&iommu->lock);
	virtio_eventq_drain(&iommu->events);
}

static void remove(struct virtio_device *vdev)
{
	struct iommu *iommu = vdev->driver_data;

	dma_provider_remove(&iommu->provider);
	domains_orphan(iommu);
	release(iommu);
}

static const struct virtio_driver iommu_driver = {
	.name = "virtio-iommu",
	.instance = "iommu",
	.type = VIRTIO_ID_IOMMU,
	.devices = &iommu_devices,
	.features = BIT64(VIRTIO_IOMMU_F_INPUT_RANGE) | BIT64(VIRTIO_IOMMU_F_DOMAIN_RANGE) | BIT64(VIRTIO_IOMMU_F_MAP_UNMAP) |
                    BIT64(VIRTIO_IOMMU_F_PROBE) | BIT64(VIRTIO_IOMMU_F_BYPASS_CONFIG),
	.required = BIT64(VIRTIO_IOMMU_F_MAP_UNMAP),
	.config_size = sizeof(struct virtio_iommu_config),
	.comes_first = true,
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
};
VIRTIO_DRIVER(iommu_driver);
