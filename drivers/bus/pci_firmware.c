/*
 * What firmware tells of PCI beside the tables that pci_host.c reads, by ACPI's namespace or a device tree.
 *
 * Where INTx of a function arrives: _PRT says it for each bus that has one, the root bus always. A bridge passes the pins of what is
 * behind it on to its own, turned by the device's number ("PCI-to-PCI Bridge Architecture", "Interrupt Routing"), so the search goes up
 * from the function. In a tree the host's node says it of its root bus ("interrupt-map").
 *
 * Only interrupts by line, and functions that nobody placed, need any of this: other boots run no AML for PCI.
 */
#include <errno.h>
#include <stddef.h>

#include <base/aml.h>
#include <base/dt.h>
#include <base/log.h>
#include <base/util.h>
#include <drivers/bus/fdt.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

#define ECAM_HOST "pci-host-ecam-generic"
#define HOST_BRIDGE "PNP0A03" /* those of PCI Express have it as their second id */

static unsigned device_of(const struct pci_function *function) { return (function->bdf >> 3) & 31; }

/* ---- ACPI's devices of buses ---- */

struct root_search {
	uint16_t segment;
	uint8_t bus;
	aml_device found;
};

static void on_host_bridge(aml_device device, void *context)
{
	struct root_search *search = context;
	uint64_t segment = 0, bus = 0;

	/* Zero where there is no such object. */
	if (aml_number(device, "_SEG", &segment) != 0)
		segment = 0;
	if (aml_number(device, "_BBN", &bus) != 0)
		bus = 0;
	if (segment == search->segment && bus == search->bus)
		search->found = device;
}

static aml_device root_device(uint16_t segment, uint8_t bus)
{
	struct root_search search = {segment, bus, NULL};

	if (aml_start())
		aml_each(HOST_BRIDGE, on_host_bridge, &search);
	return search.found;
}

/* The ACPI device of the bus that a function is on. NULL: there is none. */
static aml_device bus_device(const struct pci_function *function)
{
	const struct pci_function *bridge = pci_bridge_to(function);
	aml_device above;

	if (!bridge)
		return root_device(function->host->segment, (uint8_t)(function->bdf >> 8));
	above = bus_device(bridge);
	return above ? aml_child(above, device_of(bridge) << 16 | (bridge->bdf & 7u)) : NULL;
}

/* ---- device trees' hosts ---- */

#define BUS_BYTES UINT64_C(0x100000)
#define RANGE_SPACE 0x03000000u
#define RANGE_PORTS 0x01000000u
#define RESOURCE_MAX 32u

static bool host_of(int node, struct pci_host *host)
{
	uint32_t first = 0, last = UINT8_MAX, segment = 0;
	uint64_t base, size;

	if (!dt_reg(node, 0, &base, &size))
		return false;
	dt_cell(node, "bus-range", 0, &first);
	dt_cell(node, "bus-range", 1, &last);
	dt_cell(node, "linux,pci-domain", 0, &segment);
	if (first > last || last > UINT8_MAX || segment > UINT16_MAX || base < first * BUS_BYTES || size < BUS_BYTES)
		return false;
	*host = (struct pci_host){.segment = (uint16_t)segment,
	                          .bus_first = (uint8_t)first,
	                          .bus_last = (uint8_t)MIN(last, first + size / BUS_BYTES - 1),
	                          .ecam = base - first * BUS_BYTES};
	return true;
}

/* The tree's node of a host. DT_NONE: there is no tree, or it has none such. */
static int host_node(const struct pci_host *host)
{
	struct pci_host told;
	int node = DT_START;

	if (!fdt_start())
		return DT_NONE;
	while ((node = dt_find(node, ECAM_HOST)) != DT_NONE)
		if (host_of(node, &told) && told.ecam == host->ecam)
			break;
	return node;
}

/* ---- the line ---- */

