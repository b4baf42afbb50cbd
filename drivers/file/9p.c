/*
 * 9P over virtio: the device that Linux and QEMU call "9P transport"; virtio 1.4 gives it an id and no more. The protocol is 9P2000.L.
 *
 * A message is one request: the message, then the data of a write; the answer, then the data of a read. Data goes straight from and to the
 * program's memory. A file is a fid, whose number is its place in the tree's table; fid 0 is the root. A fid is only used again when the
 * server has answered that it has forgotten it. A reset ends the session: what was open is stale then.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/file.h>
#include <virtio/call.h>
#include <virtio/ids.h>

enum { VIRTIO_9P_F_MOUNT_TAG = 0 };

struct virtio_9p_config {
	le16 tag_len;
	uint8_t tag[62];
};
_Static_assert(sizeof(struct virtio_9p_config) == 64, "virtio_9p_config");

/* 9P2000.L: requests; an answer's type is one higher */
enum {
	RLERROR = 7,
	TLOPEN = 12,
	TLCREATE = 14,
	TREADLINK = 22,
	TGETATTR = 24,
	TSETATTR = 26,
	TREADDIR = 40,
	TFSYNC = 50,
	TMKDIR = 72,
	TRENAMEAT = 74,
	TUNLINKAT = 76,
	TVERSION = 100,
	TATTACH = 104,
	TWALK = 110,
	TREAD = 116,
	TWRITE = 118,
	TCLUNK = 120,
};
enum { QID_DIRECTORY = 0x80, QID_LINK = 0x02, QID_BYTES = 13 };
enum { GETATTR_BASIC = 0x7ff, SETATTR_SIZE = 8, AT_REMOVEDIR = 0x200 };
enum { LINUX_WRONLY = 1, LINUX_RDWR = 2, LINUX_CREAT = 0100, LINUX_EXCL = 0200, LINUX_TRUNC = 01000, LINUX_DIRECTORY = 0200000 };

#define NONE 0xffffffffu /* no fid */
#define NO_TAG 0xffff
#define HEADER 7u       /* size, type, tag */
#define DATA_HEADER 11u /* of an answer with data, and an error's length */
#define ROOM 24u        /* of a message beside its data */
#define MSIZE (VIRTIO_CALL_DATA + ROOM)
#define MSIZE_MIN 4096u
#define START_NS UINT64_C(5000000000)
#define PATIENCE_NS UINT64_C(10000000000)

struct p9 {
	struct virtio_device *vdev;
	struct virtio_requestq queue;
	uint32_t data_max; /* bytes in one read or write */
	bool registered, starting;
	struct file_tree tree;
	struct virtio_calls calls;
};

/* ---- messages ---- */

#define put virtio_call_put
#define get virtio_call_get

/* A name is FILE_NAME_MAX bytes at most: room for two is in a message. */
static void put_text(struct virtio_call *call, const char *text, size_t length)
{
	put(call, length, 2);
	virtio_call_put_text(call, text, length);
}

static int begin(struct p9 *p9, struct virtio_call **call, uint8_t type)
{
	*call = virtio_call_take(&p9->calls);
	if (!*call)
		return -EBUSY;
	put(*call, 0, 4);
	put(*call, type, 1);
	put(*call, type == TVERSION ? NO_TAG : (uint64_t)(*call - p9->calls.calls), 2);
	return 0;
}

#define end virtio_call_give

