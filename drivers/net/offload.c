/*
 * Network Device: what the header of a frame says beside nothing, checksums and segments, in both directions.
 *
 * Most frames have no offload, and their headers are zero: tx.c and rx.c come here for the others only. A program's wish is checked, so
 * that the device is asked for nothing that it did not offer; and what the device says is checked, so that a program can rely on it.
 */
#include <errno.h>

#include "net_impl.h"

/* "Network Device / Device Operation"; the class numbers flags and types alike. */
enum { HDR_F_NEEDS_CSUM = NET_CSUM_PARTIAL, HDR_F_DATA_VALID = NET_CSUM_GOOD, HDR_F_RSC_INFO = NET_COALESCED };
enum { HDR_F_UDP_TUNNEL_CSUM = 8, HDR_GSO_UDP_TUNNEL = 0x20 | 0x40 };

/* By gso_type: the offloads of which one is needed */
static const uint8_t gso_needs[] = {
	[NET_GSO_TCP4] = NET_OFFLOAD_TSO4,
	[NET_GSO_UFO] = NET_OFFLOAD_UFO,
	[NET_GSO_TCP6] = NET_OFFLOAD_TSO6,
	[NET_GSO_USO] = NET_OFFLOAD_USO4 | NET_OFFLOAD_USO6,
};

void virtio_net_offloads(struct net *net)
{
	/* In the order of NET_OFFLOAD_* */
	static const uint8_t tx[] = {VIRTIO_NET_F_CSUM,     VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
	                             VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_HOST_USO,  VIRTIO_NET_F_HOST_USO};
	static const uint8_t rx[] = {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
	                             VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_GUEST_UFO,  VIRTIO_NET_F_GUEST_USO4,
	                             VIRTIO_NET_F_GUEST_USO6};

	net->device.tx_offloads = net->rx_offloads = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(tx); i++) {
		net->device.tx_offloads |= (uint8_t)(virtio_has(net->vdev, tx[i]) << i);
		net->rx_offloads |= (uint8_t)(virtio_has(net->vdev, rx[i]) << i);
	}
}

static bool gso_known(uint8_t gso, uint8_t offloads)
{
	uint8_t type = gso & (uint8_t)~NET_GSO_ECN;

	return type < ARRAY_SIZE(gso_needs) && (gso_needs[type] & offloads) &&
	       (!(gso & NET_GSO_ECN) || (offloads & NET_OFFLOAD_ECN));
}

/* "Packet Transmission": the length of the headers, the transport header included; 0: they are not to be seen here. */
static uint32_t header_bytes(const struct net_buf *buf)
{
	uint32_t start = buf->offload.csum_start;

	if (buf->offload.gso == NET_GSO_USO || buf->offload.gso == NET_GSO_UFO)
		return start + 8;
	return start + 13 <= buf->length ? start + (buf->data[start + 12] >> 4) * 4u : 0;
}

int virtio_net_tx_header(const struct net *net, struct net_buf *buf, uint32_t bytes)
{
	const struct net_offload *offload = &buf->offload;
	struct virtio_net_hdr *header = (void *)(buf->data - net->header);
	uint32_t headers = 0;

	/* "Packet Transmission": NEEDS_CSUM with CSUM only, no other flag, and with all segmentation; which must be offered, too */
	if (offload->flags != NET_CSUM_PARTIAL || (uint32_t)offload->csum_start + offload->csum_offset + 2 > bytes)
		return -EINVAL;
	if (!(net->device.tx_offloads & NET_OFFLOAD_CSUM) || (offload->gso && !gso_known(offload->gso, net->device.tx_offloads)))
		return -ENOTSUP;
	if (offload->gso) {
		headers = header_bytes(buf);
		if (!offload->segment || headers <= offload->csum_start || headers > buf->length)
			return -EINVAL;
	}
	header->flags = HDR_F_NEEDS_CSUM;
	header->gso_type = offload->gso;
	header->hdr_len = cpu_to_le16((uint16_t)headers);
	header->gso_size = cpu_to_le16(offload->gso ? offload->segment : 0);
	header->csum_start = cpu_to_le16(offload->csum_start);
	header->csum_offset = cpu_to_le16(offload->csum_offset);
	return 0;
}

/* "Processing of Incoming Packets": MUST NOT accept a packet over both kinds of UDP tunnel, over one with flags that do not go with
 * it, or over none but with its checksum. As no tunnel feature is accepted, no packet over any is due. */
static bool acceptable(uint8_t flags, uint8_t gso)
{
	const uint8_t contradiction = HDR_F_NEEDS_CSUM | HDR_F_UDP_TUNNEL_CSUM;

	return !(gso & HDR_GSO_UDP_TUNNEL) && (flags & contradiction) != contradiction;
}

bool virtio_net_rx_header(const struct net *net, struct net_buf *buf, uint32_t bytes)
{
	const struct virtio_net_hdr *header = (const void *)(buf->data - net->header);
	uint8_t flags = READ_ONCE(header->flags), gso = READ_ONCE(header->gso_type);
	struct net_offload *offload = &buf->offload;

	if (!acceptable(flags, gso))
		return false;
	*offload = (struct net_offload){0};
	if (virtio_has(net->vdev, VIRTIO_NET_F_HASH_REPORT)) {
		uint16_t report = le16_to_cpu(READ_ONCE(header->hash_report));

		if (report >= 1 && report <= 9) {
			offload->hash_type = (uint16_t)(1u << (report - 1));
			offload->hash = le32_to_cpu(header->hash_value);
		}
	}
	/* Without GUEST_CSUM they mean nothing, and no flag of ours is ever set; nor does a type that was not negotiated. */
	if (!(net->rx_offloads & NET_OFFLOAD_CSUM))
		return true;
	offload->flags = flags & (HDR_F_NEEDS_CSUM | HDR_F_DATA_VALID |
	                          (virtio_has(net->vdev, VIRTIO_NET_F_RSC_EXT) ? HDR_F_RSC_INFO : 0));
	offload->csum_start = le16_to_cpu(READ_ONCE(header->csum_start));
	offload->csum_offset = le16_to_cpu(READ_ONCE(header->csum_offset));
	if (!(offload->flags & (HDR_F_NEEDS_CSUM | HDR_F_RSC_INFO))) {
		offload->csum_start = offload->csum_offset = 0; /* MUST NOT be used */
	} else if (!(offload->flags & HDR_F_RSC_INFO) && (uint32_t)offload->csum_start + offload->csum_offset + 2 > bytes) {
		return false;
	}
	if (!gso_known(gso, net->rx_offloads))
		return !gso || !(net->rx_offloads & ~NET_OFFLOAD_CSUM);
	offload->gso = gso;
	offload->headers = le16_to_cpu(READ_ONCE(header->hdr_len));
	offload->segment = le16_to_cpu(READ_ONCE(header->gso_size));
	/* A segmentation without a size, or whose checksum nobody answers for */
	return offload->segment && (offload->flags & (HDR_F_NEEDS_CSUM | HDR_F_RSC_INFO));
}
