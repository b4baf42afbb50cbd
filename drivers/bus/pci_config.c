/*
 * One PCI function: its configuration space, header, BARs and capability list.
 *
 * The capability list is walked once, when the function is opened, into an array: what is looked up later cannot loop and cannot
 * change. BARs are sized with decoding off, so that the all-ones that sizing writes never sit over someone's memory. Each change of
 * what is decoded makes a VMM rebuild its memory map, so nothing else is turned off or on meanwhile, and ports, which few want, are
 * not touched until someone does.
 */
#include <errno.h>
#include <stddef.h>

#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/endian.h>
#include <base/log.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

#define BAR_IO 0x1u
#define BAR_TYPE 0x6u
#define BAR_TYPE_32 0x0u
#define BAR_TYPE_64 0x4u
#define BAR_PREFETCHABLE 0x8u
#define BAR_MEM_FLAGS 0xfu
#define BAR_IO_FLAGS 0x3u
#define PORTS_END 0x10000u

static bool reaches(const struct pci_function *function, uint16_t offset, unsigned width)
{
	return offset + width <= (function->config ? PCI_SPACE_ECAM : PCI_SPACE_PORTS);
}

uint8_t pci_read8(const struct pci_function *function, uint16_t offset)
{
	if (!reaches(function, offset, 1))
		return UINT8_MAX;
	return function->config ? mmio_read8(function->config + offset) : (uint8_t)arch_pci_ports_read(function->bdf, offset, 1);
}

uint16_t pci_read16(const struct pci_function *function, uint16_t offset)
{
	if (!reaches(function, offset, 2))
		return UINT16_MAX;
	return function->config ? le16_to_cpu(mmio_read16(function->config + offset))
	                        : (uint16_t)arch_pci_ports_read(function->bdf, offset, 2);
}

uint32_t pci_read32(const struct pci_function *function, uint16_t offset)
{
	if (!reaches(function, offset, 4))
		return UINT32_MAX;
	return function->config ? le32_to_cpu(mmio_read32(function->config + offset))
	                        : arch_pci_ports_read(function->bdf, offset, 4);
}

void pci_write8(const struct pci_function *function, uint16_t offset, uint8_t value)
{
	if (!reaches(function, offset, 1))
		return;
	if (function->config)
		mmio_write8(function->config + offset, value);
	else
		arch_pci_ports_write(function->bdf, offset, 1, value);
}

void pci_write16(const struct pci_function *function, uint16_t offset, uint16_t value)
{
	if (!reaches(function, offset, 2))
		return;
	if (function->config)
		mmio_write16(function->config + offset, cpu_to_le16(value));
	else
		arch_pci_ports_write(function->bdf, offset, 2, value);
}

void pci_write32(const struct pci_function *function, uint16_t offset, uint32_t value)
{
	if (!reaches(function, offset, 4))
		return;
	if (function->config)
		mmio_write32(function->config + offset, cpu_to_le32(value));
	else
		arch_pci_ports_write(function->bdf, offset, 4, value);
}

/* ---- capabilities ---- */

