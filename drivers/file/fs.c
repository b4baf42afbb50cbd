/*
 * "File System Device": FUSE over virtio.
 *
 * Requests go over the request queues in turn; FORGETs over hiprio. The server counts how often it named a node to us, by LOOKUP, CREATE, MKDIR
 * or READDIRPLUS, and keeps the node until we have forgotten it as often: each struct file is one such time. Data goes straight from and to the
 * program's memory. A reset ends the session; the next FUSE_INIT starts another, in which what was open is stale.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <virtio/ids.h>

#include "fs_impl.h"

/* "File System Device / Device configuration layout" */
struct virtio_fs_config {
	char tag[36];
	le32 num_request_queues, notify_buf_size;
};
_Static_assert(sizeof(struct virtio_fs_config) == 44, "virtio_fs_config");

enum { INIT_BIG_WRITES = 1 << 5, INIT_READDIRPLUS = 1 << 13, INIT_MAX_PAGES = 1 << 22, INIT_MAP_ALIGNMENT = 1 << 26 };

#define MAJOR 7
#define MINOR 31
#define DATA_MIN 4096u

/* ---- messages ---- */

/* struct fuse_in_header. "Device Operation: Request Queues": the driver chooses the endianness: little. */
struct virtio_call *fs_begin(struct fs *fs, uint32_t opcode, uint64_t node)
{
	struct virtio_call *call = virtio_call_take(&fs->calls);

	put(call, 0, 4);
	put(call, opcode, 4);
	put(call, ++fs->unique, 8);
	put(call, node, 8);
	put(call, 0, 8); /* uid, gid */
	put(call, 0, 8); /* pid */
	return call;
}

static void set_length(struct virtio_call *call, uint32_t beside)
{
	le32 length = cpu_to_le32(call->length + beside);

	memcpy(call->message, &length, sizeof(length));
}

int fs_exchange(struct fs *fs, struct virtio_call *call, uint32_t least, const void *out, uint32_t out_bytes, void *in,
                uint32_t *in_bytes)
{
	struct virtio_requestq *queue = &fs->queues[REQUEST + fs->turn++ % fs->requests];
	uint32_t room = in ? OUT_HEADER : (uint32_t)sizeof(call->answer), written;
	int32_t said;
	int error;

	if (!call)
		return -EBUSY;
	set_length(call, out_bytes);
	error = virtio_call(queue, call, out, out_bytes, room, in, in ? *in_bytes : 0);
	if (error == -ETIMEDOUT)
		return error;
	written = call->request.written;
	said = (int32_t)get(call->answer + 4, 4);
	if (!error &&
	    (written < OUT_HEADER || get(call->answer, 4) != written || get(call->answer + 8, 8) != get(call->message + 8, 8) ||
	     said > 0 || (!said && written < OUT_HEADER + least))) {
		virtio_device_broken(fs->vdev, "an answer of %u bytes, error %d, to FUSE request %u", written, (int)said,
		                     (unsigned)get(call->message + 4, 4));
		error = -EIO;
	} else if (!error && said) {
		error = file_error(0u - (uint32_t)said);
	}
	if (error)
		end(call);
	else if (in)
		*in_bytes = written - OUT_HEADER;
	return error;
}

int fs_exchange_plain(struct fs *fs, struct virtio_call *call)
{
	int error = fs_exchange(fs, call, 0, NULL, 0, NULL, NULL);

	if (!error)
		end(call);
	return error;
}

/* "Device Operation: High Priority Queue": MUST submit FORGET and BATCH_FORGET solely there. They have no answer. */
void fs_forget(struct fs *fs, struct virtio_call *call)
{
	if (!call)
		return;
	set_length(call, 0);
	if (virtio_call(&fs->queues[HIPRIO], call, NULL, 0, 0, NULL, 0) != -ETIMEDOUT)
		end(call);
}

/* ---- life ---- */

