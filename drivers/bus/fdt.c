/*
 * The machine's device tree, and the virtio-mmio devices in it.
 *
 * A loader hands a tree over, or QEMU's microvm has one as the file etc/fdt of fw_cfg. The latter is looked for where nothing else tells of
 * devices, neither ACPI's tables nor words on the command line: a boot that has those does not read it.
 */
#include <drivers/bus/fdt.h>

#include <stddef.h>

#include <arch/irq.h>
#include <arch/mmu.h>
#include <base/acpi.h>
#include <base/cmdline.h>
#include <base/dt.h>
#include <base/log.h>
#include <base/program.h>
#include <drivers/bus/fw_cfg.h>
#include <drivers/bus/mmio.h>

#define FILE_NAME "etc/fdt"
#define SIZE_MAX_BELIEVED 0x200000u

uint64_t dt_told;

static bool open_at(uint64_t phys)
{
	const void *blob = mmu_map_firmware(phys, DT_HEADER);
	size_t size = blob && dt_open_blob ? dt_size(blob) : 0;

	if (size > SIZE_MAX_BELIEVED || !mmu_map_firmware(phys, size))
		size = DT_HEADER;
	return blob && dt_open(blob, size);
}

static bool words_tell(void)
{
	unsigned cursor = 0;

	return cmdline_next("virtio_mmio.device", &cursor) || cmdline_get("pci.ecam");
}

static bool open_file(void)
{
	uint32_t size;
	const void *blob;

	if (!dt_open_blob || acpi_table_at(0) || words_tell())
		return false;
	blob = fw_cfg_file(FILE_NAME, &size);
	return blob && dt_open(blob, size);
}

bool fdt_start(void)
{
	static uint64_t tried = UINT64_MAX; /* the place */
	static bool open;

	if (tried != dt_told) {
		tried = dt_told;
		open = dt_told ? open_at(dt_told) : open_file();
	}
	return open;
}

static void add(int node)
{
	struct mmio_slot slot = {.told_by = "a device tree"};
	struct dt_interrupt interrupt;

	if (!dt_reg(node, 0, &slot.base, &slot.size) || !dt_interrupt(node, &interrupt) ||
	    irq_line_of(interrupt.controller, interrupt.cells, interrupt.count, &slot.gsi, &slot.trigger) != 0)
		log_warn("device tree: %s has no registers or no interrupt that can be used, ignored", dt_name(node));
	else
		mmio_slot_add(&slot, dt_name(node));
}

static void fdt_scan(void)
{
	if (!fdt_start())
		return;
	for (int node = DT_START; (node = dt_find(node, "virtio,mmio")) != DT_NONE;)
		add(node);
}

DISCOVERY(fdt, 40, fdt_scan);
