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

#define FLAG_BUTTON_ELSEWHERE (1u << 4) /* a device of the namespace */
#define FLAG_RESET_SUPPORTED (1u << 10)
#define FLAG_HARDWARE_REDUCED (1u << 20)

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

static const struct place {
	struct fadt_register *reg;
	uint16_t generic, port, width; /* offsets of its two addresses, the second one 0 where it has but one; bytes */
	uint32_t mask, flags;          /* it is there if the FADT's flags under the mask are these */
} places[] = {
	{&fadt.pm1a_event, X_PM1A_EVENT, PM1A_EVENT, 2, FLAG_HARDWARE_REDUCED, 0},
	{&fadt.pm1b_event, X_PM1B_EVENT, PM1B_EVENT, 2, FLAG_HARDWARE_REDUCED, 0},
	{&fadt.pm1a_control, X_PM1A_CONTROL, PM1A_CONTROL, 2, FLAG_HARDWARE_REDUCED, 0},
	{&fadt.pm1b_control, X_PM1B_CONTROL, PM1B_CONTROL, 2, FLAG_HARDWARE_REDUCED, 0},
	{&fadt.pm_timer, X_PM_TIMER, PM_TIMER, 4, FLAG_HARDWARE_REDUCED, 0},
	{&fadt.sleep_control, SLEEP_CONTROL, 0, 1, FLAG_HARDWARE_REDUCED, FLAG_HARDWARE_REDUCED},
	{&fadt.reset, RESET_REGISTER, 0, 1, FLAG_RESET_SUPPORTED, FLAG_RESET_SUPPORTED},
};

static void find_register(const struct acpi_header *table, const struct place *place)
{
	struct fadt_register *reg = place->reg;
	struct generic_address gas;
	uint32_t port = 0;

	field(table, place->generic, &gas, sizeof(gas));
	if (gas.space == SPACE_MEMORY && gas.address && gas.address % place->width == 0)
		reg->memory = mmu_map_device(gas.address, place->width);
	else if (gas.space == SPACE_PORT && gas.address <= UINT16_MAX)
		port = (uint32_t)gas.address;
	if (!reg->memory && !port) {
		if (gas.address)
			log_warn("fadt: register at offset %u left out (space %u, address 0x%llx)", place->generic, gas.space,
			         (unsigned long long)gas.address);
		if (place->port)
			field(table, place->port, &port, sizeof(port));
	}
	reg->port = port <= UINT16_MAX ? (uint16_t)port : 0;
	reg->width = reg->memory || reg->port ? place->width : 0;
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

void fadt_init(void)
{
	static uint32_t flags, smi_command;
	static const struct {
		void *value;
		uint16_t offset, size;
	} fields[] = {
		{&flags, FLAGS, sizeof(flags)},
		{&smi_command, SMI_COMMAND, sizeof(smi_command)},
		{&fadt.sci, SCI_INTERRUPT, sizeof(fadt.sci)},
		{&fadt.acpi_enable, ACPI_ENABLE, sizeof(fadt.acpi_enable)},
		{&fadt.pm1_event_length, PM1_EVENT_LENGTH, sizeof(fadt.pm1_event_length)},
		{&fadt.reset_value, RESET_VALUE, sizeof(fadt.reset_value)},
	};
	const struct acpi_header *table = acpi_table("FACP", 0);

	if (!table)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		field(table, fields[i].offset, fields[i].value, fields[i].size);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		if ((flags & places[i].mask) == places[i].flags)
			find_register(table, &places[i]);
	}
	fadt.smi_command = smi_command <= UINT16_MAX ? (uint16_t)smi_command : 0;
	fadt.power_button = fadt.pm1a_event.width && !(flags & FLAG_BUTTON_ELSEWHERE);
}
