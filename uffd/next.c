/* SPDX-License-Identifier: MIT */
/*
 * The deciding half of the engine, and the only place where anything is decided. The order of the
 * branches in decide() is the policy:
 *
 *   free blocked threads, or kill who cannot be helped; place what a thread waits for; answer
 *   faults, and wake those that found no room; give up what is abandoned; ask for what is wanted
 *   and for the next block; place what else arrived; release the remote source; run ahead of the
 *   faults; sweep; close what is owed nothing.
 *
 * Faults come before the placing of background bytes, so that a fault waits behind one slice and
 * not behind all that happen to have arrived. They are answered as they came, those of all spaces
 * together: nobody's page is placed while that of somebody who has waited longer is here as well
 * (but for a stalled space). What is wanted is asked for before background bytes are placed too,
 * and a block before the last bytes of the one before it: a disk that has nothing to do meanwhile
 * is half as fast. Running ahead is in ahead.c, requests are in reqs.c.
 */
#include "uffd/engine_priv.h"

#include <assert.h>
#include <string.h>

static bool act(struct lz_action *out, enum lz_action_type type, uint32_t space, uint32_t req,
		struct lz_range dst)
{
	*out = (struct lz_action){ .type = type, .space = space, .req = req, .dst = dst };
	return true;
}

/* ---- waking, killing ---- */

static bool next_wake(struct lz_engine *e, struct lz_action *out)
{
	if (e->nr_wakes) {
		struct lz_wake w = e->wake[--e->nr_wakes];

		return act(out, LZ_ACT_WAKE, w.space, LZ_REQ_NONE, w.range);
	}
	for (uint32_t i = 0; e->nr_wake_all && i < e->nr_spaces; i++)
		if (e->space[i].wake_all) {
			e->space[i].wake_all = false;
			e->nr_wake_all--;
			return act(out, LZ_ACT_WAKE, i, LZ_REQ_NONE,
				   (struct lz_range){ 0, UINT64_MAX });
		}
	return false;
}

/* Faults that found the queue full: when it has emptied, their threads are asked to come again. */
static bool next_crowded(struct lz_engine *e, struct lz_action *out)
{
	for (uint32_t i = 0; e->nr_crowded && !e->nr_faults && i < e->nr_spaces; i++)
		if (e->space[i].crowded) {
			e->space[i].crowded = false;
			e->nr_crowded--;
			return act(out, LZ_ACT_WAKE, i, LZ_REQ_NONE,
				   (struct lz_range){ 0, UINT64_MAX });
		}
	return false;
}

static void want_kill(struct lz_engine *e, struct lz_space *s)
{
	e->nr_kills += !s->kill;
	s->kill = e->look_again = true;
}

static bool next_kill(struct lz_engine *e, struct lz_action *out)
{
	for (uint32_t i = 0; e->nr_kills && i < e->nr_spaces; i++)
		if (e->space[i].kill)
			return act(out, LZ_ACT_KILL, i, LZ_REQ_NONE, (struct lz_range){ 0, 0 });
	return false;
}

/* ---- placing ---- */

/* A page that the image owes but that has no place to go, by the kernel's word: see ENOENT. */
static void let_go(struct lz_engine *e, struct lz_space *s, struct lz_req *q, uint64_t at)
{
	/* While a restorer still assembles the space, the area may only not be registered yet. */
	if (e->started)
		e->options.stats->n.pages_gone += lz_space_settle(s, q->first + q->done, 1);
	lz_engine_wake(e, q->space, lz_space_page_range(s, at));
	q->done++;
	q->lost = q->doubted = false;
}

static enum lz_action_type how_to_place(const struct lz_req *q)
{
	return q->lost ? LZ_ACT_POISON : q->run->in_place ? LZ_ACT_CONTINUE : LZ_ACT_COPY;
}

/*
 * Places what has arrived for @q: skips pages no longer owed, follows pages that moved. False with
 * no action when it has to wait for another branch or has come to its end.
 */
