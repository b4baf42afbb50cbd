/*
 * The virtio device and its driver: "Basic Facilities of a Virtio Device" and "General Initialization And Device Operation" of
 * virtio 1.4, kept once for all drivers by virtio/device.c.
 *
 * Life: a bus finds a device, makes a `struct virtio_device` with its transport's ops, and calls virtio_device_add(). The core
 * resets it, negotiates features from the driver's table, calls the driver's probe() and then start(). When the device asks for a
 * reset (DEVICE_NEEDS_RESET) or is removed, the core resets it, calls stop() and then start() again or remove().
 *
 * All of it runs in loop context. Errors are negative errno values.
 *
 * CPUs: a device's life (its functions here, all of the driver's but the queue callbacks) is CPU 0's. A queue belongs to one CPU:
 * its interrupt arrives there, its callback runs there, and only there is anything of <virtio/virtq.h> called on it, so the data
 * path has no lock. What a life-cycle operation has to do with another CPU's queue it does by virtq_run(). A reset, a
 * queue's reset and a suspension first stop all that the queues' CPUs do with them, in the same way: a call to each.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/dma.h>
#include <base/event.h>
#include <base/util.h>
#include <class/device.h>

struct virtq;
struct virtio_device;
struct virtio_transport_ops;

/* "Device Status Field" */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_SUSPEND = 16,
	VIRTIO_STATUS_DEVICE_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* "Reserved Feature Bits" and, below 32, the bits of the legacy interface that have no device type */
enum {
	VIRTIO_F_NOTIFY_ON_EMPTY = 24,
	VIRTIO_F_ANY_LAYOUT = 27,
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_ACCESS_PLATFORM = 33,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_ORDER_PLATFORM = 36,
	VIRTIO_F_SR_IOV = 37,
	VIRTIO_F_NOTIFICATION_DATA = 38,
	VIRTIO_F_NOTIF_CONFIG_DATA = 39,
	VIRTIO_F_RING_RESET = 40,
	VIRTIO_F_ADMIN_VQ = 41,
	VIRTIO_F_SUSPEND = 43,
};

/* "Device Types": the ids of <virtio/ids.h> */

/* How the device's interrupts arrive; what the transport obtained from the platform. */
enum virtio_irq_mode {
	VIRTIO_IRQ_MSIX,        /* a vector for configuration changes and one for each virtqueue */
	VIRTIO_IRQ_MSIX_SHARED, /* one for configuration changes, one for all virtqueues */
	VIRTIO_IRQ_MSIX_ONE,    /* one for everything */
	VIRTIO_IRQ_LINE,        /* a line, with the ISR status telling why */
	VIRTIO_IRQ_POLL,        /* none: the loop asks */
};

/* A prerequisite: `bit` may be accepted only if one of `needs_any` (a mask) is accepted too. */
struct virtio_feature_rule {
	uint8_t bit;
	uint64_t needs_any;
};

struct virtio_driver {
	const char *name;                        /* "virtio-blk" */
	const char *instance;                    /* "blk": devices are blk0, blk1, ... */
	uint16_t type;                           /* a VIRTIO_ID_* */
	uint64_t features;                       /* device bits that the driver knows; the core adds its own */
	uint64_t required;                       /* device bits without which it cannot work */
	uint64_t (*declined)(void);              /* of `features`, those that are of no use now; may be NULL */
	const struct virtio_feature_rule *rules; /* prerequisites, ended by needs_any == 0; may be NULL */
	struct virtio_feature_rule conflict;     /* its bit is not accepted where one of the mask is offered; a mask of 0: none */
	struct class_list *devices;              /* vdev->node joins it; NULL: the driver registers with its class itself */
	uint32_t config_size;                    /* bytes of its configuration layout that the driver may read */
	bool comes_first; /* other devices need it: it is brought up before them, and itself behind no IOMMU */

