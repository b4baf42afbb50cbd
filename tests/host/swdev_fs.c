/*
 * "File System Device" with a FUSE server, over the tree of swdev_tree.c. It counts how often it named each node to the driver, serves requests
 * of nodes that it named only, and forgets them when told so on the hiprio queue, and nowhere else.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_tree.h"
#include "swdev_window.h"
#include "swdev_work_impl.h"

enum { HIPRIO = 0, HANDLES = 200 };

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 1, .count = 36, .feature = -1},
	{.offset = 36, .width = 4, .count = 1, .feature = -1},
	{.offset = 40, .width = 4, .count = 1, .feature = 0},
	{.width = 0},
};

struct server {
	struct swdev_tree tree; /* first: see swdev_tree_of() */
	unsigned named[SWDEV_NODES];
	unsigned handles[HANDLES]; /* node + 1 */
	uint32_t modes[HANDLES];   /* how each is open: 0 to read, 1 to write, 2 for both */
	bool session;
};

static struct server *server_of(const struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct server));
	swdev_tree_init(&server_of(dev)->tree);
	memcpy(dev->config, "a-tag", 5);
	put32(dev->config + 36, dev->type->queues - 1u);
}

static void release(struct swdev *dev)
{
	swdev_window_free(&server_of(dev)->tree);
	swdev_tree_free(&server_of(dev)->tree);
	free(dev->state);
}

static void end_session(struct server *server)
{
	memset(server->named, 0, sizeof(server->named));
	memset(server->handles, 0, sizeof(server->handles));
	swdev_window_reset(&server->tree);
	server->session = false;
	server->tree.references = 0;
}

static void reset(struct swdev *dev)
{
	if (dev->state)
		end_session(server_of(dev));
}

struct exchange {
	struct swdev *dev;
	struct server *server;
	const uint8_t *in; /* what is behind the header */
	uint32_t in_length;
	unsigned node;
	uint8_t *out; /* behind the header */
	uint32_t out_length, out_room;
};

static void put_attr(struct exchange *exchange, uint8_t *at, unsigned index)
{
	const struct swdev_node *node = &exchange->server->tree.nodes[index];

	put64(at, index + 1000);
	put64(at + 8, node->size);
	put64(at + 32, 1234567);
	put32(at + 60, node->kind << 12 | node->mode);
	put32(at + 64, 2);
	put32(at + 68, 7);
	put32(at + 72, 8);
}

/* struct fuse_entry_out: node ids are indices + 1, the root's is 1. */
static void put_entry(struct exchange *exchange, unsigned index)
{
	uint8_t *at = exchange->out + exchange->out_length;

	put64(at, index + 1);
	put_attr(exchange, at + 40, index);
	exchange->out_length += 128;
	exchange->server->named[index]++;
	exchange->server->tree.references++;
}

static void put_handle(struct exchange *exchange, unsigned index)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		if (exchange->server->handles[i])
			continue;
		exchange->server->handles[i] = index + 1;
		exchange->server->modes[i] = get32(exchange->in) & 3;
		exchange->server->tree.references++;
		put64(exchange->out + exchange->out_length, i + 5);
		exchange->out_length += 16;
		return;
	}
	swdev_violation(exchange->dev, "too many files are open");
}

static bool handle_is_right(struct exchange *exchange, uint64_t handle)
{
	if (handle >= 5 && handle < 5 + HANDLES && exchange->server->handles[handle - 5] == exchange->node + 1)
		return true;
	swdev_violation(exchange->dev, "handle %llu of node %u", (unsigned long long)handle, exchange->node);
	return false;
}

/* The name behind `at` bytes; the next is behind its NUL. */
static const char *name_at(struct exchange *exchange, uint32_t at)
{
	for (uint32_t i = at; i < exchange->in_length; i++)
		if (!exchange->in[i])
			return (const char *)exchange->in + at;
	swdev_violation(exchange->dev, "a name without an end");
	return "";
}

