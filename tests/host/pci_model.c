/*
 * The model of configuration space. See pci_model.h.
 */
#include "check.h"

#include <base/program.h>

#include "pci_model.h"

struct model_function model[MODEL_MAX];
unsigned model_count, model_accesses, model_live_bar_writes, model_command_changes, model_stray_writes;

void model_put(struct model_function *function, unsigned offset, uint32_t value, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		function->space[offset + i] = (uint8_t)(value >> 8 * i);
}

uint32_t model_get(const struct model_function *function, unsigned offset, unsigned width)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value |= (uint32_t)function->space[offset + i] << 8 * i;
	return value;
}

static bool is_bridge(const struct model_function *function) { return (function->space[0x0e] & 0x7f) == 1; }

/* Whether an access to that bus arrives at the bus of `function`. */
static bool routed(const struct model_function *function, unsigned bus)
{
	const struct model_function *bridge = function->above;

	if (!bridge)
		return bus == 0;
	if (!bus || bridge->space[0x19] != bus)
		return false;
	for (bridge = bridge->above; bridge; bridge = bridge->above)
		if (bus <= bridge->space[0x19] || bus > bridge->space[0x1a])
			return false;
	return true;
}

static struct model_function *find(uint16_t bdf)
{
	for (unsigned i = 0; i < model_count; i++)
		if (model[i].device_function == (bdf & 0xff) && routed(&model[i], bdf >> 8))
			return &model[i];
	return NULL;
}

static uint32_t read_config(void *context, uint16_t bdf, uint16_t offset, unsigned width)
{
	const struct model_function *function = find(bdf);

	(void)context;
	model_accesses++;
	return function ? model_get(function, offset, width) : UINT32_MAX;
}

/* Whether the BAR's address is in use. One that takes to be of another kind is in use as neither. */
static bool decodes(const struct model_function *function, unsigned bar)
{
	bool is_upper_half = bar > 0x10 && (function->space[bar - 4] & 7) == 4;

	if (function->writable[bar] & 1 && !is_upper_half)
		return false;
	return function->space[4] & (function->space[bar] & 1 && !is_upper_half ? 1 : 2);
}

static void write_config(void *context, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
	struct model_function *function = find(bdf);
	unsigned bars_end = function && is_bridge(function) ? 0x18 : 0x28;

	(void)context;
	model_accesses++;
	if (!function) {
		model_stray_writes++;
		return;
	}
	if (offset >= 0x10 && offset < bars_end && decodes(function, offset & ~3u))
		model_live_bar_writes++;
	if (offset == 4 && (function->space[4] ^ value) & 7)
		model_command_changes++;
	for (unsigned i = 0; i < width; i++) {
		uint8_t mask = function->writable[offset + i];

		function->space[offset + i] = (uint8_t)((function->space[offset + i] & ~mask) |
		                                        ((uint8_t)(value >> 8 * i) & mask));
	}
}

void model_start(void)
{
	memset(model, 0, sizeof(model));
	model_count = model_accesses = model_live_bar_writes = model_command_changes = model_stray_writes = 0;
	host_pci_ports_set(read_config, write_config, NULL);
}

struct model_function *model_add(struct model_function *above, unsigned device, unsigned function, uint16_t vendor, uint16_t id)
{
	struct model_function *new = &model[model_count++];

	assert_true(model_count <= MODEL_MAX);
	new->above = above;
	new->device_function = (uint8_t)(device << 3 | function);
	model_put(new, 0, vendor, 2);
	model_put(new, 2, id, 2);
	memset(new->writable + 4, 0xff, 2);
	new->next_capability = 0x40;
	new->last_link = 0x34;
	return new;
}

struct model_function *model_add_bridge(struct model_function *above, unsigned device, unsigned secondary, unsigned subordinate)
{
	struct model_function *bridge = model_add(above, device, 0, 0x1b36, 0x000c);

	model_put(bridge, 0x08, 0x06040000, 4);
	bridge->space[0x0e] = 1;
	bridge->space[0x19] = (uint8_t)secondary;
	bridge->space[0x1a] = (uint8_t)subordinate;
	memset(bridge->writable + 0x18, 0xff, 3);
	memset(bridge->writable + 0x1c, 0xf0, 2);
	for (unsigned i = 0x20; i < 0x28; i += 2) {
		bridge->writable[i] = 0xf0;
		bridge->writable[i + 1] = 0xff;
	}
	return bridge;
}

void model_bar(struct model_function *function, unsigned index, uint64_t size, unsigned flags, uint64_t base)
{
	unsigned offset = 0x10 + 4 * index, width = flags & 4 ? 8 : 4;
	uint64_t mask = -size & ~(flags & 1 ? UINT64_C(3) : UINT64_C(15));

	for (unsigned i = 0; i < width; i++) {
		function->writable[offset + i] = (uint8_t)(mask >> 8 * i);
		function->space[offset + i] = (uint8_t)(base >> 8 * i);
	}
	function->space[offset] |= (uint8_t)flags;
}

unsigned model_capability(struct model_function *function, uint8_t id, const void *body, unsigned bytes)
{
	unsigned position = function->next_capability;

	function->space[6] |= 0x10;
	function->space[function->last_link] = (uint8_t)position;
	function->space[position] = id;
	memcpy(function->space + position + 2, body, bytes);
	function->last_link = position + 1;
	function->next_capability = (position + 2 + bytes + 3) & ~3u;
	assert_true(function->next_capability <= 256);
	return position;
}

void model_scan(void)
{
	LINKER_FOR_EACH (vireo_discoveries, discovery)
		if (strcmp((*discovery)->name, "pci") == 0)
			(*discovery)->scan();
}

struct pci_function *model_found(const char *name)
{
	for (struct pci_function *function = pci_first(); function; function = function->next)
		if (strcmp(function->name, name) == 0)
			return function;
	return NULL;
}

unsigned model_found_count(void)
{
	unsigned count = 0;

	for (const struct pci_function *function = pci_first(); function; function = function->next)
		count++;
	return count;
}
