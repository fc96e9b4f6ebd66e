/* SPDX-License-Identifier: MIT */
/* The record of record.h. */
#include "uffd/record.h"

void lz_record_note(struct lz_record *r, const struct lz_touch *touch, uint64_t window_ns,
		    uint64_t now_ns)
{
	struct lz_touch *last = r->nr ? &r->touch[r->nr - 1] : NULL;

	if (!r->until_ns)
		r->until_ns = window_ns ? now_ns + window_ns : UINT64_MAX;
	if (now_ns > r->until_ns)
		r->is_over = 1;
	if (r->is_over)
		return;
	if (last && last->memory == touch->memory && touch->identity == lz_record_end(last) &&
	    last->nr_pages < UINT32_MAX - touch->nr_pages) {
		last->nr_pages += touch->nr_pages;
		return;
	}
	if (r->nr == LZ_TOUCHES_MAX) {
		r->is_over = 1;
		return;
	}
	r->touch[r->nr] = *touch;
	/* Whoever comes after a death sees either no run or all of it. */
	__atomic_store_n(&r->nr, r->nr + 1, __ATOMIC_RELEASE);
}
