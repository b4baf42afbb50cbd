/*
 * The model of the software device: status, features, configuration space and queues, as "Basic Facilities of a Virtio Device" and
 * "General Initialization And Device Operation" have them from the device's side. Fronts translate register accesses
 * into calls of these functions; what the driver may not do at that moment is a violation.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"

void swdev_violation(struct swdev *dev, const char *format, ...)
{
	char text[sizeof(dev->first_violation)] = "";
	va_list args;

	if (dev->removed || (dev->quiet && dev->violations++))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!dev->first_violation[0])
		memcpy(dev->first_violation, text, sizeof(text));
	if (!dev->quiet && dev->violations++ < 20)
		fprintf(stderr, "# violation by the driver of %s (%s): %s\n", dev->type->name,
		        dev->front ? dev->front->name : "-", text);
	if (!dev->quiet && getenv("SWDEV_ABORT"))
		abort();
}

uint64_t swdev_random(struct swdev *dev)
{
	dev->seed ^= dev->seed << 13;
	dev->seed ^= dev->seed >> 7;
	dev->seed ^= dev->seed << 17;
	return dev->seed;
}

/* ---- status: "Device Status Field", "Device Initialization" ---- */

static void reset(struct swdev *dev)
{
	dev->resets++;
	dev->status = 0;
	dev->accepted = 0;
	dev->features_ok_seen = dev->reset_seen = false;
	dev->config_vector = 0xffff;
	dev->isr = 0;
	if (dev->front && dev->front->acknowledged)
		dev->front->acknowledged(dev);
	for (unsigned i = 0; i < dev->queue_count; i++) {
		swdev_queue_disable(&dev->queues[i]);
		dev->queues[i].size = dev->queues[i].max;
		dev->queues[i].descriptor_area = dev->queues[i].driver_area = dev->queues[i].device_area = 0;
		dev->queues[i].told_max = 0;
		dev->queues[i].vector = 0xffff;
		dev->queues[i].was_reset = false;
	}
	if (dev->type->reset)
		dev->type->reset(dev);
}

uint8_t swdev_status_read(struct swdev *dev)
{
	uint8_t told = (uint8_t)swdev_tell(dev, REG_STATUS, 0, dev->status);

	if (dev->status & ST_FEATURES_OK || !(told & ST_FEATURES_OK))
		dev->features_ok_seen = true;
	if (told == 0)
		dev->reset_seen = true;
	return dev->removed ? 0xff : told;
}

static bool features_acceptable(struct swdev *dev)
{
	const struct swdev_rule *rule = dev->type->rules;

	if (dev->accepted & ~dev->told_features)
		swdev_violation(dev, "accepted features %#llx that were not offered",
		                (unsigned long long)(dev->accepted & ~dev->told_features));
	for (; rule && rule->needs_any; rule++)
		if (dev->accepted & FEATURE(rule->bit) && !(dev->accepted & rule->needs_any))
			swdev_violation(dev, "accepted feature %u without one that it requires", rule->bit);
	if (!dev->legacy && !(dev->accepted & FEATURE(F_VERSION_1)) && dev->told_features & FEATURE(F_VERSION_1))
		swdev_violation(dev, "did not accept VIRTIO_F_VERSION_1");
	return !(dev->accepted & ~dev->offered) && (dev->legacy || dev->accepted & FEATURE(F_VERSION_1));
}

