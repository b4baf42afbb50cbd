/*
 * The software device in its machine: plugging and unplugging, memory, the looks at idle, and the telling of lies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cmdline.h>
#include <base/poison.h>
#include <host.h>

#include "swdev_impl.h"
#include "swdev_types.h"

static struct swdev *plugged;
unsigned swdev_lies_told;
const uint64_t swdev_layouts[2] = {0, FEATURE(F_RING_PACKED)};

/* ---- memory ---- */

void *swdev_memory(struct swdev *dev, uint64_t address, uint64_t length, const char *what)
{
	const char *what_else = "that is not RAM";

	if (dev->translate)
		address = dev->translate(dev, address, length);
	if (length && host_is_ram(address, length)) {
		if (!memory_is_poisoned((void *)(uintptr_t)address, length)) /* lib/page.c poisons what is free */
			return (void *)(uintptr_t)address;
		what_else = "it is free, or beyond the end of an allocation";
	}
	swdev_violation(dev, "%s at %#llx, %llu bytes: %s", what, (unsigned long long)address, (unsigned long long)length,
	                what_else);
	return NULL;
}

/* ---- lies ---- */

static uint32_t operate(const struct swdev_lie *lie, unsigned told, uint32_t honest)
{
	switch (lie->op) {
	case OP_SET:
		return lie->value;
	case OP_OR:
		return honest | lie->value;
	case OP_CLEAR:
		return honest & ~lie->value;
	case OP_XOR:
		return honest ^ lie->value;
	case OP_ADD:
		return honest + lie->value;
	case OP_COUNT:
		return honest + told * lie->value;
	case OP_TOGGLE:
		return told % 2 ? honest ^ lie->value : honest;
	}
	return honest;
}

/* Whether this occasion is one to lie at. */
static bool lie_now(struct swdev *dev)
{
	unsigned occasion = dev->lie_occasions++;

	if (occasion < dev->lie->after || (dev->lie->times && occasion - dev->lie->after >= dev->lie->times))
		return false;
	dev->lies_told++;
	return true;
}

uint32_t swdev_tell(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	const struct swdev_lie *lie = dev->lie;

	if (dev->removed)
		return UINT32_MAX;
	if (lie && lie->at_read)
		honest = lie->at_read(dev, reg, index, honest);
	if (!lie || lie->reg != reg || (lie->index >= 0 && (unsigned)lie->index != index) || !lie_now(dev))
		return honest;
	return operate(lie, dev->lies_told, honest);
}

void swdev_tell_used(struct swdev_queue *queue, struct swdev_used_entry *entry)
{
	struct swdev *dev = queue->dev;
	const struct swdev_lie *lie = dev->lie;
	struct swdev_used_entry honest = *entry;

	if (!lie || !(lie->used || lie->at_used) || !lie_now(dev))
		return;
	if (lie->at_used)
		lie->at_used(queue, entry);
	switch (lie->used) {
	case USED_ID:
		entry->id = operate(lie, dev->lies_told, entry->id);
		break;
	case USED_LENGTH:
		entry->length = operate(lie, dev->lies_told, entry->length);
		break;
	case USED_STEP:
		entry->step = (uint16_t)operate(lie, dev->lies_told, entry->step);
		break;
	case USED_FLAGS:
		entry->flags = (uint16_t)lie->value;
		break;
	case USED_ENTRY:
		entry->write_entry = false;
		break;
	case USED_NOTHING:
		break;
	}
	/* The id of the only request there is, say, is no lie. */
	if (lie->used != USED_ENTRY && entry->id == honest.id && entry->length == honest.length && entry->step == honest.step &&
	    entry->flags == honest.flags)
		dev->lies_told--;
}

/* ---- looks ---- */

static uint64_t progress(void)
{
	uint64_t sum = 0;

	for (struct swdev *dev = plugged; dev; dev = dev->next)
		for (unsigned i = 0; i < dev->queue_count; i++)
			sum += dev->queues[i].buffers_taken + dev->queues[i].buffers_used + dev->queues[i].interrupts;
	return sum;
}

void swdev_look_all(bool idle)
{
	for (struct swdev *dev = plugged; dev; dev = dev->next)
		swdev_look(dev, idle);
}

/* The CPU sleeps when its loop has nothing left to do: then all kicks have been made. When it only spins, they may be on their way. */
static bool look_at_idle(void)
{
	static uint64_t idles;
	uint64_t before = progress();
	bool idle = host_idle_count() != idles;

	host_clock_advance(10000); /* looking takes time: a device that never rests does not stop the clock */

	idles = host_idle_count();
	swdev_look_all(idle);
	return progress() != before;
}

/* ---- life ---- */

void swdev_machine(size_t ram_bytes)
{
	host_boot(ram_bytes);
	host_clock_set(1000000);
	host_console_capture(true);
	host_idle_hook = look_at_idle;
	cmdline_init("");
}

struct swdev *swdev_new(const struct swdev_type *type)
{
	struct swdev *dev = calloc(1, sizeof(*dev));

	dev->type = type;
	dev->offered = type->features | FEATURE(F_VERSION_1) | FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX);
	dev->config_size = type->config_size;
	dev->queue_count = type->queues;
	dev->queues = calloc(type->queues, sizeof(dev->queues[0]));
	dev->vectors = (uint16_t)(type->queues + 1);
	dev->structures_bar = 4;
	dev->config_vector = 0xffff;
	dev->seed = 0x9e3779b97f4a7c15;
	for (uint16_t i = 0; i < type->queues; i++) {
		dev->queues[i].dev = dev;
		dev->queues[i].index = i;
		dev->queues[i].max = 256;
		dev->queues[i].vector = 0xffff;
		swdev_queue_disable(&dev->queues[i]);
	}
	type->init(dev);
	return dev;
}

int swdev_plug(struct swdev *dev, const struct swdev_front *front)
{
	dev->front = front;
	if (dev->legacy)
		dev->offered &= UINT32_MAX;
	if (dev->lie && dev->lie->setup)
		dev->lie->setup(dev);
	for (unsigned i = 0; i < dev->queue_count; i++)
		dev->queues[i].size = dev->queues[i].max;
	dev->next = plugged;
	plugged = dev;
	return front->plug(dev);
}

unsigned swdev_unplug(struct swdev *dev)
{
	struct swdev **at = &plugged;
	unsigned violations;

	dev->front->unplug(dev);
	while (*at != dev)
		at = &(*at)->next;
	*at = dev->next;
	if (dev->status & ST_DRIVER_OK)
		swdev_violation(dev, "it was left running");
	violations = dev->violations;
	swdev_lies_told = dev->lies_told;
	for (unsigned i = 0; i < dev->queue_count; i++)
		swdev_queue_disable(&dev->queues[i]);
	dev->type->free(dev);
	free(dev->queues);
	free(dev);
	return violations;
}
