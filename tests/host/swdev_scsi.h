/*
 * The software SCSI host: its units, and what a test makes it do.
 */
#ifndef SWDEV_SCSI_H
#define SWDEV_SCSI_H

#include "swdev.h"

#define SWDEV_UNITS 16u

struct swdev_unit {
	bool there;
	uint8_t target, type;
	uint16_t lun;
	uint32_t block_size;
	uint64_t blocks; /* as it tells */
	uint8_t *bytes;
	uint64_t bytes_count; /* as it has */
	bool write_protected, write_through, no_medium;
	bool holds;              /* keeps commands that move data, and */
	bool deaf;               /* keeps them even when they are to be aborted */
	unsigned ignores;        /* commands that begin with these two bytes, and 1 before them: they never end */
	unsigned attention;      /* that many commands end in unit attention, */
	uint8_t code, qualifier; /* of that kind */
	unsigned fail;           /* that many commands that move data end with */
	uint8_t response, status, key;
	unsigned reads, writes, syncs, unmaps, largest; /* commands; bytes of the largest */
};

struct swdev_scsi {
	struct swdev_unit units[SWDEV_UNITS];
	unsigned commands, aborts, lun_resets;
	bool wide_seen; /* a 16-byte read or write */
	struct {
		uint32_t event, reason;
		uint8_t lun[8];
	} events[16];
	unsigned event_count;
};
static inline struct swdev_scsi *swdev_scsi_state(struct swdev *dev) { return dev->state; }

struct swdev_unit *swdev_scsi_add(struct swdev *dev, uint8_t target, uint16_t lun, uint64_t blocks, uint32_t block_size);
void swdev_scsi_remove(struct swdev *dev, struct swdev_unit *unit);
void swdev_scsi_event(struct swdev *dev, uint32_t event, uint8_t target, uint16_t lun, uint32_t reason);

extern const struct swdev_type swdev_scsi;

#endif
