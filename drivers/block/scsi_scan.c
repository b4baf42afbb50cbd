/*
 * The scan of a SCSI host: which logical units there are.
 *
 * It looks at the targets that are due, all at the start, later those that the device or a unit told of. It waits for its commands, one
 * after the other, in a callback of its own: meanwhile the device may be reset or go away, after which scsi_command_call() gives
 * -ECANCELED and nothing may be touched but `scsi` itself. A unit that is no longer there is forgotten when its last command has ended.
 */
#include "scsi.h"

#include <errno.h>

#include <base/log.h>
#include <base/page.h>

#define PROBES 32u
#define LISTED_MAX ((PAGE_SIZE - 8) / 8)

/* ---- units ---- */

static struct scsi_lun *find(struct scsi *scsi, unsigned target, unsigned number)
{
	struct scsi_lun *lun = scsi->luns;

	while (lun && (lun->target != target || lun->number != number || lun->leaving))
		lun = lun->next;
	return lun;
}

static struct scsi_lun *add(struct scsi *scsi, uint8_t target, uint16_t number)
{
	struct scsi_lun *lun = scsi->lun_count < SCSI_LUNS_MAX ? scsi_lun_new(scsi, target, number) : NULL, **at = &scsi->luns;

	if (!lun) {
		if (!scsi->full)
			log_warn("%s: no room for unit %u.%u, nor for more", scsi->vdev->name, target, number);
		scsi->full = true;
		return NULL;
	}
	while (*at)
		at = &(*at)->next;
	*at = lun;
	scsi->lun_count++;
	return lun;
}

static void forget(struct scsi *scsi, struct scsi_lun **at)
{
	struct scsi_lun *lun = *at;

	*at = lun->next;
	scsi->lun_count--;
	scsi_lun_free(lun);
}

static void reap(struct scsi *scsi)
{
	for (struct scsi_lun **at = &scsi->luns; *at;) {
		if ((*at)->leaving && !(*at)->in_flight)
			forget(scsi, at);
		else
			at = &(*at)->next;
	}
}

void scsi_forget_all(struct scsi *scsi)
{
	while (scsi->luns)
		forget(scsi, &scsi->luns);
}

/* ---- targets ---- */

/* The units that are listed. A target that does not know the command has unit 0. */
static int list_luns(struct scsi *scsi, uint8_t target, uint16_t numbers[LISTED_MAX], unsigned *count)
{
	int error = scsi_ask(scsi, target, 0, (const uint8_t[6]){SCSI_REPORT_LUNS}, PAGE_SIZE);

	*count = 0;
	if (error == -ENODEV) /* no such target */
		return 0;
	if (error == -ENOTSUP)
		numbers[(*count)++] = 0;
	if (error)
		return error == -ENOTSUP ? 0 : error;
	for (unsigned i = 0; i < MIN(scsi_get32(scsi->page) / 8, LISTED_MAX); i++) {
		const uint8_t *entry = scsi->page + 8 + 8 * i;

		if (entry[0] >> 6 <= 1) /* peripheral device or flat space addressing */
			numbers[(*count)++] = (uint16_t)(scsi_get16(entry) & 0x3fff);
	}
	return 0;
}

static int scan_target(struct scsi *scsi, uint8_t target)
{
	uint16_t numbers[LISTED_MAX];
	unsigned count;
	int error = list_luns(scsi, target, numbers, &count);

	if (error)
		return error;
	for (struct scsi_lun *lun = scsi->luns; lun; lun = lun->next)
		lun->seen = lun->target != target;
	for (unsigned i = 0; i < count; i++) {
		struct scsi_lun *lun = find(scsi, target, numbers[i]);

		if (lun && lun->seen)
			continue; /* listed twice */
		if (!lun)
			lun = add(scsi, target, numbers[i]);
		if (!lun)
			break;
		lun->seen = true;
		error = scsi_look_at(lun);
		if (scsi_cut_short(error))
			return error;
		lun->leaving = lun->registered && error; /* without a medium, for one */
	}
	for (struct scsi_lun *lun = scsi->luns; lun; lun = lun->next)
		lun->leaving |= !lun->seen;
	return 0;
}

static bool due(const struct scsi *scsi, unsigned target) { return scsi->rescan[target / 8] >> target % 8 & 1; }

static void not_due(struct scsi *scsi, unsigned target) { scsi->rescan[target / 8] &= (uint8_t) ~(1u << target % 8); }

static bool has_luns(const struct scsi *scsi, unsigned target)
{
	for (const struct scsi_lun *lun = scsi->luns; lun; lun = lun->next)
		if (lun->target == target)
			return true;
	return false;
}

/* Most targets are not there: ask many of them at once, and have those looked at that are. */
static int probe_targets(struct scsi *scsi)
{
	struct scsi_command *probes[PROBES];
	unsigned count, target = 0;
	int error = 0;

	do {
		for (count = 0; target <= scsi->target_max && count < PROBES; target++) {
			if (!due(scsi, target) || has_luns(scsi, target))
				continue;
			probes[count] = scsi_command_get(scsi, (uint8_t)target, 0);
			if (!probes[count])
				break;
			scsi_command_send(probes[count++], NULL, 0, false);
		}
		for (unsigned i = 0; i < count; i++) {
			error = scsi_command_call(probes[i], NULL, 0);
			if (error == -ENODEV)
				not_due(scsi, probes[i]->wire->request.lun[1]);
			if (scsi_cut_short(error)) {
				while (++i < count) /* they have ended with it */
					if (probes[i]->over)
						scsi_command_put(probes[i]);
				return error;
			}
		}
	} while (count && target <= scsi->target_max);
	return 0;
}

static int look_again(struct scsi_lun *lun)
{
	int error;

	if (!lun->stale || lun->leaving)
		return 0;
	lun->stale = false;
	error = scsi_look_at(lun);
	if (!scsi_cut_short(error))
		lun->leaving = lun->registered && error;
	return error;
}

/* Once over all that is due: a device that reports without end gets its turns like others. */
int scsi_scan(struct scsi *scsi)
{
	int error;

	scsi->scanning = true;
	reap(scsi);
	error = probe_targets(scsi);
	for (unsigned target = 0; !scsi_cut_short(error) && target <= scsi->target_max; target++) {
		if (!due(scsi, target))
			continue;
		not_due(scsi, target);
		error = scan_target(scsi, (uint8_t)target);
	}
	for (struct scsi_lun *lun = scsi->luns; !scsi_cut_short(error) && lun; lun = lun->next)
		error = look_again(lun);
	if (!scsi_cut_short(error))
		reap(scsi);
	scsi->scanning = false;
	return error == -ETIMEDOUT ? error : 0;
}

void scsi_rescan(struct scsi *scsi, unsigned target)
{
	if (target > scsi->target_max)
		return;
	scsi->rescan[target / 8] |= (uint8_t)(1u << target % 8);
	event_mark(&scsi->scan_event);
}

void scsi_changed(struct scsi *scsi, unsigned target, unsigned number)
{
	struct scsi_lun *lun = find(scsi, target, number);

	if (!lun) {
		scsi_rescan(scsi, target);
		return;
	}
	lun->stale = true;
	event_mark(&scsi->scan_event);
}
