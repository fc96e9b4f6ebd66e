/* SPDX-License-Identifier: MIT */
/*
 * restorer PID BASE PAGES [TASKS]: stands in for criu restore where there is no CRIU, or no root
 * for it: one process, restorer and task at once, and with TASKS others below it. In the work
 * directory each hands the userfaultfd of an area to the daemon in the way and with the messages of
 * CRIU, and compares every page of it with what imagegen has put there, when the restore is
 * finished. Says how it came by its userfaultfd, and how many pages were right.
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
#include <sys/wait.h>
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

/* What a task does: its userfaultfd to @sock, from itself, as the kernel tells the daemon. */
static void hand_over(int sock, int32_t pid, uint64_t base, uint64_t nr)
{
	struct uffdio_register reg = { .range = { base, nr * IMAGEGEN_PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *at = (void *)(uintptr_t)base;
	int uffd;

	if (mmap(at, reg.range.len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != at)
		die("mmap");
	uffd = open_userfaultfd();
	must("pid", restorer_say(sock, pid));
	must("userfaultfd", restorer_give(sock, uffd));
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER");
	close(uffd);
}

/* From behind, where the sweep comes last. */
static void compare(int32_t pid, uint64_t base, uint64_t nr)
{
	const uint8_t *at = (const uint8_t *)(uintptr_t)base;

	for (uint64_t n = nr; n-- > 0;)
		if (!imagegen_is((uint32_t)pid, base + n * IMAGEGEN_PAGE, at + n * IMAGEGEN_PAGE)) {
			printf("BAD page %llu of %d\n", (unsigned long long)n, (int)pid);
			exit(1);
		}
}

/* It hangs up when it has heard that; one that died before leaves it unread. */
static void finish(int sock)
{
	char byte;

	must("finished", restorer_say(sock, RESTORER_FINISHED));
	if (read(sock, &byte, 1))
		die("hung up");
}

/* Another task, which compares when a byte comes from @go; returns when it has handed over. */
static void other_task(int sock, const int go[2], int32_t pid, uint64_t base, uint64_t nr)
{
	int told[2];
	char byte;
	pid_t child;

	fflush(stdout);
	child = pipe(told) ? -1 : fork();
	if (child < 0)
		die("fork");
	if (!child) {
		close(told[0]);
		close(go[1]);
		hand_over(sock, pid, base, nr);
		close(sock);
		if (write(told[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			exit(1); /* there is no restore */
		compare(pid, base, nr);
		exit(0);
	}
	close(told[1]);
	if (read(told[0], &byte, 1) != 1)
		exit(1); /* it has said why */
	close(told[0]);
}

int main(int argc, char **argv)
{
	int32_t pid = argc >= 4 ? atoi(argv[1]) : 0;
	uint64_t base = argc >= 4 ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t nr = argc >= 4 ? strtoull(argv[3], NULL, 0) : 0;
	int tasks = argc == 5 ? atoi(argv[4]) : 1, status, sock, go[2];

	if (pid <= 0 || !base || !nr || tasks < 1 || argc > 5) {
		fputs("usage: restorer PID BASE PAGES [TASKS]\n", stderr);
		return 2;
	}
	sock = must("lazy-pages.socket", restorer_connect());
	if (pipe(go))
		die("pipe");
	for (int n = 1; n < tasks; n++)
		other_task(sock, go, pid + n, base, nr);
	hand_over(sock, pid, base, nr);
	finish(sock);
	close(sock);
	for (int n = 1; n < tasks; n++)
		if (write(go[1], "", 1) != 1)
			die("pipe");
	compare(pid, base, nr);
	for (int n = 1; n < tasks; n++)
		if (wait(&status) < 0 || status)
			return 1;
	printf("right=%llu\n", (unsigned long long)nr * (unsigned)tasks);
	return 0;
}
