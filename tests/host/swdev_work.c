/*
 * Work for each type of device. See swdev_work.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <class/block.h>
#include <class/char.h>
#include <class/entropy.h>
#include <class/net.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"
#include "swdev_work_impl.h"

static uint8_t pattern(unsigned index, size_t i) { return (uint8_t)((index * 131 + i) * 0x9e3779b1u >> 23); }

void swdev_work_fill(uint8_t *bytes, unsigned index, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(index, i);
}

bool swdev_work_matches(const uint8_t *bytes, unsigned index, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != pattern(index, i))
			return false;
	return true;
}

void swdev_work_ended(struct swdev_item *item, bool good)
{
	item->ends++;
	item->failed |= !good;
	item->work->ended++;
	item->work->good += good;
}

/* ---- blk: write, read back, compare with the disk itself ---- */

static void segment(struct swdev_item *item, uint8_t *memory)
{
	static const uint32_t cuts[SWDEV_ITEM_SEGMENTS] = {512, 1000, SWDEV_ITEM_BYTES - 1512};
	uint32_t at = 0;

	for (unsigned i = 0; i < SWDEV_ITEM_SEGMENTS; i++) {
		item->segments[i] = (struct dma_buf){memory + at, cuts[i]};
		at += cuts[i];
	}
}

static void block_done(struct block_request *request)
{
	struct swdev_item *item = request->context;
	struct block_device *device = request->home->queue->device;

	if (request->status == 0 && !item->reading && item->index % 4 != 3) {
		item->reading = true;
		segment(item, item->in);
		request->op = BLOCK_READ;
		block_submit(device, request);
		return;
	}
	if (request->status == 0 && item->reading && !swdev_work_matches(item->in, item->index, SWDEV_ITEM_BYTES))
		item->work->wrong = true;
	swdev_work_ended(item, request->status == 0);
}

static bool begin_blk(struct swdev_work *work)
{
	struct block_device *device = block_find(work->dev->vdev->name);

	if (!device)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->block = (struct block_request){.op = i % 4 == 3 ? BLOCK_FLUSH : BLOCK_WRITE,
		                                     .sector = i * (SWDEV_ITEM_BYTES / BLOCK_SECTOR),
		                                     .segments = item->segments,
		                                     .segment_count = i % 4 == 3 ? 0 : SWDEV_ITEM_SEGMENTS,
		                                     .done = block_done,
		                                     .context = item};
		segment(item, item->out);
		block_submit(device, &item->block);
	}
	return true;
}

static bool check_blk(struct swdev_work *work)
{
	const struct swdev_disk *disk = swdev_disk(work->dev);

	for (unsigned i = 0; i < work->amount; i++)
		if (i % 4 != 3 && !swdev_work_matches(disk->bytes + (size_t)i * SWDEV_ITEM_BYTES, i, SWDEV_ITEM_BYTES))
			return false;
	return true;
}

/* ---- entropy ---- */

static void entropy_done(struct entropy_request *request)
{
	struct swdev_item *item = request->context;
	bool all_zero = true;

	for (uint32_t i = 0; i < request->length; i++)
		all_zero &= item->in[i] == 0;
	if (request->status == 0 && all_zero)
		item->work->wrong = true;
	swdev_work_ended(item, request->status == 0);
}

static bool begin_entropy(struct swdev_work *work)
{
	struct entropy_device *device = entropy_find(work->dev->vdev->name);

	if (!device)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->entropy = (struct entropy_request){.memory = item->in,
		                                         .length = 64 + i % 1000,
		                                         .done = entropy_done,
		                                         .context = item};
		entropy_submit(device, &item->entropy);
	}
	return true;
}

/* ---- console: what is written is printed, what is typed is read ---- */

static void tty_done(struct char_request *request) { swdev_work_ended(request->context, request->status == 0); }

