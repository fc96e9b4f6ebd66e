/* SPDX-License-Identifier: MIT */
/*
 * The order in which faults are answered. Up to SPACES spaces, each with a plan and a source of its
 * own, or all with the same, and THREADS threads in each that do nothing but fault; some reads end
 * at once, some later and in any order. Messages are read before every action, as the loop reads
 * them. Nothing moves and nothing fails: what that does to pages is sim.c's.
 *
 * A page that threads wait for is placed, and then of all others who wait and whose fault was noted
 * before:
 *
 *   - nobody's bytes are here, if they were asked for before the fault came, or because of it;
 *   - who has not been asked for, for want of a free request, is passed by no more faults than
 *     there are requests, not counting while its source owes an answer.
 *
 * Who finds the queue of faults full is woken when it is empty, and has waited since then.
 */
#include "tests/prop/fair.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "uffd/engine.h"
#include "uffd/limits.h"

enum { SHIFT = 12, PAGES = 96, SPACES = 6, THREADS = 4, STEPS = 500 };
static const uint64_t BASE = 0x100000;

struct thread {
	bool waits, sent;     /* sent: a message of it has not been read */
	bool noted;           /* one has been, and found room */
	uint64_t page, since; /* when that was */
	unsigned passed;
};

struct request {
	bool live, here; /* its bytes */
	bool urgent;
	uint32_t space;
	uint64_t first, nr, begun;
};

struct fair {
	struct gen *gen;
	struct lz_engine *e;
	struct lz_stats stats;
	struct thread thread[SPACES][THREADS];
	struct request req[LZ_REQS_MAX];
	bool is_there[SPACES][PAGES], closed[SPACES];
	uint32_t nr_spaces, nr_threads;
	bool one_plan, at_once;
	uint64_t now;
};

struct fair_outcomes fair_outcomes;

static void feed(struct fair *f, struct lz_event ev)
{
	ev.now_ns = ++f->now;
	assert(!lz_engine_feed(f->e, &ev));
	lz_engine_check(f->e);
}

static struct request *request_of(struct fair *f, uint32_t space, uint64_t page)
{
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++) {
		struct request *q = &f->req[i];

		if (q->live && q->space == space && page >= q->first && page - q->first < q->nr)
			return q;
	}
	return NULL;
}

static bool source_is_slow(const struct fair *f, uint32_t space)
{
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		if (f->req[i].live && !f->req[i].here && (f->one_plan || f->req[i].space == space))
			return true;
	return false;
}

/* ---- threads ---- */

static void touch(struct fair *f, uint32_t space, struct thread *t)
{
	if (t->waits)
		return;
	*t = (struct thread){ .page = gen_below(f->gen, PAGES) };
	t->waits = t->sent = !f->is_there[space][t->page];
}

/* A thread that was woken looks again. */
static void wake(struct fair *f, uint32_t space, struct lz_range r)
{
	for (uint32_t n = 0; n < f->nr_threads; n++) {
		struct thread *t = &f->thread[space][n];
		uint64_t at = BASE + (t->page << SHIFT);

		if (at < r.start || at >= r.end)
			continue;
		t->waits = t->sent = t->waits && !f->is_there[space][t->page];
	}
}

static void read_messages(struct fair *f, uint32_t space)
{
	uint32_t first = gen_below(f->gen, f->nr_threads); /* to run, of those that were woken */

	for (uint32_t n = 0; n < f->nr_threads; n++) {
		struct thread *t = &f->thread[space][(first + n) % f->nr_threads];
		struct lz_event ev = { .type = LZ_EV_FAULT, .space = space };
		uint64_t waiting;
		bool finds_room;

		if (!t->sent)
			continue;
		lz_engine_gauge(f->e);
		waiting = f->stats.n.waiting;
		ev.range.start = BASE + (t->page << SHIFT);
		ev.range.end = ev.range.start + (1 << SHIFT);
		feed(f, ev);
		lz_engine_gauge(f->e);
		finds_room = f->stats.n.waiting > waiting;
		fair_outcomes.crowded += !finds_room;
		if (finds_room && !t->noted)
			t->since = f->now;
		t->noted = t->noted || finds_room;
		t->sent = false;
	}
}

/* ---- what is asked of the order ---- */

static uint64_t oldest_within(const struct fair *f, uint32_t space, uint64_t first, uint64_t end)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t n = 0; n < f->nr_threads; n++) {
		const struct thread *t = &f->thread[space][n];

		if (t->waits && t->noted && t->page >= first && t->page < end && t->since < oldest)
			oldest = t->since;
	}
	return oldest;
}

/* Somebody who has waited since @since is answered, and @t, who has waited longer, is not. */
static void pass(struct fair *f, uint32_t space, struct thread *t)
{
	const struct request *q = request_of(f, space, t->page);

	fair_outcomes.late += q && !q->here;
	assert(!q || !q->here || (q->begun > t->since && !q->urgent));
	if ((q && !q->here) || source_is_slow(f, space))
		return;
	fair_outcomes.kept++;
	assert(++t->passed <= LZ_REQS_MAX);
}

