/*
 * What the files of the SCSI host driver share: scsi.c carries commands, scsi_lun.c knows what to command, scsi_scan.c whom.
 */
#ifndef DRIVERS_BLOCK_SCSI_H
#define DRIVERS_BLOCK_SCSI_H

#include <errno.h>

#include <base/endian.h>
#include <class/block.h>
#include <virtio/request.h>

#define SCSI_CDB_SIZE 32u   /* "MUST be 32": the defaults after each reset, */
#define SCSI_SENSE_SIZE 96u /* "MUST be 96" */
#define SCSI_COMMANDS 64u
#define SCSI_SEGMENTS 64u /* pieces of data in a command */
#define SCSI_SCRATCH 64u  /* bytes for the data of a command of our own */
#define SCSI_TARGETS 256u
#define SCSI_LUNS_MAX 1024u /* of a host: nobody has more, and a list must have an end */
#define SCSI_EVENT_SIZE 16u
#define SCSI_TYPE_DISK 0u
#define SCSI_TYPE_CD 5u
#define SCSI_REPORT_LUNS 0xa0 /* an operation code */

/* "Device Operation: Request Queues" */
struct virtio_scsi_req_cmd {
	uint8_t lun[8];
	le64 id;
	uint8_t task_attr, prio, crn, cdb[SCSI_CDB_SIZE];
} __attribute__((packed));
_Static_assert(sizeof(struct virtio_scsi_req_cmd) == 51, "virtio_scsi_req_cmd");

struct virtio_scsi_resp_cmd {
	le32 sense_len, residual;
	le16 status_qualifier;
	uint8_t status, response, sense[SCSI_SENSE_SIZE];
};
_Static_assert(sizeof(struct virtio_scsi_resp_cmd) == 108, "virtio_scsi_resp_cmd");

struct scsi_wire { /* of a command, in memory that driver and device share */
	struct virtio_scsi_req_cmd request;
	uint8_t unused[13];
	struct virtio_scsi_resp_cmd response;
	uint8_t scratch[SCSI_SCRATCH], unused_too[20];
};
_Static_assert(sizeof(struct scsi_wire) == 256, "scsi_wire");

struct scsi_lun;

struct scsi_command {
	struct virtio_request request;
	struct virtq_buf bufs[SCSI_SEGMENTS + 2];
	struct scsi *scsi;
	struct scsi_lun *lun; /* NULL: of the scan */
	struct scsi_wire *wire;
	struct block_request *block;
	struct scsi_command *next; /* free, or to be sent again */
	void (*done)(struct scsi_command *command);
	uint32_t expected; /* bytes of data, all of which have to go over */
	uint64_t deadline_ns;
	unsigned tries, aborts;
	bool busy, sent, over;
	int status;
	uint8_t key, code, qualifier; /* of the sense data */
};

struct scsi_lun {
	struct block_device block;
	struct block_queue queue, *queues[1];
	struct scsi *scsi;
	struct scsi_lun *next;
	uint8_t target, type;
	uint16_t number;
	char name[24]; /* "scsi0.TARGET.LUN" */
	unsigned in_flight;
	bool registered, seen, leaving, stale; /* listed by the scan; to be forgotten; to be looked at again */
};

struct scsi {
	struct virtio_device *vdev;
	struct virtio_requestq controlq, requestq;
	struct virtio_eventq eventq;
	bool running, gone;
	unsigned starts;
	uint32_t segments_max, bytes_max, per_lun, target_max;
	uint64_t tag;

	struct scsi_command *free, *delayed, commands[SCSI_COMMANDS];
	struct scsi_wire *wires; /* SCSI_COMMANDS of them */
	struct timer watch, retry;

	struct virtio_request tmf;
	struct virtq_buf tmf_bufs[2];
	struct scsi_tmf_wire *tmf_wire;
	bool tmf_busy;

	struct scsi_lun *luns;
	unsigned lun_count;
	uint8_t rescan[SCSI_TARGETS / 8]; /* targets to look at, by bit */
	bool scanning, full;
	struct event scan_event;
	uint8_t *page; /* the scan's */
};

/* ---- scsi.c ---- */
/* NULL: none free now. */
struct scsi_command *scsi_command_get(struct scsi *scsi, uint8_t target, uint16_t lun);
void scsi_command_put(struct scsi_command *command);
/* Submit it with its data: `write`: from memory to the device. done() comes once, later; with tries behind it and command->status. */
void scsi_command_send(struct scsi_command *command, const struct virtq_buf *data, unsigned count, bool write);
/* The same for reading, unless it is sent already, and wait; gives the status. -ECANCELED: the device was reset meanwhile, or is gone; -ETIMEDOUT: in
 * start(), which has to fail. */
[[nodiscard]] int scsi_command_call(struct scsi_command *command, void *data, uint32_t length);

/* With that the scan does not go on, and with -ECANCELED units may be gone. */
static inline bool scsi_cut_short(int error) { return error == -ECANCELED || error == -ETIMEDOUT; }

/* ---- scsi_control.c ---- */
#define SCSI_WATCH_NS UINT64_C(1000000000)
void scsi_watch(struct timer *timer); /* over the commands that are out */
void scsi_reported(struct virtio_eventq *queue, void *data, uint32_t written);

/* ---- scsi_lun.c ---- */
/* For the scan, which has it in its list: NULL: no memory. Its class is told when it goes. */
struct scsi_lun *scsi_lun_new(struct scsi *scsi, uint8_t target, uint16_t number);
void scsi_lun_free(struct scsi_lun *lun);
/* All that a block device has to be known for. 0: it is one, or still one; errors of scsi_command_call(), -ENOTSUP, -EINVAL. */
[[nodiscard]] int scsi_look_at(struct scsi_lun *lun);
/* A command whose data of `length` bytes come to scsi->page; what the unit did not fill is zero. */
[[nodiscard]] int scsi_ask(struct scsi *scsi, uint8_t target, uint16_t lun, const uint8_t cdb[6], uint32_t length);
void scsi_pump(struct scsi *scsi); /* there is room for commands */

/* ---- scsi_scan.c ---- */
void scsi_rescan(struct scsi *scsi, unsigned target);                /* soon */
int scsi_scan(struct scsi *scsi);                                    /* now: all that is due. -ETIMEDOUT in start() */
void scsi_changed(struct scsi *scsi, unsigned target, unsigned lun); /* capacity or medium: look again, soon */
void scsi_forget_all(struct scsi *scsi);
void scsi_run_scan(struct event *event);

/* "Legacy Interface": there in the guest's own order */
static inline uint32_t scsi_from_wire(const struct scsi *scsi, le32 value)
{
	return scsi->vdev->legacy ? value : le32_to_cpu(value);
}
static inline le32 scsi_to_wire(const struct scsi *scsi, uint32_t value)
{
	return scsi->vdev->legacy ? value : cpu_to_le32(value);
}

static inline void scsi_put16(uint8_t *at, uint32_t value) { at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value; }
static inline void scsi_put32(uint8_t *at, uint32_t value) { scsi_put16(at, value >> 16), scsi_put16(at + 2, value); }
static inline uint32_t scsi_get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static inline uint32_t scsi_get32(const uint8_t *at) { return scsi_get16(at) << 16 | scsi_get16(at + 2); }

#endif