static int lookup(struct exchange *exchange)
{
	const char *name = name_at(exchange, 0);
	unsigned found = swdev_tree_find(&exchange->server->tree, exchange->node, name, strlen(name));

	if (exchange->server->tree.nodes[exchange->node].kind != SWDEV_DIRECTORY)
		return 20;
	exchange->server->tree.walks++;
	if (found)
		put_entry(exchange, found);
	return found ? 0 : 2;
}

static int make(struct exchange *exchange, unsigned kind, uint32_t at, bool exclusive)
{
	const char *name = name_at(exchange, at);
	unsigned made = swdev_tree_find(&exchange->server->tree, exchange->node, name, strlen(name));
	int error = 0;

	if (!made || exclusive)
		error = swdev_tree_make(&exchange->server->tree, exchange->node, name, strlen(name), kind,
		                        get32(exchange->in + (kind == SWDEV_FILE ? 4 : 0)) & 0777, &made);
	if (error)
		return error;
	put_entry(exchange, made);
	if (kind == SWDEV_FILE)
		put_handle(exchange, made);
	return 0;
}

/* Of nodes that the driver knows only, as virtiofsd. */
static int remove_or_rename(struct exchange *exchange, uint32_t opcode)
{
	const char *name = name_at(exchange, opcode == 12 ? 8 : 0), *to;
	struct swdev_tree *tree = &exchange->server->tree;
	unsigned found = swdev_tree_find(tree, exchange->node, name, strlen(name));

	if (found && !exchange->server->named[found])
		return 5;
	if (opcode != 12)
		return swdev_tree_remove(tree, exchange->node, name, strlen(name), opcode == 11);
	to = name_at(exchange, 8 + (uint32_t)strlen(name) + 1);
	return swdev_tree_rename(tree, exchange->node, name, strlen(name), (unsigned)get64(exchange->in) - 1, to, strlen(to));
}

static int data_in(struct exchange *exchange)
{
	const struct swdev_node *node = &exchange->server->tree.nodes[exchange->node];
	uint64_t offset = get64(exchange->in + 8), left = offset < node->size ? node->size - offset : 0;
	uint32_t count = get32(exchange->in + 16);

	if (!handle_is_right(exchange, get64(exchange->in)))
		return 9;
	if (count > exchange->out_room)
		swdev_violation(exchange->dev, "a read of %u bytes with room for %u", count, exchange->out_room);
	count = left < count ? (uint32_t)left : count;
	if (count)
		memcpy(exchange->out, node->bytes + offset, count);
	exchange->server->tree.reads++;
	exchange->out_length = count;
	return 0;
}

static int data_out(struct exchange *exchange)
{
	struct swdev_node *node = &exchange->server->tree.nodes[exchange->node];
	uint64_t offset = get64(exchange->in + 8);
	uint32_t count = get32(exchange->in + 16);

	if (!handle_is_right(exchange, get64(exchange->in)))
		return 9;
	if (exchange->in_length != 40 + count || count > 65536)
		swdev_violation(exchange->dev, "a write of %u bytes in %u", count, exchange->in_length);
	if (offset + count > node->size)
		swdev_tree_resize(node, offset + count);
	if (count)
		memcpy(node->bytes + offset, exchange->in + 40, count);
	exchange->server->tree.writes++;
	put32(exchange->out, count);
	exchange->out_length = 8;
	return 0;
}

static int readdirplus(struct exchange *exchange)
{
	uint64_t cookie = get64(exchange->in + 8);
	uint32_t count = get32(exchange->in + 16);

	if (!handle_is_right(exchange, get64(exchange->in)))
		return 9;
	for (unsigned i = (unsigned)cookie; i < SWDEV_NODES; i++) {
		const struct swdev_node *node = &exchange->server->tree.nodes[i];
		const char *name = i ? node->name : ".";
		uint8_t *at = exchange->out + exchange->out_length;

		if (i && (!node->used || node->parent != exchange->node))
			continue;
		if (exchange->out_length + 152 + strlen(name) + 7 > count)
			break;
		if (i)
			put_entry(exchange, i);
		else
			exchange->out_length += 128;
		put64(at + 128, i + 1000);
		put64(at + 136, i + 1);
		put32(at + 144, (uint32_t)strlen(name));
		put32(at + 148, node->kind);
		memcpy(at + 152, name, strlen(name));
		exchange->out_length += (24 + (uint32_t)strlen(name) + 7) / 8 * 8;
	}
	return 0;
}

