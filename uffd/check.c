/* SPDX-License-Identifier: MIT */
/* Looking at an engine without touching it: its figures, and its invariants as asserts. */
#include "uffd/engine_priv.h"

#include <assert.h>

void lz_engine_gauge(const struct lz_engine *e)
{
	struct lazyd_stats *st = &e->options.stats->n;
	uint64_t owed = 0, waiting = e->nr_faults;

	for (uint32_t i = 0; i < e->nr_spaces; i++)
		owed += e->space[i].nr_owed;
	for (uint32_t i = 0; i < lz_reqs_max(e); i++)
		waiting += lz_reqs_test(&e->demanded, i);
	st->nr_spaces = e->nr_open;
	st->pages_owed = owed;
	st->waiting = waiting;
	st->remote_window = e->has_remote ? lz_window_bytes(&e->window) : 0;
}

static void check_reqs(const struct lz_engine *e)
{
	unsigned used[2] = { 0, 0 }, ahead[2] = { 0, 0 }, sweeping = 0;
	uint64_t in_flight = 0, background = 0, wanted = 0;

	for (uint32_t i = 0; i < LZ_REQS_MAX; i++) {
		const struct lz_req *q = &e->req[i];

		for (int state = 0; state < LZ_REQ_STATES; state++)
			assert(lz_reqs_test(&e->in[state], i) ==
			       (i < lz_reqs_max(e) && q->state == (enum lz_req_state)state));
		if (q->state == LZ_REQ_FREE) {
			assert(!lz_reqs_test(&e->demanded, i));
			continue;
		}
		used[q->remote]++;
		sweeping += q->cause == LZ_FOR_SWEEP && !q->remote;
		ahead[q->remote] += q->cause != LZ_FOR_FAULT;
		wanted += q->cause == LZ_FOR_WANTED && !q->remote ? q->bytes : 0;
		/* Never read again: what nobody owes is not asked for. */
		assert(!q->remote || !e->released);
		if (q->remote && q->state == LZ_REQ_READING) {
			in_flight += q->mark.bytes;
			background += q->mark.background ? q->mark.bytes : 0;
		}
		assert(q->nr && q->done <= q->nr && q->have <= q->nr);
		assert(q->state != LZ_REQ_PLACING || q->step);
		assert(q->state == LZ_REQ_PLACING || !q->lent);
		assert(q->done >= q->demanded || lz_reqs_test(&e->demanded, i));
		assert(q->first + q->nr <= e->space[q->space].busy.nr);
		assert(lz_bits_next_clear(&e->space[q->space].busy, q->first, q->first + q->nr) ==
		       q->first + q->nr);
	}
	assert(in_flight == e->window.in_flight && background == e->window.background);
	for (int kind = 0; kind < 2; kind++)
		assert(used[kind] == e->nr_reqs[kind] && ahead[kind] == e->nr_ahead[kind]);
	assert(sweeping == e->nr_sweeping && sweeping <= LZ_REQS_SWEEP);
	assert(ahead[LZ_LOCAL] <= LZ_REQS_AHEAD);
	assert(wanted == e->wanted_bytes && wanted < LZ_WANTED_BYTES + LZ_PAGE_BYTES_MAX);
	/* A fault finds a request, whatever runs ahead. */
	assert(ahead[LZ_LOCAL] + ahead[LZ_REMOTE] + LZ_REQS_FAULT <= lz_reqs_max(e));
}

/* Bits and runs one by one: a cursor that has passed a page too many releases too early. */
static bool owes_remote(const struct lz_space *s, uint64_t end)
{
	if (s->remote == UINT32_MAX)
		return false;
	for (uint64_t page = 0; (page = lz_bits_next(&s->owed, page)) < end; page++)
		if (lz_space_is_remote(s, lz_plan_run(s->plan, page)))
			return true;
	return false;
}

/* No page is missed by a sweep that calls itself dry. */
static void check_fronts(const struct lz_space *s)
{
	if (!s->front[LZ_LOCAL].dry && (s->remote == UINT32_MAX || !s->front[LZ_REMOTE].dry))
		return;
	for (uint64_t page = 0; (page = lz_bits_next(&s->owed, page)) < s->owed.nr; page++)
		if (!lz_bits_test(&s->busy, page))
			assert(!s->front[lz_space_is_remote(s, lz_plan_run(s->plan, page))].dry);
}

void lz_engine_check(const struct lz_engine *e)
{
	uint32_t open = 0, stalled = 0, kills = 0, wake_all = 0, crowded = 0;

	check_reqs(e);
	lz_blocks_check(e);
	for (uint32_t i = 0; i < LZ_SPACES_MAX && i < e->nr_spaces + 1; i++) {
		const struct lz_space *s = &e->space[i];
		uint64_t held = 0;
		uint32_t reqs = 0;

		lz_space_check(s);
		for (unsigned k = 0; k < LZ_REQS_MAX; k++)
			if (e->req[k].state != LZ_REQ_FREE && e->req[k].space == i) {
				held += e->req[k].nr;
				reqs++;
			}
		/* Every busy page belongs to exactly one request. */
		assert(held == s->nr_busy && reqs == s->nr_reqs);
		if (s->state != LZ_SPACE_FREE) {
			bool passed = e->released || i < e->release_space;

			check_fronts(s);
			assert(!owes_remote(s, passed ? s->owed.nr : s->remote_from));
		}
		open += s->state != LZ_SPACE_FREE;
		stalled += s->retry_ns != 0;
		kills += s->kill;
		wake_all += s->wake_all;
		crowded += s->crowded;
	}
	assert(open == e->nr_open && stalled == e->nr_stalled);
	assert(kills == e->nr_kills && wake_all == e->nr_wake_all && crowded == e->nr_crowded);
}
