/*
 * What a driver does to registers, in the order in which it does it: for tests that are about sequences.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "swdev.h"

struct trace_access {
	uint64_t base, offset, value; /* of the region, in it; base 0: nothing is there */
	unsigned width;
	bool write;
};
extern struct trace_access *trace;
extern unsigned trace_count;

/* Record from index 0 on; stop. What is recorded stays until the next trace_begin(). */
void trace_begin(void);
void trace_end(void);

/* The first access of that kind to a register, from index `from` on; trace_count: none. */
unsigned trace_find(unsigned from, uint64_t base, bool write, uint64_t offset);

/* Of a device behind the modern interface of the fronts mmio and pci: where its registers are, what an access to one is about. */
enum trace_kind {
	TRACE_OTHER,
	TRACE_STATUS,
	TRACE_FEATURES_OFFERED,
	TRACE_FEATURES_ACCEPTED,
	TRACE_QUEUE,
	TRACE_NOTIFY,
	TRACE_CONFIG,
};
uint64_t trace_base(const struct swdev *dev);
enum trace_kind trace_kind(const struct swdev *dev, const struct trace_access *access);

#endif
