/* SPDX-License-Identifier: MIT */
/* Nanoseconds per operation on a plan of as many runs as are named: every second page is one. */
#define _GNU_SOURCE 1
#include <stdlib.h>

#include "bench/bench.h"
#include "pagemap/plan.h"

enum { OPS = 200000, SLICE_PAGES = LZ_BENCH_SLICE / LZ_BENCH_PAGE };
#define BASE UINT64_C(0x10000000000)

struct run {
	struct lz_plan *plan;
	uint64_t n;
	uint64_t *page; /* OPS random page numbers */
};

static uint64_t identity_of(uint64_t page)
{
	return BASE + page * 2 * LZ_BENCH_PAGE;
}

/* One operation is one piece. */
static uint64_t build(void *arg, uint64_t ops)
{
	struct run *run = arg;
	uint64_t begun;

	lz_plan_put(run->plan);
	begun = lz_bench_now_ns();
	if (lz_plan_new(&run->plan))
		lz_bench_die("lz_plan_new");
	for (uint64_t i = 0; i < ops; i++) {
		struct lz_piece p = { .identity = identity_of(i),
				      .len = LZ_BENCH_PAGE,
				      .offset = i * LZ_BENCH_PAGE,
				      .page_shift = 12 };

		if (lz_plan_add(run->plan, &p))
			lz_bench_die("lz_plan_add");
	}
	lz_plan_seal(run->plan);
	return lz_bench_now_ns() - begun;
}

static uint64_t page(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use((uint64_t)lz_plan_page(run->plan, identity_of(run->page[i]), NULL));
	return lz_bench_now_ns() - begun;
}

/* A hole, which the image does not hold. */
static uint64_t page_from(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use(
			lz_plan_page_from(run->plan, identity_of(run->page[i]) + LZ_BENCH_PAGE));
	return lz_bench_now_ns() - begun;
}

static uint64_t run_of(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use((uintptr_t)lz_plan_run(run->plan, run->page[i]));
	return lz_bench_now_ns() - begun;
}

static uint64_t extent(void *arg, uint64_t ops)
{
	const struct run *run = arg;
	uint64_t begun = lz_bench_now_ns();

	for (uint64_t i = 0; i < ops; i++)
		lz_bench_use(lz_plan_extent(run->plan, run->page[i], SLICE_PAGES));
	return lz_bench_now_ns() - begun;
}

int main(void)
{
	struct run run = { .page = calloc(OPS, sizeof(*run.page)) };

	if (!run.page)
		lz_bench_die("calloc");
	for (run.n = 1000; run.n <= 1000000; run.n *= 10) {
		uint64_t seed = run.n;

		for (uint64_t i = 0; i < OPS; i++)
			run.page[i] = lz_bench_random(&seed) % run.n;
		lz_bench_op("plan_build", run.n, run.n, build, &run);
		lz_bench_op("plan_page", run.n, OPS, page, &run);
		lz_bench_op("plan_page_from", run.n, OPS, page_from, &run);
		lz_bench_op("plan_run", run.n, OPS, run_of, &run);
		lz_bench_op("plan_extent", run.n, OPS, extent, &run);
	}
	lz_plan_put(run.plan);
	free(run.page);
	return 0;
}
