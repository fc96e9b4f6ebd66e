/* SPDX-License-Identifier: MIT */
/*
 * The engine, its journal and its state against the miniature kernel: random threads, random
 * answers, random deaths. What loop.c does with ioctls and a ring, sim_act.c does with kernel.c;
 * the core is the real one, built with limits so small that it meets them all. sim_run() is one
 * schedule; it aborts on a wrong byte, a silent zero, a hang, or a broken invariant.
 */
#include "tests/prop/sim_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ABSENT_STEPS = 4000 };

struct sim_outcomes sim_outcomes;

static const struct lz_piece PIECES[] = {
	{ 0x100000, 8 * PAGE, 0, 0, K_SHIFT },
	{ 0x108000, 5 * PAGE, 8 * PAGE, 0, K_SHIFT },  /* one run, two areas */
	{ 0x10d000, 4 * PAGE, 32 * PAGE, 0, K_SHIFT }, /* goes on in memory, not in the file */
	{ 0x112000, 1 * PAGE, 36 * PAGE, 0, K_SHIFT }, /* goes on in the file, not in memory */
	{ 0x114000, 1 * PAGE, 37 * PAGE, 0, K_SHIFT },
	{ 0x116000, 1 * PAGE, 3 * PAGE, 1, K_SHIFT }, /* another source */
	{ 0x118000, 3 * PAGE, 0x118000, S_PLACE, K_SHIFT },
	{ 0x11c000, 4 * PAGE, LARGE_OFFSET *PAGE, 1, K_SHIFT + 2 },
};

/* Pieces that are had over the wire lie there as their pages are numbered. */
static void make_plan(struct sim *s)
{
	uint64_t first = 0;
	int r = lz_plan_new(&s->plan);

	for (size_t i = 0; !r && i < sizeof(PIECES) / sizeof(PIECES[0]); i++) {
		struct lz_piece p = PIECES[i];
		bool may = p.source != S_PLACE;

		if (may &&
		    (s->wire == ALL_WIRE || (s->wire == SOME_WIRE && gen_one_in(s->gen, 2)))) {
			p.source = S_REMOTE;
			if (p.page_shift == K_SHIFT)
				p.offset = first * PAGE;
		}
		first += p.len >> p.page_shift;
		r = p.source == S_PLACE ? lz_plan_add_in_place(s->plan, &p)
					: lz_plan_add(s->plan, &p);
	}
	assert(!r);
	if (s->wire != NO_WIRE)
		lz_plan_set_remote(s->plan, S_REMOTE);
	lz_plan_seal(s->plan);
}

/* Pages of the image and others, in any order, some of them twice. */
static void make_wants(struct sim *s)
{
	s->nr_wants = gen_one_in(s->gen, 2) ? gen_below(s->gen, WANTS + 1) : 0;
	for (unsigned i = 0; i < s->nr_wants; i++) {
		uint64_t first = gen_below(s->gen, K_PAGES + 8), nr = gen_below(s->gen, 9);

		s->want[i].memory = gen_below(s->gen, ROOTS);
		s->want[i].range.start = K_BASE + first * PAGE;
		s->want[i].range.end = s->want[i].range.start + nr * PAGE;
	}
	s->no_sweep = gen_one_in(s->gen, 4);
	s->stays = gen_one_in(s->gen, 3);
	s->record_ns = gen_one_in(s->gen, 4) ? gen_below(s->gen, 1000) : 0;
}

static void setup(struct sim *s, struct gen *g, struct lz_state *st)
{
	memset(s, 0, sizeof(*s));
	s->gen = s->k.gen = g;
	s->st = st;
	memset(&st->stats, 0, sizeof(st->stats));
	memset(st->slot, 0, sizeof(st->slot));
	memset(&st->record, 0, sizeof(st->record));
	st->journal.nr[0] = st->journal.nr[1] = 0;
	lz_state_init(st, SIM_PAGES);
	stores_watch(st, lz_state_size(SIM_PAGES));
	s->on_lost = gen_one_in(g, 3) ? LAZYD_LOST_KILL : LAZYD_LOST_POISON;
	sources_init(&s->sources, g);
	s->wire = (enum wire)gen_below(g, 3);
	s->nr_reqs = LZ_REQS_LOCAL + gen_below(g, LZ_REQS_MAX - LZ_REQS_LOCAL + 1);
	s->waits = gen_one_in(g, 4);
	make_plan(s);
	make_wants(s);
	s->went_well = true;
	sim_make_engine(s);
	s->k.tokens = 1;
	for (int n = 0; n < K_FILE_PAGES; n++) {
		struct k_file_page *p = &s->k.file[n];

		p->is_there = !gen_one_in(g, 4);
		p->data = p->want = p->is_there ? ++s->k.tokens << 40 : 0;
	}
	sim_attach_root(s);
}

