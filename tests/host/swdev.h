/*
 * A software virtio device for host tests: the other side of everything in virtio/ and drivers/.
 *
 * It is written from the spec's text alone, with structures of its own, so that it is a second opinion on the driver's side.
 * It has three parts, which combine freely:
 *
 *   model   swdev.c: status, features, configuration, queues; ring engines swdev_split.c and swdev_packed.c
 *   type    swdev_blk.c, swdev_net.c, swdev_entropy.c, swdev_console.c, swdev_echo.c: what the device is
 *   front   swdev_direct.c, swdev_mmio.c, swdev_pci.c: how the driver reaches it
 *
 * The model checks the driver against the spec at each access and each descriptor. A broken rule is a violation: printed at
 * once, counted, and what swdev_unplug() returns. The device never acts inside a driver's call: it looks at its queues when the CPU
 * idles (or polls), as another thread of a real machine would in between, and then knows that every kick which
 * was due has been made.
 *
 * A lie (swdev_lies.c) makes it break the spec's rules in one named way.
 */
#ifndef SWDEV_H
#define SWDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/dma.h>

struct swdev;
struct swdev_queue;
struct swdev_lie;
struct virtio_device;

/* ---- buffers ---- */

struct swdev_segment {
	uint64_t address;
	uint32_t length;
};

/* A buffer that the driver made available: readable segments first, then the writable ones. */
struct swdev_chain {
	struct swdev_chain *next;
	struct swdev_queue *queue;
	uint16_t id;    /* split: its head; packed: its buffer id */
	uint16_t slots; /* descriptors of the ring that it occupies */
	unsigned readable, writable;
	uint64_t readable_bytes, writable_bytes;
	uint32_t written;      /* bytes, once it was served */
	uint16_t slots_before; /* IN_ORDER: slots of the batch that it ends */
	void *copy;            /* the ring engine's: descriptors as they were */
	unsigned capacity;
	struct swdev_segment *segments;
};

/* Copy from the readable, to the writable part; returns how many bytes there were. */
size_t swdev_chain_read(const struct swdev_chain *chain, uint64_t offset, void *to, size_t length);
size_t swdev_chain_write(const struct swdev_chain *chain, uint64_t offset, const void *from, size_t length);

/* ---- types ---- */

/* A field of the device configuration; of 64-bit fields each half may be accessed alone. */
struct swdev_field {
	uint16_t offset;
	uint8_t width, count; /* bytes of one element, elements */
	int8_t feature;       /* the bit that it exists with; -1: always */
	uint64_t any_of;      /* or, if not 0, the bits */
	bool writable;
	bool any_time;          /* written at any time */
	bool after_features_ok; /* not read before FEATURES_OK */
	bool is_union;          /* of fields of any width */
};

/* `bit` may be accepted only together with one of needs_any. */
struct swdev_rule {
	uint8_t bit;
	uint64_t needs_any;
};

struct swdev_type {
	uint16_t id; /* "Device Types" */
	const char *name;
	uint16_t queues;
	uint64_t features;                /* offered unless the test says otherwise */
	const struct swdev_field *fields; /* ended by width 0 */
	const struct swdev_rule *rules;   /* ended by needs_any 0; may be NULL */
	uint16_t config_size;
	void (*init)(struct swdev *dev); /* allocate dev->state, fill dev->config */
	void (*free)(struct swdev *dev);
	void (*reset)(struct swdev *dev); /* forget held chains: they are freed by the model */
	/* A buffer to serve. True: done, *written bytes of it were written. False: the type keeps it, for swdev_complete(). */
	bool (*serve)(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written);
	/* Work of the device's own accord: incoming data. May be NULL. */
	void (*produce)(struct swdev *dev);
	void (*config_written)(struct swdev *dev, uint32_t offset); /* may be NULL */
};

/* ---- the device ---- */

enum swdev_order { SWDEV_FIFO, SWDEV_LIFO, SWDEV_RANDOM };

/* How the device asks for available buffer notifications. */
enum swdev_wish {
	SWDEV_WANT_ALL,          /* of every buffer */
	SWDEV_WANT_NONE,         /* of none: it looks by itself at every idle */
	SWDEV_WANT_EVERY_FOURTH, /* EVENT_IDX: of the fourth from now on; it looks by itself for the others */
};

struct swdev_queue {
	struct swdev *dev;
	uint16_t index;
	uint16_t max;      /* offered size; the test may set it before swdev_plug() */
	uint16_t told_max; /* the last that the driver was told */

	/* as the driver set it up */
	uint16_t size;
	uint64_t descriptor_area, driver_area, device_area;
	bool enabled, was_reset;
	uint16_t vector; /* MSI-X entry */