static void read_capabilities(struct pci_function *function)
{
	uint64_t seen = 0; /* one bit per aligned position of the 256 bytes */
	uint8_t position;

	function->capability_count = 0;
	if (!(pci_read16(function, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
		return;
	position = pci_read8(function, PCI_CAPABILITIES) & 0xfc;
	while (position) {
		uint16_t header; /* id, next */

		if (position < 0x40 || seen & BIT64(position / 4)) {
			log_warn("pci %s: broken capability list (%s at %#x), the rest of it is ignored", function->name,
			         position < 0x40 ? "bad pointer" : "loop", position);
			return;
		}
		seen |= BIT64(position / 4);
		header = pci_read16(function, position);
		if ((header & 0xff) == 0xff)
			return; /* no list at all: the function is gone */
		function->capabilities[function->capability_count].id = (uint8_t)header;
		function->capabilities[function->capability_count++].position = position;
		position = (uint8_t)((header >> 8) & 0xfc);
	}
}

uint8_t pci_capability_next(const struct pci_function *function, uint8_t id, uint8_t after)
{
	unsigned i = 0;

	while (after && i < function->capability_count)
		if (function->capabilities[i++].position == after)
			break;
	for (; i < function->capability_count; i++)
		if (function->capabilities[i].id == id)
			return function->capabilities[i].position;
	return 0;
}

/* ---- BARs ---- */

static uint32_t size_register(const struct pci_function *function, unsigned index, uint32_t original)
{
	uint16_t offset = (uint16_t)(PCI_BAR0 + 4 * index);
	uint32_t mask;

	pci_write32(function, offset, UINT32_MAX);
	mask = pci_read32(function, offset);
	pci_write32(function, offset, original);
	return mask;
}

/* `end` is the end of the space it is in. */
static bool bar_sane(const struct pci_bar *bar, uint64_t end)
{
	uint64_t size = bar->size;

	return size && !((size | bar->base) & (size - 1)) && size <= end && bar->base <= end - size;
}

/* Size BAR `index`, if it is of that kind; returns how many registers it takes. */
static unsigned read_bar(struct pci_function *function, unsigned index, unsigned count, enum pci_bar_kind kind)
{
	struct pci_bar *bar = &function->bars[index];
	uint32_t low = pci_read32(function, (uint16_t)(PCI_BAR0 + 4 * index)), type = low & BAR_TYPE;
	bool io = low & BAR_IO, is_64 = !io && type == BAR_TYPE_64 && index + 1 < count,
	     sane = io || is_64 || type == BAR_TYPE_32;
	uint32_t flags = io ? BAR_IO_FLAGS : BAR_MEM_FLAGS;
	uint64_t mask, end = io ? PORTS_END : UINT64_C(1) << 32;

	if (kind != (io ? PCI_BAR_IO : PCI_BAR_MEM) && (!io || function->sized & PCI_COMMAND_IO))
		return 1 + is_64;
	bar->kind = io ? PCI_BAR_IO : PCI_BAR_MEM;
	bar->base = low & ~flags;
	if (bar->kind != kind)
		return 1; /* ports, to be sized when someone wants them */
	bar->is_64 = is_64;
	bar->prefetchable = is_64 && low & BAR_PREFETCHABLE;
	mask = size_register(function, index, low) & ~flags;
	if (is_64) {
		uint32_t high = pci_read32(function, (uint16_t)(PCI_BAR0 + 4 * (index + 1)));

		bar->base |= (uint64_t)high << 32;
		mask |= (uint64_t)size_register(function, index + 1, high) << 32;
		end = UINT64_MAX;
	} else if (mask || bar->base) {
		mask |= ~(end - 1); /* bits that are not there */
	} else {
		bar->kind = PCI_BAR_NONE; /* not implemented */
		return 1;
	}
	bar->size = -mask;
	if (!sane || !bar_sane(bar, end)) {
		*bar = (struct pci_bar){.kind = PCI_BAR_NONE};
		log_warn("pci %s: BAR %u makes no sense, ignored", function->name, index);
	}
	return 1 + is_64;
}

/* Returns what it was. A value that is there already is not written again: it would cost as much. */
static uint16_t set_command(const struct pci_function *function, uint16_t clear, uint16_t set)
{
	uint16_t old = pci_read16(function, PCI_COMMAND), new = (uint16_t)((old & ~clear) | set);

	if (new != old)
		pci_write16(function, PCI_COMMAND, new);
	return old;
}

void pci_size(struct pci_function *function, enum pci_bar_kind kind)
{
	unsigned count = function->header_type == PCI_HEADER_BRIDGE ? PCI_BRIDGE_BARS : PCI_BAR_COUNT;
	uint16_t decode = kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY, command;

	if (function->sized & decode)
		return;
	function->sized |= decode;
	command = set_command(function, decode, 0);
	for (unsigned i = 0; i < count;)
		i += read_bar(function, i, count, kind);
	if (command & decode)
		pci_write16(function, PCI_COMMAND, command);
}

void pci_set_bar(struct pci_function *function, unsigned index, uint64_t base)
{
	struct pci_bar *bar = &function->bars[index];
	uint16_t offset = (uint16_t)(PCI_BAR0 + 4 * index), command;

	command = set_command(function, PCI_COMMAND_DECODE, 0); /* firmware may have left it on, whatever is in the BAR */
	bar->base = base;
	pci_write32(function, offset, (uint32_t)base);
	if (bar->is_64)
		pci_write32(function, offset + 4, (uint32_t)(base >> 32));
	if (command & PCI_COMMAND_DECODE)
		pci_write16(function, PCI_COMMAND, command);
}

static void open_bars(struct pci_function *function, enum pci_bar_kind kind)
{
	pci_size(function, kind);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
		if (function->bars[i].kind == kind && !function->bars[i].base) {
			pci_assign(function, kind);
			return;
		}
}

void pci_open(struct pci_function *function)
{
	uint32_t subsystem = pci_read32(function, PCI_SUBSYSTEM);
	uint16_t interrupt = pci_read16(function, PCI_INTERRUPT);

	function->subsystem_vendor = (uint16_t)subsystem;
	function->subsystem = (uint16_t)(subsystem >> 16);
	function->irq_line = (uint8_t)interrupt;
	function->irq_pin = (uint8_t)(interrupt >> 8);
	read_capabilities(function);
	open_bars(function, PCI_BAR_MEM);
}

void pci_open_ports(struct pci_function *function) { open_bars(function, PCI_BAR_IO); }

static bool bar_holds(const struct pci_function *function, unsigned bar, enum pci_bar_kind kind, uint64_t offset, uint64_t length)
{
	if (bar < PCI_BAR_COUNT && function->bars[bar].kind == kind && function->bars[bar].base && length &&
	    offset <= function->bars[bar].size && length <= function->bars[bar].size - offset)
		return true;
	log_warn("pci %s: BAR %u holds no %s at %#llx, length %#llx", function->name, bar,
	         kind == PCI_BAR_IO ? "ports" : "memory", (unsigned long long)offset, (unsigned long long)length);
	return false;
}

bool pci_bar_holds(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length)
{
	return bar_holds(function, bar, PCI_BAR_MEM, offset, length);
}

volatile void *pci_bar_map(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length)
{
	volatile void *memory;

	if (!bar_holds(function, bar, PCI_BAR_MEM, offset, length))
		return NULL;
	memory = mmu_map_device(function->bars[bar].base + offset, length);
	if (!memory)
		log_warn("pci %s: BAR %u at %#llx cannot be reached", function->name, bar,
		         (unsigned long long)function->bars[bar].base);
	return memory;
}

int pci_bar_port(const struct pci_function *function, unsigned bar, uint64_t offset, uint64_t length, uint16_t *port)
{
	if (!pio_present() || !bar_holds(function, bar, PCI_BAR_IO, offset, length))
		return -ENOENT;
	*port = (uint16_t)(function->bars[bar].base + offset);
	return 0;
}

/* ---- the rest ---- */

void pci_enable(const struct pci_function *function)
{
	uint16_t decode = PCI_COMMAND_MASTER;

	for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
		if (function->bars[i].size && function->bars[i].base)
			decode |= function->bars[i].kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	for (const struct pci_function *bridge = function; (bridge = pci_bridge_to(bridge));)
		set_command(bridge, 0, decode);
	set_command(function, 0, decode);
}

void pci_disable(const struct pci_function *function) { set_command(function, PCI_COMMAND_DECODE | PCI_COMMAND_MASTER, 0); }

void pci_intx_set(const struct pci_function *function, bool on)
{
	set_command(function, on ? PCI_COMMAND_INTX_DISABLE : 0, on ? 0 : PCI_COMMAND_INTX_DISABLE);
}

/* Firmware writes it into a register that only drivers read, unless there is more to tell. */
int pci_intx_line(const struct pci_function *function, unsigned *gsi, enum irq_trigger *trigger)
{
	if (!function->irq_pin || function->irq_pin > PCI_PINS)
		return -ENOENT;
	if (pci_firmware_intx && pci_firmware_intx(function, gsi, trigger) == 0)
		return 0;
	if (!function->irq_line || function->irq_line == UINT8_MAX)
		return -ENOENT;
	*gsi = function->irq_line;
	*trigger = IRQ_TRIGGER_LEVEL;
	return 0;
}
