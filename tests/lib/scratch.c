/* SPDX-License-Identifier: MIT */
/* What unit suites want from the system. Not for programs without check. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iouring/ring.h"
#include "tests/lib/scratch.h"

int scratch_open(char *dir)
{
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

void scratch_close(const char *dir, int dirfd)
{
	char command[64];

	(void)close(dirfd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

bool scratch_has_ring(void)
{
	struct lz_ring ring;
	int r = lz_ring_open(&ring, 8);

	if (r) {
		printf("skipped: io_uring: %s\n", strerror(-r));
		return false;
	}
	lz_ring_close(&ring);
	return true;
}

uint64_t scratch_mapped_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long shared = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*u %*u %lu", &shared), 1);
	fclose(f);
	return shared * 4096;
}
