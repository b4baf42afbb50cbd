/*
 * Requests of the input for a device of any class. See work.h.
 */
#include "work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/page.h>
#include <class/block.h>
#include <class/char.h>
#include <class/entropy.h>
#include <class/net.h>
#include <virtio/ids.h>

#define OUTSTANDING_MAX 32u
#define SEGMENTS 8u
#define FRAMES 64u
#define ENTROPY_LARGE 70000u
#define TTY_LARGE 0x120000u
#define KEPT 16u
#define ETHERNET_HEADER 14u

static struct work {
	uint16_t type;
	bool honest, submitting;
	unsigned outstanding;
	struct net_pool *pool;
	struct net_buf *kept[KEPT]; /* received frames that the program has not done with */
	unsigned kept_count, sum;
	bool large;
	bool sluggish; /* reads and frees only when a step says so */
} w;

/* A request of block, entropy or char class, in memory of its own. */
struct task {
	union {
		struct block_request block;
		struct entropy_request entropy;
		struct char_request tty;
	};
	struct dma_buf segments[SEGMENTS];
	unsigned segment_count;
	bool expect_good, again;
};

static struct task *task_new(void)
{
	if (w.outstanding == OUTSTANDING_MAX)
		return NULL;
	w.outstanding++;
	return calloc(1, sizeof(struct task));
}

static bool task_memory(struct task *task, uint32_t length)
{
	void *memory = page_alloc(length, PAGE_SIZE);

	if (!memory)
		return false;
	task->segments[task->segment_count++] = (struct dma_buf){memory, length};
	return true;
}

static void task_free(struct task *task)
{
	for (unsigned i = 0; i < task->segment_count; i++)
		page_free(task->segments[i].addr, task->segments[i].len);
	free(task);
	w.outstanding--;
}

static void check_done(const struct task *task, int status)
{
	static const int known[] = {0, -EIO, -EINVAL, -ERANGE, -EROFS, -ENOTSUP, -ENODEV};
	unsigned i = 0;

	while (i < ARRAY_SIZE(known) && known[i] != status)
		i++;
	fuzz_check(i < ARRAY_SIZE(known), "a request ends with %d", status);
	fuzz_check(!w.submitting, "a request ends inside its submission");
	fuzz_check(!w.honest || !task->expect_good || !status || status == -EIO || status == -ENODEV,
	           "an honest request ends with %d", status);
}

static uint32_t choose_length(struct fuzz_input *in)
{
	static const uint16_t lengths[] = {512, 1024, 4096, 1, 511, 513, 1000, 16384, BLOCK_ID_BYTES, 3584};

	return lengths[fuzz_below(in, ARRAY_SIZE(lengths))];
}

/* Bytes for a request that the driver takes in pieces if it is large; it is so once per input, since it takes time. */
static uint32_t large(uint8_t how, uint32_t bytes)
{
	if (how < 255 || w.large)
		return 1 + how * 13u;
	w.large = true;
	return bytes;
}

/* ---- block: what is written says where it is, so that all that is read can be told to be right ---- */

static uint8_t disk_byte(uint64_t at) { return (uint8_t)(1 + (at * 0x9e3779b1u >> 23) % 255); }

static void pattern(const struct block_request *request, bool check)
{
	uint64_t at = request->sector * BLOCK_SECTOR;

	for (unsigned i = 0; i < request->segment_count; i++) {
		uint8_t *bytes = request->segments[i].addr;

		for (uint32_t k = 0; k < request->segments[i].len; k++, at++) {
			if (!check)
				bytes[k] = disk_byte(at);
			else
				fuzz_check(!bytes[k] || bytes[k] == disk_byte(at), "byte %llu of the disk reads as %#x",
				           (unsigned long long)at, bytes[k]);
		}
	}
}

static void block_done(struct block_request *request)
{
	struct task *task = container_of(request, struct task, block);
	struct block_device *device = request->home->queue->device;

	check_done(task, request->status);
	if (!request->status && request->op == BLOCK_READ && w.honest)
		pattern(request, true);
	if (task->again && request->status != -ENODEV) {
		task->again = false;
		w.submitting = true;
		block_submit(device, request);
		w.submitting = false;
		return;
	}
	task_free(task);
}

