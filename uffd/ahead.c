/* SPDX-License-Identifier: MIT */
/*
 * The part of next() that runs ahead of the faults: neighbours of those that come in a stream, what
 * is wanted before all others, and the sweep over all that is left, outward from the last fault.
 * Local pages and those of a remote source are gone through apart: the window of a link is not the
 * limit of a disk, and what waits for one does not keep the other. Where both could be had the
 * remote ones go first, so that the source, which may stand still meanwhile, is released early.
 */
#include "uffd/engine_priv.h"

#include <string.h>

bool lz_engine_is_calm(const struct lz_engine *e)
{
	return e->abandoned || !e->fault_ns || e->now_ns - e->fault_ns > LZ_CALM_NS;
}

bool lz_ahead_is_pressed(const struct lz_engine *e)
{
	return !lz_engine_is_calm(e) && e->nr_storm < LZ_STORM_FAULTS;
}

/*
 * Bytes of a slice: half as many while faults come, for each may have to wait behind one; unless
 * they come in a storm, whose end is sooner with whole ones. But a link may be slow. While none
 * come it is a whole stretch, where the last was copied from where it was mapped.
 */
static uint64_t slice_bytes(const struct lz_engine *e, bool remote)
{
	uint64_t bytes = remote ? lz_window_slice(&e->window) : LZ_SLICE_BYTES;
	uint64_t storm = remote ? UINT64_MAX : e->sweep_waits ? LZ_STORM_FAULTS : LZ_STORM_BEGINS;

	if (lz_engine_is_calm(e))
		return remote || !e->sweep_maps ? bytes : LZ_STRETCH_BYTES;
	return e->nr_storm >= storm
		       ? bytes
		       : (bytes / 2 + LZ_WINDOW_PAGE - 1) & ~(uint64_t)(LZ_WINDOW_PAGE - 1);
}

static uint64_t slice_pages(const struct lz_engine *e, const struct lz_space *s,
			    const struct lz_run *run)
{
	uint64_t n = slice_bytes(e, lz_space_is_remote(s, run)) >> run->page_shift;

	return n ? n : 1;
}

/* Owed, not busy, together in their source. */
uint64_t lz_ahead_slice(const struct lz_engine *e, const struct lz_space *s, uint64_t page,
			uint64_t max)
{
	uint64_t n = slice_pages(e, s, lz_plan_run(s->plan, page));

	n = lz_plan_extent(s->plan, page, lz_limits_least(n, max));
	n = lz_bits_next_clear(&s->owed, page, page + n) - page;
	return lz_bits_next_within(&s->busy, page, page + n) - page;
}

/*
 * Who waits for what is on its way, as in a replay, has nothing before it of what is asked for from
 * now on; who has to ask does, but in a storm that is what ends it.
 */
static enum lz_window_pace pace_of(const struct lz_engine *e, enum lz_req_cause cause)
{
	if (e->missed_ns && e->now_ns - e->missed_ns <= LZ_CALM_NS)
		return e->nr_storm < LZ_STORM_BEGINS ? LZ_WINDOW_PRESSED : LZ_WINDOW_STORM;
	return cause == LZ_FOR_WANTED ? LZ_WINDOW_WANTED : LZ_WINDOW_CALM;
}

static struct lz_req *take(struct lz_engine *e, enum lz_req_cause cause, bool remote)
{
	if (remote)
		lz_window_set_pace(&e->window, pace_of(e, cause));
	if (remote && !lz_window_allows(&e->window, slice_bytes(e, true)))
		return NULL;
	return lz_reqs_take(e, cause, remote);
}

static bool read_pages(struct lz_engine *e, struct lz_req *q, uint32_t space, uint64_t first,
		       uint64_t nr, enum lz_req_cause cause, struct lz_action *out)
{
	lz_reqs_begin(e, q, space, first, nr, cause);
	lz_reqs_read(e, q, out);
	return true;
}

/* ---- neighbours ---- */

/* How far from @page the next fault will be, if as far as this is from the last; 1: who knows. */
static int64_t stride_to(const struct lz_space *s, uint64_t page)
{
	int64_t stride = (int64_t)(page - s->stream_last);

	return stride && stride >= -LZ_STRIDE_MAX && stride <= LZ_STRIDE_MAX ? stride : 1;
}

/*
 * The sweep of this kind goes on from @page, unless faults are all over the place; over a wire
 * nothing is gained by that, and a cold disk behind it loses. The other kind's stays where it is:
 * its pages may be far from here.
 */
static void turn_to(struct lz_space *s, bool remote, uint64_t page, bool goes_on)
{
	int64_t far = (int64_t)(page - s->stream_last);

	s->nr_astray = goes_on || (far >= -LZ_STRIDE_MAX && far <= LZ_STRIDE_MAX)
			       ? 0
			       : s->nr_astray + 1;
	if (remote || s->nr_astray < LZ_ASTRAY_FAULTS)
		s->front[remote].ahead = s->front[remote].behind = page;
}

