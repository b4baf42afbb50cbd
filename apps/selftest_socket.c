/*
 * Sockets: a port where nobody listens refuses; with selftest.vsock=PORT the host gives back what it is sent there by stream, and by
 * messages at PORT + 1 (to Linux one port is of one type only).
 */
#include "selftest.h"

#include <errno.h>
#include <stdlib.h>

#include <base/tap.h>
#include <class/socket.h>

#include "pattern.h"

#define NOBODY 0xfffffff0u
#define PIECE 5000u
#define PIECES 64u

/* In step: no side is ahead of the other by more than a piece. */
static int echo(struct socket *socket, uint8_t *memory)
{
	uint64_t seed = selftest_option("seed", 1);

	for (uint64_t at = 0; at < PIECES * PIECE; at += PIECE) {
		uint32_t got = 0;
		int error;

		pattern_fill(seed, at, memory, PIECE);
		error = socket_send(socket, memory, PIECE, false, PATIENCE_NS);
		while (!error && got < PIECE) {
			int64_t bytes = socket_receive(socket, memory + got, PIECE - got, PATIENCE_NS);

			if (bytes <= 0)
				return bytes ? (int)bytes : -EIO;
			got += (uint32_t)bytes;
		}
		if (error || pattern_check(seed, at, memory, PIECE) != PIECE)
			return error ? error : -EILSEQ;
	}
	return 0;
}

static void test_echo(const char *name, enum socket_type type, uint32_t port)
{
	struct socket_device *device = socket_find(name); /* it may be another one by now, or gone */
	struct socket *socket = NULL;
	uint8_t *memory;
	int error;

	if (!port || !device || !(type == SOCKET_STREAM ? device->stream : device->seqpacket))
		return;
	memory = malloc(PIECE);
	error = memory ? socket_connect(device, type, SOCKET_HOST, port, PATIENCE_NS, &socket) : -ENOMEM;
	if (!error)
		error = echo(socket, memory);
	if (!tap_ok(!error, "%s hears what it says to port %u by %s", name, port, type == SOCKET_STREAM ? "stream" : "messages"))
		tap_detail("error: %d", error);
	socket_close(socket);
	free(memory);
}

static void test_socket(const char *name)
{
	struct socket_device *device = socket_find(name);
	uint32_t port = (uint32_t)selftest_option("vsock", 0);
	struct socket *socket = NULL;
	int error;

	if (!device)
		return;
	error = socket_connect(device, device->stream ? SOCKET_STREAM : SOCKET_SEQPACKET, SOCKET_HOST, NOBODY, PATIENCE_NS,
	                       &socket);
	socket_close(error ? NULL : socket);
	if (!tap_ok(error == -ECONNREFUSED || error == -ECONNRESET, "%s is refused where nobody listens", name))
		tap_detail("error: %d", error);
	test_echo(name, SOCKET_STREAM, port);
	test_echo(name, SOCKET_SEQPACKET, port ? port + 1 : 0);
}

SELFTEST(socket, test_socket);
