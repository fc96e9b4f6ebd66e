/* SPDX-License-Identifier: MIT */
/*
 * The engine, its journal and its state against the miniature kernel: random threads, random
 * answers, random deaths. What loop.c does with ioctls and a ring, this does with kernel.c; the
 * core is the real one, built with limits so small that it meets them all. sim_run() is one
 * schedule; it aborts on a wrong byte, a silent zero, a hang, or a broken invariant.
 */
#include "tests/prop/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/prop/kernel.h"
#include "tests/prop/sources.h"
#include "tests/prop/stores.h"
#include "uffd/limits.h"
#include "uffd/state.h"

enum { PAGE = 1 << K_SHIFT, ROOTS = 2, ABSENT_STEPS = 4000, WANTS = 5 };
/* Address spaces of one memory that come at any time. */
enum { GUESTS = 4, LENT_MAX = 3 };

/* Whose bytes the plan's are. */
enum wire { NO_WIRE, SOME_WIRE, ALL_WIRE };

struct sim {
	struct kernel k;
	struct gen *gen;
	struct lz_state *st;
	struct lz_engine *e;
	struct lz_plan *plan;
	struct sources sources;
	enum wire wire;
	unsigned nr_reqs;
	uint64_t buf[LZ_REQS_MAX][LZ_SLICE_PAGES]; /* 0: nothing has arrived there */
	uint64_t buf_from[LZ_REQS_MAX];            /* which of the request's pages it begins with */
	bool mapped[LZ_REQS_MAX];
	bool fetching[LZ_BLOCKS_MAX];
	struct lz_action lent[LENT_MAX]; /* COPYs that are under way */
	unsigned nr_lent;
	uint64_t fault_ns;        /* of the last fault that this engine was told of */
	bool failed[LZ_REQS_MAX]; /* its last read brought nothing */
	uint64_t map_page[LZ_REQS_MAX];
	uint32_t map_source[LZ_REQS_MAX];
	enum lazyd_on_lost on_lost;
	uint64_t now;
	int nr_roots;
	bool started, abandoned;
	bool stays, finished; /* all roots are of the first memory, and they come at any time */
	bool no_sweep;
	uint64_t record_ns;
	struct {
		uint32_t memory;
		struct lz_range range;
	} want[WANTS]; /* some of it nonsense */
	unsigned nr_wants;
	bool wants_all; /* the engine has had room for all of them */
	bool went_well; /* no read has been short: pages are asked for again, one by one */
	bool waits;     /* no thread runs before the start: nothing has faulted by then */
	bool absent;    /* the wire is down until all else is done */
	bool released;  /* by this engine */
	bool ever_released;
	bool busy; /* threads act */
};

struct sim_outcomes sim_outcomes;

static const struct lz_seg AREAS[] = {
	{ 0x100000, 0x10a000, 0x100000, K_SHIFT, 0 },
	{ 0x10a000, 0x112000, 0x10a000, K_SHIFT, 0 },
	{ 0x112000, 0x118000, 0x112000, K_SHIFT, 0 },
	{ 0x118000, 0x11c000, 0x118000, K_SHIFT, 0 },
	{ 0x11c000, 0x124000, 0x11c000, K_SHIFT + 2, 0 },
};
enum { FILE_AREA = 3, LARGE_AREA = 4, LARGE_OFFSET = 44 };

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

/* Did the process die within the call that has just returned? The state is as that left it. */
static bool died(void)
{
	bool did = stores_died();

	sim_outcomes.died += did;
	return did;
}

/* ---- memories ---- */

static int find_memory(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		       size_t *nr)
{
	struct sim *s = arg;

	assert(memory < ROOTS);
	*plan = s->plan;
	*seg = AREAS;
	*nr = sizeof(AREAS) / sizeof(AREAS[0]);
	return 0;
}

static struct lz_memories memories(struct sim *s)
{
	return (struct lz_memories){ .arg = s, .find = find_memory };
}

static uint32_t memory_of(const struct sim *s, int root)
{
	return s->stays ? 0 : (uint32_t)root;
}

static int max_roots(const struct sim *s)
{
	return s->stays ? GUESTS : ROOTS;
}

static struct k_mm *mm_of(struct sim *s, uint32_t space)
{
	assert(s->st->slot[space].uffd >= 0 && s->st->slot[space].uffd < K_MMS);
	return &s->k.mm[s->st->slot[space].uffd];
}

