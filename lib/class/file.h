/*
 * File trees: what a host shares by 9P or FUSE, or what the loader brought along. Loop context. All calls but file_close() may wait; they
 * give 0 or a negative errno: what the tree's server says, -EIO (no answer, or none that makes sense), -ESTALE (the device was reset since
 * the file was opened), -ENODEV (gone).
 *
 * A path has components between slashes; "." and ".." are taken as text, symbolic links are followed, the root is "/" or "".
 */
#ifndef CLASS_FILE_H
#define CLASS_FILE_H

#include <stddef.h>

#include <class/device.h>

#define FILE_PATH_MAX 1024u /* bytes, with the NUL; links included */
#define FILE_NAME_MAX 255u
#define FILE_OPEN_MAX 64u /* files of a tree that are open at a time, and some more that paths go over */
#define FILE_LIST_BYTES 16384u

enum file_kind { FILE_REGULAR, FILE_DIRECTORY, FILE_LINK, FILE_OTHER };
enum { FILE_READ = 1, FILE_WRITE = 2, FILE_CREATE = 4, FILE_EXCLUSIVE = 8, FILE_TRUNCATE = 16 };

struct file_info {
	enum file_kind kind;
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	uint64_t links, size, inode, changed_s; /* changed: seconds since 1970 */
};

struct file_tree;

/* An open file or directory. */
struct file {
	struct file_tree *tree;
	bool taken, stale;
	enum file_kind kind;
	/* The driver's. */
	uint64_t id, handle;
	bool open;
	unsigned rights; /* it is open for: FILE_READ, FILE_WRITE */
};

/* `name` is only good within the call, which may use other files. False: enough. */
typedef bool file_visit(void *context, const char *name, enum file_kind kind);

/* What a driver does. `to` is a free slot, which it fills (id, kind, ...) on success only. A name has `length` bytes. */
struct file_ops {
	int (*root)(struct file_tree *tree, struct file *to);
	int (*walk)(const struct file *from, const char *name, size_t length, struct file *to);
	int (*read_link)(const struct file *link, char *text, size_t size); /* gives its length */
	int (*stat)(const struct file *file, struct file_info *info);
	int (*open)(struct file *file, unsigned flags);
	int (*create)(const struct file *directory, const char *name, size_t length, unsigned flags, uint32_t mode,
	              struct file *to);
	/* One message's worth at most; gives the bytes. */
	int (*read)(const struct file *file, uint64_t offset, void *memory, uint32_t length);
	int (*write)(const struct file *file, uint64_t offset, const void *memory, uint32_t length);
	/* Some entries, from *cookie on, with `memory` of FILE_LIST_BYTES to work in: how many (0: no more), or -ECANCELED: `visit` has enough. */
	int (*list)(const struct file *file, uint64_t *cookie, void *memory, file_visit *visit, void *context);
	int (*resize)(const struct file *file, uint64_t size);
	int (*sync)(const struct file *file);
	int (*make_directory)(const struct file *directory, const char *name, size_t length, uint32_t mode);
	int (*remove)(const struct file *directory, const char *name, size_t length, bool is_directory);
	int (*rename)(const struct file *directory, const char *name, size_t length, const struct file *to_directory,
	              const char *to, size_t to_length);
	void (*forget)(struct file *file); /* done with it; does not wait */
};

struct file_tree {
	struct class_node node; /* "9p0", "fs0" */
	const struct file_ops *ops;
	void *owner; /* the driver's, with this in it: from page_alloc(), freed when the last user is done */
	size_t owner_bytes;
	char tag[64]; /* the host's name for it; "" */
	bool gone;
	unsigned users; /* calls under way and open files */
	struct file files[FILE_OPEN_MAX];
};

extern struct class_list file_trees;

/* ---- for programs ---- */
struct file_tree *file_tree_find(const char *name); /* by name or tag; NULL: the first */
struct file_tree *file_tree_next(struct file_tree *tree);
/* The tree of "/TREE/rest", by name or tag; *rest: what is behind it. NULL: none. */
struct file_tree *file_tree_of(const char *path, const char **rest);

/* Flags 0: just to stat, or a directory to list. `mode`: permissions of what is created. */
[[nodiscard]] int file_open(struct file_tree *tree, const char *path, unsigned flags, uint32_t mode, struct file **file);
void file_close(struct file *file);
/* How many bytes; fewer than asked for only at the end of the file, or when an error came behind them. At most INT_MAX. */
[[nodiscard]] int file_read(struct file *file, uint64_t offset, void *memory, size_t length);
[[nodiscard]] int file_write(struct file *file, uint64_t offset, const void *memory, size_t length);
[[nodiscard]] int file_list(struct file *directory, file_visit *visit, void *context); /* without "." and ".." */
[[nodiscard]] int file_info(struct file *file, struct file_info *info);
[[nodiscard]] int file_resize(struct file *file, uint64_t size);
[[nodiscard]] int file_sync(struct file *file); /* 0: it is where the host keeps it */
[[nodiscard]] int file_stat(struct file_tree *tree, const char *path, struct file_info *info);
[[nodiscard]] int file_make_directory(struct file_tree *tree, const char *path, uint32_t mode);
[[nodiscard]] int file_remove(struct file_tree *tree, const char *path); /* a file, a link, or an empty directory */
/* Only a directory: -ENOTDIR; or anything but one: -EISDIR. */
[[nodiscard]] int file_unlink(struct file_tree *tree, const char *path, bool directory);
[[nodiscard]] int file_rename(struct file_tree *tree, const char *from, const char *to);

/* ---- for drivers ---- */
void file_tree_leave(struct file_tree *tree);    /* in remove(): its owner goes, at once or with the last user */
void file_tree_reset(struct file_tree *tree);    /* what is open is stale */
int file_error(uint32_t linux_errno);            /* what a server says, as ours: negative */
enum file_kind file_kind_of_mode(uint32_t mode); /* a Unix mode */

#endif
