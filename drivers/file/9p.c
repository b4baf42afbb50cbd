/*
 * 9P over virtio: the device that Linux and QEMU call "9P transport"; virtio 1.4 gives it an id and no more. The protocol is 9P2000.L.
 *
 * A message is one request: the message, then the data of a write; the answer, then the data of a read. Data goes straight from and to the
 * program's memory. A reset ends the session: what was open is stale then.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "9p_impl.h"

enum { VIRTIO_9P_F_MOUNT_TAG = 0 };

struct virtio_9p_config {
	le16 tag_len;
	uint8_t tag[62];
};
_Static_assert(sizeof(struct virtio_9p_config) == 64, "virtio_9p_config");

#define NONE 0xffffffffu /* no fid */
#define NO_TAG 0xffff
#define ROOM 24u /* of a message beside its data */
#define MSIZE (VIRTIO_CALL_DATA + ROOM)
#define MSIZE_MIN 4096u

/* ---- messages ---- */

void p9_put_text(struct virtio_call *call, const char *text, size_t length)
{
	put(call, length, 2);
	virtio_call_put_text(call, text, length);
}

struct virtio_call *p9_begin(struct p9 *p9, uint8_t type)
{
	struct virtio_call *call = virtio_call_take(&p9->calls);

	put(call, 0, 4);
	put(call, type, 1);
	put(call, type == TVERSION ? NO_TAG : call ? (uint64_t)(call - p9->calls.calls) : 0, 2);
	return call;
}

int p9_exchange(struct p9 *p9, struct virtio_call *call, uint32_t least, const void *out, uint32_t out_bytes, void *in,
                uint32_t in_bytes)
{
	uint32_t room = in ? P9_DATA_HEADER : (uint32_t)sizeof(call->answer);
	const uint8_t *answer;
	le32 size;
	int error;

	if (!call)
		return -EBUSY;
	answer = call->answer;
	size = cpu_to_le32(call->length + out_bytes);
	memcpy(call->message, &size, sizeof(size));
	error = virtio_call(&p9->queue, call, out, out_bytes, room, in, in_bytes);
	if (error == -ETIMEDOUT)
		return error;
	if (!error && call->request.written >= P9_DATA_HEADER && answer[4] == RLERROR) {
		error = file_error((uint32_t)get(answer + P9_HEADER, 4));
	} else if (!error && (call->request.written < least || get(answer, 4) != call->request.written ||
	                      answer[4] != call->message[4] + 1 || get(answer + 5, 2) != get(call->message + 5, 2))) {
		virtio_device_broken(p9->vdev, "an answer of type %u and %u bytes to message %u", answer[4],
		                     call->request.written, call->message[4]);
		error = -EIO;
	}
	if (error)
		end(call);
	return error;
}

int p9_exchange_plain(struct p9 *p9, struct virtio_call *call)
{
	int error = p9_exchange(p9, call, P9_HEADER, NULL, 0, NULL, 0);

	if (!error)
		end(call);
	return error;
}

/* ---- life ---- */

static int session(struct p9 *p9)
{
	static const char version[] = "9P2000.L";
	struct virtio_call *call = p9_begin(p9, TVERSION);
	uint32_t msize;
	int error;

	put(call, MSIZE, 4);
	p9_put_text(call, version, sizeof(version) - 1);
	error = p9_exchange(p9, call, P9_HEADER + 6, NULL, 0, NULL, 0);
	if (error)
		return error;
	msize = (uint32_t)get(call->answer + P9_HEADER, 4);
	if (msize < MSIZE_MIN || msize > MSIZE || get(call->answer + P9_HEADER + 4, 2) != sizeof(version) - 1 ||
	    memcmp(call->answer + P9_HEADER + 6, version, sizeof(version) - 1) != 0)
		error = virtio_refuse(p9->vdev, -EPROTO, "no %s with messages of %u bytes", version, msize);
	end(call);
	p9->data_max = msize - ROOM;
	if (error)
		return error;
	call = p9_begin(p9, TATTACH);
	put(call, 0, 4);
	put(call, NONE, 4);
	p9_put_text(call, "root", 4);
	p9_put_text(call, "", 0);
	put(call, 0, 4); /* uid */
	return p9_exchange_plain(p9, call);
}

static int probe(struct virtio_device *vdev)
{
	struct p9 *p9 = page_alloc(sizeof(*p9), PAGE_SIZE);

	if (!p9)
		return -ENOMEM;
	virtio_requestq_init(&p9->queue);
	p9->vdev = vdev;
	p9->tree.ops = &p9_ops;
	p9->tree.owner = p9;
	p9->tree.owner_bytes = sizeof(*p9);
	if (virtio_has(vdev, VIRTIO_9P_F_MOUNT_TAG))
		virtio_config_bytes(vdev, offsetof(struct virtio_9p_config, tag), p9->tree.tag,
		                    MIN(virtio_config_u16(vdev, offsetof(struct virtio_9p_config, tag_len), 0),
		                        (uint32_t)sizeof(((struct virtio_9p_config *)NULL)->tag)));
	vdev->driver_data = p9;
	vdev->node = &p9->tree.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;
	const struct virtq_spec spec = virtio_requestq_spec(&p9->queue, "requestq", VIRTIO_CALL_BUFFERS);
	int error = virtio_service_start(vdev, 1, &spec);

	error = error ? error : session(p9);
	return error && !*vdev->reason ? virtio_refuse(vdev, error, "no session: error %d", -error) : error;
}

static void stop(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;

	file_tree_reset(&p9->tree);
	virtio_service_stop(vdev);
}

static void remove(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;

	virtio_requestq_end(&p9->queue);
	file_tree_leave(&p9->tree);
}

static const struct virtio_driver p9_driver = {
	.name = "virtio-9p",
	.instance = "9p",
	.type = VIRTIO_ID_9P,
	.devices = &file_trees,
	.features = BIT64(VIRTIO_9P_F_MOUNT_TAG),
	.config_size = sizeof(struct virtio_9p_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(p9_driver);
