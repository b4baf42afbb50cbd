/*
 * drivers/bus/fw_cfg.c against a machine that says anything: what is read by ports and by the DMA interface is the input, each transfer may
 * fail, or never end. Nothing is written but where a transfer was asked for; a file is as long as it is said to be, or there is none and no
 * page of it is left.
 */
#include "fuzz.h"

#include <string.h>

#include <base/page.h>
#include <drivers/bus/fw_cfg.h>
#include <host.h>

#define FIRST_PORT 0x510
#define DMA_HIGH 4
#define DMA_LOW 8
#define DIRECTORY 0x19
#define FILES 8
#define TRANSFERS_MAX 4
#define NAME "etc/fdt"

static struct fuzz_input *in;
static uint8_t honest; /* bits: the signature, the features, the directory, the file are there as they should be */
static uint16_t selected;
static unsigned at, transfers;
static uint64_t high;

static uint64_t get(void *context, uint64_t offset, unsigned width)
{
	static const char signature[] = "QEMU", features[] = "\3\0\0\0";

	(void)context;
	if (offset != 1 || width != 1)
		return UINT32_MAX;
	if (honest & 1 && selected == 0)
		return (uint8_t)signature[at++ % 4];
	if (honest & 2 && selected == 1)
		return (uint8_t)features[at++ % 4];
	return fuzz_u8(in);
}

/* The directory's first files as the input has them; under `honest` one of them has the name. */
static void write_directory(uint8_t *to, size_t length)
{
	fuzz_bytes(in, to, MIN(length, (size_t)(4 + FILES * 64)));
	if (honest & 4 && length >= 4 + FILES * 64) {
		memset(to, 0, 3);
		to[3] = FILES;
		memset(to + 4, 0, 2); /* a file of no more than 64 KiB */
		strcpy((char *)to + 4 + 8, NAME);
	}
}

static void transfer(uint64_t command)
{
	uint8_t *control = (uint8_t *)(uintptr_t)command;
	uint32_t length = (uint32_t)(control[4] << 24 | control[5] << 16 | control[6] << 8 | control[7]);
	uint16_t item = (uint16_t)(control[0] << 8 | control[1]);
	uint64_t to = 0;
	bool directory = ++transfers == 1; /* a file may have its number, too */
	uint8_t how = honest & 8 ? 0 : fuzz_u8(in);

	for (unsigned i = 8; i < 16; i++)
		to = to << 8 | control[i];
	fuzz_check(control[3] == 0xa && !control[2], "control %02x%02x", control[2], control[3]);
	fuzz_check(length && host_is_ram(to, length), "%u bytes to %#llx, which is no RAM", length, (unsigned long long)to);
	fuzz_check(transfers <= TRANSFERS_MAX, "transfers without an end");
	fuzz_check(!directory || item == DIRECTORY, "item %#x first", item);
	if (how & 1) {
		if (directory)
			write_directory((uint8_t *)(uintptr_t)to, length);
		else
			fuzz_bytes(in, (uint8_t *)(uintptr_t)to, MIN(length, FUZZ_INPUT_MAX));
		return; /* for ever */
	}
	if (directory)
		write_directory((uint8_t *)(uintptr_t)to, length);
	else
		memset((uint8_t *)(uintptr_t)to, 0x5a, length);
	memset(control, 0, 4);
	if (how & 2)
		fuzz_bytes(in, control, 4);
}

static void put(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	(void)context;
	if (offset == 0 && width == 2) {
		selected = (uint16_t)value;
		at = 0;
	} else if (offset == DMA_HIGH && width == 4) {
		high = __builtin_bswap32((uint32_t)value);
	} else if (offset == DMA_LOW && width == 4) {
		transfer(high << 32 | __builtin_bswap32((uint32_t)value));
	} else {
		fuzz_fail("%u bytes to port %#llx", width, FIRST_PORT + (unsigned long long)offset);
	}
}

static void run(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct host_region ports = {.base = FIRST_PORT, .size = 12, .read = get, .write = put};
	uint32_t length = UINT32_MAX;
	uint64_t free_pages;
	uint8_t *file;

	in = &input;
	fuzz_machine(4 << 20);
	free_pages = page_count_free();
	honest = fuzz_u8(in);
	transfers = 0;
	host_pio_add(&ports);
	file = fw_cfg_file(NAME, &length);
	host_pio_remove(&ports);
	if (file) {
		fuzz_check(length && length <= 4 << 20, "a file of %u bytes", length);
		fuzz_check(!(honest & 8) || (file[0] == 0x5a && file[length - 1] == 0x5a), "not what was sent");
		page_free(file, length);
	}
	fuzz_check(page_count_free() == free_pages, "pages are left");
	fuzz_machine_end(false, 1);
}

static void give(const char *name, uint8_t first, const uint8_t *control, size_t count)
{
	static const uint8_t directory[] = {0, 0, 0, 2, 0, 0, 4, 0, 0, 0x22, 0, 0, 'e', 't', 'c', '/', 'f', 'd', 't'};

	fuzz_put(first, 1);
	fuzz_put_all(control, count);
	fuzz_put_all(directory, sizeof(directory));
	fuzz_seed(name);
}

static void seeds(void)
{
	static const uint8_t fails[] = {2, 0, 0, 0, 1}, never[] = {1}, file_fails[] = {0};

	give("a file", 15, (const uint8_t *)"", 0);
	give("its own directory", 11, (const uint8_t *)"", 0);
	give("an error", 7, fails, sizeof(fails));
	give("no end", 7, never, sizeof(never));
	give("the file fails", 3, file_fails, sizeof(file_fails));
	give("no signature", 0, (const uint8_t *)"", 0);
	fuzz_put(11, 1);
	for (unsigned i = 0; i < FILES * 16; i++)
		fuzz_put(UINT32_MAX, 4);
	fuzz_seed("large");
}

FUZZ_TARGET(fw_cfg);
