/*
 * What the bits of a feature word are called: "Feature bits" of each device type, "Reserved Feature Bits" for the rest, and the
 * bits that only the legacy interface knows. A bit that is the same for all types comes first.
 */
#include "feature_names.h"

#include <stddef.h>
#include <stdint.h>

#include <base/util.h>

#define ANY 0

static const struct {
	uint8_t type, bit;
	char name[24];
} features[] = {
	{ANY, 24, "NOTIFY_ON_EMPTY"},
	{ANY, 27, "ANY_LAYOUT"},
	{ANY, 28, "INDIRECT_DESC"},
	{ANY, 29, "EVENT_IDX"},
	{ANY, 32, "VERSION_1"},
	{ANY, 33, "ACCESS_PLATFORM"},
	{ANY, 34, "RING_PACKED"},
	{ANY, 35, "IN_ORDER"},
	{ANY, 36, "ORDER_PLATFORM"},
	{ANY, 37, "SR_IOV"},
	{ANY, 38, "NOTIFICATION_DATA"},
	{ANY, 39, "NOTIF_CONFIG_DATA"},
	{ANY, 40, "RING_RESET"},
	{ANY, 41, "ADMIN_VQ"},
	{ANY, 43, "SUSPEND"},

	{1, 0, "CSUM"},
	{1, 1, "GUEST_CSUM"},
	{1, 2, "CTRL_GUEST_OFFLOADS"},
	{1, 3, "MTU"},
	{1, 5, "MAC"},
	{1, 6, "GSO"},
	{1, 7, "GUEST_TSO4"},
	{1, 8, "GUEST_TSO6"},
	{1, 9, "GUEST_ECN"},
	{1, 10, "GUEST_UFO"},
	{1, 11, "HOST_TSO4"},
	{1, 12, "HOST_TSO6"},
	{1, 13, "HOST_ECN"},
	{1, 14, "HOST_UFO"},
	{1, 15, "MRG_RXBUF"},
	{1, 16, "STATUS"},
	{1, 17, "CTRL_VQ"},
	{1, 18, "CTRL_RX"},
	{1, 19, "CTRL_VLAN"},
	{1, 20, "CTRL_RX_EXTRA"},
	{1, 21, "GUEST_ANNOUNCE"},
	{1, 22, "MQ"},
	{1, 23, "CTRL_MAC_ADDR"},
	{1, 50, "DEVICE_STATS"},
	{1, 51, "HASH_TUNNEL"},
	{1, 52, "VQ_NOTF_COAL"},
	{1, 53, "NOTF_COAL"},
	{1, 54, "GUEST_USO4"},
	{1, 55, "GUEST_USO6"},
	{1, 56, "HOST_USO"},
	{1, 57, "HASH_REPORT"},
	{1, 59, "GUEST_HDRLEN"},
	{1, 60, "RSS"},
	{1, 61, "RSC_EXT"},
	{1, 62, "STANDBY"},
	{1, 63, "SPEED_DUPLEX"},

	{2, 0, "BARRIER"},
	{2, 1, "SIZE_MAX"},
	{2, 2, "SEG_MAX"},
	{2, 4, "GEOMETRY"},
	{2, 5, "RO"},
	{2, 6, "BLK_SIZE"},
	{2, 7, "SCSI"},
	{2, 9, "FLUSH"},
	{2, 10, "TOPOLOGY"},
	{2, 11, "CONFIG_WCE"},
	{2, 12, "MQ"},
	{2, 13, "DISCARD"},
	{2, 14, "WRITE_ZEROES"},
	{2, 15, "LIFETIME"},
	{2, 16, "SECURE_ERASE"},
	{2, 17, "ZONED"},

	{3, 0, "SIZE"},
	{3, 1, "MULTIPORT"},
	{3, 2, "EMERG_WRITE"},

	{5, 0, "MUST_TELL_HOST"},
	{5, 1, "STATS_VQ"},
	{5, 2, "DEFLATE_ON_OOM"},
	{5, 3, "FREE_PAGE_HINT"},
	{5, 4, "PAGE_POISON"},
	{5, 5, "PAGE_REPORTING"},

	{8, 0, "INOUT"},
	{8, 1, "HOTPLUG"},
	{8, 2, "CHANGE"},
	{8, 3, "T10_PI"},

	{16, 0, "VIRGL"},
	{16, 1, "EDID"},
	{16, 2, "RESOURCE_UUID"},
	{16, 3, "RESOURCE_BLOB"},
	{16, 4, "CONTEXT_INIT"},
	{16, 5, "BLOB_ALIGNMENT"},

	{19, 0, "STREAM"},
	{19, 1, "SEQPACKET"},
	{19, 2, "NO_IMPLIED_STREAM"},

	{20, 0, "REVISION_1"},
	{20, 1, "CIPHER_STATELESS_MODE"},
	{20, 2, "HASH_STATELESS_MODE"},
	{20, 3, "MAC_STATELESS_MODE"},
	{20, 4, "AEAD_STATELESS_MODE"},
	{20, 5, "AKCIPHER_STATELESS_MODE"},

	{23, 0, "INPUT_RANGE"},
	{23, 1, "DOMAIN_RANGE"},
	{23, 2, "MAP_UNMAP"},
	{23, 3, "BYPASS"},
	{23, 4, "PROBE"},
	{23, 5, "MMIO"},
	{23, 6, "BYPASS_CONFIG"},

	{24, 0, "ACPI_PXM"},
	{24, 1, "UNPLUGGED_INACCESSIBLE"},
	{24, 2, "PERSISTENT_SUSPEND"},

	{25, 0, "CTLS"},
	{26, 0, "NOTIFICATION"},
	{27, 0, "SHMEM_REGION"},
};

const char *feature_name(unsigned type, unsigned bit)
{
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].bit == bit && (features[i].type == type || features[i].type == ANY))
			return features[i].name;
	}
	return NULL;
}

/* "Device Types" */
static const char *const type_names[] = {
	[1] = "network device",
	[2] = "block device",
	[3] = "console",
	[4] = "entropy source",
	[5] = "memory balloon",
	[6] = "ioMemory",
	[7] = "rpmsg",
	[8] = "SCSI host",
	[9] = "9P transport",
	[16] = "GPU device",
	[17] = "RTC device",
	[18] = "input device",
	[19] = "socket device",
	[20] = "crypto device",
	[22] = "pstore device",
	[23] = "IOMMU device",
	[24] = "memory device",
	[25] = "sound device",
	[26] = "file system device",
	[27] = "PMEM device",
	[28] = "RPMB device",
	[32] = "SCMI device",
	[34] = "I2C adapter",
	[36] = "CAN device",
	[41] = "GPIO device",
	[45] = "SPI controller",
	[48] = "media device",
};

const char *device_type_name(unsigned type)
{
	return type < ARRAY_SIZE(type_names) && type_names[type] ? type_names[type] : "unknown type";
}
