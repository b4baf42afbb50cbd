/*
 * Inside the 9P driver: 9p.c has its life, its session and its messages, 9p_tree.c what a tree of files asks for.
 */
#ifndef DRIVERS_FILE_9P_IMPL_H
#define DRIVERS_FILE_9P_IMPL_H

#include <class/file.h>
#include <virtio/call.h>

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

#define P9_HEADER 7u       /* size, type, tag */
#define P9_DATA_HEADER 11u /* of an answer with data, and an error's length */

struct p9 {
	struct virtio_device *vdev;
	struct virtio_requestq queue;
	uint32_t data_max; /* bytes in one read or write */
	struct file_tree tree;
	struct virtio_calls calls;
};

extern const struct file_ops p9_ops;

#define put virtio_call_put
#define get virtio_call_get
#define end virtio_call_give

/* A message with its header; NULL, which the others take: too many are under way. */
struct virtio_call *p9_begin(struct p9 *p9, uint8_t type);
/* A name is FILE_NAME_MAX bytes at most: room for two is in a message. */
void p9_put_text(struct virtio_call *call, const char *text, size_t length);
/* Send and wait. 0: call->answer has at least `least` bytes, until end(); an error: the message is ended. */
[[nodiscard]] int p9_exchange(struct p9 *p9, struct virtio_call *call, uint32_t least, const void *out, uint32_t out_bytes,
                              void *in, uint32_t in_bytes);
[[nodiscard]] int p9_exchange_plain(struct p9 *p9, struct virtio_call *call); /* and end it */

#endif
