/*
 * Buffers of the software device: chains of segments, and the copying in and out of them. Each address is checked against the
 * memory that the driver's side owns, when the chain is taken and again at each access: it may have been freed meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"

struct swdev_chain *swdev_chain_new(struct swdev_queue *queue)
{
	struct swdev_chain *chain = calloc(1, sizeof(*chain));

	chain->queue = queue;
	return chain;
}

void swdev_chain_free(struct swdev_chain *chain)
{
	free(chain->copy);
	free(chain->segments);
	free(chain);
}

/* "Message Framing": what is device-writable comes after what is device-readable. */
bool swdev_chain_add(struct swdev_chain *chain, uint64_t address, uint32_t length, bool writable)
{
	struct swdev *dev = chain->queue->dev;
	unsigned count = chain->readable + chain->writable;

	if (!writable && chain->writable) {
		swdev_violation(dev, "queue %u: a device-readable element behind a device-writable one", chain->queue->index);
		return false;
	}
	if (length == 0) {
		swdev_violation(dev, "queue %u: an element of no bytes", chain->queue->index);
		return false;
	}
	if (!swdev_memory(dev, address, length, "an element"))
		return false;
	if (count == chain->capacity) {
		chain->capacity = chain->capacity ? 2 * chain->capacity : 4;
		chain->segments = realloc(chain->segments, chain->capacity * sizeof(chain->segments[0]));
	}
	chain->segments[count] = (struct swdev_segment){address, length};
	if (writable) {
		chain->writable++;
		chain->writable_bytes += length;
	} else {
		chain->readable++;
		chain->readable_bytes += length;
	}
	if (chain->readable_bytes + chain->writable_bytes > (uint64_t)1 << 32) {
		swdev_violation(dev, "queue %u: a chain of more than 2^32 bytes", chain->queue->index);
		return false;
	}
	return true;
}

static size_t copy(const struct swdev_chain *chain, bool write, uint64_t offset, void *bytes, size_t length)
{
	unsigned count = write ? chain->writable : chain->readable;
	const struct swdev_segment *segment = count ? chain->segments + (write ? chain->readable : 0) : NULL;
	size_t done = 0;

	for (; count && done < length; count--, segment++) {
		size_t part = segment->length - offset;
		uint8_t *memory;

		if (offset >= segment->length) {
			offset -= segment->length;
			continue;
		}
		if (part > length - done)
			part = length - done;
		memory = swdev_memory(chain->queue->dev, segment->address, segment->length, "an element in flight");
		if (!memory)
			break;
		if (write)
			memcpy(memory + offset, (uint8_t *)bytes + done, part);
		else
			memcpy((uint8_t *)bytes + done, memory + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t swdev_chain_read(const struct swdev_chain *chain, uint64_t offset, void *to, size_t length)
{
	return copy(chain, false, offset, to, length);
}

size_t swdev_chain_write(const struct swdev_chain *chain, uint64_t offset, const void *from, size_t length)
{
	return copy(chain, true, offset, (void *)(uintptr_t)from, length);
}
