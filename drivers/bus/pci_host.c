/*
 * Ways into configuration space: the ECAM ranges that the command line tells of, or else those of ACPI's MCFG, one for each segment or
 * part of it; where that has none for segment 0, the ports CF8h and CFCh; where there are no ports either, a device tree's, or the _CBA of
 * the host bridge, which is all that some machines give.
 *
 * The word is pci.ecam=<size>@<base>[:<first bus>[-<last bus>]], numbers as in virtio_mmio.device=, the base that of the first bus; the first
 * such word is segment 0, the next one 1, and so on.
 *
 * ECAM is preferred: it reaches 4 KiB of a function and leaves the guest once for each access, not twice. It is believed only when it
 * shows the same first function as the ports do.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/acpi.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

#define HOST_MAX 16u
#define BUS_BYTES UINT64_C(0x100000)

struct mcfg_entry {
	uint64_t base;
	uint16_t segment;
	uint8_t bus_first, bus_last;
	uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg_entry) == 16, "PCI Firmware: MCFG entry");

struct mcfg {
	struct acpi_header header;
	uint8_t reserved[8];
	struct mcfg_entry entries[];
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg) == 44, "PCI Firmware: MCFG");

/* AML */
enum {
	DWORD_PREFIX = 0x0c,
	QWORD_PREFIX = 0x0e,
	RETURN_OP = 0xa4,
	CBA_BYTES = 15, /* "_CBA", flags of a method, return, prefix, a quadword */
};

static struct pci_host hosts[HOST_MAX];
static unsigned host_count;

volatile uint8_t *pci_map_bus(const struct pci_host *host, unsigned bus)
{
	return mmu_map_device(host->ecam + bus * BUS_BYTES, BUS_BYTES);
}

static bool believable(const struct pci_host *host)
{
	struct pci_function first = {.host = host, .bdf = (uint16_t)(host->bus_first << 8)};
	bool ports = !host->segment && arch_pci_ports_present();
	uint32_t by_ports = ports ? pci_read32(&first, PCI_VENDOR_ID) : 0;

	if (host->ecam % BUS_BYTES) /* no function's space would be aligned */
		return false;
	first.config = pci_map_bus(host, host->bus_first);
	return first.config && (!ports || pci_read32(&first, PCI_VENDOR_ID) == by_ports);
}

static void add(struct pci_host host)
{
	for (unsigned i = 0; i < host_count; i++)
		if (hosts[i].segment == host.segment && hosts[i].bus_first <= host.bus_last &&
		    host.bus_first <= hosts[i].bus_last) {
			log_warn("pci: buses %04x:%02x-%02x are told of twice", host.segment, host.bus_first, host.bus_last);
			return;
		}
	if (host_count < HOST_MAX)
		hosts[host_count++] = host;
	else
		log_warn("pci: more than %u hosts, %04x:%02x is ignored", HOST_MAX, host.segment, host.bus_first);
}

/* Each is checked before it is used. True: it was for segment 0. */
static bool add_checked(struct pci_host host, const char *who)
{
	if (!host.ecam || host.bus_last < host.bus_first || !believable(&host)) {
		log_warn("pci: %s: %04x:%02x-%02x at %#llx is not to be believed, ignored", who, host.segment, host.bus_first,
		         host.bus_last, (unsigned long long)host.ecam);
		return false;
	}
	add(host);
	return !host.segment;
}

static bool parse_word(const char *text, struct pci_host *host)
{
	uint64_t size, base, first = 0, last = 0;

	if (!parse_size(text, "@", &size, &text) || *text != '@' || !parse_size(text + 1, ":", &base, &text))
		return false;
	size /= BUS_BYTES;
	if (!size || size > UINT8_MAX + 1u)
		return false;
	if (*text) {
		if (!parse_size(text + 1, "-", &first, &text) || first > UINT8_MAX)
			return false;
		last = first + size - 1;
		if (*text && (!parse_size(text + 1, "", &last, &text) || last < first || last - first >= size))
			return false;
	} else {
		last = size - 1;
	}
	if (last > UINT8_MAX || base < first * BUS_BYTES)
		return false;
	host->ecam = base - first * BUS_BYTES;
	host->bus_first = (uint8_t)first;
	host->bus_last = (uint8_t)last;
	return true;
}

static bool add_from_words(void)
{
	struct pci_host host = {.segment = 0};
	bool segment_0 = false;
	unsigned cursor = 0;
	const char *word;

	for (; (word = cmdline_next("pci.ecam", &cursor)) != NULL; host.segment++) {
		if (parse_word(word, &host))
			segment_0 |= add_checked(host, word);
		else
			log_warn("pci.ecam=%s: not <size>@<base>[:<first bus>[-<last bus>]], ignored", word);
	}
	return segment_0;
}

/* True: there is one for segment 0. */
static bool add_from_mcfg(void)
{
	const struct mcfg *mcfg = (const struct mcfg *)acpi_table("MCFG", 0);
	bool segment_0 = false;
	size_t count = 0;

	if (mcfg && mcfg->header.length >= sizeof(*mcfg))
		count = (mcfg->header.length - sizeof(*mcfg)) / sizeof(mcfg->entries[0]);
	for (size_t i = 0; i < count; i++) {
		const struct mcfg_entry *entry = &mcfg->entries[i];
		struct pci_host host = {.segment = entry->segment,
		                        .bus_first = entry->bus_first,
		                        .bus_last = entry->bus_last,
		                        .ecam = entry->base};

		segment_0 |= add_checked(host, "MCFG");
	}
	return segment_0;
}

/* The address that an object named _CBA gives ("Configuration Base Address"), if it is a plain constant, as a name or as what a method
 * returns. AML is not run for it. 0: none. */
static uint64_t constant_cba(void)
{
	const struct acpi_header *dsdt = acpi_table("DSDT", 0);
	const uint8_t *aml = (const uint8_t *)dsdt;

	for (size_t i = sizeof(*dsdt); dsdt && i + CBA_BYTES <= dsdt->length; i++) {
		size_t at = i + 4, bytes;
		uint64_t base = 0;

		if (memcmp(aml + i, "_CBA", 4) != 0)
			continue;
		if (aml[at + 1] == RETURN_OP)
			at += 2;
		bytes = aml[at] == QWORD_PREFIX ? 8 : aml[at] == DWORD_PREFIX ? 4 : 0;
		while (bytes)
			base = base << 8 | aml[at + bytes--];
		return base;
	}
	return 0;
}

static bool add_from_firmware(void)
{
	struct pci_host told[HOST_MAX];
	unsigned count = pci_firmware_hosts ? pci_firmware_hosts(told, HOST_MAX) : 0;
	bool segment_0 = false;

	for (unsigned i = 0; i < count; i++)
		segment_0 |= add_checked(told[i], "device tree");
	return segment_0;
}

unsigned pci_find_hosts(const struct pci_host **found)
{
	struct pci_host host = {.bus_last = UINT8_MAX};

	host_count = 0;
	*found = hosts;
	if (add_from_words() || add_from_mcfg())
		return host_count;
	if (arch_pci_ports_present()) {
		add(host);
	} else if (!add_from_firmware()) {
		host.ecam = constant_cba();
		if (host.ecam && believable(&host))
			add(host);
	}
	return host_count;
}
