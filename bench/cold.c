/* SPDX-License-Identifier: MIT */
/*
 * cold FILE...: takes files out of the page cache, and looks with mincore() whether they are. Fails
 * where a page stays: somebody has it mapped, or the file system keeps it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		uint64_t resident;

		if (fd < 0)
			lz_bench_die(argv[i]);
		resident = lz_bench_cool(fd);
		if (resident) {
			fprintf(stderr, "%s: %llu pages stay in the page cache\n", argv[i],
				(unsigned long long)resident);
			return 1;
		}
		close(fd);
	}
	return 0;
}
