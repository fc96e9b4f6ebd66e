/* SPDX-License-Identifier: MIT */
/* What of a file is in the page cache, and how the kernel is to bring in what is not. */
#include "iouring/cached.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif
/* Pages asked about in one mincore(). */
enum { VEC_PAGES = 256 };

/*
 * Not by cachestat(), which is quicker: it counts pages whose read is under way, and a copy of
 * those waits for the disk.
 */
uint64_t lz_cached_until(int fd, uint64_t page, uint8_t *map, uint64_t from, uint64_t to)
{
	uint64_t end = from & ~(page - 1);
	unsigned char vec[VEC_PAGES];
	struct stat st;
	bool whole = true;

	while (whole && end < to) {
		uint64_t len = to - end < VEC_PAGES * page ? to - end : VEC_PAGES * page;
		uint64_t pages = (len + page - 1) / page, n = 0;

		if (mincore(map + end, len, vec) < 0)
			return from;
		while (n < pages && vec[n] & 1)
			n++;
		whole = n == pages;
		end += n * page;
	}
	/* The page that the file ends in by now is resident, and zero from there on. */
	if (fstat(fd, &st) < 0)
		return from;
	return (uint64_t)st.st_size < end ? (uint64_t)st.st_size : end;
}

/* -errno: this kernel does not know. */
static int has_all(int fd, uint64_t page, uint64_t from, uint64_t to)
{
	uint64_t range[2] = { from, to - from }; /* struct cachestat_range */
	uint64_t have[5];                        /* struct cachestat: in the cache, dirty, ... */

	if (syscall(SYS_cachestat, fd, range, have, 0))
		return -errno;
	return have[0] == (to - from + page - 1) / page;
}

bool lz_cached_holds(int fd, uint64_t page, uint64_t from, uint64_t to)
{
	return has_all(fd, page, from, to) > 0;
}

/* To say no for a block of 2 MiB, mincore() takes a thirtieth of its copy. */
bool lz_cached_comes(int fd, uint64_t page, uint8_t *map, uint64_t from, uint64_t to)
{
	int all = has_all(fd, page, from, to);

	return all < 0 ? lz_cached_until(fd, page, map, from, to) == to : all;
}

/*
 * From Linux 5.18 on who touches what is not there then gets 2 MiB, as one page where the file
 * system has such, and nothing beyond. Without that the kernel reads ahead, as much as the device
 * is set to, and a fault has to wait for all of it. Older ones would read page by page.
 */
void lz_cached_want_huge(uint8_t *map, uint64_t len)
{
	unsigned major, minor;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2 || major < 5 ||
	    (major == 5 && minor < 18))
		return;
	if (!madvise(map, len, MADV_HUGEPAGE))
		(void)madvise(map, len, MADV_RANDOM);
}
