/*
 * See threaded.h. The rings are read and written here as the specification lays them out, with structures of this file's own.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef HOST_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#include <arch/irq.h>
#include <host.h>
#include <virtio/transport.h>
#include <virtio/virtio.h>

#include "swdev_types.h"
#include "threaded.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };

#define BUFFERS_MAX 2u /* of a request, of either kind */

struct split_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct packed_desc {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	_Atomic uint16_t flags;
};

struct split_ring {
	_Atomic uint16_t flags, index;
	uint16_t ring[];
};

struct used_ring {
	_Atomic uint16_t flags, index;
	struct {
		uint32_t id, length;
	} ring[];
};

/* What a buffer asks for. */
struct chain {
	uint64_t number; /* the sum of those to be read */
	uint8_t *answers[BUFFERS_MAX];
	uint32_t id;
	unsigned readable, writable, slots;
	uint32_t written;
};

struct threaded {
	struct virtio_device vdev;
	uint64_t offered, accepted;
	uint8_t status;
	uint16_t size;
	struct virtq_setup setup;
	struct irq irqs[2]; /* configuration, queue 0 */
	struct irq_message messages[2];
	bool irqs_attached;

	pthread_t thread;
	bool running;
	_Atomic bool stop;
	_Atomic uint32_t kicked;
	const char *wrong; /* what the driver did wrong, the first time */

	uint64_t taken, used, signalled; /* split: buffers; packed: descriptors */
	struct threaded_counts counts;
	uint64_t random;
};

static bool has(const struct threaded *device, unsigned bit) { return device->accepted & BIT64(bit); }

static bool packed(const struct threaded *device) { return has(device, VIRTIO_F_RING_PACKED); }

static void complain(struct threaded *device, const char *what)
{
	if (!device->wrong)
		device->wrong = what;
}

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }

static uint64_t next_random(struct threaded *device)
{
	device->random = device->random * 6364136223846793005u + 1442695040888963407u;
	return device->random >> 33;
}

/* ---- buffers ---- */

static void add(struct threaded *device, struct chain *chain, uint64_t address, uint32_t length, bool writable)
{
	uint64_t number;

	if (length != sizeof(number) || !host_is_ram(address, length) ||
	    (writable ? chain->writable : chain->readable) == BUFFERS_MAX || (!writable && chain->writable)) {
		complain(device, "a buffer that no request of the test has");
	} else if (writable) {
		chain->answers[chain->writable++] = at(address);
	} else {
		memcpy(&number, at(address), sizeof(number));
		chain->number += number;
		chain->readable++;
	}
}

static void serve(struct chain *chain)
{
	uint64_t answer = chain->readable ? threaded_answer(chain->number) : THREADED_UNASKED;

	for (unsigned i = 0; i < chain->writable; i++)
		memcpy(chain->answers[i], &answer, sizeof(answer));
	chain->written = chain->writable * (uint32_t)sizeof(answer);
}

/* ---- split ---- */

static struct split_ring *split_avail(const struct threaded *device) { return at(device->setup.driver_area); }
static struct used_ring *split_used(const struct threaded *device) { return at(device->setup.device_area); }

static _Atomic uint16_t *split_avail_event(const struct threaded *device)
{
	return (_Atomic uint16_t *)&split_used(device)->ring[device->size];
}

static bool split_pending(const struct threaded *device)
{
	return atomic_load_explicit(&split_avail(device)->index, memory_order_acquire) != (uint16_t)device->taken;
}

static void split_take(struct threaded *device, struct chain *chain)
{
	const struct split_desc *table = at(device->setup.descriptor_area), *d;
	uint16_t index = split_avail(device)->ring[device->taken++ % device->size];

	*chain = (struct chain){.id = index};
	d = &table[index % device->size];
	if (d->flags & INDIRECT) {
		table = at(d->address);
		d = table;
	}
	add(device, chain, d->address, d->length, d->flags & WRITE);
	for (unsigned i = 1; d->flags & NEXT && i < 2 * BUFFERS_MAX; i++) {
		d = &table[d->next];
		add(device, chain, d->address, d->length, d->flags & WRITE);
	}
}