/* A tree knows the root bus only. */
static int line_by_tree(int node, const struct pci_function *function, unsigned pin, unsigned *gsi, enum irq_trigger *trigger)
{
	const struct pci_function *bridge;
	struct dt_interrupt interrupt;

	for (; (bridge = pci_bridge_to(function)) != NULL; function = bridge)
		pin = (pin + device_of(function)) % PCI_PINS;
	if (!dt_pci_interrupt(node, (uint32_t)function->bdf << 8, pin + 1, &interrupt))
		return -ENOENT;
	return irq_line_of(interrupt.controller, interrupt.cells, interrupt.count, gsi, trigger);
}

int pci_firmware_intx(const struct pci_function *function, unsigned *gsi, enum irq_trigger *trigger)
{
	unsigned pin = function->irq_pin - 1u;
	int node = host_node(function->host);

	if (node != DT_NONE)
		return line_by_tree(node, function, pin, gsi, trigger);
	if (!aml_start())
		return -ENOENT;
	for (; function; function = pci_bridge_to(function)) {
		aml_device bus = bus_device(function);

		if (bus && aml_intx(bus, device_of(function), pin, gsi, trigger) == 0)
			return 0;
		pin = (pin + device_of(function)) % PCI_PINS;
	}
	return -ENOENT;
}

/* ---- hosts and windows ---- */

unsigned pci_firmware_hosts(struct pci_host *hosts, unsigned max)
{
	unsigned count = 0;

	if (!fdt_start())
		return 0;
	for (int node = DT_START; count < max && (node = dt_find(node, ECAM_HOST)) != DT_NONE;) {
		if (host_of(node, &hosts[count]))
			count++;
		else
			log_warn("device tree: %s has no configuration space that can be used, ignored", dt_name(node));
	}
	return count;
}

/* A BAR has one address here: what a host moves on the way is of no use. */
static void put(struct pci_window *window, unsigned *count, bool ports, uint64_t base, uint64_t size, uint64_t moved)
{
	if (!moved && size && base + size > base)
		window[(*count)++] = (struct pci_window){ports, base, base + size};
}

static unsigned windows_of(int node, struct pci_window *windows, unsigned max)
{
	unsigned count = 0;
	struct dt_range range;

	for (unsigned i = 0; count < max && dt_pci_range(node, i, &range); i++)
		put(windows, &count, (range.space & RANGE_SPACE) == RANGE_PORTS, range.base, range.size, range.base - range.bus);
	return count;
}

unsigned pci_firmware_windows(const struct pci_function *function, struct pci_window *windows, unsigned max)
{
	struct aml_resource found[RESOURCE_MAX];
	unsigned count = 0;
	int resources;
	int node = host_node(function->host);
	aml_device root;

	if (node != DT_NONE)
		return windows_of(node, windows, max);
	root = root_device(function->host->segment, (uint8_t)(function->bdf >> 8));
	resources = root ? aml_resources(root, found, RESOURCE_MAX) : 0;
	for (int i = 0; i < resources && count < max; i++)
		if (found[i].window && found[i].kind != AML_LINE)
			put(windows, &count, found[i].kind == AML_PORTS, found[i].base, found[i].size, found[i].offset);
	return count;
}

/* ---- what AML reads ---- */

/* Functions that the scan found; others are not there for AML either. */
int aml_pci_access(struct aml_pci at, uint16_t offset, unsigned width, bool write, uint32_t *value)
{
	const struct pci_function *function = pci_first();

	while (function && (function->host->segment != at.segment || function->bdf != at.bdf))
		function = function->next;
	if (!function)
		return -ENODEV;
	if (write && width == 1)
		pci_write8(function, offset, (uint8_t)*value);
	else if (write && width == 2)
		pci_write16(function, offset, (uint16_t)*value);
	else if (write)
		pci_write32(function, offset, *value);
	else
		*value = width == 1   ? pci_read8(function, offset)
		         : width == 2 ? pci_read16(function, offset)
		                      : pci_read32(function, offset);
	return 0;
}
