/*
 * The class of network devices: buffers in pools, the list of devices, link changes. Frames go between program and driver directly.
 *
 * A pool is one allocation of descriptions and one of memory, apart from each other, so that no device that is confined to what
 * it was given reaches a description. Free buffers form a stack: the one freed last is warm.
 */
#include <class/net.h>

#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

struct net_pool {
	struct net_buf *free;
	unsigned free_count, count;
	bool watched;        /* a buffer that comes back is news: */
	bool dying;          /* the last one frees the pool, */
	struct event *event; /* any marks this */
	uint8_t *memory;     /* count * NET_BUF_BYTES */
	struct net_buf bufs[];
};

static size_t pool_bytes(unsigned count) { return sizeof(struct net_pool) + count * sizeof(struct net_buf); }

static void pool_release(struct net_pool *pool)
{
	page_free(pool->memory, (size_t)pool->count * NET_BUF_BYTES);
	page_free(pool, pool_bytes(pool->count));
}

struct net_pool *net_pool_create(unsigned count)
{
	struct net_pool *pool = count ? page_alloc(pool_bytes(count), PAGE_SIZE) : NULL;

	if (!pool)
		return NULL;
	pool->memory = page_alloc_uncleared((size_t)count * NET_BUF_BYTES, PAGE_SIZE);
	if (!pool->memory) {
		page_free(pool, pool_bytes(count));
		return NULL;
	}
	pool->count = pool->free_count = count;
	for (unsigned i = count; i-- > 0; pool->free = &pool->bufs[i])
		pool->bufs[i] = (struct net_buf){.next = pool->free,
		                                 .pool = pool,
		                                 .start = pool->memory + (size_t)i * NET_BUF_BYTES + NET_HEADROOM,
		                                 .capacity = NET_BUF_BYTES - NET_HEADROOM};
	return pool;
}

void net_pool_destroy(struct net_pool *pool)
{
	pool->event = NULL;
	pool->watched = pool->dying = true;
	if (pool->free_count == pool->count)
		pool_release(pool);
}

void net_pool_notify(struct net_pool *pool, struct event *event)
{
	pool->event = event;
	pool->watched = event || pool->dying;
}

unsigned net_pool_free_count(const struct net_pool *pool) { return pool->free_count; }

/* What is free is as a fresh one has to be, but for what only its user changes. */
unsigned net_bufs_alloc(struct net_pool *pool, struct net_buf **bufs, unsigned count)
{
	struct net_buf *buf = pool->free;
	unsigned taken = 0;

	for (; taken < count && buf; buf = buf->next) {
		buf->data = buf->start;
		buf->offload.flags = buf->offload.gso = 0;
		bufs[taken++] = buf;
	}
	pool->free = buf;
	pool->free_count -= taken;
	return taken;
}

struct net_buf *net_buf_alloc(struct net_pool *pool)
{
	struct net_buf *buf = NULL;

	(void)net_bufs_alloc(pool, &buf, 1);
	return buf;
}

static void came_back(struct net_pool *pool)
{
	if (pool->event) {
		event_mark(pool->event);
		net_pool_notify(pool, NULL);
	}
	if (pool->dying && pool->free_count == pool->count)
		pool_release(pool);
}

void net_buf_free(struct net_buf *buf)
{
	while (buf) {
		struct net_buf *more = buf->more;
		struct net_pool *pool = buf->pool;

		buf->next = pool->free;
		buf->more = NULL;
		buf->done = NULL;
		pool->free = buf;
		pool->free_count++;
		if (unlikely(pool->watched))
			came_back(pool);
		buf = more;
	}
}

/* Most are single, of one pool and wanted back by nobody: in one go. */
void net_bufs_done(struct net_buf **bufs, unsigned count, int status)
{
	unsigned i = 0;

	while (i < count) {
		struct net_pool *pool = bufs[i]->pool;
		struct net_buf *free;
		unsigned first = i;

		if (bufs[i]->done) {
			bufs[i]->status = status;
			bufs[i]->done(bufs[i]);
			i++;
			continue;
		}
		for (free = pool->free; i < count; free = bufs[i++]) {
			if (bufs[i]->done || bufs[i]->more || bufs[i]->pool != pool)
				break;
			bufs[i]->next = free;
		}
		if (i == first) {
			net_buf_free(bufs[i++]);
			continue;
		}
		pool->free = free;
		pool->free_count += i - first;
		if (unlikely(pool->watched))
			came_back(pool);
	}
}

void net_bufs_free(struct net_buf **bufs, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bufs[i]->done = NULL;
	net_bufs_done(bufs, count, 0);
}

/* ---- devices ---- */

static struct class_list devices;

struct net_device *net_find(const char *name)
{
	struct class_node *node = class_find(&devices, name);

	return node ? container_of(node, struct net_device, node) : NULL;
}

struct net_device *net_next(struct net_device *device)
{
	return device->node.next ? container_of(device->node.next, struct net_device, node) : NULL;
}

void net_register(struct net_device *device)
{
	device->gone = false;
	class_add(&devices, &device->node);
}

void net_unregister(struct net_device *device)
{
	device->gone = true;
	class_remove(&devices, &device->node);
}

void net_link_event(struct net_device *device, bool up)
{
	if (device->link_up == up)
		return;
	device->link_up = up;
	device->link_changes++;
	log_info("%s: link %s", device->node.name, up ? "up" : "down");
	if (device->link_changed)
		device->link_changed(device);
}

void net_announce_event(struct net_device *device)
{
	device->announces++;
	if (device->announce)
		device->announce(device);
}
