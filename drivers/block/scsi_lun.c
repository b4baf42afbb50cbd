/*
 * A logical unit of a SCSI host: what it is asked, and disks (and discs) as block devices.
 *
 * It is asked by the scan (scsi_scan.c), one command after the other. Block requests become a command each, of which a unit has no more at a
 * time than the host allows.
 */
#include "scsi.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>

enum { /* SPC, SBC, MMC: operation codes */
       TEST_UNIT_READY = 0x00,
       INQUIRY = 0x12,
       MODE_SENSE_6 = 0x1a,
       READ_CAPACITY_10 = 0x25,
       READ_10 = 0x28,
       WRITE_10 = 0x2a,
       SYNCHRONIZE_CACHE_10 = 0x35,
       UNMAP = 0x42,
       READ_16 = 0x88,
       WRITE_16 = 0x8a,
       SERVICE_ACTION_IN_16 = 0x9e, /* READ CAPACITY (16) */
};
enum { PAGE_SERIAL = 0x80, PAGE_BLOCK_LIMITS = 0xb0, MODE_CACHING = 8, MODE_ALL = 0x3f };

#define BLOCK_SIZE_MAX 65536u
#define UNMAP_BYTES 24u

static uint64_t get64(const uint8_t *at) { return (uint64_t)scsi_get32(at) << 32 | scsi_get32(at + 4); }

/* ---- block requests ---- */

static void part_done(struct scsi_command *command)
{
	struct block_request *request = command->block;
	struct scsi_lun *lun = command->lun;
	struct scsi *scsi = command->scsi;
	uint8_t *id = command->wire->scratch;
	int status = command->status;

	if (request->op == BLOCK_GET_ID && !status) { /* four bytes, then the text */
		memset(request->segments[0].addr, 0, BLOCK_ID_BYTES);
		memcpy(request->segments[0].addr, id + 4, MIN(id[3], BLOCK_ID_BYTES));
	}
	scsi_command_put(command);
	lun->in_flight--;
	if (lun->leaving)
		event_mark(&scsi->scan_event);
	block_part_done(&lun->queue, request, status);
	scsi_pump(scsi);
}

/* What all but a few are. */
static void transfer_cdb(uint8_t *cdb, bool write, uint64_t at, uint32_t count)
{
	if (at + count <= UINT32_MAX && count <= UINT16_MAX) {
		cdb[0] = write ? WRITE_10 : READ_10;
		scsi_put32(cdb + 2, (uint32_t)at);
		scsi_put16(cdb + 7, count);
	} else {
		cdb[0] = write ? WRITE_16 : READ_16;
		scsi_put32(cdb + 2, (uint32_t)(at >> 32));
		scsi_put32(cdb + 6, (uint32_t)at);
		scsi_put32(cdb + 10, count);
	}
}

/* An operation whose data are ours: gives where they are. */
static struct dma_buf own_data(struct scsi_command *command, enum block_op op, uint64_t at, uint32_t count)
{
	uint8_t *cdb = command->wire->request.cdb, *scratch = command->wire->scratch;

	memset(scratch, 0, SCSI_SCRATCH);
	if (op == BLOCK_GET_ID) {
		cdb[0] = INQUIRY;
		cdb[1] = 1;
		cdb[2] = PAGE_SERIAL;
		cdb[4] = SCSI_SCRATCH;
		return (struct dma_buf){scratch, SCSI_SCRATCH};
	}
	cdb[0] = UNMAP; /* one descriptor */
	cdb[8] = UNMAP_BYTES;
	scratch[1] = UNMAP_BYTES - 2;
	scratch[3] = 16;
	scsi_put32(scratch + 8, (uint32_t)(at >> 32));
	scsi_put32(scratch + 12, (uint32_t)at);
	scsi_put32(scratch + 16, count);
	return (struct dma_buf){scratch, UNMAP_BYTES};
}

