/*
 * The socket driver and its class, with the host of the software device.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <base/page.h>
#include <class/socket.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_vsock.h"
#include "swdev_work.h"

#define MOMENT_NS UINT64_C(10000000)
#define SECOND_NS UINT64_C(1000000000)
#define RING 65536u
#define SPACE 20000u
#define LENGTH 200000u

static uint8_t out[LENGTH], in[LENGTH];
static const enum socket_type types[] = {SOCKET_STREAM, SOCKET_SEQPACKET};

static struct swdev *plug(uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_vsock);

	dev->offered |= more;
	plug_in(dev, &swdev_direct);
	return dev;
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_null(socket_find(NULL));
}

static struct socket *connect(enum socket_type type, uint32_t port)
{
	struct socket *socket;

	assert_int_equal(socket_connect(socket_find(NULL), type, SOCKET_HOST, port, SECOND_NS, &socket), 0);
	return socket;
}

static void receive_all(struct socket *socket, uint32_t length)
{
	uint32_t got = 0;

	memset(in, 0, length);
	while (got < length) {
		int64_t bytes = socket_receive(socket, in + got, LENGTH - got, SECOND_NS);

		assert_true(bytes > 0);
		got += (uint32_t)bytes;
	}
	assert_int_equal(got, length);
	assert_memory_equal(in, out, length);
}

static void echoes(void **state)
{
	static const uint64_t variants[] = {0, FEATURE(F_RING_PACKED), FEATURE(F_EVENT_IDX) | FEATURE(F_IN_ORDER)};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(variants); i++) {
		struct swdev *dev = plug(variants[i / 2]);
		uint64_t free = page_count_free();
		struct socket *socket = connect(types[i % 2], VSOCK_ECHO_PORT);

		assert_int_equal(socket->peer_cid, SOCKET_HOST);
		for (uint32_t length = 1; length < 2 * SPACE; length = length * 3 + 1) {
			assert_int_equal(socket_send(socket, out, length, false, SECOND_NS), 0);
			receive_all(socket, length);
		}
		socket_close(socket);
		loop_sleep(MOMENT_NS);
		assert_int_equal(swdev_vsock_state(dev)->shutdowns, 1);
		assert_int_equal(page_count_free(), free);
		unplug(dev);
	}
}

static void refused(void **state)
{
	struct swdev *dev = plug(0);
	uint64_t free = page_count_free();
	struct socket *socket;

	(void)state;
	assert_int_equal(socket_connect(socket_find(NULL), SOCKET_STREAM, SOCKET_HOST, 1, SECOND_NS, &socket), -ECONNREFUSED);
	assert_int_equal(socket_connect(socket_find(NULL), SOCKET_STREAM, 3, VSOCK_ECHO_PORT, SECOND_NS, &socket), -ETIMEDOUT);
	swdev_vsock_state(dev)->silent = true;
	assert_int_equal(socket_connect(socket_find(NULL), SOCKET_STREAM, SOCKET_HOST, 7, SECOND_NS, &socket), -ETIMEDOUT);
	loop_sleep(MOMENT_NS);
	assert_int_equal(swdev_vsock_state(dev)->resets, 2); /* of what was given up */
	assert_int_equal(page_count_free(), free);
	unplug(dev);
}

/* "Buffer Space Management": both ways, and nobody asks for credit all the time. */
static void credit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct swdev *dev = plug(0);
		struct swdev_vsock *host = swdev_vsock_state(dev);
		struct socket *socket = connect(types[i], VSOCK_SINK_PORT);
		struct swdev_flow *flow = swdev_vsock_flow(dev, VSOCK_SINK_PORT, 0);

		assert_int_equal(socket_send(socket, out, SPACE, false, SECOND_NS), 0);
		assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -ETIMEDOUT);
		assert_int_equal(flow->received, SPACE);
		assert_memory_equal(flow->bytes, out, SPACE);
		assert_int_equal(host->credit_requests, 1);
		swdev_vsock_drain(dev, flow, 1000);
		assert_int_equal(socket_send(socket, out, 1000, false, SECOND_NS), 0);
		assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -ETIMEDOUT);
		assert_int_equal(host->credit_requests, 2);
		socket_close(socket);
		unplug(dev);
	}
}

