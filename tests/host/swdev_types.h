/*
 * The software device's types: what a test sees and sets of each.
 */
#ifndef SWDEV_TYPES_H
#define SWDEV_TYPES_H

#include "swdev.h"

/* ---- blk: a disk in memory ---- */
enum {
	BLK_F_SIZE_MAX = 1,
	BLK_F_SEG_MAX = 2,
	BLK_F_RO = 5,
	BLK_F_BLK_SIZE = 6,
	BLK_F_FLUSH = 9,
	BLK_F_TOPOLOGY = 10,
	BLK_F_CONFIG_WCE = 11,
	BLK_F_MQ = 12,
	BLK_F_DISCARD = 13,
	BLK_F_WRITE_ZEROES = 14,
	BLK_F_LIFETIME = 15,
	BLK_F_SECURE_ERASE = 16,
	BLK_F_ZONED = 17,
};
enum { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };

struct swdev_disk {
	uint8_t *bytes;
	uint64_t sectors;
	unsigned fail; /* that many requests from now on end with fail_status */
	uint8_t fail_status;
	uint64_t reads, writes, flushes, ids, failed, ranges; /* requests */
	uint32_t max_segments, max_segment_bytes;             /* largest seen */
	struct swdev_zones *zones;                            /* NULL: none */
};
static inline struct swdev_disk *swdev_disk(struct swdev *dev) { return dev->state; }
void swdev_disk_resize(struct swdev *dev,
                       uint64_t sectors); /* contents are kept as far as they fit; tells the driver when plugged */

/* Zones: the first `conventional` of them are, the last has a capacity of its size less 8 sectors. */
enum { BLK_ZONE_INVALID = 3, BLK_ZONE_UNALIGNED = 4, BLK_ZONE_OPEN_LIMIT = 5, BLK_ZONE_ACTIVE_LIMIT = 6 };
struct swdev_zone {
	uint64_t start, capacity, pointer;
	uint8_t type, state;
};
struct swdev_zones {
	struct swdev_zone *zones;
	uint32_t sectors, count, open_max, active_max;
	unsigned reports, appends, resets;
	uint64_t count_lie, start_lie, pointer_lie, append_lie; /* added to what it tells */
	uint8_t type_lie;
};
/* Before it is plugged: offers VIRTIO_BLK_F_ZONED. model 1: host-managed, 2: host-aware. Writes are of 4096 bytes, appends of 64 sectors. */
void swdev_disk_zone(struct swdev *dev, uint8_t model, uint32_t sectors, unsigned conventional);
/* A write of data, or 0: it may be; a zone request; what is left of them. */
uint8_t swdev_zone_write(struct swdev *dev, uint64_t sector, uint64_t sectors);
uint8_t swdev_zone_read(struct swdev *dev, uint64_t sector, uint64_t sectors);
uint8_t swdev_zone_request(struct swdev *dev, struct swdev_chain *chain, uint32_t type, uint64_t sector);
void swdev_zone_erase(struct swdev *dev, uint64_t sector, uint64_t sectors);

/* ---- net ---- */
enum {
	NET_F_CSUM = 0,
	NET_F_GUEST_CSUM = 1,
	NET_F_CTRL_GUEST_OFFLOADS = 2,
	NET_F_MTU = 3,
	NET_F_MAC = 5,
	NET_F_GUEST_TSO4 = 7,
	NET_F_GUEST_TSO6 = 8,
	NET_F_GUEST_ECN = 9,
	NET_F_GUEST_UFO = 10,
	NET_F_HOST_TSO4 = 11,
	NET_F_HOST_TSO6 = 12,
	NET_F_HOST_ECN = 13,
	NET_F_HOST_UFO = 14,
	NET_F_MRG_RXBUF = 15,
	NET_F_STATUS = 16,
	NET_F_CTRL_VQ = 17,
	NET_F_CTRL_RX = 18,
	NET_F_CTRL_VLAN = 19,
	NET_F_CTRL_RX_EXTRA = 20,
	NET_F_GUEST_ANNOUNCE = 21,
	NET_F_MQ = 22,
	NET_F_CTRL_MAC_ADDR = 23,
	NET_F_HASH_TUNNEL = 51,
	NET_F_VQ_NOTF_COAL = 52,
	NET_F_NOTF_COAL = 53,
	NET_F_GUEST_USO4 = 54,
	NET_F_GUEST_USO6 = 55,
	NET_F_HOST_USO = 56,
	NET_F_HASH_REPORT = 57,
	NET_F_GUEST_HDRLEN = 59,
	NET_F_RSS = 60,
	NET_F_RSC_EXT = 61,
	NET_F_STANDBY = 62,
	NET_F_SPEED_DUPLEX = 63
};
/* All that there is of the controlq */
#define NET_F_CONTROL                                                                                                            \
	(FEATURE(NET_F_CTRL_VQ) | FEATURE(NET_F_CTRL_RX) | FEATURE(NET_F_CTRL_VLAN) | FEATURE(NET_F_CTRL_RX_EXTRA) |             \
	 FEATURE(NET_F_GUEST_ANNOUNCE) | FEATURE(NET_F_CTRL_MAC_ADDR) | FEATURE(NET_F_CTRL_GUEST_OFFLOADS) |                     \
	 FEATURE(NET_F_HASH_TUNNEL) | FEATURE(NET_F_VQ_NOTF_COAL) | FEATURE(NET_F_NOTF_COAL) | FEATURE(NET_F_HASH_REPORT))
