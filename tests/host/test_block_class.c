/*
 * The block class alone, above a driver that is made up here: it checks each part against the limits that it told, holds at most `room` of
 * them, and carries them out on a disk in memory, in any order, with errors where the test wants them.
 */
#include "check.h"

#include <errno.h>

#include <base/event.h>
#include <base/util.h>
#include <class/block.h>

#define DISK_SECTORS 4096u
#define HELD_MAX 64u

/* A part, as it was posted. */
struct part {
	struct block_request *request;
	uint64_t sector;
	uint32_t sectors;
	unsigned segment_count;
	struct dma_buf segments[BLOCK_PART_SEGMENTS];
};

struct fake {
	struct block_device block;
	struct block_queue queue, *queues[1];
	uint8_t disk[DISK_SECTORS * BLOCK_SECTOR];
	struct part held[HELD_MAX];
	unsigned held_count, room, posted;
	int refuse;          /* what post() answers instead of 0 */
	uint64_t bad_sector; /* parts that touch it end in -EIO */
	bool in_submit;
};

static struct fake fake;
static uint64_t random_state;
static unsigned done_count;

static int fake_post(struct block_queue *queue, struct block_request *request, uint64_t sector, const struct dma_buf *segments,
                     unsigned segment_count, uint32_t sectors)
{
	const struct block_device *device = queue->device;
	const struct block_limits *limits = &device->limits;
	struct part *part = &fake.held[fake.held_count];
	enum block_op op = request->op;
	uint64_t bytes = 0;

	assert_ptr_equal(device, &fake.block);
	if (fake.refuse)
		return fake.refuse;
	if (fake.held_count == fake.room)
		return -ENOSPC;
	for (unsigned i = 0; i < segment_count; i++) {
		assert_true(segments[i].len > 0);
		assert_true(!limits->max_segment_bytes || segments[i].len <= limits->max_segment_bytes);
		bytes += segments[i].len;
	}
	assert_true(segment_count <= (limits->max_segments ? limits->max_segments : BLOCK_PART_SEGMENTS));
	if (op == BLOCK_READ || op == BLOCK_WRITE) {
		assert_true(bytes > 0);
		assert_int_equal(bytes, (uint64_t)sectors * BLOCK_SECTOR);
	}
	if (op == BLOCK_READ || op == BLOCK_WRITE || op >= BLOCK_DISCARD) {
		assert_int_equal(sectors * (uint64_t)BLOCK_SECTOR % device->block_size, 0);
		assert_int_equal(sector % (device->block_size / BLOCK_SECTOR), 0);
		assert_true(sector + sectors <= device->capacity);
	}
	*part = (struct part){.request = request, .sector = sector, .sectors = sectors, .segment_count = segment_count};
	if (segment_count)
		memcpy(part->segments, segments, segment_count * sizeof(*segments));
	fake.held_count++;
	fake.posted++;
	return 0;
}

static unsigned fake_post_simple(struct block_queue *queue, struct block_request *const requests[], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct block_request *request = requests[i];

		assert_int_equal(request->segment_count, 1);
		if (fake_post(queue, requests[i], request->sector, request->segments, 1, request->segments->len / BLOCK_SECTOR))
			return i;
	}
	return count;
}

static const struct block_ops fake_ops = {.post = fake_post, .post_simple = fake_post_simple};

static void carry_out(const struct part *part)
{
	uint8_t *at = fake.disk + part->sector * BLOCK_SECTOR;

	for (unsigned i = 0; i < part->segment_count; at += part->segments[i++].len) {
		if (part->request->op == BLOCK_WRITE)
			memcpy(at, part->segments[i].addr, part->segments[i].len);
		else if (part->request->op == BLOCK_READ)
			memcpy(part->segments[i].addr, at, part->segments[i].len);
		else
			memcpy(part->segments[i].addr, "an id of twenty byte", part->segments[i].len);
	}
}

/* End held part `index`. */
static void complete(unsigned index)
{
	struct part part = fake.held[index];
	bool bad = part.sector <= fake.bad_sector && fake.bad_sector < part.sector + part.sectors;

	fake.held[index] = fake.held[--fake.held_count];
	if (!bad)
		carry_out(&part);
	block_part_done(&fake.queue, part.request, bad ? -EIO : 0);
}

static void run_events(void)
{
	while (loop_turn(false, 0))
		;
}

/* All that is held, in random order, and what follows it. */
static void complete_all(void)
{
	do {
		while (fake.held_count)
			complete((unsigned)(next_random(&random_state) % fake.held_count));
		block_pump(&fake.queue);
		run_events();
	} while (fake.held_count);
}