static void block_step(struct fuzz_input *in)
{
	struct block_device *device = block_find(NULL);
	uint8_t how = fuzz_u8(in);
	struct task *task = device ? task_new() : NULL;
	uint64_t bytes = 0;

	if (!task)
		return;
	for (unsigned n = how >> 2 & 7; n; n--) {
		uint32_t length = choose_length(in);

		if (!task_memory(task, length))
			break;
		bytes += length;
	}
	if (how & 32 && bytes % device->block_size && task->segment_count < SEGMENTS &&
	    task_memory(task, device->block_size - (uint32_t)(bytes % device->block_size)))
		bytes += task->segments[task->segment_count - 1].len;
	task->again = how & 64;
	task->block = (struct block_request){.op = how & 3,
	                                     .segments = task->segments,
	                                     .segment_count = task->segment_count,
	                                     .done = block_done};
	task->block.sector = how & 128 ? fuzz_u64(in) : fuzz_below(in, 256) * (device->block_size / BLOCK_SECTOR);
	if (task->block.op == BLOCK_WRITE)
		pattern(&task->block, false);
	w.submitting = true;
	block_submit(device, &task->block);
	w.submitting = false;
}

/* ---- entropy ---- */

static void entropy_done(struct entropy_request *request)
{
	struct task *task = container_of(request, struct task, entropy);

	check_done(task, request->status);
	fuzz_check(request->status || request->filled == request->length, "%u of %u random bytes", request->filled,
	           request->length);
	task_free(task);
}

static void entropy_step(struct fuzz_input *in)
{
	struct entropy_device *device = entropy_find(NULL);
	struct task *task = device ? task_new() : NULL;
	uint32_t length = large(fuzz_u8(in), ENTROPY_LARGE);

	if (!task)
		return;
	if (!task_memory(task, length)) {
		task_free(task);
		return;
	}
	task->entropy = (struct entropy_request){.memory = task->segments[0].addr,
	                                         .length = task->segments[0].len,
	                                         .done = entropy_done};
	task->expect_good = true;
	w.submitting = true;
	entropy_submit(device, &task->entropy);
	w.submitting = false;
}

/* ---- console ---- */

static void tty_done(struct char_request *request)
{
	struct task *task = container_of(request, struct task, tty);

	check_done(task, request->status);
	fuzz_check(request->status || request->sent == request->length, "%u of %u bytes written", request->sent, request->length);
	task_free(task);
}

static void tty_read(struct char_device *device)
{
	uint8_t bytes[300];
	uint32_t count;

	while ((count = char_read(device, bytes, sizeof(bytes)))) {
		fuzz_check(count <= sizeof(bytes), "%u bytes read into %zu", count, sizeof(bytes));
		w.sum += bytes[count - 1];
	}
}

static void tty_ready(struct char_device *device)
{
	if (!w.sluggish)
		tty_read(device);
}

static void tty_write(struct char_device *device, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct task *task = task_new();

	if (!task)
		return;
	if (!task_memory(task, large(how, TTY_LARGE))) {
		task_free(task);
		return;
	}
	task->tty = (struct char_request){.memory = task->segments[0].addr, .length = task->segments[0].len, .done = tty_done};
	task->expect_good = true;
	w.submitting = true;
	char_submit(device, &task->tty);
	w.submitting = false;
}

static void tty_step(struct fuzz_input *in)
{
	struct char_device *device = char_find(NULL);

	if (!device)
		return;
	device->ready = tty_ready;
	switch (fuzz_below(in, 6)) {
	default:
		tty_write(device, in);
		break;
	case 3:
		tty_read(device);
		break;
	case 4:
		w.sluggish = !w.sluggish;
		break;
	case 5:
		if (device->emergency)
			device->emergency(device, '!');
		break;
	}
}

/* ---- net ---- */

