/* SPDX-License-Identifier: MIT */
/*
 * The plan: one sorted array of runs and binary searches in it. A run does not store its length:
 * it ends, in page numbers, where the next one begins.
 */
#include "pagemap/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* No kernel has smaller pages; it also keeps every page number below 2^52. */
enum { PAGE_SHIFT_MIN = 12, PAGE_SHIFT_MAX = 62 };
enum { RUNS_AT_FIRST = 64 };

struct lz_plan {
	unsigned refs;
	bool sealed;
	struct lz_run *run;
	size_t nr, room;
	uint64_t nr_pages;
	bool mixed;
	uint32_t remote;
};

static uint64_t run_end(const struct lz_plan *p, const struct lz_run *run)
{
	return run->identity + (lz_plan_run_pages(p, run) << run->page_shift);
}

/* The last run that begins at or before @identity, NULL if none does. */
static const struct lz_run *run_before(const struct lz_plan *p, uint64_t identity)
{
	size_t lo = 0, hi = p->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->run[mid].identity <= identity)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &p->run[lo - 1] : NULL;
}

static bool piece_is_sound(const struct lz_piece *piece)
{
	uint64_t mask;

	if (piece->page_shift < PAGE_SHIFT_MIN || piece->page_shift > PAGE_SHIFT_MAX)
		return false;
	mask = (UINT64_C(1) << piece->page_shift) - 1;
	return piece->len && !((piece->identity | piece->len | piece->offset) & mask) &&
	       piece->identity <= UINT64_MAX - piece->len &&
	       piece->offset <= UINT64_MAX - piece->len;
}

int lz_plan_new(struct lz_plan **out)
{
	struct lz_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->refs = 1;
	p->remote = UINT32_MAX;
	*out = p;
	return 0;
}

static int add(struct lz_plan *p, const struct lz_piece *piece, bool in_place)
{
	struct lz_run *last = p->nr ? &p->run[p->nr - 1] : NULL;
	bool mixed;

	assert(!p->sealed);
	if (!piece_is_sound(piece) || (last && piece->identity < run_end(p, last)))
		return -EINVAL;

	if (last && last->source == piece->source && last->page_shift == piece->page_shift &&
	    run_end(p, last) == piece->identity &&
	    piece->offset - last->offset == piece->identity - last->identity) {
		p->nr_pages += piece->len >> piece->page_shift;
		return 0;
	}

	mixed = last && last->source != piece->source;
	if (p->nr == p->room) {
		size_t room = p->room ? 2 * p->room : RUNS_AT_FIRST;
		struct lz_run *run = realloc(p->run, room * sizeof(*run));

		if (!run)
			return -ENOMEM;
		p->run = run;
		p->room = room;
	}
	p->mixed = p->mixed || mixed;
	p->run[p->nr++] = (struct lz_run){
		.identity = piece->identity,
		.offset = piece->offset,
		.first = p->nr_pages,
		.source = piece->source,
		.page_shift = (uint16_t)piece->page_shift,
		.in_place = in_place,
	};
	p->nr_pages += piece->len >> piece->page_shift;
	return 0;
}

int lz_plan_add(struct lz_plan *p, const struct lz_piece *piece)
{
	return add(p, piece, false);
}

int lz_plan_add_in_place(struct lz_plan *p, const struct lz_piece *piece)
{
	return add(p, piece, true);
}

void lz_plan_seal(struct lz_plan *p)
{
	struct lz_run *run;

	p->sealed = true;
	if (p->nr == p->room)
		return;
	run = realloc(p->run, p->nr * sizeof(*run));
	if (run) {
		p->run = run;
		p->room = p->nr;
	}
}

/* The counts are atomic because engines on different threads may share a plan. */
struct lz_plan *lz_plan_get(struct lz_plan *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void lz_plan_put(struct lz_plan *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(p->run);
	free(p);
}

uint64_t lz_plan_nr_pages(const struct lz_plan *p)
{
	return p->nr_pages;
}

size_t lz_plan_nr_runs(const struct lz_plan *p)
{
	return p->nr;
}

const struct lz_run *lz_plan_runs(const struct lz_plan *p)
{
	return p->run;
}

uint64_t lz_plan_run_pages(const struct lz_plan *p, const struct lz_run *run)
{
	return (run + 1 < p->run + p->nr ? run[1].first : p->nr_pages) - run->first;
}

int64_t lz_plan_page(const struct lz_plan *p, uint64_t identity, const struct lz_run **run)
{
	const struct lz_run *r = run_before(p, identity);

	if (!r || identity >= run_end(p, r))
		return -1;
	if (run)
		*run = r;
	return (int64_t)(r->first + ((identity - r->identity) >> r->page_shift));
}

uint64_t lz_plan_page_from(const struct lz_plan *p, uint64_t identity)
{
	const struct lz_run *r = run_before(p, identity);

	if (!r)
		return 0;
	if (identity >= run_end(p, r))
		return r->first + lz_plan_run_pages(p, r);
	return r->first + ((identity - r->identity) >> r->page_shift);
}

const struct lz_run *lz_plan_run(const struct lz_plan *p, uint64_t page)
{
	size_t lo = 0, hi = p->nr;

	assert(page < p->nr_pages);
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->run[mid].first <= page)
			lo = mid;
		else
			hi = mid;
	}
	return &p->run[lo];
}

static bool holds(const struct lz_plan *p, const struct lz_run *run, uint64_t page)
{
	return page >= run->first && page - run->first < lz_plan_run_pages(p, run);
}

const struct lz_run *lz_plan_run_near(const struct lz_plan *p, const struct lz_run *hint,
				      uint64_t page)
{
	if (hint && holds(p, hint, page))
		return hint;
	if (hint && hint + 1 < p->run + p->nr && holds(p, hint + 1, page))
		return hint + 1;
	return lz_plan_run(p, page);
}

bool lz_plan_has_others(const struct lz_plan *p, uint64_t identity, uint64_t len,
			uint32_t page_shift)
{
	uint64_t page = lz_plan_page_from(p, identity);
	const struct lz_run *run = page < p->nr_pages ? lz_plan_run(p, page) : NULL;

	for (; run && run < p->run + p->nr && run->identity < identity + len; run++)
		if (run->page_shift != page_shift)
			return true;
	return false;
}

bool lz_plan_is_mixed(const struct lz_plan *p)
{
	return p->mixed;
}

uint32_t lz_plan_remote(const struct lz_plan *p)
{
	return p->remote;
}

void lz_plan_set_remote(struct lz_plan *p, uint32_t source)
{
	assert(!p->sealed);
	p->remote = source;
}

uint64_t lz_plan_identity(const struct lz_run *run, uint64_t page)
{
	return run->identity + ((page - run->first) << run->page_shift);
}

uint64_t lz_plan_extent(const struct lz_plan *p, uint64_t page, uint64_t max)
{
	const struct lz_run *r = lz_plan_run(p, page);
	uint64_t have = r->first + lz_plan_run_pages(p, r) - page;

	for (; have < max && r + 1 < p->run + p->nr; r++) {
		uint64_t end = r->offset + (lz_plan_run_pages(p, r) << r->page_shift);

		if (r[1].source != r->source || r[1].page_shift != r->page_shift ||
		    r[1].offset != end)
			break;
		have += lz_plan_run_pages(p, r + 1);
	}
	return have < max ? have : max;
}
