/*
 * The shell's `blk`: disks by hand.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>
#include <class/block.h>

#include "pattern.h"

#define CHUNK_BYTES (1024u * 1024u)
#define DUMP_SECTORS_MAX 128u

static void list(void)
{
	struct block_device *device = block_find(NULL);

	if (!device)
		console_line("no disks");
	for (; device; device = block_next(device))
		console_line("%-8s %lu sectors, %lu MiB, blocks of %u%s%s", device->node.name, device->capacity,
		             device->capacity / 2048, device->block_size, device->read_only ? ", read-only" : "",
		             device->can_flush ? ", flush" : "");
}

static void dump_sectors(struct block_device *device, char **words, uint8_t *memory)
{
	uint64_t sector, count = 1;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX, &sector) ||
	    !shell_number(words[4], "count", 1, DUMP_SECTORS_MAX, &count))
		return;

	int error = block_io(device, BLOCK_READ, sector, memory, (uint32_t)count * BLOCK_SECTOR);

	if (error)
		shell_error(device->node.name, "read", error);
	else
		shell_dump(sector * BLOCK_SECTOR, memory, count * BLOCK_SECTOR);
}

/* The text at the start of a block, the rest of which stays. */
static void write_text(struct block_device *device, char **words, uint8_t *memory)
{
	uint64_t sector;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX, &sector))
		return;

	int error = block_io(device, BLOCK_READ, sector, memory, device->block_size);

	if (!error) {
		memcpy(memory, words[4], strlen(words[4]));
		error = block_io(device, BLOCK_WRITE, sector, memory, device->block_size);
	}
	if (error)
		shell_error(device->node.name, "write", error);
	else
		console_line("%s: %zu bytes written at sector %lu", device->node.name, strlen(words[4]), sector);
}

/* Sectors of the pattern of a seed (see pattern.h), each as it would be with the whole disk filled. */
static void fill(struct block_device *device, char **words, uint8_t *memory)
{
	uint64_t sector, count, seed = 1, done = 0;
	int error = 0;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX / BLOCK_SECTOR, &sector) ||
	    !shell_number(words[4], "count", 1, UINT64_MAX / BLOCK_SECTOR, &count) ||
	    !shell_number(words[5], "seed", 0, UINT64_MAX, &seed))
		return;
	while (done < count && !error) {
		uint32_t bytes = (uint32_t)MIN((count - done) * BLOCK_SECTOR, CHUNK_BYTES);

		pattern_fill(seed, (sector + done) * BLOCK_SECTOR, memory, bytes);
		error = block_io(device, BLOCK_WRITE, sector + done, memory, bytes);
		done += bytes / BLOCK_SECTOR;
	}
	if (error)
		shell_error(device->node.name, "fill", error);
	else
		console_line("%s: %lu sectors of seed %lu written at sector %lu", device->node.name, count, seed, sector);
}

static void hash(struct block_device *device, char **words, uint8_t *memory)
{
	uint64_t sector = 0, count = device->capacity, done = 0, start = clock_ns();
	uint32_t crc = 0;
	int error = 0;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX / BLOCK_SECTOR, &sector) ||
	    !shell_number(words[3] ? words[4] : NULL, "count", 1, UINT64_MAX / BLOCK_SECTOR, &count))
		return;
	if (words[3] && !words[4])
		count = sector < device->capacity ? device->capacity - sector : 1;
	while (done < count && !error) {
		uint32_t bytes = (uint32_t)MIN((count - done) * BLOCK_SECTOR, CHUNK_BYTES);

		error = block_io(device, BLOCK_READ, sector + done, memory, bytes);
		crc = crc32_update(crc, memory, bytes);
		done += bytes / BLOCK_SECTOR;
	}
	if (error)
		shell_error(device->node.name, "hash", error);
	else
		console_line("%s: crc32 0x%08x of %lu sectors from %lu, %lu ms", device->node.name, crc, count, sector,
		             (clock_ns() - start) / 1000000);
}

static void identify(struct block_device *device, uint8_t *memory)
{
	int error = block_io(device, BLOCK_GET_ID, 0, memory, BLOCK_ID_BYTES);

	memory[BLOCK_ID_BYTES] = '\0';
	if (error)
		shell_error(device->node.name, "id", error);
	else
		console_line("%s: id \"%s\"", device->node.name, (const char *)memory);
}

static void flush(struct block_device *device)
{
	int error = block_io(device, BLOCK_FLUSH, 0, NULL, 0);

	if (error)
		shell_error(device->node.name, "flush", error);
	else
		console_line("%s: flushed", device->node.name);
}

/* discard, zero or erase NAME SECTOR COUNT */
static void range(struct block_device *device, char **words, enum block_op op)
{
	uint64_t sector, count;
	int error;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX / BLOCK_SECTOR, &sector) ||
	    !shell_number(words[4], "count", 1, UINT64_MAX / BLOCK_SECTOR, &count))
		return;
	error = block_range(device, op, sector, count);
	if (error)
		shell_error(words[2], words[1], error);
}

