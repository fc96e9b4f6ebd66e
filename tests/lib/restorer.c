/* SPDX-License-Identifier: MIT */
/* The restorer's side of CRIU's lazy-pages socket, a call a message. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/restorer.h"

int restorer_connect(void)
{
	const struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "lazy-pages.socket" };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (sock < 0)
		return -errno;
	if (!connect(sock, (const struct sockaddr *)&a, sizeof(a)))
		return sock;
	r = -errno;
	(void)close(sock);
	return r;
}

int restorer_say(int sock, int32_t value)
{
	return send(sock, &value, sizeof(value), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int restorer_give(int sock, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control = { .room = { 0 } };
	char zero = 0;
	struct iovec io = { .iov_base = &zero, .iov_len = 1 };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };

	control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS,
					 .cmsg_len = CMSG_LEN(sizeof(fd)) };
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(sock, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