static bool next_place(struct lz_engine *e, struct lz_req *q, struct lz_action *out)
{
	struct lz_space *s = &e->space[q->space];
	struct lz_range at;
	uint64_t n, max;

	for (;;) {
		uint64_t end = q->first + q->nr;
		uint64_t page = lz_bits_next_within(&s->owed, q->first + q->done, end);

		if (page != q->first + q->done) {
			q->done = page - q->first;
			q->lost = q->doubted = false;
		}
		if (q->done >= q->have && e->abandoned)
			q->lost = q->done < q->nr;
		if (q->done >= q->have && !q->lost)
			break;
		max = !q->lost ? q->have - q->done : e->abandoned ? q->nr - q->done : 1;
		q->run = lz_plan_run_near(s->plan, q->run, page);
		if (!lz_space_place_in(s, q->run, page, lz_limits_least(max, q->step), &at, &n))
			assert(0); /* owed pages have a position: who drops it forgets them */
		if (q->doubted && q->layout == s->layout) {
			let_go(e, s, q, at.start);
			return next_wake(e, out);
		}
		q->doubted = false;
		if (q->lost && e->options.on_lost == LAZYD_LOST_KILL) {
			want_kill(e, s);
			return false;
		}
		act(out, how_to_place(q), q->space, (uint32_t)(q - e->req), at);
		out->skip = q->done << q->run->page_shift;
		return true;
	}
	if (q->done < q->nr) {
		lz_reqs_read(e, q, out);
		return true;
	}
	lz_reqs_retire(e, q);
	return false;
}

static bool can_be_placed(const struct lz_engine *e, const struct lz_req *q)
{
	return !q->lent && !e->space[q->space].retry_ns && !e->space[q->space].kill;
}

/* Of those whose bytes are here, the one that has been waited for longest, in whatever space. */
static struct lz_req *waited_for(struct lz_engine *e)
{
	struct lz_req *oldest = NULL;
	uint32_t i = 0;

	for (; (i = lz_reqs_placing(e, i, true)) != LZ_REQ_NONE; i++)
		if (can_be_placed(e, &e->req[i]) &&
		    (!oldest || e->req[i].since_ns < oldest->since_ns))
			oldest = &e->req[i];
	return oldest;
}

static bool next_demanded(struct lz_engine *e, struct lz_action *out)
{
	struct lz_req *q;

	while ((q = waited_for(e)))
		if (next_place(e, q, out))
			return true;
	return false;
}

static bool next_arrived(struct lz_engine *e, struct lz_action *out)
{
	uint32_t i = 0;

	for (; (i = lz_reqs_placing(e, i, false)) != LZ_REQ_NONE; i++)
		if (can_be_placed(e, &e->req[i]) && next_place(e, &e->req[i], out))
			return true;
	return false;
}

/* ---- faults ---- */

/* A fault for whose page no request is to be made. */
static bool answer_alone(struct lz_engine *e, const struct lz_fault *f, struct lz_action *out)
{
	const struct lz_space *s = &e->space[f->space];
	struct lz_range page = lz_space_page_range(s, f->addr), r = page;
	bool large = lz_range_len(page) > 4096;

	e->alone_since_ns = f->since_ns;
	/* What is touched page after page, as a heap that grows, is not to fault at each: four
	 * times as many as before. */
	if (!f->minor && !large && e->started && page.start == s->zero_next)
		r = lz_space_hole(s, f->addr, lz_limits_least(s->zero_pages * 4, LZ_WINDOW_MAX));
	act(out, f->minor ? LZ_ACT_CONTINUE : LZ_ACT_ZERO, f->space, LZ_REQ_NONE, r);
	out->large = large;
	return true;
}

/* The first touch of a page of @q, for who asked to know. */
static void record(struct lz_engine *e, const struct lz_space *s, const struct lz_req *q,
		   uint64_t page)
{
	const struct lz_run *run;
	struct lz_touch t;

	if (!e->options.record || !lz_bits_set(&e->noted[s->memory], page, page + 1))
		return;
	run = lz_plan_run_near(s->plan, q->run, page);
	t = (struct lz_touch){ .identity = lz_plan_identity(run, page),
			       .memory = s->memory,
			       .nr_pages = 1U << (run->page_shift - 12) };
	lz_record_note(e->options.record, &t, e->options.record_ns, e->now_ns);
}

/* One fault: true with an action. *keep: it has to wait, for a stall's end or a free request. */
static bool answer(struct lz_engine *e, const struct lz_fault *f, bool *keep, struct lz_action *out)
{
	struct lz_space *s = &e->space[f->space];
	int64_t at = lz_space_page_at(s, f->addr);
	struct lz_req *q;

	*keep = false;
	if (s->gone)
		return false;
	if (at >= 0 && lz_bits_test(&s->owed, (uint64_t)at)) {
		if (lz_bits_test(&s->busy, (uint64_t)at)) {
			q = lz_reqs_of(e, f->space, (uint64_t)at);
			if (q->cause != LZ_FOR_FAULT) /* else somebody was here before */
				record(e, s, q, (uint64_t)at);
			lz_reqs_demand(e, q, (uint64_t)at, f->since_ns);
			return false;
		}
		q = lz_reqs_take(e, LZ_FOR_FAULT, false);
		if (!q || e->abandoned || lz_reqs_are_crowded(e, s, (uint64_t)at, LZ_FOR_FAULT)) {
			*keep = !e->abandoned;
			return false;
		}
		lz_reqs_begin(e, q, f->space, (uint64_t)at, 1, LZ_FOR_FAULT);
		record(e, s, q, (uint64_t)at);
		lz_reqs_read(e, q, out);
		lz_reqs_demand(e, q, (uint64_t)at, f->since_ns);
		lz_ahead_follow(e, q);
		return true;
	}
	if (s->retry_ns) {
		*keep = true;
		return false;
	}
	return answer_alone(e, f, out);
}