static int post(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
                unsigned count, uint32_t sectors)
{
	struct scsi_lun *lun = container_of(queue, struct scsi_lun, queue);
	uint32_t unit = lun->block.block_size / BLOCK_SECTOR;
	enum block_op op = request->op;
	struct scsi_command *command;
	struct dma_buf own;
	uint8_t *cdb;

	if (lun->leaving)
		return -ENODEV;
	/* "MUST NOT send more than cmd_per_lun commands to one LUN" */
	if (!lun->scsi->running || lun->in_flight >= lun->scsi->per_lun)
		return -ENOSPC;
	command = scsi_command_get(lun->scsi, lun->target, lun->number);
	if (!command)
		return -ENOSPC;
	command->lun = lun;
	command->block = request;
	command->done = part_done;
	cdb = command->wire->request.cdb;
	if (op == BLOCK_READ || op == BLOCK_WRITE) {
		transfer_cdb(cdb, op == BLOCK_WRITE, sector / unit, sectors / unit);
		command->expected = sectors * BLOCK_SECTOR;
	} else if (op == BLOCK_FLUSH) {
		cdb[0] = SYNCHRONIZE_CACHE_10; /* all of it */
		count = 0;
	} else {
		own = own_data(command, op, sector / unit, sectors / unit);
		segments = &own;
		count = 1;
	}
	lun->in_flight++;
	scsi_command_send(command, segments, count, op == BLOCK_WRITE || op == BLOCK_DISCARD);
	return 0;
}

static const struct block_ops ops = {.post = post};

void scsi_pump(struct scsi *scsi)
{
	for (struct scsi_lun *lun = scsi->luns; lun && scsi->free; lun = lun->next)
		if (lun->registered)
			block_pump(&lun->queue);
}

/* ---- what a unit is asked ---- */

static struct scsi_command *command_for(struct scsi *scsi, uint8_t target, uint16_t lun)
{
	struct scsi_command *command;

	while (scsi->running && !(command = scsi_command_get(scsi, target, lun)))
		loop_turn(true, clock_ns() + 10000000);
	return scsi->running ? command : NULL;
}

int scsi_ask(struct scsi *scsi, uint8_t target, uint16_t lun, const uint8_t cdb[6], uint32_t length)
{
	struct scsi_command *command = command_for(scsi, target, lun);

	if (!command)
		return -ECANCELED;
	memcpy(command->wire->request.cdb, cdb, 6);
	if (cdb[0] == SCSI_REPORT_LUNS)
		scsi_put32(command->wire->request.cdb + 6, length);
	else if (cdb[0] == SERVICE_ACTION_IN_16)
		scsi_put32(command->wire->request.cdb + 10, length);
	memset(scsi->page, 0, PAGE_SIZE);
	return scsi_command_call(command, length ? scsi->page : NULL, length);
}

static int ask_lun(const struct scsi_lun *lun, const uint8_t cdb[6], uint32_t length)
{
	return scsi_ask(lun->scsi, lun->target, lun->number, cdb, length);
}

static int set_capacity(struct scsi_lun *lun, uint64_t last, uint32_t size)
{
	if (size < BLOCK_SECTOR || size > BLOCK_SIZE_MAX || (size & (size - 1)) || last >= UINT64_MAX / BLOCK_SIZE_MAX) {
		log_warn("%s: %llu blocks of %u bytes cannot be", lun->name, (unsigned long long)last + 1, size);
		return -EINVAL;
	}
	lun->block.block_size = size;
	lun->block.capacity = (last + 1) * (size / BLOCK_SECTOR);
	return 0;
}

static int read_capacity(struct scsi_lun *lun)
{
	const uint8_t *page = lun->scsi->page;
	int error = ask_lun(lun, (const uint8_t[6]){READ_CAPACITY_10}, 8);

	if (error)
		return error;
	if (scsi_get32(page) != UINT32_MAX)
		return set_capacity(lun, scsi_get32(page), scsi_get32(page + 4));
	error = ask_lun(lun, (const uint8_t[6]){SERVICE_ACTION_IN_16, 0x10}, 32);
	return error ? error : set_capacity(lun, get64(page), scsi_get32(page + 8));
}

