/* SPDX-License-Identifier: MIT */
/* What one may ask an engine; nothing changes by it. */
#include "uffd/engine_priv.h"

#include <assert.h>

uint64_t lz_engine_deadline(const struct lz_engine *e)
{
	uint64_t at = UINT64_MAX;

	if (e->wanted[LZ_LOCAL].rests || e->wanted[LZ_REMOTE].rests)
		return e->now_ns;
	for (uint32_t i = 0; e->nr_stalled && i < e->nr_spaces; i++)
		if (e->space[i].retry_ns && e->space[i].retry_ns < at)
			at = e->space[i].retry_ns;
	return at;
}

bool lz_engine_serves(const struct lz_engine *e, uint32_t space)
{
	return e->space[space].state != LZ_SPACE_FREE;
}

bool lz_engine_is_gone(const struct lz_engine *e, uint32_t space)
{
	return e->space[space].gone;
}

bool lz_engine_is_started(const struct lz_engine *e)
{
	return e->started;
}

bool lz_engine_is_done(const struct lz_engine *e)
{
	return e->started && !e->options.stays && !e->nr_open;
}

const struct lz_seg *lz_engine_segs(const struct lz_engine *e, uint32_t space, size_t *nr)
{
	assert(e->space[space].state != LZ_SPACE_FREE);
	*nr = e->space[space].map.nr;
	return e->space[space].map.seg;
}

uint64_t lz_engine_page_bytes(const struct lz_engine *e, uint32_t space, uint64_t addr)
{
	return lz_range_len(lz_space_page_range(&e->space[space], addr));
}

bool lz_engine_owed_range(const struct lz_engine *e, uint32_t space, uint64_t *page,
			  struct lz_range *out)
{
	const struct lz_space *s = &e->space[space];
	uint64_t n;

	*page = lz_bits_next(&s->owed, *page);
	if (*page >= s->owed.nr || !lz_space_place_of(s, *page, UINT64_MAX - *page, out, &n))
		return false;
	*page += n;
	return true;
}
