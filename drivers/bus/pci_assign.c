/*
 * Placing what no firmware placed: BARs, and the memory windows of bridges on the way to them. What has an address keeps it.
 *
 * A function on a root bus gets the first free place of the platform's window. Behind bridges a window must be contiguous, so
 * the topmost bridge without one is given a window for all that is behind it at once: place_bus() runs over the tree twice, to measure
 * and then to commit. A bridge's window for anything is below 4 GiB. Its other one, for prefetchable memory, may be anywhere if it has 64 bits:
 * large BARs go there.
 */
#include <stdbool.h>
#include <stddef.h>

#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/log.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

#define WINDOW_STEP 0x100000u /* bridges forward whole MiBs */
#define RAM_STEP 0x1000000u   /* how far to go on when a place is over RAM */
#define BAR_MAX 0x40000000u   /* larger ones are in no bridge's window for anything */
#define LARGE 0x10000000u     /* larger ones are in its other window, if they can */
#define WINDOW_MAX 16u
#define TRIES 4096u
#define LEVEL_MAX 8u

struct range {
	uint64_t base, end; /* end == base: empty */
};

static unsigned bus_of(const struct pci_function *function) { return function->bdf >> 8; }

/* ---- bridges ---- */

/* Which window of a bridge: that for anything, or that for prefetchable memory. */
static uint16_t window_offset(bool large) { return large ? PCI_PREFETCH_WINDOW : PCI_MEMORY_WINDOW; }

static bool has_64_bits(const struct pci_function *bridge) { return (pci_read16(bridge, PCI_PREFETCH_WINDOW) & 0xf) == 1; }

static struct range window_of(const struct pci_function *bridge, bool large)
{
	uint32_t window = pci_read32(bridge, window_offset(large));
	uint64_t base = (uint64_t)(window & 0xfff0) << 16, end = window & 0xfff00000;

	if (large && has_64_bits(bridge)) {
		base |= (uint64_t)pci_read32(bridge, PCI_PREFETCH_BASE_HIGH) << 32;
		end |= (uint64_t)pci_read32(bridge, PCI_PREFETCH_LIMIT_HIGH) << 32;
	}
	end += WINDOW_STEP;
	/* Zero, as after a reset, is no window that firmware chose. */
	return base && base < end ? (struct range){base, end} : (struct range){0, 0};
}

static void open_window(const struct pci_function *bridge, bool large, struct range range)
{
	uint64_t last = range.end - 1;

	pci_write32(bridge, window_offset(large), ((uint32_t)range.base >> 16 & 0xfff0) | ((uint32_t)last & 0xfff00000));
	if (large) {
		pci_write32(bridge, PCI_PREFETCH_BASE_HIGH, (uint32_t)(range.base >> 32));
		pci_write32(bridge, PCI_PREFETCH_LIMIT_HIGH, (uint32_t)(last >> 32));
	}
	/* Closed: a base above the limit. As a reset leaves them they would forward the lowest addresses. */
	if (!window_of(bridge, !large).end)
		pci_write32(bridge, window_offset(!large), 0x0000fff0);
	if (!pci_read16(bridge, PCI_IO_WINDOW))
		pci_write16(bridge, PCI_IO_WINDOW, 0x00f0);
}

/* ---- measuring and placing all behind a bridge ---- */

struct placement {
	uint64_t next, alignment;
	bool large, commit;
};

static void place_bus(const struct pci_host *host, unsigned bus, struct placement *at, unsigned level);

static bool is_large(const struct pci_bar *bar) { return bar->is_64 && bar->prefetchable && bar->size > LARGE; }

static bool wants_place(const struct pci_bar *bar, bool large)
{
	return bar->kind == PCI_BAR_MEM && !bar->base && is_large(bar) == large && (large || bar->size <= BAR_MAX);
}

static void place_bars(struct pci_function *function, struct placement *at)
{
	pci_size(function, PCI_BAR_MEM);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		uint64_t size = function->bars[i].size;

		if (!wants_place(&function->bars[i], at->large))
			continue;
		at->next = ALIGN_UP(at->next, size);
		at->alignment = MAX(at->alignment, size);
		if (at->commit)
			pci_set_bar(function, i, at->next);
		at->next += size;
	}
}

static void place_behind(const struct pci_function *bridge, struct placement *at, unsigned level)
{
	struct placement inside = {.alignment = WINDOW_STEP, .large = at->large};
	uint64_t size;

	if (at->large && !has_64_bits(bridge))
		return;
	place_bus(bridge->host, bridge->secondary, &inside, level);
	size = ALIGN_UP(inside.next, (uint64_t)WINDOW_STEP);
	if (!size)
		return; /* nothing there wants memory */
	at->alignment = MAX(at->alignment, inside.alignment);
	at->next = ALIGN_UP(at->next, inside.alignment);
	if (at->commit) {
		inside = (struct placement){.next = at->next, .alignment = WINDOW_STEP, .large = at->large, .commit = true};
		place_bus(bridge->host, bridge->secondary, &inside, level);
		open_window(bridge, at->large, (struct range){at->next, at->next + size});
	}
	at->next += size;
}