static void put_hint(struct lz_engine *e, struct lz_hint h)
{
	if (e->nr_hints == LZ_HINTS_MAX)
		memmove(e->hint, e->hint + 1, --e->nr_hints * sizeof(*e->hint));
	e->hint[e->nr_hints++] = h;
}

/*
 * Is it a stream, and how far to run ahead of it? Twice as far as before where a fault is where it
 * was waited for; where it is not, half as far, and it may be the begin of another: forward,
 * backward or in strides.
 */
void lz_ahead_follow(struct lz_engine *e, const struct lz_req *q)
{
	struct lz_space *s = &e->space[q->space];
	uint64_t page = q->first, passed;
	bool follows = page == s->stream_last + 1, goes_on = follows || page == s->stream_next;

	turn_to(s, q->remote, page, goes_on);
	if (!goes_on)
		s->stride = stride_to(s, page);
	else if (follows || !s->stride)
		s->stride = 1;
	s->window = !goes_on ? s->window / 2 : s->window ? s->window * 2 : 4;
	s->window = lz_limits_least(s->window, s->stride == 1 ? LZ_WINDOW_MAX : LZ_WINDOW_OTHER);
	s->stream_last = page;
	/* Of one that only may have begun nothing is fetched but what lies behind. */
	passed = goes_on || s->stride == 1 ? s->window : 0;
	s->stream_next = page + (uint64_t)(s->stride * (int64_t)(passed + 1));
	if (!s->window || !e->started || e->options.no_sweep)
		return;
	if (!goes_on || s->stride == 1)
		put_hint(e, (struct lz_hint){ q->space, page + 1, s->window, 1 });
	else if (s->stride == -1) /* in the order in which one reads: it is one slice */
		put_hint(e, (struct lz_hint){ q->space, page - lz_limits_least(s->window, page),
					      lz_limits_least(s->window, page), 1 });
	else
		put_hint(e, (struct lz_hint){ q->space, page + (uint64_t)s->stride, s->window,
					      s->stride });
}

/* Where @h goes on, and in *n how many pages there may be from there on; false: nowhere. */
static bool next_of_hint(const struct lz_hint *h, const struct lz_space *s, uint64_t *page,
			 uint64_t *n)
{
	uint64_t end = lz_limits_least(h->step == 1 ? h->page + h->nr : h->page + 1, s->owed.nr);

	*page = h->page;
	/* Backward, what would be before the first page is behind the last. */
	if (!h->nr || h->page >= end || s->retry_ns)
		return false;
	if (h->step == 1)
		*page = lz_bits_next(&s->owed, h->page);
	*n = *page < end ? end - *page : 0;
	return *n;
}

static void pass(struct lz_hint *h, uint64_t page, uint64_t n)
{
	if (h->step == 1) {
		h->nr = h->page + h->nr - page - n;
		h->page = page + n;
	} else {
		h->nr--;
		h->page += (uint64_t)h->step;
	}
}

/* A hint that has to wait keeps none behind it: theirs may be another source. */
bool lz_ahead_neighbour(struct lz_engine *e, struct lz_action *out)
{
	unsigned i = 0;

	while (i < e->nr_hints) {
		struct lz_hint *h = &e->hint[i];
		struct lz_space *s = &e->space[h->space];
		uint32_t space = h->space;
		uint64_t page, n;
		struct lz_req *q;

		if (!next_of_hint(h, s, &page, &n)) {
			memmove(h, h + 1, (--e->nr_hints - i) * sizeof(*h));
			continue;
		}
		q = take(e, LZ_FOR_NEIGHBOUR, lz_space_is_remote(s, lz_plan_run(s->plan, page)));
		if (!q) {
			i++;
			continue;
		}
		n = lz_ahead_slice(e, s, page, n);
		pass(h, page, n ? n : 1);
		if (n)
			return read_pages(e, q, space, page, n, LZ_FOR_NEIGHBOUR, out);
	}
	return false;
}

/* ---- what is wanted ---- */

enum { TOGETHER = UINT32_MAX };

/* @s, if it is of that memory and something can be placed in it. */
static struct lz_space *is_of(struct lz_space *s, uint32_t memory)
{
	return s->state == LZ_SPACE_OPEN && s->memory == memory && !s->kill ? s : NULL;
}

struct lz_space *lz_ahead_root(struct lz_engine *e, uint32_t memory)
{
	return is_of(&e->space[e->root[memory]], memory);
}

uint64_t lz_ahead_missing(const struct lz_space *s, uint64_t from, uint64_t to)
{
	while ((from = lz_bits_next_within(&s->owed, from, to)) < to &&
	       lz_bits_test(&s->busy, from))
		from = lz_bits_next_clear(&s->busy, from, to);
	return from;
}