static void own_space(void **state)
{
	struct swdev *dev = plug(0);
	struct socket *socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT);
	uint32_t sent = 0;
	int64_t bytes;

	(void)state;
	for (unsigned refused_turns = 0; refused_turns < 3;) {
		loop_sleep(MOMENT_NS);
		bytes = socket->ops->send(socket, out + sent, 1000, false);
		refused_turns = bytes > 0 ? 0 : refused_turns + 1;
		sent += bytes > 0 ? (uint32_t)bytes : 0;
	}
	assert_int_equal(sent, RING + SPACE);
	assert_int_equal(swdev_vsock_flow(dev, VSOCK_ECHO_PORT, 0)->sent, RING);
	receive_all(socket, sent);
	assert_true(swdev_vsock_state(dev)->credit_updates > 0);
	assert_int_equal(socket_receive(socket, in, 1, 0), -ETIMEDOUT);
	socket_close(socket);
	unplug(dev);
}

static void messages(void **state)
{
	static const uint32_t lengths[] = {1, 2, 100, 4052, 4053, 10000};
	struct swdev *dev = plug(0);
	struct socket *socket = connect(SOCKET_SEQPACKET, VSOCK_ECHO_PORT);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
		assert_int_equal(socket_send(socket, out + i, lengths[i], i % 2, SECOND_NS), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (lengths[i] > 1)
			assert_int_equal(socket_receive(socket, in, lengths[i] - 1, SECOND_NS), -EMSGSIZE);
		assert_int_equal(socket_receive(socket, in, LENGTH, SECOND_NS), lengths[i]);
		assert_memory_equal(in, out + i, lengths[i]);
		assert_int_equal(socket->record_ended, i % 2);
	}
	assert_int_equal(socket_receive(socket, in, LENGTH, 0), -ETIMEDOUT);
	/* the end of a message may be a packet of its own; a message of nothing is none */
	swdev_vsock_say(dev, swdev_vsock_flow(dev, VSOCK_ECHO_PORT, 0), VSOCK_RW, 0, out, 10);
	loop_sleep(MOMENT_NS);
	assert_int_equal(socket_receive(socket, in, LENGTH, 0), -ETIMEDOUT);
	for (unsigned i = 0; i < 3; i++)
		swdev_vsock_say(dev, swdev_vsock_flow(dev, VSOCK_ECHO_PORT, 0), VSOCK_RW, 1, out, 0);
	loop_sleep(MOMENT_NS);
	assert_int_equal(socket_receive(socket, in, LENGTH, 0), 10);
	assert_int_equal(socket_receive(socket, in, LENGTH, 0), -ETIMEDOUT);
	socket_close(socket);
	unplug(dev);
}

static void listens(void **state)
{
	struct swdev *dev = plug(0);
	uint64_t free = page_count_free();
	struct socket *listener, *another, *sockets[20];

	(void)state;
	assert_int_equal(socket_listen(socket_find(NULL), SOCKET_STREAM, 5000, &listener), 0);
	assert_int_equal(socket_listen(socket_find(NULL), SOCKET_STREAM, 5000, &another), -EADDRINUSE);
	assert_int_equal(socket_listen(socket_find(NULL), SOCKET_SEQPACKET, 5000, &another), 0);
	assert_int_equal(socket_accept(listener, SECOND_NS, &sockets[0]), -ETIMEDOUT);
	for (unsigned i = 0; i < 20; i++)
		swdev_vsock_call(dev, SOCKET_STREAM, 1000 + i, 5000);
	swdev_vsock_call(dev, SOCKET_STREAM, 999, 5001);
	loop_sleep(MOMENT_NS);
	assert_int_equal(swdev_vsock_state(dev)->resets, 5); /* 16 may wait, and nobody listens at 5001 */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(socket_accept(listener, SECOND_NS, &sockets[i]), 0);
		assert_int_equal(sockets[i]->peer_port, 1000 + i);
		assert_int_equal(socket_send(sockets[i], out, 3000, false, SECOND_NS), 0);
		receive_all(sockets[i], 3000);
	}
	socket_close(listener); /* those that wait are reset */
	loop_sleep(MOMENT_NS);
	assert_int_equal(swdev_vsock_state(dev)->resets, 5 + 13);
	receive_all(sockets[2], 0);
	for (unsigned i = 0; i < 3; i++)
		socket_close(sockets[i]);
	socket_close(another);
	loop_sleep(MOMENT_NS);
	assert_int_equal(page_count_free(), free);
	unplug(dev);
}

