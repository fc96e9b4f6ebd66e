/* SPDX-License-Identifier: MIT */
/* Nanoseconds per operation on a bit set of as many ranges as are named:
 * every second bit is one. */
#define _GNU_SOURCE 1
#include <stdlib.h>

#include "bench/bench.h"
#include "uffd/bits.h"

enum { OPS = 200000, RUN_BITS = 16 };

struct run {
	struct lz_bits bits;
	uint64_t *at; /* OPS random bits, none in the last RUN_BITS */
};

static void prepare(struct run *run, uint64_t n)
{
	uint64_t seed = n;

	if (lz_bits_init(&run->bits, 2 * n, NULL))
		lz_bench_die("lz_bits_init");
	for (uint64_t i = 0; i < n; i++)
		lz_bits_set(&run->bits, 2 * i, 2 * i + 1);
	run->at = calloc(OPS, sizeof(*run->at));
	if (!run->at)
		lz_bench_die("calloc");
	for (uint64_t i = 0; i < OPS; i++)
		run->at[i] = lz_bench_random(&seed) % (2 * n - RUN_BITS);
}

static uint64_t test(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use(lz_bits_test(&run->bits, run->at[i]));
	return lz_bench_now_ns() - begun;
}

/* Clear and set again, a page a time and a slice a time. */
static uint64_t flip(struct run *run, uint64_t ops, uint64_t nr)
{
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i += 2) {
		lz_bench_use(lz_bits_clear(&run->bits, run->at[i], run->at[i] + nr));
		lz_bench_use(lz_bits_set(&run->bits, run->at[i], run->at[i] + nr));
	}
	return lz_bench_now_ns() - begun;
}

static uint64_t flip_page(void *arg, uint64_t ops)
{
	return flip(arg, ops, 1);
}

static uint64_t flip_slice(void *arg, uint64_t ops)
{
	return flip(arg, ops, RUN_BITS);
}

static uint64_t next(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use(lz_bits_next(&run->bits, run->at[i]));
	return lz_bench_now_ns() - begun;
}

int main(void)
{
	for (uint64_t n = 1000; n <= 1000000; n *= 10) {
		struct run run;

		prepare(&run, n);
		lz_bench_op("bits_test", n, OPS, test, &run);
		lz_bench_op("bits_next", n, OPS, next, &run);
		lz_bench_op("bits_flip_page", n, OPS, flip_page, &run);
		lz_bench_op("bits_flip_slice", n, OPS, flip_slice, &run);
		lz_bits_clear(&run.bits, 0, 2 * n - 1);
		lz_bits_set(&run.bits, 2 * n - 1, 2 * n);
		lz_bench_op("bits_next_far", n, OPS / 100, next, &run);
		lz_bits_fini(&run.bits);
		free(run.at);
	}
	return 0;
}
