/* SPDX-License-Identifier: MIT */
/*
 * Which pages threads were the first to ask for, in that order, in memory shared with whoever goes on
 * after the engine's process has died: a run is written first and counted after. A page can be in it
 * twice, where it was asked for again before it came. Pure.
 */
#ifndef LZ_RECORD_H
#define LZ_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "uffd/limits.h"

/* Pages of 4 KiB, by identity. */
struct lz_touch {
	uint64_t identity;
	uint32_t memory, nr_pages;
};

/* All zero is an empty one. */
struct lz_record {
	uint64_t until_ns; /* from the first touch on; 0: there was none */
	uint64_t nr;
	uint64_t is_over; /* there was more: time or room has come to an end */
	struct lz_touch touch[LZ_TOUCHES_MAX];
};

/* A page of 1 << @page_shift bytes. Nothing is noted after @window_ns since the first; 0: no end. */
void lz_record_note(struct lz_record *r, const struct lz_touch *touch, uint64_t window_ns,
		    uint64_t now_ns);

#endif