static int session(struct fs *fs)
{
	struct virtio_call *call = fs_begin(fs, FUSE_INIT, 0);
	struct virtio_shm window;
	bool offered = fs_dax_offered(fs, &window);
	uint32_t major, minor, flags, max_write;
	unsigned alignment;
	int error;

	put(call, MAJOR, 4);
	put(call, MINOR, 4);
	put(call, VIRTIO_CALL_DATA, 4); /* read-ahead */
	put(call, INIT_BIG_WRITES | INIT_READDIRPLUS | INIT_MAX_PAGES | (offered ? INIT_MAP_ALIGNMENT : 0), 4);
	error = fs_exchange(fs, call, 24, NULL, 0, NULL, NULL);
	if (error)
		return error;
	major = (uint32_t)get(payload(call), 4);
	minor = (uint32_t)get(payload(call) + 4, 4);
	flags = (uint32_t)get(payload(call) + 12, 4);
	max_write = (uint32_t)get(payload(call) + 20, 4);
	alignment = (unsigned)get(payload(call) + 30, 2); /* 0 where the answer is shorter */
	end(call);
	if (major != MAJOR || minor < 12 || max_write < DATA_MIN)
		return virtio_refuse(fs->vdev, -EPROTO, "FUSE %u.%u with writes of %u bytes", major, minor, max_write);
	fs->data_max = MIN(max_write, VIRTIO_CALL_DATA);
	if (offered && flags & INIT_MAP_ALIGNMENT)
		fs_dax_start(fs, &window, alignment);
	return 0;
}

static int probe(struct virtio_device *vdev)
{
	uint32_t requests = virtio_config_u32(vdev, offsetof(struct virtio_fs_config, num_request_queues), 0);
	struct fs *fs;

	if (!requests)
		return virtio_refuse(vdev, -EINVAL, "num_request_queues 0");
	fs = page_alloc(sizeof(*fs), PAGE_SIZE);
	if (!fs)
		return -ENOMEM;
	fs->vdev = vdev;
	fs->requests = (uint16_t)MIN(requests, REQUESTS_MAX);
	fs->tree.ops = &fs_ops;
	fs->tree.owner = fs;
	fs->tree.owner_bytes = sizeof(*fs);
	for (unsigned i = 0; i < ARRAY_SIZE(fs->queues); i++)
		virtio_requestq_init(&fs->queues[i]);
	virtio_config_bytes(vdev, offsetof(struct virtio_fs_config, tag), fs->tree.tag,
	                    sizeof(((struct virtio_fs_config *)NULL)->tag));
	vdev->driver_data = fs;
	vdev->node = &fs->tree.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct fs *fs = vdev->driver_data;
	uint16_t count = (uint16_t)(REQUEST + fs->requests);
	struct virtq_spec specs[ARRAY_SIZE(fs->queues)] = {0};
	int error;

	for (unsigned i = 0; i < count; i++)
		specs[i] = virtio_requestq_spec(&fs->queues[i], i == HIPRIO ? "hiprio" : "request", VIRTIO_CALL_BUFFERS);
	error = virtio_service_start(vdev, count, specs);
	error = error ? error : session(fs);
	return error && !*vdev->reason ? virtio_refuse(vdev, error, "no session: error %d", -error) : error;
}

static void stop(struct virtio_device *vdev)
{
	struct fs *fs = vdev->driver_data;

	file_tree_reset(&fs->tree);
	fs_dax_stop(fs);
	virtio_service_stop(vdev);
}

static void remove(struct virtio_device *vdev)
{
	struct fs *fs = vdev->driver_data;

	for (unsigned i = 0; i < ARRAY_SIZE(fs->queues); i++)
		virtio_requestq_end(&fs->queues[i]);
	file_tree_leave(&fs->tree);
}

static const struct virtio_driver fs_driver = {
	.name = "virtio-fs",
	.instance = "fs",
	.type = VIRTIO_ID_FS,
	.devices = &file_trees,
	.config_size = sizeof(struct virtio_fs_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(fs_driver);
