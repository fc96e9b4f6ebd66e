/* SPDX-License-Identifier: MIT */
/*
 * Blocks: while no faults come the sweep has its pages brought into memory in pieces that disks and
 * kernels like, the next piece while one is placed. What is in memory already the engine neither
 * knows nor asks: a FETCH of that ends at once. Where the sweep is at is ahead.c's to say.
 */
#include "uffd/engine_priv.h"

#include <assert.h>

static uint64_t offset_of(const struct lz_space *s, uint64_t page)
{
	const struct lz_run *run = lz_plan_run(s->plan, page);

	return run->offset + ((page - run->first) << run->page_shift);
}

/* The pages around @page that are in one block of its source's with it, all together. */
static void lay_around(struct lz_block *b, const struct lz_space *s, uint64_t page)
{
	const uint64_t mask = LZ_BLOCK_BYTES - 1;
	uint32_t shift = lz_plan_run(s->plan, page)->page_shift;
	uint64_t n = (offset_of(s, page) & mask) >> shift;

	b->first = page - lz_limits_least(n, page);
	while (b->first + (n = lz_plan_extent(s->plan, b->first, page + 1 - b->first)) <= page)
		b->first += n;
	n = (LZ_BLOCK_BYTES - (offset_of(s, b->first) & mask)) >> shift;
	b->nr = lz_plan_extent(s->plan, b->first, n);
	b->next = b->first;
}

/* Is a quarter of it owed? Else the disk would read more for nothing than it wins. */
static bool is_worth_it(const struct lz_space *s, const struct lz_block *b)
{
	uint32_t shift = lz_plan_run(s->plan, b->first)->page_shift;
	uint64_t at = b->first, end = b->first + b->nr, owed = 0, to;

	for (; (at = lz_bits_next_within(&s->owed, at, end)) < end; at = to) {
		to = lz_bits_next_clear(&s->owed, at, end);
		owed += to - at;
	}
	return owed << shift >= LZ_BLOCK_BYTES / 4;
}

static bool holds(const struct lz_block *b, uint32_t space, uint64_t page)
{
	return b->state != LZ_BLOCK_FREE && !b->orphan && b->space == space && page >= b->first &&
	       page - b->first < b->nr;
}

enum lz_blocks_how lz_blocks_ask(struct lz_engine *e, uint32_t space, uint64_t page,
				 struct lz_block **b, struct lz_action *out)
{
	const struct lz_space *s = &e->space[space];
	const struct lz_run *run = lz_plan_run(s->plan, page);
	struct lz_block wanted = {
		.state = LZ_BLOCK_COMING, .space = space, .source = run->source, .plan = s->plan
	};
	unsigned used = 0;

	*b = NULL;
	for (unsigned i = 0; i < LZ_BLOCKS_MAX; i++) {
		struct lz_block *k = &e->block[i];

		if (holds(k, space, page))
			return LZ_BLOCKS_WAIT;
		if (k->state == LZ_BLOCK_FREE)
			*b = *b ? *b : k;
		else
			used += k->plan == wanted.plan && k->source == wanted.source;
	}
	if (!*b || run->in_place || 1U << run->page_shift > LZ_SLICE_BYTES || !lz_engine_is_calm(e))
		return LZ_BLOCKS_SLICE;
	lay_around(&wanted, s, page);
	if (!is_worth_it(s, &wanted))
		return LZ_BLOCKS_SLICE;
	if (used >= LZ_BLOCKS_SOURCE)
		return LZ_BLOCKS_WAIT;
	wanted.turn = e->nr_blocks++;
	**b = wanted;
	*out = (struct lz_action){ .type = LZ_ACT_FETCH, .space = space, .source = wanted.source };
	out->req = (uint32_t)(*b - e->block);
	out->offset = offset_of(s, wanted.first);
	out->len = wanted.nr << run->page_shift;
	return LZ_BLOCKS_FETCH;
}

/* One that is HERE and has nothing more to be read makes room. */
static bool is_to_be_read(struct lz_engine *e, struct lz_block *b)
{
	const struct lz_space *s = &e->space[b->space];
	uint64_t end = b->first + b->nr;

	if (b->state != LZ_BLOCK_HERE || s->retry_ns || s->kill)
		return false;
	b->next = lz_ahead_missing(s, b->next, end);
	if (b->next < end)
		return true;
	b->state = LZ_BLOCK_FREE;
	e->look_again = true; /* the sweep may have been waiting for that */
	return false;
}

struct lz_block *lz_blocks_here(struct lz_engine *e)
{
	struct lz_block *first = NULL;

	for (struct lz_block *b = e->block; b < e->block + LZ_BLOCKS_MAX; b++)
		if (is_to_be_read(e, b) && (!first || b->turn < first->turn) &&
		    !lz_reqs_are_crowded(e, &e->space[b->space], b->next, LZ_FOR_SWEEP))
			first = b;
	return first;
}

void lz_blocks_read(struct lz_engine *e, struct lz_block *b, uint64_t n)
{
	b->next += n;
	e->block_over = !is_to_be_read(e, b);
}

void lz_blocks_fetched(struct lz_engine *e, uint32_t number)
{
	struct lz_block *b = &e->block[number];

	assert(number < LZ_BLOCKS_MAX && b->state == LZ_BLOCK_COMING);
	b->state = b->orphan ? LZ_BLOCK_FREE : LZ_BLOCK_HERE;
	b->orphan = false;
}

void lz_blocks_disown(struct lz_engine *e, uint32_t space)
{
	for (struct lz_block *b = e->block; b < e->block + LZ_BLOCKS_MAX; b++) {
		if (b->space != space)
			continue;
		b->orphan = b->state == LZ_BLOCK_COMING;
		if (b->state == LZ_BLOCK_HERE)
			b->state = LZ_BLOCK_FREE;
	}
}

void lz_blocks_check(const struct lz_engine *e)
{
	for (const struct lz_block *b = e->block; b < e->block + LZ_BLOCKS_MAX; b++) {
		const struct lz_space *s = &e->space[b->space];

		assert(!b->orphan || b->state == LZ_BLOCK_COMING);
		if (b->state == LZ_BLOCK_FREE || b->orphan)
			continue;
		assert(s->state != LZ_SPACE_FREE && s->plan == b->plan && b->nr);
		assert(b->next >= b->first && b->next <= b->first + b->nr);
		assert(b->first + b->nr <= s->owed.nr);
		for (const struct lz_block *k = e->block; k < b; k++)
			assert(!holds(k, b->space, b->first));
	}
}
