/* SPDX-License-Identifier: MIT */
/*
 * The recording half of the engine: every event changes state here and nothing else happens. What
 * is done about it is decided in next.c.
 */
#include "uffd/engine_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int lz_engine_new(struct lz_engine **out, const struct lz_engine_options *options)
{
	struct lz_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	assert(options->stats);
	assert(options->nr_reqs <= LZ_REQS_MAX);
	e->options = *options;
	e->has_remote = options->has_remote;
	e->each_walks = options->stays;
	if (!options->nr_reqs)
		e->options.nr_reqs = LZ_REQS_LOCAL;
	lz_reqs_init(e);
	*out = e;
	return 0;
}

void lz_engine_free(struct lz_engine *e)
{
	if (!e)
		return;
	for (uint32_t i = 0; i < e->nr_spaces; i++)
		if (e->space[i].state != LZ_SPACE_FREE)
			lz_space_close(&e->space[i]);
	for (int kind = 0; kind < 2; kind++)
		lz_wanted_fini(&e->wanted[kind]);
	for (uint32_t i = 0; i < LZ_MEMORIES_MAX; i++)
		lz_bits_fini(&e->noted[i]);
	free(e);
}

int lz_engine_free_space(const struct lz_engine *e)
{
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (e->space[i].state == LZ_SPACE_FREE)
			return (int)i;
	return -ENOSPC;
}

static void opened(struct lz_engine *e, uint32_t space)
{
	if (space >= e->nr_spaces)
		e->nr_spaces = space + 1;
	e->nr_open++;
	e->may_close = true;
	if (space < e->release_space)
		e->release_space = space;
}

/* No page of a memory is to be noted twice, by whomever, nor one that a dead engine has noted. */
static int know_noted(struct lz_engine *e, uint32_t memory, const struct lz_plan *plan)
{
	const struct lz_record *record = e->options.record;
	struct lz_bits *noted = &e->noted[memory];
	int r;

	if (!record || noted->nr)
		return 0;
	r = lz_bits_init(noted, lz_plan_nr_pages(plan), NULL);
	for (uint64_t i = 0; !r && i < record->nr; i++) {
		const struct lz_touch *t = &record->touch[i];

		if (t->memory == memory)
			lz_bits_set(noted, lz_plan_page_from(plan, t->identity),
				    lz_plan_page_from(plan, lz_record_end(t)));
	}
	return r;
}

int lz_engine_attach(struct lz_engine *e, const struct lz_attach *a)
{
	struct lz_space *s = &e->space[a->space];
	int r;

	assert(a->space < LZ_SPACES_MAX && a->memory < LZ_MEMORIES_MAX);
	if (e->released && lz_plan_remote(a->plan) != UINT32_MAX)
		return -ESHUTDOWN;
	r = know_noted(e, a->memory, a->plan);
	if (!r)
		r = lz_space_open(s, a->plan, a->seg, a->nr_segs, a->words, a->resumed);
	if (r)
		return r;
	s->memory = a->memory;
	s->walks = e->each_walks;
	e->wanted[LZ_LOCAL].dry = e->wanted[LZ_REMOTE].dry = false;
	if (!lz_ahead_root(e, a->memory))
		e->root[a->memory] = a->space;
	opened(e, a->space);
	if (!e->first_plan)
		e->first_plan = a->plan;
	e->many_sources = e->many_sources || a->plan != e->first_plan || lz_plan_is_mixed(a->plan);
	e->has_remote = e->has_remote || s->remote != UINT32_MAX;
	if (!a->resumed)
		e->options.stats->n.pages_total += s->nr_owed;
	return 0;
}

void lz_engine_wake(struct lz_engine *e, uint32_t space, struct lz_range range)
{
	struct lz_space *s = &e->space[space];

	e->look_again = true;
	if (s->wake_all)
		return;
	if (e->nr_wakes < LZ_WAKES_MAX) {
		e->wake[e->nr_wakes++] = (struct lz_wake){ space, range };
		return;
	}
	s->wake_all = true;
	e->nr_wake_all++;
}

static void unstall(struct lz_engine *e, struct lz_space *s)
{
	if (!s->retry_ns)
		return;
	s->retry_ns = 0;
	e->nr_stalled--;
}

