/* SPDX-License-Identifier: MIT */
/*
 * A task's pagemap and those of its parent snapshots, flattened: an iterator over the lazy pages
 * (or all) of the newest snapshot, in ascending order, each with the snapshot that has its bytes.
 * One cursor a snapshot, each going through its records once. Pure.
 */
#ifndef LZ_CHAIN_H
#define LZ_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pagemap/range.h"
#include "proto/image.h"

/* One snapshot: level 0 is the newest, level n + 1 the parent of level n. */
struct lz_chain_level {
	struct lz_image image; /* at its start, of LZ_IMAGE_PAGEMAP; says what was wrong with it */
	uint32_t pages_id;     /* of pages-<id>.img; known after lz_chain_init() */
	/* The record under the cursor; empty before the first and after the last. */
	struct lz_range entry;
	uint32_t flags;
	uint64_t offset; /* of the record's first byte in pages-<id>.img */
	uint64_t end;    /* of what has been given bytes there */
};

struct lz_chain {
	struct lz_chain_level *level; /* the caller's */
	size_t nr_levels;
	const struct lz_seg *seg; /* the lazy areas; the caller's */
	size_t nr_segs, at_seg;
	bool all;             /* every page, whatever is lazy; may be set after init() */
	uint64_t at;          /* what is below it in the record of level 0 has been dealt with */
	size_t failed;        /* after a failure: the level whose image says what is wrong */
	uint64_t eager_bytes; /* so far: of the newest snapshot, left to the restorer */
	uint64_t nr_entries;  /* so far: records of the newest snapshot */
};

struct lz_chain_piece {
	uint64_t start, len;
	bool absent;     /* lazy, but stored in no snapshot: a live source has it */
	size_t level;    /* else: pages-<pages_id>.img of this level */
	uint64_t offset; /* has it here */
};

/*
 * Reads the heads. @level: nr_levels > 0 of them, their images initialised; @seg as lz_vmas_read()
 * gives it. Failures here and below are -EBADMSG, or -EPROTONOSUPPORT for what this version cannot
 * read rightly.
 */
int lz_chain_init(struct lz_chain *c, struct lz_chain_level *level, size_t nr_levels,
		  const struct lz_seg *seg, size_t nr_segs);
/* 1 and the next piece, 0 at the end, when all records of all levels have been seen. */
int lz_chain_next(struct lz_chain *c, struct lz_chain_piece *piece);

#endif