/* The bits that a driver adds, one step at a time, and what must be there before. */
static void check_status_step(struct swdev *dev, uint8_t status)
{
	uint8_t known = ST_ACKNOWLEDGE | ST_DRIVER | ST_DRIVER_OK | ST_FAILED | ST_NEEDS_RESET;
	uint8_t before = dev->status & (uint8_t)~ST_NEEDS_RESET;
	uint8_t added = (uint8_t)(status & ~dev->status & ~ST_NEEDS_RESET);

	known |= dev->legacy ? 0 : ST_FEATURES_OK;
	if (swdev_has(dev, F_SUSPEND) && (before & ST_DRIVER_OK || before & ST_SUSPEND))
		known |= ST_SUSPEND; /* "Device Suspend": of a device that runs, where it was negotiated */
	if (before & ~status)
		swdev_violation(dev, "status %#x -> %#x clears a bit", dev->status, status);
	if (status & ~known)
		swdev_violation(dev, "status %#x has an undefined bit", status);
	if (added & (added - 1))
		swdev_violation(dev, "status %#x -> %#x sets several bits at once", dev->status, status);
	if (dev->resets == 0)
		swdev_violation(dev, "status %#x written before the first reset", status);
	if (dev->resets && !dev->reset_seen)
		swdev_violation(dev, "status %#x written before the reset was read back as 0", status);
	if (dev->status & ST_FAILED && added)
		swdev_violation(dev, "status %#x written after FAILED, without a reset", status);
	if (added & ST_DRIVER && !(before & ST_ACKNOWLEDGE))
		swdev_violation(dev, "DRIVER without ACKNOWLEDGE");
	if (added & ST_FEATURES_OK && !(before & ST_DRIVER))
		swdev_violation(dev, "FEATURES_OK without DRIVER");
	if (added & ST_DRIVER_OK && !(before & (dev->legacy ? ST_DRIVER : ST_FEATURES_OK)))
		swdev_violation(dev, "DRIVER_OK too early, status was %#x", before);
	if (added & ST_DRIVER_OK && !dev->legacy && !dev->features_ok_seen)
		swdev_violation(dev, "FEATURES_OK was not read back");
}

/* "Device Suspend": it finishes what it has, then shows SUSPEND alone; told to run again, DRIVER_OK alone. */
static uint8_t suspend_or_resume(struct swdev *dev, uint8_t status)
{
	if (dev->status & ST_SUSPEND && status & ST_DRIVER_OK) {
		dev->status = status & (uint8_t)~ST_SUSPEND;
		if (dev->config_change_waits)
			swdev_config_changed(dev);
		return dev->status;
	}
	if (dev->status & ST_DRIVER_OK) {
		swdev_look(dev, false);
		for (unsigned i = 0; i < dev->queue_count; i++)
			dev->queues[i].left = dev->queues[i].enabled && swdev_ring(&dev->queues[i])->pending(&dev->queues[i]);
		dev->config_change_waits = false;
	}
	return status & (uint8_t)~ST_DRIVER_OK;
}

void swdev_status_write(struct swdev *dev, uint8_t status)
{
	if (dev->removed)
		return;
	if (status == 0) {
		reset(dev);
		return;
	}
	if (!(dev->lie && dev->lie->reg == REG_STATUS))
		check_status_step(dev, status);
	if (!dev->legacy && status & ST_FEATURES_OK && !(dev->status & ST_FEATURES_OK)) {
		dev->features_ok_seen = false;
		if (!features_acceptable(dev))
			status &= (uint8_t)~ST_FEATURES_OK;
	}
	if (dev->legacy && status & ST_DRIVER_OK)
		features_acceptable(dev);
	if (status & ST_SUSPEND && swdev_has(dev, F_SUSPEND))
		status = suspend_or_resume(dev, status);
	/* DEVICE_NEEDS_RESET is the device's alone. */
	dev->status = (uint8_t)((status & ~ST_NEEDS_RESET) | (dev->status & ST_NEEDS_RESET));
}

/* ---- "Feature Bits" ---- */

uint32_t swdev_features_read(struct swdev *dev, uint32_t word)
{
	uint32_t honest = word < 2 ? (uint32_t)(dev->offered >> (32 * word)) : 0;
	uint32_t told = swdev_tell(dev, REG_FEATURES, word, honest);

	if (word < 2) {
		dev->told_features &= ~((uint64_t)UINT32_MAX << (32 * word));
		dev->told_features |= (uint64_t)told << (32 * word);
	}
	return told;
}

void swdev_features_write(struct swdev *dev, uint32_t word, uint32_t bits)
{
	if (dev->removed)
		return;
	if (!(dev->status & ST_DRIVER))
		swdev_violation(dev, "features written before DRIVER");
	if (dev->status & (ST_FEATURES_OK | ST_DRIVER_OK))
		swdev_violation(dev, "features written after FEATURES_OK");
	if (word > 1) {
		if (bits)
			swdev_violation(dev, "features %#x written to word %u", bits, word);
		return;
	}
	dev->accepted &= ~((uint64_t)UINT32_MAX << (32 * word));
	dev->accepted |= (uint64_t)bits << (32 * word);
}

