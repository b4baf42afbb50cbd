/*
 * What a driver does to registers, in the order in which it does it: for tests that are about sequences.
 */
#ifndef TRACE_H
#define TRACE_H

#include <host.h>

struct trace_access {
	const struct host_region *region; /* NULL: nothing is there */
	uint64_t offset, value;
	unsigned width;
	bool write;
};
extern struct trace_access *trace;
extern unsigned trace_count;

/* Record from now on, from index 0; stop. What is recorded stays until the next trace_begin(). */
void trace_begin(void);
void trace_end(void);

/* The first access of that kind to an offset of registers at `base`, from index `from` on; trace_count: none. */
unsigned trace_find(unsigned from, uint64_t base, bool write, uint64_t offset);

#endif
