/*
 * Sends frames to QEMU's datagram network, one datagram each, as fast as it takes them, until it closes: send PATH
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FRAME 60
#define NUMBER 14 /* where a frame has its number, little-endian, counting up: what is lost on the way shows */
#define BATCH 64

int main(int argc, char **argv)
{
	static const unsigned char header[NUMBER] = "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x88\xb5";
	static unsigned char frames[BATCH][FRAME];
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	unsigned number = 0;

	if (argc != 2 || strlen(argv[1]) >= sizeof(to.sun_path))
		return 2;
	strcpy(to.sun_path, argv[1]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror(argv[1]);
		return 1;
	}
	for (unsigned i = 0; i < BATCH; i++) {
		memcpy(frames[i], header, sizeof(header));
		vectors[i] = (struct iovec){frames[i], FRAME};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	for (;;) {
		for (unsigned i = 0; i < BATCH; i++)
			for (unsigned byte = 0; byte < 4; byte++)
				frames[i][NUMBER + byte] = (unsigned char)((number + i) >> 8 * byte);

		int sent = sendmmsg(fd, messages, BATCH, 0);

		if (sent < 0 && errno != EINTR)
			return 0;
		number += sent > 0 ? (unsigned)sent : 0;
	}
}
