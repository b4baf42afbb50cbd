/*
 * The SCSI host's controlq and eventq.
 *
 * A command that stays away is asked back: an ABORT TASK, then a LOGICAL UNIT RESET, and when even that brings nothing the device is reset.
 * What the device reports only marks what the scan (scsi_scan.c) has to look at.
 */
#include "scsi.h"

#include <string.h>

#include <arch/clock.h>
#include <base/log.h>

#define ABORT_NS UINT64_C(5000000000) /* for each thing that is done about a command */

/* "Device Operation: controlq" */
enum { VIRTIO_SCSI_T_TMF = 0, VIRTIO_SCSI_T_TMF_ABORT_TASK = 0, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET = 5 };
struct scsi_tmf_wire {
	le32 type, subtype;
	uint8_t lun[8];
	le64 id;
	uint8_t response;
};
#define TMF_READABLE offsetof(struct scsi_tmf_wire, response)
_Static_assert(TMF_READABLE == 24, "virtio_scsi_ctrl_tmf");

/* "Device Operation: eventq" */
#define VIRTIO_SCSI_T_EVENTS_MISSED 0x80000000u
enum { VIRTIO_SCSI_T_TRANSPORT_RESET = 1, VIRTIO_SCSI_T_PARAM_CHANGE = 3, VIRTIO_SCSI_EVT_RESET_HARD = 0 };
struct virtio_scsi_event {
	le32 event;
	uint8_t lun[8];
	le32 reason;
};
_Static_assert(sizeof(struct virtio_scsi_event) == SCSI_EVENT_SIZE, "virtio_scsi_event");

/* ---- commands that stay away ---- */

static void tmf_done(struct virtio_request *request) { container_of(request, struct scsi, tmf)->tmf_busy = false; }

/* The command itself comes back by the requestq, before the answer. */
static void send_tmf(struct scsi *scsi, const struct scsi_command *command, uint32_t subtype)
{
	struct scsi_tmf_wire *wire = scsi->tmf_wire;

	*wire = (struct scsi_tmf_wire){.type = scsi_to_wire(scsi, VIRTIO_SCSI_T_TMF),
	                               .subtype = scsi_to_wire(scsi, subtype),
	                               .id = command->wire->request.id,
	                               .response = 0xff};
	memcpy(wire->lun, command->wire->request.lun, sizeof(wire->lun));
	scsi->tmf_bufs[0] = (struct virtq_buf){wire, TMF_READABLE};
	scsi->tmf_bufs[1] = (struct virtq_buf){&wire->response, 1};
	scsi->tmf = (struct virtio_request){.bufs = scsi->tmf_bufs, .nreadable = 1, .nwritable = 1, .done = tmf_done};
	scsi->tmf_busy = true;
	virtio_request_submit(&scsi->controlq, &scsi->tmf);
}

static void ask_back(struct scsi_command *command)
{
	struct scsi *scsi = command->scsi;
	const uint8_t *lun = command->wire->request.lun;

	if (command->aborts == 2) {
		virtio_device_broken(scsi->vdev, "a command to %u.%u does not end", lun[1], scsi_get16(lun + 2) & 0x3fff);
		return;
	}
	if (scsi->tmf_busy && command->aborts < 1)
		return; /* one at a time; but not behind one that is not answered either */
	log_warn("%s: a command to %u.%u takes long: %s", scsi->vdev->name, lun[1], scsi_get16(lun + 2) & 0x3fff,
	         command->aborts ? "reset" : "abort");
	if (!scsi->tmf_busy)
		send_tmf(scsi, command, command->aborts ? VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET : VIRTIO_SCSI_T_TMF_ABORT_TASK);
	command->aborts++;
	command->deadline_ns = clock_ns() + ABORT_NS;
}

void scsi_watch(struct timer *timer)
{
	struct scsi *scsi = container_of(timer, struct scsi, watch);
	uint64_t now = clock_ns();
	bool any = false;

	for (struct scsi_command *command = scsi->commands; command < scsi->commands + SCSI_COMMANDS; command++) {
		if (!command->busy || command->request.over)
			continue;
		any = true;
		if (command->deadline_ns <= now)
			ask_back(command);
	}
	if (any && scsi->running)
		timer_start(&scsi->watch, now + SCSI_WATCH_NS, scsi_watch);
}

/* ---- events ---- */

void scsi_reported(struct virtio_eventq *queue, void *data, uint32_t written)
{
	struct scsi *scsi = container_of(queue, struct scsi, eventq);
	const struct virtio_scsi_event *wire = data;
	uint32_t event = scsi_from_wire(scsi, wire->event);
	unsigned target = wire->lun[1];

	if (written < sizeof(*wire) && !scsi->vdev->legacy)
		return;
	/* "If event has bit 31 set, the driver SHOULD poll the logical units" */
	for (unsigned i = 0; event & VIRTIO_SCSI_T_EVENTS_MISSED && i <= scsi->target_max; i++)
		scsi_rescan(scsi, i);
	switch (event & ~VIRTIO_SCSI_T_EVENTS_MISSED) {
	case VIRTIO_SCSI_T_TRANSPORT_RESET: /* "SHOULD ask the initiator to rescan the target" */
		if (scsi_from_wire(scsi, wire->reason) != VIRTIO_SCSI_EVT_RESET_HARD)
			scsi_rescan(scsi, target);
		break;
	case VIRTIO_SCSI_T_PARAM_CHANGE:
		scsi_changed(scsi, target, scsi_get16(wire->lun + 2) & 0x3fff);
		break;
	}
}
