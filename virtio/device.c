/*
 * The life of a virtio device ("General Initialization And Device Operation"), played once for all drivers and transports.
 *
 * bring_up() is the sequence of "Device Initialization". When a device asks for a reset (DEVICE_NEEDS_RESET) or breaks the rules, its
 * recover event takes it down and brings it up again: the driver fails what was in flight, and goes on with new queues.
 * A device that cannot be brought back, or that breaks again and again, is taken from its driver for good.
 *
 * Whatever the device does, every wait here is bounded and every refusal is one line with a reason.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/transport.h>

#define RECOVERIES_MAX 8u /* in quick succession: */
#define RECOVERY_WINDOW_NS UINT64_C(1000000000)
#define CONFIG_POLL_NS UINT64_C(10000000)
#define QUEUE_SIZE_MAX 32768u /* "Supplying Buffers to The Device" */

static struct virtio_device *devices;

struct virtio_device *virtio_device_first(void) { return devices; }

int virtio_refuse(struct virtio_device *vdev, int error, const char *reason, ...)
{
	va_list args;

	va_start(args, reason);
	log_format(vdev->reason, sizeof(vdev->reason), reason, args);
	va_end(args);
	return error;
}

/* ---- status ---- */

int virtio_refuse_lost(struct virtio_device *vdev) { return virtio_refuse(vdev, -ENODEV, "it does not answer"); }

void virtio_add_status(struct virtio_device *vdev, uint8_t bit)
{
	/* "Device Status Field": no bit is ever cleared but by a reset */
	uint8_t status = vdev->ops->get_status(vdev);

	if (!vdev->lost)
		vdev->ops->set_status(vdev, status | bit);
}

static uint32_t read_status(struct virtio_device *vdev) { return vdev->ops->get_status(vdev); }

static void nothing(struct virtq *vq) { (void)vq; }

void virtio_driver_not_ok(struct virtio_device *vdev)
{
	WRITE_ONCE(vdev->driver_ok, false);
	/* A CPU that takes a call is in no kick that began before it. */
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_run(vdev->queues[i], nothing);
}

/* "Device Reset": complete when the status reads 0 */
static int reset(struct virtio_device *vdev)
{
	int error;

	virtio_driver_not_ok(vdev);
	vdev->suspended = false;
	vdev->ops->set_status(vdev, 0);
	error = virtio_wait_zero(vdev, read_status);
	if (error == -ENODEV)
		return virtio_refuse_lost(vdev);
	if (error)
		vdev->lost = vdev->stuck = true;
	return error ? virtio_refuse(vdev, error, "its reset does not complete") : 0;
}

/* ---- queues ---- */

/* 0: there is none that it could have. */
static uint16_t choose_size(struct virtio_device *vdev, uint16_t index, const struct virtq_spec *spec)
{
	uint16_t offered = vdev->ops->queue_max_size(vdev, index);
	uint32_t n = MIN(offered, QUEUE_SIZE_MAX);

	if (!vdev->legacy && spec->max_size)
		n = MIN(n, spec->max_size);
	/* "Split Virtqueues": a power of 2 */
	while (!virtio_has(vdev, VIRTIO_F_RING_PACKED) && (n & (n - 1)))
		n &= n - 1;
	if (!n)
		virtio_refuse(vdev, -ENOENT, "queue %u (%s) is not there", index, spec->name);
	if (!vdev->legacy || offered == n)
		return (uint16_t)n;
	/* the size is the device's choice alone */
	virtio_refuse(vdev, -EINVAL, "queue %u (%s) has the impossible size %u", index, spec->name, offered);
	return 0;
}

static void destroy_queues(struct virtio_device *vdev)
{
	if (!vdev->queues)
		return;
	poller_remove(&vdev->poller);
	vdev->ops->irq_release(vdev);
	event_cancel(&vdev->config_event);
	event_cancel(&vdev->shared_event);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_destroy(vdev->queues[i]);
	page_free(vdev->queues, sizeof(vdev->queues[0]) * vdev->queue_count);
	vdev->queues = NULL;
	vdev->queue_count = 0;
}

uint16_t virtio_queue_max(struct virtio_device *vdev, uint16_t queue) { return vdev->ops->queue_max_size(vdev, queue); }