static void rebuild(struct sim *s);

static bool is_attached(const struct sim *s, int uffd)
{
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(s->e, i) && s->st->slot[i].uffd == uffd)
			return true;
	return false;
}

/* Who dies of it has a successor that does it again, unless it was done. */
static int attach(struct sim *s, int uffd)
{
	struct lz_memories all = memories(s);
	uint32_t memory = memory_of(s, uffd);
	int r = lz_state_attach(s->st, s->e, &all, memory, uffd, -1, ++s->now);

	while (died()) {
		rebuild(s);
		r = 0;
		if (!is_attached(s, uffd))
			r = lz_state_attach(s->st, s->e, &all, memory, uffd, -1, ++s->now);
	}
	return r;
}

/* What a thread must see at each page of @area, and what is there already. */
static void map_area(struct sim *s, struct k_mm *mm, size_t area)
{
	int nr = area == LARGE_AREA ? K_LARGE : 1;

	s->k.vmas++;
	for (int i = k_index(AREAS[area].start); i < k_index(AREAS[area].end); i++) {
		struct k_page *p = &mm->page[i];
		const struct lz_run *run;
		uint64_t identity = k_addr(i - i % nr), token[K_LARGE], at;
		bool held = lz_plan_page(s->plan, k_addr(i), &run) >= 0, lost = false, is_there;

		for (int n = 0; held && n < nr; n++) {
			at = (run->offset + identity - run->identity) >> K_SHIFT;
			token[n] = sources_token(&s->sources, run->source, at + (uint64_t)n);
			lost = lost || !token[n];
		}
		p->mapped = true;
		p->vma = s->k.vmas;
		p->large = nr > 1;
		is_there = held && !lost && gen_one_in(s->gen, 10); /* placed by somebody before */
		if (area == FILE_AREA) {
			p->file = i - k_index(AREAS[area].start) + 1;
			p->present = is_there && s->k.file[p->file - 1].is_there;
			continue;
		}
		p->want = !held ? 0 : lost ? K_LOST : token[i % nr];
		p->present = nr > 1 && i % nr ? mm->page[i - 1].present : is_there;
		p->data = p->present ? p->want : 0;
	}
}

static void attach_root(struct sim *s)
{
	int m = s->nr_roots++, r;
	struct k_mm *mm = &s->k.mm[m];

	if (mm->exists) /* a forked child took the place */
		return;
	mm->exists = mm->running = true;
	for (size_t a = 0; a < sizeof(AREAS) / sizeof(AREAS[0]); a++)
		map_area(s, mm, a);
	r = attach(s, m);
	assert(r >= 0 || r == -ENOSPC);
	if (r < 0)
		memset(mm, 0, sizeof(*mm));
}

/* ---- actions ---- */

static void feed(struct sim *s, struct lz_event ev)
{
	int r;

	ev.now_ns = ++s->now;
	r = lz_engine_feed(s->e, &ev);
	assert(!r);
	if (died())
		rebuild(s);
}

static void start(struct sim *s)
{
	do
		s->started = !lz_state_start(s->st, s->e, ++s->now);
	while (died() && (rebuild(s), true));
}

/* A request that goes on, and that no decision has been taken about. */
static bool is_rest(const struct sim *s, const struct lz_action *a)
{
	return a->skip || !a->mapped_ok || s->failed[a->req];
}

static bool is_large(const struct lz_action *a)
{
	return (a->source == 1 || a->source == S_REMOTE) && a->offset >= LARGE_OFFSET * PAGE;
}

/* No more on the way than the window, or one read; and none once the source may be gone. */
static void check_remote_read(struct sim *s, const struct lz_action *a)
{
	uint64_t all = sources_in_flight(&s->sources, false);
	uint64_t background = sources_in_flight(&s->sources, true);

	assert(s->wire != NO_WIRE && !s->ever_released);
	sim_outcomes.remote_read++;
	sim_outcomes.remote_urgent += a->urgent;
	if (a->urgent || background == a->len)
		return;
	lz_engine_gauge(s->e);
	/* Of a large page it is all that is asked for, where a small one would be. */
	if (is_large(a))
		all -= a->len - PAGE;
	/* The rest of a read that was short is asked for at once. */
	assert(all <= s->st->stats.n.remote_window || is_rest(s, a));
	sim_outcomes.remote_full += all + a->len > s->st->stats.n.remote_window;
}

