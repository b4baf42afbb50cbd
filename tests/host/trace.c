/*
 * See trace.h.
 */
#include <stdlib.h>
#include <string.h>

#include <host.h>
#include <virtio/virtio.h>

#include "swdev_pci.h"
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
	trace[trace_count++] = (struct trace_access){region ? region->base : 0, access->offset, access->value, access->width,
	                                             access->write};
}

void trace_begin(void)
{
	trace_count = 0;
	host_access_hook = record;
}

void trace_end(void) { host_access_hook = NULL; }

unsigned trace_find(unsigned from, uint64_t base, bool write, uint64_t offset)
{
	while (from < trace_count && !(trace[from].base == base && trace[from].write == write && trace[from].offset == offset))
		from++;
	return from;
}

/* "MMIO Device Register Layout" */
static enum trace_kind mmio_kind(uint64_t offset)
{
	switch (offset) {
	case 0x10:
		return TRACE_FEATURES_OFFERED;
	case 0x20:
		return TRACE_FEATURES_ACCEPTED;
	case 0x30: /* QueueSel, QueueSizeMax, QueueSize, QueueReady, QueueReset; and the areas */
	case 0x34:
	case 0x38:
	case 0x44:
	case 0xc0:
		return TRACE_QUEUE;
	case 0x50:
		return TRACE_NOTIFY;
	case 0x70:
		return TRACE_STATUS;
	}
	return offset >= 0x80 && offset < 0xa8 ? TRACE_QUEUE : offset >= 0x100 ? TRACE_CONFIG : TRACE_OTHER;
}

/* "Common configuration structure layout", and where the swdev has the other structures */
static enum trace_kind pci_kind(uint64_t offset)
{
	switch (offset) {
	case 4:
		return TRACE_FEATURES_OFFERED;
	case 12:
		return TRACE_FEATURES_ACCEPTED;
	case 20:
		return TRACE_STATUS;
	}
	if (offset >= 22 && offset < ISR_AT)
		return TRACE_QUEUE;
	return offset >= NOTIFY_AT ? TRACE_NOTIFY : offset >= DEVICE_AT ? TRACE_CONFIG : TRACE_OTHER;
}

uint64_t trace_base(const struct swdev *dev)
{
	const struct swdev_pci *pci = dev->front_state;

	return dev->front == &swdev_pci ? pci->bars[4].base : strtoull(dev->vdev->address + strlen("mmio@"), NULL, 16);
}

enum trace_kind trace_kind(const struct swdev *dev, const struct trace_access *access)
{
	if (access->base != trace_base(dev))
		return TRACE_OTHER;
	return dev->front == &swdev_pci ? pci_kind(access->offset) : mmio_kind(access->offset);
}
