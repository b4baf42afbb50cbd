/*
 * An echo device on a thread of its own, for tests of the rings alone: threaded.c. It serves queue 0 as fast as it can, in both layouts, with
 * and without EVENT_IDX and indirect tables.
 *
 * It is a correct device by C11's rules: what the driver publishes it loads with acquire, what it publishes it stores with release, and
 * a full fence stands between each store and load of the notification protocol. Kicks reach it without any order beyond that, so that
 * it knows of buffers what the ring tells it, and nothing by the way.
 */
#ifndef THREADED_H
#define THREADED_H

#include <stdint.h>

struct threaded;

/* A request: a number in, for the device; threaded_answer() of it out, for the driver. Either may be left out, not both. Of two numbers in the
 * answer is that of their sum; where there is room for two it comes twice. */
struct threaded_request {
	uint64_t number, answer;
};
static inline uint64_t threaded_answer(uint64_t number) { return (number ^ 0x5bd1e9955bd1e995) * 0x9e3779b97f4a7c15; }
#define THREADED_UNASKED UINT64_C(0x1badcafe) /* the answer where no number was there to read */

struct threaded *threaded_plug(uint64_t features, uint16_t queue_size); /* NULL: refused */
struct virtio_device *threaded_vdev(struct threaded *device);

struct threaded_counts {
	uint64_t served, interrupts, sleeps; /* buffers, notifications sent, waits for a kick */
};
struct threaded_counts threaded_unplug(struct threaded *device); /* fails the test where the device saw something wrong */

#endif
