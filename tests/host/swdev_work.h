/*
 * Work for a device, through the class API that programs use: real data, checked on both sides.
 *
 * swdev_work_begin() submits; swdev_work_wait() lets the loop run; after swdev_unplug(), swdev_work_end() checks that every request ended
 * exactly once, whatever the device did.
 */
#ifndef SWDEV_WORK_H
#define SWDEV_WORK_H

#include <base/util.h>

#include "swdev.h"

struct swdev_work;
struct swdev_workload;
LINKER_SET(swdev_workloads, const struct swdev_workload);

/* `amount` requests of a size that fits the type. NULL: the class has no such device (it was refused). */
struct swdev_work *swdev_work_begin(struct swdev *dev, unsigned amount);

/* Until all is done, at most `ns` of fake time. True: every request succeeded and every byte was right. */
bool swdev_work_wait(struct swdev_work *work, uint64_t ns);

/* Fails the test for a request that did not end, or ended twice, or brought wrong bytes without an error. The device is gone. */
void swdev_work_end(struct swdev_work *work);

/* Longer than any honest work takes. */
#define SWDEV_WORK_NS UINT64_C(10000000000)

#endif
