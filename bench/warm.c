/* SPDX-License-Identifier: MIT */
/*
 * warm MiB: writes to so much memory, half of what is free at most, and gives it back. A guest that
 * reports its free pages to the host (CONFIG_PAGE_REPORTING) gets them back one fault of the host
 * at a time, 2 s a GiB measured, counted as its own CPU time; what was freed last is given out
 * first, and is still there. Then the guest reports, which is work as well: not before each run.
 */
#define _GNU_SOURCE 1
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"

int main(int argc, char **argv)
{
	size_t len = (size_t)lz_bench_number(argc > 1 ? argv[1] : "", 1, 1 << 20) << 20;
	size_t half = (size_t)sysconf(_SC_AVPHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *at;

	len = len < half ? len : half;
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		lz_bench_die("mmap");
	/* What is reported, and so what is missing, are blocks of the size of huge pages. */
	(void)madvise(at, len, MADV_HUGEPAGE);
	for (size_t i = 0; i < len; i += LZ_BENCH_PAGE)
		((volatile uint8_t *)at)[i] = 1;
	return 0;
}