/* Is @p to come from @source, and not here? */
static bool lacks(const struct k_page *p, uint32_t source)
{
	return p->mapped && !p->present && !p->poisoned && !p->volatil &&
	       p->want >= sources_first(source) && p->want < sources_first(source + 1);
}

/* A local page is swept: then no remote one was to be had. For want of faults nothing else runs. */
static void check_local_first(const struct sim *s)
{
	if (sources_in_flight(&s->sources, true))
		return;
	for (int m = 0; m < K_MMS; m++)
		for (int i = 0; i < K_PAGES && s->k.mm[m].running && !s->k.mm[m].dead; i++)
			assert(!lacks(&s->k.mm[m].page[i], S_REMOTE) ||
			       sources_reads(&s->sources, s->k.mm[m].page[i].want));
}

/* Given once, and not while any space, told of or not, has a page to come from there. */
static void do_release(struct sim *s)
{
	assert(s->wire != NO_WIRE && s->started && !s->abandoned && !s->released);
	sim_outcomes.released++;
	sim_outcomes.released_again += s->ever_released;
	s->released = s->ever_released = true;
	assert(!sources_in_flight(&s->sources, false));
	for (int m = 0; m < K_MMS; m++)
		for (int i = 0; i < K_PAGES; i++)
			assert(!s->k.mm[m].exists || s->k.mm[m].dead || s->k.mm[m].closed ||
			       !lacks(&s->k.mm[m].page[i], S_REMOTE));
}

/* Is @page of memory @m, or one of those that make a large one with it? */
static bool is_wanted(const struct sim *s, int m, int page)
{
	const struct lz_seg *large = &AREAS[LARGE_AREA];
	uint64_t start = k_addr(page), len = PAGE;

	if (start >= large->start && start < large->end) {
		len = K_LARGE * PAGE;
		start -= (start - large->start) % len;
	}
	for (unsigned i = 0; i < s->nr_wants; i++)
		if (s->want[i].memory == (uint32_t)m && !lz_range_is_empty(s->want[i].range) &&
		    start + len > s->want[i].range.start && start < s->want[i].range.end)
			return true;
	return false;
}

/* Is every page where it was, and has nobody had to ask for one, or to ask again? */
static bool is_untouched(const struct sim *s)
{
	const struct lazyd_stats *n = &s->st->stats.n;

	for (int m = 0; m < K_MMS; m++)
		for (int i = 0; i < K_OPS; i++)
			if (s->k.mm[m].op[i].type != K_NO_OP)
				return false;
	return s->went_well && !n->faults && !n->ev_remove && !n->ev_unmap && !n->ev_remap &&
	       !n->ev_fork && !n->ev_exit && !n->res_eagain;
}

/*
 * As long as nothing is demanded, and a neighbour of nothing, what is read is wanted, or all that is
 * wanted of its kind has been asked for, and nothing else is read without a sweep. True if it is wanted.
 */
static bool check_wanted_first(const struct sim *s, const struct lz_action *a)
{
	const struct lz_slot *slot = &s->st->slot[a->space];
	uint64_t token = sources_token(&s->sources, a->source, a->offset >> K_SHIFT);
	const struct k_mm *mm = &s->k.mm[slot->uffd];
	int at = 0;

	while (at < K_PAGES && (!token || mm->page[at].want != token))
		at++;
	if (at == K_PAGES) /* cannot be had, or has been there and been written to: which is it? */
		return true;
	if (is_wanted(s, (int)slot->memory, at)) {
		sim_outcomes.wanted++;
		return true;
	}
	assert(!s->no_sweep);
	for (int m = 0; m < s->nr_roots && s->wants_all; m++)
		for (int i = 0; i < K_PAGES; i++) {
			const struct k_page *p = &s->k.mm[m].page[i];

			if (!is_wanted(s, (int)memory_of(s, m), i) || !s->k.mm[m].running ||
			    s->k.mm[m].dead)
				continue;
			sim_outcomes.wanted_first++;
			for (uint32_t source = 0; source < SOURCES; source++)
				assert((source == S_REMOTE) != (a->source == S_REMOTE) ||
				       !lacks(p, source) || sources_reads(&s->sources, p->want));
		}
	return false;
}

