/*
 * Work for a console with ports: both ways through two of them at once.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_work_impl.h"

#define PORTS 2u

struct typing {
	struct swdev_work *work;
	uint8_t *bytes;
	size_t length, seen;
};

static uint32_t length_of(unsigned index) { return 1 + index * 97 % 3000; }

static void written(struct char_request *request) { swdev_work_ended(request->context, request->status == 0); }

static void ready(struct char_device *device)
{
	struct typing *typing = device->context;
	uint8_t bytes[300];
	uint32_t count;

	while ((count = char_read(device, bytes, sizeof(bytes)))) {
		if (typing->seen + count > typing->length || memcmp(typing->bytes + typing->seen, bytes, count))
			typing->work->wrong = true;
		typing->seen += count;
	}
}

static bool begin(struct swdev_work *work)
{
	struct char_device *devices[PORTS] = {char_find(NULL), char_find("one")};
	struct typing *typing = calloc(PORTS, sizeof(*typing));

	work->state = typing;
	work->typed = malloc(work->amount * 700u);
	swdev_work_fill(work->typed, 77, work->amount * 700u);
	if (!devices[0])
		return false;
	for (unsigned i = 0; i < PORTS; i++) {
		if (!devices[i]) { /* hostile devices have their way: there is work all the same */
			devices[i] = devices[0];
			continue;
		}
		typing[i] = (struct typing){.work = work,
		                            .bytes = work->typed + 100 * i,
		                            .length = work->amount * 700u - 100 * i};
		devices[i]->context = &typing[i];
		devices[i]->ready = ready;
		char_open(devices[i], true);
		swdev_tty_type(work->dev, i, typing[i].bytes, typing[i].length);
	}
	for (unsigned i = 0; i < work->amount; i++) {
		struct swdev_item *item = &work->items[i];

		item->tty = (struct char_request){.memory = item->out, .length = length_of(i), .done = written, .context = item};
		char_submit(devices[i % PORTS], &item->tty);
	}
	return true;
}

static bool complete(const struct swdev_work *work)
{
	const struct typing *typing = work->state;

	return work->ended == work->amount && typing[0].seen == typing[0].length && typing[1].seen == typing[1].length;
}

static bool check(struct swdev_work *work)
{
	for (unsigned i = 0; i < PORTS; i++) {
		const struct swdev_port *port = swdev_port(work->dev, i);
		size_t at = 0;

		for (unsigned k = i; k < work->amount; k += PORTS) {
			if (at + length_of(k) > port->printed_length || !swdev_work_matches(port->printed + at, k, length_of(k)))
				return false;
			at += length_of(k);
		}
	}
	return true;
}

static const struct swdev_workload ports_load = {.type = &swdev_ports, .begin = begin, .complete = complete, .check = check};
LINKER_ENTRY(swdev_workloads, ports_load);
