/*
 * The fixed hardware that ACPI's FADT describes: the power-management timer, and the registers for power-off and reset. The table
 * has each register twice, as a port and as a generic address, of which the newer one wins where it is set.
 */
#include <string.h>

#include <arch/mmio.h>
#include <arch/mmu.h>
#include <base/acpi.h>
#include <base/log.h>
#include <base/util.h>

#include "local.h"

#define SCI_INTERRUPT 46
#define SMI_COMMAND 48
#define ACPI_ENABLE 52
#define PM1A_EVENT 56
#define PM1B_EVENT 60
#define PM1A_CONTROL 64
#define PM1B_CONTROL 68
#define PM_TIMER 76
#define PM1_EVENT_LENGTH 88
#define FLAGS 112
#define RESET_REGISTER 116
#define RESET_VALUE 128
#define X_PM1A_EVENT 148
#define X_PM1B_EVENT 160
#define X_PM1A_CONTROL 172
#define X_PM1B_CONTROL 184
#define X_PM_TIMER 208
#define SLEEP_CONTROL 244

#define FLAG_BUTTON_ELSEWHERE BIT64(4) /* a device of the namespace */
#define FLAG_RESET_SUPPORTED BIT64(10)
#define FLAG_HARDWARE_REDUCED BIT64(20)

struct generic_address {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

enum { SPACE_MEMORY, SPACE_PORT };

struct fadt_info fadt;

/* Copy a field; zero where the table is too short for it. */
static void field(const struct acpi_header *table, unsigned offset, void *value, unsigned size)
{
	memset(value, 0, size);
	if (table->length >= offset + size)
		memcpy(value, (const uint8_t *)table + offset, size);
}

static struct fadt_register generic(const struct acpi_header *table, unsigned offset, unsigned width)
{
	struct fadt_register reg = {0};
	struct generic_address gas;

	field(table, offset, &gas, sizeof(gas));
	if (gas.address == 0)
		return reg;
	if (gas.space == SPACE_PORT && gas.address <= UINT16_MAX) {
		reg.port = (uint16_t)gas.address;
		reg.width = width;
	} else if (gas.space == SPACE_MEMORY && gas.address % width == 0) {
		reg.memory = mmu_map_device(gas.address, width);
		reg.width = reg.memory ? width : 0;
	}
	if (!reg.width)
		log_warn("fadt: register at offset %u left out (space %u, address 0x%llx)", offset, gas.space,
		         (unsigned long long)gas.address);
	return reg;
}

static struct fadt_register fixed(const struct acpi_header *table, unsigned generic_offset, unsigned offset, unsigned width)
{
	struct fadt_register reg = generic(table, generic_offset, width);
	uint32_t port;

	field(table, offset, &port, sizeof(port));
	if (!reg.width && port && port <= UINT16_MAX)
		reg = (struct fadt_register){.port = (uint16_t)port, .width = width};
	return reg;
}

uint32_t fadt_read(const struct fadt_register *reg)
{
	switch (reg->width) {
	case 1:
		return reg->memory ? mmio_read8(reg->memory) : pio_read8(reg->port);
	case 2:
		return reg->memory ? mmio_read16(reg->memory) : pio_read16(reg->port);
	case 4:
		return reg->memory ? mmio_read32(reg->memory) : pio_read32(reg->port);
	default:
		return 0;
	}
}

void fadt_write(const struct fadt_register *reg, uint32_t value)
{
	if (reg->width == 1 && reg->memory)
		mmio_write8(reg->memory, (uint8_t)value);
	else if (reg->width == 1)
		pio_write8(reg->port, (uint8_t)value);
	else if (reg->width == 2 && reg->memory)
		mmio_write16(reg->memory, (uint16_t)value);
	else if (reg->width == 2)
		pio_write16(reg->port, (uint16_t)value);
}

static void read_events(const struct acpi_header *table, uint32_t flags)
{
	uint8_t length;
	uint32_t smi_command;

	fadt.pm1a_event = fixed(table, X_PM1A_EVENT, PM1A_EVENT, 2);
	fadt.pm1b_event = fixed(table, X_PM1B_EVENT, PM1B_EVENT, 2);
	field(table, PM1_EVENT_LENGTH, &length, sizeof(length));
	field(table, SCI_INTERRUPT, &fadt.sci, sizeof(fadt.sci));
	field(table, SMI_COMMAND, &smi_command, sizeof(smi_command));
	field(table, ACPI_ENABLE, &fadt.acpi_enable, sizeof(fadt.acpi_enable));
	fadt.smi_command = smi_command <= UINT16_MAX ? (uint16_t)smi_command : 0;
	fadt.pm1_event_length = length;
	fadt.power_button = fadt.pm1a_event.width && !(flags & FLAG_BUTTON_ELSEWHERE);
}

void fadt_init(void)
{
	const struct acpi_header *table = acpi_table("FACP", 0);
	uint32_t flags;

	if (!table)
		return;
	field(table, FLAGS, &flags, sizeof(flags));
	if (flags & FLAG_HARDWARE_REDUCED) {
		fadt.sleep_control = generic(table, SLEEP_CONTROL, 1);
	} else {
		read_events(table, flags);
		fadt.pm1a_control = fixed(table, X_PM1A_CONTROL, PM1A_CONTROL, 2);
		fadt.pm1b_control = fixed(table, X_PM1B_CONTROL, PM1B_CONTROL, 2);
		fadt.pm_timer = fixed(table, X_PM_TIMER, PM_TIMER, 4);
	}
	if (flags & FLAG_RESET_SUPPORTED) {
		fadt.reset = generic(table, RESET_REGISTER, 1);
		field(table, RESET_VALUE, &fadt.reset_value, 1);
	}
}
