/* SPDX-License-Identifier: MIT */
/*
 * The ceiling over the drain rate: UFFDIO_COPY of a whole memory out of the mapping of a resident
 * pages file, into a process that waits. No faults, no other work.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"

static const char usage[] = "raw_copy [-m MiB] [-r rounds] [-c pages a call]... [-d directory]\n"
			    "-d  where the pages file is made: its filesystem matters\n";
enum { CALLS_MAX = 8 };

struct run {
	uint64_t bytes;
	uint32_t rounds;
	uint64_t call[CALLS_MAX];
	unsigned nr_calls;
	const char *dir;
};

static void fill(uint8_t *page, uint64_t n)
{
	for (size_t i = 0; i < LZ_BENCH_PAGE; i += sizeof(n))
		*(uint64_t *)(void *)(page + i) = lz_bench_random(&n);
}

/* @stride bytes of memory for @call bytes of file: twice as many where every second page is. */
static void drain(const struct run *run, const uint8_t *pages, uint64_t call, uint64_t stride,
		  const char *layout)
{
	uint64_t calls = run->bytes / call, ns = 0;
	struct lz_bench_samples *samples = lz_bench_samples_new(calls * run->rounds);

	for (uint32_t i = 0; i < run->rounds; i++) {
		struct lz_bench_task t;
		uint64_t begun, last;

		lz_bench_task_start(&t, calls * stride, NULL, NULL);
		begun = last = lz_bench_now_ns();
		for (uint64_t n = 0; n < calls; n++) {
			uint64_t now;

			if (lz_bench_copy(&t, t.base + n * stride, pages + n * call, call) != call)
				exit(3);
			now = lz_bench_now_ns();
			lz_bench_samples_add(samples, now - last);
			last = now;
		}
		ns += last - begun;
		lz_bench_task_end(&t);
	}
	lz_bench_line("raw_copy", samples, "layout=%s call=%llu bytes=%llu rounds=%u mb_s=%llu",
		      layout, (unsigned long long)call, (unsigned long long)run->bytes, run->rounds,
		      (unsigned long long)(run->bytes * run->rounds * 1000 / (ns ? ns : 1)));
}

static void parse(struct run *run, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "m:r:c:d:")) >= 0) {
		if (c == 'm')
			run->bytes = lz_bench_number(optarg, 1, 1 << 20) << 20;
		else if (c == 'r')
			run->rounds = (uint32_t)lz_bench_number(optarg, 1, 10000);
		else if (c == 'c' && run->nr_calls < CALLS_MAX)
			run->call[run->nr_calls++] = LZ_BENCH_PAGE *
						     lz_bench_number(optarg, 1, 256);
		else if (c == 'd')
			run->dir = optarg;
		else {
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (!run->nr_calls)
		run->call[run->nr_calls++] = LZ_BENCH_SLICE;
}

int main(int argc, char **argv)
{
	struct run run = { .bytes = 256 << 20, .rounds = 5, .dir = "." };
	const uint8_t *pages;

	parse(&run, argc, argv);
	pages = mmap(NULL, run.bytes, PROT_READ, MAP_SHARED | MAP_POPULATE,
		     lz_bench_pages_file(run.dir, run.bytes, fill), 0);
	if (pages == MAP_FAILED)
		lz_bench_die("mmap");
	for (unsigned i = 0; i < run.nr_calls; i++)
		drain(&run, pages, run.call[i], run.call[i], "contiguous");
	drain(&run, pages, LZ_BENCH_PAGE, 2 * LZ_BENCH_PAGE, "every_second");
	return 0;
}
