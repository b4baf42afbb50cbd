/*
 * Device trees: what libfdt leaves to its callers, that is cells, addresses and interrupts.
 *
 * libfdt checks each offset against the tree's size; here it is the lengths of properties that are checked, and numbers of cells, which
 * the tree chooses. A node is its offset in the tree.
 */
#include <base/dt.h>

#include <string.h>

#include <libfdt.h>

#include <base/log.h>
#include <base/util.h>

#define DEPTH_MAX 16 /* of nodes on the way up to the root */

_Static_assert(DT_HEADER == sizeof(struct fdt_header), "the header of a tree");

static const void *tree;

size_t dt_size(const void *blob) { return fdt_magic(blob) == FDT_MAGIC ? fdt_totalsize(blob) : 0; }

bool dt_open_blob(const void *blob, size_t size)
{
	const char *problem = NULL;
	int error;

	if (size < DT_HEADER || !dt_size(blob))
		problem = "no header";
	else if (dt_size(blob) > size)
		problem = "cut short";
	else if ((error = fdt_check_header(blob)) != 0)
		problem = error == -FDT_ERR_TRUNCATED ? "cut short" : "bad header";
	else if ((uintptr_t)blob % sizeof(fdt64_t) || fdt_off_dt_struct(blob) % sizeof(fdt32_t))
		problem = "not aligned"; /* which libfdt counts on */
	if (problem)
		log_warn("device tree: %s, ignored", problem);
	else
		tree = blob;
	return !problem;
}

static bool enabled(int node)
{
	const char *status = fdt_getprop(tree, node, "status", NULL);

	return !status || strcmp(status, "okay") == 0 || strcmp(status, "ok") == 0;
}

int dt_find(int after, const char *compatible)
{
	int node = after;

	do {
		node = fdt_node_offset_by_compatible(tree, node, compatible);
	} while (node >= 0 && !enabled(node));
	if (node < 0 && node != -FDT_ERR_NOTFOUND)
		log_warn("device tree: damaged (error %d), the rest of it is ignored", -node);
	return node < 0 ? DT_NONE : node;
}

const char *dt_name(int node)
{
	const char *name = fdt_get_name(tree, node, NULL);

	return name ? name : "?";
}

/* ---- cells ---- */

/* A property as cells: *count of them; NULL: none. */
static const fdt32_t *cells_of(int node, const char *property, unsigned *count)
{
	int length = 0;
	const void *value = fdt_getprop(tree, node, property, &length);

	*count = value && length > 0 ? (unsigned)length / sizeof(fdt32_t) : 0;
	return value;
}

bool dt_cell(int node, const char *property, unsigned index, uint32_t *value)
{
	unsigned count;
	const fdt32_t *cells = cells_of(node, property, &count);

	if (index >= count)
		return false;
	*value = fdt32_ld(cells + index);
	return true;
}

/* A number of one or two cells; of more, the last two: what stands before them is for a bus to explain. */
static uint64_t number(const fdt32_t *cells, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++)
		value = value << 32 | fdt32_ld(cells + i);
	return value;
}

/* #address-cells or #size-cells, as far as it can be. */
static unsigned cell_count(int node, const char *property, unsigned fallback, unsigned max)
{
	uint32_t value = fallback;

	dt_cell(node, property, 0, &value);
	return MIN(value, max);
}

static unsigned address_cells(int node) { return cell_count(node, "#address-cells", 2, 3); }

static unsigned size_cells(int node) { return cell_count(node, "#size-cells", 1, 2); }

static unsigned interrupt_cells(int node) { return cell_count(node, "#interrupt-cells", 1, DT_INTERRUPT_CELLS); }

/* ---- addresses ---- */

/* An address on the bus that `bus` is, as its parent sees it. False: it passes nothing on, or not that. */
static bool translate(int bus, int parent, uint64_t *address, uint64_t size)
{
	const unsigned own = address_cells(bus), above = address_cells(parent), length = size_cells(bus);
	unsigned count;
	const fdt32_t *at = cells_of(bus, "ranges", &count);

	if (at && !count)
		return true; /* the same on both sides */
	for (unsigned step = own + above + length; at && step && count >= step; at += step, count -= step) {
		uint64_t base = number(at, own), span = number(at + own + above, length);

		if (*address >= base && *address - base < span && size <= span - (*address - base)) {
			*address = *address - base + number(at + own, above);
			return true;
		}
	}
	return false;
}