/* Nobody has faulted a moment ago. */
static bool is_calm(const struct sim *s)
{
	return !s->fault_ns || s->now - s->fault_ns > LZ_CALM_NS;
}

static void do_read(struct sim *s, const struct lz_action *a)
{
	uint64_t page = a->offset >> K_SHIFT, nr = a->len >> K_SHIFT, from = a->skip >> K_SHIFT;

	assert(!s->sources.io[a->req].live && nr && from + nr <= LZ_STRETCH_PAGES);
	assert(a->mapped_only == (nr > LZ_SLICE_PAGES) && (a->mapped_ok || !a->mapped_only));
	assert(!a->mapped_only || (!a->urgent && is_calm(s)));
	assert(a->req < s->nr_reqs);
	assert(!s->abandoned); /* the source may be what has failed */
	/* Nothing is fetched ahead of a fault while a restorer is at work. */
	assert(s->started || (nr == (is_large(a) ? K_LARGE : 1) && a->urgent));
	assert(a->mapped_ok || a->source != S_PLACE);
	s->mapped[a->req] = a->mapped_ok && a->source != S_REMOTE &&
			    (a->source == S_PLACE || gen_one_in(s->gen, 2));
	if (s->mapped[a->req]) {
		s->map_source[a->req] = a->source;
		s->map_page[a->req] = page - from;
	}
	if (s->mapped[a->req] || a->mapped_only) {
		sim_outcomes.stretched += a->mapped_only;
		sim_outcomes.refused += !s->mapped[a->req];
		feed(s,
		     (struct lz_event){ .type = LZ_EV_READ,
					.req = a->req,
					.space = a->space,
					.mapped = s->mapped[a->req],
					.res = s->mapped[a->req] ? (int64_t)a->len : -EMSGSIZE });
		return;
	}
	s->sources.io[a->req] = (struct read_io){
		true, a->urgent, is_large(a), a->source, page, nr
	};
	s->buf_from[a->req] = from;
	for (uint64_t i = 0; i < nr; i++)
		s->buf[a->req][i] = 0;
	if (a->source == S_REMOTE)
		check_remote_read(s, a);
	/* What is lent has been read, and is not there yet. */
	if (is_rest(s, a) || !is_untouched(s) || s->on_lost == LAZYD_LOST_KILL || s->nr_lent)
		return;
	if (!check_wanted_first(s, a) && s->wire != NO_WIRE && a->source != S_REMOTE &&
	    lz_engine_deadline(s->e) == UINT64_MAX) /* what is wanted of it rests at times */
		check_local_first(s);
}

/* No decision rests on it: it may end at once, late, or not before all else is done. */
static void do_fetch(struct sim *s, const struct lz_action *a)
{
	uint64_t first = a->offset, last = a->offset + a->len - 1;

	assert(a->req < LZ_BLOCKS_MAX && !s->fetching[a->req] && s->started && !s->abandoned);
	assert(!s->no_sweep && a->len && first / LZ_BLOCK_BYTES == last / LZ_BLOCK_BYTES);
	assert(a->source != S_REMOTE && a->source != S_PLACE);
	assert(is_calm(s));
	sim_outcomes.fetched++;
	s->fetching[a->req] = !gen_one_in(s->gen, 3);
	if (!s->fetching[a->req])
		feed(s, (struct lz_event){ .type = LZ_EV_FETCHED, .req = a->req });
}

static bool is_fetching(const struct sim *s)
{
	return memchr(s->fetching, true, sizeof(s->fetching));
}

static void complete_fetch(struct sim *s, uint32_t block)
{
	if (!s->fetching[block])
		return;
	sim_outcomes.fetched_late++;
	s->fetching[block] = false;
	feed(s, (struct lz_event){ .type = LZ_EV_FETCHED, .req = block });
}

static int64_t do_copy(struct sim *s, const struct lz_action *a)
{
	uint64_t skip = a->skip >> K_SHIFT, nr = lz_range_len(a->dst) >> K_SHIFT;
	uint64_t tokens[LZ_STRETCH_PAGES];
	uint64_t at = skip - s->buf_from[a->req]; /* if they are in the buffer */

	assert(skip + nr <= LZ_STRETCH_PAGES);
	assert(s->mapped[a->req] || at + nr <= LZ_SLICE_PAGES);
	if (s->mapped[a->req] && gen_one_in(s->gen, 30)) /* the mapping was no good */
		return -EFAULT;
	for (uint64_t i = 0; i < nr; i++) {
		if (s->mapped[a->req])
			tokens[i] = sources_token(&s->sources, s->map_source[a->req],
						  s->map_page[a->req] + skip + i);
		else
			tokens[i] = s->buf[a->req][at + i];
		/* A buffer is never copied from where nothing has arrived. */
		assert(s->mapped[a->req] || tokens[i]);
	}
	return k_place(&s->k, mm_of(s, a->space), a->dst, tokens);
}

