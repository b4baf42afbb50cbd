/*
 * A DMA backend that forgives nothing: the device sees a private window, and of that only what is mapped.
 *
 * map() copies into the window and poisons the original: what is mapped belongs to the device, and a driver (or a test) that touches it
 * is reported by the address sanitizer. unmap() copies back what is for the driver, and poisons the place in the window. Addresses are
 * neither pointers nor those of RAM, and lie apart, so that one byte too far is nowhere.
 *
 * A map that is undone twice, in another size or direction, or never; a read-only mapping in which a byte changed, on either side; an address
 * that is not mapped: each is a violation of the swdev that it was opened for, and so counted by swdev_unplug().
 */
#ifndef BOUNCE_H
#define BOUNCE_H

#include "swdev.h"

struct bounce_counts {
	unsigned maps, allocs;      /* calls */
	unsigned mapped, allocated; /* at this moment */
	unsigned failed;            /* calls that were refused */
};
extern struct bounce_counts bounce_counts;

/* Before it is plugged (front direct): the device goes through the backend. */
void bounce_open(struct swdev *dev);

/* No more than so many bytes are mapped at once; map() refuses the rest. */
void bounce_limit(size_t bytes);

/* Refuse `count` calls of map() from the `first` on (1: the next one); of alloc() likewise. */
void bounce_fail_maps(unsigned first, unsigned count);
void bounce_fail_allocs(unsigned first, unsigned count);

/* After swdev_unplug(): fails the test where something is still mapped or allocated. Frees the window. */
void bounce_close(void);

#endif
