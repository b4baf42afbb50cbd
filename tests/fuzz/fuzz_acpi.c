/*
 * lib/acpi.c with any tables at all: an RSDP, a root table and a few more, cut from the input. The first byte says which of
 * their checksums are made right, as few inputs would pass them by themselves. Each table is memory of exactly its size, so the
 * sanitizer sees each byte read beyond it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <base/acpi.h>
#include <host.h>

#define RSDP_AT 0x9fc10u
#define TABLES 6
#define TABLE_AT(i) (0x10000u + 0x1000u * (i))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_sum(uint8_t *memory, size_t size, size_t sum_at)
{
	uint8_t sum = 0;

	memory[sum_at] = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + memory[i]);
	memory[sum_at] = (uint8_t)-sum;
}

/* The next `size` bytes of input as memory of its own. */
static uint8_t *cut(const uint8_t **data, size_t *left, size_t size)
{
	uint8_t *piece;

	if (*left < size)
		return NULL;
	piece = malloc(size);
	memcpy(piece, *data, size);
	*data += size;
	*left -= size;
	return piece;
}

static void look(void)
{
	static const char *const signatures[] = {"APIC", "FACP", "MCFG", "DSDT", "SSDT"};
	uint8_t sleep[2];

	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
		const struct acpi_header *table;

		for (unsigned n = 0; n < 4 && (table = acpi_table(signatures[i], n)); n++) {
			uint8_t sum = 0;

			for (uint32_t at = 0; at < table->length; at++)
				sum = (uint8_t)(sum + ((const uint8_t *)table)[at]);
			assert(!memcmp(table->signature, signatures[i], 4) && table->length >= sizeof(*table) && !sum);
		}
	}
	acpi_soft_off(sleep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *pieces[TABLES + 1] = {NULL};
	uint8_t fix;

	if (size < 37)
		return 0;
	fix = *data++;
	size--;
	host_boot(64 << 10);
	host_console_capture(true);

	pieces[TABLES] = cut(&data, &size, 36);
	memcpy(pieces[TABLES], "RSD PTR ", 8);
	if (fix & 1)
		fix_sum(pieces[TABLES], 20, 8);
	if (fix & 2)
		fix_sum(pieces[TABLES], 36, 32);
	host_firmware_add(RSDP_AT, pieces[TABLES], 36);

	for (unsigned i = 0; i < TABLES && size; i++) {
		size_t length = (size_t)*data++ * (i ? 1 : 2);

		size--;
		if (length < 36 || !(pieces[i] = cut(&data, &size, length)))
			break;
		if (fix & 4 << i % 6) { /* the length and the sum that belong to it */
			pieces[i][4] = (uint8_t)length;
			pieces[i][5] = (uint8_t)(length >> 8);
			pieces[i][6] = pieces[i][7] = 0;
			fix_sum(pieces[i], length, 9);
		}
		host_firmware_add(TABLE_AT(i), pieces[i], length);
	}

	acpi_init(RSDP_AT);
	look();
	for (unsigned i = 0; i <= TABLES; i++)
		free(pieces[i]);
	return 0;
}
