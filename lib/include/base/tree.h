/*
 * The files that boot modules brought (initrd), as one read-only tree: archives (base/archive.h) are merged, a later entry hides an
 * earlier one of the same path; any other module is a file in the root, of its name or "initrd". Their bytes stay where the loader
 * put them. Programs see the tree by open(), stat() and opendir(). Calls from the loop of the boot CPU.
 */
#ifndef BASE_TREE_H
#define BASE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include <base/archive.h>

struct tree_node {
	const char *path; /* from the root, "" for that; `length` bytes, no NUL */
	uint32_t length;
	uint32_t mode; /* permission bits */
	enum archive_kind kind;
	bool rooted; /* a link's target counts from the root */
	const uint8_t *data;
	uint64_t size, mtime, identity;
	uint32_t order; /* of its entry; 0: a folder that no entry names */
};

struct boot_info;

/* Remembers the modules; they are read when the first file is asked for. */
void tree_init(const struct boot_info *boot);

/* The node at a path, absolute or from the root, with "." and ".."; links on the way are followed, the last one if `follow`.
 * 0 or -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG. */
[[nodiscard]] int tree_find(const char *path, bool follow, const struct tree_node **node);

/* What a folder holds, in order of names: the one behind `after`, from NULL on to NULL. */
const struct tree_node *tree_child(const struct tree_node *folder, const struct tree_node *after);

#endif
