/*
 * lib/acpi.c and lib/acpi_plain.c with any tables at all: an RSDP, a root table and a few more, cut from the input. The first byte says which of
 * their checksums are made right, as few inputs would pass them by themselves. Each table is memory of exactly its size, so the
 * sanitizer sees each byte read beyond it.
 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <base/acpi.h>
#include <base/page.h>
#include <host.h>

#define RSDP_AT 0x9fc10u
#define TABLES 6
#define TABLE_AT(i) (0x10000u + 0x1000u * (i))

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

static unsigned plain_devices;

static void on_plain(const struct acpi_plain *device)
{
	plain_devices++;
	assert(device->size && device->size <= UINT32_MAX && device->base <= UINT32_MAX);
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
	plain_devices = 0;
	assert(acpi_plain_devices("LNRO0005", on_plain) ? plain_devices == acpi_mentions("LNRO0005") : !plain_devices);
}

static void run(const uint8_t *data, size_t size)
{
	uint8_t *pieces[TABLES + 1] = {NULL};
	uint8_t fix;

	if (size < 37)
		return;
	fix = *data++;
	size--;
	host_boot(64 << 10);
	while (page_alloc(PAGE_SIZE, PAGE_SIZE))
		; /* an address in the input may be one of RAM, and RAM can be read */
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
	acpi_init(1); /* there is nothing: forget what was found */
	host_console_capture(true);
}

/* ---- seeds: an RSDP and a root table for what `put_table` puts ---- */

static void put_root(uint8_t fix, bool wide)
{
	uint8_t rsdp[36] = {0}, root[36 + 5 * 8] = {0};
	unsigned entry = wide ? 8 : 4;

	rsdp[15] = wide ? 2 : 0;
	rsdp[20] = 36;
	rsdp[18] = 1; /* the RSDT, at 10000h */
	rsdp[26] = wide ? 1 : 0;
	fuzz_put(fix, 1);
	fuzz_put_all(rsdp, sizeof(rsdp));
	memcpy(root, wide ? "XSDT" : "RSDT", 4);
	for (unsigned i = 1; i < TABLES; i++) {
		root[36 + (i - 1) * entry + 1] = (uint8_t)(i << 4);
		root[36 + (i - 1) * entry + 2] = 1;
	}
	fuzz_put((36 + 5 * entry) / 2, 1);
	fuzz_put_all(root, 36 + 5 * entry);
}

static void put_table(const char *signature, const void *body, uint8_t bytes)
{
	uint8_t header[36] = {0};

	memcpy(header, signature, 4);
	fuzz_put(36u + bytes, 1);
	fuzz_put_all(header, sizeof(header));
	fuzz_put_all(body, bytes);
}

static void seeds(void)
{
	static const uint8_t s5[] = {0x10, 8, '\\', '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 5, 0x0a, 5, 0, 0};
	static const uint8_t s5_short[] = {8, '_', 'S', '5', '_', 0x12, 0xc1, 0, 0, 0, 2, 1};
	static const uint8_t plain[] = {0x10, 0x42, 0x04, '_', 'S', 'B',  '_', 0x5b, 0x82, 0x3a, 'V', 'R', '2',  '3',
	                                8,    '_',  'H',  'I', 'D', 0x0d, 'L', 'N',  'R',  'O',  '0', '0', '0',  '5',
	                                0,    8,    '_',  'U', 'I', 'D',  0,   8,    '_',  'C',  'R', 'S', 0x11, 0x1a,
	                                0x0a, 0x17, 0x86, 9,   0,   1,    0,   0x2e, 0xb0, 0xfe, 0,   2,   0,    0,
	                                0x89, 6,    0,    1,   1,   0x2f, 0,   0,    0,    0x79, 0};
	static const uint8_t mcfg[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0};
	uint8_t fadt[112] = {[4] = 0, [5] = 0x20, [6] = 1}; /* DSDT at 12000h */

	for (unsigned wide = 0; wide < 2; wide++) {
		put_root(0xff, wide);
		put_table("FACP", fadt, sizeof(fadt));
		put_table("DSDT", wide ? s5 : s5_short, wide ? sizeof(s5) : sizeof(s5_short));
		put_table("MCFG", mcfg, sizeof(mcfg));
		put_table("APIC", "\0\0\xe0\xfe\1\0\0\0\0\10\0\0\1\0\0\0", 16);
		put_table("SSDT", plain, wide ? sizeof(plain) : 0);
		fuzz_seed(wide ? "xsdt" : "rsdt");
	}
	put_root(0, true);
	fuzz_seed("bad-sums");
	put_root(0xff, true);
	put_table("RSDT", "", 0);
	fuzz_seed("one-table");
}

FUZZ_TARGET(acpi);
