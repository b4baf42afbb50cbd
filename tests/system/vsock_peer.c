/*
 * The first process of a Linux guest that is the host of another machine: it loads vhost_vsock, gives back on two ports of its sockets what it
 * is sent there (streams on PORT, messages on PORT + 1), and runs the program whose words are the lines of /command. When that has ended, and
 * only then, as it prints byte by byte, it says what came by each connection; the program's exit status becomes that of the whole machine,
 * by its isa-debug-exit port.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PORT 5000u
#define DEBUG_EXIT 0xf4
#define WORDS_MAX 64u
#define PASSED 33 /* Vireo's, by the debug exit of its own machine */

static int reports[2]; /* a pipe: what the children have to say */

static void end(int status)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO); /* what the serial port has not sent is lost with QEMU */
	if (ioperm(DEBUG_EXIT, 1, 1) == 0)
		outb((unsigned char)(status >> 1), DEBUG_EXIT);
	for (;;)
		pause();
}

static void fail(const char *what)
{
	printf("peer: %s: %s\n", what, strerror(errno));
	end(1);
}

static void load(void)
{
	static const char *const names[] = {"vsock", "vmw_vsock_virtio_transport_common", "vhost_iotlb", "vhost", "vhost_vsock"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/modules/%s.ko", names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			fail(names[i]);
		close(fd);
	}
}

/* One connection, to its end; the sum is that of Adler-32. */
static void echo(int fd, const char *name)
{
	static uint8_t memory[1 << 16];
	uint32_t low = 1, high = 0;
	uint64_t total = 0, pieces = 0;
	ssize_t bytes;

	while ((bytes = recv(fd, memory, sizeof(memory), 0)) > 0) {
		for (ssize_t i = 0; i < bytes; i++) {
			low = (low + memory[i]) % 65521;
			high = (high + low) % 65521;
		}
		total += (uint64_t)bytes;
		pieces++;
		for (ssize_t at = 0, sent; at < bytes; at += sent)
			if ((sent = send(fd, memory + at, (size_t)(bytes - at), MSG_NOSIGNAL)) < 0)
				return;
	}
	dprintf(reports[1], "peer: %s: %llu bytes in %llu, sum %08x, %s\n", name, (unsigned long long)total,
	        (unsigned long long)pieces, high << 16 | low, bytes ? strerror(errno) : "shut down");
}

/* In a process of its own that ends with its only connection. */
static pid_t listen_for(int type, unsigned port, const char *name)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int fd = socket(AF_VSOCK, type, 0);
	pid_t pid;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1))
		fail(name);
	pid = fork();
	if (pid) {
		close(fd);
		return pid;
	}
	fd = accept(fd, NULL, NULL);
	if (fd >= 0)
		echo(fd, name);
	_exit(0);
}

static int run(void)
{
	static char text[4096];
	char *words[WORDS_MAX + 1] = {NULL}, *line, *rest = text;
	int fd = open("/command", O_RDONLY | O_CLOEXEC), status;
	pid_t pid;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		fail("/command");
	for (unsigned i = 0; i < WORDS_MAX && (line = strsep(&rest, "\n")); i++)
		words[i] = line;
	pid = fork();
	if (!pid) {
		close(STDIN_FILENO);
		open("/dev/null", O_RDONLY);
		execv(words[0], words);
		fail(words[0]);
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0xff;
}

int main(void)
{
	pid_t children[2];
	char text[512];
	ssize_t bytes;
	int status;

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("dev", "/dev", "devtmpfs", 0, NULL) || pipe2(reports, O_CLOEXEC))
		fail("start");
	load();
	children[0] = listen_for(SOCK_STREAM, PORT, "stream");
	children[1] = listen_for(SOCK_SEQPACKET, PORT + 1, "messages");
	status = run();
	for (unsigned i = 0; i < 2; i++) {
		if (status != PASSED) /* it may wait for a connection that never comes */
			kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	close(reports[1]);
	while ((bytes = read(reports[0], text, sizeof(text))) > 0)
		if (write(STDOUT_FILENO, text, (size_t)bytes) != bytes)
			break;
	end(status);
}