	/* Once: features are negotiated, FEATURES_OK is set. Read the configuration, allocate vdev->driver_data. No queues yet.
	 * An error leaves nothing behind; virtio_refuse() says why. */
	int (*probe)(struct virtio_device *vdev);
	/* Each bring-up: virtio_queues_create(), fill the queues, virtio_driver_ok(). The first time, vdev->node joins its class behind it.
	 * After an error stop() follows, and remove(). */
	int (*start)(struct virtio_device *vdev);
	/* The device is reset: fail what was in flight (virtq_detach_unused), forget the rest. Queues are destroyed behind it. Their CPUs
	 * leave closed queues alone; what ends a queue's requests on their own CPU goes there by virtq_run(). */
	void (*stop)(struct virtio_device *vdev);
	/* For good, after stop(), and when vdev->node has left its class: free driver_data. */
	void (*remove)(struct virtio_device *vdev);
	/* One queue was reset ("Virtqueue Reset"): end or keep what was in flight on it (virtq_detach_unused). Then it is enabled again:
	 * fill it. Both on the queue's CPU. Both NULL: the driver does not take RING_RESET. */
	void (*queue_drain)(struct virtio_device *vdev, struct virtq *vq);
	void (*queue_refill)(struct virtio_device *vdev, struct virtq *vq);
	/* A configuration change notification. May be NULL. */
	void (*config_changed)(struct virtio_device *vdev);
};
LINKER_SET(virtio_drivers, const struct virtio_driver);
#define VIRTIO_DRIVER(driver) LINKER_ENTRY(virtio_drivers, driver)

enum virtio_state { VIRTIO_NEW, VIRTIO_RUNNING, VIRTIO_STOPPED, VIRTIO_FAILED, VIRTIO_REMOVED };

struct virtio_device {
	/* Set by the bus before virtio_device_add(); the rest is zero. */
	const struct virtio_transport_ops *ops;
	uint16_t type;    /* the device id: VIRTIO_ID_* */
	bool legacy;      /* the legacy interface: guest-endian, no FEATURES_OK, page-frame queues */
	char address[32]; /* where it is, for people: "0000:00:04.0", "mmio@0xfeb00e00" */
	struct dma_device dma;

	/* The core's; drivers read. */
	struct virtio_device *next;
	const struct virtio_driver *driver;
	void *driver_data;
	struct class_node *node; /* of driver_data, from probe() on, which is given its name; or NULL */
	char name[16];           /* "blk0" */
	enum virtio_state state;
	uint64_t offered, features; /* as the device gave them, as negotiated */
	bool driver_ok;             /* DRIVER_OK was set: kicks may go out */
	bool stuck;              /* it did not complete a reset: it may write to its queues for ever, so they are never freed */
	bool lost;               /* it is gone or broken beyond use: no register access any more but through a reset */
	struct device_info info; /* what programs see of it */
	char reason[96];         /* why it was refused or failed */

	bool suspended;          /* "Device Suspend": nothing may be made available, notified or configured */
	bool broken;             /* it broke the rules: recover_event is on its way */
	unsigned recoveries;     /* in quick succession */
	uint64_t recovered_ns;   /* the last one */
	uint64_t config_poll_ns; /* POLL: when to look for configuration changes again */

	uint16_t queue_count;
	struct virtq **queues; /* queue_count of them; NULL: left out */
	enum virtio_irq_mode irq_mode;
	unsigned irq_vectors;
	struct event config_event; /* a configuration change, or a state that asks for a look */
	struct event shared_event; /* an interrupt that several causes share */
	struct event recover_event;
	struct poller poller;
};

static inline bool virtio_has(const struct virtio_device *vdev, unsigned bit) { return vdev->features & BIT64(bit); }

/* ---- for buses ---- */

/* Bring the device up with the driver of its type. Prints the device record. 0, or why it was refused: the device then has FAILED
 * set and stays listed as refused, and `vdev` stays in place either way until virtio_device_remove(). -ENODEV: no such driver. */
[[nodiscard]] int virtio_device_add(struct virtio_device *vdev);
/* Take it out: reset (unless it is lost), stop(), remove(), forget, ops->destroy(). */
void virtio_device_remove(struct virtio_device *vdev);

/* Reset one virtqueue and put it back to work, its driver's other queues going on. -ENOTSUP: not negotiated; -EIO: the device would not,
 * and is on its way to a full reset. */
[[nodiscard]] int virtio_queue_reset(struct virtio_device *vdev, unsigned queue);
/* "Device Suspend": buffers that drivers add meanwhile go out with the resume. Errors as above. */
[[nodiscard]] int virtio_device_suspend(struct virtio_device *vdev);
[[nodiscard]] int virtio_device_resume(struct virtio_device *vdev);

/* ---- for drivers ---- */

