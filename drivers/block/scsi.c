/*
 * "SCSI Host Device": commands to the logical units behind it, and what becomes of them.
 *
 * A command is one of SCSI_COMMANDS; its header, response and sense data lie in pages that driver and device share. When it comes back
 * its outcome is judged here, once for all: done, to be tried again (a few times, a little later), or failed, with an errno.
 *
 * scsi_scan.c finds the units, scsi_lun.c knows them, scsi_control.c what to do when a command stays away, and when the device reports.
 */
#include "scsi.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/log.h>
#include <base/page.h>
#include <virtio/ids.h>

enum { CONTROLQ, EVENTQ, REQUESTQ, QUEUES };
enum { VIRTIO_SCSI_F_HOTPLUG = 1, VIRTIO_SCSI_F_CHANGE = 2 };

struct virtio_scsi_config {
	le32 num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
	le16 max_channel, max_target;
	le32 max_lun;
};
_Static_assert(sizeof(struct virtio_scsi_config) == 36, "virtio_scsi_config");
#define CONFIG(scsi, name, fallback) virtio_config_u32((scsi)->vdev, offsetof(struct virtio_scsi_config, name), fallback)

enum { /* responses */
       VIRTIO_SCSI_S_OK = 0,
       VIRTIO_SCSI_S_ABORTED = 2,
       VIRTIO_SCSI_S_BAD_TARGET = 3,
       VIRTIO_SCSI_S_RESET = 4,
       VIRTIO_SCSI_S_BUSY = 5,
       NOT_WRITTEN = 0xff,
};
enum { GOOD = 0, CHECK_CONDITION = 2, BUSY = 8, TASK_SET_FULL = 0x28, TASK_ABORTED = 0x40 }; /* SAM: status codes */
enum { RECOVERED_ERROR = 1, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6, DATA_PROTECT = 7, ABORTED_COMMAND = 11 }; /* sense keys */

#define EVENTS 16u
#define EVENT_SIZE_MAX 512u
#define TRIES_MAX 8u
#define RETRY_NS UINT64_C(10000000)
#define PATIENCE_NS UINT64_C(30000000000) /* for a command */

static void put_lun(uint8_t wire[8], uint8_t target, uint16_t lun)
{
	memset(wire, 0, 8);
	wire[0] = 1;
	wire[1] = target;
	wire[2] = (uint8_t)(0x40 | lun >> 8); /* a single level LUN structure */
	wire[3] = (uint8_t)lun;
}

/* ---- commands ---- */

struct scsi_command *scsi_command_get(struct scsi *scsi, uint8_t target, uint16_t lun)
{
	struct scsi_command *command = scsi->free;

	if (!command)
		return NULL;
	scsi->free = command->next;
	command->busy = true;
	command->over = command->sent = false;
	command->tries = command->aborts = 0;
	command->expected = 0;
	command->lun = NULL;
	command->done = NULL;
	/* "task_attr, prio and crn SHOULD be zero" */
	memset(&command->wire->request, 0, sizeof(command->wire->request));
	put_lun(command->wire->request.lun, target, lun);
	return command;
}

void scsi_command_put(struct scsi_command *command)
{
	command->busy = false;
	command->next = command->scsi->free;
	command->scsi->free = command;
}

static void submit(struct scsi_command *command)
{
	struct scsi *scsi = command->scsi;
	struct virtio_scsi_resp_cmd *response = &command->wire->response;

	*response = (struct virtio_scsi_resp_cmd){.response = NOT_WRITTEN};
	scsi->tag++; /* a number of its own for each try: an abort means no other */
	command->wire->request.id = scsi->vdev->legacy ? scsi->tag : cpu_to_le64(scsi->tag);
	command->deadline_ns = clock_ns() + PATIENCE_NS;
	if (!scsi->watch.active)
		timer_start(&scsi->watch, clock_ns() + SCSI_WATCH_NS, scsi_watch);
	virtio_request_submit(&scsi->requestq, &command->request);
}