static int release_handle(struct exchange *exchange)
{
	if (!handle_is_right(exchange, get64(exchange->in)))
		return 9;
	exchange->server->handles[get64(exchange->in) - 5] = 0;
	exchange->server->tree.references--;
	return 0;
}

static int start_session(struct exchange *exchange)
{
	end_session(exchange->server);
	exchange->server->session = true;
	put32(exchange->out, 7);
	put32(exchange->out + 4, 31);
	put32(exchange->out + 20, 65536); /* max_write */
	if (exchange->server->tree.window)
		swdev_window_session(exchange->server->tree.window, get32(exchange->in + 12), exchange->out);
	exchange->out_length = 64;
	return 0;
}

static int set_up_mapping(struct exchange *exchange)
{
	uint64_t handle = get64(exchange->in);
	uint32_t mode;

	if (!handle_is_right(exchange, handle))
		return 9;
	mode = exchange->server->modes[handle - 5];
	if (exchange->in_length != 40 || mode == 1 || (mode == 0 && get64(exchange->in + 24) & SWDEV_MAP_WRITE))
		swdev_violation(exchange->dev, "SETUPMAPPING of %u bytes, to a file open for %u", exchange->in_length, mode);
	return swdev_window_map(exchange->dev, exchange->node, exchange->in);
}

static int answer(struct exchange *exchange, uint32_t opcode)
{
	if (exchange->server->tree.fails && opcode != 26 && opcode != 18 && opcode != 29)
		return exchange->server->tree.fails;
	switch (opcode) {
	case 1:
		return lookup(exchange);
	case 3:
		exchange->server->tree.stats++;
		put64(exchange->out, exchange->server->tree.valid_s);
		put_attr(exchange, exchange->out + 16, exchange->node);
		exchange->out_length = 104;
		return 0;
	case 4:
		if ((get32(exchange->in) & ~64u) != 8 || exchange->in_length != 88)
			swdev_violation(exchange->dev, "SETATTR of %#x", get32(exchange->in));
		swdev_tree_resize(&exchange->server->tree.nodes[exchange->node], get64(exchange->in + 16));
		exchange->out_length = 104;
		return 0;
	case 5:
		exchange->out_length = (uint32_t)exchange->server->tree.nodes[exchange->node].size;
		memcpy(exchange->out, exchange->server->tree.nodes[exchange->node].bytes, exchange->out_length);
		return 0;
	case 9:
		return make(exchange, SWDEV_DIRECTORY, 8, true);
	case 10:
	case 11:
	case 12:
		return remove_or_rename(exchange, opcode);
	case 14:
	case 27:
		put_handle(exchange, exchange->node);
		return 0;
	case 15:
		return data_in(exchange);
	case 16:
		return data_out(exchange);
	case 18:
	case 29:
		return release_handle(exchange);
	case 20:
		exchange->server->tree.syncs++;
		return handle_is_right(exchange, get64(exchange->in)) ? 0 : 9;
	case 26:
		return start_session(exchange);
	case 35:
		return make(exchange, SWDEV_FILE, 16, get32(exchange->in) & 0200);
	case 44:
		return readdirplus(exchange);
	case 48:
		return set_up_mapping(exchange);
	case 49:
		return swdev_window_unmap(exchange->dev, exchange->in, exchange->in_length);
	default:
		swdev_violation(exchange->dev, "request %u on a request queue", opcode);
		return 38;
	}
}

