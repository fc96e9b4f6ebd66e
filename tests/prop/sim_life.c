/* SPDX-License-Identifier: MIT */
/*
 * Who comes, and who dies: address spaces, what their kernel says, and an engine that is made anew
 * from what the last one has left.
 */
#include "tests/prop/sim_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const struct lz_seg sim_area[] = {
	{ 0x100000, 0x10a000, 0x100000, K_SHIFT, 0 },
	{ 0x10a000, 0x112000, 0x10a000, K_SHIFT, 0 },
	{ 0x112000, 0x118000, 0x112000, K_SHIFT, 0 },
	{ 0x118000, 0x11c000, 0x118000, K_SHIFT, 0 },
	{ 0x11c000, 0x124000, 0x11c000, K_SHIFT + 2, 0 },
};

/* Did the process die within the call that has just returned? The state is as that left it. */
bool sim_died(void)
{
	bool did = stores_died();

	sim_outcomes.died += did;
	return did;
}

static int find_memory(void *arg, uint64_t memory, struct lz_plan **plan, const struct lz_seg **seg,
		       size_t *nr)
{
	struct sim *s = arg;

	assert(memory < ROOTS);
	*plan = s->plan;
	*seg = sim_area;
	*nr = SIM_AREAS;
	return 0;
}

static struct lz_memories memories(struct sim *s)
{
	return (struct lz_memories){ .arg = s, .find = find_memory };
}

uint32_t sim_memory_of(const struct sim *s, int root)
{
	return s->stays ? 0 : (uint32_t)root;
}

int sim_max_roots(const struct sim *s)
{
	return s->stays ? GUESTS : ROOTS;
}

struct k_mm *sim_mm_of(struct sim *s, uint32_t space)
{
	assert(s->st->slot[space].uffd >= 0 && s->st->slot[space].uffd < K_MMS);
	return &s->k.mm[s->st->slot[space].uffd];
}

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
	uint32_t memory = sim_memory_of(s, uffd);
	int r = lz_state_attach(s->st, s->e, &all, memory, uffd, -1, ++s->now);

	while (sim_died()) {
		sim_rebuild(s);
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
	for (int i = k_index(sim_area[area].start); i < k_index(sim_area[area].end); i++) {
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
			p->file = i - k_index(sim_area[area].start) + 1;
			p->present = is_there && s->k.file[p->file - 1].is_there;
			continue;
		}
		p->want = !held ? 0 : lost ? K_LOST : token[i % nr];
		p->present = nr > 1 && i % nr ? mm->page[i - 1].present : is_there;
		p->data = p->present ? p->want : 0;
	}
}

void sim_attach_root(struct sim *s)
{
	int m = s->nr_roots++, r;
	struct k_mm *mm = &s->k.mm[m];

	if (mm->exists) /* a forked child took the place */
		return;
	mm->exists = mm->running = true;
	for (size_t a = 0; a < SIM_AREAS; a++)
		map_area(s, mm, a);
	r = attach(s, m);
	assert(r >= 0 || r == -ENOSPC);
	if (r < 0)
		memset(mm, 0, sizeof(*mm));
}

void sim_feed(struct sim *s, struct lz_event ev)
{
	int r;

	ev.now_ns = ++s->now;
	r = lz_engine_feed(s->e, &ev);
	assert(!r);
	if (sim_died())
		sim_rebuild(s);
}

void sim_start(struct sim *s)
{
	do
		s->started = !lz_state_start(s->st, s->e, ++s->now);
	while (sim_died() && (sim_rebuild(s), true));
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
		if (sim_died())
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
	return !sim_died();
}

bool sim_read_messages(struct sim *s, uint32_t space)
{
	struct lz_slot *slot = &s->st->slot[space];

	sim_settle_all(s);
	if (sim_died()) {
		sim_rebuild(s);
		return false;
	}
	if (!lz_engine_serves(s->e, space))
		return false;
	assert(!slot->armed[0].event);
	if (!k_read(&s->k, sim_mm_of(s, space), slot->armed, 1 + gen_below(s->gen, LZ_BATCH_MAX)))
		return false;
	if (!take_messages(s, space, 0))
		sim_rebuild(s);
	return true;
}

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

void sim_make_engine(struct sim *s)
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

void sim_rebuild(struct sim *s)
{
	struct lz_memories all = memories(s);
	int half_closed, r;

	sim_outcomes.rebuilt++;
	/* The last that its threads have done nobody was told of. */
	for (unsigned i = 0; i < s->nr_lent; i++)
		if (gen_one_in(s->gen, 2))
			(void)sim_copy(s, &s->lent[i]);
	s->nr_lent = 0;
	s->released = false;
	for (uint32_t i = 0; i < LZ_REQS_MAX; i++)
		s->sources.io[i].live = false;
	memset(s->fetching, 0, sizeof(s->fetching));
	s->fault_ns = 0;
	lz_engine_free(s->e);
	sim_make_engine(s);
	r = lz_state_replay(s->st, s->e, &all, &half_closed);
	assert(!r);
	if (sim_died()) {
		sim_rebuild(s);
		return;
	}
	if (half_closed >= 0) {
		r = lz_state_closed(s->st, s->e, (uint32_t)half_closed, ++s->now);
		assert(!r);
		if (sim_died()) {
			sim_rebuild(s);
			return;
		}
	}
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++) {
		if (!lz_engine_serves(s->e, i))
			continue;
		if (lz_state_nr_messages(&s->st->slot[i]) > s->st->slot[i].seen)
			sim_outcomes.left_over++;
		if (!take_messages(s, i, s->st->slot[i].seen)) {
			sim_rebuild(s); /* and again */
			return;
		}
	}
	for (uint32_t i = 0; i < LZ_SPACES_MAX; i++)
		if (lz_engine_serves(s->e, i))
			k_wake(&s->k, sim_mm_of(s, i), (struct lz_range){ 0, UINT64_MAX });
	if (s->finished)
		sim_feed(s, (struct lz_event){ .type = LZ_EV_FINISH });
	if (s->abandoned)
		sim_feed(s, (struct lz_event){ .type = LZ_EV_ABANDON });
	lz_engine_check(s->e);
}
