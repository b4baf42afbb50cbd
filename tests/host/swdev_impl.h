/*
 * Inside the software device: what its model, ring engines, types and fronts share.
 */
#ifndef SWDEV_IMPL_H
#define SWDEV_IMPL_H

#include "swdev.h"

/* "Device Status Field" */
enum {
	ST_ACKNOWLEDGE = 1,
	ST_DRIVER = 2,
	ST_DRIVER_OK = 4,
	ST_FEATURES_OK = 8,
	ST_SUSPEND = 16,
	ST_NEEDS_RESET = 64,
	ST_FAILED = 128
};

/* "Reserved Feature Bits" */
enum {
	F_ANY_LAYOUT = 27,
	F_INDIRECT_DESC = 28,
	F_EVENT_IDX = 29,
	F_VERSION_1 = 32,
	F_ACCESS_PLATFORM = 33,
	F_RING_PACKED = 34,
	F_IN_ORDER = 35,
	F_ORDER_PLATFORM = 36,
	F_NOTIFICATION_DATA = 38,
	F_NOTIF_CONFIG_DATA = 39,
	F_RING_RESET = 40,
	F_SUSPEND = 43,
};
#define FEATURE(bit) (UINT64_C(1) << (bit))

static inline bool swdev_has(const struct swdev *dev, unsigned bit) { return dev->accepted & FEATURE(bit); }

/* ---- bytes ---- */
static inline uint16_t get16(const void *at) { return __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE); }
static inline void put16(void *at, uint16_t value) { __atomic_store_n((uint16_t *)at, value, __ATOMIC_RELEASE); }
static inline uint32_t get32(const void *at) { return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE); }
static inline void put32(void *at, uint32_t value) { __atomic_store_n((uint32_t *)at, value, __ATOMIC_RELEASE); }
static inline uint64_t get64(const void *at) { return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE); }
static inline void put64(void *at, uint64_t value) { __atomic_store_n((uint64_t *)at, value, __ATOMIC_RELEASE); }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the host tests run on little-endian machines");

/* ---- the model: what fronts call for register accesses ---- */

/* What the driver reads, as a lie sees it. */
enum swdev_reg {
	REG_NONE,
	REG_MAGIC,
	REG_VERSION,
	REG_DEVICE_ID,
	REG_STATUS,
	REG_FEATURES, /* index: the word */
	REG_GENERATION,
	REG_CONFIG,    /* index: the offset */
	REG_QUEUE_MAX, /* index: the queue, from here on */
	REG_QUEUE_ENABLED,
	REG_QUEUE_RESET,
	REG_QUEUE_VECTOR,
	REG_CONFIG_VECTOR,
	REG_NOTIFY_OFF,
	REG_NUM_QUEUES,
	REG_ISR,
	REG_PCI_CONFIG, /* index: the offset of a byte */
};
uint32_t swdev_tell(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest);

uint8_t swdev_status_read(struct swdev *dev);
void swdev_status_write(struct swdev *dev, uint8_t status);
uint32_t swdev_features_read(struct swdev *dev, uint32_t word);
void swdev_features_write(struct swdev *dev, uint32_t word, uint32_t bits);
uint32_t swdev_generation_read(struct swdev *dev);
uint32_t swdev_config_read(struct swdev *dev, uint32_t offset, unsigned width);
void swdev_config_write(struct swdev *dev, uint32_t offset, unsigned width, uint32_t value);
uint32_t swdev_isr_read(struct swdev *dev, bool clear);
void swdev_isr_clear(struct swdev *dev, uint8_t bits);

uint16_t swdev_queue_max(struct swdev *dev, uint16_t queue);
struct swdev_queue *swdev_queue_select(struct swdev *dev, uint16_t queue); /* NULL: none such (no violation yet) */
bool swdev_queue_may_set(struct swdev_queue *queue, const char *what);     /* false, and a violation: not now */
void swdev_queue_enable(struct swdev_queue *queue);
void swdev_queue_disable(struct swdev_queue *queue);  /* forgets all that is in flight */
void swdev_queue_reset(struct swdev_queue *queue);    /* "Virtqueue Reset" */
void swdev_notify(struct swdev *dev, uint32_t value); /* a queue index, or notification data */

void swdev_look(struct swdev *dev, bool idle);
void swdev_complete(struct swdev_chain *chain, uint32_t written);
struct swdev_chain *swdev_take_held(struct swdev_queue *queue); /* the first; NULL: none */
uint64_t swdev_random(struct swdev *dev);

[[gnu::format(printf, 2, 3)]] void swdev_violation(struct swdev *dev, const char *format, ...);

