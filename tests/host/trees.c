/*
 * The tree of the tests: two good devices, one on a bus with an address map, one that is disabled, two that are not right, and a PCI host.
 */
#include "trees.h"

#include <arch/irq.h>
#include <libfdt.h>

#include "check.h"

#define CONTROLLER 1

static void cells(void *blob, const char *name, const uint32_t *values, unsigned count)
{
	fdt32_t big[64];

	for (unsigned i = 0; i < count; i++)
		big[i] = cpu_to_fdt32(values[i]);
	assert_int_equal(fdt_property(blob, name, big, (int)(count * sizeof(big[0]))), 0);
}
#define CELLS(name, ...) cells(blob, name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void mmio(void *blob, const char *name)
{
	fdt_begin_node(blob, name);
	fdt_property_string(blob, "compatible", "virtio,mmio");
}

static void put_devices(void *blob)
{
	mmio(blob, "virtio_mmio@feb00000");
	CELLS("reg", 0, 0xfeb00000, 0, 0x200);
	CELLS("interrupts", 5, IRQ_TRIGGER_EDGE);
	fdt_end_node(blob);
	mmio(blob, "virtio_mmio@feb00200");
	CELLS("reg", 0, 0xfeb00200, 0, 0x200);
	CELLS("interrupts-extended", CONTROLLER, 6, IRQ_TRIGGER_LEVEL_HIGH);
	fdt_end_node(blob);
	mmio(blob, "disabled@feb00400");
	CELLS("reg", 0, 0xfeb00400, 0, 0x200);
	CELLS("interrupts", 8, IRQ_TRIGGER_EDGE);
	fdt_property_string(blob, "status", "disabled");
	fdt_end_node(blob);
	mmio(blob, "lineless@feb00600");
	CELLS("reg", 0, 0xfeb00600, 0, 0x200);
	fdt_end_node(blob);
	mmio(blob, "nowhere");
	CELLS("interrupts", 9, IRQ_TRIGGER_EDGE);
	fdt_end_node(blob);

	fdt_begin_node(blob, "bus");
	CELLS("#address-cells", 1);
	CELLS("#size-cells", 1);
	CELLS("ranges", 0, 0, 0xd0000000, 0x2000);
	mmio(blob, "moved@1000");
	CELLS("reg", 0x1000, 0x200);
	CELLS("interrupts", 7, IRQ_TRIGGER_EDGE);
	fdt_end_node(blob);
	mmio(blob, "outside@2000");
	CELLS("reg", 0x1f00, 0x200);
	CELLS("interrupts", 7, IRQ_TRIGGER_EDGE);
	fdt_end_node(blob);
	fdt_end_node(blob);
}

static void put_pci(void *blob)
{
	fdt_begin_node(blob, "pcie@e0000000");
	fdt_property_string(blob, "compatible", "pci-host-ecam-generic");
	CELLS("#address-cells", 3);
	CELLS("#size-cells", 2);
	CELLS("linux,pci-domain", 1);
	CELLS("bus-range", 2, 17);
	CELLS("reg", 0, (uint32_t)TREE_ECAM, 0, 0x1000000);
	CELLS("ranges", 0x02000000, 0, 0xc0000000, 0, 0xc0000000, 0, 0x10000000, /* moved, and so of no use: */ 0x01000000, 0, 0,
	      0, 0x3eff0000, 0, 0x10000);
	CELLS("#interrupt-cells", 1);
	CELLS("interrupt-map-mask", 0x1800, 0, 0, 7); /* devices 0 to 3, and again for those above */
	CELLS("interrupt-map", 0x0800, 0, 0, 1, CONTROLLER, 20, IRQ_TRIGGER_LEVEL, /* one that has addresses: */ 0x0800, 0, 0, 2,
	      CONTROLLER + 1, 0, 77, 21, IRQ_TRIGGER_LEVEL_HIGH, 0x1000, 0, 0, 1, CONTROLLER, 22, IRQ_TRIGGER_LEVEL);
	fdt_end_node(blob);
}

size_t tree_make(void *blob)
{
	assert_int_equal(fdt_create(blob, (int)TREE_MAX), 0);
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	CELLS("#address-cells", 2);
	CELLS("#size-cells", 2);
	CELLS("interrupt-parent", CONTROLLER);
	fdt_begin_node(blob, "ioapic@fec00000");
	fdt_property_string(blob, "compatible", "intel,ce4100-ioapic");
	CELLS("#interrupt-cells", 2);
	CELLS("reg", 0, HOST_CONTROLLER, 0, 0x1000);
	CELLS("phandle", CONTROLLER);
	fdt_end_node(blob);
	fdt_begin_node(blob, "gic@fec00000");
	CELLS("#interrupt-cells", 2);
	CELLS("#address-cells", 2);
	CELLS("reg", 0, HOST_CONTROLLER, 0, 0x1000);
	CELLS("phandle", CONTROLLER + 1);
	fdt_end_node(blob);
	put_devices(blob);
	put_pci(blob);
	fdt_end_node(blob);
	assert_int_equal(fdt_finish(blob), 0);
	return fdt_totalsize(blob);
}