int virtio_queues_create(struct virtio_device *vdev, uint16_t count, const struct virtq_spec *specs)
{
	/* In an error what was made goes with the failed bring-up. */
	vdev->queues = page_alloc(sizeof(vdev->queues[0]) * count, PAGE_SIZE);
	if (!vdev->queues)
		return virtio_refuse(vdev, -ENOMEM, "no memory for its queues");
	vdev->queue_count = count;
	for (unsigned i = 0; i < count; i++) {
		uint16_t size;

		if (!specs[i].name)
			continue;
		size = choose_size(vdev, (uint16_t)i, &specs[i]);
		if (!size)
			return -ENOENT;
		vdev->queues[i] = virtq_create(vdev, (uint16_t)i, size, &specs[i]);
		if (!vdev->queues[i])
			return virtio_refuse(vdev, -ENOMEM, "no memory for queue %u (%s) of size %u", i, specs[i].name, size);
	}
	vdev->ops->irq_setup(vdev, count);
	if (vdev->irq_mode == VIRTIO_IRQ_POLL)
		poller_add(&vdev->poller, &vdev->shared_event);
	for (unsigned i = 0; i < count; i++) {
		if (!vdev->queues[i])
			continue;
		if (vdev->irq_mode == VIRTIO_IRQ_POLL)
			virtq_poll(vdev->queues[i]);
		if (virtq_enable(vdev->queues[i]))
			return virtio_refuse(vdev, -EIO, "a queue cannot be enabled");
	}
	return 0;
}

void virtio_queues_wake(struct virtio_device *vdev, bool look)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtq *vq = vdev->queues[i];

		if (!vq)
			continue;
		if (virtq_cpu(vq) == cpu_index())
			virtq_kick(vq);
		else
			virtq_kick_later(vq);
		if (look)
			event_mark(&vq->event);
	}
}

void virtio_driver_ok(struct virtio_device *vdev)
{
	virtio_add_status(vdev, VIRTIO_STATUS_DRIVER_OK);
	if (vdev->lost)
		return;
	WRITE_ONCE(vdev->driver_ok, true);
	virtio_queues_wake(vdev, cpu_count() > 1); /* another CPU may have had an interrupt in between */
}

/* ---- interrupts ---- */

static void config_changed(struct virtio_device *vdev)
{
	uint8_t status;

	if (vdev->broken || !vdev->driver_ok)
		return;
	/* "Notification of Device Configuration Changes": also sent for DEVICE_NEEDS_RESET */
	status = vdev->ops->get_status(vdev);
	if (vdev->lost)
		virtio_device_broken(vdev, "it does not answer");
	else if (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET)
		virtio_device_broken(vdev, "DEVICE_NEEDS_RESET");
	else if (vdev->driver->config_changed)
		vdev->driver->config_changed(vdev);
}

static void run_config(struct event *event) { config_changed(container_of(event, struct virtio_device, config_event)); }

/* Whether a configuration change may be behind an interrupt of this kind; acknowledges it where that is needed. */
static bool shared_config_change(struct virtio_device *vdev)
{
	switch (vdev->irq_mode) {
	case VIRTIO_IRQ_MSIX_ONE: /* the vector does not tell, and the generation count need not before the change is read */
		return true;
	case VIRTIO_IRQ_POLL: /* a register access costs an exit: not in every turn */
		if (clock_ns() < vdev->config_poll_ns)
			return false;
		vdev->config_poll_ns = clock_ns() + CONFIG_POLL_NS;
		return vdev->ops->isr_ack(vdev) & 2;
	case VIRTIO_IRQ_LINE:
		return vdev->ops->isr_ack(vdev) & 2;
	default:
		return false;
	}
}

/* One interrupt for several causes. It is acknowledged first and acted upon then, so that what the device does in between raises it
 * again; the queues are all looked at, which costs a load each, since an acknowledged bit may stand for more than one of them. */
