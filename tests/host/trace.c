/*
 * See trace.h.
 */
#include <stdlib.h>

#include "trace.h"

struct trace_access *trace;
unsigned trace_count;

static unsigned room;

static void record(const struct host_region *region, const struct host_access *access)
{
	if (trace_count == room) {
		room = room ? 2 * room : 256;
		trace = realloc(trace, room * sizeof(trace[0]));
	}
	trace[trace_count++] = (struct trace_access){region, access->offset, access->value, access->width, access->write};
}

void trace_begin(void)
{
	trace_count = 0;
	host_access_hook = record;
}

void trace_end(void) { host_access_hook = NULL; }

unsigned trace_find(unsigned from, uint64_t base, bool write, uint64_t offset)
{
	while (from < trace_count && !(trace[from].region && trace[from].region->base == base && trace[from].write == write &&
	                               trace[from].offset == offset))
		from++;
	return from;
}
