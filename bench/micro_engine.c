/* SPDX-License-Identifier: MIT */
/*
 * What the engine itself costs, with a kernel and a disk that answer in no time: a fault from its
 * message to the placed page, and a whole sweep, a page. "contiguous": n pages in one run; "every
 * second": n runs of a page each.
 */
#define _GNU_SOURCE 1
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "uffd/engine.h"

enum { FAULTS_MAX = 100000 };
#define BASE UINT64_C(0x10000000000)

struct run {
	struct lz_engine *engine;
	struct lz_stats stats;
	struct lz_plan *plan;
	uint64_t n, stride;
	uint32_t *order;
};

static void feed(struct run *run, struct lz_event ev)
{
	int r = lz_engine_feed(run->engine, &ev);

	assert(!r);
	(void)r;
}

/* Carries out all there is to do; everything succeeds. */
static uint64_t work(struct run *run)
{
	struct lz_action a;
	uint64_t actions = 0;

	for (; lz_engine_next(run->engine, &a); actions++) {
		struct lz_event ev = { .type = LZ_EV_PLACED,
				       .did = a.type,
				       .space = a.space,
				       .req = a.req,
				       .range = a.dst,
				       .res = (int64_t)lz_range_len(a.dst) };

		if (a.type == LZ_ACT_WAKE)
			continue;
		if (a.type == LZ_ACT_READ) {
			ev.type = LZ_EV_READ;
			ev.res = (int64_t)a.len;
		} else if (a.type == LZ_ACT_CLOSE) {
			ev.type = LZ_EV_CLOSED;
		} else if (a.type == LZ_ACT_FETCH) {
			ev.type = LZ_EV_FETCHED;
		}
		feed(run, ev);
	}
	return actions;
}

static void make_plan(struct run *run)
{
	if (lz_plan_new(&run->plan))
		lz_bench_die("lz_plan_new");
	for (uint64_t i = 0; i < run->n; i++) {
		struct lz_piece p = { .identity = BASE + i * run->stride,
				      .len = LZ_BENCH_PAGE,
				      .offset = i * LZ_BENCH_PAGE,
				      .page_shift = 12 };

		if (lz_plan_add(run->plan, &p))
			lz_bench_die("lz_plan_add");
	}
	lz_plan_seal(run->plan);
}

static void make_engine(struct run *run)
{
	struct lz_engine_options o = { .stats = &run->stats };
	struct lz_seg seg = { .start = BASE,
			      .end = BASE + run->n * run->stride,
			      .identity = BASE,
			      .page_shift = 12 };
	struct lz_attach a = { .plan = run->plan, .seg = &seg, .nr_segs = 1 };

	memset(&run->stats, 0, sizeof(run->stats));
	if (lz_engine_new(&run->engine, &o) || lz_engine_attach(run->engine, &a))
		lz_bench_die("engine");
}

/* Before START: nothing runs beside them. */
static uint64_t faults(void *arg, uint64_t ops)
{
	struct run *run = arg;
	uint64_t begun, ns;

	make_engine(run);
	begun = lz_bench_now_ns();
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t at = BASE + run->order[i] * run->stride;

		feed(run,
		     (struct lz_event){ .type = LZ_EV_FAULT, .range = { at, at + LZ_BENCH_PAGE } });
		lz_bench_use(work(run));
	}
	ns = lz_bench_now_ns() - begun;
	assert(run->stats.n.pages_demand == ops);
	lz_engine_free(run->engine);
	return ns;
}

static uint64_t sweep(void *arg, uint64_t ops)
{
	struct run *run = arg;
	uint64_t begun, ns;

	make_engine(run);
	begun = lz_bench_now_ns();
	feed(run, (struct lz_event){ .type = LZ_EV_START });
	lz_bench_use(work(run));
	ns = lz_bench_now_ns() - begun;
	assert(run->stats.n.pages_sweep == ops && lz_engine_is_done(run->engine));
	lz_engine_free(run->engine);
	return ns;
}

static void layout(struct run *run, const char *fault_name, const char *sweep_name)
{
	make_plan(run);
	lz_bench_op(fault_name, run->n, run->n < FAULTS_MAX ? run->n : FAULTS_MAX, faults, run);
	lz_bench_op(sweep_name, run->n, run->n, sweep, run);
	lz_plan_put(run->plan);
}

int main(void)
{
	struct run run;

	for (run.n = 1000; run.n <= 1000000; run.n *= 10) {
		run.order = lz_bench_order((uint32_t)run.n, run.n);
		run.stride = LZ_BENCH_PAGE;
		layout(&run, "engine_fault_contiguous", "engine_sweep_contiguous");
		run.stride = 2 * LZ_BENCH_PAGE;
		layout(&run, "engine_fault_every_second", "engine_sweep_every_second");
		free(run.order);
	}
	return 0;
}
