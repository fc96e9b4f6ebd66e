/* SPDX-License-Identifier: MIT */
/* The ioctls of uffd.h. */
#include "uffd/uffd.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Debian 12's header is Linux 6.1's; POISON came with 6.6. */
#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

static int call(int fd, unsigned long what, void *arg)
{
	return ioctl(fd, what, arg) ? -errno : 0;
}

/* @done: the field in which the kernel says how far it came, or why it did not begin. */
static int64_t outcome(int r, int64_t done)
{
	if (!r || done > 0)
		return done;
	return done < 0 ? done : r;
}

int64_t lz_uffd_copy(int fd, struct lz_range dst, const void *src)
{
	struct uffdio_copy c = { .dst = dst.start,
				 .src = (uintptr_t)src,
				 .len = lz_range_len(dst) };
	int r = call(fd, UFFDIO_COPY, &c);

	return outcome(r, c.copy);
}

int64_t lz_uffd_zero(int fd, struct lz_range dst)
{
	struct uffdio_zeropage z = { .range = { dst.start, lz_range_len(dst) } };
	int r = call(fd, UFFDIO_ZEROPAGE, &z);

	return outcome(r, z.zeropage);
}

int64_t lz_uffd_continue(int fd, struct lz_range dst)
{
	struct uffdio_continue c = { .range = { dst.start, lz_range_len(dst) } };
	int r = call(fd, UFFDIO_CONTINUE, &c);

	return outcome(r, c.mapped);
}

int64_t lz_uffd_poison(int fd, struct lz_range dst)
{
	struct uffdio_poison p = { .range = { dst.start, lz_range_len(dst) } };
	int r = call(fd, UFFDIO_POISON, &p);

	return outcome(r, p.updated);
}

/* Without a waiter in it a range costs nothing, so "everywhere" is one call; but it must end where
 * the architecture's user addresses end. */
static int wake_everywhere(int fd)
{
	static const unsigned BITS[] = { 56, 52, 48, 47 };
	const uint64_t start = 0x10000; /* mmap_min_addr as everybody sets it */
	int r = -EINVAL;

	for (size_t i = 0; r == -EINVAL && i < sizeof(BITS) / sizeof(BITS[0]); i++) {
		struct uffdio_range u = { start, (UINT64_C(1) << BITS[i]) - 4096 - start };

		r = call(fd, UFFDIO_WAKE, &u);
	}
	return r;
}

int lz_uffd_wake(int fd, struct lz_range dst)
{
	struct uffdio_range r = { dst.start, lz_range_len(dst) };

	return dst.end == UINT64_MAX ? wake_everywhere(fd) : call(fd, UFFDIO_WAKE, &r);
}

int lz_uffd_unregister(int fd, struct lz_range range)
{
	struct uffdio_range r = { range.start, lz_range_len(range) };

	return call(fd, UFFDIO_UNREGISTER, &r);
}

bool lz_uffd_is_dead(int fd, uint64_t spare)
{
	int64_t r = lz_uffd_zero(fd, (struct lz_range){ spare, spare + 4096 });

	return r == -ESRCH || r == -ENOSPC;
}

bool lz_uffd_is_changing(int fd)
{
	/* Asked before all else; then there is nothing at either address. */
	return lz_uffd_copy(fd, (struct lz_range){ 0x10000, 0x11000 }, NULL) == -EAGAIN;
}

bool lz_uffd_is_ready(int fd)
{
	/* To wake nobody, or who then asks again. */
	return !lz_uffd_wake(fd, (struct lz_range){ 0x10000, 0x11000 });
}

bool lz_uffd_is_one(int fd)
{
	char path[64], link[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, "anon_inode:[userfaultfd]") == 0;
}