static void run_shared(struct event *event)
{
	struct virtio_device *vdev = container_of(event, struct virtio_device, shared_event);
	bool changed = shared_config_change(vdev);

	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i] && (vdev->irq_mode != VIRTIO_IRQ_POLL || virtq_cpu(vdev->queues[i]) == cpu_index()))
			event_mark(&vdev->queues[i]->event);
	if (changed || vdev->lost)
		config_changed(vdev);
}

/* ---- up and down ---- */

/* The first time, with features negotiated. */
static int adopt(struct virtio_device *vdev)
{
	int error;

	if (!vdev->driver->comes_first && dma_attach(&vdev->dma, virtio_has(vdev, VIRTIO_F_ACCESS_PLATFORM)))
		return virtio_refuse(vdev, -EIO, "the IOMMU does not take it");
	error = vdev->driver->probe(vdev);
	if (!error && vdev->node)
		vdev->node->name = vdev->name;
	return error;
}

static int bring_up(struct virtio_device *vdev, bool first)
{
	uint64_t former = vdev->features;
	int error = reset(vdev);

	if (error)
		return error;
	virtio_add_status(vdev, VIRTIO_STATUS_ACKNOWLEDGE);
	if (!vdev->driver)
		return virtio_refuse(vdev, -ENODEV, "no driver for device type %u", vdev->type);
	virtio_add_status(vdev, VIRTIO_STATUS_DRIVER);
	error = virtio_negotiate(vdev);
	if (!error && first)
		error = adopt(vdev);
	else if (!error && vdev->features != former)
		error = virtio_refuse(vdev, -EIO, "its features changed by a reset");
	if (error)
		return error;

	error = vdev->driver->start(vdev);
	if (!error && !vdev->driver_ok)
		error = virtio_refuse(vdev, -EIO, "DRIVER_OK cannot be set");
	if (error && first)
		vdev->state = VIRTIO_STOPPED; /* probed: stop() and remove() are due */
	return error;
}

/* It works. Should it have broken the rules on the way there, that is due now. */
static void set_running(struct virtio_device *vdev)
{
	vdev->state = VIRTIO_RUNNING;
	if (vdev->node)
		class_add(vdev->driver->devices, vdev->node);
	if (vdev->broken)
		event_mark(&vdev->recover_event);
}

/* Take the device from its queues: reset, then nothing of it is live. A device that does not complete its reset may still write:
 * what it was given is never used again. */
static void take_down(struct virtio_device *vdev)
{
	/* The loop may turn in here, but nothing of this device's comes in between. */
	vdev->state = VIRTIO_STOPPED;
	/* First its queues' CPUs leave them: none of them touches the device while it is being reset. */
	virtio_driver_not_ok(vdev);
	if (!vdev->lost && reset(vdev))
		log_error("%s: %s: the memory of its queues is abandoned", vdev->name, vdev->reason);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_close(vdev->queues[i], true);
	vdev->driver->stop(vdev);
	destroy_queues(vdev);
}

/* After take_down(), for good. */
static void leave(struct virtio_device *vdev)
{
	if (vdev->node)
		class_remove(vdev->driver->devices, vdev->node);
	vdev->node = NULL;
	vdev->driver->remove(vdev);
	dma_detach(&vdev->dma);
}

static void give_up(struct virtio_device *vdev)
{
	if (!vdev->lost)
		virtio_add_status(vdev, VIRTIO_STATUS_FAILED);
	leave(vdev);
	vdev->state = VIRTIO_FAILED;
	vdev->info.state = "failed";
	vdev->info.reason = vdev->reason;
	vdev->info.queue_count = 0;
	log_error("%s: failed: %s", vdev->name, vdev->reason);
}

static void run_recover(struct event *event)
{
	struct virtio_device *vdev = container_of(event, struct virtio_device, recover_event);
	uint64_t now = clock_ns();

	if (vdev->state != VIRTIO_RUNNING)
		return;
	vdev->recoveries = now - vdev->recovered_ns > RECOVERY_WINDOW_NS ? 1 : vdev->recoveries + 1;
	vdev->recovered_ns = now;
	take_down(vdev);
	vdev->broken = false;
	if (vdev->lost || vdev->recoveries > RECOVERIES_MAX) {
		if (!vdev->lost)
			virtio_refuse(vdev, -EIO, "it breaks again and again");
		give_up(vdev);
	} else if (bring_up(vdev, false)) {
		take_down(vdev);
		give_up(vdev);
	} else {
		set_running(vdev);
		log_info("%s: reset, works again", vdev->name);
	}
}