static void read_sense(struct scsi_command *command)
{
	const struct virtio_scsi_resp_cmd *response = &command->wire->response;
	const uint8_t *sense = response->sense;
	uint32_t length = MIN(scsi_from_wire(command->scsi, READ_ONCE(response->sense_len)), SCSI_SENSE_SIZE);
	uint8_t format = length ? sense[0] & 0x7f : 0;

	command->key = command->code = command->qualifier = 0;
	if ((format == 0x72 || format == 0x73) && length >= 4) { /* descriptor format */
		command->key = sense[1] & 15;
		command->code = sense[2];
		command->qualifier = sense[3];
	} else if ((format == 0x70 || format == 0x71) && length >= 14) {
		command->key = sense[2] & 15;
		command->code = sense[12];
		command->qualifier = sense[13];
	} else {
		command->key = ABORTED_COMMAND; /* no sense in it */
	}
}

/* What a unit says about itself by the way. */
static void heed_sense(struct scsi_command *command)
{
	const uint8_t *lun = command->wire->request.lun;

	if ((command->key == UNIT_ATTENTION && command->code == 0x3f &&
	     command->qualifier == 0x0e) ||                             /* REPORTED LUNS DATA HAS CHANGED */
	    (command->key == ILLEGAL_REQUEST && command->code == 0x25)) /* LOGICAL UNIT NOT SUPPORTED */
		scsi_rescan(command->scsi, lun[1]);
	else if (command->key == UNIT_ATTENTION &&
	         (command->code == 0x2a || command->code == 0x28)) /* parameters, medium changed */
		scsi_changed(command->scsi, lun[1], scsi_get16(lun + 2) & 0x3fff);
}

/* -EAGAIN: to be tried again. */
static int judge_sense(struct scsi_command *command)
{
	read_sense(command);
	if (command->lun)
		heed_sense(command);
	switch (command->key) {
	case GOOD:
	case RECOVERED_ERROR:
		return 0;
	case UNIT_ATTENTION:
	case ABORTED_COMMAND:
		return -EAGAIN;
	case DATA_PROTECT:
		return -EROFS;
	case ILLEGAL_REQUEST: /* INVALID COMMAND OPERATION CODE, INVALID FIELD IN CDB, LOGICAL BLOCK ADDRESS OUT OF RANGE */
		return command->code == 0x20 || command->code == 0x24 ? -ENOTSUP : command->code == 0x21 ? -ERANGE : -EIO;
	default:
		return -EIO;
	}
}

static int judge(struct scsi_command *command)
{
	const struct virtio_scsi_resp_cmd *response = &command->wire->response;
	int error = 0;

	if (command->request.status)
		return command->request.status;
	switch (READ_ONCE(response->response)) {
	case VIRTIO_SCSI_S_OK:
		break;
	case VIRTIO_SCSI_S_ABORTED:
	case VIRTIO_SCSI_S_RESET:
		return command->aborts ? -EIO : -EAGAIN; /* by us, or by somebody else */
	case VIRTIO_SCSI_S_BUSY:
		return -EAGAIN;
	case VIRTIO_SCSI_S_BAD_TARGET:
		if (command->lun)
			scsi_rescan(command->scsi, command->lun->target);
		return -ENODEV;
	default: /* "VIRTIO_SCSI_S_TARGET_FAILURE: SHOULD NOT retry"; not written, or nonsense */
		return -EIO;
	}
	switch (READ_ONCE(response->status)) {
	case GOOD:
		break;
	case CHECK_CONDITION:
		error = judge_sense(command);
		break;
	case BUSY:
	case TASK_SET_FULL:
	case TASK_ABORTED:
		return -EAGAIN;
	default:
		return -EIO;
	}
	if (!error && command->expected && READ_ONCE(response->residual))
		error = -EIO;
	return error;
}

static void end(struct scsi_command *command, int status)
{
	command->status = status;
	command->over = true;
	if (command->done)
		command->done(command);
}

static void command_done(struct virtio_request *request)
{
	struct scsi_command *command = container_of(request, struct scsi_command, request);
	struct scsi *scsi = command->scsi;
	int error = judge(command);

	if (error != -EAGAIN || ++command->tries >= TRIES_MAX) {
		end(command, error == -EAGAIN ? -EIO : error);
		return;
	}
	if (READ_ONCE(command->wire->response.status) == CHECK_CONDITION && command->key == UNIT_ATTENTION) {
		submit(command); /* it has had its say */
		return;
	}
	command->next = scsi->delayed;
	scsi->delayed = command;
	if (!scsi->retry.active)
		timer_start(&scsi->retry, clock_ns() + RETRY_NS, scsi->retry.run);
}

