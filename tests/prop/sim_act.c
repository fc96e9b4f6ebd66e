/* SPDX-License-Identifier: MIT */
/* What loop.c does with ioctls and a ring: the actions of the engine, and what comes of them. */
#include "tests/prop/sim_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

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
	assert(s->started || (nr == (sim_is_large(a) ? K_LARGE : 1) && a->urgent));
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
		sim_feed(s, (struct lz_event){ .type = LZ_EV_READ,
					       .req = a->req,
					       .space = a->space,
					       .mapped = s->mapped[a->req],
					       .res = s->mapped[a->req] ? (int64_t)a->len
									: -EMSGSIZE });
		return;
	}
	s->sources.io[a->req] = (struct read_io){ true,      a->urgent, sim_is_large(a),
						  a->source, page,      nr };
	s->buf_from[a->req] = from;
	for (uint64_t i = 0; i < nr; i++)
		s->buf[a->req][i] = 0;
	sim_check_read(s, a);
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
		sim_feed(s, (struct lz_event){ .type = LZ_EV_FETCHED, .req = a->req });
}

bool sim_is_fetching(const struct sim *s)
{
	return memchr(s->fetching, true, sizeof(s->fetching));
}

void sim_complete_fetch(struct sim *s, uint32_t block)
{
	if (!s->fetching[block])
		return;
	sim_outcomes.fetched_late++;
	s->fetching[block] = false;
	sim_feed(s, (struct lz_event){ .type = LZ_EV_FETCHED, .req = block });
}

void sim_complete_read(struct sim *s, uint32_t req)
{
	struct read_io *io = &s->sources.io[req];
	int64_t res;

	if (s->abandoned && io->live && gen_one_in(s->gen, 2)) {
		io->live = false;
		sim_feed(s, (struct lz_event){ .type = LZ_EV_READ, .req = req, .res = -ECANCELED });
		return;
	}
	if (!sources_is_live(&s->sources, req))
		return;
	res = sources_read(&s->sources, req, s->buf[req]);
	sim_outcomes.read_errors += res < 0;
	s->went_well = s->went_well && res == (int64_t)(io->nr * PAGE);
	sim_outcomes.short_reads += res >= 0 && res < (int64_t)(io->nr * PAGE);
	s->failed[req] = res < PAGE;
	sim_feed(s, (struct lz_event){ .type = LZ_EV_READ, .req = req, .res = res });
}

int64_t sim_copy(struct sim *s, const struct lz_action *a)
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
	return k_place(&s->k, sim_mm_of(s, a->space), a->dst, tokens);
}

/* Dies between closing a descriptor and saying so, at times: true if it did. */
static bool do_close(struct sim *s, uint32_t space)
{
	/* Who was promised a page has got it, or was woken to ask again: closing is no excuse. */
	if (lz_engine_deadline(s->e) == UINT64_MAX)
		k_check_waiting(sim_mm_of(s, space));
	lz_state_closing(s->st, space);
	if (sim_died())
		return true;
	k_close(&s->k, sim_mm_of(s, space));
	if (gen_one_in(s->gen, 8))
		return true;
	return lz_state_closed(s->st, s->e, space, ++s->now) != 0 || sim_died();
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
	struct k_mm *mm = sim_mm_of(s, a->space);
	int64_t res = a->type == LZ_ACT_COPY       ? sim_copy(s, a)
		      : a->type == LZ_ACT_ZERO     ? k_zero(&s->k, mm, a->dst)
		      : a->type == LZ_ACT_CONTINUE ? k_continue(&s->k, mm, a->dst)
						   : k_poison(&s->k, mm, a->dst);

	assert(a->type != LZ_ACT_ZERO || a->large == has_large(s, a->space, a->dst.start));

	sim_feed(s, (struct lz_event){ .type = LZ_EV_PLACED,
				       .did = a->type,
				       .space = a->space,
				       .req = a->req,
				       .range = a->dst,
				       .res = res });
	return res;
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
			       !sim_lacks(&s->k.mm[m].page[i], S_REMOTE));
}

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
		while (sim_read_messages(s, a.space))
			;
	lz_engine_check(s->e);
}

/* Nothing is read while one of them is under way. */
void sim_settle_all(struct sim *s)
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
		if (sim_died())
			sim_rebuild(s);
		else if (!more && s->nr_lent)
			settle(s);
		else
			return more;
	}
}

void sim_run_actions(struct sim *s)
{
	struct lz_action a;

	if (lz_state_is_full(s->st) || gen_one_in(s->gen, 200)) {
		sim_outcomes.compacted++;
		assert(!lz_state_compact(s->st, s->e));
		if (sim_died())
			sim_rebuild(s);
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
			k_wake(&s->k, sim_mm_of(s, a.space), a.dst);
			break;
		case LZ_ACT_KILL:
			k_outcomes.killed++;
			assert(s->on_lost == LAZYD_LOST_KILL); /* poisoning never fails here */
			/* Nor is anybody killed whose pages have all come. */
			assert(!s->went_well || s->abandoned);
			k_kill(&s->k, sim_mm_of(s, a.space));
			sim_feed(s, (struct lz_event){ .type = LZ_EV_EXIT, .space = a.space });
			break;
		case LZ_ACT_RELEASE:
			do_release(s);
			if (gen_one_in(s->gen, 10)) /* before it was carried out */
				sim_rebuild(s);
			break;
		case LZ_ACT_CLOSE:
			if (do_close(s, a.space))
				sim_rebuild(s);
			break;
		default:
			/* The loop looks for messages before every action; here it matters. */
			if (do_placement(s, &a) == -ENOENT)
				while (sim_read_messages(s, a.space))
					;
			break;
		}
		lz_engine_check(s->e);
	}
	stores_arm(0);
	/* no is no: nobody would ask again until something comes */
	assert(!lz_engine_next(s->e, &a));
}