static void split_put(struct threaded *device, const struct chain *chain)
{
	struct used_ring *used = split_used(device);

	used->ring[device->used % device->size].id = chain->id;
	used->ring[device->used % device->size].length = chain->written;
	atomic_store_explicit(&used->index, (uint16_t)++device->used, memory_order_release);
}

static bool split_wants_interrupt(const struct threaded *device)
{
	struct split_ring *avail = split_avail(device);
	uint16_t event;

	if (!has(device, VIRTIO_F_EVENT_IDX))
		return !(atomic_load_explicit(&avail->flags, memory_order_relaxed) & 1);
	event = atomic_load_explicit((_Atomic uint16_t *)&avail->ring[device->size], memory_order_relaxed);
	return (uint16_t)(device->used - event - 1) < (uint16_t)(device->used - device->signalled);
}

static void split_ask(struct threaded *device, bool kicks)
{
	if (!has(device, VIRTIO_F_EVENT_IDX))
		atomic_store_explicit(&split_used(device)->flags, !kicks, memory_order_relaxed);
	else if (kicks)
		atomic_store_explicit(split_avail_event(device), (uint16_t)device->taken, memory_order_relaxed);
}

/* ---- packed: `taken` and `used` count descriptors, so that place and wrap follow from them ---- */

static struct packed_desc *packed_at(const struct threaded *device, uint64_t count)
{
	return (struct packed_desc *)at(device->setup.descriptor_area) + count % device->size;
}

static bool packed_wrap(const struct threaded *device, uint64_t count) { return !(count / device->size % 2); }

static bool packed_pending(const struct threaded *device)
{
	uint16_t flags = atomic_load_explicit(&packed_at(device, device->taken)->flags, memory_order_acquire);
	bool wrap = packed_wrap(device, device->taken);

	return !!(flags & AVAIL) == wrap && !!(flags & USED) != wrap;
}

static void packed_take(struct threaded *device, struct chain *chain)
{
	const struct packed_desc *d;
	uint16_t flags;

	*chain = (struct chain){};
	do {
		d = packed_at(device, device->taken++);
		flags = atomic_load_explicit(&d->flags, memory_order_relaxed);
		chain->id = d->id;
		chain->slots++;
		if (flags & INDIRECT) {
			const struct packed_desc *table = at(d->address);

			for (unsigned i = 0; i < d->length / sizeof(*table); i++)
				add(device, chain, table[i].address, table[i].length, table[i].flags & WRITE);
		} else {
			add(device, chain, d->address, d->length, flags & WRITE);
		}
	} while (flags & NEXT && chain->slots < device->size);
}

static void packed_put(struct threaded *device, const struct chain *chain)
{
	struct packed_desc *d = packed_at(device, device->used);
	bool wrap = packed_wrap(device, device->used);

	uint64_t flags = (uint64_t)((wrap ? AVAIL | USED : 0) | (chain->written ? WRITE : 0));

	/* In one store, so that a driver may load as much of it at once as it likes. Order goes by the place of what it loads. */
#ifdef HOST_TSAN
	__tsan_release(&d->id);
	__tsan_release(&d->flags);
#endif
	atomic_store_explicit((_Atomic uint64_t *)(void *)&d->length, chain->written | (uint64_t)chain->id << 32 | flags << 48,
	                      memory_order_release);
	device->used += chain->slots;
}

static bool packed_wants_interrupt(const struct threaded *device)
{
	_Atomic uint16_t *suppress = at(device->setup.driver_area);
	uint16_t flags = atomic_load_explicit(&suppress[1], memory_order_acquire), desc;
	uint64_t lap = device->used / device->size, event;

	if (flags != 2)
		return flags == 0;
	desc = atomic_load_explicit(&suppress[0], memory_order_relaxed);
	if ((uint64_t)(desc >> 15) == lap % 2) { /* the other wrap */
		if (!lap)
			return false; /* of the lap to come */
		lap--;
	}
	event = lap * device->size + (desc & 0x7fff);
	return event >= device->signalled && event < device->used;
}

