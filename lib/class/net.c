/*
 * The class of network devices: buffers in pools, link changes. Frames go between program and driver directly.
 *
 * A pool is one allocation of descriptions and one of memory, apart from each other, so that no device that is confined to what
 * it was given reaches a description. Free buffers form a stack: the one freed last is warm. They are as a fresh one has to be, so that
 * taking one is taking a pointer.
 */
#include <class/net.h>

#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

struct net_pool {
	unsigned free_count, count;
	bool watched;          /* a buffer that comes back is news: */
	bool dying;            /* the last one frees the pool, */
	struct event *event;   /* any marks this */
	uint8_t *memory;       /* count * NET_BUF_BYTES */
	struct net_buf **free; /* the stack: behind bufs */
	struct net_buf bufs[];
};

static size_t pool_bytes(unsigned count)
{
	return sizeof(struct net_pool) + count * (sizeof(struct net_buf) + sizeof(struct net_buf *));
}

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
	pool->free = (void *)&pool->bufs[count];
	for (unsigned i = 0; i < count; i++) {
		struct net_buf *buf = &pool->bufs[i]; /* the rest of it is zero */

		buf->data = buf->start = pool->memory + (size_t)i * NET_BUF_BYTES + NET_HEADROOM;
		buf->capacity = NET_BUF_BYTES - NET_HEADROOM;
		buf->pool = pool;
		pool->free[count - 1 - i] = buf;
	}
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

struct net_buf **net_bufs_take(struct net_pool *pool, unsigned *count)
{
	*count = MIN(*count, pool->free_count);
	pool->free_count -= *count;
	return &pool->free[pool->free_count];
}

unsigned net_bufs_alloc(struct net_pool *pool, struct net_buf **bufs, unsigned count)
{
	struct net_buf **top = net_bufs_take(pool, &count);
	size_t i = 0;

#define TAKE(i) (bufs[i] = top[i], true)
	for (; i + 4 <= count; i += 4)
		(void)FOUR(TAKE, i);
	for (; i < count; i++)
		(void)TAKE(i);
#undef TAKE
	return count;
}

struct net_buf *net_buf_alloc(struct net_pool *pool)
{
	struct net_buf *buf = NULL;

	(void)net_bufs_alloc(pool, &buf, 1);
	return buf;
}

/* As fresh. */
static inline void refresh(struct net_buf *buf)
{
	buf->data = buf->start;
	buf->offload.flags = buf->offload.gso = 0;
	buf->offload.headers = 0;
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

		refresh(buf);
		buf->more = NULL;
		buf->done = NULL;
		pool->free[pool->free_count++] = buf;
		if (unlikely(pool->watched))
			came_back(pool);
		buf = more;
	}
}

static inline bool free_one(struct net_buf *buf, const struct net_pool *pool, struct net_buf **place)
{
	if (unlikely(((uintptr_t)buf->done | (uintptr_t)buf->more) || buf->pool != pool))
		return false;
	refresh(buf);
	*place = buf;
	return true;
}

/* Of those at the front that are single, of one pool and wanted back by nobody: all, at once. */
static unsigned free_plain(struct net_buf **bufs, unsigned count)
{
	struct net_pool *pool = bufs[0]->pool;
	struct net_buf **top = pool ? &pool->free[pool->free_count] : NULL;
	size_t i = 0;

#define FREE(i) free_one(bufs[i], pool, &top[i])
	while (i + 4 <= count && FOUR(FREE, i))
		i += 4;
	while (i < count && FREE(i))
		i++;
#undef FREE
	if (!i)
		return 0;
	pool->free_count += (unsigned)i;
	if (unlikely(pool->watched))
		came_back(pool);
	return (unsigned)i;
}

void net_bufs_done(struct net_buf **bufs, unsigned count, int status)
{
	while (count) {
		unsigned freed = free_plain(bufs, count);
		struct net_buf *buf = bufs[freed < count ? freed : 0];

		count -= freed;
		bufs += freed;
		if (!count)
			break;
		count--;
		bufs++;
		if (buf->done) {
			buf->status = status;
			buf->done(buf);
		} else {
			net_buf_free(buf);
		}
	}
}

void net_bufs_free(struct net_buf **bufs, unsigned count)
{
	for (unsigned freed; count; bufs += freed, count -= freed) {
		freed = free_plain(bufs, count);
		if (!freed) {
			net_buf_free(bufs[0]);
			freed = 1;
		}
	}
}

/* ---- links ---- */

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
