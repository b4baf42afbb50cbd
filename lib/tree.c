/*
 * The tree of files in boot modules: a sorted array of nodes, made once, when somebody asks.
 *
 * Paths are sorted with "/" before all other bytes, so that all that is in a folder stands right behind it. Folders that archives
 * do not name are made from the paths of what is in them. Two walks: one counts, one fills.
 */
#include <base/tree.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/boot_info.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

#define PATH_MAX_BYTES ARCHIVE_NAME_MAX
#define LINKS_MAX 16u
#define MODE_FOLDER 0555u
#define MODE_FILE 0444u

static const struct boot_info *boot_info;
static const struct tree_node root_alone = {.path = "", .kind = ARCHIVE_FOLDER, .mode = MODE_FOLDER};
static const struct tree_node *nodes;
static uint32_t node_count;

/* What the walks have come to; without memory they count. */
struct build {
	struct tree_node *nodes;
	char *text;
	uint64_t node_count, text_bytes;
	uint32_t order, refused;
};

/* "./a//b/" to "a/b", in place. 0: it names the root; -EINVAL: it climbs. */
static int normalize(char *path)
{
	char *out = path;

	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");

		if (length == 2 && at[0] == '.' && at[1] == '.')
			return -EINVAL;
		if (length && !(length == 1 && at[0] == '.')) {
			if (out > path)
				*out++ = '/';
			memmove(out, at, length);
			out += length;
		}
		at += length;
		at += strspn(at, "/");
	}
	*out = '\0';
	return (int)(out - path);
}

/* A node, and the folders above it. */
static void add(struct build *build, char *path, struct tree_node node)
{
	int length = normalize(path);
	const char *text = build->nodes ? build->text + build->text_bytes : NULL;

	if (length <= 0) {
		build->refused += length < 0;
		return;
	}
	build->order++;
	if (build->nodes)
		memcpy(build->text + build->text_bytes, path, (size_t)length);
	build->text_bytes += (uint64_t)length;
	for (int i = 0; i <= length; i++) {
		if (i < length && path[i] != '/')
			continue;
		if (build->nodes && i < length) {
			build->nodes[build->node_count] = (struct tree_node){.kind = ARCHIVE_FOLDER, .mode = MODE_FOLDER};
		} else if (build->nodes) {
			node.order = build->order;
			build->nodes[build->node_count] = node;
		}
		if (build->nodes) {
			build->nodes[build->node_count].path = text;
			build->nodes[build->node_count].length = (uint32_t)i;
		}
		build->node_count++;
	}
}

/* cpio gives the data with the last of a file's names; the others stand right in front of it. */
static void share_data(struct build *build, const struct archive *archive)
{
	for (uint64_t i = build->node_count; build->nodes && archive->identity && archive->size && i-- > 0;) {
		struct tree_node *node = &build->nodes[i];

		if (!node->order)
			continue;
		if (node->kind != ARCHIVE_FILE || node->identity != archive->identity)
			return;
		node->data = archive->data;
		node->size = archive->size;
	}
}

static void add_archive(struct build *build, struct archive *archive)
{
	while (archive_next(archive)) {
		if (!archive->tar && archive->kind == ARCHIVE_FILE)
			share_data(build, archive);
		add(build, archive->name,
		    (struct tree_node){.mode = archive->mode,
		                       .kind = archive->kind,
		                       .rooted = archive->tar && archive->identity,
		                       .data = archive->data,
		                       .size = archive->size,
		                       .mtime = archive->mtime,
		                       .identity = archive->identity});
	}
	if (archive->problem && build->nodes)
		log_warn("initrd: the archive ends early, at byte %llu: %s", (unsigned long long)(archive->at - archive->start),
		         archive->problem);
}

/* A module that is no archive: the last part of its command line's first word. */
static void add_file(struct build *build, const struct boot_module *module)
{
	const char *name = module->cmdline;
	char path[ARCHIVE_NAME_MAX + 1] = "initrd";
	size_t length = strcspn(name, " ");

	for (size_t i = 0; i < strcspn(module->cmdline, " "); i++) {
		if (module->cmdline[i] == '/') {
			name = module->cmdline + i + 1;
			length = strcspn(name, " ");
		}
	}
	if (length && length <= ARCHIVE_NAME_MAX) {
		memcpy(path, name, length);
		path[length] = '\0';
	}
	add(build, path,
	    (struct tree_node){.mode = MODE_FILE,
	                       .kind = ARCHIVE_FILE,
	                       .data = (const uint8_t *)(uintptr_t)module->base,
	                       .size = module->size});
}

static void walk(struct build *build)
{
	static struct archive archive;

	for (unsigned i = 0; boot_info && i < boot_info->module_count; i++) {
		const struct boot_module *module = &boot_info->module[i];

		if (archive_open(&archive, (const void *)(uintptr_t)module->base, module->size))
			add_archive(build, &archive);
		else
			add_file(build, module);
	}
}

static int rank(char c) { return c == '/' ? 0 : (unsigned char)c + 1; }

