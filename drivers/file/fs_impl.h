/*
 * Inside the file system driver: fs.c has its life, its session and its messages, fs_tree.c what a tree of files asks for,
 * fs_dax.c the DAX window.
 */
#ifndef DRIVERS_FILE_FS_IMPL_H
#define DRIVERS_FILE_FS_IMPL_H

#include <class/file.h>
#include <virtio/call.h>
#include <virtio/virtio.h>

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
	FUSE_SETUPMAPPING = 48,
	FUSE_REMOVEMAPPING = 49,
};

#define ROOT 1 /* its node id */
#define OUT_HEADER 16u
#define HIPRIO 0
#define REQUEST 1 /* the first of the request queues */
#define REQUESTS_MAX 4u

#define FS_PLACES 16u

/* A part of the window, and the chunk of an open file that is mapped there. */
struct fs_place {
	uint64_t node, handle, offset; /* node 0: nothing */
	unsigned used;                 /* fs_dax.uses, when it was last */
	bool busy;                     /* a request is about it: it is nobody's */
};

struct fs_dax {
	uint8_t *memory;
	uint64_t chunk; /* bytes of a place */
	unsigned count; /* places; 0: there is no window */
	unsigned uses;
	unsigned held, era; /* see fs_dax_hold() */
	struct fs_place places[FS_PLACES];
	uint64_t known_node, known_size, known_until_ns; /* the size of one file, as long as the server lets us believe it */
};

struct fs {
	struct virtio_device *vdev;
	struct virtio_requestq queues[REQUEST + REQUESTS_MAX];
	uint16_t requests; /* request queues that are used */
	unsigned turn;
	uint64_t unique;
	uint32_t data_max; /* bytes in one read or write */
	struct file_tree tree;
	struct virtio_calls calls;
	struct fs_dax dax;
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

/* fs_dax.c. In start(): is there a window? Then a session asks for FUSE_MAP_ALIGNMENT, and its answer, if it has that, is a power of two. */
bool fs_dax_offered(struct fs *fs, struct virtio_shm *window);
void fs_dax_start(struct fs *fs, const struct virtio_shm *window, unsigned alignment);
void fs_dax_stop(struct fs *fs); /* after a reset: nothing is mapped */
/* Read or write what the window can; how many bytes. 0: by a request; an error: the session is over. */
[[nodiscard]] int fs_dax_copy(const struct file *file, uint64_t offset, void *memory, uint32_t length, bool write);
void fs_dax_drop(struct fs *fs, uint64_t node, const uint64_t *handle); /* what is mapped of a node, or of one handle of it */
/* Around what makes a file smaller: nothing of any is touched meanwhile, nor, when fs_dax.era has changed, what one knew before. */
void fs_dax_hold(struct fs *fs, uint64_t node);
void fs_dax_release(struct fs *fs);
/* The server said so, when asked in that era; good for so many seconds. */
void fs_dax_size(struct fs *fs, unsigned era, uint64_t node, uint64_t size, uint64_t seconds);
void fs_dax_wrote(struct fs *fs, unsigned era, uint64_t node, uint64_t end);

#endif