static void note_done(struct block_request *request)
{
	assert_false(fake.in_submit);
	assert_int_equal(request->parts, 0);
	done_count++;
	if (request->context)
		(*(unsigned *)request->context)++;
}

static void submit(struct block_request *request)
{
	fake.in_submit = true;
	block_update(&fake.block);
	block_submit(&fake.block, request);
	fake.in_submit = false;
}

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_idle_hook = NULL;
	memset(&fake, 0, sizeof(fake));
	fake.block = (struct block_device){.node.name = "blk0",
	                                   .ops = &fake_ops,
	                                   .capacity = DISK_SECTORS,
	                                   .block_size = 512,
	                                   .can_flush = true};
	fake.room = HELD_MAX;
	fake.bad_sector = UINT64_MAX;
	random_state = 88172645463325252u;
	done_count = 0;
	fake.queues[0] = &fake.queue;
	return block_register(&fake.block, fake.queues, 1);
}

static int tear_down(void **state)
{
	(void)state;
	block_unregister(&fake.block);
	assert_null(block_find(NULL));
	return 0;
}

static struct block_request transfer(enum block_op op, uint64_t sector, const struct dma_buf *segments, unsigned count)
{
	return (struct block_request){.op = op, .sector = sector, .segments = segments, .segment_count = count, .done = note_done};
}

/* Submit, carry out, and return the status. */
static int carry(struct block_request request)
{
	unsigned before = done_count;

	submit(&request);
	assert_int_equal(done_count, before);
	complete_all();
	assert_int_equal(done_count, before + 1);
	return request.status;
}

/* ---- cutting ---- */

/* Cut `bytes` of memory into at most `max` segments of random lengths. */
static unsigned scatter(struct dma_buf *segments, unsigned max, uint8_t *memory, uint32_t bytes)
{
	unsigned count = 0;

	while (bytes) {
		uint32_t length = count + 1 == max ? bytes : 1 + (uint32_t)(next_random(&random_state) % MIN(bytes, 3000u));

		segments[count++] = (struct dma_buf){memory, length};
		memory += length;
		bytes -= length;
	}
	return count;
}

/* Every combination of limits: what is written in scatter lists is on the disk, and is read back in others. */
static void test_cutting(void **state)
{
	static const uint32_t max_segments[] = {0, 1, 2, 3, 7, 126, 128}, max_bytes[] = {0, 512, 1000, 4096, 65536};
	static const uint32_t block_sizes[] = {512, 1024, 4096};
	static uint8_t out[256 * 1024], in[sizeof(out)];
	struct dma_buf segments[40];
	unsigned carried = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(max_segments) * ARRAY_SIZE(max_bytes) * ARRAY_SIZE(block_sizes) * 8; i++) {
		uint32_t block = block_sizes[i % 3],
			 bytes = block * (1 + (uint32_t)(next_random(&random_state) % (sizeof(out) / 4096)));
		uint64_t sector = next_random(&random_state) % (DISK_SECTORS - bytes / 512) / (block / 512) * (block / 512);
		struct block_limits limits = {max_segments[i / 3 % 7], max_bytes[i / 21 % 5]};
		unsigned pieces = 1 + (unsigned)(next_random(&random_state) % ARRAY_SIZE(segments));

		if (limits.max_segments && limits.max_segment_bytes && limits.max_segments * limits.max_segment_bytes < block)
			continue;
		fake.block.limits = limits;
		fake.block.block_size = block;
		fake.room = 1 + (unsigned)(next_random(&random_state) % HELD_MAX);
		for (uint32_t k = 0; k < bytes; k++)
			out[k] = (uint8_t)next_random(&random_state);
		assert_int_equal(carry(transfer(BLOCK_WRITE, sector, segments, scatter(segments, pieces, out, bytes))), 0);
		assert_memory_equal(fake.disk + sector * 512, out, bytes);
		memset(in, 0, bytes);
		assert_int_equal(carry(transfer(BLOCK_READ, sector, segments, scatter(segments, pieces, in, bytes))), 0);
		assert_memory_equal(in, out, bytes);
		carried++;
	}
	assert_true(carried > 500);
}

static void expect_part(const struct part *part, uint64_t sector, const uint8_t *first, const char *lengths)
{
	char text[64] = "";

	for (unsigned i = 0; i < part->segment_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), i ? " %u" : "%u", part->segments[i].len);
	assert_string_equal(text, lengths);
	assert_ptr_equal(part->segments[0].addr, first);
	assert_int_equal(part->sector, sector);
}