/* Fills must wait: for the next layout event of this space, or for the time. */
static void stall(struct lz_engine *e, struct lz_space *s)
{
	if (s->retry_ns)
		return;
	s->delay_ns = s->delay_ns ? s->delay_ns * 2 : LZ_RETRY_MIN_NS;
	if (s->delay_ns > LZ_RETRY_MAX_NS)
		s->delay_ns = LZ_RETRY_MAX_NS;
	s->retry_ns = e->now_ns + s->delay_ns;
	e->nr_stalled++;
}

static void feed_fault(struct lz_engine *e, struct lz_fault f)
{
	struct lz_space *s = &e->space[f.space];

	if (e->nr_faults < LZ_FAULTS_MAX) {
		e->fault[e->nr_faults++] = f;
		return;
	}
	/* Full: it is woken once there is room, faults again, and the kernel queues it anew:
	 * overflow costs time and never a page. Not woken at once: its next message would be handed
	 * out before the layout event that the others may be waiting for, and so for ever. */
	e->nr_crowded += !s->crowded;
	s->crowded = true;
}

/* Its process is gone, or as good as: nothing can be placed in it any more. */
static void feed_exit(struct lz_engine *e, struct lz_space *s)
{
	uint64_t n = lz_space_settle(s, 0, s->owed.nr);

	if (s->gone)
		return;
	if (s->kill || e->abandoned)
		e->options.stats->n.pages_lost += n;
	else
		e->options.stats->n.pages_gone += n;
	e->options.stats->n.ev_exit++;
	if (s->kill)
		e->nr_kills--;
	s->kill = false;
	s->gone = true;
	unstall(e, s);
	e->may_close = true;
}

static void feed_read(struct lz_engine *e, const struct lz_event *ev)
{
	struct lz_req *q = &e->req[ev->req];
	uint32_t shift = q->run->page_shift;
	uint64_t asked = lz_reqs_asked(q);

	if (q->cause == LZ_FOR_SWEEP && !q->remote) {
		e->sweep_waits = e->nr_looks != q->read_at;
		e->sweep_maps = ev->mapped;
	}
	q->have = q->done;
	q->unmapped = q->unmapped || ev->res == -EMSGSIZE;
	if (ev->res >= 0) {
		assert((uint64_t)ev->res >> shift <= asked);
		q->have += (uint64_t)ev->res >> shift;
	}
	/* A read that failed, or met the end of the source, is asked again page by page: only the
	 * pages that cannot be had are lost, and each has said so itself. */
	if (q->have == q->done && asked == 1)
		q->lost = true;
	q->alone = q->alone || (q->have < q->done + asked && ev->res != -EMSGSIZE);
	if (q->remote)
		lz_window_got(&e->window, (q->have - q->done) << shift, e->now_ns, &q->mark);
	lz_reqs_enter(e, q, LZ_REQ_PLACING);
}

static void placed_ok(struct lz_engine *e, struct lz_space *s, struct lz_req *q, uint64_t n)
{
	struct lazyd_stats *st = &e->options.stats->n;
	uint64_t settled = lz_space_settle(s, q->first + q->done, n);

	assert(n <= q->nr - q->done);
	if (q->lost)
		st->pages_lost += settled;
	else if (q->cause == LZ_FOR_FAULT)
		st->pages_demand += settled;
	else if (q->cause == LZ_FOR_NEIGHBOUR)
		st->pages_neighbour += settled;
	else if (q->cause == LZ_FOR_WANTED)
		st->pages_replay += settled;
	else
		st->pages_sweep += settled;
	q->done += n;
	q->lost = q->doubted = false;
	q->step = q->step * 2 < q->nr ? q->step * 2 : q->nr;
	s->delay_ns = 0;
	if (q->done >= q->demanded && lz_reqs_test(&e->demanded, lz_reqs_number(e, q))) {
		lz_latency_note(&e->options.stats->latency, e->now_ns - q->since_ns);
		lz_reqs_put(&e->demanded, lz_reqs_number(e, q), false);
	}
}

/* The request's next page needs nothing of it; who waits there is to fault again. */
static void needless(struct lz_engine *e, struct lz_space *s, struct lz_req *q,
		     const struct lz_event *ev)
{
	e->options.stats->n.pages_gone += lz_space_settle(s, q->first + q->done, 1);
	q->done++;
	q->lost = q->doubted = false;
	lz_engine_wake(e, ev->space, lz_space_page_range(s, ev->range.start));
}