static int compare_paths(const char *a, uint32_t a_length, const char *b, uint32_t b_length)
{
	for (uint32_t i = 0; i < a_length && i < b_length; i++) {
		if (a[i] != b[i])
			return rank(a[i]) - rank(b[i]);
	}
	return a_length < b_length ? -1 : a_length > b_length;
}

static int compare_nodes(const void *left, const void *right)
{
	const struct tree_node *a = left, *b = right;
	int order = compare_paths(a->path, a->length, b->path, b->length);

	return order ? order : a->order < b->order ? -1 : a->order > b->order;
}

static void build_tree(void)
{
	struct build build = {0};
	uint64_t kept = 0;

	nodes = &root_alone;
	node_count = 1;
	walk(&build);
	if (!build.node_count)
		return;

	uint64_t bytes = (build.node_count + 1) * sizeof(*build.nodes) + build.text_bytes;

	build.nodes = page_alloc(bytes, PAGE_SIZE);
	if (!build.nodes || build.node_count > UINT32_MAX - 1) {
		log_warn("initrd: no memory for its %llu files", (unsigned long long)build.node_count);
		return;
	}
	build.text = (char *)(build.nodes + build.node_count + 1);
	build.nodes[0] = root_alone;
	build.node_count = 1;
	build.text_bytes = build.order = build.refused = 0;
	walk(&build);
	if (build.refused)
		log_warn("initrd: %u names that climb above the root are left out", build.refused);
	qsort(build.nodes, build.node_count, sizeof(*build.nodes), compare_nodes);
	for (uint64_t i = 0; i < build.node_count; i++) {
		const struct tree_node *node = &build.nodes[i], *next = node + 1;

		if (i + 1 == build.node_count || compare_paths(node->path, node->length, next->path, next->length) != 0)
			build.nodes[kept++] = *node;
	}
	nodes = build.nodes;
	node_count = (uint32_t)kept;
}

void tree_init(const struct boot_info *boot)
{
	boot_info = boot;
	nodes = NULL;
}

static const struct tree_node *lookup(const char *path, uint32_t length)
{
	uint32_t low = 0, high = node_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = compare_paths(path, length, nodes[middle].path, nodes[middle].length);

		if (!order)
			return &nodes[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* `rest` becomes the target of a link and what stood behind the link. */
static int take_link(const struct tree_node *link, char *rest, const char *behind)
{
	size_t after = strlen(behind);

	if (link->size + 1 + after > PATH_MAX_BYTES)
		return -ENAMETOOLONG;
	memmove(rest + link->size + 1, behind, after + 1);
	memcpy(rest, link->data, link->size);
	rest[link->size] = '/';
	return 0;
}

static uint32_t parent(const char *path, uint32_t length)
{
	while (length && path[length - 1] != '/')
		length--;
	return length ? length - 1 : 0;
}

int tree_find(const char *path, bool follow, const struct tree_node **found)
{
	char rest[PATH_MAX_BYTES + 1], so_far[PATH_MAX_BYTES + 1];
	const struct tree_node *node;
	uint32_t length = 0;
	unsigned links = 0;

	if (!nodes)
		build_tree();
	if (!*path)
		return -ENOENT;
	if (strlen(path) > PATH_MAX_BYTES)
		return -ENAMETOOLONG;
	strcpy(rest, path);
	node = &nodes[0];
	for (char *at = rest;;) {
		at += strspn(at, "/");

		size_t part = strcspn(at, "/");
		char *behind = at + part;

		if (!part)
			break;
		if (node->kind != ARCHIVE_FOLDER)
			return -ENOTDIR;
		if (part == 2 && at[0] == '.' && at[1] == '.') {
			length = parent(so_far, length);
		} else if (part != 1 || at[0] != '.') {
			if (length + 1 + part > PATH_MAX_BYTES)
				return -ENAMETOOLONG;
			if (length)
				so_far[length++] = '/';
			memcpy(so_far + length, at, part);
			length += (uint32_t)part;
		}
		node = lookup(so_far, length);
		if (!node)
			return -ENOENT;
		at = behind;
		if (node->kind == ARCHIVE_LINK && (follow || node->rooted || behind[strspn(behind, "/")])) {
			int error = ++links > LINKS_MAX ? -ELOOP : take_link(node, rest, behind);

			if (error)
				return error;
			length = node->rooted || (node->size && node->data[0] == '/') ? 0 : parent(so_far, length);
			node = lookup(so_far, length);
			at = rest;
		}
	}
	*found = node;
	return path[strlen(path) - 1] == '/' && node->kind != ARCHIVE_FOLDER ? -ENOTDIR : 0;
}

static bool is_in(const struct tree_node *node, const struct tree_node *folder)
{
	return !folder->length ? node->length > 0
	                       : node->length > folder->length && node->path[folder->length] == '/' &&
	                                 memcmp(node->path, folder->path, folder->length) == 0;
}

const struct tree_node *tree_child(const struct tree_node *folder, const struct tree_node *after)
{
	const struct tree_node *node = (after ? after : folder) + 1, *end = nodes + node_count;

	while (after && node < end && is_in(node, after))
		node++;
	return node < end && is_in(node, folder) ? node : NULL;
}
