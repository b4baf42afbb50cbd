/*
 * ACPI's static tables: found from the RSDP, each checksummed. A bad table gets one line and is not there.
 */
#ifndef BASE_ACPI_H
#define BASE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/irq.h>

struct acpi_header {
	char signature[4];
	uint32_t length; /* bytes, header included */
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision, creator_id, creator_revision;
} __attribute__((packed)); /* tables lie at any byte: overlays must be packed, too */
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI: System Description Table Header");

/* `rsdp` is physical; 0: look where PC firmware leaves it (E0000h-FFFFFh). Without tables acpi_table() finds none. */
void acpi_init(uint64_t rsdp);

/* The `index`th table of that signature, mapped in full and checked; NULL: none. "DSDT" comes from the FADT. */
const struct acpi_header *acpi_table(const char *signature, unsigned index);

/* All tables that were found good: the index-th; NULL: no more. */
#define ACPI_TABLES_MAX 64
const struct acpi_header *acpi_table_at(unsigned index);

/* How often the tables with AML contain that text, of four or more characters: what is not in them no interpreter finds. */
unsigned acpi_mentions(const char *text);

/* Whether it is one of these; and how often a part of one contains that text. */
bool acpi_has_aml(const struct acpi_header *table);
unsigned acpi_count(const uint8_t *at, const uint8_t *end, const char *text);

/* A device of one range of memory and one interrupt line. */
struct acpi_plain {
	uint64_t base, size;
	unsigned gsi;
	enum irq_trigger trigger;
};

/* `found` for each device of that _HID, if all that the tables say of such devices is plain data. False: there are none, or it takes the
 * interpreter to know; `found` has not run then. */
bool acpi_plain_devices(const char *id, void (*found)(const struct acpi_plain *device));

/* The sleep types of soft-off (S5) for the two power-management control registers, by the DSDT or an SSDT: "_S5" is a name
 * for constants there, which takes no interpreter, as the end may be a panic's. False: they name none. */
bool acpi_soft_off(uint8_t type[2]);

#endif
