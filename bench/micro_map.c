/* SPDX-License-Identifier: MIT */
/*
 * Nanoseconds per operation on a map of as many segments as are named. Look-ups happen at every
 * fault; cut and move once a layout event, and cost what moving the vectors costs.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>

#include "bench/bench.h"
#include "uffd/map.h"

enum { OPS = 200000 };
/* Segments of four pages, two apart. */
enum { SEG_LEN = 4 * LZ_BENCH_PAGE, STEP = 6 * LZ_BENCH_PAGE };
#define BASE UINT64_C(0x10000000000)

struct run {
	struct lz_map map;
	uint64_t n;
	uint64_t *at; /* OPS random addresses in segments */
	struct lz_seg *seg;
};

static uint64_t at(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use((uintptr_t)lz_map_at(&run->map, run->at[i]));
	return lz_bench_now_ns() - begun;
}

static uint64_t where(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();
	struct lz_range r;

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use(lz_map_where(&run->map, run->at[i], LZ_BENCH_PAGE, &r));
	return lz_bench_now_ns() - begun;
}

static void make(struct run *run)
{
	if (lz_map_init(&run->map, run->seg, run->n))
		lz_bench_die("lz_map_init");
}

/* A page out of the middle of a segment. */
static uint64_t cut(void *arg, uint64_t ops)
{
	struct run *run = arg;
	uint64_t begun;

	lz_map_fini(&run->map);
	make(run);
	begun = lz_bench_now_ns();
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t from = BASE + (run->at[i] - BASE) / STEP * STEP + LZ_BENCH_PAGE;

		if (lz_map_cut(&run->map, (struct lz_range){ from, from + LZ_BENCH_PAGE }))
			lz_bench_die("lz_map_cut");
	}
	return lz_bench_now_ns() - begun;
}

/* A whole segment away from the others and back. */
static uint64_t move(void *arg, uint64_t ops)
{
	struct run *run = arg;
	uint64_t begun;

	lz_map_fini(&run->map);
	make(run);
	begun = lz_bench_now_ns();
	for (uint64_t i = 0; i < ops; i += 2) {
		uint64_t from = BASE + (run->at[i] - BASE) / STEP * STEP, to = BASE >> 1;

		if (lz_map_move(&run->map, (struct lz_range){ from, from + SEG_LEN }, to) ||
		    lz_map_move(&run->map, (struct lz_range){ to, to + SEG_LEN }, from))
			lz_bench_die("lz_map_move");
	}
	return lz_bench_now_ns() - begun;
}

int main(void)
{
	struct run run = { .at = calloc(OPS, sizeof(*run.at)) };

	if (!run.at)
		lz_bench_die("calloc");
	for (run.n = 1000; run.n <= 1000000; run.n *= 10) {
		uint64_t seed = run.n;

		run.seg = calloc(run.n, sizeof(*run.seg));
		if (!run.seg)
			lz_bench_die("calloc");
		for (uint64_t i = 0; i < run.n; i++) {
			uint64_t start = BASE + i * STEP;

			run.seg[i] = (struct lz_seg){ .start = start,
						      .end = start + SEG_LEN,
						      .identity = start,
						      .page_shift = 12 };
		}
		for (uint64_t i = 0; i < OPS; i++)
			run.at[i] = BASE + lz_bench_random(&seed) % run.n * STEP;
		make(&run);
		lz_bench_op("map_at", run.n, OPS, at, &run);
		lz_bench_op("map_where", run.n, OPS, where, &run);
		lz_bench_op("map_cut", run.n, 20, cut, &run);
		lz_bench_op("map_move", run.n, 4, move, &run);
		lz_map_fini(&run.map);
		free(run.seg);
	}
	free(run.at);
	return 0;
}