/* Dies between closing a descriptor and saying so, at times: true if it did. */
static bool do_close(struct sim *s, uint32_t space)
{
	/* Who was promised a page has got it, or was woken to ask again: closing is no excuse. */
	if (lz_engine_deadline(s->e) == UINT64_MAX)
		k_check_waiting(mm_of(s, space));
	lz_state_closing(s->st, space);
	if (died())
		return true;
	k_close(&s->k, mm_of(s, space));
	if (gen_one_in(s->gen, 8))
		return true;
	return lz_state_closed(s->st, s->e, space, ++s->now) != 0 || died();
}

static bool has_large(const struct sim *s, uint32_t space, uint64_t addr)
{
	size_t nr;
	const struct lz_seg *seg = lz_engine_segs(s->e, space, &nr);

	for (size_t i = 0; i < nr; i++)
		if (addr >= seg[i].start && addr < seg[i].end)
			return seg[i].page_shift > K_SHIFT;
	return false;
}

static int64_t do_placement(struct sim *s, const struct lz_action *a)
{
	struct k_mm *mm = mm_of(s, a->space);
	int64_t res = a->type == LZ_ACT_COPY       ? do_copy(s, a)
		      : a->type == LZ_ACT_ZERO     ? k_zero(&s->k, mm, a->dst)
		      : a->type == LZ_ACT_CONTINUE ? k_continue(&s->k, mm, a->dst)
						   : k_poison(&s->k, mm, a->dst);

	assert(a->type != LZ_ACT_ZERO || a->large == has_large(s, a->space, a->dst.start));

	feed(s, (struct lz_event){ .type = LZ_EV_PLACED,
				   .did = a->type,
				   .space = a->space,
				   .req = a->req,
				   .range = a->dst,
				   .res = res });
	return res;
}

static bool read_messages(struct sim *s, uint32_t space);

/* ---- COPYs that somebody else carries out ---- */

static bool lend(struct sim *s, const struct lz_action *a)
{
	if (a->type != LZ_ACT_COPY || s->nr_lent == LENT_MAX || !gen_one_in(s->gen, 3))
		return false;
	lz_engine_lend(s->e, a->req, true);
	s->lent[s->nr_lent++] = *a;
	sim_outcomes.lent++;
	return true;
}

/* One of them, in any order; what threads do goes on meanwhile. */
static void settle(struct sim *s)
{
	unsigned i = gen_below(s->gen, s->nr_lent);
	struct lz_action a = s->lent[i];

	s->lent[i] = s->lent[--s->nr_lent];
	if (s->busy && s->started && gen_one_in(s->gen, 4))
		k_thread_step(&s->k, &s->k.mm[gen_below(s->gen, K_MMS)]);
	if (gen_one_in(s->gen, 4))
		lz_engine_lend(s->e, a.req, false); /* nobody has begun it */
	else if (do_placement(s, &a) == -ENOENT)
		while (read_messages(s, a.space))
			;
	lz_engine_check(s->e);
}

/* Nothing is read while one of them is under way. */
static void settle_all(struct sim *s)
{
	while (s->nr_lent)
		settle(s);
}

/* An action that was decided on and not carried out: its decider may have died of it. */
static bool next(struct sim *s, struct lz_action *a)
{
	bool more;

	if (s->nr_lent && gen_one_in(s->gen, 3))
		settle(s);
	for (;;) {
		more = lz_engine_next(s->e, a);
		if (died())
			rebuild(s);
		else if (!more && s->nr_lent)
			settle(s);
		else
			return more;
	}
}

