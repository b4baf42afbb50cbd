/*
 * Work for sockets: each item is sent to the echo port by a connection of its own, and comes back.
 */
#include <stdlib.h>
#include <string.h>

#include <class/socket.h>
#include <virtio/virtio.h>

#include "swdev_vsock.h"
#include "swdev_work_impl.h"

#define BYTES (SWDEV_ITEM_BYTES * 3 / 4)

struct talk {
	struct swdev_item *item;
	struct socket *socket;
	uint32_t sent, got;
	bool over;
};

static void go_on(struct socket *socket)
{
	struct talk *talk = socket->context;
	int64_t bytes;

	if (talk->over)
		return;
	while (talk->sent < BYTES &&
	       (bytes = socket->ops->send(socket, talk->item->out + talk->sent, BYTES - talk->sent, false)) > 0)
		talk->sent += (uint32_t)bytes;
	while (talk->got < BYTES && (bytes = socket->ops->receive(socket, talk->item->in + talk->got, BYTES - talk->got)) > 0)
		talk->got += (uint32_t)bytes;
	talk->over = talk->got == BYTES || socket->state == SOCKET_CLOSED;
	if (talk->got == BYTES && !swdev_work_matches(talk->item->in, talk->item->index, BYTES))
		talk->item->failed = true;
	if (talk->over)
		swdev_work_ended(talk->item, talk->got == BYTES && !talk->item->failed);
}

static bool begin(struct swdev_work *work)
{
	struct socket_device *device = socket_find(work->dev->vdev->name);
	struct talk *talks = calloc(work->amount, sizeof(*talks));

	work->state = talks;
	if (!device)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		enum socket_type type = i % 2 && device->seqpacket ? SOCKET_SEQPACKET : SOCKET_STREAM;

		talks[i].item = &work->items[i];
		if (device->ops->connect(device, type, SOCKET_HOST, VSOCK_ECHO_PORT, &talks[i].socket)) {
			talks[i].over = true;
			swdev_work_ended(&work->items[i], false);
			continue;
		}
		talks[i].socket->context = &talks[i];
		talks[i].socket->changed = go_on;
	}
	return true;
}

/* Behind the work, or behind the device. */
static void end(struct swdev_work *work)
{
	struct talk *talks = work->state;

	for (unsigned i = 0; i < work->amount; i++)
		socket_close(talks[i].socket);
}

static const struct swdev_workload vsock_load = {.type = &swdev_vsock, .begin = begin, .end = end};
LINKER_ENTRY(swdev_workloads, vsock_load);
