/*
 * "IOMMU device / Device operations": the requests. Each is a device-readable part and a device-writable one that ends with a status.
 */
#include <errno.h>
#include <string.h>

#include <arch/clock.h>

#include "iommu_impl.h"

enum { T_ATTACH = 1, T_DETACH, T_MAP, T_UNMAP, T_PROBE };
enum { S_OK = 0, S_UNSUPP = 2, S_INVAL = 4, S_RANGE = 5, S_NOENT = 6, S_NOMEM = 8 };
enum { PROBE_T_RESV_MEM = 1 };
enum { ATTACH_F_BYPASS = 1 };

struct virtio_iommu_req_tail {
	uint8_t status, reserved[3];
};

/* The device-readable parts. Reserved fields are 0. */
struct virtio_iommu_req_attach { /* and detach: its reserved bytes are as many as flags and reserved here */
	uint8_t type, reserved_head[3];
	le32 domain, endpoint, flags;
	uint8_t reserved[4];
};
_Static_assert(sizeof(struct virtio_iommu_req_attach) == 20, "virtio_iommu_req_attach, virtio_iommu_req_detach");

struct virtio_iommu_req_map {
	uint8_t type, reserved_head[3];
	le32 domain;
	le64 virt_start, virt_end, phys_start;
	le32 flags;
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_iommu_req_map) == 36, "virtio_iommu_req_map");

struct virtio_iommu_req_unmap {
	uint8_t type, reserved_head[3];
	le32 domain;
	le64 virt_start, virt_end;
	uint8_t reserved[4];
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_iommu_req_unmap) == 28, "virtio_iommu_req_unmap");

struct virtio_iommu_req_probe {
	uint8_t type, reserved_head[3];
	le32 endpoint;
	uint8_t reserved[64];
};
_Static_assert(sizeof(struct virtio_iommu_req_probe) == 72, "virtio_iommu_req_probe");

struct virtio_iommu_probe_resv_mem {
	le16 type, length; /* of the property, without these two */
	uint8_t subtype, reserved[3];
	le64 start, end;
};
_Static_assert(sizeof(struct virtio_iommu_probe_resv_mem) == 24, "virtio_iommu_probe_resv_mem");
#define PROPERTY_HEAD 4u

static int errno_of(uint8_t status)
{
	switch (status) {
	case S_OK:
		return 0;
	case S_UNSUPP:
		return -ENOTSUP;
	case S_INVAL:
	case S_RANGE:
		return -EINVAL;
	case S_NOENT:
		return -ENODEV;
	case S_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* The answer's tail is behind `properties` bytes. */
static int ask(struct iommu *iommu, const void *request, uint32_t bytes, uint32_t properties)
{
	uint8_t *answer = iommu->wire + WIRE_ANSWER;
	struct virtio_iommu_req_tail *tail = (struct virtio_iommu_req_tail *)(answer + properties);
	struct virtq_buf bufs[] = {{iommu->wire, bytes}, {answer, properties + sizeof(*tail)}};
	uint32_t written;

	if (!iommu->vq || iommu->stuck)
		return -EIO;
	memcpy(iommu->wire, request, bytes);
	memset(answer, 0xff, properties + sizeof(*tail));
	if (virtq_add(iommu->vq, bufs, 1, 1, iommu))
		return -EIO;
	if (!virtq_await(iommu->vq, &written, clock_ns() + VIRTIO_ANSWER_NS)) {
		iommu->stuck = true;
		virtio_device_broken(iommu->vdev, "requestq: no answer");
		return -EIO;
	}
	/* "Device operations": a used length of zero is a failure */
	return written < properties + sizeof(*tail) ? -EIO : errno_of(READ_ONCE(tail->status));
}

static int attach(struct iommu *iommu, uint8_t type, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	struct virtio_iommu_req_attach request = {.type = type,
	                                          .domain = cpu_to_le32(domain),
	                                          .endpoint = cpu_to_le32(endpoint),
	                                          .flags = cpu_to_le32(flags)};

	return ask(iommu, &request, sizeof(request), 0);
}

int iommu_attach(struct iommu *iommu, uint32_t domain, uint32_t endpoint) { return attach(iommu, T_ATTACH, domain, endpoint, 0); }

/* "ATTACH request": all of a bypass domain with the flag, which there is with the feature. Without it nothing is mapped there, and reserved
 * ranges, interrupts for one, are open. */
int iommu_attach_passing(struct iommu *iommu, uint32_t endpoint)
{
	return attach(iommu, T_ATTACH, iommu->passing, endpoint,
	              virtio_has(iommu->vdev, VIRTIO_IOMMU_F_BYPASS_CONFIG) ? ATTACH_F_BYPASS : 0);
}

int iommu_detach(struct iommu *iommu, uint32_t domain, uint32_t endpoint) { return attach(iommu, T_DETACH, domain, endpoint, 0); }

int iommu_map(struct iommu *iommu, uint32_t domain, uint64_t from, uint64_t bytes, uint64_t phys, uint32_t flags)
{
	struct virtio_iommu_req_map request = {.type = T_MAP,
	                                       .domain = cpu_to_le32(domain),
	                                       .virt_start = cpu_to_le64(from),
	                                       .virt_end = cpu_to_le64(from + bytes - 1),
	                                       .phys_start = cpu_to_le64(phys),
	                                       .flags = cpu_to_le32(flags)};

	return ask(iommu, &request, sizeof(request), 0);
}

int iommu_unmap(struct iommu *iommu, uint32_t domain, uint64_t from, uint64_t bytes)
{
	struct virtio_iommu_req_unmap request = {.type = T_UNMAP,
	                                         .domain = cpu_to_le32(domain),
	                                         .virt_start = cpu_to_le64(from),
	                                         .virt_end = cpu_to_le64(from + bytes - 1)};

	return ask(iommu, &request, sizeof(request), 0);
}

/* "PROBE request": by `length` from one property to the next, whatever its type; unknown ones, and those with reserved bits, are passed over. */
int iommu_probe(struct iommu *iommu, uint32_t endpoint, void (*reserved)(void *context, uint64_t first, uint64_t last),
                void *context)
{
	struct virtio_iommu_req_probe request = {.type = T_PROBE, .endpoint = cpu_to_le32(endpoint)};
	const uint8_t *properties = iommu->wire + WIRE_ANSWER;
	uint32_t at = 0, length;
	int error = ask(iommu, &request, sizeof(request), iommu->probe_bytes);

	for (; !error && at + PROPERTY_HEAD <= iommu->probe_bytes; at += PROPERTY_HEAD + length) {
		struct virtio_iommu_probe_resv_mem range;
		uint16_t type;

		memset(&range, 0, sizeof(range));
		memcpy(&range, properties + at, MIN(sizeof(range), iommu->probe_bytes - at));
		type = le16_to_cpu(range.type); /* its upper four bits are reserved */
		length = le16_to_cpu(range.length);
		if (!type)
			break;
		/* Every subtype, known or not, is a range that is not to be mapped. */
		if (type == PROBE_T_RESV_MEM && length >= sizeof(range) - PROPERTY_HEAD &&
		    at + sizeof(range) <= iommu->probe_bytes)
			reserved(context, le64_to_cpu(range.start), le64_to_cpu(range.end));
	}
	return error;
}