static void forget_one(struct exchange *exchange, uint64_t node, uint64_t times)
{
	if (!node || node > SWDEV_NODES || exchange->server->named[node - 1] < times) {
		swdev_violation(exchange->dev, "node %llu forgotten too often", (unsigned long long)node);
		return;
	}
	exchange->server->named[node - 1] -= (unsigned)times;
	exchange->server->tree.references -= (unsigned)times;
}

/* "Device Operation: High Priority Queue" */
static void forget(struct exchange *exchange, uint32_t opcode, uint64_t node)
{
	if (opcode == 2)
		forget_one(exchange, node, get64(exchange->in));
	else if (opcode == 42 && exchange->in_length == 8 + 16 * get32(exchange->in))
		for (uint32_t i = 0; i < get32(exchange->in); i++)
			forget_one(exchange, get64(exchange->in + 8 + 16 * i), get64(exchange->in + 16 + 16 * i));
	else
		swdev_violation(exchange->dev, "request %u on the hiprio queue", opcode);
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct exchange exchange = {.dev = dev, .server = server_of(dev)};
	struct swdev_tree *tree = &exchange.server->tree;
	uint8_t *in = calloc(1, chain->readable_bytes + 128), *out = calloc(1, 300000);
	uint32_t length = (uint32_t)swdev_chain_read(chain, 0, in, chain->readable_bytes), opcode = get32(in + 4);
	uint64_t node = get64(in + 16);
	int error;

	exchange.in = in + 40;
	exchange.in_length = length - 40;
	exchange.out = out + 16;
	exchange.out_room = chain->writable_bytes < 16 ? 0 : (uint32_t)chain->writable_bytes - 16;
	*written = 0;
	if (length < 40 || get32(in) != length || (!exchange.server->session && opcode != 26)) {
		swdev_violation(dev, "request %u of %u bytes that says %u", opcode, length, get32(in));
	} else if (queue->index == HIPRIO) {
		forget(&exchange, opcode, node);
	} else {
		if (opcode != 26 && (!node || node > SWDEV_NODES || (node > 1 && !exchange.server->named[node - 1])))
			swdev_violation(dev, "request %u of node %llu, which was forgotten", opcode, (unsigned long long)node);
		exchange.node = (unsigned)(node ? (node - 1) % SWDEV_NODES : 0);
		error = answer(&exchange, opcode);
		length = 16 + (error ? 0 : exchange.out_length);
		put32(out, length + tree->counts_lie);
		put32(out + 4, (uint32_t)-error);
		put64(out + 8, get64(in + 8) + tree->wrong_type);
		if (length > chain->writable_bytes)
			swdev_violation(dev, "room for %zu bytes of an answer of %u", (size_t)chain->writable_bytes, length);
		*written = (uint32_t)swdev_chain_write(chain, 0, out, tree->answer_short ? tree->answer_short : length);
	}
	free(out);
	free(in);
	return true;
}

const struct swdev_type swdev_fs = {
	.id = 26,
	.name = "fs",
	.queues = 4,
	.fields = fields,
	.config_size = 44,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
};

static const struct swdev_lie lies[] = {
	{.name = "FUSE answers of 9 bytes", .type = &swdev_fs, .setup = swdev_tree_short, .says = "an answer of 9 bytes"},
	{.name = "FUSE answers to another request", .type = &swdev_fs, .setup = swdev_tree_wrong, .says = "to FUSE request 26"},
	{.name = "FUSE answers longer than they are", .type = &swdev_fs, .setup = swdev_tree_counts, .says = "to FUSE request 26"},
	{.name = "FUSE errors without end", .type = &swdev_fs, .setup = swdev_tree_fails, .harmless = true},
	{.name = "no request queues",
         .type = &swdev_fs,
         .reg = REG_CONFIG,
         .index = 36,
         .op = OP_SET,
         .says = "num_request_queues 0"},
	{},
};
SWDEV_LIES(lies);

static const struct swdev_workload fs_load = {.type = &swdev_fs, .begin = swdev_tree_begin, .check = swdev_tree_check};
LINKER_ENTRY(swdev_workloads, fs_load);