static void tty_ready(struct char_device *device)
{
	struct swdev_work *work = device->context;
	uint8_t bytes[300];
	uint32_t count;

	while ((count = char_read(device, bytes, sizeof(bytes)))) {
		if (work->typed_seen + count > work->typed_length || memcmp(work->typed + work->typed_seen, bytes, count))
			work->wrong = true;
		work->typed_seen += count;
	}
}

static bool begin_console(struct swdev_work *work)
{
	struct char_device *device = char_find(work->dev->vdev->name);

	if (!device)
		return false;
	work->tty = device;
	device->context = work;
	device->ready = tty_ready;
	work->typed_length = work->amount * 700u;
	work->typed = malloc(work->typed_length);
	swdev_work_fill(work->typed, 77, work->typed_length);
	swdev_tty_type(work->dev, 0, work->typed, work->typed_length);
	for (unsigned i = 0; i < work->amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->tty = (struct char_request){.memory = item->out,
		                                  .length = 1 + i * 97 % 3000,
		                                  .done = tty_done,
		                                  .context = item};
		char_submit(device, &item->tty);
	}
	return true;
}

static bool check_console(struct swdev_work *work)
{
	const struct swdev_port *tty = swdev_port(work->dev, 0);
	size_t at = tty->printed_length;

	for (unsigned i = 0; i < work->amount; i++)
		at -= 1 + i * 97 % 3000;
	for (unsigned i = 0; i < work->amount; i++) {
		if (!swdev_work_matches(tty->printed + at, i, 1 + i * 97 % 3000))
			return false;
		at += 1 + i * 97 % 3000;
	}
	return work->typed_seen == work->typed_length;
}

/* ---- net: frames that the device loops back ---- */

static uint32_t frame_length(unsigned index) { return 60 + index * 211 % 1455; }

static void frame_done(struct net_buf *buf)
{
	struct swdev_work *work = buf->context;

	work->frames_back++;
	net_buf_free(buf);
}

static void send_frames(struct swdev_work *work)
{
	while (work->frames_given < work->amount) {
		struct net_buf *buf = net_buf_alloc(work->pool);
		unsigned index = work->frames_given;

		if (!buf)
			return;
		buf->length = frame_length(index);
		swdev_work_fill(buf->data, index, buf->length);
		memcpy(buf->data, &index, sizeof(index));
		buf->done = frame_done;
		buf->context = work;
		if (net_tx_burst(work->net, &buf, 1) != 1) {
			net_buf_free(buf);
			return;
		}
		work->frames_given++;
	}
}

static void frames_sendable(struct net_device *device) { send_frames(device->context); }

static void take_frame(struct swdev_work *work, struct net_buf *buf)
{
	uint8_t bytes[2048] = {0};
	size_t length = 0;
	unsigned index;

	for (const struct net_buf *piece = buf; piece; piece = piece->more) {
		if (piece->length > sizeof(bytes) - length) {
			work->wrong = true;
			return;
		}
		memcpy(bytes + length, piece->data, piece->length);
		length += piece->length;
	}
	memcpy(&index, bytes, sizeof(index));
	for (size_t i = sizeof(index); i < length; i++)
		if (index >= work->amount || length != frame_length(index) || bytes[i] != pattern(index, i))
			work->wrong = true;
	if (index < work->amount && work->items[index].ends++ == 0)
		work->frames_in++;
	else
		work->wrong = true;
}

static void frames_arrived(struct net_device *device)
{
	struct swdev_work *work = device->context;
	struct net_buf *bufs[16];
	unsigned count;

	while ((count = net_rx_burst(device, bufs, 16)))
		for (unsigned i = 0; i < count; i++) {
			take_frame(work, bufs[i]);
			net_buf_free(bufs[i]);
		}
}

