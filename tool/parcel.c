/* SPDX-License-Identifier: MIT */
/* The reading of parcel.h. */
#include "tool/parcel.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* How much of it the kernel has filled died with who received it: zeroes end it. */
static struct cmsghdr *next(struct lz_control *control, struct cmsghdr *c)
{
	struct msghdr h = { .msg_control = control->bytes,
			    .msg_controllen = sizeof(control->bytes) };

	c = c ? CMSG_NXTHDR(&h, c) : CMSG_FIRSTHDR(&h);
	return c && c->cmsg_len >= CMSG_LEN(0) ? c : NULL;
}

static int descriptor(const struct cmsghdr *c, size_t n)
{
	int fd = -1;

	if (c->cmsg_level == SOL_SOCKET && CMSG_LEN((n + 1) * sizeof(fd)) <= c->cmsg_len &&
	    (c->cmsg_type == SCM_PIDFD || c->cmsg_type == SCM_RIGHTS))
		memcpy(&fd, CMSG_DATA(c) + n * sizeof(fd), sizeof(fd));
	return fd;
}

void lz_parcel_open(struct lz_control *control, struct lz_parcel *p)
{
	*p = (struct lz_parcel){ -1, -1, -1 };
	for (struct cmsghdr *c = next(control, NULL); c; c = next(control, c)) {
		struct ucred cred;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			p->pid = cred.pid;
		} else if (c->cmsg_type == SCM_PIDFD && p->pidfd < 0) {
			p->pidfd = descriptor(c, 0);
		} else if (c->cmsg_type == SCM_RIGHTS && p->uffd < 0) {
			p->uffd = descriptor(c, 0);
		}
	}
}

void lz_parcel_close_others(struct lz_control *control, const struct lz_parcel *p)
{
	for (struct cmsghdr *c = next(control, NULL); c; c = next(control, c)) {
		int fd;

		for (size_t n = 0; (fd = descriptor(c, n)) >= 0; n++)
			if (fd != p->uffd && fd != p->pidfd)
				(void)close(fd);
	}
}

void lz_parcel_close(struct lz_control *control)
{
	lz_parcel_close_others(control, &(struct lz_parcel){ -1, -1, -1 });
}

int lz_parcel_send(int sock, int fd, int flags)
{
	struct lz_control control = { 0 };
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = CMSG_SPACE(sizeof(fd)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_NOSIGNAL | flags) == 1 ? 0 : -errno;
}

int lz_parcel_receive(int sock)
{
	struct lz_control control = { 0 };
	struct lz_parcel p;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	lz_parcel_open(&control, &p);
	lz_parcel_close_others(&control, &p);
	return p.uffd >= 0 ? p.uffd : -EPROTO;
}