/* A placement for a request failed for a reason that is not "later". */
static void placed_not(struct lz_engine *e, struct lz_space *s, struct lz_req *q,
		       const struct lz_event *ev, uint64_t n)
{
	struct lazyd_stats *st = &e->options.stats->n;

	switch (ev->res) {
	case -EEXIST: /* there already; and EEXIST wakes nobody */
		st->res_eexist++;
		needless(e, s, q, ev);
		return;
	case -EFAULT: /* a mapped source that has shrunk: ask for the bytes themselves */
		if (ev->did == LZ_ACT_COPY && !q->unmapped) {
			q->unmapped = true;
			q->have = q->done;
			return;
		}
		/* A hole: zero, if anybody wants it. */
		if (ev->did == LZ_ACT_CONTINUE && n == 1) {
			needless(e, s, q, ev);
			return;
		}
		break;
	case -ENOENT:
		st->res_enoent++;
		break;
	default:
		break;
	}
	if (n > 1) { /* a seam may be within: mprotect splits an area without a word */
		q->step = n / 2;
	} else if (ev->res == -ENOENT) {
		q->doubted = true;
		q->layout = s->layout;
	} else if (ev->did != LZ_ACT_POISON) {
		q->lost = true;
	} else if (!s->kill) { /* cannot even be poisoned */
		s->kill = true;
		e->nr_kills++;
	}
}

/* It belongs to no request: the fault it answers is all there is to it. */
static void placed_alone(struct lz_engine *e, struct lz_space *s, const struct lz_event *ev)
{
	struct lazyd_stats *st = &e->options.stats->n;

	s->zero_pages = 0; /* what has failed is asked for alone when its thread comes again */
	if (ev->res > 0) {
		if (ev->did == LZ_ACT_ZERO) {
			s->zero_pages = lz_range_len(lz_space_page_range(s, ev->range.start));
			s->zero_pages = (uint64_t)ev->res / s->zero_pages;
			s->zero_next = ev->range.start + (uint64_t)ev->res;
		}
		st->pages_zero += s->zero_pages;
		lz_latency_note(&e->options.stats->latency, e->now_ns - e->alone_since_ns);
	} else {
		lz_engine_wake(e, ev->space, ev->range);
	}
	st->res_eexist += ev->res == -EEXIST;
	st->res_enoent += ev->res == -ENOENT;
}

static void feed_placed(struct lz_engine *e, const struct lz_event *ev)
{
	struct lz_space *s = &e->space[ev->space];
	struct lz_req *q = ev->req == LZ_REQ_NONE ? NULL : &e->req[ev->req];
	struct lazyd_stats *st = &e->options.stats->n;
	uint32_t shift;

	if (q)
		q->lent = false;
	if (ev->res == -EAGAIN || ev->res == -ENOMEM) {
		st->res_eagain++;
		stall(e, s);
		if (!q)
			feed_fault(e, (struct lz_fault){ ev->space, ev->did == LZ_ACT_CONTINUE,
							 ev->range.start, e->alone_since_ns });
		return;
	}
	if (ev->res == -ESRCH || ev->res == -ENOSPC) {
		feed_exit(e, s);
		return;
	}
	st->res_partial += ev->res > 0 && (uint64_t)ev->res < lz_range_len(ev->range);
	if (!q) {
		placed_alone(e, s, ev);
	} else {
		shift = q->run->page_shift;
		if (ev->res > 0)
			placed_ok(e, s, q, (uint64_t)ev->res >> shift);
		else
			placed_not(e, s, q, ev, lz_range_len(ev->range) >> shift);
	}
	e->may_close = e->may_close || !s->nr_owed;
}

/* What moves, drops or doubles pages. Who cancels a promise wakes those who trusted it. */
static int feed_layout(struct lz_engine *e, const struct lz_event *ev)
{
	struct lz_space *s = &e->space[ev->space];
	struct lazyd_stats *st = &e->options.stats->n;
	struct lz_range target = { ev->to, ev->to + lz_range_len(ev->range) };
	int r = 0;

	s->layout++;
	unstall(e, s);
	s->delay_ns = 0;
	switch (ev->type) {
	case LZ_EV_REMOVE:
		st->ev_remove++;
		st->pages_gone += lz_space_forget(s, ev->range);
		break;
	case LZ_EV_UNMAP:
		st->ev_unmap++;
		st->pages_gone += lz_space_forget(s, ev->range);
		/* Out of memory leaves segments without owed pages behind: harmless. */
		(void)lz_map_cut(&s->map, ev->range);
		break;
	case LZ_EV_REMAP:
		st->ev_remap++;
		st->pages_gone += lz_space_forget(s, target);
		r = lz_map_move(&s->map, ev->range, ev->to);
		if (r)
			st->pages_lost += lz_space_forget(s, ev->range);
		break;
	case LZ_EV_FORK:
		st->ev_fork++;
		r = lz_space_fork(&e->space[ev->child], s, ev->words);
		if (r)
			return r;
		opened(e, ev->child);
		st->pages_total += e->space[ev->child].nr_owed;
		return 0;
	default:
		assert(0);
	}
	lz_engine_wake(e, ev->space, ev->range);
	e->may_close = e->may_close || !s->nr_owed;
	return r;
}

