/* SPDX-License-Identifier: MIT */
/*
 * The handshake of the peer: a body with its regions, as the version it stands for writes one or as
 * given by hand, and the descriptors with it.
 */
#include "peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BODY_MAX = 65536 };

/* A body given by hand may say @0 for the address of region 0, and so on. */
static size_t body_by_hand(char *to)
{
	char *at = to;

	for (const char *c = o.body; *c && at < to + BODY_MAX - 32; c++) {
		if (*c == '@' && c[1] >= '0' && c[1] < '0' + (int)nr_regions)
			at += sprintf(at, "%llu",
				      (unsigned long long)(uintptr_t)region[*++c - '0'].at);
		else
			*at++ = *c;
	}
	return (size_t)(at - to);
}

static size_t body(char *to)
{
	size_t n = 0;

	if (o.body)
		return body_by_hand(to);
	to[n++] = '[';
	for (unsigned i = 0; i < nr_regions; i++) {
		n += (size_t)sprintf(
			to + n, "%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu",
			i ? "," : "", (unsigned long long)(uintptr_t)region[i].at,
			(unsigned long long)region[i].size, (unsigned long long)region[i].offset);
		if (!strcmp(o.api, "1.12"))
			n += (size_t)sprintf(to + n, ",\"page_size\":%llu",
					     (unsigned long long)page_size);
		if (strcmp(o.api, "1.1") != 0)
			n += (size_t)sprintf(to + n, ",\"page_size_kib\":%llu",
					     (unsigned long long)page_size);
		to[n++] = '}';
	}
	to[n++] = ']';
	return n;
}

int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		bad("connect to %s", path);
	return fd;
}

static void send_piece(int sock, const char *text, size_t len, const int *fds, unsigned nr)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE((EXTRA_MAX + 1) * sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec io = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1 };

	if (nr) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS,
						  .cmsg_len = CMSG_LEN(nr * sizeof(int)) };
		memcpy(CMSG_DATA(&control.align), fds, nr * sizeof(int));
	}
	if (sendmsg(sock, &h, MSG_NOSIGNAL) < 0 && !o.quiet)
		bad("sendmsg");
}

void shake_hands(int sock, int uffd)
{
	static char text[BODY_MAX];
	size_t len = body(text), piece = o.pieces ? o.pieces : len;
	int fds[EXTRA_MAX + 1] = { uffd };
	unsigned nr = strcmp(o.give, "none") != 0;

	if (!strcmp(o.give, "memfd"))
		fds[0] = memfd_create("not-a-userfaultfd", MFD_CLOEXEC);
	for (unsigned i = 0; i < o.extra; i++)
		fds[nr++] = memfd_create("guest-memory", MFD_CLOEXEC);
	die_at("connected");
	for (size_t at = 0; at < len; at += piece) {
		send_piece(sock, text + at, len - at < piece ? len - at : piece, fds, at ? 0 : nr);
		die_at(at ? "half" : "sent");
	}
	for (unsigned i = 1; i < nr; i++)
		(void)close(fds[i]);
	if (o.leaves)
		(void)close(sock);
}