/* Write protection, and whether there is a cache to synchronize: without an answer there is. */
static int read_modes(struct scsi_lun *lun)
{
	const uint8_t *page = lun->scsi->page;
	unsigned at;
	int error = ask_lun(lun, (const uint8_t[6]){MODE_SENSE_6, 0, MODE_ALL, 0, 192}, 192);

	if (scsi_cut_short(error))
		return error;
	lun->block.read_only = lun->type == SCSI_TYPE_CD || (!error && page[2] & 0x80);
	lun->block.can_flush = !lun->block.read_only;
	for (at = 4u + page[3]; !error && at + 2 < 192 && page[at]; at += 2u + page[at + 1])
		if ((page[at] & 0x3f) == MODE_CACHING)
			lun->block.can_flush = page[at + 2] & 4; /* WCE */
	return 0;
}

static void set_limits(struct scsi_lun *lun, uint32_t blocks_max)
{
	uint64_t bytes = lun->scsi->bytes_max;

	if (blocks_max)
		bytes = MIN(bytes, (uint64_t)blocks_max * lun->block.block_size);
	/* The class knows limits of pieces: in sum no more than that. */
	lun->block.limits = (struct block_limits){
		.max_segments = lun->scsi->segments_max,
		.max_segment_bytes = MAX((uint32_t)(bytes / lun->scsi->segments_max) & ~(BLOCK_SECTOR - 1), BLOCK_SECTOR),
	};
}

static int read_limits(struct scsi_lun *lun)
{
	const uint8_t *page = lun->scsi->page;
	uint32_t unit = lun->block.block_size / BLOCK_SECTOR;
	int error = ask_lun(lun, (const uint8_t[6]){INQUIRY, 1, PAGE_BLOCK_LIMITS, 0, 64}, 64);

	if (scsi_cut_short(error))
		return error;
	if (error || page[1] != PAGE_BLOCK_LIMITS)
		memset(lun->scsi->page, 0, 64);
	set_limits(lun, scsi_get32(page + 8));
	lun->block.discard.max_sectors = 0;
	if (!lun->block.read_only && scsi_get32(page + 24)) /* descriptors of an UNMAP */
		lun->block.discard.max_sectors = MIN(scsi_get32(page + 20), UINT32_MAX / BLOCK_SIZE_MAX) * unit;
	return 0;
}

int scsi_look_at(struct scsi_lun *lun)
{
	uint64_t former = lun->block.capacity;
	int error = ask_lun(lun, (const uint8_t[6]){INQUIRY, 0, 0, 0, 36}, 36);

	if (error)
		return error;
	lun->type = lun->scsi->page[0] & 0x1f;
	if (lun->scsi->page[0] >> 5 || (lun->type != SCSI_TYPE_DISK && lun->type != SCSI_TYPE_CD))
		return -ENOTSUP;
	error = ask_lun(lun, (const uint8_t[6]){TEST_UNIT_READY}, 0); /* after which it has its attention, too */
	if (!error)
		error = read_capacity(lun);
	if (!error)
		error = read_modes(lun);
	if (!error)
		error = read_limits(lun);
	if (error || (lun->registered && lun->block.capacity == former))
		return error;
	lun->block.writeback = lun->block.can_flush;
	log_info("%s: %s, %llu sectors, blocks of %u", lun->name, lun->type == SCSI_TYPE_CD ? "disc" : "disk",
	         (unsigned long long)lun->block.capacity, lun->block.block_size);
	if (!lun->registered)
		error = block_register(&lun->block, lun->queues, 1);
	lun->registered |= !error;
	return error;
}

struct scsi_lun *scsi_lun_new(struct scsi *scsi, uint8_t target, uint16_t number)
{
	struct scsi_lun *lun = page_alloc(sizeof(*lun), PAGE_SIZE);

	if (!lun)
		return NULL;
	lun->scsi = scsi;
	lun->target = target;
	lun->number = number;
	format_text(lun->name, sizeof(lun->name), "%s.%u.%u", scsi->vdev->name, target, number);
	lun->block.node.name = lun->name;
	lun->block.ops = &ops;
	lun->queues[0] = &lun->queue;
	return lun;
}

void scsi_lun_free(struct scsi_lun *lun)
{
	if (lun->registered) {
		log_info("%s: gone", lun->name);
		block_unregister(&lun->block);
	}
	page_free(lun, sizeof(*lun));
}
