/*
 * The parts of selftest. Each reports in TAP.
 */
#ifndef APPS_SELFTEST_H
#define APPS_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include <class/block.h>
#include <class/char.h>
#include <class/entropy.h>
#include <base/util.h>
#include <class/net.h>

#define SECOND_NS UINT64_C(1000000000)

/* What a device gets to finish something before the test gives it up. Long: emulated CPUs share hosts with others. */
#define PATIENCE_NS (30 * SECOND_NS)

void selftest_base(void);
void selftest_cpu(void);
void selftest_files(void);
void selftest_rebind(struct device_info *info, uint64_t times);
void selftest_queue_resets(struct device_info *info, struct block_device *device, uint64_t times);
void selftest_echo(struct net_device *device, uint32_t frames);
void selftest_offload(struct net_device *device);
void selftest_queues(struct net_device *device);

/* The tests of one class: run for each device, by its name; nothing when the class does not have it. The file that has it is all it takes. */
struct selftest_part {
	void (*run)(const char *name);
};
LINKER_SET(selftest_parts, const struct selftest_part);
#define SELFTEST(id, function)                                                                                                   \
	static const struct selftest_part id##_part = {.run = function};                                                         \
	LINKER_ENTRY(selftest_parts, id##_part)

/* selftest.KEY as a number; KEY alone is 1. */
uint64_t selftest_option(const char *key, uint64_t fallback);

/*
 * A sweep over the front of a disk: every byte once, by requests of mixed sizes from one block to 1 MiB, as scatter lists, in
 * mixed order, with 1, 2, 4 ... 128 requests in flight.
 */
struct sweep {
	struct block_device *device;
	enum block_op op;         /* BLOCK_WRITE the data, or BLOCK_READ and compare */
	uint64_t bytes;           /* whole blocks */
	uint64_t data_seed;       /* the data: a pattern (see pattern.h), */
	const uint8_t *reference; /* or these bytes, if not NULL */
	uint64_t shape_seed;      /* decides sizes, order, scatter lists */

	/* The result. */
	uint64_t requests, segments, done, errors, wrong;
	int first_error;
	uint64_t first_bad; /* offset of the first request that failed or differed */

	/* While it runs. */
	struct sweep_slot *free;
	uint64_t random_index;
};

/* False: it could not run to the end: no memory, or the device stopped answering (and keeps the memory for good). */
[[nodiscard]] bool sweep_run(struct sweep *sweep);

#endif