static void change_wire(struct sim *s, bool busy)
{
	s->now += gen_below(s->gen, 1000) * 1000;
	if (s->wire == NO_WIRE || s->sources.gone || s->absent || !gen_one_in(s->gen, 20))
		return;
	if (!s->sources.down) {
		s->sources.down = busy;
		sim_outcomes.remote_down += busy;
		return;
	}
	if (gen_one_in(s->gen, 4)) {
		sim_outcomes.remote_gone++;
		s->sources.gone = true;
		s->k.gone = sources_first(S_REMOTE);
		s->k.gone_end = sources_first(S_REMOTE + 1);
	}
	s->sources.down = false;
	s->now += UINT64_C(2000000000);
}

static bool may_come(const struct sim *s)
{
	return !s->abandoned && (s->stays ? !s->finished : !s->started);
}

/* @busy: threads act, and processes die; afterwards what has begun must come to its end. */
static void step(struct sim *s, bool busy)
{
	struct k_mm *mm = &s->k.mm[gen_below(s->gen, K_MMS)];

	s->busy = busy;
	if (busy && gen_one_in(s->gen, 20))
		stores_arm(1 + gen_below(s->gen, 60));
	switch (gen_below(s->gen, 10)) {
	default:
		if (busy && (s->started || !s->waits))
			k_thread_step(&s->k, mm);
		return;
	case 1:
		k_finish_op(&s->k, mm);
		return;
	case 2:
	case 3:
		(void)sim_read_messages(s, gen_below(s->gen, LZ_SPACES_MAX));
		break;
	case 4:
		sim_complete_read(s, gen_below(s->gen, LZ_REQS_MAX));
		sim_complete_fetch(s, gen_below(s->gen, LZ_BLOCKS_MAX));
		break;
	case 5:
		if (lz_engine_deadline(s->e) == UINT64_MAX)
			return;
		if (s->now < lz_engine_deadline(s->e))
			s->now = lz_engine_deadline(s->e);
		sim_feed(s, (struct lz_event){ .type = LZ_EV_TICK });
		break;
	case 7:
		change_wire(s, busy);
		return;
	case 6:
		if (busy && gen_one_in(s->gen, 40))
			sim_rebuild(s);
		else if (s->nr_roots < sim_max_roots(s) && may_come(s) && gen_one_in(s->gen, 3))
			sim_attach_root(s);
		else if (!s->started && gen_one_in(s->gen, 12))
			sim_start(s);
		else if (busy && s->started && gen_one_in(s->gen, 60))
			s->abandoned = s->k.may_poison = true;
		else
			return;
		if (s->abandoned)
			sim_feed(s, (struct lz_event){ .type = LZ_EV_ABANDON });
		break;
	}
	sim_run_actions(s);
	lz_engine_check(s->e);
}

void sim_run(struct gen *g, struct lz_state *st)
{
	static struct sim s;
	uint64_t rebuilt = sim_outcomes.rebuilt;
	int busy = 60 + (int)gen_below(g, 300), limit = 30000, n;
	bool done = false;

	setup(&s, g, st);
	sim_run_actions(&s);
	for (n = 0; n < limit && !done; n++) {
		if (g->bytes && !g->nr_bytes) { /* a fuzzer's last byte: the rest by a seed */
			g->bytes = NULL;
			g->seed = 88172645463325252u;
			busy = n;
		}
		step(&s, n < busy);
		if (n == busy && !s.started) {
			sim_start(&s);
			sim_run_actions(&s);
		}
		if (n == busy && s.stays) {
			s.finished = true;
			sim_feed(&s, (struct lz_event){ .type = LZ_EV_FINISH });
			sim_run_actions(&s);
		}
		if (n == busy && s.no_sweep) {
			lz_engine_gauge(s.e);
			sim_outcomes.unswept += s.st->stats.n.pages_owed != 0;
			s.no_sweep = false;
			sim_feed(&s, (struct lz_event){ .type = LZ_EV_SWEEP });
			sim_run_actions(&s);
		}
		if (n == busy && s.wire != NO_WIRE && !s.sources.gone)
			s.absent = s.sources.down = gen_one_in(g, 4);
		if (s.absent && n >= busy + ABSENT_STEPS && !sources_reads_local(&s.sources) &&
		    !sim_is_fetching(&s) && lz_engine_deadline(s.e) == UINT64_MAX) {
			sim_check_absent(&s);
			s.absent = s.sources.down = false;
		}
		done = n > busy && k_is_quiet(&s.k) && lz_engine_is_done(s.e);
	}
	if (!done) {
		fprintf(stderr, "HANG after %d steps\n", n);
		abort();
	}
	k_check_end(&s.k);
	sim_outcomes.rebuilt_now = sim_outcomes.rebuilt != rebuilt;
	sim_check_figures(&s);
	sim_check_record(&s);
	assert(s.released || s.abandoned || s.wire == NO_WIRE);
	stores_arm(0);
	lz_engine_free(s.e);
	lz_plan_put(s.plan);
}
