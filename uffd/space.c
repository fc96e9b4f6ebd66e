/* SPDX-License-Identifier: MIT */
/* The address space of space.h: every change of a bit goes with the change of its count. */
#include "uffd/space.h"

#include <assert.h>
#include <errno.h>

/* Pages of @seg that the plan holds, as [*from, *to):
 * numbers follow identity, so it is one range. */
static void pages_of(const struct lz_space *s, const struct lz_seg *seg, struct lz_range r,
		     uint64_t *from, uint64_t *to)
{
	*from = lz_plan_page_from(s->plan, seg->identity + (r.start - seg->start));
	*to = lz_plan_page_from(s->plan, seg->identity + (r.end - seg->start));
}

/* What the plan has, with all of it still to be looked for. */
static void look_at_sources(struct lz_space *s)
{
	const struct lz_run *run = lz_plan_runs(s->plan);
	bool mixed = lz_plan_is_mixed(s->plan);
	bool first = lz_plan_nr_runs(s->plan) && run->source == lz_plan_remote(s->plan);

	s->remote = lz_plan_remote(s->plan);
	s->mixed = mixed && s->remote != UINT32_MAX;
	s->front[LZ_LOCAL].dry = first && !mixed;
	s->front[LZ_REMOTE].dry = !first && !s->mixed;
	s->remote_from = 0;
}

int lz_space_open(struct lz_space *s, struct lz_plan *plan, const struct lz_seg *seg, size_t nr,
		  uint64_t *words, bool resumed)
{
	uint64_t pages = lz_plan_nr_pages(plan), from, to;
	int r;

	assert(s->state == LZ_SPACE_FREE);
	*s = (struct lz_space){ 0 };
	r = lz_map_init(&s->map, seg, nr);
	if (!r)
		r = lz_bits_init(&s->owed, pages, words);
	if (!r)
		r = lz_bits_init(&s->busy, pages, NULL);
	if (r) {
		lz_space_close(s);
		return r;
	}
	s->plan = lz_plan_get(plan);
	s->state = LZ_SPACE_OPEN;
	for (size_t i = 0; !resumed && i < nr; i++) {
		pages_of(s, &seg[i], (struct lz_range){ seg[i].start, seg[i].end }, &from, &to);
		lz_bits_set(&s->owed, from, to);
	}
	s->nr_owed = lz_bits_count(&s->owed);
	look_at_sources(s);
	return 0;
}

int lz_space_fork(struct lz_space *child, const struct lz_space *parent, uint64_t *words)
{
	int r;

	assert(child->state == LZ_SPACE_FREE);
	*child = (struct lz_space){ 0 };
	r = lz_map_copy(&child->map, &parent->map);
	if (!r)
		r = lz_bits_init(&child->owed, parent->owed.nr, words);
	if (!r)
		r = lz_bits_init(&child->busy, parent->owed.nr, NULL);
	if (r) {
		lz_space_close(child);
		return r;
	}
	lz_bits_copy(&child->owed, &parent->owed);
	child->nr_owed = parent->nr_owed;
	child->plan = lz_plan_get(parent->plan);
	child->memory = parent->memory;
	child->state = LZ_SPACE_OPEN;
	look_at_sources(child);
	child->remote_from = parent->remote_from;
	for (int i = 0; i < 2; i++)
		child->front[i].ahead = child->front[i].behind = parent->front[i].ahead;
	return 0;
}

int lz_space_bind(struct lz_space *s, uint64_t *words)
{
	struct lz_bits owed;
	int r = lz_bits_init(&owed, s->owed.nr, words);

	if (r)
		return r;
	lz_bits_fini(&s->owed);
	s->owed = owed;
	s->nr_owed = lz_bits_count(&owed);
	return 0;
}

void lz_space_close(struct lz_space *s)
{
	lz_map_fini(&s->map);
	lz_bits_fini(&s->owed);
	lz_bits_fini(&s->busy);
	lz_plan_put(s->plan);
	*s = (struct lz_space){ 0 };
}