	/* the rings' */
	uint16_t taken, used;                         /* split: free-running indices */
	uint16_t avail_seen;                          /* split: the driver's index when we last looked */
	uint16_t in_order_next;                       /* the descriptor that an IN_ORDER driver uses next */
	uint64_t slots_taken, slots_used, slots_seen; /* packed: free-running counts */
	uint64_t signalled;                           /* `used` or `slots_used` at the last decision about a notification */
	unsigned in_flight, slots_in_flight;
	uint8_t *busy; /* per descriptor (split) or buffer id (packed) */
	bool notified, used_unsignalled;
	bool left;       /* of buffers that were there when the device was suspended, some were not served */
	uint32_t lie_id; /* what a lie remembers */

	struct swdev_chain *ready, **ready_tail; /* taken, not served */
	struct swdev_chain *held, **held_tail;   /* kept by the type: swdev_take_held() */

	/* counts for tests */
	uint64_t notifications, interrupts, buffers_taken, buffers_used;
};

struct swdev {
	const struct swdev_type *type;
	void *state; /* the type's */
	const struct swdev_front *front;
	void *front_state;
	struct virtio_device *vdev; /* where the front knows it */
	struct swdev *next;         /* plugged ones */

	/* the test's, before swdev_plug() */
	uint64_t offered;
	bool legacy;                 /* fronts mmio and pci: the legacy interface */
	uint8_t structures_bar;      /* front pci: BAR of the virtio structures, 4 or 2 */
	uint16_t vectors;            /* front pci: MSI-X entries; 0: none */
	unsigned direct_irq;         /* front direct: an enum virtio_irq_mode */
	bool transitional, no_line;  /* front pci: also has the legacy interface; has no INTx */
	bool legacy_choice;          /* of a transitional device: the driver will use the legacy interface */
	bool window, ports;          /* front pci: that BAR has no address, so there is only the capability's window; it is I/O */
	uint64_t shm_base, shm_size; /* a shared memory region; base 0: none */
	uint8_t shm_id;
	bool mmio_level;       /* front mmio: the line is level-triggered */
	struct dma_device dma; /* front direct: the driver's side of the DMA seam */
	uint16_t config_size;  /* bytes of configuration space; the type's unless the test makes it smaller */
	enum swdev_order order;
	enum swdev_wish wish;
	unsigned budget;          /* buffers served per look; 0: all */
	bool batch_used;          /* IN_ORDER: one used entry for a batch */
	bool no_interrupts, dead; /* sends no notification; serves nothing */
	bool quiet;               /* count violations, print none */
	const struct swdev_lie *lie;

	uint8_t config[256];
	uint32_t generation;
	bool config_dirty, config_change_waits; /* changed since the driver last read; not told yet, since it is suspended */

	/* as the driver left it */
	uint8_t status;
	uint64_t accepted, told_features;
	bool features_ok_seen, reset_seen;
	uint8_t isr;
	uint16_t config_vector;
	uint16_t queue_count;
	struct swdev_queue *queues;

	bool removed; /* surprise removal: all ones on every read */
	unsigned looks;
	unsigned lie_occasions, lies_told;
	uint64_t (*translate)(struct swdev *dev, uint64_t address,
	                      uint64_t length); /* DMA addresses to physical ones; NULL: identity */
	uint64_t seed;

	unsigned resets, violations;
	char first_violation[200];
};

/* A fresh machine with fake time, a captured console and an empty command line, whose idle moments are the devices'. */
void swdev_machine(size_t ram_bytes);

/* A device of that type with its default features, not plugged yet. Never NULL. */
extern const uint64_t swdev_layouts[2]; /* features: of a split ring, of a packed one */
struct swdev *swdev_new(const struct swdev_type *type);

/* Make it appear, and let the driver bring it up. 0, or the driver's refusal. */
int swdev_plug(struct swdev *dev, const struct swdev_front *front);

/* Take the driver off it and free it; returns the number of violations. */
[[nodiscard]] unsigned swdev_unplug(struct swdev *dev);

/* ---- what tests make it do ---- */
void swdev_config_changed(struct swdev *dev);     /* after the test wrote dev->config: new generation, notification */
void swdev_needs_reset(struct swdev *dev);        /* an error state: DEVICE_NEEDS_RESET and a notification */
void swdev_remove_by_surprise(struct swdev *dev); /* every register reads all ones, nothing is served */
void swdev_look_all(bool idle);                   /* let every plugged device look at its queues */

/* ---- fronts ---- */
struct swdev_front {
	const char *name;
	int (*plug)(struct swdev *dev);    /* make it appear and let the bus find it; 0 or the driver's refusal */
	void (*unplug)(struct swdev *dev); /* remove from the driver and the bus */
	/* Notify the driver: of used buffers in `queue`, of a configuration change where it is NULL. */
	void (*interrupt)(struct swdev *dev, struct swdev_queue *queue);
	void (*acknowledged)(struct swdev *dev); /* isr became 0. May be NULL */
};
extern const struct swdev_front swdev_direct, swdev_mmio, swdev_pci;

/* ---- types ---- */
extern const struct swdev_type swdev_blk, swdev_net, swdev_entropy, swdev_console, swdev_ports, swdev_echo;

#endif
