/*
 * The driver of the echo device. It is the smallest one that the core takes, so it tests the core's side of the contract with drivers:
 * start() and stop() in pairs, remove() once.
 */
#include <errno.h>
#include <stdlib.h>

#include "swdev_echo.h"
#include "swdev_types.h"

struct echo_options echo_options;
unsigned echo_starts, echo_stops, echo_removes;

static int echo_probe(struct virtio_device *vdev)
{
	if (echo_options.fail_probe)
		return virtio_refuse(vdev, echo_options.fail_probe, "the test wants it so");
	vdev->driver_data = malloc(1);
	return 0;
}

static void callback_framed(struct virtq *vq)
{
	struct virtq_used_request used[ECHO_BURST_MAX];

	for (unsigned count; (count = virtq_harvest_framed(vq, used, echo_options.burst));)
		for (unsigned i = 0; i < count; i++)
			echo_options.framed(vq, &used[i]);
}

static void callback(struct virtq *vq)
{
	unsigned burst = echo_options.burst;
	void *tokens[ECHO_BURST_MAX], *token;
	uint32_t lengths[ECHO_BURST_MAX], length;

	for (unsigned count; burst && (count = virtq_harvest_burst(vq, tokens, lengths, burst));)
		for (unsigned i = 0; i < count; i++)
			echo_options.used(vq, tokens[i], lengths[i]);
	while (!echo_options.in_turn && (token = virtq_harvest(vq, &length)))
		echo_options.used(vq, token, length);
}

static int echo_start(struct virtio_device *vdev)
{
	static const char *const names[SWDEV_ECHO_QUEUES] = {"q0", "q1", "q2", "q3"};
	uint16_t count = echo_options.queues ? echo_options.queues : 1;
	struct virtq_spec specs[SWDEV_ECHO_QUEUES];
	int error;

	echo_starts++;
	for (unsigned i = 0; i < count; i++)
		specs[i] = (struct virtq_spec){.name = names[i],
		                               .callback = echo_options.framed ? callback_framed
		                                           : echo_options.used ? callback
		                                                               : NULL,
		                               .head = echo_options.head,
		                               .tail = echo_options.tail,
		                               .max_size = echo_options.max_size,
		                               .cpu = echo_options.cpu,
		                               .in_turn = echo_options.in_turn,
		                               .max_buffers = echo_options.max_buffers};
	error = virtio_queues_create(vdev, count, specs);
	if (error)
		return error;
	if (echo_options.fail_start)
		return virtio_refuse(vdev, echo_options.fail_start, "the test wants it so");
	if (echo_options.early) {
		struct virtq_buf buf = {echo_options.early, 100};

		error = virtq_add(vdev->queues[0], &buf, 0, 1, vdev);
		if (error || virtq_kick(vdev->queues[0]))
			return virtio_refuse(vdev, -EPERM, "kicked before DRIVER_OK");
	}
	virtio_driver_ok(vdev);
	return 0;
}

static void drain(struct virtq *vq)
{
	void *token;

	while ((token = virtq_detach_unused(vq)))
		if (echo_options.unused)
			echo_options.unused(vq, token);
	if (echo_options.drained)
		echo_options.drained(vq);
}

static void echo_queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	drain(vq);
}

static void echo_stop(struct virtio_device *vdev)
{
	echo_stops++;
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i])
			virtq_run(vdev->queues[i], drain);
}

static void echo_remove(struct virtio_device *vdev)
{
	echo_removes++;
	free(vdev->driver_data);
}

static void echo_queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	(void)vq;
}

static void echo_config_changed(struct virtio_device *vdev)
{
	if (echo_options.config_changed)
		echo_options.config_changed(vdev);
}

static const struct virtio_driver echo_driver = {
	.name = "virtio-echo",
	.instance = "echo",
	.type = SWDEV_ECHO_ID,
	.config_size = 64,
	.probe = echo_probe,
	.start = echo_start,
	.stop = echo_stop,
	.remove = echo_remove,
	.queue_drain = echo_queue_drain,
	.queue_refill = echo_queue_refill,
	.config_changed = echo_config_changed,
};
VIRTIO_DRIVER(echo_driver);
