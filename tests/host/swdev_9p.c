/*
 * The 9P transport device with a 9P2000.L server, over the tree of swdev_tree.c.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_tree.h"
#include "swdev_work_impl.h"

enum { F_MOUNT_TAG = 0, FIDS = 200 };

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 2, .count = 1, .feature = F_MOUNT_TAG},
	{.offset = 2, .width = 1, .count = 62, .feature = F_MOUNT_TAG},
	{.width = 0},
};

struct server {
	struct swdev_tree tree; /* first: see swdev_tree_of() */
	struct {
		bool used, open;
		unsigned node;
	} fids[FIDS];
	uint32_t msize; /* 0: no session */
};

static struct server *server_of(const struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct server));
	swdev_tree_init(&server_of(dev)->tree);
	put16(dev->config, 5);
	memcpy(dev->config + 2, "a-tag", 5);
}

static void release(struct swdev *dev)
{
	swdev_tree_free(&server_of(dev)->tree);
	free(dev->state);
}

static void end_session(struct server *server)
{
	memset(server->fids, 0, sizeof(server->fids));
	server->msize = 0;
	server->tree.references = 0;
}

static void reset(struct swdev *dev)
{
	if (dev->state)
		end_session(server_of(dev));
}

/* ---- messages ---- */

struct exchange {
	struct swdev *dev;
	struct server *server;
	const uint8_t *in;
	uint32_t in_length, at; /* of the message, read so far */
	uint8_t *out;
	uint32_t out_length; /* of the answer, header included */
	uint32_t out_room;
};

static uint64_t get(struct exchange *exchange, unsigned bytes)
{
	uint64_t value = 0;

	if (exchange->at + bytes > exchange->in_length) {
		swdev_violation(exchange->dev, "message %u is too short: %u bytes", exchange->in[4], exchange->in_length);
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)exchange->in[exchange->at++] << 8 * i;
	return value;
}

static const char *get_name(struct exchange *exchange, size_t *length)
{
	const char *name;

	*length = get(exchange, 2);
	if (*length > 255 || exchange->at + *length > exchange->in_length) {
		swdev_violation(exchange->dev, "a name of %zu bytes", *length);
		*length = 0;
	}
	name = (const char *)exchange->in + exchange->at;
	exchange->at += (uint32_t)*length;
	return name;
}

static void put(struct exchange *exchange, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		exchange->out[exchange->out_length++] = (uint8_t)(value >> 8 * i);
}

static void put_bytes(struct exchange *exchange, const void *bytes, size_t length)
{
	memcpy(exchange->out + exchange->out_length, bytes, length);
	exchange->out_length += (uint32_t)length;
}

static void put_qid(struct exchange *exchange, unsigned node)
{
	unsigned kind = exchange->server->tree.nodes[node].kind;

	put(exchange, kind == SWDEV_DIRECTORY ? 0x80 : kind == SWDEV_LINK ? 2 : 0, 1);
	put(exchange, 1, 4);
	put(exchange, node + 1000, 8);
}

/* A fid that is there, or 0 and a violation. */
static uint32_t get_fid(struct exchange *exchange)
{
	uint32_t fid = (uint32_t)get(exchange, 4);

	if (fid < FIDS && exchange->server->fids[fid].used)
		return fid;
	swdev_violation(exchange->dev, "message %u: fid %u is not in use", exchange->in[4], fid);
	return 0;
}

static uint32_t new_fid(struct exchange *exchange)
{
	uint32_t fid = (uint32_t)get(exchange, 4);

	if (fid >= FIDS || exchange->server->fids[fid].used)
		swdev_violation(exchange->dev, "fid %u is in use", fid);
	return fid % FIDS;
}

/* ---- each gives a Linux errno ---- */

static int version(struct exchange *exchange)
{
	uint32_t msize = (uint32_t)get(exchange, 4);
	size_t length;
	const char *name = get_name(exchange, &length);

	if (length != 8 || memcmp(name, "9P2000.L", 8) != 0 || get16(exchange->in + 5) != 0xffff)
		swdev_violation(exchange->dev, "version");
	end_session(exchange->server);
	exchange->server->msize = msize < 131096 ? msize : 131096;
	put(exchange, exchange->server->msize, 4);
	put(exchange, 8, 2);
	put_bytes(exchange, "9P2000.L", 8);
	return 0;
}

static int use_fid(struct exchange *exchange, uint32_t fid, unsigned node)
{
	exchange->server->fids[fid].used = true;
	exchange->server->fids[fid].open = false;
	exchange->server->fids[fid].node = node;
	exchange->server->tree.references++;
	return 0;
}

static int walk(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange), to = new_fid(exchange);
	unsigned count = (unsigned)get(exchange, 2), node = exchange->server->fids[fid].node;
	size_t length;

	put(exchange, count, 2);
	for (unsigned i = 0; i < count; i++) {
		const char *name = get_name(exchange, &length);

		if (exchange->server->tree.nodes[node].kind != SWDEV_DIRECTORY)
			return 20;
		node = swdev_tree_find(&exchange->server->tree, node, name, length);
		if (!node)
			return 2;
		put_qid(exchange, node);
	}
	exchange->server->tree.walks++;
	return use_fid(exchange, to, node);
}

