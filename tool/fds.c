/* SPDX-License-Identifier: MIT */
/* The walk of fds.h. */
#include "tool/fds.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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