/* Send and wait. 0: call->answer has at least `least` bytes, until end(); an error: the message is ended. */
static int exchange(struct p9 *p9, struct virtio_call *call, uint32_t least, const void *out, uint32_t out_bytes, void *in,
                    uint32_t in_bytes)
{
	const uint8_t *answer = call->answer;
	uint32_t room = in ? DATA_HEADER : (uint32_t)sizeof(call->answer);
	le32 size = cpu_to_le32(call->length + out_bytes);
	int error;

	memcpy(call->message, &size, sizeof(size));
	error = virtio_call(&p9->queue, call, out, out_bytes, room, in, in_bytes, p9->starting ? START_NS : PATIENCE_NS);
	if (error == -ETIMEDOUT)
		return error;
	if (!error && call->request.written >= DATA_HEADER && answer[4] == RLERROR) {
		error = file_error((uint32_t)get(answer + HEADER, 4));
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

static int exchange_plain(struct p9 *p9, struct virtio_call *call)
{
	int error = exchange(p9, call, HEADER, NULL, 0, NULL, 0);

	if (!error)
		end(call);
	return error;
}

/* ---- the tree ---- */

static struct p9 *p9_of(const struct file_tree *tree)
{
	return container_of((struct file_tree *)(uintptr_t)tree, struct p9, tree);
}

static uint32_t fid_of(const struct file *file) { return (uint32_t)(file - file->tree->files) + 1; }

static enum file_kind kind_of(uint8_t qid_type)
{
	return qid_type & QID_DIRECTORY ? FILE_DIRECTORY : qid_type & QID_LINK ? FILE_LINK : FILE_REGULAR;
}

/* To the name below `fid`, or, without one, to the same place. */
static int walk_fid(struct p9 *p9, uint32_t fid, const char *name, size_t length, struct file *to)
{
	struct virtio_call *call;
	int error = begin(p9, &call, TWALK);

	if (error)
		return error;
	put(call, fid, 4);
	put(call, fid_of(to), 4);
	put(call, name ? 1 : 0, 2);
	if (name)
		put_text(call, name, length);
	error = exchange(p9, call, HEADER + 2u + (name ? QID_BYTES : 0), NULL, 0, NULL, 0);
	if (error)
		return error;
	to->kind = name ? kind_of(call->answer[HEADER + 2]) : FILE_DIRECTORY;
	end(call);
	return 0;
}

static int root(struct file_tree *tree, struct file *to) { return walk_fid(p9_of(tree), 0, NULL, 0, to); }

static int walk(const struct file *from, const char *name, size_t length, struct file *to)
{
	return walk_fid(p9_of(from->tree), fid_of(from), name, length, to);
}

static int begin_fid(struct p9 *p9, struct virtio_call **call, uint8_t type, const struct file *file)
{
	int error = begin(p9, call, type);

	if (!error)
		put(*call, fid_of(file), 4);
	return error;
}

static void forget(struct file *file)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;

	if (!begin_fid(p9, &call, TCLUNK, file)) {
		[[maybe_unused]] int error = exchange_plain(p9, call); /* the fid is gone either way */
	}
}

static int read_link(const struct file *link, char *text, size_t size)
{
	struct p9 *p9 = p9_of(link->tree);
	struct virtio_call *call;
	int length = begin_fid(p9, &call, TREADLINK, link);

	if (!length)
		length = exchange(p9, call, HEADER + 2, NULL, 0, NULL, 0);
	if (length)
		return length;
	length = (int)get(call->answer + HEADER, 2);
	if ((size_t)length <= size && HEADER + 2 + (uint32_t)length <= call->request.written)
		memcpy(text, call->answer + HEADER + 2, (size_t)length);
	else
		length = -ENAMETOOLONG;
	end(call);
	return length;
}

static int stat(const struct file *file, struct file_info *info)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TGETATTR, file);
	const uint8_t *at;
	uint32_t mode;

	if (error)
		return error;
	put(call, GETATTR_BASIC, 8);
	error = exchange(p9, call, 160, NULL, 0, NULL, 0);
	if (error)
		return error;
	at = call->answer + HEADER +
	     8; /* behind `valid`: qid, mode, uid, gid, nlink, rdev, size, blksize, blocks, atime, mtime */
	mode = (uint32_t)get(at + 13, 4);
	*info = (struct file_info){.kind = file_kind_of_mode(mode),
	                           .mode = mode & 07777,
	                           .uid = (uint32_t)get(at + 17, 4),
	                           .gid = (uint32_t)get(at + 21, 4),
	                           .links = get(at + 25, 8),
	                           .size = get(at + 41, 8),
	                           .inode = get(at + 5, 8),
	                           .changed_s = get(at + 81, 8)};
	end(call);
	return 0;
}

static uint32_t linux_flags(unsigned flags)
{
	uint32_t access = !(flags & FILE_WRITE) ? 0 : flags & FILE_READ ? LINUX_RDWR : LINUX_WRONLY;

	return access | (flags & FILE_TRUNCATE && access ? LINUX_TRUNC : 0);
}

static int open(struct file *file, unsigned flags)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TLOPEN, file);

	if (error)
		return error;
	put(call, file->kind == FILE_DIRECTORY ? LINUX_DIRECTORY : linux_flags(flags), 4);
	return exchange_plain(p9, call);
}

