/* SPDX-License-Identifier: MIT */
/*
 * Which pages threads were the first to ask for, in that order, in memory shared with whoever goes
 * on after the engine's process has died: a run is written first and counted after. Pure.
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

static inline uint64_t lz_record_end(const struct lz_touch *t)
{
	return t->identity + ((uint64_t)t->nr_pages << 12);
}

/* A touch of what has not been noted yet.
 * Nothing is noted after @window_ns since the first; 0: no end. */
void lz_record_note(struct lz_record *r, const struct lz_touch *touch, uint64_t window_ns,
		    uint64_t now_ns);

#endif