/* The parts of one request, one by one: pieces of 700 bytes at most, blocks of 512. */
static void test_parts(void **state)
{
	static uint8_t memory[2560];
	struct dma_buf segments[] = {{memory, 1300}, {memory + 1300, 36}, {memory + 1336, 1224}};
	struct block_request request = transfer(BLOCK_READ, 8, segments, 3);

	(void)state;
	/* Two pieces: 700 and 600 hold two blocks; the third lies in three pieces and goes alone, through the bounce buffer. */
	fake.block.limits = (struct block_limits){2, 700};
	submit(&request);
	assert_int_equal(fake.held_count, 1);
	expect_part(&fake.held[0], 8, memory, "700 324");
	complete(0);
	block_pump(&fake.queue);
	assert_int_equal(fake.held_count, 1);
	expect_part(&fake.held[0], 10, fake.queue.bounce, "512");
	memset(fake.disk + 10 * 512, 0x77, 512);
	complete(0);
	block_pump(&fake.queue);
	assert_int_equal(memory[1023], 0);
	for (unsigned i = 1024; i < 1536; i++)
		assert_int_equal(memory[i], 0x77);
	assert_int_equal(fake.held_count, 1);
	expect_part(&fake.held[0], 11, memory + 1536, "700 324");
	complete_all();
	assert_int_equal(request.status, 0);
	assert_int_equal(done_count, 1);

	/* With three pieces all goes at once. */
	fake.block.limits.max_segments = 3;
	request = transfer(BLOCK_READ, 8, segments, 3);
	submit(&request);
	assert_int_equal(fake.held_count, 3);
	expect_part(&fake.held[0], 8, memory, "700 324");
	expect_part(&fake.held[1], 10, memory + 1024, "276 36 200");
	expect_part(&fake.held[2], 11, memory + 1536, "700 324");
	complete_all();
	assert_int_equal(request.status, 0);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
	static uint8_t memory[4096];
	struct dma_buf block = {memory, 512}, half = {memory, 256}, nothing = {memory, 0}, nowhere = {NULL, 512};
	struct dma_buf large[] = {{memory, 4096}, {memory, UINT32_MAX - 511}};

	(void)state;
	assert_int_equal(carry(transfer(BLOCK_READ, 0, &half, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, 0, &nothing, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, 0, &nowhere, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, 0, NULL, 0)), -EINVAL);
	assert_int_equal(carry(transfer((enum block_op)77, 0, &block, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_GET_ID, 0, &block, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, DISK_SECTORS, &block, 1)), -ERANGE);
	assert_int_equal(carry(transfer(BLOCK_WRITE, UINT64_MAX, &block, 1)), -ERANGE);
	assert_int_equal(carry(transfer(BLOCK_READ, 0, large, 2)), -ERANGE);
	fake.block.read_only = true;
	assert_int_equal(carry(transfer(BLOCK_WRITE, 0, &block, 1)), -EROFS);
	assert_int_equal(carry(transfer(BLOCK_READ, 0, &block, 1)), 0);
	fake.block.read_only = false;
	fake.block.block_size = 4096;
	assert_int_equal(carry(transfer(BLOCK_READ, 0, &block, 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, 1, &large[0], 1)), -EINVAL);
	assert_int_equal(carry(transfer(BLOCK_READ, 8, &large[0], 1)), 0);
	assert_int_equal(fake.posted, 2);
	fake.refuse = -EIO;
	assert_int_equal(carry(transfer(BLOCK_READ, 8, &large[0], 1)), -EIO);
	fake.refuse = 0;
	assert_int_equal(carry(transfer(BLOCK_READ, 8, &large[0], 1)), 0);
}

static void test_flush_and_id(void **state)
{
	char id[BLOCK_ID_BYTES + 1] = "";
	struct dma_buf segment = {id, BLOCK_ID_BYTES};

	(void)state;
	assert_int_equal(carry(transfer(BLOCK_GET_ID, 99, &segment, 1)), 0);
	assert_string_equal(id, "an id of twenty byte");
	struct block_request flush = transfer(BLOCK_FLUSH, 99, &segment, 1);
	submit(&flush);
	assert_int_equal(fake.held_count, 1);
	assert_int_equal(fake.held[0].segment_count, 0);
	assert_int_equal(fake.held[0].sectors, 0);
	complete_all();
	assert_int_equal(flush.status, 0);
	fake.block.can_flush = false;
	assert_int_equal(carry(transfer(BLOCK_FLUSH, 0, NULL, 0)), 0);
	assert_int_equal(fake.posted, 2);
}