/* Memory that the device may reach at this address, or NULL and a violation. */
void *swdev_memory(struct swdev *dev, uint64_t address, uint64_t length, const char *what);

/* ---- ring engines ---- */
struct swdev_ring {
	const char *name;
	void (*enabled)(struct swdev_queue *queue); /* checks the areas */
	bool (*pending)(struct swdev_queue *queue);
	struct swdev_chain *(*take)(struct swdev_queue *queue);                     /* NULL: none */
	void (*retire)(struct swdev_queue *queue, const struct swdev_chain *chain); /* no longer in flight */
	void (*put)(struct swdev_queue *queue, const struct swdev_chain *chain,
	            unsigned batch); /* retire, and write its used entry */
	bool (*wants_interrupt)(struct swdev_queue *queue);
	void (*ask)(struct swdev_queue *queue, enum swdev_wish wish);
	bool (*kick_is_due)(struct swdev_queue *queue);     /* what was added since the last ask() must have been notified of */
	uint16_t (*next_offset)(struct swdev_queue *queue); /* for VIRTIO_F_NOTIFICATION_DATA: next_off and next_wrap */
};
extern const struct swdev_ring swdev_split, swdev_packed;

static inline const struct swdev_ring *swdev_ring(const struct swdev_queue *queue)
{
	return swdev_has(queue->dev, F_RING_PACKED) ? &swdev_packed : &swdev_split;
}

struct swdev_chain *swdev_chain_new(struct swdev_queue *queue);
void swdev_chain_free(struct swdev_chain *chain);
/* Add an element, with the checks that both layouts share; false: the chain is unusable. */
bool swdev_chain_add(struct swdev_chain *chain, uint64_t address, uint32_t length, bool writable);

/* What the device writes into a used entry, as a lie changes it. */
struct swdev_used_entry {
	uint32_t id, length;
	uint16_t step;    /* of the index (split) or slots skipped (packed) */
	uint16_t flags;   /* packed: xor'ed into the descriptor's flags */
	bool write_entry; /* false: the entry keeps what it had */
};
void swdev_tell_used(struct swdev_queue *queue, struct swdev_used_entry *entry);

/* ---- lies ---- */
enum { FRONT_DIRECT = 1, FRONT_MMIO = 2, FRONT_MMIO_LEGACY = 4, FRONT_PCI = 8, FRONT_PCI_LEGACY = 16 };
#define FRONTS_MODERN (FRONT_DIRECT | FRONT_MMIO | FRONT_PCI)

enum swdev_lie_op {
	OP_SET,
	OP_OR,
	OP_CLEAR,
	OP_XOR,
	OP_ADD,
	OP_COUNT /* a new value at each read */,
	OP_TOGGLE /* xor on every other read */
};
enum swdev_used_part { USED_NOTHING, USED_ID, USED_LENGTH, USED_STEP, USED_FLAGS, USED_ENTRY };

struct swdev_lie {
	const char *name;
	unsigned fronts;                                 /* 0: direct */
	enum { SPLIT_ONLY = 1, PACKED_ONLY = 2 } layout; /* 0: both */
	const struct swdev_type *type;                   /* NULL: every one */
	bool harmless;                                   /* the driver may take it in its stride: nothing needs to be logged */
	const char *says;                                /* words in the log of one telling at least */
	bool works;                                      /* and shall work as well as with an honest device */
	bool must_be_silent;                             /* nothing may be logged */
	bool blind;                                      /* the device confuses itself: its checks of the driver mean nothing */
	bool leaks;                                      /* memory that it may write to for ever is not freed */

	enum swdev_reg reg;
	enum swdev_used_part used;
	enum swdev_lie_op op;
	uint32_t value;
	int index;      /* of the register; -1: any */
	unsigned after; /* honest that often first */
	unsigned times; /* then lie so often; 0: for good */

	void (*setup)(struct swdev *dev);   /* before it is plugged */
	void (*at_plug)(struct swdev *dev); /* front pci: when configuration space is filled */
	void (*at_look)(struct swdev *dev); /* at each look */
	void (*at_used)(struct swdev_queue *queue, struct swdev_used_entry *entry);
	uint32_t (*at_read)(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest);
};
/* All lies: arrays that end with a nameless one, each in the file that has its type. */
LINKER_SET(swdev_lies, const struct swdev_lie);
#define SWDEV_LIES(array)                                                                                                        \
	static const struct swdev_lie *const array##_entry __attribute__((used, section("swdev_lies"))) = (array)
extern unsigned swdev_lies_told; /* by the device that was unplugged last */

#endif