static bool begin_net(struct swdev_work *work)
{
	struct net_device *device = net_find(work->dev->vdev->name);

	if (!device)
		return false;
	work->net = device;
	work->pool = net_pool_create(64);
	swdev_nic(work->dev)->loopback = true;
	device->context = work;
	device->tx_ready = frames_sendable;
	net_listen(device, frames_arrived);
	send_frames(work);
	return true;
}

static bool complete_net(const struct swdev_work *work)
{
	return work->frames_in == work->amount && work->frames_back == work->amount;
}

static bool complete_console(const struct swdev_work *work)
{
	return work->typed_seen == work->typed_length && work->ended == work->amount;
}

/* ---- all ---- */

static const struct swdev_workload *find_workload(const struct swdev_type *type)
{
	LINKER_FOR_EACH (swdev_workloads, load)
		if (!strcmp((*load)->type->name, type->name))
			return *load;
	return NULL;
}

static void release(struct swdev_work *work)
{
	page_free(work->memory, 2u * SWDEV_ITEM_BYTES * work->amount);
	free(work->typed);
	free(work->state);
	free(work->items);
	free(work);
}

struct swdev_work *swdev_work_begin(struct swdev *dev, unsigned amount)
{
	struct swdev_work *work = calloc(1, sizeof(*work));
	bool begun = false;

	work->dev = dev;
	work->amount = amount;
	work->items = calloc(amount, sizeof(*work->items));
	work->memory = page_alloc(2u * SWDEV_ITEM_BYTES * amount, PAGE_SIZE);
	assert_non_null(work->memory);
	for (unsigned i = 0; i < amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->work = work;
		item->index = i;
		item->out = work->memory + 2u * SWDEV_ITEM_BYTES * i;
		item->in = item->out + SWDEV_ITEM_BYTES;
		swdev_work_fill(item->out, i, SWDEV_ITEM_BYTES);
	}
	work->load = find_workload(dev->type);
	begun = dev->vdev && work->load && work->load->begin(work);
	if (begun)
		return work;
	release(work);
	return NULL;
}

static bool complete(const struct swdev_work *work)
{
	return work->load->complete ? work->load->complete(work) : work->ended == work->amount;
}

bool swdev_work_wait(struct swdev_work *work, uint64_t ns)
{
	uint64_t end = clock_ns() + ns;

	while (!complete(work) && clock_ns() < end)
		loop_turn(true, end);
	if (!complete(work) || work->wrong)
		return false;
	return (work->load->frames || work->good == work->amount) && (!work->load->check || work->load->check(work));
}

void swdev_work_end(struct swdev_work *work)
{
	uint64_t end = clock_ns() + 100000000;

	if (!work)
		return;
	while (!work->load->frames && work->ended < work->amount && clock_ns() < end)
		loop_turn(true, end);
	for (unsigned i = 0; i < work->amount && !work->load->frames; i++)
		if (work->items[i].ends != 1)
			fail_msg("request %u of type %u ended %u times", i, work->load->type->id, work->items[i].ends);
	if (work->load->end)
		work->load->end(work);
	if (work->pool) {
		if (work->frames_back != work->frames_given)
			fail_msg("%u of %u frames came back", work->frames_back, work->frames_given);
		assert_int_equal(net_pool_free_count(work->pool), 64);
		net_pool_destroy(work->pool);
	}
	release(work);
}

static const struct swdev_workload net_load = {.type = &swdev_net, .begin = begin_net, .complete = complete_net, .frames = true},
				   blk_load = {.type = &swdev_blk, .begin = begin_blk, .check = check_blk},
				   console_load = {.type = &swdev_console,
                                                   .begin = begin_console,
                                                   .complete = complete_console,
                                                   .check = check_console},
				   entropy_load = {.type = &swdev_entropy, .begin = begin_entropy};
LINKER_ENTRY(swdev_workloads, net_load);
LINKER_ENTRY(swdev_workloads, blk_load);
LINKER_ENTRY(swdev_workloads, console_load);
LINKER_ENTRY(swdev_workloads, entropy_load);
