/*
 * The driver of replay-protected memory: frames both ways, and those that cannot be.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/page.h>
#include <class/rpmb.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static uint8_t *memory; /* 64 KiB */

static void put(uint8_t at[2], unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned get(const uint8_t at[2]) { return (unsigned)at[0] << 8 | at[1]; }

static const uint8_t key[32] = "the key that nobody else knows";

static struct rpmb_frame *new_frames(unsigned count, unsigned type)
{
	struct rpmb_frame *frames = (struct rpmb_frame *)memory;

	memset(memory, 0, 65536);
	for (unsigned i = 0; i < count; i++) {
		put(frames[i].req_resp, type);
		put(frames[i].block_count, count);
	}
	return frames;
}

static void rpmb_frames(void **state)
{
	(void)state;
	FOR_BOTH_LAYOUTS(layout)
	{
		struct swdev *dev = plug_new(&swdev_rpmb, *layout, 0);
		struct rpmb_device *device = rpmb_find(NULL);
		struct rpmb_frame *frames = new_frames(1, RPMB_GET_WRITE_COUNTER), *back = frames + 32;

		assert_int_equal(device->bytes, 128u << 10);
		assert_int_equal(rpmb_exchange(device, frames, 1, back, 1), 0);
		assert_int_equal(get(back[0].result), 7); /* no key yet */
		frames = new_frames(2, RPMB_PROGRAM_KEY);
		put(frames[0].block_count, 1);
		put(frames[1].req_resp, RPMB_RESULT_READ);
		memcpy(frames[0].key_mac, key, 32);
		assert_int_equal(rpmb_exchange(device, frames, 2, back, 1), 0);
		assert_int_equal(get(back[0].result), 0);

		frames = new_frames(4, RPMB_DATA_WRITE);
		for (unsigned i = 0; i < 4; i++) {
			memset(frames[i].data, (int)i + 1, 256);
			put(frames[i].address, 10);
		}
		swdev_vault_sign(key, memory, 4);
		put(frames[4].req_resp, RPMB_RESULT_READ);
		put(frames[4].block_count, 1);
		assert_int_equal(rpmb_exchange(device, frames, 5, back, 1), 0);
		assert_int_equal(get(back[0].result), 0);
		assert_int_equal(get(back[0].write_counter + 2), 1);
		assert_int_equal(rpmb_exchange(device, frames, 4, NULL, 0),
		                 0); /* the same again, and no result asked for: replayed */
		assert_int_equal(swdev_vault(dev)->counter, 1);

		frames = new_frames(1, RPMB_DATA_READ);
		put(frames[0].block_count, 5);
		put(frames[0].address, 10);
		assert_int_equal(rpmb_exchange(device, frames, 1, back, 5), 0);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(back[i].data[255], i < 4 ? i + 1 : 0);
		pull_out(dev);
	}
}

static void rpmb_frames_that_cannot_be(void **state)
{
	struct swdev *dev = plug_new(&swdev_rpmb, 0, 0);
	struct rpmb_device *device = rpmb_find(NULL);
	struct rpmb_frame *frames = new_frames(5, RPMB_DATA_WRITE), *back = frames + 32;

	(void)state;
	assert_int_equal(rpmb_exchange(device, frames, 5, NULL, 0), -EINVAL); /* max_wr_cnt is 4 */
	assert_int_equal(rpmb_exchange(device, frames, 4, NULL, 0), -EINVAL); /* says 5 */
	assert_int_equal(rpmb_exchange(device, frames, 0, NULL, 0), -EINVAL);
	frames = new_frames(1, RPMB_DATA_READ);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 2), -EINVAL);
	put(frames[0].block_count, 9);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 9), -EINVAL); /* max_rd_cnt is 8 */
	put(frames[0].req_resp, 6);
	assert_int_equal(rpmb_exchange(device, frames, 1, back, 1), -EINVAL);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpmb_frames),
		cmocka_unit_test(rpmb_frames_that_cannot_be),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(65536, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
