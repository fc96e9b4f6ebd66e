/* SPDX-License-Identifier: MIT */
/*
 * The request table: who may have one, what becomes of it, and sets by state, so that nothing on
 * the way of a fault looks at all of them. What they are for is decided in next.c and ahead.c.
 */
#include "uffd/engine_priv.h"

#include <assert.h>

enum { WORDS = sizeof(((struct lz_req_set *)0)->word) / sizeof(uint64_t) };

/* What one source may have of @max: a slow or absent one delays its own pages only. */
static unsigned share_of(unsigned max)
{
	return max - max / 4;
}

/* What may run ahead in the remote source: its share, less what is kept for faults. */
static unsigned remote_max(const struct lz_engine *e)
{
	return share_of(lz_reqs_max(e)) - LZ_REQS_FAULT;
}

static bool may_run_ahead(const struct lz_engine *e, enum lz_req_cause cause, bool remote)
{
	if (e->nr_ahead[LZ_LOCAL] + e->nr_ahead[LZ_REMOTE] >= lz_reqs_max(e) - LZ_REQS_FAULT)
		return false;
	if (remote)
		return e->nr_ahead[LZ_REMOTE] < remote_max(e) &&
		       e->nr_reqs[LZ_REMOTE] < share_of(lz_reqs_max(e));
	if (cause == LZ_FOR_WANTED && e->wanted_bytes >= LZ_WANTED_BYTES)
		return false;
	return e->nr_ahead[LZ_LOCAL] < LZ_REQS_AHEAD &&
	       (cause != LZ_FOR_SWEEP || e->nr_sweeping < LZ_REQS_SWEEP);
}

void lz_reqs_init(struct lz_engine *e)
{
	for (uint32_t i = 0; i < lz_reqs_max(e); i++)
		lz_reqs_put(&e->in[LZ_REQ_FREE], i, true);
	lz_window_init(&e->window, LZ_SLICE_BYTES, remote_max(e));
}

struct lz_req *lz_reqs_take(struct lz_engine *e, enum lz_req_cause cause, bool remote)
{
	if (cause != LZ_FOR_FAULT && !may_run_ahead(e, cause, remote))
		return NULL;
	for (unsigned w = 0; w < WORDS; w++)
		if (e->in[LZ_REQ_FREE].word[w])
			return &e->req[w * 64 +
				       (unsigned)__builtin_ctzll(e->in[LZ_REQ_FREE].word[w])];
	return NULL;
}

/* Is what @q reads in the same source as @run of @s? */
static bool is_beside(const struct lz_engine *e, const struct lz_req *q, const struct lz_space *s,
		      const struct lz_run *run)
{
	if (q->remote || lz_space_is_remote(s, run))
		return q->remote && lz_space_is_remote(s, run);
	return q->run->source == run->source && e->space[q->space].plan == s->plan;
}

/* What runs ahead in a remote source has its limit in take(). */
bool lz_reqs_are_crowded(const struct lz_engine *e, const struct lz_space *s, uint64_t page,
			 enum lz_req_cause cause)
{
	bool sweeps = cause == LZ_FOR_SWEEP, wanted = cause == LZ_FOR_WANTED;
	bool pressed = sweeps && lz_ahead_is_pressed(e);
	unsigned max = sweeps ? LZ_REQS_SWEEP : wanted ? LZ_REQS_AHEAD : lz_reqs_max(e), n = 0;
	unsigned share = pressed ? LZ_REQS_PRESSED : share_of(max);
	unsigned used = sweeps   ? e->nr_sweeping
			: wanted ? e->nr_ahead[LZ_LOCAL]
				 : e->nr_reqs[LZ_LOCAL] + e->nr_reqs[LZ_REMOTE];
	const struct lz_run *run;

	if (used < share || (!e->many_sources && !pressed))
		return false;
	run = lz_plan_run(s->plan, page);
	for (unsigned w = 0; w < WORDS; w++)
		/* What is being placed may have to be read again. */
		for (uint64_t v = e->in[LZ_REQ_READING].word[w] | e->in[LZ_REQ_PLACING].word[w]; v;
		     v &= v - 1) {
			const struct lz_req *q = &e->req[w * 64 + (unsigned)__builtin_ctzll(v)];

			if ((sweeps && q->cause != LZ_FOR_SWEEP) ||
			    (wanted && q->cause == LZ_FOR_FAULT))
				continue;
			n += is_beside(e, q, s, run);
		}
	return n >= share;
}

static uint64_t wanted_bytes(const struct lz_req *q)
{
	return q->cause == LZ_FOR_WANTED && !q->remote ? q->bytes : 0;
}

void lz_reqs_begin(struct lz_engine *e, struct lz_req *q, uint32_t space, uint64_t first,
		   uint64_t nr, enum lz_req_cause cause)
{
	struct lz_space *s = &e->space[space];
	uint64_t n = lz_bits_set(&s->busy, first, first + nr);

	assert(nr && n == nr && q->state == LZ_REQ_FREE);
	*q = (struct lz_req){
		.cause = cause, .space = space, .first = first, .nr = nr, .step = nr
	};
	q->run = lz_plan_run(s->plan, first);
	q->remote = lz_space_is_remote(s, q->run);
	q->bytes = nr << q->run->page_shift;
	s->nr_busy += nr;
	s->nr_reqs++;
	e->nr_reqs[q->remote]++;
	e->nr_ahead[q->remote] += cause != LZ_FOR_FAULT;
	if (cause == LZ_FOR_FAULT)
		e->missed_ns = e->now_ns;
	e->nr_sweeping += cause == LZ_FOR_SWEEP && !q->remote;
	e->wanted_bytes += wanted_bytes(q);
}