bool dt_reg(int node, unsigned index, uint64_t *base, uint64_t *size)
{
	int parent = fdt_parent_offset(tree, node);
	unsigned count, own, step;
	const fdt32_t *cells;

	if (parent < 0)
		return false;
	own = address_cells(parent);
	step = own + size_cells(parent);
	cells = cells_of(node, "reg", &count);
	if (!step || count / step <= index)
		return false;
	*base = number(cells + index * step, own);
	*size = number(cells + index * step + own, step - own);
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		int bus = parent;

		parent = fdt_parent_offset(tree, bus);
		if (parent < 0)
			return parent == -FDT_ERR_NOTFOUND; /* bus is the root */
		if (!translate(bus, parent, base, *size))
			return false;
	}
	return false;
}

bool dt_pci_range(int node, unsigned index, struct dt_range *range)
{
	int parent = fdt_parent_offset(tree, node);
	unsigned count, above, length, step;
	const fdt32_t *cells = cells_of(node, "ranges", &count);

	if (parent < 0 || address_cells(node) != 3)
		return false;
	above = address_cells(parent);
	length = size_cells(node);
	step = 3 + above + length;
	if (count / step <= index)
		return false;
	cells += index * step;
	*range = (struct dt_range){.space = fdt32_ld(cells),
	                           .bus = number(cells + 1, 2),
	                           .base = number(cells + 3, above),
	                           .size = number(cells + 3 + above, length)};
	return true;
}

/* ---- interrupts ---- */

/* The node that a property of this one, or of the next one up that has it, names. */
static int controller_of(int node)
{
	uint32_t phandle;

	for (unsigned depth = 0; node >= 0 && depth < DEPTH_MAX; depth++) {
		if (dt_cell(node, "interrupt-parent", 0, &phandle))
			return fdt_node_offset_by_phandle(tree, phandle);
		node = fdt_parent_offset(tree, node);
	}
	return DT_NONE;
}

/* An interrupt of that controller, of which `left` cells are there at most. */
static bool take_interrupt(int controller, const fdt32_t *cells, unsigned left, struct dt_interrupt *interrupt)
{
	uint64_t size;

	if (controller < 0 || !dt_reg(controller, 0, &interrupt->controller, &size))
		return false;
	interrupt->count = interrupt_cells(controller);
	if (!interrupt->count || left < interrupt->count)
		return false;
	for (unsigned i = 0; i < interrupt->count; i++)
		interrupt->cells[i] = fdt32_ld(cells + i);
	return true;
}

bool dt_interrupt(int node, struct dt_interrupt *interrupt)
{
	unsigned count;
	const fdt32_t *cells = cells_of(node, "interrupts-extended", &count);

	if (count)
		return take_interrupt(fdt_node_offset_by_phandle(tree, fdt32_ld(cells)), cells + 1, count - 1, interrupt);
	cells = cells_of(node, "interrupts", &count);
	return take_interrupt(controller_of(node), cells, count, interrupt);
}

/* Whether two of them are the same as far as the mask goes; there may be none. */
static bool same_masked(const fdt32_t *entry, const uint32_t *wanted, const fdt32_t *mask, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if ((fdt32_ld(entry + i) ^ wanted[i]) & (mask ? fdt32_ld(mask + i) : UINT32_MAX))
			return false;
	return true;
}

bool dt_pci_interrupt(int node, uint32_t address, uint32_t pin, struct dt_interrupt *interrupt)
{
	/* A PCI address of three cells, of which the first has the function, and the pin. */
	enum { PHANDLE = 4, FIRST = 5 };
	const uint32_t wanted[PHANDLE] = {address, 0, 0, pin};
	unsigned count, masks;
	const fdt32_t *mask = cells_of(node, "interrupt-map-mask", &masks);
	const fdt32_t *entry = cells_of(node, "interrupt-map", &count);

	if (address_cells(node) != 3 || interrupt_cells(node) != 1)
		return false;
	/* How long an entry is depends on the controller that it names: a controller has no address of its own unless it says so. */
	while (count > FIRST) {
		int controller = fdt_node_offset_by_phandle(tree, fdt32_ld(entry + PHANDLE));
		unsigned skip, step;

		if (controller < 0)
			return false;
		skip = FIRST + cell_count(controller, "#address-cells", 0, 3);
		step = skip + interrupt_cells(controller);
		if (step > count)
			return false;
		if (same_masked(entry, wanted, masks >= PHANDLE ? mask : NULL, PHANDLE))
			return take_interrupt(controller, entry + skip, count - skip, interrupt);
		entry += step;
		count -= step;
	}
	return false;
}
