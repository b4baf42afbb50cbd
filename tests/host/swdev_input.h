/*
 * What a test sees and sets of the software input device: a touch screen with keys and LEDs.
 */
#ifndef SWDEV_INPUT_H
#define SWDEV_INPUT_H

#include "swdev.h"

struct swdev_event {
	uint16_t type, code;
	uint32_t value;
};

#define SWDEV_EVENTS_MAX 4096u

struct swdev_input {
	struct swdev_event waiting[SWDEV_EVENTS_MAX]; /* for the driver */
	unsigned waiting_count, sent;
	struct swdev_event status[SWDEV_EVENTS_MAX]; /* from the driver */
	unsigned status_count;
	uint32_t event_bytes;    /* of each event that is sent: 8, unless it lies */
	uint32_t status_written; /* used length of each status: 0, unless it lies */
	uint8_t size_told;       /* not 0: the size of everything */
	unsigned chosen;         /* which of select and subsel were written since the last answer */
};
static inline struct swdev_input *swdev_input_state(struct swdev *dev) { return dev->state; }
void swdev_input_event(struct swdev *dev, unsigned type, unsigned code, uint32_t value);

extern const struct swdev_type swdev_input;

#endif