int64_t lz_space_page_at(const struct lz_space *s, uint64_t addr)
{
	const struct lz_seg *seg = lz_map_at(&s->map, addr);

	return seg ? lz_plan_page(s->plan, seg->identity + (addr - seg->start), NULL) : -1;
}

struct lz_range lz_space_page_range(const struct lz_space *s, uint64_t addr)
{
	const struct lz_seg *seg = lz_map_at(&s->map, addr);
	uint64_t size = UINT64_C(1) << (seg ? seg->page_shift : 12);

	addr &= ~(size - 1);
	return (struct lz_range){ addr, addr + size };
}

struct lz_range lz_space_hole(const struct lz_space *s, uint64_t addr, uint64_t max)
{
	const struct lz_seg *seg = lz_map_at(&s->map, addr);
	struct lz_range r = lz_space_page_range(s, addr);
	uint64_t from, to, owed;

	if (!seg || max <= 1)
		return r;
	if (max << seg->page_shift < seg->end - r.start)
		r.end = r.start + (max << seg->page_shift);
	else
		r.end = seg->end;
	pages_of(s, seg, r, &from, &to);
	owed = lz_bits_next_within(&s->owed, from, to);
	if (owed < to)
		r.end = seg->start - seg->identity +
			lz_plan_identity(lz_plan_run(s->plan, owed), owed);
	return r;
}

uint64_t lz_space_settle(struct lz_space *s, uint64_t page, uint64_t nr)
{
	uint64_t n = lz_bits_clear(&s->owed, page, page + nr);

	s->nr_owed -= n;
	return n;
}

uint64_t lz_space_forget(struct lz_space *s, struct lz_range r)
{
	uint64_t n = 0, from, to;

	while (!lz_range_is_empty(r)) {
		const struct lz_seg *seg = lz_map_from(&s->map, r.start);
		struct lz_range part;
		uint64_t mask;

		if (!seg || seg->start >= r.end)
			break;
		part = lz_range_common(r, (struct lz_range){ seg->start, seg->end });
		r.start = seg->end;
		/* The kernel punches inward where a huge page is not covered whole. */
		mask = (UINT64_C(1) << seg->page_shift) - 1;
		part.start = (part.start + mask) & ~mask;
		part.end &= ~mask;
		if (lz_range_is_empty(part))
			continue;
		pages_of(s, seg, part, &from, &to);
		n += lz_space_settle(s, from, to - from);
	}
	return n;
}

bool lz_space_place_in(const struct lz_space *s, const struct lz_run *run, uint64_t page,
		       uint64_t max, struct lz_range *at, uint64_t *nr)
{
	uint64_t left = run->first + lz_plan_run_pages(s->plan, run) - page;
	uint64_t n = lz_bits_next_clear(&s->owed, page, page + (left < max ? left : max)) - page;

	if (!n)
		return false;
	if (!lz_map_where(&s->map, lz_plan_identity(run, page), n << run->page_shift, at))
		return false;
	*nr = lz_range_len(*at) >> run->page_shift;
	return true;
}

bool lz_space_place_of(const struct lz_space *s, uint64_t page, uint64_t max, struct lz_range *at,
		       uint64_t *nr)
{
	return lz_space_place_in(s, lz_plan_run(s->plan, page), page, max, at, nr);
}

bool lz_space_owes_remote(struct lz_space *s)
{
	const struct lz_run *run = NULL;

	while ((s->remote_from = lz_bits_next(&s->owed, s->remote_from)) < s->owed.nr) {
		run = lz_plan_run_near(s->plan, run, s->remote_from);
		if (lz_space_is_remote(s, run))
			return true;
		s->remote_from = run->first + lz_plan_run_pages(s->plan, run);
	}
	return false;
}

void lz_space_check(const struct lz_space *s)
{
	if (s->state == LZ_SPACE_FREE) {
		assert(!s->plan && !s->nr_reqs && !s->retry_ns);
		return;
	}
	lz_map_check(&s->map);
	assert(s->nr_owed == lz_bits_count(&s->owed));
	assert(s->nr_busy == lz_bits_count(&s->busy));
	assert(!s->gone || !s->nr_owed);
}
