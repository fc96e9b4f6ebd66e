/* SPDX-License-Identifier: MIT */
/*
 * Pages that are to be had before all others, in an order: a working set, as numbers of pages. How
 * far it has been gone through is the engine's to say. Pure.
 */
#ifndef LZ_WANTED_H
#define LZ_WANTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/plan.h"
#include "pagemap/range.h"

/* Pages [first, first + nr) of a memory, in one run of its plan. */
struct lz_wanted_run {
	uint64_t first;
	uint32_t nr, memory;
};

/* How far somebody has gone through one. */
struct lz_walk {
	size_t at;     /* the run that comes next */
	uint32_t done; /* pages of it that have been looked at */
};

struct lz_wanted {
	struct lz_wanted_run *run;
	size_t nr, room;
	struct lz_walk walk; /* of all spaces together, if they do not go by themselves */
	uint32_t turn;       /* else: whose it is */
	bool dry;            /* nobody has more of it, until a run or a space is added */
	bool holds; /* somebody has, waits for nothing but a request: the sweep waits too */
	bool rests; /* so much was passed at a time: it goes on when the time is told */
};

/* All zero is an empty one. */
void lz_wanted_fini(struct lz_wanted *w);
/*
 * Appends what @plan, of memory number @memory, holds of the identities @r: to w[0] what is local,
 * to w[1] what its remote source has. -ENOSPC: there are LZ_WANTED_MAX runs; -ENOMEM.
 */
int lz_wanted_add(struct lz_wanted w[2], const struct lz_plan *plan, uint32_t memory,
		  struct lz_range r);

#endif
