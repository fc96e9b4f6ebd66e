/* SPDX-License-Identifier: MIT */
/* The walk of fds.h. */
#include "tool/fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void lz_fds_raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

int lz_fds_each(void (*see)(void *arg, int fd, const char *link), void *arg)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		int fd = (int)strtol(e->d_name, NULL, 10);

		link[n < 0 ? 0 : n] = '\0';
		if (fd > 2 && fd != dirfd(d))
			see(arg, fd, link);
	}
	(void)closedir(d);
	return 0;
}

void lz_fds_reserve(int fd, unsigned more)
{
	int low = fcntl(fd, F_DUPFD_CLOEXEC, 3), high = -1;

	if (low < 0)
		return;
	/* EINVAL: above the limit. */
	for (; high < 0 && more; more /= 2)
		high = fcntl(fd, F_DUPFD_CLOEXEC, low + (int)more);
	if (high >= 0)
		(void)close(high);
	(void)close(low);
}

bool lz_fds_is_socket(int fd, const char *path, bool *listens)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a), size = sizeof(int);
	int accepts;

	if (getsockname(fd, (struct sockaddr *)&a, &len) || a.sun_family != AF_UNIX ||
	    strncmp(a.sun_path, path, sizeof(a.sun_path)) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size))
		return false;
	*listens = accepts;
	return true;
}

int lz_fds_check_uffd(int fd, uint64_t at, uint64_t len)
{
	struct uffdio_range r = { .start = at, .len = len };
	int flags = fcntl(fd, F_GETFL);

	/* To wake nobody: one whose API has not been agreed upon refuses that. */
	if (flags < 0 || ioctl(fd, UFFDIO_WAKE, &r))
		return -errno;
	return flags & O_NONBLOCK || !fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? 0 : -errno;
}

pid_t lz_fds_pid(int pidfd)
{
	char path[64], line[128];
	pid_t pid = -1;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	while (f && pid < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "Pid:", 4) == 0)
			pid = (pid_t)strtol(line + 4, NULL, 10);
	if (f)
		(void)fclose(f);
	return pid;
}