static void run_actions(struct sim *s)
{
	struct lz_action a;

	if (lz_state_is_full(s->st) || gen_one_in(s->gen, 200)) {
		sim_outcomes.compacted++;
		assert(!lz_state_compact(s->st, s->e));
		if (died())
			rebuild(s);
	}
	for (int n = 0; next(s, &a); n++) {
		assert(n < 3000); /* next() must run dry */
		if (lend(s, &a)) {
			lz_engine_check(s->e);
			continue;
		}
		switch (a.type) {
		case LZ_ACT_READ:
			do_read(s, &a);
			break;
		case LZ_ACT_FETCH:
			do_fetch(s, &a);
			break;
		case LZ_ACT_WAKE:
			k_wake(&s->k, mm_of(s, a.space), a.dst);
			break;
		case LZ_ACT_KILL:
			k_outcomes.killed++;
			assert(s->on_lost == LAZYD_LOST_KILL); /* poisoning never fails here */
			k_kill(&s->k, mm_of(s, a.space));
			feed(s, (struct lz_event){ .type = LZ_EV_EXIT, .space = a.space });
			break;
		case LZ_ACT_RELEASE:
			do_release(s);
			if (gen_one_in(s->gen, 10)) /* before it was carried out */
				rebuild(s);
			break;
		case LZ_ACT_CLOSE:
			if (do_close(s, a.space))
				rebuild(s);
			break;
		default:
			/* The loop looks for messages before every action; here it matters. */
			if (do_placement(s, &a) == -ENOENT)
				while (read_messages(s, a.space))
					;
			break;
		}
		lz_engine_check(s->e);
	}
	stores_arm(0);
	/* no is no: nobody would ask again until something comes */
	assert(!lz_engine_next(s->e, &a));
}

/* ---- completions ---- */

static void complete_read(struct sim *s, uint32_t req)
{
	struct read_io *io = &s->sources.io[req];
	int64_t res;

	if (s->abandoned && io->live && gen_one_in(s->gen, 2)) {
		io->live = false;
		feed(s, (struct lz_event){ .type = LZ_EV_READ, .req = req, .res = -ECANCELED });
		return;
	}
	if (!sources_is_live(&s->sources, req))
		return;
	res = sources_read(&s->sources, req, s->buf[req]);
	sim_outcomes.read_errors += res < 0;
	s->went_well = s->went_well && res == (int64_t)(io->nr * PAGE);
	sim_outcomes.short_reads += res >= 0 && res < (int64_t)(io->nr * PAGE);
	s->failed[req] = res < PAGE;
	feed(s, (struct lz_event){ .type = LZ_EV_READ, .req = req, .res = res });
}

/* Takes what the kernel has written for @space; dies at times, between any two steps. */
static bool take_messages(struct sim *s, uint32_t space, unsigned from)
{
	struct lz_journal *j = &s->st->journal;
	unsigned nr = lz_state_nr_messages(&s->st->slot[space]);

	for (unsigned i = from; i < nr; i++) {
		uint64_t noted = j->nr[j->active];
		struct lz_event ev;
		int ufd;
		enum lz_taken t;

		if (gen_one_in(s->gen, 60))
			return false;
		t = lz_state_take(s->st, s->e, space, i, -1, ++s->now, &ev, &ufd);
		assert(t == LZ_TAKEN || t == LZ_TAKEN_FORK);
		if (t == LZ_TAKEN && ev.type == LZ_EV_FAULT)
			s->fault_ns = s->now;
		if (died())
			return false;
		if (gen_one_in(s->gen, 60)) { /* fed, and dead before the note counted */
			j->nr[j->active] = noted;
			return false;
		}
		lz_engine_check(s->e);
	}
	if (gen_one_in(s->gen, 60))
		return false;
	lz_state_rearm(s->st, space);
	return !died();
}

static bool read_messages(struct sim *s, uint32_t space)
{
	struct lz_slot *slot = &s->st->slot[space];

	settle_all(s);
	if (died()) {
		rebuild(s);
		return false;
	}
	if (!lz_engine_serves(s->e, space))
		return false;
	assert(!slot->armed[0].event);
	if (!k_read(&s->k, mm_of(s, space), slot->armed, 1 + gen_below(s->gen, LZ_BATCH_MAX)))
		return false;
	if (!take_messages(s, space, 0))
		rebuild(s);
	return true;
}

/* ---- death ---- */

static struct lz_engine_options options_of(const struct sim *s)
{
	return (struct lz_engine_options){ .on_lost = s->on_lost,
					   .stats = &s->st->stats,
					   .nr_reqs = s->nr_reqs,
					   .has_remote = s->wire != NO_WIRE,
					   .no_sweep = s->no_sweep,
					   .stays = s->stays,
					   .record = &s->st->record,
					   .record_ns = s->record_ns };
}

