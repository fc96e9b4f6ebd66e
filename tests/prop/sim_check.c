/* SPDX-License-Identifier: MIT */
/* What must hold of what is decided, and at the end. */
#include "tests/prop/sim_priv.h"

#include <assert.h>

/* A request that goes on, and that no decision has been taken about. */
static bool is_rest(const struct sim *s, const struct lz_action *a)
{
	return a->skip || !a->mapped_ok || s->failed[a->req];
}

bool sim_is_large(const struct lz_action *a)
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
	if (sim_is_large(a))
		all -= a->len - PAGE;
	/* The rest of a read that was short is asked for at once. */
	assert(all <= s->st->stats.n.remote_window || is_rest(s, a));
	sim_outcomes.remote_full += all + a->len > s->st->stats.n.remote_window;
}

/* Is @p to come from @source, and not here? */
bool sim_lacks(const struct k_page *p, uint32_t source)
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
			assert(!sim_lacks(&s->k.mm[m].page[i], S_REMOTE) ||
			       sources_reads(&s->sources, s->k.mm[m].page[i].want));
}

/* Is @page of memory @m, or one of those that make a large one with it? */
static bool is_wanted(const struct sim *s, int m, int page)
{
	const struct lz_seg *large = &sim_area[LARGE_AREA];
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
 * As long as nothing is demanded, and a neighbour of nothing, what is read is wanted, or all that
 * is wanted of its kind has been asked for, and nothing else is read without a sweep. True if it is
 * wanted.
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

			if (!is_wanted(s, (int)sim_memory_of(s, m), i) || !s->k.mm[m].running ||
			    s->k.mm[m].dead)
				continue;
			sim_outcomes.wanted_first++;
			for (uint32_t source = 0; source < SOURCES; source++)
				assert((source == S_REMOTE) != (a->source == S_REMOTE) ||
				       !sim_lacks(p, source) ||
				       sources_reads(&s->sources, p->want));
		}
	return false;
}

void sim_check_read(struct sim *s, const struct lz_action *a)
{
	if (a->source == S_REMOTE)
		check_remote_read(s, a);
	/* What is lent has been read, and is not there yet. */
	if (is_rest(s, a) || !is_untouched(s) || s->on_lost == LAZYD_LOST_KILL || s->nr_lent)
		return;
	if (!check_wanted_first(s, a) && s->wire != NO_WIRE && a->source != S_REMOTE &&
	    lz_engine_deadline(s->e) == UINT64_MAX) /* what is wanted of it rests at times */
		check_local_first(s);
}

/*
 * While the wire is down all that is local has come, and who waits does so for a remote page: but
 * where those fill the queue of faults.
 */
void sim_check_absent(const struct sim *s)
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
				assert(!sim_lacks(&mm->page[i], source));
		for (int t = 0; t < K_THREADS; t++) {
			const struct k_page *p = &mm->page[mm->thread[t].page];
			/* What is present was placed by somebody else, and is owed all the same. */
			assert(mm->thread[t].state != K_FAULTED || p->present ||
			       p->want == K_LOST || sim_lacks(p, S_REMOTE) || is_full);
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
void sim_check_record(const struct sim *s)
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

void sim_check_figures(const struct sim *s)
{
	const struct lazyd_stats *n = &s->st->stats.n;

	/* Every page that was ever owed has been accounted for, once; a death may count twice. */
	if (!sim_outcomes.rebuilt_now)
		assert(n->pages_total == n->pages_demand + n->pages_neighbour + n->pages_replay +
						 n->pages_sweep + n->pages_gone + n->pages_lost);
}