/* ---- room and order ---- */

static void test_room(void **state)
{
	static uint8_t memory[16 * 512];
	struct dma_buf segment = {memory, 2048};
	struct block_request requests[20];
	unsigned each[20] = {0};

	(void)state;
	fake.room = 3;
	fake.block.limits = (struct block_limits){1, 512}; /* four parts each */
	for (unsigned i = 0; i < 20; i++) {
		requests[i] = transfer(BLOCK_READ, i * 4, &segment, 1);
		requests[i].context = &each[i];
		submit(&requests[i]);
	}
	assert_int_equal(fake.held_count, 3);
	/* Parts come in order of submission, whenever there is room. */
	for (unsigned next = 3; next < 80; next++) {
		complete(next % 3);
		block_pump(&fake.queue);
		assert_int_equal(fake.held_count, 3);
		assert_int_equal(fake.held[2].sector, next);
	}
	complete_all();
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(each[i], 1);
	assert_int_equal(done_count, 20);
}

static void test_error_in_the_middle(void **state)
{
	static uint8_t memory[8 * 512];
	struct dma_buf segment = {memory, sizeof(memory)}, block = {memory, 512};
	struct block_request bad = transfer(BLOCK_WRITE, 0, &segment, 1), good = transfer(BLOCK_READ, 100, &block, 1);

	(void)state;
	fake.room = 3;
	fake.block.limits = (struct block_limits){1, 512};
	fake.bad_sector = 1;
	submit(&bad);
	submit(&good);
	complete(1); /* the bad one: no more parts of it, but it lasts until the other two end */
	block_pump(&fake.queue);
	run_events();
	assert_int_equal(done_count, 0);
	assert_int_equal(fake.posted, 4);
	assert_ptr_equal(fake.held[2].request, &good);
	complete(0);
	complete(1 - (fake.held[1].request == &good));
	run_events();
	assert_int_equal(done_count, 1);
	assert_int_equal(bad.status, -EIO);
	complete_all();
	assert_int_equal(good.status, 0);
	assert_int_equal(done_count, 2);
	assert_int_equal(fake.posted, 4);

	/* The last part in flight fails while the rest is not cut: the request ends at once. */
	fake.room = 1;
	fake.bad_sector = 0;
	bad = transfer(BLOCK_WRITE, 0, &segment, 1);
	submit(&bad);
	complete(0);
	run_events();
	assert_int_equal(done_count, 3);
	assert_int_equal(bad.status, -EIO);
}

static void test_capacity_shrinks(void **state)
{
	static uint8_t memory[4 * 512];
	struct dma_buf segment = {memory, sizeof(memory)};
	struct block_request request = transfer(BLOCK_READ, 10, &segment, 1);

	(void)state;
	fake.room = 1;
	fake.block.limits = (struct block_limits){1, 512};
	submit(&request);
	fake.block.capacity = 12; /* may change at any time */
	complete_all();
	assert_int_equal(request.status, -ERANGE);
	assert_int_equal(fake.posted, 2);
	assert_int_equal(done_count, 1);
}

/* The driver's stop and start: what was posted fails, what waits goes on. */
static void test_restart(void **state)
{
	static uint8_t memory[4 * 512];
	struct dma_buf segment = {memory, sizeof(memory)};
	struct block_request half_cut = transfer(BLOCK_READ, 0, &segment, 1), waiting = transfer(BLOCK_READ, 8, &segment, 1);

	(void)state;
	fake.room = 2;
	fake.block.limits = (struct block_limits){1, 512};
	submit(&half_cut);
	submit(&waiting);
	fake.refuse = -ENOSPC;
	while (fake.held_count)
		block_part_done(&fake.queue, fake.held[--fake.held_count].request, -EIO);
	run_events();
	assert_int_equal(done_count, 1);
	assert_int_equal(half_cut.status, -EIO);
	fake.refuse = 0;
	block_pump(&fake.queue);
	complete_all();
	assert_int_equal(done_count, 2);
	assert_int_equal(waiting.status, 0);
}