static void send_delayed(struct timer *timer)
{
	struct scsi *scsi = container_of(timer, struct scsi, retry);
	struct scsi_command *list = scsi->delayed;

	scsi->delayed = NULL;
	while (list) {
		struct scsi_command *command = list;

		list = command->next;
		submit(command);
	}
}

void scsi_command_send(struct scsi_command *command, const struct virtq_buf *data, unsigned count, bool write)
{
	struct scsi_wire *wire = command->wire;
	unsigned at = 0;

	command->bufs[at++] = (struct virtq_buf){&wire->request, sizeof(wire->request)};
	for (unsigned i = 0; write && i < count; i++)
		command->bufs[at++] = data[i];
	command->request = (struct virtio_request){.bufs = command->bufs, .nreadable = (uint16_t)at, .done = command_done};
	command->bufs[at++] = (struct virtq_buf){&wire->response, sizeof(wire->response)};
	for (unsigned i = 0; !write && i < count; i++)
		command->bufs[at++] = data[i];
	command->request.nwritable = (uint16_t)(at - command->request.nreadable);
	command->sent = true;
	submit(command);
}

int scsi_command_call(struct scsi_command *command, void *data, uint32_t length)
{
	struct virtq_buf buf = {data, length};
	struct scsi *scsi = command->scsi;
	unsigned starts = scsi->starts;
	int status;

	if (!command->sent)
		scsi_command_send(command, &buf, data ? 1 : 0, false);
	if (!(scsi->vdev->state == VIRTIO_NEW ? virtio_start_wait(scsi->vdev, &command->over)
	                                      : loop_wait(&command->over, LOOP_FOREVER)))
		return -ETIMEDOUT; /* stop() ends it */
	status = scsi->gone || !scsi->running || scsi->starts != starts ? -ECANCELED : command->status;
	scsi_command_put(command);
	return status;
}

/* ---- life ---- */

static void release(struct scsi *scsi)
{
	if (scsi->eventq.memory)
		virtio_eventq_free(&scsi->eventq);
	page_free(scsi->page, PAGE_SIZE);
	page_free(scsi->tmf_wire, PAGE_SIZE);
	page_free(scsi->wires, SCSI_COMMANDS * sizeof(*scsi->wires));
	page_free(scsi, sizeof(*scsi));
}

static int probe(struct virtio_device *vdev)
{
	struct scsi *scsi = page_alloc(sizeof(*scsi), PAGE_SIZE);
	uint32_t event_size;

	if (!scsi)
		return -ENOMEM;
	scsi->vdev = vdev;
	scsi->wires = page_alloc(SCSI_COMMANDS * sizeof(*scsi->wires), PAGE_SIZE);
	scsi->tmf_wire = page_alloc(PAGE_SIZE, PAGE_SIZE);
	scsi->page = page_alloc(PAGE_SIZE, PAGE_SIZE);
	/* "These buffers SHOULD be at least event_info_size bytes long" */
	event_size = MIN(MAX(CONFIG(scsi, event_info_size, 0), SCSI_EVENT_SIZE), EVENT_SIZE_MAX);
	if (!scsi->wires || !scsi->tmf_wire || !scsi->page ||
	    virtio_eventq_init(&scsi->eventq, event_size, EVENTS, scsi_reported)) {
		release(scsi);
		return -ENOMEM;
	}
	virtio_requestq_init(&scsi->controlq);
	virtio_requestq_init(&scsi->requestq);
	scsi->controlq.again = scsi->requestq.again = true; /* behind a queue reset */
	for (unsigned i = 0; i < SCSI_COMMANDS; i++) {
		scsi->commands[i].scsi = scsi;
		scsi->commands[i].wire = &scsi->wires[i];
		scsi_command_put(&scsi->commands[i]);
	}
	scsi->retry.run = send_delayed;
	event_init(&scsi->scan_event, scsi_run_scan);
	vdev->driver_data = scsi;
	return 0;
}

