/* SPDX-License-Identifier: MIT */
/*
 * Ranges and segments: the two shapes every other file speaks of. All numbers are bytes; every
 * range is half open; nothing here allocates or knows of a kernel.
 */
#ifndef LZ_RANGE_H
#define LZ_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* [start, end) */
struct lz_range {
	uint64_t start, end;
};

/*
 * A stretch of a served address space: the pages at [start, end) now are the pages that the image
 * knows from @identity on. Only the position changes in a page's life, its identity never does.
 */
struct lz_seg {
	uint64_t start, end;
	uint64_t identity;
	uint32_t page_shift;
	uint32_t reserved; /* zero: segments are compared and journaled as bytes */
};

static inline uint64_t lz_range_len(struct lz_range r)
{
	return r.end - r.start;
}

static inline bool lz_range_is_empty(struct lz_range r)
{
	return r.start >= r.end;
}

static inline bool lz_range_overlaps(struct lz_range a, struct lz_range b)
{
	return a.start < b.end && b.start < a.end;
}

/* The part the two have in common; empty (start >= end) where they have none. */
static inline struct lz_range lz_range_common(struct lz_range a, struct lz_range b)
{
	return (struct lz_range){ a.start > b.start ? a.start : b.start,
				  a.end < b.end ? a.end : b.end };
}

#endif