static void check_order(struct fair *f, uint32_t space, uint64_t first, uint64_t end)
{
	uint64_t since = oldest_within(f, space, first, end);

	fair_outcomes.swept += since == UINT64_MAX;
	if (since == UINT64_MAX)
		return;
	fair_outcomes.answered++;
	for (uint32_t i = 0; i < f->nr_spaces; i++)
		for (uint32_t n = 0; n < f->nr_threads; n++) {
			struct thread *t = &f->thread[i][n];

			if (t->waits && t->noted && t->since < since &&
			    (i != space || t->page < first || t->page >= end))
				pass(f, i, t);
		}
}

/* ---- actions ---- */

static void end_read(struct fair *f, uint32_t req)
{
	struct request *q = &f->req[req];

	if (!q->live || q->here)
		return;
	q->here = true;
	feed(f, (struct lz_event){ .type = LZ_EV_READ,
				   .space = q->space,
				   .req = req,
				   .res = (int64_t)(q->nr << SHIFT) });
}

static void do_read(struct fair *f, const struct lz_action *a)
{
	struct request *q = &f->req[a->req];

	assert(!a->skip && (!q->live || q->here));
	*q = (struct request){ .live = true,
			       .urgent = a->urgent,
			       .space = a->space,
			       .first = a->offset >> SHIFT,
			       .nr = a->len >> SHIFT,
			       .begun = ++f->now };
	if (f->at_once || gen_one_in(f->gen, 2))
		end_read(f, a->req);
}

static void do_copy(struct fair *f, const struct lz_action *a)
{
	struct request *q = &f->req[a->req];
	uint64_t first = (a->dst.start - BASE) >> SHIFT, end = (a->dst.end - BASE) >> SHIFT;

	assert(q->here && first >= q->first && end <= q->first + q->nr);
	check_order(f, a->space, first, end);
	for (uint64_t page = first; page < end; page++)
		f->is_there[a->space][page] = true;
	q->live = end < q->first + q->nr;
	wake(f, a->space, a->dst);
	feed(f, (struct lz_event){ .type = LZ_EV_PLACED,
				   .did = a->type,
				   .space = a->space,
				   .req = a->req,
				   .range = a->dst,
				   .res = (int64_t)lz_range_len(a->dst) });
}

static bool act(struct fair *f)
{
	struct lz_action a;

	if (!lz_engine_next(f->e, &a))
		return false;
	if (a.type == LZ_ACT_READ) {
		do_read(f, &a);
	} else if (a.type == LZ_ACT_COPY) {
		do_copy(f, &a);
	} else if (a.type == LZ_ACT_ZERO) { /* its message was read when the page was there */
		assert(f->is_there[a.space][(a.dst.start - BASE) >> SHIFT]);
		feed(f, (struct lz_event){ .type = LZ_EV_PLACED,
					   .did = a.type,
					   .space = a.space,
					   .req = a.req,
					   .range = a.dst,
					   .res = -EEXIST });
	} else if (a.type == LZ_ACT_CLOSE) {
		f->closed[a.space] = true;
		feed(f, (struct lz_event){ .type = LZ_EV_CLOSED, .space = a.space });
	} else if (a.type == LZ_ACT_FETCH) { /* nobody waits for that */
		feed(f, (struct lz_event){ .type = LZ_EV_FETCHED, .req = a.req });
	} else {
		assert(a.type == LZ_ACT_WAKE);
		wake(f, a.space, a.dst);
	}
	return true;
}

/* ---- one schedule ---- */

static void setup(struct fair *f, struct gen *g)
{
	const struct lz_seg seg = { BASE, BASE + (PAGES << SHIFT), BASE, SHIFT, 0 };
	const struct lz_piece all = { BASE, PAGES << SHIFT, 0, 0, SHIFT };
	struct lz_engine_options o = { .stats = &f->stats, .no_sweep = !gen_one_in(g, 3) };
	struct lz_plan *plan = NULL;

	memset(f, 0, sizeof(*f));
	f->gen = g;
	f->nr_spaces = 1 + gen_below(g, SPACES);
	f->nr_threads = 1 + gen_below(g, THREADS);
	f->one_plan = gen_one_in(g, 2);
	f->at_once = gen_one_in(g, 2);
	assert(!lz_engine_new(&f->e, &o));
	for (uint32_t i = 0; i < f->nr_spaces; i++) {
		struct lz_attach a = { .space = i, .memory = i, .seg = &seg, .nr_segs = 1 };

		if (!plan || !f->one_plan) {
			lz_plan_put(plan);
			assert(!lz_plan_new(&plan) && !lz_plan_add(plan, &all));
			lz_plan_seal(plan);
		}
		a.plan = plan;
		assert(!lz_engine_attach(f->e, &a));
	}
	lz_plan_put(plan);
	feed(f, (struct lz_event){ .type = LZ_EV_START });
}

void fair_run(struct gen *g)
{
	static struct fair f;

	setup(&f, g);
	for (int n = 0; n < STEPS; n++) {
		uint32_t first = gen_below(g, f.nr_spaces);

		for (uint32_t i = 0; i < f.nr_spaces; i++)
			for (uint32_t t = 0; t < f.nr_threads; t++)
				if (!f.closed[i] && gen_one_in(g, 2))
					touch(&f, i, &f.thread[i][t]);
		if (gen_one_in(g, 3))
			end_read(&f, gen_below(g, LZ_REQS_MAX));
		for (uint32_t i = 0; i < f.nr_spaces; i++)
			if (!f.closed[(first + i) % f.nr_spaces])
				read_messages(&f, (first + i) % f.nr_spaces);
		(void)act(&f);
	}
	lz_engine_free(f.e);
}
