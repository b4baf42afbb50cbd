/*
 * A tree of files in memory: what the software 9P and file system devices serve, and what tests and workloads see of it.
 */
#ifndef SWDEV_TREE_H
#define SWDEV_TREE_H

#include "swdev.h"

#define SWDEV_NODES 1024u

enum { SWDEV_FILE = 8, SWDEV_DIRECTORY = 4, SWDEV_LINK = 10 }; /* as the top bits of a Unix mode */

struct swdev_node {
	bool used;
	unsigned parent, kind, mode;
	char name[256];
	uint8_t *bytes; /* a link's: its text */
	size_t size;
	int shared; /* 0, or the file of the host's that the bytes are mapped from, plus 1 */
};

struct swdev_window;

struct swdev_tree {
	struct swdev_node nodes[SWDEV_NODES];          /* the first is the root */
	unsigned reads, writes, walks, syncs, largest; /* largest: bytes in one read or write */
	unsigned stats, valid_s;                       /* fs: GETATTRs, and for how many seconds their answers hold */
	unsigned references;                           /* fids, or lookups and open files, that the driver has */
	int fails;                                     /* every request does, with this Linux errno */
	unsigned answer_short;                         /* answers are cut to so many bytes */
	bool wrong_type;                               /* answers are of another type, or to another request */
	bool counts_lie;                               /* reads say that they bring more than they do */
	struct swdev_window *window;                   /* an fs device's; NULL: none */
};

static inline struct swdev_tree *swdev_tree_of(struct swdev *dev) { return dev->state; } /* of a swdev_9p or swdev_fs */
extern const struct swdev_type swdev_9p, swdev_fs;

void swdev_tree_init(struct swdev_tree *tree);
void swdev_tree_free(struct swdev_tree *tree);
/* 0: none. */
unsigned swdev_tree_find(const struct swdev_tree *tree, unsigned directory, const char *name, size_t length);
unsigned swdev_tree_path(const struct swdev_tree *tree, const char *path); /* of names that exist, "a/b"; 0: none */
/* A Linux errno, or 0 and *made. */
int swdev_tree_make(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, unsigned kind, unsigned mode,
                    unsigned *made);
int swdev_tree_remove(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, bool is_directory);
int swdev_tree_rename(struct swdev_tree *tree, unsigned directory, const char *name, size_t length, unsigned to,
                      const char *to_name, size_t to_length);
void swdev_tree_resize(struct swdev_node *node, size_t size);
void swdev_tree_share(struct swdev_node *node); /* so that the bytes can be mapped a second time */

struct swdev_work;
bool swdev_tree_begin(struct swdev_work *work);
bool swdev_tree_check(struct swdev_work *work);
/* Lies of an array's members that concern any server of files. */
void swdev_tree_short(struct swdev *dev);
void swdev_tree_wrong(struct swdev *dev);
void swdev_tree_counts(struct swdev *dev);
void swdev_tree_fails(struct swdev *dev);

#endif