void lz_reqs_enter(struct lz_engine *e, struct lz_req *q, enum lz_req_state state)
{
	static const bool allowed[LZ_REQ_STATES][LZ_REQ_STATES] = {
		[LZ_REQ_FREE] = { [LZ_REQ_READING] = true, [LZ_REQ_PLACING] = true },
		[LZ_REQ_READING] = { [LZ_REQ_PLACING] = true },
		[LZ_REQ_PLACING] = { [LZ_REQ_READING] = true, [LZ_REQ_FREE] = true },
	};
	uint32_t number = lz_reqs_number(e, q);

	assert(allowed[q->state][state]);
	lz_reqs_put(&e->in[q->state], number, false);
	lz_reqs_put(&e->in[state], number, true);
	q->state = state;
}

uint64_t lz_reqs_asked(const struct lz_req *q)
{
	uint64_t rest = q->nr - q->done, slice = LZ_SLICE_BYTES >> q->run->page_shift;

	if (q->alone || (q->unmapped && !slice))
		return 1;
	return q->unmapped && slice < rest ? slice : rest;
}

void lz_reqs_read(struct lz_engine *e, struct lz_req *q, struct lz_action *out)
{
	uint64_t page = q->first + q->done;
	const struct lz_run *run = lz_plan_run_near(e->space[q->space].plan, q->run, page);
	uint32_t number = lz_reqs_number(e, q);

	q->run = run;
	lz_reqs_enter(e, q, LZ_REQ_READING);
	q->read_at = e->nr_looks;
	*out = (struct lz_action){ .type = LZ_ACT_READ, .space = q->space, .req = number };
	out->source = run->source;
	out->offset = run->offset + ((page - run->first) << run->page_shift);
	out->len = lz_reqs_asked(q) << run->page_shift;
	out->skip = q->done << run->page_shift;
	out->mapped_ok = !q->unmapped;
	out->mapped_only = out->len > LZ_SLICE_BYTES && out->len > UINT64_C(1) << run->page_shift;
	out->urgent = q->cause == LZ_FOR_FAULT || lz_reqs_test(&e->demanded, number);
	out->wanted = q->cause == LZ_FOR_WANTED && !run->in_place;
	if (!q->remote)
		return;
	assert(!e->released);
	lz_window_sent(&e->window, out->len, !out->urgent, e->now_ns, &q->mark);
}

void lz_reqs_retire(struct lz_engine *e, struct lz_req *q)
{
	struct lz_space *s = &e->space[q->space];

	s->nr_busy -= lz_bits_clear(&s->busy, q->first, q->first + q->nr);
	s->nr_reqs--;
	e->nr_reqs[q->remote]--;
	e->nr_ahead[q->remote] -= q->cause != LZ_FOR_FAULT;
	e->nr_sweeping -= q->cause == LZ_FOR_SWEEP && !q->remote;
	e->wanted_bytes -= wanted_bytes(q);
	lz_reqs_put(&e->demanded, lz_reqs_number(e, q), false);
	lz_reqs_enter(e, q, LZ_REQ_FREE);
	e->may_close = e->look_again = true;
}

void lz_reqs_demand(struct lz_engine *e, struct lz_req *q, uint64_t page, uint64_t since_ns)
{
	uint32_t number = lz_reqs_number(e, q);

	e->look_again = true; /* its bytes may have arrived */
	if (page >= q->first + q->demanded)
		q->demanded = page + 1 - q->first;
	/* Who has waited longer may come later: its space was stalled. */
	if (lz_reqs_test(&e->demanded, number) && q->since_ns <= since_ns)
		return;
	lz_reqs_put(&e->demanded, number, true);
	q->since_ns = since_ns;
}

struct lz_req *lz_reqs_of(struct lz_engine *e, uint32_t space, uint64_t page)
{
	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t v = e->in[LZ_REQ_READING].word[w] | e->in[LZ_REQ_PLACING].word[w];

		for (; v; v &= v - 1) {
			struct lz_req *q = &e->req[w * 64 + (unsigned)__builtin_ctzll(v)];

			if (q->space == space && page >= q->first && page - q->first < q->nr)
				return q;
		}
	}
	assert(0); /* busy pages belong to a request */
	return NULL;
}

uint32_t lz_reqs_placing(const struct lz_engine *e, uint32_t from, bool demanded)
{
	for (uint32_t w = from / 64; w < WORDS; w++) {
		uint64_t v = demanded ? e->demanded.word[w] : ~e->demanded.word[w];

		v &= e->in[LZ_REQ_PLACING].word[w];
		if (w == from / 64)
			v &= UINT64_MAX << from % 64;
		if (v)
			return w * 64 + (uint32_t)__builtin_ctzll(v);
	}
	return LZ_REQ_NONE;
}
