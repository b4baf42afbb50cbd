/*
 * lib/fdt/dt.c and drivers/bus/fdt.c with any tree at all. The tree is memory of exactly its size, so the sanitizer sees each byte read beyond
 * it; the first byte says whether its header is made right, as few inputs would pass that by themselves.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <base/dt.h>
#include <drivers/bus/fdt.h>
#include <drivers/bus/pci.h>
#include <host.h>

#include "trees.h"

#define PLACE 0x5000000u
#define HEADER_MAGIC "\xd0\x0d\xfe\xed"

static void look_at_map(int node, uint32_t address, uint32_t pin)
{
	struct dt_interrupt interrupt;

	if (dt_pci_interrupt(node, address, pin, &interrupt))
		fuzz_check(interrupt.count && interrupt.count <= DT_INTERRUPT_CELLS, "an interrupt of %u cells", interrupt.count);
}

static void look(void)
{
	struct pci_host hosts[4];
	unsigned nodes = 0;

	for (int node = DT_START; (node = dt_find(node, "virtio,mmio")) != DT_NONE;) {
		struct dt_interrupt interrupt;
		struct dt_range range;
		uint64_t base, size;
		uint32_t cell;

		fuzz_check(++nodes <= FUZZ_INPUT_MAX, "the walk does not end");
		for (unsigned i = 0; i < 3; i++) {
			dt_reg(node, i, &base, &size);
			dt_pci_range(node, i, &range);
			dt_cell(node, "reg", i, &cell);
		}
		if (dt_interrupt(node, &interrupt))
			fuzz_check(interrupt.count && interrupt.count <= DT_INTERRUPT_CELLS, "an interrupt of %u cells",
			           interrupt.count);
		fuzz_check(dt_name(node), "a node without a name");
	}
	for (int node = DT_START; (node = dt_find(node, "pci-host-ecam-generic")) != DT_NONE;)
		for (uint32_t pin = 1; pin <= 4; pin++)
			for (uint32_t device = 0; device < 4; device++)
				look_at_map(node, device << 11, pin);
	for (unsigned i = 0; i < pci_firmware_hosts(hosts, 4); i++)
		fuzz_check(hosts[i].bus_first <= hosts[i].bus_last, "buses %u-%u", hosts[i].bus_first, hosts[i].bus_last);
}

static void run(const uint8_t *data, size_t size)
{
	uint8_t *blob;

	if (size < 1 + DT_HEADER)
		return;
	fuzz_machine(64 << 10);
	blob = malloc(--size);
	memcpy(blob, data + 1, size);
	if (data[0] & 1) {
		memcpy(blob, HEADER_MAGIC, 4);
		blob[4] = blob[5] = 0;
		blob[6] = (uint8_t)(size >> 8);
		blob[7] = (uint8_t)size;
	}
	dt_told = dt_told == PLACE ? PLACE + FUZZ_INPUT_MAX : PLACE; /* a new one, which is looked at anew */
	host_firmware_add(dt_told, blob, size);
	if (fdt_start())
		look();
	free(blob);
	fuzz_machine_end(false, 20);
}

static void seeds(void)
{
	static uint8_t blob[TREE_MAX];
	size_t size = tree_make(blob);

	fuzz_put(1, 1);
	fuzz_put_all(blob, size);
	fuzz_seed("tree");
	fuzz_put(0, 1);
	fuzz_put_all(blob, size / 2);
	fuzz_seed("half");
}

FUZZ_TARGET(dt);
