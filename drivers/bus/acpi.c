/*
 * virtio-mmio devices that ACPI's namespace tells of: those of id LNRO0005, each with its registers and its line as resources (QEMU's
 * microvm, Arm's virtual machines).
 *
 * The interpreter is started for them when a table has the id in its bytes and says more of it than constants. What the command line told of
 * before is not told again.
 */
#include <stddef.h>

#include <base/acpi.h>
#include <base/aml.h>
#include <base/log.h>
#include <base/program.h>
#include <drivers/bus/mmio.h>

#define VIRTIO_MMIO "LNRO0005"

static void on_device(aml_device device, void *context)
{
	struct mmio_slot slot = {.told_by = "ACPI"};
	struct aml_resource found[4];
	int count = aml_resources(device, found, ARRAY_SIZE(found));
	bool line = false;

	(void)context;
	for (int i = 0; i < count; i++) {
		if (found[i].kind == AML_MEMORY && !slot.size) {
			slot.base = found[i].base;
			slot.size = found[i].size;
		} else if (found[i].kind == AML_LINE && !line) {
			line = true;
			slot.gsi = (unsigned)found[i].base;
			slot.trigger = found[i].trigger;
		}
	}
	if (slot.size && line)
		mmio_slot_add(&slot, VIRTIO_MMIO);
	else if (count >= 0)
		log_warn("acpi: a " VIRTIO_MMIO " without registers or without a line, ignored");
}

static void on_plain(const struct acpi_plain *device)
{
	const struct mmio_slot slot = {.told_by = "ACPI",
	                               .base = device->base,
	                               .size = device->size,
	                               .gsi = device->gsi,
	                               .trigger = device->trigger};

	mmio_slot_add(&slot, VIRTIO_MMIO);
}

static void acpi_scan(void)
{
	if (acpi_mentions(VIRTIO_MMIO) && !acpi_plain_devices(VIRTIO_MMIO, on_plain) && aml_start())
		aml_each(VIRTIO_MMIO, on_device, NULL);
}

DISCOVERY(acpi, 30, acpi_scan);
