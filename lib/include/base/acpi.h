/*
 * ACPI's static tables: found from the RSDP, each checksummed. A bad table gets one line and is not there.
 */
#ifndef BASE_ACPI_H
#define BASE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

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

/* Whether the tables with AML contain that text: what is not in them no interpreter finds. */
bool acpi_mentions(const char *text);

/* The sleep types of soft-off (S5) for the two power-management control registers, by the DSDT or an SSDT: "_S5" is a name
 * for constants there, which takes no interpreter, as the end may be a panic's. False: they name none. */
bool acpi_soft_off(uint8_t type[2]);

#endif