static bool next_fault(struct lz_engine *e, struct lz_action *out)
{
	unsigned i, kept = 0;
	bool found = false, keep;

	for (i = 0; i < e->nr_faults && !found; i++) {
		found = answer(e, &e->fault[i], &keep, out);
		if (keep)
			e->fault[kept++] = e->fault[i];
	}
	memmove(e->fault + kept, e->fault + i, (e->nr_faults - i) * sizeof(*e->fault));
	e->nr_faults -= i - kept;
	return found;
}

/* ---- the end of the remote source, and of a space ---- */

static bool next_release(struct lz_engine *e, struct lz_action *out)
{
	if (!e->has_remote || e->released || !e->started || e->abandoned || e->nr_reqs[LZ_REMOTE])
		return false;
	if (e->options.stays)
		return false;
	for (; e->release_space < e->nr_spaces; e->release_space++)
		if (lz_space_owes_remote(&e->space[e->release_space]))
			return false;
	e->released = true;
	return act(out, LZ_ACT_RELEASE, 0, LZ_REQ_NONE, (struct lz_range){ 0, 0 });
}

/* Takes what is owed and not on its way as if it had been asked for in vain. */
static bool next_abandon(struct lz_engine *e, struct lz_action *out)
{
	for (uint32_t i = 0; i < e->nr_spaces; i++) {
		struct lz_space *s = &e->space[i];
		struct lz_req *q;
		uint64_t page;

		if (!s->nr_owed || s->retry_ns || s->kill)
			continue;
		page = lz_ahead_first(s);
		if (page == s->owed.nr)
			continue;
		q = lz_reqs_take(e, LZ_FOR_SWEEP,
				 lz_space_is_remote(s, lz_plan_run(s->plan, page)));
		if (!q)
			continue;
		lz_reqs_begin(e, q, i, page, lz_ahead_slice(e, s, page, LZ_SLICE_PAGES),
			      LZ_FOR_SWEEP);
		lz_reqs_enter(e, q, LZ_REQ_PLACING);
		return next_place(e, q, out) || next_kill(e, out);
	}
	return false;
}

static bool next_close(struct lz_engine *e, struct lz_action *out)
{
	for (uint32_t i = 0; e->may_close && i < e->nr_spaces; i++) {
		struct lz_space *s = &e->space[i];

		if (s->state != LZ_SPACE_OPEN || s->nr_owed || s->nr_reqs || s->kill ||
		    !(e->started || s->gone))
			continue;
		s->state = LZ_SPACE_CLOSING;
		return act(out, LZ_ACT_CLOSE, i, LZ_REQ_NONE, (struct lz_range){ 0, 0 });
	}
	e->may_close = false;
	return false;
}

static bool decide(struct lz_engine *e, struct lz_action *out)
{
	return next_wake(e, out) || next_kill(e, out) || next_demanded(e, out) ||
	       next_fault(e, out) || next_crowded(e, out) ||
	       (e->abandoned && next_abandon(e, out)) || lz_ahead_wanted(e, out) ||
	       lz_ahead_block(e, out) || next_arrived(e, out) || next_release(e, out) ||
	       (!e->look_again &&
		(lz_ahead_neighbour(e, out) || lz_ahead_sweep(e, out) || next_close(e, out)));
}

void lz_engine_lend(struct lz_engine *e, uint32_t req, bool lent)
{
	struct lz_req *q = &e->req[req];

	assert(q->state == LZ_REQ_PLACING && q->lent != lent);
	q->lent = lent;
}

bool lz_engine_next(struct lz_engine *e, struct lz_action *out)
{
	/* A request that ends without an action frees a place that a fault, or what is wanted, may
	 * be waiting for; not for the sweep. */
	e->nr_looks++;
	do {
		e->look_again = false;
		if (decide(e, out))
			return true;
	} while (e->look_again);
	return false;
}
