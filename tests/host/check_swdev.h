/*
 * What host tests do with a software device: plug it where the driver has to take it, and pull it out where no rule was broken.
 */
#ifndef CHECK_SWDEV_H
#define CHECK_SWDEV_H

#include <arch/clock.h>
#include <base/event.h>
#include <base/util.h>
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

/* A new device that has some features more and some less. */
static inline struct swdev *plug_new(const struct swdev_type *type, uint64_t more, uint64_t less)
{
	struct swdev *dev = swdev_new(type);

	dev->offered = (dev->offered | more) & ~less;
	plug_in(dev, &swdev_direct);
	return dev;
}

/* The features that are to be offered: none for a split ring, and those of a packed one. */
#define FOR_BOTH_LAYOUTS(layout) for (const uint64_t *layout = swdev_layouts; layout < swdev_layouts + 2; layout++)

static inline void pull_out(struct swdev *dev)
{
	if (dev->violations)
		fail_msg("%s", dev->first_violation);
	assert_int_equal(swdev_unplug(dev), 0);
}

struct check_break {
	struct timer timer;
	struct swdev *dev;
};

static inline void check_break_now(struct timer *timer)
{
	swdev_needs_reset(container_of(timer, struct check_break, timer)->dev);
}

/* It answers nothing from the start, and soon breaks: it is refused then, not when all patience is at its end. */
static inline void plug_breaking(struct swdev *dev)
{
	uint64_t start = clock_ns();
	struct check_break soon = {.dev = dev};

	dev->dead = true;
	timer_start(&soon.timer, start + 1000000, check_break_now);
	assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_in_range(clock_ns() - start, 1000000, 10000000);
}

#endif