static void packed_ask(struct threaded *device, bool kicks)
{
	uint32_t desc = (uint32_t)(device->taken % device->size) | (uint32_t)packed_wrap(device, device->taken) << 15;
	uint32_t flags = !kicks ? 1 : has(device, VIRTIO_F_EVENT_IDX) ? 2 : 0;

	atomic_store_explicit((_Atomic uint32_t *)at(device->setup.device_area), desc | flags << 16, memory_order_relaxed);
}

/* ---- the thread ---- */

static bool pending(const struct threaded *device) { return packed(device) ? packed_pending(device) : split_pending(device); }

static void ask(struct threaded *device, bool kicks)
{
	if (packed(device))
		packed_ask(device, kicks);
	else
		split_ask(device, kicks);
}

static void serve_one(struct threaded *device)
{
	struct chain chain;

	if (packed(device))
		packed_take(device, &chain);
	else
		split_take(device, &chain);
	serve(&chain);
	if (packed(device))
		packed_put(device, &chain);
	else
		split_put(device, &chain);
	device->counts.served++;
}

static void signal_used(struct threaded *device)
{
	/* What was used before the look at the driver's wish. */
	atomic_thread_fence(memory_order_seq_cst);
	if (packed(device) ? packed_wants_interrupt(device) : split_wants_interrupt(device)) {
		device->counts.interrupts++;
		host_irq_raise_message(device->messages[1].address, device->messages[1].data);
	}
	device->signalled = device->used;
}