static void make_engine(struct sim *s)
{
	struct lz_engine_options o = options_of(s);

	assert(!lz_engine_new(&s->e, &o));
	s->wants_all = true;
	for (unsigned i = 0; i < s->nr_wants; i++) {
		int r = lz_engine_want(s->e, s->plan, s->want[i].memory, s->want[i].range);

		assert(!r || r == -ENOSPC);
		s->wants_all = s->wants_all && !r;
	}
}

static void rebuild(struct sim *s)
{
	struct lz_memories all = memories(s);
	int half_closed, r;

	sim_outcomes.rebuilt++;
	/* The last that its threads have done nobody was told of. */
	for (unsigned i = 0; i < s->nr_lent; i++)
		if (gen_one_in(s->gen, 2))
			(void)do_copy(s, &s->lent[i]);
	s->nr_lent = 0;
	s->released = false;
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		s->sources.io[i].live = false;
	memset(s->fetching, 0, sizeof(s->fetching));
	s->fault_ns = 0;
	lz_engine_free(s->e);
	make_engine(s);
	r = lz_state_replay(s->st, s->e, &all, &half_closed);
	assert(!r);
	if (died()) {
		rebuild(s);
		return;
	}
	if (half_closed >= 0) {
		r = lz_state_closed(s->st, s->e, (uint32_t)half_closed, ++s->now);
		assert(!r);
		if (died()) {
			rebuild(s);
			return;
		}
	}
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		if (!lz_engine_serves(s->e, i))
			continue;
		if (lz_state_nr_messages(&s->st->slot[i]) > s->st->slot[i].seen)
			sim_outcomes.left_over++;
		if (!take_messages(s, i, s->st->slot[i].seen)) {
			rebuild(s); /* and again */
			return;
		}
	}
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(s->e, i))
			k_wake(&s->k, mm_of(s, i), (struct lz_range){ 0, UINT64_MAX });
	if (s->finished)
		feed(s, (struct lz_event){ .type = LZ_EV_FINISH });
	if (s->abandoned)
		feed(s, (struct lz_event){ .type = LZ_EV_ABANDON });
	lz_engine_check(s->e);
}

/* ---- one schedule ---- */

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
	make_engine(s);
	s->k.tokens = 1;
	for (int n = 0; n < K_FILE_PAGES; n++) {
		struct k_file_page *p = &s->k.file[n];

		p->is_there = !gen_one_in(g, 4);
		p->data = p->want = p->is_there ? ++s->k.tokens << 40 : 0;
	}
	attach_root(s);
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
		(void)read_messages(s, gen_below(s->gen, LZ_SPACES_MAX));
		break;
	case 4:
		complete_read(s, gen_below(s->gen, LZ_REQS_MAX));
		complete_fetch(s, gen_below(s->gen, LZ_BLOCKS_MAX));
		break;
	case 5:
		if (lz_engine_deadline(s->e) == UINT64_MAX)
			return;
		if (s->now < lz_engine_deadline(s->e))
			s->now = lz_engine_deadline(s->e);
		feed(s, (struct lz_event){ .type = LZ_EV_TICK });
		break;
	case 7:
		change_wire(s, busy);
		return;
	case 6:
		if (busy && gen_one_in(s->gen, 40))
			rebuild(s);
		else if (s->nr_roots < max_roots(s) && may_come(s) && gen_one_in(s->gen, 3))
			attach_root(s);
		else if (!s->started && gen_one_in(s->gen, 12))
			start(s);
		else if (busy && s->started && gen_one_in(s->gen, 60))
			s->abandoned = s->k.may_poison = true;
		else
			return;
		if (s->abandoned)
			feed(s, (struct lz_event){ .type = LZ_EV_ABANDON });
		break;
	}
	run_actions(s);
	lz_engine_check(s->e);
}

/*
 * While the wire is down all that is local has come, and who waits does so for a remote page: but
 * where those fill the queue of faults.
 */
