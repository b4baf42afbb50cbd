/*
 * Finding PCI functions.
 *
 * A configuration read leaves the guest and costs a microsecond or more, so only what can be there is asked: function 0 of each
 * device of a root bus and of each bus that a bridge names, the other functions where function 0 says so, device 0 alone behind
 * a PCI Express port. Buses behind a bridge have higher numbers than the bridge's own, so one walk in ascending order reaches all of
 * them and cannot loop. More root buses (a second host bridge on the first one shows that there may be some) are found by asking
 * the buses that no bridge named.
 */
#include <stddef.h>

#include <base/log.h>
#include <base/page.h>
#include <base/program.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

#define FUNCTION_MAX 1024u /* what a scan takes in; a machine with more has a configuration space that makes things up */
#define BUS_COUNT 256u
#define SLOT_COUNT 32u
#define LEVEL_MAX 16u /* of bridges behind bridges, where we number them */
#define CLASS_HOST_BRIDGE 0x0600u

enum reached { NOT_REACHED, REACHED_BUS, REACHED_PORT }; /* a port: the bus has one device */

static unsigned function_count;
static struct pci_function *room; /* for more of them */
static unsigned room_left;
static struct pci_function *first_function, **last_function = &first_function;

struct pci_function *pci_first(void) { return first_function; }

const struct pci_function *pci_bridge_to(const struct pci_function *function)
{
	unsigned bus = function->bdf >> 8;

	for (const struct pci_function *bridge = first_function; bridge; bridge = bridge->next)
		if (bridge->host == function->host && bridge->secondary && bridge->secondary == bus)
			return bridge;
	return NULL;
}

/* ---- functions ---- */

/* Functions stay for good: they are cut from pages, one behind the other. */
static struct pci_function *function_new(const struct pci_function *found)
{
	struct pci_function *function;

	if (function_count == FUNCTION_MAX) {
		log_warn("pci: more than %u functions, the rest is ignored", FUNCTION_MAX);
		function_count++;
	}
	if (function_count > FUNCTION_MAX)
		return NULL;
	if (!room_left) {
		room = page_alloc(PAGE_SIZE, PAGE_SIZE);
		room_left = room ? PAGE_SIZE / sizeof(*room) : 0;
	}
	if (!room_left) {
		log_error("pci: no memory for %s", found->name);
		return NULL;
	}
	function = room++;
	room_left--;
	function_count++;
	*function = *found;
	*last_function = function;
	last_function = &function->next;
	return function;
}

/* ---- buses ---- */

struct scan {
	const struct pci_host *host;
	volatile uint8_t *ecam; /* of this bus */
	unsigned bus;
	unsigned highest; /* bus number in use */
	bool more_roots;
	uint8_t reached[BUS_COUNT]; /* enum reached */
};

/* PCI Express ports lead to one device; the capability's device type says that it is one. */
static bool is_express_port(const struct pci_function *function)
{
	uint8_t position = pci_read8(function, PCI_CAPABILITIES) & 0xfc;

	for (unsigned steps = 0; position >= 0x40 && steps < PCI_CAPABILITY_MAX; steps++) {
		uint32_t header = pci_read32(function, position);
		unsigned type = (header >> 20) & 15;

		if ((header & 0xff) == PCI_CAPABILITY_EXPRESS)
			return type == 4 || type == 6; /* root port, downstream port of a switch */
		position = (header >> 8) & 0xfc;
	}
	return false;
}

static void follow_bridge(struct scan *scan, struct pci_function *bridge)
{
	uint32_t numbers = pci_read32(bridge, PCI_BUS_NUMBERS);
	unsigned secondary = (numbers >> 8) & 0xff, subordinate = (numbers >> 16) & 0xff;

	if (!secondary && !subordinate)
		return; /* no firmware numbered it: number_bridge() does, when the others' numbers are known */
	if (secondary <= scan->bus || subordinate < secondary || subordinate > scan->host->bus_last || scan->reached[secondary]) {
		log_warn("pci %s: bridge with bus numbers %02x-%02x that cannot be, not followed", bridge->name, secondary,
		         subordinate);
		return;
	}
	bridge->secondary = (uint8_t)secondary;
	scan->reached[secondary] = is_express_port(bridge) ? REACHED_PORT : REACHED_BUS;
	scan->highest = MAX(scan->highest, subordinate);
}

