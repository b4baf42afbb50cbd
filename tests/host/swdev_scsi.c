/*
 * "SCSI Host Device", with disks and discs in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_scsi.h"
#include "swdev_work_impl.h"

enum { CONTROLQ, EVENTQ, REQUESTQ };
enum { REQUEST = 51, RESPONSE = 108 };
enum { S_OK, S_OVERRUN, S_ABORTED, S_BAD_TARGET, S_RESET };

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 4, .count = 5, .feature = -1},
	{.offset = 20, .width = 4, .count = 2, .feature = -1, .writable = true},
	{.offset = 28, .width = 2, .count = 2, .feature = -1},
	{.offset = 32, .width = 4, .count = 1, .feature = -1},
	{.width = 0},
};

static struct swdev_scsi *state_of(struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_scsi));
	put32(dev->config, 1);       /* num_queues */
	put32(dev->config + 4, 62);  /* seg_max */
	put32(dev->config + 8, 512); /* max_sectors */
	put32(dev->config + 12, 8);  /* cmd_per_lun */
	put32(dev->config + 16, 16); /* event_info_size */
	put32(dev->config + 20, 96);
	put32(dev->config + 24, 32);
	put16(dev->config + 30, 7);     /* max_target */
	put32(dev->config + 32, 16383); /* max_lun */
	swdev_scsi_add(dev, 0, 0, 2048, 512);
}

static void release(struct swdev *dev)
{
	for (unsigned i = 0; i < SWDEV_UNITS; i++)
		free(state_of(dev)->units[i].bytes);
	free(dev->state);
}

struct swdev_unit *swdev_scsi_add(struct swdev *dev, uint8_t target, uint16_t lun, uint64_t blocks, uint32_t block_size)
{
	struct swdev_unit *unit = state_of(dev)->units;

	while (unit->there || unit->bytes)
		unit++;
	*unit = (struct swdev_unit){.there = true, .target = target, .lun = lun, .block_size = block_size, .blocks = blocks};
	unit->bytes_count = (blocks < 65536 ? blocks : 65536) * block_size;
	unit->bytes = calloc(1, unit->bytes_count);
	unit->attention = 1; /* power on */
	unit->code = 0x29;
	return unit;
}

void swdev_scsi_remove(struct swdev *dev, struct swdev_unit *unit)
{
	(void)dev;
	unit->there = false;
}

void swdev_scsi_event(struct swdev *dev, uint32_t event, uint8_t target, uint16_t lun, uint32_t reason)
{
	struct swdev_scsi *scsi = state_of(dev);

	scsi->events[scsi->event_count].event = event;
	scsi->events[scsi->event_count].reason = reason;
	memcpy(scsi->events[scsi->event_count].lun, (uint8_t[8]){1, target, (uint8_t)(0x40 | lun >> 8), (uint8_t)lun}, 8);
	scsi->event_count++;
}

static struct swdev_unit *find(struct swdev *dev, uint8_t target, int lun)
{
	for (struct swdev_unit *unit = state_of(dev)->units; unit < state_of(dev)->units + SWDEV_UNITS; unit++)
		if (unit->there && unit->target == target && (lun < 0 || unit->lun == lun))
			return unit;
	return NULL;
}

static uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t be32(const uint8_t *at) { return be16(at) << 16 | be16(at + 2); }
static void put_be32(uint8_t *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* ---- answers ---- */

struct answer {
	uint8_t response, status, key, code, qualifier;
	uint32_t moved; /* bytes of data */
};

static void respond(struct swdev_chain *chain, const struct answer *answer, uint32_t data, uint32_t *written)
{
	uint8_t wire[RESPONSE] = {0};

	put32(wire + 4, data - answer->moved); /* residual */
	wire[10] = answer->status;
	wire[11] = answer->response;
	if (answer->status == 2) {
		put32(wire, 18);
		wire[12] = 0x70;
		wire[14] = answer->key;
		wire[19] = 10;
		wire[24] = answer->code;
		wire[25] = answer->qualifier;
	}
	swdev_chain_write(chain, 0, wire, RESPONSE);
	*written = (uint32_t)chain->writable_bytes;
}

/* Data to the driver, cut to what it has room for and asked for. */
static void give(const struct swdev_chain *chain, struct answer *answer, const void *data, uint32_t length, uint32_t asked)
{
	if (length > asked)
		length = asked;
	answer->moved = (uint32_t)swdev_chain_write(chain, RESPONSE, data, length);
}

static void check(struct answer *answer, uint8_t key, uint8_t code)
{
	answer->status = 2;
	answer->key = key;
	answer->code = code;
}

/* ---- commands ---- */

static void inquiry(const struct swdev_chain *chain, const struct swdev_unit *unit, const uint8_t *cdb, struct answer *answer)
{
	uint8_t data[64] = {0};
	char serial[16];

	data[0] = unit->type;
	if (!(cdb[1] & 1)) {
		data[2] = 5;
		data[4] = 31;
		memcpy(data + 8, "vireo   software disk   0001", 28);
		give(chain, answer, data, 36, be16(cdb + 3));
		return;
	}
	data[1] = cdb[2];
	if (cdb[2] == 0x80) {
		snprintf(serial, sizeof(serial), "%u-%u", unit->target, unit->lun);
		data[3] = (uint8_t)strlen(serial);
		memcpy(data + 4, serial, strlen(serial));
		give(chain, answer, data, 4 + (uint32_t)strlen(serial), be16(cdb + 3));
	} else if (cdb[2] == 0xb0) {
		data[3] = 60;
		put_be32(data + 8, 256);   /* blocks */
		put_be32(data + 20, 1000); /* of an UNMAP */
		put_be32(data + 24, 1);
		give(chain, answer, data, 64, be16(cdb + 3));
	} else {
		check(answer, 5, 0x24);
	}
}

static void report_luns(struct swdev *dev, const struct swdev_chain *chain, uint8_t target, const uint8_t *cdb,
                        struct answer *answer)
{
	uint8_t data[8 + 8 * SWDEV_UNITS] = {0};
	uint32_t count = 0;

	for (unsigned i = 0; i < SWDEV_UNITS; i++) {
		const struct swdev_unit *unit = &state_of(dev)->units[i];

		if (!unit->there || unit->target != target)
			continue;
		data[8 + 8 * count] = (uint8_t)(unit->lun < 256 ? 0 : 0x40 | unit->lun >> 8);
		data[9 + 8 * count++] = (uint8_t)unit->lun;
	}
	put_be32(data, 8 * count);
	give(chain, answer, data, 8 + 8 * count, be32(cdb + 6));
}

static void read_capacity(const struct swdev_chain *chain, const struct swdev_unit *unit, const uint8_t *cdb,
                          struct answer *answer)
{
	uint8_t data[32] = {0};
	uint64_t last = unit->blocks - 1;

	if (cdb[0] == 0x25) {
		put_be32(data, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
		put_be32(data + 4, unit->block_size);
		give(chain, answer, data, 8, 8);
		return;
	}
	put_be32(data, (uint32_t)(last >> 32));
	put_be32(data + 4, (uint32_t)last);
	put_be32(data + 8, unit->block_size);
	give(chain, answer, data, 32, be32(cdb + 10));
}

static void mode_sense(const struct swdev_chain *chain, const struct swdev_unit *unit, const uint8_t *cdb, struct answer *answer)
{
	uint8_t data[24] = {23, 0, unit->write_protected ? 0x80 : 0, 0, 8, 18, unit->write_through ? 0 : 4};

	give(chain, answer, data, sizeof(data), cdb[4]);
}

static void transfer(struct swdev *dev, const struct swdev_chain *chain, struct swdev_unit *unit, const uint8_t *cdb,
                     struct answer *answer)
{
	bool wide = cdb[0] & 0x80, write = (cdb[0] & 0x0f) == 0x0a;
	uint64_t at = wide ? (uint64_t)be32(cdb + 2) << 32 | be32(cdb + 6) : be32(cdb + 2);
	uint64_t count = wide ? be32(cdb + 10) : be16(cdb + 7), bytes = count * unit->block_size;
	uint64_t data = write ? chain->readable_bytes - REQUEST : chain->writable_bytes - RESPONSE;

	state_of(dev)->wide_seen |= wide;
	if (data != bytes)
		swdev_violation(dev, "a command for %llu bytes with %llu of data", (unsigned long long)bytes,
		                (unsigned long long)data);
	if (bytes > 256 * 512)
		swdev_violation(dev, "a command for %llu bytes, more than the limits tell", (unsigned long long)bytes);
	if (bytes > unit->largest)
		unit->largest = (unsigned)bytes;
	if (at > unit->blocks || count > unit->blocks - at) {
		check(answer, 5, 0x21);
		return;
	}
	if (write && unit->write_protected) {
		check(answer, 7, 0x27);
		return;
	}
	unit->reads += !write;
	unit->writes += write;
	at = at % (unit->bytes_count / unit->block_size); /* of a large one there is only the beginning, again and again */
	if ((at + count) * unit->block_size > unit->bytes_count)
		count = 0;
	if (write)
		swdev_chain_read(chain, REQUEST, unit->bytes + at * unit->block_size, count * unit->block_size);
	else
		swdev_chain_write(chain, RESPONSE, unit->bytes + at * unit->block_size, count * unit->block_size);
	answer->moved = (uint32_t)bytes;
}

static void unmap(struct swdev *dev, const struct swdev_chain *chain, struct swdev_unit *unit, struct answer *answer)
{
	uint8_t list[24] = {0};
	uint64_t at;
	uint32_t count;

	if (swdev_chain_read(chain, REQUEST, list, sizeof(list)) != sizeof(list) || be16(list) != 22 || be16(list + 2) != 16)
		swdev_violation(dev, "a parameter list of the wrong form");
	at = be32(list + 12);
	count = be32(list + 16);
	if (!count || count > 1000 || at + count > unit->blocks)
		swdev_violation(dev, "UNMAP of %u blocks at %llu", count, (unsigned long long)at);
	else
		memset(unit->bytes + at * unit->block_size, 0, (size_t)count * unit->block_size);
	unit->unmaps++;
	answer->moved = sizeof(list);
}

static void command(struct swdev *dev, const struct swdev_chain *chain, struct swdev_unit *unit, const uint8_t *cdb,
                    struct answer *answer)
{
	switch (cdb[0]) {
	case 0x00:
		if (unit->no_medium)
			check(answer, 2, 0x3a);
		break;
	case 0x12:
		inquiry(chain, unit, cdb, answer);
		break;
	case 0x1a:
		mode_sense(chain, unit, cdb, answer);
		break;
	case 0x25:
	case 0x9e:
		read_capacity(chain, unit, cdb, answer);
		break;
	case 0x35:
		unit->syncs++;
		break;
	case 0x42:
		unmap(dev, chain, unit, answer);
		break;
	case 0x28:
	case 0x2a:
	case 0x88:
	case 0x8a:
		transfer(dev, chain, unit, cdb, answer);
		break;
	default:
		check(answer, 5, 0x20);
	}
}

static bool moves_data(uint8_t code) { return code == 0x28 || code == 0x2a || code == 0x88 || code == 0x8a || code == 0x35; }

static bool serve_command(struct swdev *dev, struct swdev_chain *chain, uint32_t *written)
{
	struct answer answer = {0};
	uint8_t wire[REQUEST] = {0};
	const uint8_t *cdb = wire + 19;
	uint32_t data = 0;
	struct swdev_unit *unit;

	if (swdev_chain_read(chain, 0, wire, REQUEST) != REQUEST || chain->writable_bytes < RESPONSE) {
		swdev_violation(dev, "a command without header or response");
		return true;
	}
	if (wire[16] || wire[17] || wire[18])
		swdev_violation(dev, "task_attr, prio or crn is not zero");
	if (wire[0] != 1 || wire[2] >> 6 != 1 || wire[4] || wire[5] || wire[6] || wire[7])
		swdev_violation(dev, "a lun of the wrong format");
	state_of(dev)->commands++;
	data = (uint32_t)(chain->readable_bytes - REQUEST + chain->writable_bytes - RESPONSE);
	unit = find(dev, wire[1], (int)(be16(wire + 2) & 0x3fff));
	if (!find(dev, wire[1], -1)) {
		answer.response = S_BAD_TARGET;
	} else if (cdb[0] == 0xa0) {
		report_luns(dev, chain, wire[1], cdb, &answer);
	} else if (!unit) {
		check(&answer, 5, 0x25);
	} else if (unit->attention && cdb[0] != 0x12) {
		unit->attention--;
		check(&answer, 6, unit->code);
		answer.qualifier = unit->qualifier;
	} else if ((unit->holds && moves_data(cdb[0])) || unit->ignores == (0x10000u | be16(cdb))) {
		return false;
	} else if (unit->fail && moves_data(cdb[0])) {
		unit->fail--;
		answer = (struct answer){.response = unit->response, .status = unit->status, .key = unit->key};
	} else {
		command(dev, chain, unit, cdb, &answer);
	}
	respond(chain, &answer, data, written);
	return true;
}

/* "Device Operation: controlq": what is asked for takes place before the answer. */
static void end_held(struct swdev *dev, const uint8_t *tmf, bool one)
{
	struct swdev_queue *queue = &dev->queues[REQUESTQ];
	struct swdev_chain *keep = NULL, *chain;
	uint8_t wire[REQUEST];
	uint32_t written;

	while ((chain = swdev_take_held(queue))) {
		struct answer answer = {.response = one ? S_ABORTED : S_RESET};

		swdev_chain_read(chain, 0, wire, REQUEST);
		if (memcmp(wire, tmf + 8, 8) || (one && memcmp(wire + 8, tmf + 16, 8))) {
			chain->next = keep;
			keep = chain;
			continue;
		}
		respond(chain, &answer, 0, &written);
		swdev_complete(chain, written);
	}
	while (keep) {
		chain = keep;
		keep = chain->next;
		chain->next = NULL;
		*queue->held_tail = chain;
		queue->held_tail = &chain->next;
	}
}

static bool serve_control(struct swdev *dev, struct swdev_chain *chain, uint32_t *written)
{
	uint8_t wire[24] = {0}, answer = 0;
	uint32_t function;
	struct swdev_unit *unit;

	if (swdev_chain_read(chain, 0, wire, sizeof(wire)) != sizeof(wire) || chain->writable_bytes != 1)
		swdev_violation(dev, "a control request of the wrong size");
	function = get32(wire + 4);
	if (get32(wire) || (function != 0 && function != 5))
		swdev_violation(dev, "a control request of type %u.%u", get32(wire), function);
	state_of(dev)->aborts += function == 0;
	state_of(dev)->lun_resets += function == 5;
	unit = find(dev, wire[9], (int)(be16(wire + 10) & 0x3fff));
	if (!unit)
		answer = S_BAD_TARGET;
	else if (!unit->deaf || function == 5)
		end_held(dev, wire, function == 0);
	swdev_chain_write(chain, 0, &answer, 1);
	*written = 1;
	return true;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	if (queue->index == REQUESTQ)
		return serve_command(queue->dev, chain, written);
	if (queue->index == CONTROLQ)
		return serve_control(queue->dev, chain, written);
	if (chain->readable || chain->writable_bytes < get32(queue->dev->config + 16))
		swdev_violation(queue->dev, "an event buffer of %llu bytes", (unsigned long long)chain->writable_bytes);
	return false;
}

static void produce(struct swdev *dev)
{
	struct swdev_scsi *scsi = state_of(dev);
	struct swdev_chain *chain;

	for (unsigned i = 0; i < scsi->event_count && (chain = swdev_take_held(&dev->queues[EVENTQ])); i++) {
		uint8_t wire[16];

		put32(wire, scsi->events[i].event);
		memcpy(wire + 4, scsi->events[i].lun, 8);
		put32(wire + 12, scsi->events[i].reason);
		swdev_chain_write(chain, 0, wire, sizeof(wire));
		swdev_complete(chain, sizeof(wire));
	}
	scsi->event_count = 0;
	for (unsigned i = 0; i < SWDEV_UNITS; i++) { /* those that do not hold any more */
		if (scsi->units[i].holds || scsi->units[i].ignores)
			return;
	}
	while ((chain = swdev_take_held(&dev->queues[REQUESTQ]))) {
		uint32_t written = 0;

		serve_command(dev, chain, &written);
		swdev_complete(chain, written);
	}
}

const struct swdev_type swdev_scsi = {
	.id = 8,
	.name = "scsi",
	.queues = 3,
	.features = FEATURE(1) | FEATURE(2) | FEATURE(3), /* HOTPLUG, CHANGE, T10_PI */
	.fields = fields,
	.config_size = 36,
	.init = init,
	.free = release,
	.serve = serve,
	.produce = produce,
};

/* ---- work ---- */

static struct block_device *disk_of(struct swdev *dev)
{
	char name[40];

	snprintf(name, sizeof(name), "%s.0.0", dev->vdev->name);
	return block_find(name);
}

static void submit(struct swdev_item *item)
{
	item->block = (struct block_request){.op = item->reading ? BLOCK_READ : BLOCK_WRITE,
	                                     .sector = item->index * (SWDEV_ITEM_BYTES / BLOCK_SECTOR),
	                                     .segments = item->segments,
	                                     .segment_count = 1,
	                                     .done = item->block.done,
	                                     .context = item};
	item->segments[0].addr = item->reading ? item->in : item->out;
	item->segments[0].len = SWDEV_ITEM_BYTES;
	block_submit(disk_of(item->work->dev), &item->block);
}

static void block_done(struct block_request *request)
{
	struct swdev_item *item = request->context;
	bool good = request->status == 0;

	if (good && !item->reading && disk_of(item->work->dev)) {
		item->reading = true;
		submit(item);
		return;
	}
	if (good && item->reading && !swdev_work_matches(item->in, item->index, SWDEV_ITEM_BYTES))
		item->work->wrong = true;
	swdev_work_ended(item, good);
}

static bool begin(struct swdev_work *work)
{
	if (!disk_of(work->dev))
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		work->items[i].block.done = block_done;
		submit(&work->items[i]);
	}
	return true;
}

static bool check_work(struct swdev_work *work)
{
	for (unsigned i = 0; i < work->amount; i++)
		if (!swdev_work_matches(state_of(work->dev)->units[0].bytes + (size_t)i * SWDEV_ITEM_BYTES, i, SWDEV_ITEM_BYTES))
			return false;
	return true;
}

static const struct swdev_workload load = {.type = &swdev_scsi, .begin = begin, .check = check_work};
LINKER_ENTRY(swdev_workloads, load);

/* ---- its own lies ---- */

static void attention_for_ever(struct swdev *dev)
{
	state_of(dev)->units[0].attention = 1;
	dev->lies_told++;
}

static void events_for_ever(struct swdev *dev)
{
	if (!(dev->status & ST_DRIVER_OK) || state_of(dev)->event_count > 8)
		return;
	dev->lies_told++;
	swdev_scsi_event(dev, dev->looks % 5 | 0x80000000u, (uint8_t)dev->looks, (uint16_t)dev->looks, dev->looks % 4);
}

static void impossible_blocks(struct swdev *dev)
{
	state_of(dev)->units[0].block_size = 513;
	dev->lies_told++;
}

static void no_blocks(struct swdev *dev)
{
	state_of(dev)->units[0].blocks = 0; /* so that the last one is that of all numbers */
	dev->lies_told++;
}

static void unknown_answers(struct swdev *dev)
{
	struct swdev_unit *unit = &state_of(dev)->units[0];

	unit->fail = UINT32_MAX;
	unit->response = 77;
	unit->status = 77;
	dev->lies_told++;
}

static void short_answers(struct swdev *dev)
{
	state_of(dev)->units[0].fail = UINT32_MAX; /* good, with all of it left over */
	dev->lies_told++;
}

static const struct swdev_lie lies[] = {
	{"scsi unit attention for ever", FRONT_DIRECT, .type = &swdev_scsi, .at_look = attention_for_ever, .harmless = true},
	{"scsi events for ever", FRONT_DIRECT, .type = &swdev_scsi, .at_look = events_for_ever, .harmless = true},
	{"scsi blocks of 513 bytes", FRONT_DIRECT, .type = &swdev_scsi, .setup = impossible_blocks, .says = "cannot be"},
	{"scsi blocks without end", FRONT_DIRECT, .type = &swdev_scsi, .setup = no_blocks, .says = "cannot be"},
	{"scsi undefined answers", FRONT_DIRECT, .type = &swdev_scsi, .setup = unknown_answers, .harmless = true},
	{"scsi moves no data", FRONT_DIRECT, .type = &swdev_scsi, .setup = short_answers, .harmless = true},
	{"scsi cdb_size 16", FRONT_DIRECT, .type = &swdev_scsi, .reg = REG_CONFIG, .index = 24, .op = OP_SET, .value = 16,
         .says = "cdb_size"},
	{"scsi seg_max 0", FRONT_DIRECT, .type = &swdev_scsi, .reg = REG_CONFIG, .index = 4, .op = OP_SET, .value = 0,
         .harmless = true, .works = true},
	{"scsi event_info_size without end", FRONT_DIRECT, .type = &swdev_scsi, .reg = REG_CONFIG, .index = 16, .op = OP_SET,
         .value = UINT32_MAX, .harmless = true, .works = true, .blind = true},
	{},
};
SWDEV_LIES(lies);