static int getattr(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange);
	unsigned index = exchange->server->fids[fid].node;
	const struct swdev_node *node = &exchange->server->tree.nodes[index];

	put(exchange, get(exchange, 8), 8);
	put_qid(exchange, index);
	put(exchange, node->kind << 12 | node->mode, 4);
	put(exchange, 7, 4);
	put(exchange, 8, 4);
	put(exchange, 2, 8);
	put(exchange, 0, 8);
	put(exchange, node->size, 8);
	put(exchange, 4096, 8);
	put(exchange, node->size / 512, 8);
	put(exchange, 11, 8); /* accessed */
	put(exchange, 0, 8);
	put(exchange, 1234567, 8); /* changed */
	for (unsigned i = 0; i < 7; i++)
		put(exchange, 0, 8);
	return 0;
}

static int data_in(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange);
	const struct swdev_node *node = &exchange->server->tree.nodes[exchange->server->fids[fid].node];
	uint64_t offset = get(exchange, 8);
	uint32_t count = (uint32_t)get(exchange, 4);

	if (!exchange->server->fids[fid].open || count + 11 > exchange->out_room || count + 24 > exchange->server->msize)
		swdev_violation(exchange->dev, "a read of %u bytes with room for %u", count, exchange->out_room);
	count = offset >= node->size ? 0 : node->size - offset < count ? (uint32_t)(node->size - offset) : count;
	exchange->server->tree.reads++;
	exchange->server->tree.largest = count > exchange->server->tree.largest ? count : exchange->server->tree.largest;
	put(exchange, exchange->server->tree.counts_lie ? count + 1 : count, 4);
	if (count)
		put_bytes(exchange, node->bytes + offset, count);
	return 0;
}

static int data_out(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange);
	struct swdev_node *node = &exchange->server->tree.nodes[exchange->server->fids[fid].node];
	uint64_t offset = get(exchange, 8);
	uint32_t count = (uint32_t)get(exchange, 4);

	if (!exchange->server->fids[fid].open || exchange->at + count != exchange->in_length)
		swdev_violation(exchange->dev, "a write of %u bytes in a message of %u", count, exchange->in_length);
	if (offset + count > node->size)
		swdev_tree_resize(node, offset + count);
	if (count)
		memcpy(node->bytes + offset, exchange->in + exchange->at, count);
	exchange->server->tree.writes++;
	put(exchange, count, 4);
	return 0;
}

static int readdir(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange), at = exchange->out_length;
	uint64_t cookie = get(exchange, 8);
	uint32_t count = (uint32_t)get(exchange, 4);

	put(exchange, 0, 4);
	for (unsigned i = (unsigned)cookie; i < SWDEV_NODES; i++) {
		const struct swdev_node *node = &exchange->server->tree.nodes[i];
		const char *name = i ? node->name : ".";

		if (i && (!node->used || node->parent != exchange->server->fids[fid].node))
			continue;
		if (exchange->out_length - at - 4 + 24 + strlen(name) > count)
			break;
		put_qid(exchange, i);
		put(exchange, i + 1, 8);
		put(exchange, node->kind, 1);
		put(exchange, strlen(name), 2);
		put_bytes(exchange, name, strlen(name));
	}
	put32(exchange->out + at, exchange->out_length - at - 4);
	return 0;
}

static int create(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange), flags, mode;
	unsigned node = exchange->server->fids[fid].node, made;
	size_t length;
	const char *name = get_name(exchange, &length);
	int error;

	flags = (uint32_t)get(exchange, 4);
	mode = (uint32_t)get(exchange, 4);
	get(exchange, 4);
	made = swdev_tree_find(&exchange->server->tree, node, name, length);
	error = made && !(flags & 0200) ? 0
	                                : swdev_tree_make(&exchange->server->tree, node, name, length, SWDEV_FILE, mode, &made);
	if (error)
		return error;
	exchange->server->fids[fid].node = made;
	exchange->server->fids[fid].open = true;
	put_qid(exchange, made);
	put(exchange, 0, 4);
	return 0;
}

static int open(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange), flags = (uint32_t)get(exchange, 4);
	struct swdev_node *node = &exchange->server->tree.nodes[exchange->server->fids[fid].node];

	if (exchange->server->fids[fid].open)
		swdev_violation(exchange->dev, "fid %u opened twice", fid);
	if (flags & 01000)
		swdev_tree_resize(node, 0);
	exchange->server->fids[fid].open = true;
	put_qid(exchange, exchange->server->fids[fid].node);
	put(exchange, 0, 4);
	return 0;
}

static int setattr(struct exchange *exchange)
{
	uint32_t fid = get_fid(exchange), valid = (uint32_t)get(exchange, 4);

	get(exchange, 8);
	get(exchange, 4);
	if (valid != 8)
		swdev_violation(exchange->dev, "setattr of %#x", valid);
	swdev_tree_resize(&exchange->server->tree.nodes[exchange->server->fids[fid].node], get(exchange, 8));
	for (unsigned i = 0; i < 4; i++)
		get(exchange, 8);
	return 0;
}

