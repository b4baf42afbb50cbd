/*
 * What host tests do with a software device: plug it where the driver has to take it, and pull it out where no rule was broken.
 */
#ifndef CHECK_SWDEV_H
#define CHECK_SWDEV_H

#include <virtio/virtio.h>

#include "check.h"
#include "swdev.h"

/* What is logged from here on is captured. */
static inline void plug_in(struct swdev *dev, const struct swdev_front *front)
{
	host_console_capture(true);
	if (swdev_plug(dev, front))
		fail_msg("refused: %s", dev->vdev->reason);
}

static inline void pull_out(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s", dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

#endif