/*
 * Each page is asked for once, in its turn; what could not come then is the sweep's. A space that
 * is stalled, or a source that has its share of requests, keeps those behind it in the order
 * waiting, and nobody else: the sweep goes on. @alone: the space that walks; TOGETHER: all, each
 * run in the space of its memory. *left: runs that may yet be passed.
 */
static bool walk(struct lz_engine *e, struct lz_walk *k, uint32_t alone, bool remote,
		 unsigned *left, struct lz_action *out)
{
	struct lz_wanted *w = &e->wanted[remote];
	struct lz_req *q;

	for (; k->at < w->nr; k->at++, k->done = 0) {
		const struct lz_wanted_run *r = &w->run[k->at];
		uint32_t space = alone == TOGETHER ? e->root[r->memory] : alone;
		uint64_t end = r->first + r->nr, page = end, n;
		struct lz_space *s = is_of(&e->space[space], r->memory);

		w->holds = w->rests = !*left;
		if (w->rests)
			return false;
		--*left;
		if (s)
			page = lz_ahead_missing(s, r->first + k->done, end);
		if (page == end)
			continue;
		if (s->retry_ns || lz_reqs_are_crowded(e, s, page, LZ_FOR_WANTED))
			return false;
		q = take(e, LZ_FOR_WANTED, remote);
		w->holds = !q;
		if (!q)
			return false;
		n = lz_ahead_slice(e, s, page, lz_limits_least(end - page, LZ_SLICE_PAGES));
		k->done = (uint32_t)(page + n - r->first);
		return read_pages(e, q, space, page, n, LZ_FOR_WANTED, out);
	}
	return false;
}

/* Those who walk alone take turns, a request each. */
static bool want_kind(struct lz_engine *e, bool remote, struct lz_action *out)
{
	struct lz_wanted *w = &e->wanted[remote];
	unsigned left = LZ_PASSED_MAX;
	bool dry = true, asked;

	if (w->dry || w->rests)
		return false;
	w->holds = false;
	if (!e->each_walks)
		return walk(e, &w->walk, TOGETHER, remote, &left, out);
	for (uint32_t n = 0; n < e->nr_spaces && !w->holds; n++) {
		uint32_t i = (w->turn + n) % e->nr_spaces;
		struct lz_space *s = &e->space[i];

		if (!s->walks || s->walk[remote].at == w->nr)
			continue;
		asked = walk(e, &s->walk[remote], i, remote, &left, out);
		if (asked || w->rests)
			w->turn = i + 1;
		if (asked)
			return true;
		dry = dry && s->walk[remote].at == w->nr;
	}
	w->dry = dry && !w->holds;
	return false;
}

bool lz_ahead_wanted(struct lz_engine *e, struct lz_action *out)
{
	if (!e->started || e->abandoned)
		return false;
	return (e->has_remote && !e->released && want_kind(e, true, out)) ||
	       want_kind(e, false, out);
}

/* ---- the sweep ---- */

/* The first page from @page on that is owed, not on its way, and of this kind. */
static uint64_t wanted_from(const struct lz_space *s, uint64_t page, bool remote)
{
	const struct lz_run *run = NULL;

	while ((page = lz_bits_next(&s->owed, page)) < s->owed.nr) {
		if (lz_bits_test(&s->busy, page)) {
			page = lz_bits_next_clear(&s->busy, page, s->busy.nr);
			continue;
		}
		if (!s->mixed)
			return page;
		run = lz_plan_run_near(s->plan, run, page);
		if (lz_space_is_remote(s, run) == remote)
			return page;
		page = run->first + lz_plan_run_pages(s->plan, run);
	}
	return s->owed.nr;
}

uint64_t lz_ahead_first(const struct lz_space *s)
{
	return lz_limits_least(wanted_from(s, 0, false), wanted_from(s, 0, true));
}

static uint64_t last_before(const struct lz_space *s, uint64_t end, bool remote)
{
	uint64_t nr = s->owed.nr, page = lz_bits_prev(&s->owed, end);
	const struct lz_run *run;

	while (page < nr) {
		if (lz_bits_test(&s->busy, page)) {
			page = lz_bits_prev(&s->owed, page);
			continue;
		}
		run = s->mixed ? lz_plan_run(s->plan, page) : NULL;
		if (!run || lz_space_is_remote(s, run) == remote)
			break;
		page = lz_bits_prev(&s->owed, run->first);
	}
	return page;
}

