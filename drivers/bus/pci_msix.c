/*
 * MSI-X: a table of messages in a memory BAR, one per interrupt that the device can raise.
 *
 * After a reset every entry is masked, and a device raises only the entries that its driver named to it, so entries that nobody
 * attached are left alone: a table of 2,048 would cost milliseconds to walk under a VMM that traps each access.
 */
#include <errno.h>
#include <stddef.h>

#include <arch/irq.h>
#include <arch/mmio.h>
#include <base/endian.h>
#include <base/log.h>
#include <drivers/bus/pci.h>
#include <drivers/bus/pci_regs.h>

/* of the capability */
enum {
	MSIX_CONTROL = 2,
	MSIX_TABLE = 4,
	MSIX_END = 12,
};

#define CONTROL_SIZE 0x07ffu
#define CONTROL_MASK_ALL 0x4000u
#define CONTROL_ENABLE 0x8000u
#define TABLE_BAR 0x7u

/* of a table entry */
enum {
	ENTRY_ADDRESS_LOW = 0,
	ENTRY_ADDRESS_HIGH = 4,
	ENTRY_DATA = 8,
	ENTRY_CONTROL = 12,
	ENTRY_BYTES = 16,
};

#define ENTRY_MASKED 0x1u

int pci_msix_enable(struct pci_msix *msix, const struct pci_function *function)
{
	uint8_t capability = pci_capability_next(function, PCI_CAPABILITY_MSIX, 0);
	uint32_t where;
	uint16_t control;

	if (!capability)
		return -ENODEV;
	if (capability + MSIX_END > PCI_SPACE_PORTS) {
		log_warn("pci %s: MSI-X capability at %#x does not fit", function->name, capability);
		return -EIO;
	}
	control = pci_read16(function, (uint16_t)(capability + MSIX_CONTROL));
	where = pci_read32(function, (uint16_t)(capability + MSIX_TABLE));
	*msix = (struct pci_msix){.function = function,
	                          .capability = capability,
	                          .size = (uint16_t)((control & CONTROL_SIZE) + 1)};
	msix->table = pci_bar_map(function, where & TABLE_BAR, where & ~TABLE_BAR, (uint64_t)msix->size * ENTRY_BYTES);
	if (!msix->table)
		return -EIO;
	pci_intx_set(function, false);
	pci_write16(function, (uint16_t)(capability + MSIX_CONTROL), (uint16_t)((control & ~CONTROL_MASK_ALL) | CONTROL_ENABLE));
	return 0;
}

void pci_msix_disable(struct pci_msix *msix)
{
	uint16_t offset = (uint16_t)(msix->capability + MSIX_CONTROL);

	pci_write16(msix->function, offset, (uint16_t)(pci_read16(msix->function, offset) & ~CONTROL_ENABLE));
	pci_intx_set(msix->function, true);
	msix->table = NULL;
}

int pci_msix_attach(struct pci_msix *msix, uint16_t entry, struct irq *irq, struct event *event)
{
	volatile uint8_t *slot = msix->table + (size_t)entry * ENTRY_BYTES;
	struct irq_message message;
	int error;

	if (entry >= msix->size)
		return -EINVAL;
	error = irq_attach_message(irq, event, &message);
	if (error)
		return error;
	/* An entry is changed only while it is masked; the write that unmasks it comes last. */
	mmio_write32(slot + ENTRY_CONTROL, cpu_to_le32(ENTRY_MASKED));
	mmio_write32(slot + ENTRY_ADDRESS_LOW, cpu_to_le32((uint32_t)message.address));
	mmio_write32(slot + ENTRY_ADDRESS_HIGH, cpu_to_le32((uint32_t)(message.address >> 32)));
	mmio_write32(slot + ENTRY_DATA, cpu_to_le32(message.data));
	mmio_write32(slot + ENTRY_CONTROL, 0);
	/* Reading flushes the writes, and tells whether there is a table at all. */
	if (le32_to_cpu(mmio_read32(slot + ENTRY_DATA)) != message.data) {
		log_warn("pci %s: MSI-X entry %u does not keep what is written", msix->function->name, entry);
		pci_msix_detach(msix, entry, irq);
		return -EIO;
	}
	return 0;
}

void pci_msix_detach(struct pci_msix *msix, uint16_t entry, struct irq *irq)
{
	volatile uint8_t *slot = msix->table + (size_t)entry * ENTRY_BYTES;

	mmio_write32(slot + ENTRY_CONTROL, cpu_to_le32(ENTRY_MASKED));
	irq_detach(irq);
}