void virtio_device_broken(struct virtio_device *vdev, const char *reason, ...)
{
	va_list args;

	/* Any CPU: one of them tells. */
	if (__atomic_exchange_n(&vdev->broken, true, __ATOMIC_ACQ_REL))
		return;
	va_start(args, reason);
	log_format(vdev->reason, sizeof(vdev->reason), reason, args);
	va_end(args);
	log_error("%s: %s: reset", vdev->name, vdev->reason);
	event_mark(&vdev->recover_event);
}

int virtio_device_reset(struct virtio_device *vdev)
{
	if (vdev->state != VIRTIO_RUNNING)
		return -ENODEV;
	vdev->recoveries = 0; /* we ask for it: it does not count against the device */
	vdev->broken = true;
	run_recover(&vdev->recover_event);
	return vdev->state == VIRTIO_RUNNING ? 0 : -EIO;
}

/* ---- add and remove ---- */

static const struct virtio_driver *find_driver(uint16_t type)
{
	LINKER_FOR_EACH (virtio_drivers, driver)
		if ((*driver)->type == type)
			return *driver;
	return NULL;
}

bool virtio_comes_first(uint16_t type)
{
	const struct virtio_driver *driver = find_driver(type);

	return driver && driver->comes_first;
}

/* The lowest number that no device of that kind has. */
static void choose_name(struct virtio_device *vdev)
{
	const char *kind = vdev->driver ? vdev->driver->instance : "unknown";
	unsigned n = 0;

	do
		format_text(vdev->name, sizeof(vdev->name), "%s%u", kind, n++);
	while (device_find(vdev->name));
}

/* Give the device to its driver. */
static int attach(struct virtio_device *vdev)
{
	int error = bring_up(vdev, true);

	if (!error) {
		set_running(vdev);
	} else {
		if (!vdev->reason[0])
			virtio_refuse(vdev, error, error == -ENOMEM ? "no memory" : "error %d", -error);
		/* "Device Initialization": FAILED, and no step further */
		if (!vdev->lost && vdev->driver)
			virtio_add_status(vdev, VIRTIO_STATUS_FAILED);
		if (vdev->state == VIRTIO_STOPPED) {
			take_down(vdev);
			leave(vdev);
		} else {
			dma_detach(&vdev->dma);
		}
		vdev->state = VIRTIO_FAILED;
	}
	virtio_info_fill(vdev);
	return error;
}

/* And take it away again. */
static void detach(struct virtio_device *vdev)
{
	if (vdev->state == VIRTIO_RUNNING) {
		take_down(vdev);
		leave(vdev);
	}
	event_cancel(&vdev->recover_event);
	vdev->broken = false;
	vdev->state = VIRTIO_NEW;
}

int virtio_device_rebind(struct virtio_device *vdev)
{
	if (vdev->lost)
		return -ENODEV;
	if (vdev->state != VIRTIO_RUNNING && vdev->state != VIRTIO_FAILED)
		return -EBUSY; /* it is on its way up or down, further up the stack */
	detach(vdev);
	return attach(vdev);
}

int virtio_device_add(struct virtio_device *vdev)
{
	struct virtio_device **tail = &devices;
	int error;

	event_init(&vdev->config_event, run_config);
	event_init(&vdev->shared_event, run_shared);
	event_init(&vdev->recover_event, run_recover);
	vdev->driver = find_driver(vdev->type);
	choose_name(vdev);
	while (*tail)
		tail = &(*tail)->next;
	*tail = vdev;
	virtio_info_init(vdev);
	device_add(&vdev->info);

	error = attach(vdev);
	device_announce(&vdev->info);
	return error;
}

void virtio_device_remove(struct virtio_device *vdev)
{
	struct virtio_device **at = &devices;

	detach(vdev);
	vdev->state = VIRTIO_REMOVED;
	device_remove(&vdev->info);
	while (*at != vdev)
		at = &(*at)->next;
	*at = vdev->next;
	vdev->ops->destroy(vdev);
}