static void feed_closed(struct lz_engine *e, uint32_t space)
{
	struct lz_space *s = &e->space[space];
	unsigned n = 0;

	assert(s->state != LZ_SPACE_FREE && !s->nr_reqs);
	unstall(e, s);
	e->nr_kills -= s->kill;
	e->nr_wake_all -= s->wake_all;
	e->nr_crowded -= s->crowded;
	for (unsigned i = 0; i < e->nr_wakes; i++)
		if (e->wake[i].space != space)
			e->wake[n++] = e->wake[i];
	e->nr_wakes = n;
	n = 0;
	for (unsigned i = 0; i < e->nr_faults; i++)
		if (e->fault[i].space != space)
			e->fault[n++] = e->fault[i];
	e->nr_faults = n;
	n = 0;
	for (unsigned i = 0; i < e->nr_hints; i++)
		if (e->hint[i].space != space)
			e->hint[n++] = e->hint[i];
	e->nr_hints = n;
	lz_blocks_disown(e, space);
	lz_space_close(s);
	e->nr_open--;
}

static void feed_tick(struct lz_engine *e)
{
	e->wanted[LZ_LOCAL].rests = e->wanted[LZ_REMOTE].rests = false;
	for (uint32_t i = 0; e->nr_stalled && i < e->nr_spaces; i++)
		if (e->space[i].retry_ns && e->space[i].retry_ns <= e->now_ns)
			unstall(e, &e->space[i]);
}

int lz_engine_feed(struct lz_engine *e, const struct lz_event *ev)
{
	struct lz_space *s = &e->space[ev->space];

	if (ev->now_ns > e->now_ns)
		e->now_ns = ev->now_ns;
	switch (ev->type) {
	case LZ_EV_FAULT:
		e->options.stats->n.faults++;
		e->nr_storm = lz_engine_is_calm(e) ? 1 : e->nr_storm + 1;
		e->fault_ns = e->now_ns;
		if (!s->gone)
			feed_fault(e, (struct lz_fault){ ev->space, ev->minor, ev->range.start,
							 e->now_ns });
		break;
	case LZ_EV_REMOVE:
	case LZ_EV_UNMAP:
	case LZ_EV_REMAP:
	case LZ_EV_FORK:
		return feed_layout(e, ev);
	case LZ_EV_EXIT:
		feed_exit(e, s);
		break;
	case LZ_EV_READ:
		feed_read(e, ev);
		break;
	case LZ_EV_FETCHED:
		lz_blocks_fetched(e, ev->req);
		break;
	case LZ_EV_PLACED:
		feed_placed(e, ev);
		break;
	case LZ_EV_CLOSED:
		feed_closed(e, ev->space);
		break;
	case LZ_EV_COSTLY:
		lz_window_coarsen(&e->window);
		break;
	case LZ_EV_START:
		e->started = e->may_close = true;
		break;
	case LZ_EV_SWEEP:
		e->options.no_sweep = false;
		break;
	case LZ_EV_FINISH:
		e->options.stays = false;
		break;
	case LZ_EV_ABANDON:
		e->options.stays = false;
		e->abandoned = e->started = e->may_close = true;
		e->nr_hints = 0;
		break;
	case LZ_EV_TICK:
		feed_tick(e);
		break;
	}
	return 0;
}

int lz_engine_want(struct lz_engine *e, const struct lz_plan *plan, uint32_t memory,
		   struct lz_range r)
{
	assert(memory < LZ_MEMORIES_MAX);
	e->wanted[LZ_LOCAL].dry = e->wanted[LZ_REMOTE].dry = false;
	return lz_wanted_add(e->wanted, plan, memory, r);
}

int lz_engine_bind(struct lz_engine *e, uint32_t space, uint64_t *words)
{
	e->may_close = true;
	return lz_space_bind(&e->space[space], words);
}

void lz_engine_count_into(struct lz_engine *e, struct lz_stats *stats)
{
	e->options.stats = stats;
}