/* A queue was reset: what may or may not have been carried out is done again, in full, whether it was cut to its end or not. */
static void test_again(void **state)
{
	static uint8_t memory[4 * 512];
	struct dma_buf segment = {memory, sizeof(memory)};
	struct block_request cut = transfer(BLOCK_READ, 0, &segment, 1), half_cut = transfer(BLOCK_WRITE, 8, &segment, 1);
	struct block_request bad = transfer(BLOCK_READ, 16, &segment, 1);

	(void)state;
	fake.room = 6;
	fake.block.limits = (struct block_limits){1, 512};
	submit(&cut);
	submit(&half_cut);
	complete(1);
	block_pump(&fake.queue); /* so that 3 parts of each are in flight, and one of the second is to come */
	fake.refuse = -ENOSPC;
	while (fake.held_count)
		block_part_done(&fake.queue, fake.held[--fake.held_count].request, -EAGAIN);
	run_events();
	assert_int_equal(done_count, 0);
	fake.refuse = 0;
	fake.posted = 0;
	block_pump(&fake.queue);
	complete_all();
	assert_int_equal(fake.posted, 8);
	assert_int_equal(done_count, 2);
	assert_int_equal(cut.status, 0);
	assert_int_equal(half_cut.status, 0);

	/* An error is final all the same. */
	submit(&bad);
	block_part_done(&fake.queue, fake.held[--fake.held_count].request, -EAGAIN);
	block_part_done(&fake.queue, fake.held[--fake.held_count].request, -EIO);
	complete_all();
	assert_int_equal(done_count, 3);
	assert_int_equal(bad.status, -EIO);
}

/* ---- done() ---- */

static struct block_request chained;
static struct dma_buf chained_segment;
static int nested_status;

static void submit_next(struct block_request *request)
{
	note_done(request);
	if (!request->status && request->sector < 9) {
		*request = transfer(BLOCK_READ, request->sector + 1, &chained_segment, 1);
		request->done = submit_next;
		submit(request);
	}
}

static bool complete_when_idle(void)
{
	if (!fake.held_count)
		return false;
	complete(0);
	block_pump(&fake.queue);
	return true;
}

static void wait_inside(struct block_request *request)
{
	static uint8_t memory[512];

	note_done(request);
	nested_status = block_io(&fake.block, BLOCK_READ, 5, memory, sizeof(memory));
	if (!nested_status)
		nested_status = memcmp(memory, fake.disk + 5 * 512, 512);
}

static void test_done_may_go_on(void **state)
{
	static uint8_t memory[512];

	(void)state;
	chained_segment = (struct dma_buf){memory, 512};
	chained = transfer(BLOCK_READ, 0, &chained_segment, 1);
	chained.done = submit_next;
	submit(&chained);
	complete_all();
	assert_int_equal(done_count, 10);

	memset(fake.disk, 0x5a, sizeof(fake.disk));
	host_idle_hook = complete_when_idle;
	nested_status = -1;
	chained = transfer(BLOCK_READ, 0, &chained_segment, 1);
	chained.done = wait_inside;
	submit(&chained);
	complete_all();
	assert_int_equal(nested_status, 0);
	assert_int_equal(done_count, 11);
	assert_int_equal(block_io(&fake.block, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(block_io(&fake.block, BLOCK_READ, DISK_SECTORS, memory, 512), -ERANGE);
}

/* ---- the list of devices, removal ---- */

static void resubmit_once(struct block_request *request)
{
	note_done(request);
	assert_int_equal(request->status, -ENODEV);
	request->done = note_done;
	submit(request);
}

static void test_removal(void **state)
{
	static uint8_t memory[512];
	struct dma_buf segment = {memory, 512};
	struct block_request requests[3];
	static struct block_queue other_queue, *other_queues[] = {&other_queue};
	struct block_device other = {.node.name = "blk1", .ops = &fake_ops, .block_size = 512};

	(void)state;
	assert_int_equal(block_register(&other, other_queues, 1), 0);
	assert_ptr_equal(block_find(NULL), &fake.block);
	assert_ptr_equal(block_find("blk1"), &other);
	assert_null(block_find("blk2"));
	assert_ptr_equal(block_next(&fake.block), &other);
	assert_null(block_next(&other));

	fake.room = 0;
	for (unsigned i = 0; i < 3; i++) {
		requests[i] = transfer(BLOCK_READ, i, &segment, 1);
		requests[i].done = resubmit_once;
		submit(&requests[i]);
	}
	block_unregister(&fake.block);
	assert_int_equal(done_count, 6);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(requests[i].status, -ENODEV);
	assert_ptr_equal(block_find(NULL), &other);
	block_unregister(&other);
	assert_int_equal(block_register(&fake.block, fake.queues, 1), 0); /* for tear_down() */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cutting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flush_and_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_error_in_the_middle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_capacity_shrinks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_done_may_go_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removal, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("block class", tests, NULL, NULL);
}
