/*
 * What firmware tells of PCI beside the tables that pci_host.c reads, by ACPI's namespace.
 *
 * Where INTx of a function arrives: _PRT says it for each bus that has one, the root bus always. A bridge passes the pins of what is
 * behind it on to its own, turned by the device's number ("PCI-to-PCI Bridge Architecture", "Interrupt Routing"), so the search goes up
 * from the function.
 *
 * Only interrupts by line, and functions that nobody placed, need any of this: other boots run no AML for PCI.
 */
#include <errno.h>
#include <stddef.h>

#include <base/aml.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

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

/* ---- the line ---- */

int pci_firmware_intx(const struct pci_function *function, unsigned *gsi, enum irq_trigger *trigger)
{
	unsigned pin = function->irq_pin - 1u;

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