/* Everything on a bus, its bridges with all that is behind them, from at->next on. */
static void place_bus(const struct pci_host *host, unsigned bus, struct placement *at, unsigned level)
{
	for (struct pci_function *function = pci_first(); function; function = function->next) {
		if (function->host != host || bus_of(function) != bus)
			continue;
		place_bars(function, at);
		if (function->secondary && level < LEVEL_MAX && !window_of(function, at->large).end)
			place_behind(function, at, level + 1);
	}
}

/* ---- finding room ---- */

static bool meets(uint64_t base, uint64_t size, struct range range) { return base < range.end && range.base < base + size; }

/* The end of something on the way of [base, base + size) for a function on that bus; 0: it is free. */
static uint64_t find_conflict(const struct pci_function *for_whom, enum pci_bar_kind kind, uint64_t base, uint64_t size)
{
	for (struct pci_function *other = pci_first(); other; other = other->next) {
		struct range windows[2] = {{0, 0}, {0, 0}};

		pci_size(other, kind);
		for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
			const struct pci_bar *bar = &other->bars[i];

			if (bar->kind == kind && bar->base && meets(base, size, (struct range){bar->base, bar->base + bar->size}))
				return bar->base + bar->size;
		}
		if (kind == PCI_BAR_MEM && other->secondary && bus_of(other) == bus_of(for_whom)) {
			windows[0] = window_of(other, false);
			windows[1] = window_of(other, true);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(windows); i++)
			if (meets(base, size, windows[i]))
				return windows[i].end;
	}
	return 0;
}

struct request {
	const struct pci_function *function;
	enum pci_bar_kind kind;
	uint64_t size, alignment;
	bool wide;  /* above 4 GiB as well */
	bool large; /* in the window for prefetchable memory, if it is behind a bridge */
};

static uint64_t find_room_in(const struct request *request, struct range range)
{
	uint64_t at = ALIGN_UP(range.base, request->alignment);

	if (!request->wide)
		range.end = MIN(range.end, UINT64_C(1) << 32);
	for (unsigned i = 0; i < TRIES && at >= range.base && at < range.end && request->size <= range.end - at; i++) {
		uint64_t conflict = find_conflict(request->function, request->kind, at, request->size);

		if (!conflict && (request->kind == PCI_BAR_IO || mmu_map_device(at, request->size)))
			return at;
		at = ALIGN_UP(conflict ? conflict : at + RAM_STEP, request->alignment);
	}
	return 0;
}

static uint64_t find_room_in_firmwares(const struct request *request)
{
	struct pci_window windows[WINDOW_MAX];
	unsigned count = pci_firmware_windows ? pci_firmware_windows(request->function, windows, WINDOW_MAX) : 0;
	uint64_t at = 0;

	for (unsigned i = 0; i < count && !at; i++)
		if (windows[i].ports == (request->kind == PCI_BAR_IO))
			at = find_room_in(request, (struct range){windows[i].base, windows[i].end});
	return at;
}

/* On a root bus: the platform's usual window first where it is a PC, so that no AML is run for what every PC has; else firmware's. */
static uint64_t find_room(const struct request *request)
{
	const struct pci_function *bridge = pci_bridge_to(request->function);
	bool usual_first = arch_pci_ports_present();
	struct range usual = {0, 0};
	uint64_t at = 0;

	if (bridge)
		return request->kind == PCI_BAR_MEM ? find_room_in(request, window_of(bridge, request->large)) : 0;
	arch_pci_window(request->kind == PCI_BAR_IO, &usual.base, &usual.end);
	if (usual_first)
		at = find_room_in(request, usual);
	if (!at)
		at = find_room_in_firmwares(request);
	if (!at && !usual_first)
		at = find_room_in(request, usual);
	return at;
}

/* Give the topmost bridge on the way that has no such window one for all that is behind it. False: there is no room (a line says so). */
static bool open_way(const struct pci_function *function, bool large)
{
	const struct pci_function *closed = NULL;
	struct placement placement = {.alignment = WINDOW_STEP, .large = large};
	uint64_t base;

	for (const struct pci_function *bridge = function; (bridge = pci_bridge_to(bridge));)
		if (!window_of(bridge, large).end)
			closed = bridge;
	if (closed)
		place_behind(closed, &placement, 0);
	if (!placement.next)
		return true;
	base = find_room(&(struct request){closed, PCI_BAR_MEM, placement.next, placement.alignment, large, large});
	placement = (struct placement){.next = base, .alignment = WINDOW_STEP, .large = large, .commit = true};
	if (base)
		place_behind(closed, &placement, 0);
	else
		log_warn("pci %s: no room for a window of this bridge", closed->name);
	return base;
}

void pci_assign(struct pci_function *function, enum pci_bar_kind kind)
{
	if (kind == PCI_BAR_MEM && (!open_way(function, false) || !open_way(function, true)))
		return;
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		const struct pci_bar *bar = &function->bars[i];
		uint64_t base;

		if (bar->kind != kind || bar->base)
			continue;
		base = find_room(&(struct request){function, kind, bar->size, bar->size, bar->is_64, is_large(bar)});
		if (base)
			pci_set_bar(function, i, base);
		else /* what needs the BAR says so; ports behind bridges are not assigned */
			log_line(kind == PCI_BAR_IO ? LOG_DEBUG : LOG_WARN, "pci %s: no room for BAR %u, %#llx bytes",
			         function->name, i, (unsigned long long)bar->size);
	}
}
