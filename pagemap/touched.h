/* SPDX-License-Identifier: MIT */
/*
 * Pages in the order of their first touch, each of them once: what is added again, by another
 * recording or because a thread had to fault twice, is in it already. A bit a page, in blocks that
 * are found by hashing, so that memory goes with what is touched and not with where. Pure.
 */
#ifndef LZ_TOUCHED_H
#define LZ_TOUCHED_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wset.h"

struct lz_touched_block;

struct lz_touched {
	struct lz_wset_run *run;
	size_t nr, room;
	uint64_t nr_pages;
	struct lz_touched_block *block;
	size_t nr_blocks, nr_slots;
};

/* All zero is an empty one. */
void lz_touched_fini(struct lz_touched *t);
/*
 * Appends the pages of @run that are not in it; joins them to the last run where they go on.
 * -ENOSPC: there are as many runs or pages as there may be; -ENOMEM. What was added before that
 * stays.
 */
int lz_touched_add(struct lz_touched *t, const struct lz_wset_run *run);

#endif