static void check_absent(const struct sim *s)
{
	bool is_full;

	sim_outcomes.absent++;
	lz_engine_gauge(s->e);
	is_full = s->st->stats.n.waiting >= LZ_FAULTS_MAX;
	for (int m = 0; m < K_MMS; m++) {
		const struct k_mm *mm = &s->k.mm[m];

		if (!mm->exists || mm->dead || mm->closed)
			continue;
		for (int i = 0; i < K_PAGES; i++)
			for (uint32_t source = 0; source < S_REMOTE; source++)
				assert(!lacks(&mm->page[i], source));
		for (int t = 0; t < K_THREADS; t++) {
			const struct k_page *p = &mm->page[mm->thread[t].page];
			/* What is present was placed by somebody else, and is owed all the same. */
			assert(mm->thread[t].state != K_FAULTED || p->present ||
			       p->want == K_LOST || lacks(p, S_REMOTE) || is_full);
		}
	}
}

/* Is that page in it? Each of them is one of the image's, of a memory that there is. */
static bool is_recorded(const struct lz_record *r, int m, uint64_t addr)
{
	bool found = false;

	for (uint64_t i = 0; i < r->nr; i++) {
		const struct lz_touch *t = &r->touch[i];

		assert(t->memory < ROOTS && t->nr_pages && t->identity >= K_BASE &&
		       t->identity + t->nr_pages * PAGE <= k_addr(K_PAGES));
		found = found || (t->memory == (uint32_t)m && addr >= t->identity &&
				  addr - t->identity < t->nr_pages * PAGE);
	}
	return found;
}

/* Every page that came because of a fault on it. A child's is the same as its parent's. */
static void check_record(const struct sim *s)
{
	const struct lz_record *r = &s->st->record;
	uint64_t nr = 0, all = 0;

	assert(r->nr <= LZ_TOUCHES_MAX);
	for (int m = 0; m < ROOTS; m++)
		for (int i = 0; i < K_PAGES; i++)
			nr += is_recorded(r, m, k_addr(i));
	for (uint64_t i = 0; i < r->nr; i++)
		all += r->touch[i].nr_pages;
	assert(all == nr); /* none is in it twice */
	sim_outcomes.record_over += r->is_over;
	if (r->is_over || s->st->stats.n.ev_fork)
		return;
	sim_outcomes.recorded += nr;
	if (!s->stays) /* else several have had the same page */
		assert(nr >= s->st->stats.n.pages_demand || sim_outcomes.rebuilt_now);
}

static void check_figures(const struct sim *s)
{
	const struct lazyd_stats *n = &s->st->stats.n;

	/* Every page that was ever owed has been accounted for, once; a death may count twice. */
	if (!sim_outcomes.rebuilt_now)
		assert(n->pages_total == n->pages_demand + n->pages_neighbour + n->pages_replay +
						 n->pages_sweep + n->pages_gone + n->pages_lost);
}

void sim_run(struct gen *g, struct lz_state *st)
{
	static struct sim s;
	uint64_t rebuilt = sim_outcomes.rebuilt;
	int busy = 60 + (int)gen_below(g, 300), limit = 30000, n;
	bool done = false;

	setup(&s, g, st);
	run_actions(&s);
	for (n = 0; n < limit && !done; n++) {
		if (g->bytes && !g->nr_bytes) { /* a fuzzer's last byte: the rest by a seed */
			g->bytes = NULL;
			g->seed = 88172645463325252u;
			busy = n;
		}
		step(&s, n < busy);
		if (n == busy && !s.started) {
			start(&s);
			run_actions(&s);
		}
		if (n == busy && s.stays) {
			s.finished = true;
			feed(&s, (struct lz_event){ .type = LZ_EV_FINISH });
			run_actions(&s);
		}
		if (n == busy && s.no_sweep) {
			lz_engine_gauge(s.e);
			sim_outcomes.unswept += s.st->stats.n.pages_owed != 0;
			s.no_sweep = false;
			feed(&s, (struct lz_event){ .type = LZ_EV_SWEEP });
			run_actions(&s);
		}
		if (n == busy && s.wire != NO_WIRE && !s.sources.gone)
			s.absent = s.sources.down = gen_one_in(g, 4);
		if (s.absent && n >= busy + ABSENT_STEPS && !sources_reads_local(&s.sources) &&
		    !is_fetching(&s) && lz_engine_deadline(s.e) == UINT64_MAX) {
			check_absent(&s);
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
	check_figures(&s);
	check_record(&s);
	assert(s.released || s.abandoned || s.wire == NO_WIRE);
	stores_arm(0);
	lz_engine_free(s.e);
	lz_plan_put(s.plan);
}