static int read_config(struct scsi *scsi)
{
	uint32_t sense = CONFIG(scsi, sense_size, 0), cdb = CONFIG(scsi, cdb_size, 0), sectors = CONFIG(scsi, max_sectors, 0);

	if (sense != SCSI_SENSE_SIZE || cdb != SCSI_CDB_SIZE)
		return virtio_refuse(scsi->vdev, -EINVAL, "its sense_size %u and cdb_size %u are not 96 and 32", sense, cdb);
	scsi->segments_max = MIN(MAX(CONFIG(scsi, seg_max, 0), 1u), SCSI_SEGMENTS);
	scsi->bytes_max = MIN(MAX(sectors, 128u), 65535u) * BLOCK_SECTOR;
	scsi->per_lun = MAX(CONFIG(scsi, cmd_per_lun, 0), 1u);
	scsi->target_max = MIN(virtio_config_u16(scsi->vdev, offsetof(struct virtio_scsi_config, max_target), 0),
	                       SCSI_TARGETS - 1);
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct scsi *scsi = vdev->driver_data;
	int error = read_config(scsi);

	if (error)
		return error;
	struct virtq_spec specs[QUEUES] = {
		[CONTROLQ] = virtio_requestq_spec(&scsi->controlq, "controlq", 2),
		[EVENTQ] = virtio_eventq_spec(&scsi->eventq, "eventq"),
		[REQUESTQ] = virtio_requestq_spec(&scsi->requestq, "request queue", (uint16_t)(scsi->segments_max + 2)),
	};
	/* QEMU counts the data of a write, too, as written by the device. residual tells how much was moved. */
	specs[REQUESTQ].loose_lengths = true;
	error = virtio_service_start(vdev, QUEUES, specs);
	if (error)
		return error;
	if (vdev->queues[REQUESTQ]->size < 3)
		return virtio_refuse(vdev, -EINVAL, "a queue of size %u has no room for a command", vdev->queues[REQUESTQ]->size);
	/* "Scatter-Gather Support": no longer than the queue; "Device configuration layout": no more to a unit than its size */
	scsi->segments_max = MIN(scsi->segments_max, vdev->queues[REQUESTQ]->size - 2u);
	scsi->per_lun = MIN(scsi->per_lun, vdev->queues[REQUESTQ]->size);
	scsi->running = true;
	scsi->starts++;
	for (unsigned i = 0; i <= scsi->target_max; i++)
		scsi_rescan(scsi, i);
	if (vdev->state == VIRTIO_NEW) /* programs start behind it, and want their disks */
		error = scsi_scan(scsi);
	scsi_pump(scsi);
	return error ? virtio_refuse(vdev, error, "its logical units do not answer") : 0;
}

static void stop(struct virtio_device *vdev)
{
	struct scsi *scsi = vdev->driver_data;

	scsi->running = false;
	timer_stop(&scsi->watch);
	timer_stop(&scsi->retry);
	virtio_service_stop(vdev);
	virtio_requestq_end(&scsi->controlq);
	virtio_requestq_end(&scsi->requestq);
	while (scsi->delayed) {
		struct scsi_command *command = scsi->delayed;

		scsi->delayed = command->next;
		end(command, -EIO);
	}
}

static void remove(struct virtio_device *vdev)
{
	struct scsi *scsi = vdev->driver_data;

	event_cancel(&scsi->scan_event);
	scsi_forget_all(scsi);
	scsi->gone = true;
	if (!scsi->scanning) /* else the scan, which waits in a turn below this one */
		release(scsi);
}

void scsi_run_scan(struct event *event)
{
	struct scsi *scsi = container_of(event, struct scsi, scan_event);

	if (scsi->running && !scsi->scanning)
		(void)scsi_scan(scsi);
	if (scsi->gone)
		release(scsi);
}

/* T10_PI is left off: nobody here has protection information to give. INOUT: no command of ours goes both ways. */
static const struct virtio_driver scsi_driver = {
	.name = "virtio-scsi",
	.instance = "scsi",
	.type = VIRTIO_ID_SCSI,
	.features = BIT64(VIRTIO_SCSI_F_HOTPLUG) | BIT64(VIRTIO_SCSI_F_CHANGE),
	.config_size = sizeof(struct virtio_scsi_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(scsi_driver);
