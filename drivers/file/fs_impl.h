/*
 * Inside the file system driver: fs.c has its life, its session and its messages, fs_tree.c what a tree of files asks for.
 */
#ifndef DRIVERS_FILE_FS_IMPL_H
#define DRIVERS_FILE_FS_IMPL_H

#include <class/file.h>
#include <virtio/call.h>

enum {
	FUSE_LOOKUP = 1,
	FUSE_FORGET = 2,
	FUSE_GETATTR = 3,
	FUSE_SETATTR = 4,
	FUSE_READLINK = 5,
	FUSE_MKDIR = 9,
	FUSE_UNLINK = 10,
	FUSE_RMDIR = 11,
	FUSE_RENAME = 12,
	FUSE_OPEN = 14,
	FUSE_READ = 15,
	FUSE_WRITE = 16,
	FUSE_RELEASE = 18,
	FUSE_FSYNC = 20,
	FUSE_INIT = 26,
	FUSE_OPENDIR = 27,
	FUSE_RELEASEDIR = 29,
	FUSE_CREATE = 35,
	FUSE_BATCH_FORGET = 42,
	FUSE_READDIRPLUS = 44,
};

#define ROOT 1 /* its node id */
#define OUT_HEADER 16u
#define HIPRIO 0
#define REQUEST 1 /* the first of the request queues */
#define REQUESTS_MAX 4u

struct fs {
	struct virtio_device *vdev;
	struct virtio_requestq queues[REQUEST + REQUESTS_MAX];
	uint16_t requests; /* request queues that are used */
	unsigned turn;
	uint64_t unique;
	uint32_t data_max; /* bytes in one read or write */
	struct file_tree tree;
	struct virtio_calls calls;
};

extern const struct file_ops fs_ops;

#define put virtio_call_put
#define get virtio_call_get
#define end virtio_call_give

static inline struct fs *fs_of(const struct file *file) { return file->tree->owner; }

static inline const uint8_t *payload(const struct virtio_call *call) { return call->answer + OUT_HEADER; }

/* A request with its header; NULL, which the others take: too many are under way. */
struct virtio_call *fs_begin(struct fs *fs, uint32_t opcode, uint64_t node);
/* Send and wait. 0: payload() has at least `least` bytes, or, with `in`, *in_bytes bytes have come there, until end(); an error: the call is
 * ended. */
[[nodiscard]] int fs_exchange(struct fs *fs, struct virtio_call *call, uint32_t least, const void *out, uint32_t out_bytes,
                              void *in, uint32_t *in_bytes);
[[nodiscard]] int fs_exchange_plain(struct fs *fs, struct virtio_call *call); /* and end it */
void fs_forget(struct fs *fs, struct virtio_call *call);                      /* FORGET, BATCH_FORGET */

#endif