static void ends(void **state)
{
	struct swdev *dev = plug(0);
	struct swdev_vsock *host = swdev_vsock_state(dev);
	uint64_t free = page_count_free();
	struct socket *socket = connect(SOCKET_STREAM, VSOCK_SINK_PORT);
	struct swdev_flow *flow = swdev_vsock_flow(dev, VSOCK_SINK_PORT, 0);

	(void)state;
	/* the host sends no more: what came is read yet, and we may send */
	swdev_vsock_say(dev, flow, VSOCK_RW, 0, out, 100);
	swdev_vsock_say(dev, flow, VSOCK_SHUTDOWN, 2, NULL, 0);
	loop_sleep(MOMENT_NS);
	receive_all(socket, 100);
	assert_int_equal(socket_receive(socket, in, 1, SECOND_NS), 0);
	assert_int_equal(socket_send(socket, out, 100, false, SECOND_NS), 0);
	/* and then receives no more: the clean disconnect is ours to confirm. Bits once set stay set. */
	swdev_vsock_say(dev, flow, VSOCK_SHUTDOWN, 1, NULL, 0);
	loop_sleep(MOMENT_NS);
	assert_int_equal(socket->state, SOCKET_CLOSED);
	assert_int_equal(host->resets, 1);
	assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -EPIPE);
	socket_close(socket);

	/* we send no more */
	socket = connect(SOCKET_STREAM, VSOCK_SINK_PORT);
	flow = swdev_vsock_flow(dev, VSOCK_SINK_PORT, 0);
	socket_shutdown(socket, true, false);
	socket_shutdown(socket, true, false);
	loop_sleep(MOMENT_NS);
	assert_int_equal(flow->shut, 2);
	assert_int_equal(host->shutdowns, 1);
	assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -EPIPE);
	/* the host cuts it off */
	swdev_vsock_say(dev, flow, VSOCK_RW, 0, out, 100);
	swdev_vsock_say(dev, flow, VSOCK_RST, 0, NULL, 0);
	loop_sleep(MOMENT_NS);
	receive_all(socket, 100);
	assert_int_equal(socket_receive(socket, in, 1, SECOND_NS), -ECONNRESET);
	socket_close(socket);

	/* it does not confirm the end: a reset after a while */
	socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT);
	host->silent = true;
	host->resets = 0;
	socket_close(socket);
	loop_sleep(7 * SECOND_NS);
	assert_int_equal(host->resets, 0);
	loop_sleep(2 * SECOND_NS);
	assert_int_equal(host->resets, 1);
	assert_int_equal(page_count_free(), free);
	unplug(dev);
}

/* "Device Events" */
static void transport_reset(void **state)
{
	struct swdev *dev = plug(0);
	struct socket *socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT), *listener, *accepted;

	(void)state;
	assert_int_equal(socket_listen(socket_find(NULL), SOCKET_STREAM, 5000, &listener), 0);
	assert_int_equal(socket_find(NULL)->cid, VSOCK_CID);
	for (uint64_t cid = 100; cid < 120; cid++) {
		swdev_vsock_move(dev, cid);
		loop_sleep(MOMENT_NS);
		assert_int_equal(socket_find(NULL)->cid, cid);
		assert_int_equal(socket_receive(socket, in, 1, SECOND_NS), -ECONNRESET);
		socket_close(socket);
		swdev_vsock_call(dev, SOCKET_STREAM, 1000, 5000);
		assert_int_equal(socket_accept(listener, SECOND_NS, &accepted), 0);
		assert_int_equal(socket_send(accepted, out, 3000, false, SECOND_NS), 0);
		receive_all(accepted, 3000);
		socket_close(accepted);
		socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT); /* by the new cid, or the host complains */
	}
	socket_close(socket);
	socket_close(listener);
	unplug(dev);
}

static void reset_and_removal(void **state)
{
	struct swdev *dev = plug(0);
	struct device_info *info = &dev->vdev->info;
	struct socket *socket = connect(SOCKET_STREAM, VSOCK_SINK_PORT), *listener, *child, *another;

	(void)state;
	assert_int_equal(socket_listen(socket_find(NULL), SOCKET_STREAM, 5000, &listener), 0);
	assert_int_equal(info->reset(info), 0);
	assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -ECONNRESET);
	socket_close(socket);
	swdev_vsock_call(dev, SOCKET_STREAM, 1000, 5000);
	assert_int_equal(socket_accept(listener, SECOND_NS, &child), 0);
	swdev_vsock_call(dev, SOCKET_STREAM, 1001, 5000); /* never accepted */
	socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT);
	unplug(dev);
	assert_int_equal(socket_send(socket, out, 1, false, SECOND_NS), -ECONNRESET);
	assert_int_equal(socket_receive(child, out, 1, SECOND_NS), -ECONNRESET);
	assert_int_equal(socket_accept(listener, SECOND_NS, &another), -ENODEV);
	socket_shutdown(socket, true, true);
	socket_close(socket);
	socket_close(child);
	socket_close(listener);
}