/* True: there are more functions in this device. */
static bool scan_function(struct scan *scan, unsigned device_function)
{
	struct pci_function found = {.host = scan->host, .bdf = (uint16_t)(scan->bus << 8 | device_function)};
	struct pci_function *function;
	uint32_t ids, revision_class;
	uint8_t header;

	if (scan->ecam)
		found.config = scan->ecam + ((size_t)device_function << 12);
	ids = pci_read32(&found, PCI_VENDOR_ID);
	found.vendor = (uint16_t)ids;
	found.device = (uint16_t)(ids >> 16);
	if (found.vendor == 0 || found.vendor == UINT16_MAX)
		return false;
	revision_class = pci_read32(&found, PCI_REVISION_CLASS);
	found.revision = (uint8_t)revision_class;
	found.class_code = revision_class >> 8;
	header = pci_read8(&found, PCI_HEADER_TYPE);
	found.header_type = header & (uint8_t)~PCI_HEADER_MULTIFUNCTION;
	format_text(found.name, sizeof(found.name), "%04x:%02x:%02x.%u", found.host->segment, found.bdf >> 8,
	            device_function >> 3, device_function & 7);
	function = function_new(&found);
	if (!function)
		return false;
	scan->highest = MAX(scan->highest, scan->bus);
	log_debug("pci %s: %04x:%04x class %06x", found.name, found.vendor, found.device, (unsigned)found.class_code);
	if (found.header_type == PCI_HEADER_BRIDGE)
		follow_bridge(scan, function);
	else if (found.class_code >> 8 == CLASS_HOST_BRIDGE && scan->bus == scan->host->bus_first && device_function)
		scan->more_roots = true;
	return header & PCI_HEADER_MULTIFUNCTION;
}

static void scan_bus(struct scan *scan)
{
	unsigned slots = scan->reached[scan->bus] == REACHED_PORT ? 1 : SLOT_COUNT;

	scan->ecam = NULL;
	if (scan->host->ecam) {
		scan->ecam = pci_map_bus(scan->host, scan->bus);
		if (!scan->ecam) {
			log_warn("pci %04x:%02x: configuration space cannot be mapped", scan->host->segment, scan->bus);
			return;
		}
	}
	for (unsigned slot = 0; slot < slots; slot++)
		if (scan_function(scan, slot << 3))
			for (unsigned i = 1; i < 8; i++)
				(void)scan_function(scan, slot << 3 | i);
}

/* The numbers that a bridge on `bus` may have: those of the bridge above it. */
static unsigned last_number(const struct pci_function *bridge)
{
	const struct pci_function *above = pci_bridge_to(bridge);

	return above ? (pci_read32(above, PCI_BUS_NUMBERS) >> 16) & 0xff : bridge->host->bus_last;
}

/* Give a bridge that has no bus numbers the next free one, and all that is found behind it the following ones. */
static void number_bridge(struct scan *scan, struct pci_function *bridge, unsigned level)
{
	uint32_t numbers = pci_read32(bridge, PCI_BUS_NUMBERS) & 0xff000000u;
	unsigned secondary = scan->highest + 1, last = last_number(bridge);
	struct pci_function **behind = last_function;

	if (secondary > last || level == LEVEL_MAX) {
		log_warn("pci %s: no bus number left for this bridge, not followed", bridge->name);
		return;
	}
	numbers |= (bridge->bdf >> 8) | secondary << 8;
	pci_write32(bridge, PCI_BUS_NUMBERS, numbers | last << 16);
	bridge->secondary = (uint8_t)secondary;
	scan->reached[secondary] = is_express_port(bridge) ? REACHED_PORT : REACHED_BUS;
	scan->highest = scan->bus = secondary;
	scan_bus(scan);
	for (struct pci_function *function = *behind; function; function = function->next)
		if (function->header_type == PCI_HEADER_BRIDGE && !function->secondary && function->bdf >> 8 == secondary)
			number_bridge(scan, function, level + 1);
	pci_write32(bridge, PCI_BUS_NUMBERS, numbers | scan->highest << 16);
}

static bool unnumbered(const struct pci_function *function)
{
	return function->header_type == PCI_HEADER_BRIDGE && !function->secondary &&
	       !(pci_read32(function, PCI_BUS_NUMBERS) & 0x00ffff00u);
}

static void scan_host(const struct pci_host *host)
{
	struct scan scan = {.host = host, .highest = host->bus_first};
	struct pci_function **first = last_function, **end;

	scan.reached[host->bus_first] = REACHED_BUS;
	for (scan.bus = host->bus_first; scan.bus <= host->bus_last; scan.bus++)
		if (scan.reached[scan.bus] || scan.more_roots)
			scan_bus(&scan);
	end = last_function; /* what is found behind newly numbered bridges is number_bridge()'s own */
	for (struct pci_function **function = first; function != end; function = &(*function)->next)
		if (unnumbered(*function))
			number_bridge(&scan, *function, 0);
}

/* ---- all ---- */

static void offer(struct pci_function *function, bool first)
{
	if (function->header_type != PCI_HEADER_DEVICE)
		return;
	LINKER_FOR_EACH (pci_drivers, driver)
		if (((*driver)->comes_first && (*driver)->comes_first(function)) == first && (*driver)->claim(function))
			return;
}

static void pci_scan(void)
{
	const struct pci_host *hosts;
	unsigned count = pci_find_hosts(&hosts);

	function_count = room_left = 0;
	first_function = NULL;
	last_function = &first_function;
	for (unsigned i = 0; i < count; i++)
		scan_host(&hosts[i]);
	for (unsigned pass = 0; pass < 2; pass++)
		for (struct pci_function *function = first_function; function; function = function->next)
			offer(function, pass == 0);
}

DISCOVERY(pci, 10, pci_scan);