static int clunk(struct exchange *exchange)
{
	exchange->server->fids[get_fid(exchange)].used = false;
	exchange->server->tree.references--;
	return 0;
}

static int names(struct exchange *exchange, uint8_t type)
{
	unsigned node = exchange->server->fids[get_fid(exchange)].node, made, to;
	size_t length, to_length;
	const char *name = get_name(exchange, &length), *to_name;
	struct swdev_tree *tree = &exchange->server->tree;
	int error;

	if (type == 76)
		return swdev_tree_remove(tree, node, name, length, get(exchange, 4) == 0x200);
	if (type == 74) {
		to = exchange->server->fids[get_fid(exchange)].node;
		to_name = get_name(exchange, &to_length);
		return swdev_tree_rename(tree, node, name, length, to, to_name, to_length);
	}
	error = swdev_tree_make(tree, node, name, length, SWDEV_DIRECTORY, (unsigned)get(exchange, 4), &made);
	get(exchange, 4);
	if (!error)
		put_qid(exchange, made);
	return error;
}

static int answer(struct exchange *exchange, uint8_t type)
{
	const struct swdev_node *node;

	if (exchange->server->tree.fails && type != 100 && type != 104)
		return exchange->server->tree.fails;
	switch (type) {
	case 12:
		return open(exchange);
	case 14:
		return create(exchange);
	case 22:
		node = &exchange->server->tree.nodes[exchange->server->fids[get_fid(exchange)].node];
		put(exchange, node->size, 2);
		put_bytes(exchange, node->bytes, node->size);
		return node->kind == SWDEV_LINK ? 0 : 22;
	case 24:
		return getattr(exchange);
	case 26:
		return setattr(exchange);
	case 40:
		return readdir(exchange);
	case 50:
		get_fid(exchange), get(exchange, 4);
		exchange->server->tree.syncs++;
		return 0;
	case 72:
	case 74:
	case 76:
		return names(exchange, type);
	case 100:
		return version(exchange);
	case 104:
		use_fid(exchange, new_fid(exchange), 0);
		exchange->at = exchange->in_length;
		put_qid(exchange, 0);
		return 0;
	case 110:
		return walk(exchange);
	case 116:
		return data_in(exchange);
	case 118:
		return data_out(exchange);
	case 120:
		return clunk(exchange);
	default:
		swdev_violation(exchange->dev, "a message of type %u", type);
		return 95;
	}
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct exchange exchange = {.dev = queue->dev, .server = server_of(queue->dev), .out_length = 7};
	struct swdev_tree *tree = &exchange.server->tree;
	uint8_t *in = calloc(1, chain->readable_bytes + 16);
	uint8_t type;
	int error;

	exchange.in = in;
	exchange.in_length = (uint32_t)swdev_chain_read(chain, 0, in, chain->readable_bytes);
	exchange.at = 7;
	exchange.out_room = (uint32_t)chain->writable_bytes;
	exchange.out = calloc(1, 300000);
	type = in[4];
	if (exchange.in_length < 7 || get32(in) != exchange.in_length || (!exchange.server->msize && type != 100))
		swdev_violation(queue->dev, "a message of %u bytes that says %u, type %u", exchange.in_length, get32(in), type);
	error = answer(&exchange, type);
	if (exchange.at != exchange.in_length && !error && type != 118)
		swdev_violation(queue->dev, "message %u has %u bytes, not %u", type, exchange.in_length, exchange.at);
	if (error) {
		exchange.out_length = 7;
		put(&exchange, (uint64_t)error, 4);
	}
	put32(exchange.out, exchange.out_length);
	exchange.out[4] = (uint8_t)((error ? 7 : type + 1) + tree->wrong_type);
	memcpy(exchange.out + 5, in + 5, 2);
	if (exchange.out_length > exchange.out_room)
		swdev_violation(queue->dev, "room for %u bytes of an answer of %u", exchange.out_room, exchange.out_length);
	*written = (uint32_t)swdev_chain_write(chain, 0, exchange.out,
	                                       tree->answer_short ? tree->answer_short : exchange.out_length);
	free(exchange.out);
	free(in);
	return true;
}

const struct swdev_type swdev_9p = {
	.id = 9,
	.name = "9p",
	.queues = 1,
	.features = FEATURE(F_MOUNT_TAG),
	.fields = fields,
	.config_size = 64,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
};

static const struct swdev_lie lies[] = {
	{.name = "9P answers of 9 bytes", .type = &swdev_9p, .setup = swdev_tree_short},
	{.name = "9P answers of another type", .type = &swdev_9p, .setup = swdev_tree_wrong, .says = "an answer of type 102"},
	{.name = "9P reads of more than there is", .type = &swdev_9p, .setup = swdev_tree_counts, .says = "bytes read, it says"},
	{.name = "9P errors without end", .type = &swdev_9p, .setup = swdev_tree_fails, .harmless = true},
	{},
};
SWDEV_LIES(lies);

static const struct swdev_workload p9_load = {.type = &swdev_9p, .begin = swdev_tree_begin, .check = swdev_tree_check};
LINKER_ENTRY(swdev_workloads, p9_load);
