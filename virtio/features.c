/*
 * Feature negotiation ("Feature Bits", "Reserved Feature Bits").
 *
 * What is accepted is what the device offers, the driver or the core understands, the transport and the command line allow, and whose
 * prerequisites are accepted too. Everything else that is offered is passed over in silence, as it must be.
 */
#include <errno.h>
#include <string.h>

#include <base/cmdline.h>
#include <base/log.h>
#include <virtio/transport.h>

/* Understood for every device, over every transport */
#define CORE_FEATURES                                                                                                            \
	(BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1) |                                 \
	 BIT64(VIRTIO_F_ACCESS_PLATFORM) | BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_IN_ORDER) |                              \
	 BIT64(VIRTIO_F_ORDER_PLATFORM) | BIT64(VIRTIO_F_SUSPEND))

/* "Legacy Interface: Reserved Feature Bits": ANY_LAYOUT must be accepted */
#define CORE_FEATURES_LEGACY (BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_ANY_LAYOUT))

/* virtio.without=<bit>[,<bit>...] */
static uint64_t forbidden(void)
{
	static uint64_t mask;
	static bool parsed;
	const char *text = parsed ? NULL : cmdline_get("virtio.without"), *end;
	uint64_t bit;

	parsed = true;
	for (; text && *text; text = *end ? end + 1 : end) {
		if (!parse_size(text, ",", &bit, &end) || bit > 63) {
			log_warn("virtio.without: \"%s\" is no list of feature bits", text);
			break;
		}
		mask |= BIT64(bit);
	}
	return mask;
}

enum { LAYOUT_SPLIT = 1, LAYOUT_PACKED = 2 };

/* virtio.queue=split|packed|any */
static unsigned layouts(void)
{
	static const struct virtio_choice choices[] = {{"any", LAYOUT_SPLIT | LAYOUT_PACKED},
	                                               {"split", LAYOUT_SPLIT},
	                                               {"packed", LAYOUT_PACKED},
	                                               {NULL, 0}};
	static bool warned;

	return virtio_choose("virtio.queue", choices, &warned);
}

static uint64_t drop_without_prerequisites(const struct virtio_driver *driver, uint64_t features)
{
	uint64_t before;

	do { /* one drop may pull another */
		before = features;
		for (const struct virtio_feature_rule *rule = driver->rules; rule && rule->needs_any; rule++)
			if (!(features & rule->needs_any))
				features &= ~BIT64(rule->bit);
	} while (features != before);
	return features;
}

int virtio_negotiate(struct virtio_device *vdev)
{
	const struct virtio_driver *driver = vdev->driver;
	uint64_t known = vdev->legacy ? (driver->features & UINT32_MAX) | CORE_FEATURES_LEGACY
	                              : driver->features | CORE_FEATURES | vdev->ops->features;
	uint64_t declined = forbidden() & ~BIT64(VIRTIO_F_VERSION_1), missing = driver->required;
	unsigned layout = layouts();
	uint8_t status;

	vdev->offered = vdev->ops->get_features(vdev);
	if (!driver->queue_drain)
		declined |= BIT64(VIRTIO_F_RING_RESET);
	if (!(layout & LAYOUT_PACKED))
		declined |= BIT64(VIRTIO_F_RING_PACKED);
	if (driver->declined)
		declined |= driver->declined();
	if (vdev->offered & driver->conflict.needs_any)
		declined |= BIT64(driver->conflict.bit);
	vdev->features = drop_without_prerequisites(driver, vdev->offered & known & ~declined);

	/* Drivers and devices meet in VERSION_1 or in the legacy interface: nothing between. */
	if (!vdev->legacy && !virtio_has(vdev, VIRTIO_F_VERSION_1))
		return virtio_refuse(vdev, -ENOTSUP, "VIRTIO_F_VERSION_1 is not offered");
	if (!(layout & LAYOUT_SPLIT))
		missing |= BIT64(VIRTIO_F_RING_PACKED);
	missing &= ~vdev->features;
	if (missing)
		return virtio_refuse(vdev, -ENOTSUP, "feature bit %d is needed and not to be had", __builtin_ctzll(missing));

	vdev->ops->set_features(vdev, vdev->features);
	if (vdev->legacy) /* "Legacy Interface: Device Initialization": no FEATURES_OK there */
		return vdev->lost ? virtio_refuse_lost(vdev) : 0;
	virtio_add_status(vdev, VIRTIO_STATUS_FEATURES_OK);
	/* "Device Initialization": read it back, or the device does not support our choice */
	status = vdev->ops->get_status(vdev);
	if (vdev->lost)
		return virtio_refuse_lost(vdev);
	return status & VIRTIO_STATUS_FEATURES_OK ? 0 : virtio_refuse(vdev, -ENOTSUP, "FEATURES_OK not accepted");
}