static int create(const struct file *directory, const char *name, size_t length, unsigned flags, uint32_t mode, struct file *to)
{
	struct p9 *p9 = p9_of(to->tree);
	struct virtio_call *call;
	int error = walk(directory, NULL, 0, to);

	if (error)
		return error;
	error = begin_fid(p9, &call, TLCREATE, to);
	if (!error) {
		put_text(call, name, length);
		put(call, linux_flags(flags) | LINUX_CREAT | (flags & FILE_EXCLUSIVE ? LINUX_EXCL : 0), 4);
		put(call, mode, 4);
		put(call, 0, 4); /* gid */
		error = exchange_plain(p9, call);
	}
	if (error)
		forget(to);
	to->kind = FILE_REGULAR;
	return error;
}

/* TREAD, TREADDIR: data into `memory`; how many bytes. */
static int fetch(const struct file *file, uint8_t type, uint64_t offset, void *memory, uint32_t length)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, type, file);
	uint32_t count;

	if (error)
		return error;
	length = MIN(length, p9->data_max);
	put(call, offset, 8);
	put(call, length, 4);
	error = exchange(p9, call, DATA_HEADER, NULL, 0, memory, length);
	if (error)
		return error;
	count = (uint32_t)get(call->answer + HEADER, 4);
	if (count > call->request.written - DATA_HEADER) {
		virtio_device_broken(p9->vdev, "%u bytes read, it says, in an answer of %u", count, call->request.written);
		error = -EIO;
	}
	end(call);
	return error ? error : (int)count;
}

static int read(const struct file *file, uint64_t offset, void *memory, uint32_t length)
{
	return fetch(file, TREAD, offset, memory, length);
}

static int write(const struct file *file, uint64_t offset, const void *memory, uint32_t length)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int count = begin_fid(p9, &call, TWRITE, file);

	if (count)
		return count;
	length = MIN(length, p9->data_max);
	put(call, offset, 8);
	put(call, length, 4);
	count = exchange(p9, call, DATA_HEADER, memory, length, NULL, 0);
	if (count)
		return count;
	count = (int)MIN(get(call->answer + HEADER, 4), (uint64_t)length);
	end(call);
	return count;
}

/* Entries: qid, the cookie of what is behind it, a type as readdir() has it, name. */
static int list(const struct file *file, uint64_t *cookie, void *memory, file_visit *visit, void *context)
{
	int length = fetch(file, TREADDIR, *cookie, memory, FILE_LIST_BYTES), count = 0;
	const uint8_t *at = memory, *stop = at + MAX(length, 0);
	char name[FILE_NAME_MAX + 1];

	while (length > 0 && stop - at >= QID_BYTES + 11) {
		uint32_t name_length = (uint32_t)get(at + QID_BYTES + 9, 2);

		if (name_length > (size_t)(stop - at) - (QID_BYTES + 11) || name_length > FILE_NAME_MAX)
			return -EIO;
		memcpy(name, at + QID_BYTES + 11, name_length);
		name[name_length] = '\0';
		*cookie = get(at + QID_BYTES, 8);
		count++;
		if (!visit(context, name, kind_of(at[0])))
			return -ECANCELED;
		at += QID_BYTES + 11 + name_length;
	}
	return length < 0 ? length : count;
}

static int resize(const struct file *file, uint64_t size)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TSETATTR, file);

	if (error)
		return error;
	put(call, SETATTR_SIZE, 4);
	put(call, 0, 8);
	put(call, 0, 4); /* mode, uid, gid */
	put(call, size, 8);
	put(call, 0, 8);
	put(call, 0, 8);
	put(call, 0, 8);
	put(call, 0, 8); /* times */
	return exchange_plain(p9, call);
}

static int sync(const struct file *file)
{
	struct p9 *p9 = p9_of(file->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TFSYNC, file);

	if (error)
		return error;
	put(call, 0, 4);
	return exchange_plain(p9, call);
}

static int make_directory(const struct file *directory, const char *name, size_t length, uint32_t mode)
{
	struct p9 *p9 = p9_of(directory->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TMKDIR, directory);

	if (error)
		return error;
	put_text(call, name, length);
	put(call, mode, 4);
	put(call, 0, 4); /* gid */
	return exchange_plain(p9, call);
}

static int remove_name(const struct file *directory, const char *name, size_t length, bool is_directory)
{
	struct p9 *p9 = p9_of(directory->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TUNLINKAT, directory);

	if (error)
		return error;
	put_text(call, name, length);
	put(call, is_directory ? AT_REMOVEDIR : 0, 4);
	return exchange_plain(p9, call);
}