#define NET_F_OFFLOADS_OUT                                                                                                       \
	(FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4) | FEATURE(NET_F_HOST_TSO6) | FEATURE(NET_F_HOST_ECN) |                   \
	 FEATURE(NET_F_HOST_UFO) | FEATURE(NET_F_HOST_USO))
#define NET_F_OFFLOADS_IN                                                                                                        \
	(FEATURE(NET_F_GUEST_CSUM) | FEATURE(NET_F_GUEST_TSO4) | FEATURE(NET_F_GUEST_TSO6) | FEATURE(NET_F_GUEST_ECN) |          \
	 FEATURE(NET_F_GUEST_UFO) | FEATURE(NET_F_GUEST_USO4) | FEATURE(NET_F_GUEST_USO6))
#define NET_PAIRS 3u /* of a device with MQ or RSS, unless its configuration says otherwise */

/* What the driver configured by the controlq */
struct swdev_nic_control {
	unsigned commands, refused;
	uint8_t modes[6]; /* "Packet Receive Filtering", by command */
	uint8_t macs[256][6];
	unsigned stations, groups; /* of macs */
	uint64_t vlans[64];
	unsigned announced; /* ANNOUNCE_ACK */
	uint16_t pairs;
	uint32_t hash_types, tunnels;
	uint16_t table[128], entries, max_tx;
	uint8_t key[40], key_bytes;
	uint64_t offloads;
	uint32_t coalescing[64][2]; /* by queue: packets, usecs */
	/* what it does against the wishes of the driver */
	bool silent; /* never answers */
	bool lies;   /* acks with: */
	uint8_t false_ack;
};

struct swdev_frame {
	struct swdev_frame *next;
	uint32_t length;
	uint8_t bytes[];
};
struct swdev_nic {
	struct swdev_frame *incoming, **incoming_tail;       /* for the driver */
	struct swdev_frame *transmitted, **transmitted_tail; /* by the driver, unless loopback */
	bool loopback;
	uint64_t sent, received, dropped;
	uint8_t header[10]; /* of received frames: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset */
	uint8_t hash[6];    /* and hash_value, hash_report */
	uint8_t last[20];   /* the header of the frame sent last */
	unsigned pair;      /* by which frames are received */
	struct swdev_nic_control control;
	bool lies; /* num_buffers is a false one */
	uint16_t false_num_buffers;
};
static inline struct swdev_nic *swdev_nic(struct swdev *dev) { return dev->state; }
void swdev_nic_receive(struct swdev *dev, const void *frame, uint32_t length); /* arrives at the next look */
struct swdev_frame *swdev_nic_sent(struct swdev *dev); /* the next one transmitted, NULL: none; the caller frees it */
void swdev_nic_link(struct swdev *dev, bool up);
void swdev_nic_announce(struct swdev *dev); /* asks the driver for gratuitous packets */

/* ---- entropy ---- */
struct swdev_rng {
	uint32_t most; /* bytes for one buffer; 0: as many as it has */
	bool empty;    /* against the rules: no byte at all */
	uint64_t bytes;
};
static inline struct swdev_rng *swdev_rng(struct swdev *dev) { return dev->state; }

/* ---- console ---- */
enum { CONSOLE_F_SIZE = 0, CONSOLE_F_MULTIPORT = 1, CONSOLE_F_EMERG_WRITE = 2 };

#define SWDEV_PORTS 31u

struct swdev_port {
	bool there, console, peer_open; /* announced; the device's side */
	bool ready, open;               /* as the driver says */
	bool open_owed;                 /* it was told of a console, and has not answered yet */
	unsigned opens, closes;         /* messages */
	char name[300];
	uint8_t *typed; /* what the driver will receive */
	size_t typed_length, typed_done;
	uint8_t *printed; /* what it wrote */
	size_t printed_length;
};

struct swdev_tty {
	struct swdev_port ports[SWDEV_PORTS]; /* without MULTIPORT the first */
	bool ready;                           /* DEVICE_READY came */
	bool drops, keeps_output;             /* control messages that find no buffer; does not use what is written to port 1 */
	bool mute;                            /* answers no control message */
	unsigned dropped, failed;             /* messages; PORT_READY with value 0 */
	struct swdev_message *outbox;         /* to the driver */
	unsigned emergency;                   /* bytes by emergency write */
	uint32_t most;                        /* bytes into one receive buffer; 0: as many as it has */
};
static inline struct swdev_tty *swdev_tty(struct swdev *dev) { return dev->state; }
static inline struct swdev_port *swdev_port(struct swdev *dev, unsigned port) { return &swdev_tty(dev)->ports[port]; }
void swdev_tty_type(struct swdev *dev, unsigned port, const void *bytes, size_t length);

/* Ports that come, go and change. A device of type swdev_ports has port 0, a console, and port 1 called "one", to begin with. */
enum { PORT_DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, PORT_CONSOLE, PORT_RESIZE, PORT_OPEN, PORT_NAME };
void swdev_port_add(struct swdev *dev, unsigned port, const char *name, bool console);
void swdev_port_remove(struct swdev *dev, unsigned port);
void swdev_port_peer(struct swdev *dev, unsigned port, bool open);
/* A control message, right or wrong; `length` bytes follow it. */
void swdev_port_say(struct swdev *dev, uint32_t port, uint16_t event, uint16_t value, const void *more, size_t length);

/* ---- echo: whatever is readable is written back, for tests of queues alone ---- */
#define SWDEV_ECHO_ID 63
#define SWDEV_ECHO_QUEUES 4
struct swdev_echo {
	uint64_t served;
};
static inline struct swdev_echo *swdev_echo_state(struct swdev *dev) { return dev->state; }

#endif
