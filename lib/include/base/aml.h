/*
 * What ACPI's tables say in AML, by the interpreter (ACPICA), which an image may be built without. It starts when somebody needs it
 * and not before: a boot that finds all it wants elsewhere never pays for it. The boot CPU's loop only.
 *
 * AML is a program of the firmware's, and may loop, or name what is not there. What fails gets one log line and counts as not there.
 */
#ifndef BASE_AML_H
#define BASE_AML_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/irq.h>

/* A device of the namespace; stays valid. */
typedef void *aml_device;

/* Without the interpreter none of these is there: nothing else here may be called before aml_start() was true. */
#define AML_PART [[gnu::weak]]
AML_PART bool aml_interpreter_start(void);

/* True: it runs. Starts it at the first call; one that cannot be started is not tried again. */
static inline bool aml_start(void) { return aml_interpreter_start && aml_interpreter_start(); }

/* Each device that is present and has that _HID or _CID. */
AML_PART void aml_each(const char *id, void (*found)(aml_device device, void *context), void *context);

/* The device's child with that _ADR. NULL: none. */
AML_PART aml_device aml_child(aml_device device, uint32_t address);

/* The number that an object of the device is or gives (_SEG, _BBN, ...). -ENOENT: none. */
[[nodiscard]] AML_PART int aml_number(aml_device device, const char *name, uint64_t *value);

/* The device's _CRS, in its order, as far as it is of these kinds. How many, `max` at most; -EIO: it failed (the
 * line is logged). */
struct aml_resource {
	enum { AML_MEMORY, AML_PORTS, AML_LINE } kind;
	bool window;         /* not of the device itself but what it forwards */
	uint64_t base, size; /* as the CPU sees them; of a line, base is the GSI */
	uint64_t offset;     /* of a window: what to take off for the address on the other side */
	enum irq_trigger trigger;
};
AML_PART int aml_resources(aml_device device, struct aml_resource *out, unsigned max);

/* Where INTx of a PCI device arrives, by the _PRT of the bus that it is on. `pin` counts from 0. A link device that is not set to a
 * line is set to one. -ENOENT: the bus has no _PRT, or none for that pin. */
[[nodiscard]] AML_PART int aml_intx(aml_device bus, unsigned pci_device, unsigned pin, unsigned *gsi, enum irq_trigger *trigger);

/* Listen to the Generic Event Devices; `button` runs, in the loop, when the power button is pressed. */
AML_PART void aml_listen(void (*button)(void));

/* AML's way into PCI configuration space, given by whoever drives PCI. -ENODEV: no such function. */
struct aml_pci {
	uint16_t segment;
	uint16_t bdf; /* bus << 8 | device << 3 | function */
};
[[nodiscard]] AML_PART int aml_pci_access(struct aml_pci at, uint16_t offset, unsigned width, bool write, uint32_t *value);

#endif