static void each_queue_reset(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct swdev *dev = plug(FEATURE(F_RING_RESET) | (packed ? FEATURE(F_RING_PACKED) : 0));
		struct socket *socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT);
		struct device_info *info = &dev->vdev->info;

		for (unsigned queue = 0; queue < 3; queue++) {
			assert_int_equal(info->reset_queue(info, queue), 0);
			assert_int_equal(socket_send(socket, out, 10000, false, SECOND_NS), 0);
			receive_all(socket, 10000);
		}
		/* what was under way may have been taken or not: that connection ends, others go on */
		assert_int_equal(socket->ops->send(socket, out, 100, false), 100);
		assert_int_equal(info->reset_queue(info, 1), 0);
		assert_int_equal(socket_receive(socket, in, 1, SECOND_NS), -ECONNRESET);
		socket_close(socket);
		socket = connect(SOCKET_STREAM, VSOCK_ECHO_PORT);
		swdev_vsock_move(dev, 77);
		loop_sleep(MOMENT_NS);
		assert_int_equal(socket_find(NULL)->cid, 77);
		socket_close(socket);
		unplug(dev);
	}
}

/* "Virtqueue Flow Control" */
static void full_tx(void **state)
{
	struct swdev *dev = plug(0);
	struct socket *socket = connect(SOCKET_STREAM, VSOCK_SINK_PORT);
	struct swdev_flow *flow = swdev_vsock_flow(dev, VSOCK_SINK_PORT, 0);
	struct swdev_chain *chain;
	uint64_t seen;

	(void)state;
	swdev_vsock_state(dev)->hoards = true;
	for (unsigned i = 0; i < 32 + 60; i++)
		swdev_vsock_raw(dev, SOCKET_HOST, VSOCK_CID, 1, i, 1, VSOCK_REQUEST, 0);
	swdev_vsock_say(dev, flow, VSOCK_RW, 0, out, 100);
	loop_sleep(MOMENT_NS);
	receive_all(socket, 100);
	/* there is an end to it */
	for (unsigned i = 0; i < 1000; i++)
		swdev_vsock_raw(dev, SOCKET_HOST, VSOCK_CID, 1, i, 1, VSOCK_REQUEST, 0);
	loop_sleep(MOMENT_NS);
	seen = dev->queues[0].buffers_used;
	loop_sleep(MOMENT_NS);
	assert_int_equal(dev->queues[0].buffers_used, seen);
	assert_non_null(swdev_vsock_state(dev)->outbox);
	/* but not for ever */
	swdev_vsock_state(dev)->hoards = false;
	while ((chain = swdev_take_held(&dev->queues[1])))
		swdev_complete(chain, 0);
	loop_sleep(100 * MOMENT_NS);
	assert_null(swdev_vsock_state(dev)->outbox);
	assert_int_equal(swdev_vsock_state(dev)->resets, 1000 + 60);
	socket_close(socket);
	unplug(dev);
}

/* "Feature bits" */
static void kinds(void **state)
{
	static const struct {
		uint64_t offered;
		bool stream, seqpacket;
	} cases[] = {
		{0, true, false},     {1, true, false},     {2, true, true}, {3, true, true},
		{2 | 4, false, true}, {1 | 4, true, false}, {7, true, true}, {4, false, false},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swdev *dev = swdev_new(&swdev_vsock);
		struct socket *socket;

		dev->offered = (dev->offered & ~UINT64_C(7)) | cases[i].offered;
		host_console_capture(true);
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_int_equal(dev->accepted & 7, cases[i].offered);
		for (unsigned k = 0; k < 2; k++) {
			bool there = k ? cases[i].seqpacket : cases[i].stream;
			int error = socket_connect(socket_find(NULL), types[k], SOCKET_HOST, VSOCK_ECHO_PORT, SECOND_NS, &socket);

			assert_int_equal(error, there ? 0 : -ENOTSUP);
			if (!error)
				socket_close(socket);
			/* "Receive and Transmit": RST is the reply to a type that it does not know */
			swdev_vsock_state(dev)->resets = 0;
			swdev_vsock_raw(dev, SOCKET_HOST, VSOCK_CID, 1, 2, 77, VSOCK_RW, 0);
			loop_sleep(MOMENT_NS);
			assert_int_equal(swdev_vsock_state(dev)->resets, 1);
		}
		unplug(dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echoes),
		cmocka_unit_test(refused),
		cmocka_unit_test(credit),
		cmocka_unit_test(own_space),
		cmocka_unit_test(messages),
		cmocka_unit_test(listens),
		cmocka_unit_test(ends),
		cmocka_unit_test(transport_reset),
		cmocka_unit_test(reset_and_removal),
		cmocka_unit_test(each_queue_reset),
		cmocka_unit_test(full_tx),
		cmocka_unit_test(kinds),
	};

	swdev_machine(64u << 20);
	for (unsigned i = 0; i < LENGTH; i++)
		out[i] = (uint8_t)(i * 0x9e3779b1u >> 21);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