struct virtq_spec {
	const char *name;                   /* NULL: the device's queue of that number is left out */
	void (*callback)(struct virtq *vq); /* used buffers may be there: harvest until empty. NULL: never interrupts */
	bool quiet; /* the callback runs only when the driver has asked by virtq_irq_enable_after(), once */
	/* For bursts alone, all of one way: they are cheapest while the device uses requests in their order, which most do with packets; any
	 * other order is as good, and from then on a little dearer. */
	bool in_turn;
	bool loose_lengths; /* used lengths beyond the device-writable bytes are cut, not a fault: devices there are known for them */
	uint16_t max_size;    /* no more entries than that; 0: what the device offers */
	uint16_t max_buffers; /* most buffers of one virtq_add(): indirect tables are made for it */
	uint16_t head,
		tail; /* bytes, both or none: all requests are framed, see virtq.h; max_buffers counts them in, and is at most 130 */
	uint16_t extra; /* bytes */
	void *context;  /* vq->context */
	unsigned cpu;   /* to which the queue belongs, below cpu_count() */
};

/* How many entries a queue may have; 0: the device has no such queue. */
uint16_t virtio_queue_max(struct virtio_device *vdev, uint16_t queue);
/* Create and enable virtqueues 0 .. count - 1, obtain interrupts. In start(), before virtio_driver_ok(). All or nothing. */
[[nodiscard]] int virtio_queues_create(struct virtio_device *vdev, uint16_t count, const struct virtq_spec *specs);
void virtio_driver_ok(struct virtio_device *vdev);

/* Fields of a device configuration, side by side and of one width. */
struct virtio_fields {
	uint16_t offset, size;
	uint8_t width;     /* of each: 1, 2, 4; 4 also for those of 8 bytes */
	uint64_t features; /* they are there with any of these bits; 0: always */
};
/* Copy those that are there, which are some rows with rising offsets, to their places in `image`, where the first row comes first; what is
 * not there stays as it is. In other respects as virtio_config_read(), and -EINVAL keeps none of the others from being read. */
[[nodiscard]] int virtio_config_fields(struct virtio_device *vdev, const struct virtio_fields *rows, unsigned count, void *image);

/* Copy `size` bytes of the device configuration at `offset`, consistent under a changing generation ("Device Configuration Space").
 * -EINVAL: beyond driver->config_size or what the transport has; -EIO: it never held still. Fields of 2, 4, 8 bytes are
 * accessed as such; values stay little-endian (in legacy devices: guest-endian). */
[[nodiscard]] int virtio_config_read(struct virtio_device *vdev, uint32_t offset, void *value, uint32_t size);
/* `size` fields of one byte each; what cannot be read stays as it is. */
void virtio_config_bytes(struct virtio_device *vdev, uint32_t offset, void *bytes, uint32_t size);
[[nodiscard]] int virtio_config_write(struct virtio_device *vdev, uint32_t offset, const void *value, uint32_t size);

/* "Shared Memory Regions": where the one with that id is; virtio_device_memory() maps it. -ENOENT: there is none; -EIO: it cannot be. */
struct virtio_shm {
	uint64_t phys, length;
};
[[nodiscard]] int virtio_shm_region(struct virtio_device *vdev, uint8_t id, struct virtio_shm *region);

/* Memory of the device's at that physical address, which is no RAM: mapped like RAM. NULL: it cannot be. */
void *virtio_device_memory(struct virtio_device *vdev, uint64_t phys, uint64_t size);

/* One field, in the CPU's order. `fallback` when it cannot be read. */
uint8_t virtio_config_u8(struct virtio_device *vdev, uint32_t offset, uint8_t fallback);
uint16_t virtio_config_u16(struct virtio_device *vdev, uint32_t offset, uint16_t fallback);
uint32_t virtio_config_u32(struct virtio_device *vdev, uint32_t offset, uint32_t fallback);
uint64_t virtio_config_u64(struct virtio_device *vdev, uint32_t offset, uint64_t fallback);

/* The DMA seam for memory whose address the driver itself tells the device, within a request. */
struct dma_device *virtio_dma(struct virtio_device *vdev);

/* Say why a device is refused, for its record; returns `error`. */
[[gnu::format(printf, 3, 4)]] int virtio_refuse(struct virtio_device *vdev, int error, const char *reason, ...);

/* The device broke the rules: log once with the reason, stop kicking; the core resets it and brings it up again, once the loop
 * gets to it, as for DEVICE_NEEDS_RESET. */
[[gnu::format(printf, 2, 3)]] void virtio_device_broken(struct virtio_device *vdev, const char *reason, ...);

/* Whether devices of that type are to be added before others. */
bool virtio_comes_first(uint16_t type);

/* All devices, in order of discovery. */
struct virtio_device *virtio_device_first(void);

#endif