static void cache(struct block_device *device, char **words)
{
	bool on = !strcmp(words[3], "on");
	int error = on || !strcmp(words[3], "off") ? block_set_writeback(device, on) : -EINVAL;

	if (error)
		shell_error(words[2], words[1], error);
}

static void wear(struct block_device *device, char **words, uint8_t *memory)
{
	int error = block_io(device, BLOCK_GET_LIFETIME, 0, memory, BLOCK_LIFETIME_BYTES);

	if (error)
		shell_error(words[2], words[1], error);
	else
		console_line("%s: reserve %u of 3, SLC %u of 11, MLC %u of 11", words[2], memory[0], memory[2], memory[4]);
}

static void zones(struct block_device *device, char **words, uint8_t *memory)
{
	struct block_zone *zones = (struct block_zone *)(void *)memory;
	uint64_t sector = 0, count = 16;
	int told;

	if (!shell_number(words[3], "sector", 0, UINT64_MAX / BLOCK_SECTOR, &sector) ||
	    !shell_number(words[3] ? words[4] : NULL, "count", 1, CHUNK_BYTES / sizeof(*zones), &count))
		return;
	told = block_zone_report(device, sector, zones, (unsigned)count);
	if (told < 0)
		shell_error(words[2], words[1], told);
	for (int i = 0; i < told; i++)
		console_line("%lu: %lu sectors, type %u, state %u, next %lu", zones[i].start, zones[i].capacity, zones[i].type,
		             zones[i].state, zones[i].pointer);
}

/* zone NAME ACTION SECTOR */
static void zone(struct block_device *device, char **words)
{
	static const char *const actions[] = {"open", "close", "finish", "reset", "reset-all"};
	uint64_t sector;
	unsigned i = 0;
	int error;

	if (!shell_number(words[4], "sector", 0, UINT64_MAX / BLOCK_SECTOR, &sector))
		return;
	while (i < ARRAY_SIZE(actions) && strcmp(words[3], actions[i]) != 0)
		i++;
	error = i < ARRAY_SIZE(actions) ? block_zone_do(device, BLOCK_ZONE_OPEN + i, sector) : -EINVAL;
	if (error)
		shell_error(words[2], words[3], error);
}

/* words: blk ACTION NAME ... */
static bool act(struct block_device *device, unsigned count, char **words, uint8_t *memory)
{
	const char *action = words[1];

	if (!strcmp(action, "read") && (count == 4 || count == 5))
		dump_sectors(device, words, memory);
	else if (!strcmp(action, "write") && count == 5)
		write_text(device, words, memory);
	else if (!strcmp(action, "fill") && (count == 5 || count == 6))
		fill(device, words, memory);
	else if (!strcmp(action, "hash") && count <= 5)
		hash(device, words, memory);
	else if (!strcmp(action, "id") && count == 3)
		identify(device, memory);
	else if (!strcmp(action, "flush") && count == 3)
		flush(device);
	else if (!strcmp(action, "discard") && count == 5)
		range(device, words, BLOCK_DISCARD);
	else if (!strcmp(action, "zero") && count == 5)
		range(device, words, BLOCK_WRITE_ZEROES);
	else if (!strcmp(action, "erase") && count == 5)
		range(device, words, BLOCK_SECURE_ERASE);
	else if (!strcmp(action, "cache") && count == 4)
		cache(device, words);
	else if (!strcmp(action, "wear") && count == 3)
		wear(device, words, memory);
	else if (!strcmp(action, "zones") && count <= 5)
		zones(device, words, memory);
	else if (!strcmp(action, "zone") && count == 5)
		zone(device, words);
	else
		return false;
	return true;
}

static void shell_block(unsigned count, char **words)
{
	struct block_device *device;
	uint8_t *memory;

	if (count == 1 || (count == 2 && !strcmp(words[1], "list"))) {
		list();
		return;
	}
	if (count == 2) {
		shell_usage(words);
		return;
	}
	device = block_find(words[2]);
	memory = page_alloc(CHUNK_BYTES, PAGE_SIZE);
	if (!device)
		shell_error(words[2], words[1], -ENODEV);
	else if (!memory)
		shell_error(words[2], words[1], -ENOMEM);
	else if (!act(device, count, words, memory))
		shell_usage(words);
	if (memory)
		page_free(memory, CHUNK_BYTES);
}

SHELL_COMMAND(blk,
              "blk list | read NAME SECTOR [COUNT] | write NAME SECTOR TEXT | fill NAME SECTOR COUNT [SEED] | hash NAME [SECTOR "
              "COUNT] | id NAME | flush NAME | discard|zero|erase NAME SECTOR COUNT | cache NAME on|off | wear NAME | zones NAME "
              "[SECTOR [COUNT]] | zone NAME open|close|finish|reset|reset-all SECTOR",
              "disks", shell_block, 0, 5);