static int rename(const struct file *directory, const char *name, size_t length, const struct file *to_directory, const char *to,
                  size_t to_length)
{
	struct p9 *p9 = p9_of(directory->tree);
	struct virtio_call *call;
	int error = begin_fid(p9, &call, TRENAMEAT, directory);

	if (error)
		return error;
	put_text(call, name, length);
	put(call, fid_of(to_directory), 4);
	put_text(call, to, to_length);
	return exchange_plain(p9, call);
}

static void release(struct file_tree *tree)
{
	struct p9 *p9 = p9_of(tree);

	page_free(p9, sizeof(*p9));
}

static const struct file_ops ops = {
	.root = root,
	.walk = walk,
	.read_link = read_link,
	.stat = stat,
	.open = open,
	.create = create,
	.read = read,
	.write = write,
	.list = list,
	.resize = resize,
	.sync = sync,
	.make_directory = make_directory,
	.remove = remove_name,
	.rename = rename,
	.forget = forget,
	.release = release,
};

/* ---- life ---- */

static int session(struct p9 *p9)
{
	static const char version[] = "9P2000.L";
	struct virtio_call *call;
	uint32_t msize;
	int error = begin(p9, &call, TVERSION);

	if (error)
		return error;
	put(call, MSIZE, 4);
	put_text(call, version, sizeof(version) - 1);
	error = exchange(p9, call, HEADER + 6, NULL, 0, NULL, 0);
	if (error)
		return error;
	msize = (uint32_t)get(call->answer + HEADER, 4);
	if (msize < MSIZE_MIN || msize > MSIZE || get(call->answer + HEADER + 4, 2) != sizeof(version) - 1 ||
	    memcmp(call->answer + HEADER + 6, version, sizeof(version) - 1) != 0)
		error = virtio_refuse(p9->vdev, -EPROTO, "no %s with messages of %u bytes", version, msize);
	end(call);
	p9->data_max = msize - ROOM;
	error = error ? error : begin(p9, &call, TATTACH);
	if (error)
		return error;
	put(call, 0, 4);
	put(call, NONE, 4);
	put_text(call, "root", 4);
	put_text(call, "", 0);
	put(call, 0, 4); /* uid */
	return exchange_plain(p9, call);
}

static int probe(struct virtio_device *vdev)
{
	struct p9 *p9 = page_alloc(sizeof(*p9), PAGE_SIZE);

	if (!p9)
		return -ENOMEM;
	virtio_requestq_init(&p9->queue);
	p9->vdev = vdev;
	p9->tree.ops = &ops;
	p9->tree.node.name = vdev->name;
	if (virtio_has(vdev, VIRTIO_9P_F_MOUNT_TAG))
		virtio_config_bytes(vdev, offsetof(struct virtio_9p_config, tag), p9->tree.tag,
		                    MIN(virtio_config_u16(vdev, offsetof(struct virtio_9p_config, tag_len), 0),
		                        (uint32_t)sizeof(((struct virtio_9p_config *)NULL)->tag)));
	vdev->driver_data = p9;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;
	const struct virtq_spec spec = virtio_requestq_spec(&p9->queue, "requestq", VIRTIO_CALL_BUFFERS);
	int error = virtio_queues_create(vdev, 1, &spec);

	if (error)
		return error;
	virtio_driver_ok(vdev);
	virtio_requestq_start(&p9->queue, vdev->queues[0]);
	p9->starting = true;
	error = session(p9);
	p9->starting = false;
	if (error)
		return *vdev->reason ? error : virtio_refuse(vdev, error, "no session: error %d", -error);
	if (!p9->registered)
		file_tree_register(&p9->tree);
	p9->registered = true;
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;

	file_tree_reset(&p9->tree);
	virtio_requestq_drain(&p9->queue, false);
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	struct p9 *p9 = vdev->driver_data;

	(void)vq;
	virtio_requestq_drain(&p9->queue, false);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	struct p9 *p9 = vdev->driver_data;

	virtio_requestq_start(&p9->queue, vq);
}

static void remove(struct virtio_device *vdev)
{
	struct p9 *p9 = vdev->driver_data;

	virtio_requestq_end(&p9->queue);
	if (p9->registered)
		file_tree_unregister(&p9->tree);
	else
		release(&p9->tree);
}

static const struct virtio_driver p9_driver = {
	.name = "virtio-9p",
	.instance = "9p",
	.type = VIRTIO_ID_9P,
	.features = BIT64(VIRTIO_9P_F_MOUNT_TAG),
	.config_size = sizeof(struct virtio_9p_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
};
VIRTIO_DRIVER(p9_driver);