static void frame_done(struct net_buf *buf)
{
	fuzz_check(!buf->status || buf->status == -EIO || buf->status == -EINVAL, "a frame ends with %d", buf->status);
	net_buf_free(buf);
}

/* A frame of `pieces`, their lengths from the input. */
static struct net_buf *new_frame(struct fuzz_input *in, unsigned pieces)
{
	struct net_buf *head = NULL, **tail = &head;

	while (pieces--) {
		struct net_buf *buf = net_buf_alloc(w.pool);

		if (!buf)
			break;
		buf->length = fuzz_u16(in) % (buf->capacity + 1);
		if (!head && buf->length && buf->length < ETHERNET_HEADER) /* less is no frame, and no business of the driver's */
			buf->length += ETHERNET_HEADER;
		memset(buf->data, 0x5a, buf->length);
		*tail = buf;
		tail = &buf->more;
	}
	return head;
}

static void send_frames(struct net_device *device, struct fuzz_input *in)
{
	struct net_buf *bufs[8];
	uint8_t how = fuzz_u8(in);
	unsigned count = 0, taken;

	for (unsigned n = 1 + (how & 7); n; n--) {
		struct net_buf *frame = new_frame(in, how & 8 ? 1 + fuzz_below(in, 24) : 1);

		if (!frame)
			break;
		frame->done = how & 16 ? frame_done : NULL;
		bufs[count++] = frame;
	}
	taken = count ? net_tx_burst(device, bufs, count) : 0;
	fuzz_check(taken <= count, "%u frames of %u were taken", taken, count);
	while (count > taken)
		net_buf_free(bufs[--count]);
}

static void drop_kept(void)
{
	while (w.kept_count)
		net_buf_free(w.kept[--w.kept_count]);
}

static void frames_arrived(struct net_device *device)
{
	struct net_buf *bufs[4];
	unsigned count;

	while ((count = net_rx_burst(device, bufs, 4))) {
		for (unsigned i = 0; i < count; i++) {
			for (const struct net_buf *piece = bufs[i]; piece; piece = piece->more) {
				fuzz_check(piece->length <= NET_BUF_BYTES, "a piece of %u bytes", piece->length);
				for (uint32_t k = 0; k < piece->length; k++)
					w.sum += piece->data[k];
			}
			if (w.sluggish && w.kept_count < KEPT)
				w.kept[w.kept_count++] = bufs[i];
			else
				net_buf_free(bufs[i]);
		}
	}
}

static void net_step(struct fuzz_input *in)
{
	struct net_device *device = net_find(NULL);

	if (!w.pool)
		w.pool = net_pool_create(FRAMES);
	if (!device || !w.pool)
		return;
	switch (fuzz_below(in, 8)) {
	default:
		send_frames(device, in);
		break;
	case 3:
		net_listen(device, frames_arrived);
		break;
	case 4:
		net_listen(device, NULL);
		break;
	case 5:
		frames_arrived(device);
		break;
	case 6:
		w.sluggish = !w.sluggish;
		break;
	case 7:
		drop_kept();
		break;
	}
}

/* ---- all ---- */

void work_begin(uint16_t type, bool honest) { w = (struct work){.type = type, .honest = honest}; }

void work_step(struct fuzz_input *in)
{
	switch (w.type) {
	case VIRTIO_ID_NET:
		net_step(in);
		break;
	case VIRTIO_ID_BLOCK:
		block_step(in);
		break;
	case VIRTIO_ID_CONSOLE:
		tty_step(in);
		break;
	case VIRTIO_ID_ENTROPY:
		entropy_step(in);
		break;
	}
}

bool work_idle(void) { return !w.outstanding && (!w.pool || net_pool_free_count(w.pool) == FRAMES); }

void work_end(void)
{
	drop_kept();
	fuzz_check(!w.outstanding, "%u requests never ended", w.outstanding);
	if (!w.pool)
		return;
	fuzz_check(net_pool_free_count(w.pool) == FRAMES, "%u of %u frames came back", net_pool_free_count(w.pool), FRAMES);
	net_pool_destroy(w.pool);
}
