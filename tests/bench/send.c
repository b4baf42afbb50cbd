/*
 * Sends frames to QEMU's datagram network, one datagram each, as fast as it takes them, until it closes: send PATH
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FRAME 60
#define BATCH 64

int main(int argc, char **argv)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	unsigned char frame[FRAME] = "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x88\xb5";
	struct iovec vector = {frame, sizeof(frame)};
	struct mmsghdr messages[BATCH];
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(to.sun_path))
		return 2;
	strcpy(to.sun_path, argv[1]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror(argv[1]);
		return 1;
	}
	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vector, .msg_iovlen = 1};
	while (sendmmsg(fd, messages, BATCH, 0) > 0 || errno == EINTR)
		;
	return 0;
}
