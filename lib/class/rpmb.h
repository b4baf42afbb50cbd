/*
 * Replay protected memory: frames that are signed by whoever holds the key are carried to the device, and its frames back. Nothing here knows the
 * key: the MACs are the program's. Waits, in loop context, not in a callback.
 */
#ifndef CLASS_RPMB_H
#define CLASS_RPMB_H

#include <base/endian.h>
#include <class/device.h>

enum { RPMB_PROGRAM_KEY = 1, RPMB_GET_WRITE_COUNTER, RPMB_DATA_WRITE, RPMB_DATA_READ, RPMB_RESULT_READ };

/* "RPMB Device / Device Operation": as it goes over the wire, big-endian. */
struct rpmb_frame {
	uint8_t stuff[196], key_mac[32], data[256], nonce[16];
	uint8_t write_counter[4], address[2], block_count[2], result[2], req_resp[2];
};
_Static_assert(sizeof(struct rpmb_frame) == 512, "virtio_rpmb_frame");

struct rpmb_device {
	struct class_node node;
	uint64_t bytes;                             /* capacity */
	unsigned write_blocks_max, read_blocks_max; /* of one request; 0: any number */
	int (*exchange)(struct rpmb_device *device, const struct rpmb_frame *requests, unsigned nrequests,
	                struct rpmb_frame *responses, unsigned nresponses);
};

#define RPMB_FRAMES_MAX 128u

/* The last request frame may be a RPMB_RESULT_READ. -EINVAL: frames that cannot be, or more than the device takes; -EIO: not all
 * responses came, or the device was reset: written or not, the write counter tells. What the device thinks is in the responses. */
[[nodiscard]] static inline int rpmb_exchange(struct rpmb_device *device, const struct rpmb_frame *requests, unsigned nrequests,
                                              struct rpmb_frame *responses, unsigned nresponses)
{
	return device->exchange(device, requests, nrequests, responses, nresponses);
}

CLASS(struct rpmb_device, rpmb)

#endif