/* ---- "Device Configuration Space" ---- */

static void check_config_access(struct swdev *dev, uint32_t offset, unsigned width, bool write)
{
	const struct swdev_field *field = dev->type->fields;
	const char *what = write ? "write" : "read";
	uint32_t in;

	if (dev->legacy)
		return;
	for (; field && field->width; field++)
		if (offset >= field->offset && offset < (uint32_t)field->offset + field->width * field->count)
			break;
	if (!field || !field->width) {
		swdev_violation(dev, "config %s of %u bytes at %u: no field there", what, width, offset);
		return;
	}
	in = (offset - field->offset) % field->width;
	if (!(width == field->width && in == 0) && !(field->width == 8 && width == 4 && in % 4 == 0) &&
	    !(field->is_union && offset % width == 0))
		swdev_violation(dev, "config %s of %u bytes at %u: the field has %u bytes", what, width, offset, field->width);
	if (field->any_of ? !(dev->told_features & field->any_of)
	                  : field->feature >= 0 && !(dev->told_features & FEATURE((unsigned)field->feature)))
		swdev_violation(dev, "config %s at %u: feature %d is not offered", what, offset, field->feature);
	if (write && !field->writable)
		swdev_violation(dev, "config write at %u: the field is read-only", offset);
	if (write && !field->any_time && !dev->legacy && !(dev->status & (ST_FEATURES_OK | ST_DRIVER_OK)))
		swdev_violation(dev, "config write at %u before FEATURES_OK", offset);
	if (!write && field->after_features_ok && !dev->legacy && !(dev->status & ST_FEATURES_OK))
		swdev_violation(dev, "config read at %u before FEATURES_OK", offset);
}

uint32_t swdev_config_read(struct swdev *dev, uint32_t offset, unsigned width)
{
	uint32_t value = 0;

	check_config_access(dev, offset, width, false);
	for (unsigned i = 0; i < width && offset + i < sizeof(dev->config); i++)
		value |= (uint32_t)dev->config[offset + i] << (8 * i);
	if (dev->config_dirty) {
		dev->generation++;
		dev->config_dirty = false;
	}
	return swdev_tell(dev, REG_CONFIG, offset, value);
}

void swdev_config_write(struct swdev *dev, uint32_t offset, unsigned width, uint32_t value)
{
	if (dev->removed)
		return;
	check_config_access(dev, offset, width, true);
	if (dev->status & ST_SUSPEND)
		swdev_violation(dev, "config write at %u while suspended", offset);
	for (unsigned i = 0; i < width && offset + i < sizeof(dev->config); i++)
		dev->config[offset + i] = (uint8_t)(value >> (8 * i));
	if (dev->type->config_written)
		dev->type->config_written(dev, offset);
}

uint32_t swdev_generation_read(struct swdev *dev) { return swdev_tell(dev, REG_GENERATION, 0, dev->generation & 0xff); }

uint32_t swdev_isr_read(struct swdev *dev, bool clear)
{
	uint8_t isr = dev->isr;

	if (clear)
		swdev_isr_clear(dev, isr);
	return swdev_tell(dev, REG_ISR, 0, isr);
}

void swdev_isr_clear(struct swdev *dev, uint8_t bits)
{
	dev->isr &= (uint8_t)~bits;
	if (!dev->isr && dev->front->acknowledged)
		dev->front->acknowledged(dev);
}

void swdev_config_changed(struct swdev *dev)
{
	dev->config_dirty = false;
	dev->generation++;
	dev->config_change_waits = dev->status & ST_SUSPEND;
	if (dev->status & ST_DRIVER_OK && !dev->no_interrupts)
		dev->front->interrupt(dev, NULL);
}

void swdev_needs_reset(struct swdev *dev)
{
	dev->status |= ST_NEEDS_RESET;
	if (dev->status & ST_DRIVER_OK && !dev->no_interrupts)
		dev->front->interrupt(dev, NULL);
}

void swdev_remove_by_surprise(struct swdev *dev)
{
	reset(dev);
	dev->removed = true;
}
