/* SPDX-License-Identifier: MIT */
/*
 * A message of the restorer, received so that its death cannot lose it: see struct lz_inbox. The
 * kernel writes bytes and descriptors in one system call, into memory that a successor sees. A
 * userfaultfd stays in the socket too until it is noted: that outlives both keeper and worker where
 * a service manager has it, and what is in their descriptor table does not.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tool/session.h"

/*
 * No pid and no magic is 0. The byte with a userfaultfd is: there it is the descriptor that tells.
 * The sender's credentials do not, which the kernel writes where there was nothing to receive, too.
 */
static bool is_there(struct lz_inbox *in)
{
	struct lz_parcel p;

	lz_parcel_open(&in->control, &p);
	return in->what.pid || p.uffd >= 0;
}

int lz_inbox_receive(struct lz_inbox *in, uint32_t number, int fd, size_t len, int flags)
{
	struct iovec io = { .iov_base = &in->what, .iov_len = len };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = in->control.bytes,
			    .msg_controllen = sizeof(in->control.bytes) };
	ssize_t n;

	if (in->number == number + 1 && is_there(in))
		return 1;
	/* Zeroed for this message, and then said so: what is there of the one before is never taken
	 * for it. It also brings the page in: a fault within recvmsg() could be interrupted. */
	memset(&in->what, 0, sizeof(in->what));
	memset(&in->control, 0, sizeof(in->control));
	__atomic_store_n(&in->number, number + 1, __ATOMIC_RELEASE);
	n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | flags);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -ECONNRESET;
	return (size_t)n == len ? 1 : -EPROTO;
}

/* The descriptors that come with it are not taken a second time where there is no room for them. */
void lz_inbox_drop_parcel(int fd)
{
	char what[sizeof(int32_t)];

	/* The kernel ends a peek behind a message with descriptors: a pid would be longer. */
	if (recv(fd, what, sizeof(what), MSG_PEEK | MSG_DONTWAIT) == 1)
		(void)recv(fd, what, 1, MSG_DONTWAIT);
}

void lz_inbox_lose_descriptors(struct lz_inbox *in, uint32_t number)
{
	struct lz_parcel p;

	if (in->number == number + 1) {
		lz_parcel_open(&in->control, &p);
		lz_store_drop(p.uffd, "task");
		lz_store_drop(p.pidfd, "task");
		lz_parcel_close(&in->control);
	}
	memset(&in->control, 0, sizeof(in->control));
}
