/* SPDX-License-Identifier: MIT */
/*
 * restorer PID BASE PAGES: stands in for criu restore where there is no CRIU, or no root for it:
 * one process, restorer and task at once. In the work directory it hands the userfaultfd of an area
 * to the daemon in the way and with the messages of CRIU, and then compares every page of it with
 * what imagegen has put there. Says how it came by its userfaultfd, and how many pages were right.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/imagegen.h"
#include "tests/lib/restorer.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static void die(const char *what)
{
	printf("BAD %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The best to be had: of faults in the kernel too, and with word of forks. */
static int open_userfaultfd(void)
{
	const uint64_t layout = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
				UFFD_FEATURE_EVENT_UNMAP;
	struct uffdio_api api = { .api = UFFD_API, .features = layout | UFFD_FEATURE_EVENT_FORK };
	const int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = (int)syscall(SYS_userfaultfd, flags);

	printf("faults=%s", fd >= 0 ? "all" : "user-mode");
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		die("userfaultfd");
	if (!ioctl(fd, UFFDIO_API, &api)) {
		printf(" forks=told ");
		return fd;
	}
	/* One that was refused is of no use any more. */
	close(fd);
	fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	api = (struct uffdio_api){ .api = UFFD_API, .features = layout };
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		die("UFFDIO_API");
	printf(" forks=untold ");
	return fd;
}

/* @result of what was said to the daemon. */
static int must(const char *what, int result)
{
	errno = -result;
	if (result < 0)
		die(what);
	return result;
}

int main(int argc, char **argv)
{
	int32_t pid = argc == 4 ? atoi(argv[1]) : 0;
	uint64_t base = argc == 4 ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t nr = argc == 4 ? strtoull(argv[3], NULL, 0) : 0;
	struct uffdio_register reg = { .range = { base, nr * IMAGEGEN_PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint8_t *at = (uint8_t *)(uintptr_t)base;
	int sock, uffd;
	char byte;

	if (pid <= 0 || !base || !nr) {
		fputs("usage: restorer PID BASE PAGES\n", stderr);
		return 2;
	}
	if (mmap(at, reg.range.len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != at)
		die("mmap");
	uffd = open_userfaultfd();
	sock = must("lazy-pages.socket", restorer_connect());
	must("pid", restorer_say(sock, pid));
	must("userfaultfd", restorer_give(sock, uffd));
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER");
	close(uffd);
	must("finished", restorer_say(sock, RESTORER_FINISHED));
	/* It hangs up when it has heard that; one that died before leaves it unread. */
	if (read(sock, &byte, 1))
		die("hung up");
	close(sock);
	/* From behind, where the sweep comes last. */
	for (uint64_t n = nr; n-- > 0;)
		if (!imagegen_is((uint32_t)pid, base + n * IMAGEGEN_PAGE, at + n * IMAGEGEN_PAGE)) {
			printf("BAD page %llu\n", (unsigned long long)n);
			return 1;
		}
	printf("right=%llu\n", (unsigned long long)nr);
	return 0;
}
