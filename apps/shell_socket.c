/*
 * The shell's `vsock`.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <class/socket.h>

#define PATIENCE_NS UINT64_C(2000000000)

/* Connect, say the words, show what comes back. */
static void vsock(unsigned count, char **words)
{
	struct socket_device *device = socket_find(NULL);
	struct socket *socket = NULL;
	uint64_t cid = 0, port = 0;
	uint8_t bytes[256];
	int64_t got = 0;
	int error;

	if (count == 1 && device) {
		console_line("%s: cid %lu", device->node.name, device->cid);
		return;
	}
	if (count > 1 && count < 4) {
		shell_usage(words);
		return;
	}
	if (count > 1 &&
	    (!shell_number(words[1], "cid", 0, UINT32_MAX, &cid) || !shell_number(words[2], "port", 0, UINT32_MAX, &port)))
		return;
	error = device ? socket_connect(device, SOCKET_STREAM, cid, (uint32_t)port, PATIENCE_NS, &socket) : -ENODEV;
	for (unsigned i = 3; i < count && !error; i++) {
		error = socket_send(socket, words[i], (uint32_t)strlen(words[i]), false, PATIENCE_NS);
		if (!error)
			error = socket_send(socket, i + 1 < count ? " " : "\n", 1, false, PATIENCE_NS);
	}
	while (!error && (got = socket_receive(socket, bytes, sizeof(bytes), PATIENCE_NS)) > 0)
		shell_dump(0, bytes, (size_t)got);
	socket_close(socket);
	if (error)
		shell_error("vsock", "talk", error);
}

SHELL_COMMAND(vsock, "vsock [CID PORT TEXT...]", "say something to a socket of the host's", vsock, 0, SHELL_WORDS_MAX);