/* A bare futex: a lock or a semaphore would tell the sanitizer of an order that no kick gives. */
static void sleep_until_kick(struct threaded *device)
{
	device->counts.sleeps++;
	while (!atomic_exchange_explicit(&device->kicked, 0, memory_order_relaxed) &&
	       !atomic_load_explicit(&device->stop, memory_order_relaxed))
		syscall(SYS_futex, &device->kicked, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	atomic_thread_fence(memory_order_seq_cst);
}

static void kick(struct threaded *device)
{
	atomic_store_explicit(&device->kicked, 1, memory_order_relaxed);
	syscall(SYS_futex, &device->kicked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Some at once, so that a driver finds several used, and one, and many. */
static void serve_some(struct threaded *device)
{
	uint64_t batch = next_random(device) % 16;

	do {
		serve_one(device);
	} while (batch-- && pending(device));
	signal_used(device);
}

/* Without being told, for a while that is sometimes none: the driver sees wishes of both kinds. */
static bool pending_soon(struct threaded *device)
{
	for (uint64_t looks = next_random(device) % 4 ? 0 : next_random(device) % 4096; looks; looks--)
		if (pending(device))
			return true;
	return pending(device);
}

static void *run(void *context)
{
	struct threaded *device = context;

	while (!atomic_load_explicit(&device->stop, memory_order_relaxed)) {
		ask(device, false);
		while (pending_soon(device))
			serve_some(device);
		ask(device, true);
		/* The wish before one more look at the ring. */
		atomic_thread_fence(memory_order_seq_cst);
		if (!pending(device))
			sleep_until_kick(device);
	}
	return NULL;
}

static void stop(struct threaded *device)
{
	if (!device->running)
		return;
	atomic_store(&device->stop, true);
	kick(device);
	pthread_join(device->thread, NULL);
	device->running = false;
	atomic_store(&device->stop, false);
	atomic_store(&device->kicked, 0);
	device->taken = device->used = device->signalled = 0;
}

/* ---- the transport ---- */

static struct threaded *of(struct virtio_device *vdev) { return container_of(vdev, struct threaded, vdev); }

static uint64_t get_features(struct virtio_device *vdev) { return of(vdev)->offered; }

static void set_features(struct virtio_device *vdev, uint64_t features) { of(vdev)->accepted = features; }

static uint8_t get_status(struct virtio_device *vdev) { return of(vdev)->status; }

static void set_status(struct virtio_device *vdev, uint8_t status)
{
	struct threaded *device = of(vdev);

	if (!status) {
		stop(device);
	} else if (status & ~device->status & VIRTIO_STATUS_DRIVER_OK) {
		device->running = !pthread_create(&device->thread, NULL, run, device);
		assert_true(device->running);
	}
	device->status = status;
}

static uint32_t config_generation(struct virtio_device *vdev) { return (void)vdev, 0; }

static int config_read(struct virtio_device *vdev, uint32_t offset, void *value, unsigned width)
{
	return (void)vdev, (void)offset, (void)value, (void)width, -EINVAL;
}

static int config_write(struct virtio_device *vdev, uint32_t offset, const void *value, unsigned width)
{
	return (void)vdev, (void)offset, (void)value, (void)width, -EINVAL;
}

static uint16_t queue_max_size(struct virtio_device *vdev, uint16_t queue) { return queue ? 0 : of(vdev)->size; }

static int queue_enable(struct virtio_device *vdev, uint16_t queue, const struct virtq_setup *setup, struct virtq_notify *notify)
{
	of(vdev)->setup = *setup;
	of(vdev)->size = setup->size;
	*notify = (struct virtq_notify){.kind = VIRTQ_NOTIFY_CALL, .id = queue};
	return 0;
}

static void irq_setup(struct virtio_device *vdev, unsigned queues)
{
	struct threaded *device = of(vdev);

	(void)queues;
	vdev->irq_mode = VIRTIO_IRQ_MSIX;
	vdev->irq_vectors = 2;
	assert_int_equal(irq_attach_message(&device->irqs[0], &vdev->config_event, &device->messages[0]), 0);
	assert_int_equal(irq_attach_message(&device->irqs[1], &vdev->queues[0]->event, &device->messages[1]), 0);
	device->irqs_attached = true;
}

static void irq_release(struct virtio_device *vdev)
{
	struct threaded *device = of(vdev);

	if (device->irqs_attached) {
		irq_detach(&device->irqs[0]);
		irq_detach(&device->irqs[1]);
	}
	device->irqs_attached = false;
}

static uint8_t isr_ack(struct virtio_device *vdev) { return (void)vdev, 0; }

static uint64_t irq_count(struct virtio_device *vdev) { return of(vdev)->irqs[1].count; }

static void notify_device(struct virtio_device *vdev, uint16_t queue, uint32_t data)
{
	(void)queue, (void)data;
	kick(of(vdev));
}

static void destroy(struct virtio_device *vdev) { irq_release(vdev); }

static const struct virtio_transport_ops ops = {
	.name = "threaded",
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.config_generation = config_generation,
	.config_read = config_read,
	.config_write = config_write,
	.queue_max_size = queue_max_size,
	.queue_enable = queue_enable,
	.irq_setup = irq_setup,
	.irq_release = irq_release,
	.isr_ack = isr_ack,
	.irq_count = irq_count,
	.notify = notify_device,
	.destroy = destroy,
};

struct threaded *threaded_plug(uint64_t features, uint16_t queue_size)
{
	struct threaded *device = calloc(1, sizeof(*device));

	device->offered = features | BIT64(VIRTIO_F_VERSION_1);
	device->size = queue_size;
	device->random = features + queue_size;
	device->vdev.ops = &ops;
	device->vdev.type = SWDEV_ECHO_ID;
	if (!virtio_device_add(&device->vdev))
		return device;
	virtio_device_remove(&device->vdev);
	free(device);
	return NULL;
}

struct virtio_device *threaded_vdev(struct threaded *device) { return &device->vdev; }

struct threaded_counts threaded_unplug(struct threaded *device)
{
	struct threaded_counts counts;
	const char *wrong;

	virtio_device_remove(&device->vdev);
	counts = device->counts;
	wrong = device->wrong;
	free(device);
	if (wrong)
		fail_msg("the driver gave %s", wrong);
	return counts;
}