/* The slice that ends at the last wanted page before @end; its first page, nr_pages if none. */
static uint64_t wanted_before(const struct lz_engine *e, const struct lz_space *s, uint64_t end,
			      bool remote)
{
	uint64_t page = last_before(s, end, remote), first, n, max;

	if (page >= s->owed.nr)
		return s->owed.nr;
	max = slice_pages(e, s, lz_plan_run(s->plan, page));
	for (first = page; first && page - first < max - 1; first--)
		if (!lz_bits_test(&s->owed, first - 1) || lz_bits_test(&s->busy, first - 1))
			break;
	while (first + (n = lz_ahead_slice(e, s, first, page + 1 - first)) <= page)
		first += n;
	return first;
}

/* The next slice, or block, of a space's sweep in one of its directions. */
static bool sweep_to(struct lz_engine *e, uint32_t space, bool remote, bool backward,
		     struct lz_req *q, struct lz_action *out)
{
	struct lz_space *s = &e->space[space];
	struct lz_front *f = &s->front[remote];
	uint64_t nr = s->owed.nr, ahead = nr, behind = nr, page, first, n;
	enum lz_blocks_how how;
	struct lz_block *b;

	if (!backward)
		f->ahead = ahead = wanted_from(s, f->ahead, remote);
	if (ahead == nr)
		behind = wanted_before(e, s, f->behind, remote);
	page = ahead < nr ? ahead : behind;
	if (page == nr) { /* one front has come to its end, or pages were left between the two */
		f->behind = 0;
		f->ahead = page = ahead = wanted_from(s, backward ? f->ahead : 0, remote);
	}
	if (page == nr)
		page = ahead = wanted_from(s, 0, remote);
	f->dry = page == nr;
	if (f->dry)
		return false;
	first = page;
	n = lz_ahead_slice(e, s, page, LZ_STRETCH_PAGES);
	how = remote ? LZ_BLOCKS_SLICE : lz_blocks_ask(e, space, page, &b, out);
	if (how == LZ_BLOCKS_FETCH) {
		first = b->first;
		n = b->nr;
	} else if (how == LZ_BLOCKS_WAIT ||
		   (!remote && lz_reqs_are_crowded(e, s, page, LZ_FOR_SWEEP))) {
		return false;
	}
	f->backward = backward;
	if (page == ahead)
		f->ahead = first + n;
	else
		f->behind = first;
	return how == LZ_BLOCKS_FETCH || read_pages(e, q, space, first, n, LZ_FOR_SWEEP, out);
}

/* From the last fault outward, both ways by turns; one of them may have to wait for its source. */
static bool sweep(struct lz_engine *e, uint32_t space, bool remote, struct lz_req *q,
		  struct lz_action *out)
{
	const struct lz_front *f = &e->space[space].front[remote];
	bool backward = !f->backward;

	return sweep_to(e, space, remote, backward, q, out) ||
	       (!f->dry && sweep_to(e, space, remote, !backward, q, out));
}

static bool sweep_kind(struct lz_engine *e, bool remote, struct lz_action *out)
{
	struct lz_req *q = e->wanted[remote].holds ? NULL : take(e, LZ_FOR_SWEEP, remote);

	for (uint32_t n = 0; q && n < e->nr_spaces; n++) {
		uint32_t i = (e->sweep_space[remote] + n) % e->nr_spaces;
		const struct lz_space *s = &e->space[i];

		if (!s->nr_owed || s->retry_ns || s->kill || s->front[remote].dry)
			continue;
		if (sweep(e, i, remote, q, out)) {
			e->sweep_space[remote] = i + 1;
			return true;
		}
	}
	return false;
}

/* The next slice of what has been fetched. */
static bool sweep_block(struct lz_engine *e, struct lz_action *out)
{
	struct lz_req *q = e->wanted[LZ_LOCAL].holds ? NULL : take(e, LZ_FOR_SWEEP, false);
	struct lz_block *b = q ? lz_blocks_here(e) : NULL;
	const struct lz_space *s = b ? &e->space[b->space] : NULL;
	uint64_t page, n;
	uint32_t space;

	if (!b)
		return false;
	space = b->space;
	page = b->next;
	n = lz_ahead_slice(e, s, page, b->first + b->nr - page);
	lz_blocks_read(e, b, n);
	return read_pages(e, q, space, page, n, LZ_FOR_SWEEP, out);
}

static bool may_sweep(const struct lz_engine *e)
{
	return e->started && !e->abandoned && !e->options.no_sweep;
}

bool lz_ahead_block(struct lz_engine *e, struct lz_action *out)
{
	bool over = e->block_over;

	e->block_over = false;
	return over && may_sweep(e) && sweep_kind(e, false, out);
}

bool lz_ahead_sweep(struct lz_engine *e, struct lz_action *out)
{
	if (!may_sweep(e))
		return false;
	if (e->has_remote && !e->released && sweep_kind(e, true, out))
		return true;
	/* The next block is asked for before the one that is here is placed. */
	return sweep_kind(e, false, out) || sweep_block(e, out);
}
