/* SPDX-License-Identifier: MIT */
/*
 * A message of the restorer, received so that its death cannot lose it: see struct lz_inbox. The kernel
 * writes bytes and descriptors in one system call, into memory that a successor sees.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool/session.h"

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* How much of it the kernel has filled died with who received it: zeroes end it. */
static struct cmsghdr *next(struct lz_inbox *in, struct cmsghdr *c)
{
	struct msghdr h = { .msg_control = &in->control, .msg_controllen = sizeof(in->control) };

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

void lz_inbox_open(struct lz_inbox *in, struct lz_parcel *p)
{
	*p = (struct lz_parcel){ -1, -1, -1 };
	for (struct cmsghdr *c = next(in, NULL); c; c = next(in, c)) {
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

/*
 * No pid and no magic is 0. The byte with a userfaultfd is: there it is the descriptor that tells. The
 * sender's credentials do not, which the kernel writes where there was nothing to receive, too.
 */
static bool is_there(struct lz_inbox *in)
{
	struct lz_parcel p;

	lz_inbox_open(in, &p);
	return in->what.pid || p.uffd >= 0;
}

int lz_inbox_receive(struct lz_inbox *in, uint32_t number, int fd, size_t len)
{
	struct iovec io = { .iov_base = &in->what, .iov_len = len };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = &in->control,
			    .msg_controllen = sizeof(in->control) };
	ssize_t n;

	if (in->number == number + 1 && is_there(in))
		return 1;
	/* Zeroed for this message, and then said so: what is there of the one before is never taken
	 * for it. It also brings the page in: a fault within recvmsg() could be interrupted. */
	memset(&in->what, 0, sizeof(in->what));
	memset(&in->control, 0, sizeof(in->control));
	__atomic_store_n(&in->number, number + 1, __ATOMIC_RELEASE);
	n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -ECONNRESET;
	return (size_t)n == len ? 1 : -EPROTO;
}

void lz_inbox_close_others(struct lz_inbox *in, const struct lz_parcel *p)
{
	for (struct cmsghdr *c = next(in, NULL); c; c = next(in, c)) {
		int fd;

		for (size_t n = 0; (fd = descriptor(c, n)) >= 0; n++)
			if (fd != p->uffd && fd != p->pidfd)
				(void)close(fd);
	}
}
